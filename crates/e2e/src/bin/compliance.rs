//! `cargo xtask compliance`: a folder of PromQL test scripts through the engine.
//!
//! Prints each difference (file and line, expression, wanted, got) and, last, `N passed, N failed`.
//! Knows no script language: that is `promql::testing`. Exit: 0 when none failed, 1 when some did, 2
//! when the folder could not be read.

use std::io::BufWriter;
use std::process::ExitCode;

use anyhow::Context as _;
use e2e::cli::{Words, exit};
use promql::testing::{Runner, folder};

const USAGE: &str = "compliance --scripts DIR|FILE [--line N] [--threads N]";

fn main() -> ExitCode {
    exit(run(Words::of_process()))
}

fn run(mut words: Words) -> anyhow::Result<bool> {
    let path = words.path("--scripts")?.context(USAGE)?;
    let number = |text: Option<String>| text.map(|n| n.parse::<usize>()).transpose();
    let line = number(words.value("--line")?).context("--line")?;
    let threads = number(words.value("--threads")?).context("--threads")?;
    words.end(USAGE)?;
    let runner = line.into_iter().fold(Runner::new(threads.unwrap_or(1)), Runner::only_line);
    let report = folder::run(&path, &runner, &mut BufWriter::new(std::io::stdout().lock()))?;
    Ok(report.failed == 0)
}
