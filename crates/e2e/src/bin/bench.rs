//! `cargo xtask bench`: ours and Thanos' side by side: Series calls, or with `--promql` queries.
//!
//! Reads the command line and prints; the work is `e2e::bench`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use e2e::bench::{self, Options, promql};
use e2e::cli::{self, Words};
use e2e::harness;

const USAGE: &str = "cargo xtask bench --thanos BIN [--prometheus BIN] [--rounds N] [--shrink N]";
const PROMQL: &str = "cargo xtask bench --promql --thanos BIN --prometheus BIN [--rounds N] [--shrink N] [--cores N] [--only NAME]";

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = Words::of_process();
    cli::exit(if words.switch("--promql") { promql(words).await } else { run(words).await.map(|()| true) })
}

fn number(value: Option<String>, default: usize) -> anyhow::Result<usize> {
    Ok(value.map_or(Ok(default), |v| v.parse())?)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

async fn promql(mut words: Words) -> anyhow::Result<bool> {
    let usage = || format!("usage: {PROMQL}");
    let work = tempfile::tempdir()?;
    let options = promql::Options {
        thanos: words.path("--thanos")?.with_context(usage)?,
        prometheus: words.path("--prometheus")?.with_context(usage)?,
        rounds: number(words.value("--rounds")?, 5)?.max(1),
        pods: 1000 / number(words.value("--shrink")?, 1)?.clamp(1, 1000),
        cores: match number(words.value("--cores")?, 0)? {
            0 => vec![1, 2],
            cores => vec![cores],
        },
        only: words.value("--only")?.unwrap_or_default(),
        querier: harness::program("querier")?,
        counting: harness::program("querier-counting")?,
        work: work.path().to_owned(),
    };
    words.end(PROMQL)?;
    promql::run(&options, say).await
}

async fn run(mut words: Words) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let options = Options {
        thanos: words.path("--thanos")?.with_context(|| format!("usage: {USAGE}"))?,
        prometheus: words.path("--prometheus")?,
        rounds: number(words.value("--rounds")?, 5)?.max(1),
        shrink: number(words.value("--shrink")?, 1)?.max(1),
        store: harness::program("store-gateway")?,
        sidecar: harness::program("sidecar")?,
        work: work.path().to_owned(),
    };
    words.end(USAGE)?;
    bench::run(&options, say).await
}
