//! The file of running queries: `--query.active-query-path`.
//!
//! Holds `queries.active` as Prometheus lays it out (`promql/query_logger.go`): one slot of 1000 bytes a
//! query, so that after a crash the file tells what was running. It limits nothing. Invariant: a slot is
//! empty or holds one JSON object and a comma.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use component::clock::SharedClock;
use parking_lot::Mutex;

const SLOT: usize = 1000;

/// The file. Clones share it.
#[derive(Clone, Debug)]
pub struct ActiveQueries(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    free: Mutex<Vec<usize>>,
    clock: SharedClock,
}

/// A query in the file; dropping it takes it out.
#[derive(Debug)]
pub struct Entry(Arc<Inner>, usize);

impl Drop for Entry {
    fn drop(&mut self) {
        // The slot is free whether or not the file can be written.
        let _ = self.0.file.write_all_at(&[0; SLOT], (1 + self.1 * SLOT) as u64);
        self.0.free.lock().push(self.1);
    }
}

impl ActiveQueries {
    /// Opens `queries.active` in `folder` for so many queries, and logs those that the last run left.
    ///
    /// # Errors
    /// When folder or file cannot be made.
    pub fn open(folder: &Path, queries: usize, clock: SharedClock) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("queries.active");
        if let Some(left) = left_over(&path) {
            tracing::info!(queries = left, "these queries did not finish in the last run");
        }
        let file = File::create(&path)?;
        file.set_len((1 + queries * SLOT) as u64)?;
        file.write_all_at(b"[", 0)?;
        let free = Mutex::new((0..queries).rev().collect());
        Ok(ActiveQueries(Arc::new(Inner { file, free, clock })))
    }

    /// Notes a query, where there is a slot.
    pub fn enter(&self, query: &str) -> Option<Entry> {
        let slot = self.0.free.lock().pop()?;
        let entry = Entry(self.0.clone(), slot);
        let seconds = self.0.clock.now_millis() / 1000;
        let mut cut = query.len();
        let json = loop {
            let value = serde_json::json!({ "query": &query[..cut], "timestamp_sec": seconds }).to_string();
            if value.len() < SLOT {
                break value;
            }
            // A byte becomes at most six by escapes.
            cut = if cut > SLOT { SLOT } else { cut - ((value.len() - SLOT) / 6).max(1) };
            while !query.is_char_boundary(cut) {
                cut -= 1;
            }
        };
        let mut bytes = vec![0; SLOT];
        bytes[..json.len()].copy_from_slice(json.as_bytes());
        bytes[SLOT - 1] = b',';
        // The file is for whoever looks after a crash; the query goes on without.
        let _ = self.0.file.write_all_at(&bytes, (1 + slot * SLOT) as u64);
        Some(entry)
    }
}

/// What a file of the last run lists, as JSON.
fn left_over(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(1 << 20).read_to_end(&mut bytes).ok()?;
    bytes.retain(|b| *b != 0);
    let text = String::from_utf8_lossy(&bytes);
    let list = text.strip_suffix(',')?;
    Some(format!("{list}]"))
}

#[cfg(test)]
mod tests {
    use component::clock::ManualClock;

    use super::*;

    #[test]
    fn the_file_holds_what_runs_and_tells_it_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queries.active");
        let clock: SharedClock = Arc::new(ManualClock::at(7_000));
        let active = ActiveQueries::open(folder.path(), 2, clock.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2001);
        let up = active.enter("up").unwrap();
        let long = active.enter(&"\"é".repeat(5000)).unwrap();
        assert!(active.enter("third").is_none());
        let left: serde_json::Value = serde_json::from_str(&left_over(&path).unwrap()).unwrap();
        assert_eq!(left[0], serde_json::json!({ "query": "up", "timestamp_sec": 7 }));
        assert!(left[1]["query"].as_str().unwrap().starts_with("\"é\"é"));
        drop((up, long));
        assert_eq!(left_over(&path), None);
        assert!(active.enter("again").is_some());
        std::mem::forget(active.enter("crashed").unwrap());
        ActiveQueries::open(folder.path(), 2, clock).unwrap();
        assert_eq!(left_over(&path), None);
    }
}
