//! `blocks/`: a folder a case, each compared with what Prometheus says is in it.
//!
//! The comparison itself is `tsdb_block::testing`; here are only the cases and their threads.

use std::path::Path;

/// Compares every case; a case and its differences, in order of name.
///
/// # Errors
/// When the folder or a record cannot be read.
pub(super) fn compare(dir: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            cases.push(path);
        }
    }
    cases.sort();
    let one = |path: &Path| -> anyhow::Result<(String, Vec<String>)> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((format!("blocks/{name}"), tsdb_block::testing::compare_recorded(path)?.differences))
    };
    // A thread a case: they differ much in size, and there are few.
    std::thread::scope(|scope| {
        let threads: Vec<_> = cases.iter().map(|path| scope.spawn(move || one(path))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a comparison panicked"))))
            .collect()
    })
}
