//! `meta.json` files kept in the data directory, so that a restart need not read them again.
//!
//! Holds `<data-dir>/meta-syncer/<ulid>/meta.json`, Thanos' layout. It is best effort: whatever fails is
//! logged and costs one more read from the bucket. Invariant: a file is put in place whole, and one that
//! is damaged or of another block is removed, never used.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tsdb_block::meta::{BlockMeta, FILE_NAME, Ulid};

use super::{list, parse};
use crate::local::{blocking, write_atomically};

/// The folder within the data directory.
const FOLDER: &str = "meta-syncer";

#[derive(Clone, Debug)]
pub(super) struct DiskCache {
    dir: PathBuf,
}

impl DiskCache {
    pub(super) fn new(data_dir: &Path) -> Self {
        DiskCache { dir: data_dir.join(FOLDER) }
    }

    fn block(&self, id: Ulid) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// The file of a block, if it is there and good.
    pub(super) async fn read(&self, id: Ulid) -> Option<BlockMeta> {
        let dir = self.block(id);
        blocking(move || {
            let why = match std::fs::read(dir.join(FILE_NAME)) {
                Ok(json) => match parse(id, &json) {
                    Ok(meta) => return Some(meta),
                    Err((why, _)) => why.to_string(),
                },
                Err(e) if e.kind() == ErrorKind::NotFound => return None,
                Err(e) => e.to_string(),
            };
            tracing::warn!(
                dir = %dir.display(),
                err = why,
                "best effort read of the local meta.json failed; removing cached block dir"
            );
            remove(&dir);
            None
        })
        .await
    }

    /// Keeps a file as it came from the bucket.
    pub(super) async fn write(&self, id: Ulid, json: Bytes) {
        let dir = self.block(id);
        blocking(move || {
            let written =
                std::fs::create_dir_all(&dir).and_then(|()| write_atomically(&dir.join(FILE_NAME), &json));
            if let Err(e) = written {
                tracing::warn!(
                    dir = %dir.display(),
                    err = %e,
                    "best effort save of the meta.json to local dir failed; ignoring"
                );
            }
        })
        .await;
    }

    pub(super) async fn forget(&self, id: Ulid) {
        let dir = self.block(id);
        blocking(move || remove(&dir)).await;
    }

    /// Removes the files of all other blocks.
    pub(super) async fn keep_only(&self, keep: HashSet<Ulid>) {
        let dir = self.dir.clone();
        blocking(move || {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => return,
                Err(e) => {
                    tracing::warn!(err = %e, "best effort remove of not needed cached dirs failed; ignoring");
                    return;
                }
            };
            for entry in entries.flatten() {
                let id = entry.file_name().to_str().and_then(list::block);
                if id.is_some_and(|id| !keep.contains(&id)) {
                    remove(&entry.path());
                }
            }
        })
        .await;
    }
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), err = %e, "best effort remove of cached dir failed; ignoring");
        }
        _ => {}
    }
}
