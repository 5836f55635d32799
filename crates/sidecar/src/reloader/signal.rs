//! SIGHUP to a process by name.
//!
//! Holds the search in `/proc`. Invariant: exactly one process is signalled, or none and an error.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Signals the one process whose executable's name is `name`.
pub(super) fn hang_up(name: &str) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        // A process may end while we look at it. The kernel keeps 15 bytes of the name.
        let Ok(comm) = std::fs::read_to_string(entry.path().join("comm")) else { continue };
        if comm.trim_end() == name.get(..15).unwrap_or(name) {
            found.push(pid);
        }
    }
    match found.as_slice() {
        [pid] => {
            let pid = Pid::from_raw(*pid).context("process id 0")?;
            kill_process(pid, Signal::HUP).with_context(|| format!("signal process {name}"))
        }
        [] => bail!("failed to find process matching {name:?}"),
        more => bail!("{} processes match {name:?}", more.len()),
    }
}
