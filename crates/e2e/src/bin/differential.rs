//! Generated expressions to a real Prometheus and to the engine, over the same blocks.
//!
//! Prints each difference, and last the seed, the shares of empty answers and of errors, and the
//! number of differences. Exit: 0 when there was none.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use e2e::cli::{Words, exit};
use e2e::differential::answer::Request;
use e2e::differential::duel::{Duel, Verdict};
use e2e::differential::generate::Generator;
use e2e::differential::prometheus::Prometheus;
use e2e::differential::{Switches, blocks, data, recorded};
use e2e::harness::outside;
use futures::StreamExt as _;
use promql::parse::{Expr, Options};
use serde_json::Value;

const USAGE: &str = "differential [--prometheus BIN] [--seed N] [--count N] [--threads N] [--most N] \
    [--record FILE] \
    [--stats] [--show-unanswered] [--delayed-name-removal] [--start-timestamps] [--type-and-unit-labels] \
    [--expr EXPR --start MS [--end MS --step MS]]";

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
    let switches = Switches {
        delayed_name_removal: words.switch("--delayed-name-removal"),
        start_timestamps: words.switch("--start-timestamps"),
        type_and_unit_labels: words.switch("--type-and-unit-labels"),
    };
    let stats = words.switch("--stats");
    let show = words.switch("--show-unanswered");
    let record = words.value("--record")?;
    let only = words.value("--expr")?;
    words.end(USAGE)?;

    let work = tempfile::tempdir()?;
    let dir = work.path().join("data");
    std::fs::create_dir(&dir)?;
    blocks::write(&dir, data::series())?;
    let store = blocks::read(&dir)?;
    let prometheus = Prometheus::start(&program, &dir, &switches.features()).await?;
    let duel = Duel { prometheus, engine: switches.engine(threads), store };
    let mut out = std::io::stdout().lock();

    let requests: Box<dyn Iterator<Item = Request>> = match only {
        Some(expr) => {
            let range = end.zip(step);
            let start = start.unwrap_or(data::START + data::LENGTH / 2);
            Box::new(std::iter::once(Request { expr, start, range, lookback: None, stats }))
        }
        None => {
            let mut generator = Generator::new(seed as u64);
            Box::new((0..count).map(move |_| Request { stats, ..generator.request() }))
        }
    };
    let begun = Instant::now();
    let (mut all, mut empty, mut errors, mut different, mut unstables) = (0, 0, 0, 0, 0);
    let mut kept: Vec<(Request, Value)> = Vec::new();
    let asked = futures::stream::iter(requests).map(|request| duel.ask(request));
    let mut asked = std::pin::pin!(asked.buffered(4));
    let mut heads: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(verdict) = asked.next().await {
        let Verdict { request, body, wanted, difference, unstable } =
            verdict.with_context(|| duel.prometheus.tail())?;
        all += 1;
        if show && (wanted.is_empty() || wanted.outcome.is_err()) {
            let why = wanted.outcome.as_ref().map_or_else(|e| e.1.clone(), |_| "empty".to_owned());
            writeln!(out, "{}\n  {}\n  {why}", request.expr, when(&request))?;
        }
        empty += usize::from(wanted.is_empty());
        errors += usize::from(wanted.outcome.is_err());
        if difference.is_some() {
            different += 1;
            if different <= most {
                let verdict =
                    Verdict { request: request.clone(), body: Value::Null, wanted, difference, unstable };
                let least = duel.shrink(verdict).await?;
                *heads.entry(head(&least.request.expr)).or_default() += 1;
                let text = least.difference.unwrap_or_default();
                writeln!(out, "{}\n  {}\n  {text}", least.request.expr, when(&least.request))?;
                if least.request.expr != request.expr {
                    writeln!(out, "  within {}", request.expr)?;
                }
            }
        }
        unstables += usize::from(unstable);
        if record.is_some() && !unstable && body.to_string().len() <= recorded::LONGEST {
            kept.push((request, body));
        }
    }
    if let Some(path) = record {
        recorded::write(path.as_ref(), &kept)?;
        writeln!(out, "{} answers recorded", kept.len())?;
    }
    let mut heads: Vec<_> = heads.into_iter().collect();
    heads.sort_by_key(|h| std::cmp::Reverse(h.1));
    for (head, count) in heads {
        writeln!(out, "{count:5} {head}")?;
    }
    let share = |n: usize| 100.0 * n as f64 / all.max(1) as f64;
    writeln!(
        out,
        "seed {seed}: {all} expressions in {:.1} s, {:.1} % empty, {:.1} % errors, {different} differences ({unstables} where \
         the reference differs from itself)",
        begun.elapsed().as_secs_f64(),
        share(empty),
        share(errors)
    )?;
    Ok(different == 0)
}

/// What the outermost node of an expression is.
fn head(expr: &str) -> String {
    let Ok(ast) = Options::all().parse(expr) else { return "not parsed".to_owned() };
    match ast.expr(ast.unparen(ast.root())) {
        Expr::Call { func, .. } => func.name.to_owned(),
        Expr::Aggregate(a) => a.op.as_str().to_owned(),
        Expr::Binary(b) => format!("operator {}", b.op.as_str()),
        Expr::Unary { .. } => "sign".to_owned(),
        Expr::Subquery(_) => "subquery".to_owned(),
        Expr::Vector(_) | Expr::Matrix { .. } => "selector".to_owned(),
        _ => "literal".to_owned(),
    }
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
