//! How a command runs cargo and the heavier tools, and how it ends.
//!
//! Knows no command. Invariant: a program that fails makes xtask fail with the same exit code and
//! without a second message, since the program has said what is wrong. Which programs there are
//! stands in `commands`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

/// A program that ran to its end and failed: it has told why on its own error output.
#[derive(Debug)]
struct Failed(Option<i32>);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(code) => write!(f, "ended with code {code}"),
            None => write!(f, "ended by a signal"),
        }
    }
}

impl std::error::Error for Failed {}

/// The exit code of xtask itself; an error that is not a program's own failure is printed.
#[allow(clippy::print_stderr, reason = "a command line tool's errors")]
pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(Failed(Some(code))) = error.downcast_ref() {
        return ExitCode::from(u8::try_from(*code).unwrap_or(1));
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {program}"))?;
    if status.success() { Ok(()) } else { Err(Failed(status.code()).into()) }
}

/// The cargo that started xtask, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program found on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(program)).find(|p| p.is_file())
}
