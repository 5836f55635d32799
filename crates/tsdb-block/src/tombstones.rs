//! Tombstones: deleted time ranges of a block's series, not yet compacted away.
//!
//! Holds the file's decoder and encoder. It knows no series but by reference. Invariant: the
//! intervals of a series are ascending, and neither overlap nor touch.
//! The layout is described in Prometheus' `tsdb/docs/format/tombstones.md`.

use std::collections::BTreeMap;

use model::Millis;

use crate::wire::{Cursor, crc, put_uvarint, put_varint};
use crate::{Error, Result};

/// First four bytes of the file.
pub const MAGIC: u32 = 0x0130_BA30;
/// Name of the file within a block.
pub const FILE_NAME: &str = "tombstones";

const NAME: &str = "tombstones";

/// A deleted range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// First deleted time.
    pub mint: Millis,
    /// Last deleted time.
    pub maxt: Millis,
}

/// Deleted ranges by series reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    by_series: BTreeMap<u64, Vec<Interval>>,
}

impl Tombstones {
    /// Reads a file.
    pub fn parse(file: &[u8]) -> Result<Tombstones> {
        let mut c = Cursor::new(file, NAME);
        let magic = c.be32()?;
        if magic != MAGIC {
            return Err(Error::corrupt(NAME, 0, format!("magic number {magic:08x}")));
        }
        match c.u8()? {
            1 => {}
            v => return Err(Error::unsupported("tombstones version", i64::from(v))),
        }
        if c.left() < 4 {
            return Err(c.fail("no checksum"));
        }
        let body = c.bytes(c.left() - 4)?;
        let want = c.be32()?;
        if crc(body) != want {
            return Err(Error::corrupt(NAME, 5, format!("checksum {:08x}, expected {want:08x}", crc(body))));
        }
        let mut out = Tombstones::default();
        let mut c = Cursor::new(body, NAME);
        while c.left() > 0 {
            let (series, mint, maxt) = (c.uvarint()?, c.varint()?, c.varint()?);
            out.by_series.entry(series).or_default().push(Interval { mint, maxt });
        }
        out.by_series.values_mut().for_each(normalise);
        Ok(out)
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_be_bytes().to_vec();
        out.push(1);
        for (series, intervals) in &self.by_series {
            for i in intervals {
                put_uvarint(&mut out, *series);
                put_varint(&mut out, i.mint);
                put_varint(&mut out, i.maxt);
            }
        }
        let sum = crc(&out[5..]);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Adds a deleted range.
    pub fn add(&mut self, series: u64, interval: Interval) {
        let all = self.by_series.entry(series).or_default();
        all.push(interval);
        normalise(all);
    }

    /// Deleted ranges of a series.
    pub fn get(&self, series: u64) -> &[Interval] {
        self.by_series.get(&series).map_or(&[], Vec::as_slice)
    }

    /// All series with deleted ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[Interval])> {
        self.by_series.iter().map(|(s, i)| (*s, i.as_slice()))
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.by_series.values().map(Vec::len).sum()
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.by_series.is_empty()
    }
}

fn normalise(all: &mut Vec<Interval>) {
    all.sort_unstable();
    all.dedup_by(|next, before| {
        let joins = next.mint <= before.maxt.saturating_add(1);
        if joins {
            before.maxt = before.maxt.max(next.maxt);
        }
        joins
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_survive_and_no_flipped_bit_does() {
        let mut t = Tombstones::default();
        for (s, mint, maxt) in [(9, 5, 6), (9, 1, 2), (9, 3, 3), (4, i64::MIN, i64::MAX), (9, 6, 10)] {
            t.add(s, Interval { mint, maxt });
        }
        assert_eq!(t.get(9), [Interval { mint: 1, maxt: 3 }, Interval { mint: 5, maxt: 10 }]);
        let bytes = t.encode();
        assert_eq!(Tombstones::parse(&bytes).unwrap(), t);
        for bit in 0..bytes.len() * 8 {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::parse(&b).is_err(), "bit {bit}");
        }
        assert!(Tombstones::parse(&Tombstones::default().encode()).unwrap().is_empty());
    }
}
