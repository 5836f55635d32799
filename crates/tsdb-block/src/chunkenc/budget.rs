//! How much a chunk may make us allocate.
//!
//! A histogram chunk spends a few bits on a sample that takes hundreds of bytes decoded, so a lying
//! count could ask for gigabytes. Invariant: what is taken never exceeds 64 bytes per input byte
//! and 1 MiB; real chunks stay far below.

use crate::{Error, Result};

/// Kept back for what is not counted: the text of an error, the first growth of a column.
const RESERVE: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Allowance {
    left: usize,
}

impl Allowance {
    pub(super) fn of(data: &[u8]) -> Allowance {
        Allowance { left: data.len().saturating_mul(64).saturating_add((1 << 20) - RESERVE) }
    }

    /// Takes `count` items of `size` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize, size: usize) -> Result<()> {
        match count.checked_mul(size).and_then(|n| self.left.checked_sub(n)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::corrupt("histogram chunk", 0, "announces more than its size can hold")),
        }
    }
}
