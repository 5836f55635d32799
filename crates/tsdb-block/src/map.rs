//! Files mapped into memory as shared bytes.
//!
//! The one place of this crate with unsafe code: mapping is unsafe because another process may cut
//! the file short meanwhile. Invariant: only files of finished blocks are mapped; they are written
//! once, renamed into place and never changed (deletion keeps the mapping valid).
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use crate::{Error, Result};

/// The content of `path`. An empty file gives no bytes.
pub(crate) fn file(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(Error::io(path))?;
    let meta = file.metadata().map_err(Error::io(path))?;
    if !meta.is_file() {
        let e = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::io(path)(e));
    }
    if meta.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: see the head of this module; the mapping is read-only and private to this process.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
    Ok(Bytes::from_owner(map))
}
