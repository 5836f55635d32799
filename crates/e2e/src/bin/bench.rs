//! `cargo xtask bench`: Series calls of ours and Thanos' side by side.
//!
//! Reads the command line and prints; the work is `e2e::bench`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use e2e::bench::{self, Options};
use e2e::cli::{self, Words};
use e2e::harness;

const USAGE: &str = "cargo xtask bench --thanos BIN [--prometheus BIN] [--rounds N] [--shrink N]";

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit(run(Words::of_process()).await.map(|()| true))
}

async fn run(mut words: Words) -> anyhow::Result<()> {
    let number = |value: Option<String>, default| value.map_or(Ok(default), |v| v.parse::<usize>());
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
    bench::run(&options, |table| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{table}")?;
        Ok(out.flush()?)
    })
    .await
}
