//! The data directory: which blocks are there, and hard links to one of them.
//!
//! Holds file system work only; it sends nothing. Invariant: files of Prometheus are never changed, for
//! `meta.json` is replaced in the link directory and not written through the link.

use std::path::Path;

use tsdb_block::meta::{BlockMeta, FILE_NAME, Ulid};

use crate::local::write_atomically;
use crate::upload::{CHUNKS, Error, INDEX, read_meta, segments};

/// Where hard links go, below the data directory.
pub(super) const UPLOADS: &str = "thanos/upload";

/// What a data directory holds.
pub(super) struct Blocks {
    /// By first millisecond.
    pub(super) metas: Vec<BlockMeta>,
    /// Blocks that cannot be read, with the reason.
    pub(super) bad: Vec<(String, String)>,
}

fn local(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Local { what, path, source }
}

/// The blocks in `dir`, oldest first.
pub(super) fn blocks(dir: &Path) -> Result<Blocks, Error> {
    let (mut metas, mut bad) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(local("read dir", dir))? {
        let entry = entry.map_err(local("read dir", dir))?;
        if entry.file_name().to_str().is_none_or(|n| Ulid::from_string(n).is_err()) {
            continue;
        }
        let path = entry.path();
        match path.metadata() {
            Ok(found) if !found.is_dir() => {}
            Ok(_) => match read_meta(&path) {
                Ok(meta) => metas.push(meta),
                Err(e) => bad.push((path.display().to_string(), e.to_string())),
            },
            Err(e) => bad.push((path.display().to_string(), format!("stat block: {e}"))),
        }
    }
    // Equal times are ordered by name, so that two passes see the same order.
    metas.sort_by_key(|m| (m.min_time, m.ulid));
    bad.sort_unstable();
    Ok(Blocks { metas, bad })
}

/// Removes hard links that an earlier process left behind.
pub(super) fn sweep(dir: &Path) -> Result<(), Error> {
    let uploads = dir.join(UPLOADS);
    match std::fs::remove_dir_all(&uploads) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(local("clean upload directory", &uploads)(e))
        }
        _ => Ok(()),
    }
}

/// Links the files of the block `from` into the new directory `to` and writes `meta` there.
pub(super) fn link(from: &Path, to: &Path, mut meta: BlockMeta) -> Result<(), Error> {
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(local("clean upload directory", to))?;
    }
    let chunks = to.join(CHUNKS);
    std::fs::create_dir_all(&chunks).map_err(local("create upload dir", &chunks))?;
    let names = segments(from)?;
    let files = names.iter().map(|n| format!("{CHUNKS}/{n}"));
    for file in files.chain([INDEX.to_owned()]) {
        let target = to.join(&file);
        std::fs::hard_link(from.join(&file), &target).map_err(local("hard link file", &target))?;
    }
    meta.thanos.get_or_insert_default().segment_files = names;
    let path = to.join(FILE_NAME);
    write_atomically(&path, &meta.to_json()).map_err(local("write meta file", &path))
}
