//! Generated expressions to a real Prometheus and to the engine, over the same blocks.
//!
//! Prints each difference, and last the seed, the shares of empty answers and of errors, and the
//! number of differences. Exit: 0 when there was none.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use e2e::cli::{Words, exit};
use e2e::differential::answer::{Answer, Request};
use e2e::differential::generate::Generator;
use e2e::differential::prometheus::Prometheus;
use e2e::differential::{blocks, compare, data, engine, recorded};
use e2e::harness::outside;
use futures::StreamExt as _;
use serde_json::Value;

const USAGE: &str = "differential [--prometheus BIN] [--seed N] [--count N] [--threads N] [--most N] \
    [--record FILE] \
    [--show-unanswered] [--expr EXPR --start MS [--end MS --step MS]]";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    exit(runtime.map_err(Into::into).and_then(|r| r.block_on(run(Words::of_process()))))
}

async fn run(mut words: Words) -> anyhow::Result<bool> {
    let mut number = |name: &str| -> anyhow::Result<Option<i64>> {
        words.value(name)?.map(|n| n.parse().with_context(|| format!("{name} {n}"))).transpose()
    };
    let seed = number("--seed")?.unwrap_or(1);
    let count = number("--count")?.unwrap_or(1000) as usize;
    let threads = number("--threads")?.unwrap_or(1) as usize;
    let most = number("--most")?.unwrap_or(50) as usize;
    let (start, end, step) = (number("--start")?, number("--end")?, number("--step")?);
    let program = words.path("--prometheus")?.or_else(|| outside("ATHANOR_PROMETHEUS", "prometheus"));
    let program = program.context("no prometheus: give --prometheus BIN")?;
    let show = words.switch("--show-unanswered");
    let record = words.value("--record")?;
    let only = words.value("--expr")?;
    words.end(USAGE)?;

    let work = tempfile::tempdir()?;
    let dir = work.path().join("data");
    std::fs::create_dir(&dir)?;
    blocks::write(&dir, data::series())?;
    let store = blocks::read(&dir)?;
    let prometheus = Prometheus::start(&program, &dir, &[]).await?;
    let engine = engine(threads);
    let mut out = std::io::stdout().lock();

    let requests: Box<dyn Iterator<Item = Request>> = match only {
        Some(expr) => {
            let range = end.zip(step);
            let start = start.unwrap_or(data::START + data::LENGTH / 2);
            Box::new(std::iter::once(Request { expr, start, range, lookback: None }))
        }
        None => {
            let mut generator = Generator::new(seed as u64);
            Box::new((0..count).map(move |_| generator.request()))
        }
    };
    let begun = Instant::now();
    let (mut all, mut empty, mut errors, mut different) = (0usize, 0usize, 0usize, 0usize);
    let mut kept: Vec<(Request, Value)> = Vec::new();
    let asked = futures::stream::iter(requests).map(|request| async {
        let answer = prometheus.ask(&request).await;
        (request, answer)
    });
    let mut asked = std::pin::pin!(asked.buffered(4));
    while let Some((request, body)) = asked.next().await {
        let body = body.with_context(|| prometheus.tail())?;
        let wanted = Answer::of_json(&body)?;
        let got = std::panic::catch_unwind(AssertUnwindSafe(|| Answer::of_engine(&engine, &store, &request)));
        all += 1;
        if show && (wanted.is_empty() || wanted.outcome.is_err()) {
            let why = wanted.outcome.as_ref().map_or_else(|e| e.1.clone(), |_| "empty".to_owned());
            writeln!(out, "{}\n  {}\n  {why}", request.expr, when(&request))?;
        }
        empty += usize::from(wanted.is_empty());
        errors += usize::from(wanted.outcome.is_err());
        let difference = match &got {
            Ok(got) => compare::difference(&request.expr, &wanted, got),
            Err(_) => Some("panic".to_owned()),
        };
        if let Some(text) = difference {
            different += 1;
            if different <= most {
                writeln!(out, "{}\n  {}\n  {text}", request.expr, when(&request))?;
            }
        } else if record.is_some() && body.to_string().len() <= recorded::LONGEST {
            kept.push((request, body));
        }
    }
    if let Some(path) = record {
        recorded::write(path.as_ref(), &kept)?;
        writeln!(out, "{} answers recorded", kept.len())?;
    }
    let share = |n: usize| 100.0 * n as f64 / all.max(1) as f64;
    writeln!(
        out,
        "seed {seed}: {all} expressions in {:.1} s, {:.1} % empty, {:.1} % errors, {different} differences",
        begun.elapsed().as_secs_f64(),
        share(empty),
        share(errors)
    )?;
    Ok(different == 0)
}

fn when(request: &Request) -> String {
    let mut text = match request.range {
        None => format!("--start {}", request.start),
        Some((end, step)) => format!("--start {} --end {end} --step {step}", request.start),
    };
    if let Some(lookback) = request.lookback {
        text.push_str(&format!(" (lookback {lookback})"));
    }
    text
}
