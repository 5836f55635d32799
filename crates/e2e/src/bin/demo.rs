//! `cargo xtask demo`: starts the demo, checks its answer, shows where to look and waits for Ctrl-C.
//!
//! Reads the command line and prints; the work is `e2e::demo`. With `--check` it ends after the check.

use std::io::Write as _;
use std::process::ExitCode;

use e2e::cli::{self, Words};
use e2e::demo::{Demo, Programs};
use e2e::harness;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "cargo xtask demo [--check] [--prometheus BIN]";

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit(run(Words::of_process()).await)
}

async fn run(mut words: Words) -> anyhow::Result<bool> {
    let check_only = words.switch("--check");
    let prometheus =
        words.path("--prometheus")?.or_else(|| harness::outside("ATHANOR_PROMETHEUS", "prometheus"));
    words.end(USAGE)?;
    let programs = Programs {
        store: harness::program("store-gateway")?,
        querier: harness::program("querier")?,
        sidecar: harness::program("sidecar")?,
        prometheus,
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let dir = tempfile::tempdir()?;
    let shown = async {
        let demo = Demo::start(dir.path(), &programs).await?;
        let checked = demo.check().await?;
        let told = demo.tell().await?;
        say(&format!("{}\n\n{told}", checked.join("\n")))?;
        anyhow::Ok(demo)
    };
    tokio::pin!(stopped);
    let demo = tokio::select! {
        demo = shown => demo?,
        // What has been started so far ends with the values that hold it.
        () = &mut stopped => return Ok(true),
    };
    if !check_only {
        say("Ctrl-C stops everything.\n")?;
        stopped.await;
    }
    demo.stop().await?;
    say("stopped\n")?;
    Ok(true)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
