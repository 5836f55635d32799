//! Every script passes: those of this crate always, Prometheus' own where they are at hand.
//!
//! Prometheus' scripts lie outside the repository: `$ATHANOR_PROMQL`, else `../shared/promql` beside
//! the checkout, folder `promqltest`. `ATHANOR_SCRIPT=PATH[:LINE]` runs one file, or the one `eval` at
//! that line, instead. Every difference is printed.

#![allow(clippy::print_stdout, reason = "a test's output lists what differs")]

use std::path::{Path, PathBuf};

use promql::testing::{Runner, folder};

fn passes(path: &Path, runner: &Runner) -> bool {
    match folder::run(path, runner, &mut std::io::stdout().lock()) {
        Ok(report) => report.failed == 0,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

#[test]
fn own_scripts_pass() {
    assert!(passes(&own(), &Runner::default()));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    assert!(passes(&own(), &Runner::new(4)));
}

#[test]
fn scripts_of_prometheus_pass() {
    let folder = match std::env::var_os("ATHANOR_PROMQL") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promql"),
    }
    .join("promqltest");
    if !folder.exists() {
        println!("not run: the scripts of Prometheus ({} does not exist)", folder.display());
        return;
    }
    assert!(passes(&folder, &Runner::default()));
}

#[test]
fn the_chosen_script_passes() {
    let Ok(chosen) = std::env::var("ATHANOR_SCRIPT") else { return };
    let (path, line) = match chosen.rsplit_once(':').map(|(p, l)| (p, l.parse::<usize>())) {
        Some((path, Ok(line))) => (path, Some(line)),
        _ => (chosen.as_str(), None),
    };
    let runner = line.into_iter().fold(Runner::default(), Runner::only_line);
    assert!(passes(Path::new(path), &runner));
}
