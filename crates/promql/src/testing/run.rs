//! Scripts run on an engine.
//!
//! Holds the runner: it loads, evaluates with all hidden repetitions, and gathers differences. It
//! knows no file. Invariant: an `eval` passes only when each of its repetitions does, and a
//! difference never ends a script. Read `repeat` for the repetitions, `compare` for what is equal.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use model::{Millis, Samples};

use super::compare::{Mismatch, check_sorted};
use super::memory::{AppendError, Memory};
use super::script::{Command, Eval, Load, Script, ScriptError, When, Window, options};
use super::{nhcb, repeat};
use crate::engine::{Engine, EngineOptions, QueryOptions};
use crate::error::QueryError;
use crate::interrupt::Interrupt;
use crate::parse::ValueType;
use crate::sink::Collect;

/// Most samples a script's query may hold.
const MAX_SAMPLES: usize = 10_000;
/// Longest time it may take.
const TIMEOUT: Duration = Duration::from_secs(100);
const MINUTE: Millis = 60_000;

/// Runs scripts.
#[derive(Clone, Debug)]
pub struct Runner {
    engine: Engine,
    line: Option<usize>,
}

/// What running a script gave.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many `eval` commands passed.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// What was wrong: one for each `eval` that failed, and for each `load`.
    pub differences: Vec<Difference>,
}

/// One thing that differs from the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line of the command, from 1.
    pub line: usize,
    /// The expression as it was run; empty for `load`.
    pub expr: String,
    /// How it was run: `instant at 60000`, `range from 0 to 120000 step 60000`.
    pub how: String,
    /// What the script wants.
    pub wanted: String,
    /// What came.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: {} ({})", self.line, self.expr, self.how)?;
        writeln!(f, "  wanted {}", self.wanted)?;
        write!(f, "  got    {}", self.got)
    }
}

impl Default for Runner {
    fn default() -> Self {
        Runner::new(1)
    }
}

impl Runner {
    /// A runner whose engine is set up as scripts want it, on so many threads.
    pub fn new(threads: usize) -> Self {
        let engine = Engine::new(EngineOptions {
            max_samples: MAX_SAMPLES,
            parser: options(),
            delayed_name_removal: true,
            use_start_timestamps: true,
            threads,
            ..EngineOptions::default()
        });
        Runner { engine, line: None }
    }

    /// Evaluates only the `eval` at or just before this line (loads are done all the same).
    pub fn only_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Runs a script on an empty store.
    ///
    /// # Errors
    /// [`ScriptError`] when it does not parse; nothing has been run then.
    pub fn run(&self, text: &str) -> Result<Report, ScriptError> {
        let script = Script::parse(text)?;
        let chosen = self.line.map(|at| script.evals().map(|e| e.line).take_while(|l| *l <= at).last());
        let mut report = Report::default();
        let mut store = Memory::new();
        for command in &script.commands {
            match command {
                Command::Clear => store = Memory::new(),
                Command::Load(block) => {
                    if let Err(text) = fill(&mut store, block) {
                        report.failed += 1;
                        report.differences.push(Difference {
                            line: block.line,
                            expr: String::new(),
                            how: "load".to_owned(),
                            wanted: "a block that can be loaded".to_owned(),
                            got: text,
                        });
                    }
                }
                Command::Eval(e) if chosen.is_some_and(|line| line != Some(e.line)) => {}
                Command::Eval(eval) => match self.guarded(&store, eval) {
                    Ok(()) => report.passed += 1,
                    Err(difference) => {
                        report.failed += 1;
                        report.differences.push(*difference);
                    }
                },
            }
        }
        Ok(report)
    }

    /// A panic is a difference like any other, so that the rest of the script is run.
    fn guarded(&self, store: &Memory, eval: &Eval) -> Result<(), Box<Difference>> {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.eval(store, eval))).unwrap_or_else(|_| {
            Err(difference(eval, &eval.expr, "as written or repeated", "no panic", "panic"))
        })
    }

    fn eval(&self, store: &Memory, eval: &Eval) -> Result<(), Box<Difference>> {
        let at = match eval.when {
            When::Range(window) => {
                return self.check(store, eval, &eval.expr, When::Range(window)).map(|_| ());
            }
            When::Instant(at) => at,
        };
        let queries = repeat::instants(&eval.expr, at);
        let queries = queries.map_err(|e| difference(eval, &eval.expr, "parse", "an expression", e))?;
        for (expr, at) in queries {
            let answer = self.check(store, eval, &expr, When::Instant(at))?;
            let Some(of) = answer else { continue };
            let no_range = eval.expect.window.is_some()
                || of == ValueType::String
                || of == ValueType::Matrix
                || repeat::asks_for_query_times(&expr);
            if !no_range {
                self.check_as_range(store, eval, &expr, at, of)?;
            }
        }
        Ok(())
    }

    /// Runs one query and checks everything about it. Gives the type of the answer, or `None` where
    /// the query failed as it should.
    fn check(
        &self,
        store: &Memory,
        eval: &Eval,
        expr: &str,
        when: When,
    ) -> Result<Option<ValueType>, Box<Difference>> {
        let how = describe(when);
        let differ = |m: Mismatch| difference(eval, expr, &how, m.wanted, m.got);
        let answer = match self.query(store, expr, when) {
            Ok(_) if eval.expect.fails => return Err(difference(eval, expr, &how, "an error", "an answer")),
            Err(e) if eval.expect.fails => {
                eval.expect.check_failure(&e.to_string()).map_err(differ)?;
                return Ok(None);
            }
            Err(e) => return Err(difference(eval, expr, &how, "an answer", format!("error: {e}"))),
            Ok(answer) => answer,
        };
        eval.expect.check_annotations(&answer.warnings, &answer.infos).map_err(differ)?;
        let window = match eval.when {
            When::Range(window) => Some(window),
            When::Instant(_) => eval.expect.window,
        };
        eval.expect.check_value(answer.of, &answer.value, window).map_err(differ)?;
        Ok(Some(answer.of))
    }

    /// Runs an instant query as a range query around its time and compares the step in the middle.
    fn check_as_range(
        &self,
        store: &Memory,
        eval: &Eval,
        expr: &str,
        at: Millis,
        of: ValueType,
    ) -> Result<(), Box<Difference>> {
        let when = When::Range(Window { start: at - MINUTE, end: at + MINUTE, step: MINUTE });
        let how = describe(when);
        let differ = |m: Mismatch| difference(eval, expr, &how, m.wanted, m.got);
        let answer = self.query(store, expr, when);
        let answer = answer.map_err(|e| difference(eval, expr, &how, "an answer", format!("error: {e}")))?;
        if eval.expect.ordered {
            return Ok(());
        }
        check_sorted(&answer.value.series).map_err(differ)?;
        let mut middle = Collect::default();
        for (labels, samples) in answer.value.series {
            let Ok(i) = samples.ts.binary_search(&at) else { continue };
            if of == ValueType::Scalar {
                middle.scalar = Some((at, samples.values[i]));
            }
            let mut one = Samples::default();
            match samples.histogram(i) {
                Some(h) => one.push_histogram(at, h.clone()),
                None => one.push(at, samples.values[i]),
            }
            middle.series.push((labels, one));
        }
        eval.expect.check_value(of, &middle, None).map_err(differ)
    }

    fn query(&self, store: &Memory, expr: &str, when: When) -> Result<Answer, QueryError> {
        let options =
            QueryOptions { interrupt: Interrupt::at(Instant::now() + TIMEOUT), ..QueryOptions::default() };
        let query = match when {
            When::Instant(at) => self.engine.instant(expr, at, options)?,
            When::Range(w) => self.engine.range(expr, w.start, w.end, w.step, options)?,
        };
        let mut value = Collect::default();
        let outcome = query.run(store, &mut value)?;
        let (warnings, infos) = outcome.annotations.render(expr, 0, 0);
        Ok(Answer { of: query.result_type(), value, warnings, infos })
    }
}

struct Answer {
    of: ValueType,
    value: Collect,
    warnings: Vec<String>,
    infos: Vec<String>,
}

fn describe(when: When) -> String {
    match when {
        When::Instant(at) => format!("instant at {at}"),
        When::Range(w) => format!("range from {} to {} step {}", w.start, w.end, w.step),
    }
}

fn difference(
    eval: &Eval,
    expr: &str,
    how: &str,
    wanted: impl fmt::Display,
    got: impl fmt::Display,
) -> Box<Difference> {
    Box::new(Difference {
        line: eval.line,
        expr: expr.to_owned(),
        how: how.to_owned(),
        wanted: wanted.to_string(),
        got: got.to_string(),
    })
}

/// A store filled by the `load` blocks of a script, for tests of other kinds.
///
/// # Errors
/// A text naming the line that is no part of a `load` block, or the sample that was refused.
pub fn load(text: &str) -> Result<Memory, String> {
    let script = Script::parse(text).map_err(|e| e.to_string())?;
    let mut store = Memory::new();
    for command in &script.commands {
        match command {
            Command::Load(block) => fill(&mut store, block)?,
            Command::Clear => store = Memory::new(),
            Command::Eval(eval) => return Err(format!("line {}: only load is possible here", eval.line)),
        }
    }
    Ok(store)
}

/// One block is one transaction: all of it is taken, or nothing.
fn fill(store: &mut Memory, block: &Load) -> Result<(), String> {
    let mut filled = store.clone();
    let native = if block.with_nhcb { nhcb::derive(&block.series)? } else { Vec::new() };
    for series in block.series.iter().chain(&native) {
        for s in &series.samples {
            let taken: Result<(), AppendError> = match &s.histogram {
                Some(h) => filled.append_histogram(&series.labels, s.t, s.st, h),
                None => filled.append(&series.labels, s.t, s.st, s.value),
            };
            taken.map_err(|e| e.to_string())?;
        }
    }
    *store = filled;
    Ok(())
}
