//! The list of uploaded blocks, `thanos.shipper.json`.
//!
//! Holds reading and atomic writing in Go's exact form: tabs, and `null` for an empty list. A Prometheus
//! started with `--storage.tsdb.delay-compact-file.path` reads it. Invariant: a reader sees the old file
//! or the new one, also after a power cut.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tsdb_block::meta::Ulid;

use crate::local::write_atomically;

/// The only version.
const VERSION: i64 = 1;

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    version: i64,
    #[serde(default)]
    uploaded: Option<Vec<Ulid>>,
}

/// Blocks that are complete in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Oldest first.
    pub uploaded: Vec<Ulid>,
}

/// A list that cannot be read; it is rebuilt from the bucket.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No file, or none that can be opened.
    #[error("failed to read {0}: {1}")]
    Io(String, std::io::Error),
    /// No JSON.
    #[error("failed to parse {0} as JSON: {1}")]
    Json(String, serde_json::Error),
    /// Another version.
    #[error("unexpected meta file version {0}")]
    Version(i64),
}

impl ReadError {
    /// Whether there is no file.
    pub fn is_missing(&self) -> bool {
        matches!(self, ReadError::Io(_, e) if e.kind() == std::io::ErrorKind::NotFound)
    }
}

impl State {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(path: &Path) -> Result<State, ReadError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| ReadError::Io(name(), e))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|e| ReadError::Json(name(), e))?;
        match wire.version {
            VERSION => Ok(State { uploaded: wire.uploaded.unwrap_or_default() }),
            other => Err(ReadError::Version(other)),
        }
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let list = (!self.uploaded.is_empty()).then(|| self.uploaded.clone());
        let wire = Wire { version: VERSION, uploaded: list };
        let mut out = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        // Writing to memory does not fail.
        let _ = wire.serialize(&mut serde_json::Serializer::with_formatter(&mut out, form));
        out.push(b'\n');
        out
    }

    /// Writes the file beside, syncs it, and puts it in place.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write_atomically(path, &self.to_json())
    }
}
