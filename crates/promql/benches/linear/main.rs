//! Cost against size: queries of every family over ten, a hundred, a thousand and ten thousand times as much.
//!
//! Series, samples, steps, windows and skew grow one at a time, the rest stays. Each line is a query with
//! its cost at the four sizes, and the cost of a unit (a series, a sample, …) against that at the size
//! before: 1 is linear, 10 is quadratic, and less than 1 is what small sizes pay for being started. `cases`
//! holds the queries, `data` the series.
//!
//! Cost is CPU time, which also shows where data leave the caches. With `BENCH_INSTRUCTIONS=1`
//! (`cargo xtask bench --linear --instructions`) it is instructions, which know neither caches nor
//! neighbours: there what grows by more than half is marked, with the reason where the answer itself demands
//! it, and the bench fails where there is none. `BENCH_ONLY` picks queries by a part of their text, `BENCH_MAX_SAMPLES` sets a limit that has to
//! be counted for.

#![allow(clippy::print_stdout, reason = "a table for people")]

mod cases;
mod data;
#[path = "../shared/mod.rs"]
mod shared;

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use cases::{Axis, Case};
use data::Shape;
use model::Millis;
use promql::testing::Memory;
use promql::{Engine, EngineOptions, Query, QueryOptions};
use shared::callgrind::{self, Counter};
use shared::{Touch, cpu_time, number};

/// Growth of a unit's instructions, from one size to the next, that needs a reason.
const TOO_MUCH: f64 = 1.5;
/// CPU time that a measurement takes at least.
const ENOUGH: Duration = Duration::from_millis(10);
const SECOND: Millis = 1000;

/// What is counted.
enum Meter {
    /// Nanoseconds of CPU.
    Time,
    /// Instructions.
    Instructions(Counter),
}

impl Meter {
    /// What one call costs, in millions.
    fn cost(&mut self, call: &dyn Fn()) -> f64 {
        match self {
            Meter::Instructions(counter) => counter.count(call) as f64 / 1e6,
            Meter::Time => (0..3).map(|_| time(call)).fold(f64::INFINITY, f64::min),
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Meter::Time => "ms of CPU",
            Meter::Instructions(_) => "millions of instructions",
        }
    }
}

/// Milliseconds of CPU that a call takes.
fn time(call: &dyn Fn()) -> f64 {
    let (begun, mut calls) = (cpu_time(), 0);
    loop {
        call();
        calls += 1;
        let taken = cpu_time().saturating_sub(begun);
        if taken >= ENOUGH {
            return taken.as_secs_f64() * 1e3 / f64::from(calls);
        }
    }
}

/// What there is, and the times of a query: first, last, count.
type Setting = (Shape, (Millis, Millis, usize));

/// The same queries at four sizes of one thing.
struct Sweep {
    axis: Axis,
    about: &'static str,
    cases: &'static [Case],
    sizes: [usize; 4],
    /// What there is at a size, and when it is asked for.
    at: fn(usize) -> Setting,
    /// How many units there are at a size.
    units: fn(usize) -> usize,
}

/// Samples lie in 11,000 s; queries look at the last 10,000 s, through windows of 1,000 s.
fn shape(series: usize, samples: usize) -> Shape {
    Shape { series, samples, span: 11_000 * SECOND }
}

const TIMES: (Millis, Millis) = (1_000 * SECOND, 11_000 * SECOND - 1);

const SWEEPS: &[Sweep] = &[
    Sweep {
        axis: Axis::Series,
        about: "series, of 33 samples each, at 10 steps",
        cases: cases::FAMILIES,
        sizes: [10, 100, 1_000, 10_000],
        at: |n| (shape(n, 33), (TIMES.0, TIMES.1, 10)),
        units: |n| n,
    },
    Sweep {
        axis: Axis::Samples,
        about: "samples, of 10 series each, at 10 steps",
        cases: cases::FAMILIES,
        sizes: [33, 330, 3_300, 33_000],
        at: |n| (shape(10, n), (TIMES.0, TIMES.1, 10)),
        units: |n| n,
    },
    Sweep {
        axis: Axis::Steps,
        about: "steps over 10 series of 330 samples",
        cases: cases::FAMILIES,
        sizes: [10, 100, 1_000, 10_000],
        at: |n| (shape(10, 330), (TIMES.0, TIMES.1, n)),
        units: |n| n,
    },
    Sweep {
        axis: Axis::Window,
        about: "samples of a window, at 200 steps 10 samples apart; the unit is a step or a sample read",
        cases: cases::WINDOWS,
        sizes: [10, 100, 1_000, 10_000],
        at: |_| {
            let span = 12_000 * SECOND;
            (Shape { series: 1, samples: 12_000, span }, (10_000 * SECOND, span - 10 * SECOND, 200))
        },
        units: |n| 2_200 + n,
    },
    Sweep {
        axis: Axis::Skew,
        about: "series matched or grouped, of 2 samples each, at 2 steps",
        cases: cases::SKEWED,
        sizes: [10, 100, 1_000, 10_000],
        at: |n| (Shape { series: n, samples: 2, span: 20 * SECOND }, (0, 10 * SECOND, 2)),
        units: |n| n,
    },
];

impl Sweep {
    /// Measures and prints. Returns how many queries grow without a reason.
    fn run(&self, engine: &Engine, meter: &mut Meter, only: &str) -> usize {
        let of_axis = |c: &&Case| c.text.contains(only) && !(c.instant && self.axis == Axis::Steps);
        let cases: Vec<&Case> = self.cases.iter().filter(of_axis).collect();
        if cases.is_empty() {
            return 0;
        }
        let mut costs = vec![Vec::new(); cases.len()];
        for size in self.sizes {
            let (shape, times) = (self.at)(size);
            let store = shape.store();
            for (case, costs) in cases.iter().zip(&mut costs) {
                let query = prepare(engine, case, size, times);
                costs.push(meter.cost(&|| ask(&query, &store)));
            }
        }
        println!("\n{}, {}", self.about, meter.unit());
        let head = self.sizes.map(|n| format!("{n:>10}")).concat();
        println!("  {:<66}{head}   a unit against the size before", "");
        let judged = matches!(meter, Meter::Instructions(_));
        cases.iter().zip(&costs).filter(|(case, costs)| !self.line(case, costs, judged)).count()
    }

    /// Prints a query's line. Returns whether it is linear, has a reason not to be, or is not `judged`.
    fn line(&self, case: &Case, costs: &[f64], judged: bool) -> bool {
        let units = self.sizes.map(self.units);
        let each: Vec<f64> = costs.iter().zip(units).map(|(cost, n)| cost / n as f64).collect();
        let growth: Vec<f64> = each.windows(2).map(|w| w[1] / w[0]).collect();
        let columns = costs.iter().map(|c| format!("{c:>10.3}")).collect::<String>();
        let ratios = growth.iter().map(|g| format!("{g:>7.2}")).collect::<String>();
        let grows = judged && growth.iter().any(|g| *g > TOO_MUCH);
        let why = match (grows, case.excuse(self.axis)) {
            (false, _) => String::new(),
            (true, Some(why)) => format!("  grows: {why}"),
            (true, None) => "  NOT LINEAR".to_owned(),
        };
        println!("  {:<66}{columns}  {ratios}{why}", case.text);
        !grows || case.excuse(self.axis).is_some()
    }
}

fn prepare(engine: &Engine, case: &Case, size: usize, (start, end, steps): (Millis, Millis, usize)) -> Query {
    let text = case.text.replace("{w}", &size.to_string());
    let step = ((end - start) / (steps as Millis - 1).max(1)).max(1);
    let query = match case.instant {
        true => engine.instant(&text, end, QueryOptions::default()),
        false => {
            engine.range(&text, start, start + step * (steps as Millis - 1), step, QueryOptions::default())
        }
    };
    query.unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Runs a query. That two sides do not match is an answer, too: it has its cost.
fn ask(query: &Query, store: &Memory) {
    if let Err(e) = query.run(store, &mut Touch) {
        let text = e.to_string();
        assert!(text.contains("many-to-many matching not allowed"), "{text}");
    }
}

fn main() -> ExitCode {
    let mut meter = match Counter::of_process() {
        Some(counter) => Meter::Instructions(counter),
        None if std::env::var_os("BENCH_INSTRUCTIONS").is_some() => {
            return match callgrind::again(Stdio::inherit()) {
                Ok(_) => ExitCode::SUCCESS,
                Err(e) => {
                    println!("{e}");
                    ExitCode::FAILURE
                }
            };
        }
        None => Meter::Time,
    };
    let engine = Engine::new(EngineOptions {
        parser: promql::parse::Options::all(),
        max_samples: number("BENCH_MAX_SAMPLES", 0),
        lookback: TIMES.0,
        ..EngineOptions::default()
    });
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let grow: usize = SWEEPS.iter().map(|sweep| sweep.run(&engine, &mut meter, &only)).sum();
    if matches!(meter, Meter::Instructions(_)) {
        println!("\n{grow} queries grow without a reason");
    }
    ExitCode::from(u8::from(grow > 0))
}
