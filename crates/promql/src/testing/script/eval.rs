//! `eval` blocks: a query and what is expected of its answer.
//!
//! Holds their grammar, the `expect` clauses and the older spellings. It knows no engine. Invariant:
//! the expression has parsed, and each expected series stands once, as the line that names it last.

use std::sync::LazyLock;

use model::time::parse_duration_millis;
use model::{Labels, Millis};
use regex::Regex;

use super::{Lines, load, options};
use crate::parse::SequenceValue;

/// An `eval` command.
#[derive(Clone, Debug)]
pub struct Eval {
    /// Its line in the script, from 1.
    pub line: usize,
    /// The expression as written.
    pub expr: String,
    /// When it is evaluated.
    pub when: When,
    /// What its answer has to be.
    pub expect: Expectation,
}

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once.
    Instant(Millis),
    /// At each step of a range.
    Range(Window),
}

/// Times at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first time.
    pub start: Millis,
    /// No time lies behind this.
    pub end: Millis,
    /// Their distance.
    pub step: Millis,
}

/// What is expected of an answer.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// The values.
    pub values: Expected,
    /// The times of the values, where an instant query gives a matrix.
    pub window: Option<Window>,
    /// Whether series have to come in the order of their lines.
    pub ordered: bool,
    /// Whether the query has to fail.
    pub fails: bool,
    /// What the error's text has to meet, all of it.
    pub failure: Vec<Check>,
    /// What warnings have to meet.
    pub warn: Vec<Check>,
    /// What infos have to meet.
    pub info: Vec<Check>,
    /// Whether there must be no warning.
    pub no_warn: bool,
    /// Whether there must be no info.
    pub no_info: bool,
    /// Whether there must be some warning, whatever it says (`eval_warn`).
    pub some_warn: bool,
    /// Whether there must be some info, whatever it says (`eval_info`).
    pub some_info: bool,
}

/// The expected values.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Series; none is an empty answer.
    Series(Vec<ExpectedSeries>),
    /// A number.
    Scalar(f64),
    /// A string.
    String(Vec<u8>),
}

impl Default for Expected {
    fn default() -> Self {
        Expected::Series(Vec::new())
    }
}

/// One expected series.
#[derive(Clone, Debug)]
pub struct ExpectedSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its place among the lines, from 1.
    pub position: usize,
    /// Its values.
    pub values: Vec<SequenceValue>,
}

/// A condition on a text.
#[derive(Clone, Debug)]
pub enum Check {
    /// There is one.
    Any,
    /// It is exactly this.
    Text(String),
    /// The pattern is found in it.
    Pattern(Regex),
}

impl Check {
    /// Whether `text` meets the condition.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Check::Any => true,
            Check::Text(want) => want == text,
            Check::Pattern(pattern) => pattern.is_match(text),
        }
    }

    /// The condition in words.
    pub fn describe(&self) -> String {
        match self {
            Check::Any => "anything".to_owned(),
            Check::Text(want) => format!("{want:?}"),
            Check::Pattern(pattern) => format!("a text that matches {:?}", pattern.as_str()),
        }
    }
}

#[allow(clippy::unwrap_used, reason = "the patterns are constants")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$"));
static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
});
static CLAUSE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$"));
static WINDOW: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$"));

pub(super) fn parse(line: &str, number: usize, lines: &mut Lines<'_>) -> Result<Eval, String> {
    let (mode, when, expr) = header(line)?;
    options().parse(&expr).map_err(|e| e.to_string())?;
    let mut expect = Expectation::default();
    match mode {
        "ordered" => expect.ordered = true,
        "fail" => expect.fails = true,
        "warn" => expect.some_warn = true,
        "info" => expect.some_info = true,
        _ => {}
    }
    let instant = matches!(when, When::Instant(_));
    let old_fail = expect.fails;
    let mut position = 0;
    while let Some(line) = lines.next_of_block() {
        if old_fail && let Some(text) = line.strip_prefix("expected_fail_message") {
            expect.failure.push(Check::Text(text.trim().to_owned()));
            break;
        }
        if old_fail && let Some(text) = line.strip_prefix("expected_fail_regexp") {
            expect.failure.push(regex(text.trim())?);
            break;
        }
        if line.starts_with("expect range vector") {
            let parts = WINDOW.captures(line).ok_or("invalid range vector definition")?;
            expect.window = Some(window(&parts[1], &parts[2], &parts[3])?);
            position += 1;
            continue;
        }
        if let Some(text) = line.strip_prefix("expect string") {
            expect.values = Expected::String(string(text)?);
            position += 1;
            continue;
        }
        if line.split(' ').next() == Some("expect") {
            expect.clause(line)?;
            continue;
        }
        position += 1;
        if let Some(value) = number_alone(line) {
            expect.values = Expected::Scalar(value);
            break;
        }
        let (labels, values) = load::series(line)?;
        if values.len() > 1 && instant && expect.window.is_none() {
            return Err("multiple values in an instant evaluation need expect range vector".to_owned());
        }
        expect.series(ExpectedSeries { labels, position, values });
    }
    Ok(Eval { line: number, expr, when, expect })
}

/// Mode, times and expression of an `eval` line.
fn header(line: &str) -> Result<(&str, When, String), String> {
    let text = |m: Option<regex::Match<'_>>| m.map_or(String::new(), |m| m.as_str().to_owned());
    if let Some(parts) = INSTANT.captures(line) {
        let at = text(parts.get(2));
        let time =
            parse_duration_millis(&at).map_err(|e| format!("invalid timestamp definition \"{at}\": {e}"))?;
        let mode = parts.get(1).map_or("", |m| m.as_str());
        return Ok((mode, When::Instant(time), text(parts.get(3))));
    }
    let parts = RANGE.captures(line).ok_or_else(|| {
        "invalid evaluation command, which is eval[_fail|_warn|_ordered|_info] instant at <time> <query> or \
         eval[_fail|_warn|_info] range from <time> to <time> step <step> <query>"
            .to_owned()
    })?;
    let window = window(&parts[2], &parts[3], &parts[4])?;
    let mode = parts.get(1).map_or("", |m| m.as_str());
    Ok((mode, When::Range(window), text(parts.get(5))))
}

fn window(from: &str, to: &str, step: &str) -> Result<Window, String> {
    let time = |what: &str, text: &str| {
        parse_duration_millis(text).map_err(|e| format!("invalid {what} definition \"{text}\": {e}"))
    };
    let (start, end) = (time("start timestamp", from)?, time("end timestamp", to)?);
    if end < start {
        return Err(format!("end timestamp ({to}) is before start timestamp ({from})"));
    }
    Ok(Window { start, end, step: time("step", step)? })
}

impl Expectation {
    fn clause(&mut self, line: &str) -> Result<(), String> {
        let parts = CLAUSE
            .captures(line)
            .ok_or("invalid expect clause, which is expect <type> [msg|regex: <text>]")?;
        let text = parts.get(3).map_or("", |m| m.as_str()).trim();
        let check = match parts.get(2).map(|m| m.as_str()) {
            None => Check::Any,
            Some("msg") => Check::Text(text.to_owned()),
            Some(_) => regex(text)?,
        };
        match &parts[1] {
            "ordered" => self.ordered = true,
            "fail" if self.fails && !self.failure.is_empty() => {
                return Err("multiple expect fail lines are not allowed".to_owned());
            }
            "fail" => {
                self.fails = true;
                self.failure.push(check);
            }
            "warn" => self.warn.push(check),
            "info" => self.info.push(check),
            "no_warn" => self.no_warn = true,
            _ => self.no_info = true,
        }
        if self.no_info && !self.info.is_empty() {
            return Err("info and no_info cannot be used together".to_owned());
        }
        if self.no_warn && !self.warn.is_empty() {
            return Err("warn and no_warn cannot be used together".to_owned());
        }
        Ok(())
    }

    fn series(&mut self, series: ExpectedSeries) {
        let Expected::Series(all) = &mut self.values else {
            self.values = Expected::Series(vec![series]);
            return;
        };
        match all.iter_mut().find(|s| s.labels == series.labels) {
            Some(s) => *s = series,
            None => all.push(series),
        }
    }
}

fn regex(text: &str) -> Result<Check, String> {
    Regex::new(text).map(Check::Pattern).map_err(|_| format!("invalid regular expression {text}"))
}

/// A Go string literal: quotes, backquotes, or a single character in single quotes.
fn string(text: &str) -> Result<Vec<u8>, String> {
    let literal = text.strip_prefix(' ').unwrap_or_default();
    let value = crate::parse::unquote(literal.as_bytes());
    let value = value.ok_or("expect string needs a correctly quoted string literal")?;
    let single = literal.starts_with('\'');
    if single && std::str::from_utf8(&value).is_ok_and(|v| v.chars().count() != 1) {
        return Err("expect string needs a correctly quoted string literal".to_owned());
    }
    Ok(value)
}

fn number_alone(line: &str) -> Option<f64> {
    let (negative, body) = match line.as_bytes().first()? {
        b'-' => (true, &line[1..]),
        b'+' => (false, &line[1..]),
        _ => (false, line),
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    let value = crate::parse::number(body).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::super::Script;
    use super::*;

    fn eval(text: &str) -> Eval {
        Script::parse(text).unwrap().evals().next().unwrap().clone()
    }

    #[test]
    fn headers_give_times_and_expressions() {
        let e = eval("eval instant at 1h30m   sum by (room) (temp)");
        assert_eq!((e.when, e.expr.as_str()), (When::Instant(5_400_000), "sum by (room) (temp)"));
        let e = eval("eval_warn range from 0 to 10m step 1m  rate(hits[2m])");
        assert_eq!(e.when, When::Range(Window { start: 0, end: 600_000, step: 60_000 }));
        assert!(e.expect.some_warn && e.expr == "rate(hits[2m])");
    }

    #[test]
    fn expectations_are_clauses_numbers_strings_and_series() {
        let e = eval(
            "eval instant at 0 a\n expect ordered\n expect warn msg: one \n expect info regex:tw.\n a{x=\"1\"} 3\n b 4",
        );
        let Expected::Series(series) = &e.expect.values else { panic!("no series") };
        assert_eq!(series.iter().map(|s| s.position).collect::<Vec<_>>(), [1, 2]);
        assert!(e.expect.ordered && e.expect.warn[0].matches("one") && !e.expect.warn[0].matches("one "));
        assert!(e.expect.info[0].matches("a two b") && !e.expect.info[0].matches("wt"));
        let e = eval("eval instant at 0 1\n -0x10\n");
        assert!(matches!(e.expect.values, Expected::Scalar(v) if v == -16.0));
        let e = eval("eval instant at 0 \"a\"\n expect string `b\\n`\n");
        assert!(matches!(&e.expect.values, Expected::String(v) if v == b"b\\n"));
        let e = eval("eval_fail instant at 0 a\n expected_fail_message no such thing\n");
        assert!(e.expect.fails && e.expect.failure[0].matches("no such thing"));
        let e = eval("eval instant at 5m a[2m]\n expect range vector from 3m to 5m step 1m\n a 1 2 3\n");
        assert_eq!(e.expect.window, Some(Window { start: 180_000, end: 300_000, step: 60_000 }));
    }
}
