//! `cargo xtask golden`: replays recorded answers and prints each difference.
//!
//! Reads the command line and prints; the work is `e2e::golden`. The last line is `N passed, N failed`,
//! the exit code 0 only if none failed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use e2e::cli::{self, Words};
use e2e::golden::{self, Known, Options, Programs};
use e2e::harness;

const USAGE: &str =
    "cargo xtask golden DIR [--store-bin BIN] [--query-bin BIN] [--known FILE] [--only TEXT] [--work DIR]";

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit(run(Words::of_process()).await)
}

async fn run(mut words: Words) -> anyhow::Result<bool> {
    let programs = Programs {
        store: words.path("--store-bin")?.map_or_else(|| harness::program("store-gateway"), Ok)?,
        querier: words.path("--query-bin")?.map_or_else(|| harness::program("querier"), Ok)?,
    };
    let known = words.path("--known")?.map(|path| Known::read(&path)).transpose()?.unwrap_or_default();
    let only = words.value("--only")?.unwrap_or_default();
    let kept = words.value("--work")?.map(PathBuf::from);
    let dir = PathBuf::from(words.word().with_context(|| format!("usage: {USAGE}"))?);
    words.end(USAGE)?;
    ensure!(dir.is_dir(), "there is no folder {}", dir.display());

    let temporary = tempfile::tempdir()?;
    let work = kept.unwrap_or_else(|| temporary.path().to_owned());
    let outcome = golden::replay(&Options { dir, programs, known, only, work }).await?;
    let mut out = std::io::stdout().lock();
    for text in outcome.known.iter().chain(&outcome.differences) {
        writeln!(out, "{text}")?;
    }
    for kind in &outcome.absent {
        writeln!(out, "not run, not in the folder: {kind}")?;
    }
    writeln!(out, "{}", outcome.summary())?;
    Ok(outcome.failed == 0)
}
