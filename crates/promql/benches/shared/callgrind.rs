//! Instructions of a call, counted by `valgrind --tool=callgrind`.
//!
//! Holds how a bench starts itself once more under valgrind, and how it reads there what a call took. It
//! knows no query. Invariant: nothing but the calls counts. Where hash maps put their keys differs between
//! two runs; apart from that the same program over the same data takes the same number of instructions.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The variable that names the folder of the counts, set for the process under valgrind.
const FOLDER: &str = "BENCH_COUNTS";
/// Beginning of the names of callgrind's files there.
const FILE: &str = "call";

/// Counts instructions, in a process that runs under valgrind.
pub(crate) struct Counter {
    folder: PathBuf,
    calls: usize,
}

impl Counter {
    /// The counter of this process; `None` if it does not run under valgrind.
    pub(crate) fn of_process() -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os(FOLDER)?);
        Some(Counter { folder, calls: 0 })
    }

    /// Instructions that `call` takes.
    pub(crate) fn count(&mut self, call: &dyn Fn()) -> u64 {
        bench_counted_call(call);
        self.calls += 1;
        let path = self.folder.join(format!("{FILE}.{}", self.calls));
        let text = std::fs::read_to_string(&path).expect("callgrind writes a file for each call");
        std::fs::remove_file(&path).expect("the file is ours");
        let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
        total.and_then(|n| n.trim().parse().ok()).expect("the file holds its sum")
    }
}

/// The function by whose name callgrind knows what to count.
#[inline(never)]
fn bench_counted_call(call: &dyn Fn()) {
    call();
    // Something is left to do, or the call might not return here.
    black_box(());
}

/// Runs this program once more under valgrind, with the same environment. What it prints goes to `stdout`.
///
/// # Errors
/// When valgrind cannot be started, or the program fails there.
pub(crate) fn again(stdout: Stdio) -> io::Result<Output> {
    let folder = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", folder.join(FILE).display()));
    command.args(["--toggle-collect=*bench_counted_call", "--dump-after=*bench_counted_call"]);
    command.arg(std::env::current_exe()?).env(FOLDER, &folder);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).stdout(stdout).output();
    std::fs::remove_dir_all(&folder)?;
    let output = output.map_err(|e| io::Error::new(e.kind(), format!("valgrind: {e}")))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!("under valgrind: {}", output.status))),
    }
}
