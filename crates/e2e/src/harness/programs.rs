//! Where the programs are: the services of this workspace, and peers from outside.
//!
//! A tool finds services beside itself, because xtask has built them together; a test builds what it
//! starts, unless `$ATHANOR_BIN_DIR` says that somebody did. Invariant: a program that is not there
//! is an error that says where it was looked for, never a service of an older build elsewhere.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};

/// The path of a service's binary.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let dir = match std::env::var_os("ATHANOR_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let exe = std::env::current_exe()?;
            let dir = exe.parent().context("the folder of this program")?;
            // Tests lie one folder deeper.
            if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
        }
    };
    let path = std::path::absolute(dir.join(name))?;
    ensure!(path.is_file(), "there is no {}", path.display());
    Ok(path)
}

/// For tests: the path of a service's binary, built first unless `$ATHANOR_BIN_DIR` is set.
///
/// # Errors
/// When it cannot be built.
pub fn build(name: &str) -> anyhow::Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os("ATHANOR_BIN_DIR").is_none() {
        let _guard = ONE_AT_A_TIME.lock();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args(["build", "--quiet", "--package", name, "--bin", name]);
        let output = cargo.output()?;
        ensure!(output.status.success(), "build {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    program(name)
}

/// A program from outside this workspace: named by an environment variable, or on the PATH.
pub fn outside(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.is_file())
}

/// Says that a test left something out on this machine, and why; past the capture of passing tests' output.
pub fn not_run(what: &str) {
    // There is nobody to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "not run: {what}");
}
