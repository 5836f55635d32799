//! Folders of scripts.
//!
//! Holds the walk over `*.test` files and the report of what differs. It knows no language and no
//! engine (see `script`, `run`). Invariant: a file that does not parse counts as one failure, and the
//! last line is always `N passed, N failed`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::run::{Report, Runner};

/// The scripts of a folder by name, or the one file that `path` is.
///
/// # Errors
/// When the path cannot be read.
pub fn scripts(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "test") && p.is_file());
    files.sort();
    Ok(files)
}

/// Runs every script of a folder (or one file), writing each difference, a line for each file and,
/// last, `N passed, N failed`. Gives the sum of all.
///
/// # Errors
/// When a file cannot be read, when there is none, or when `out` fails.
pub fn run(path: &Path, runner: &Runner, out: &mut dyn Write) -> io::Result<Report> {
    let mut total = Report::default();
    let files = scripts(path)?;
    if files.is_empty() {
        let text = format!("no *.test file in {}", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let report = match runner.run(&std::fs::read_to_string(&file)?) {
            Ok(report) => report,
            Err(error) => {
                writeln!(out, "{name}:{}: {}", error.line, error.text)?;
                Report { failed: 1, ..Report::default() }
            }
        };
        for d in &report.differences {
            writeln!(out, "{name}:{}: {}\n    run    {}", d.line, d.expr, d.how)?;
            writeln!(out, "    wanted {}\n    got    {}", d.wanted, d.got)?;
        }
        writeln!(out, "{name}: {} passed, {} failed", report.passed, report.failed)?;
        total.passed += report.passed;
        total.failed += report.failed;
        total.differences.extend(report.differences);
    }
    writeln!(out, "{} passed, {} failed", total.passed, total.failed)?;
    Ok(total)
}
