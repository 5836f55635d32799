//! The table of contents at the end of an index.
//!
//! Holds the six section offsets. It knows no section's content. Invariant: the checksum is
//! verified; whether the offsets make sense is checked by whoever follows them.

use crate::wire::{Cursor, crc};
use crate::{Error, Result};

/// Length of the table with its checksum.
pub const LEN: usize = 6 * 8 + 4;

/// Byte offsets of the sections from the start of the index; zero means absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    /// Symbol table.
    pub symbols: u64,
    /// First series entry (before its padding).
    pub series: u64,
    /// First label index, also the end of the series.
    pub label_indices: u64,
    /// Label offset table.
    pub label_indices_table: u64,
    /// First postings list.
    pub postings: u64,
    /// Postings offset table.
    pub postings_table: u64,
}

impl Toc {
    /// Reads the table from the last [`LEN`] bytes of `tail`, any suffix of an index.
    pub fn parse(tail: &[u8]) -> Result<Toc> {
        let start = tail
            .len()
            .checked_sub(LEN)
            .ok_or_else(|| Error::corrupt("TOC", 0, format!("{} bytes, {LEN} wanted", tail.len())))?;
        let mut c = Cursor::at(tail, start, "TOC");
        let mut field = [0u64; 6];
        for f in &mut field {
            *f = c.be64()?;
        }
        let want = c.be32()?;
        let got = crc(&tail[start..start + LEN - 4]);
        if got != want {
            return Err(Error::corrupt("TOC", start, format!("checksum {got:08x}, expected {want:08x}")));
        }
        let [symbols, series, label_indices, label_indices_table, postings, postings_table] = field;
        Ok(Toc { symbols, series, label_indices, label_indices_table, postings, postings_table })
    }

    /// The bytes of the table, checksum included.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let fields = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_indices_table,
            self.postings,
            self.postings_table,
        ];
        for (i, f) in fields.iter().enumerate() {
            out[i * 8..i * 8 + 8].copy_from_slice(&f.to_be_bytes());
        }
        let sum = crc(&out[..LEN - 4]);
        out[LEN - 4..].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_round_trip_and_no_flipped_bit() {
        let toc = Toc { symbols: 5, series: 100, postings: u64::MAX, ..Toc::default() };
        let bytes = toc.encode();
        assert_eq!(Toc::parse(&bytes).unwrap(), toc);
        for bit in 0..LEN * 8 {
            let mut b = bytes;
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(Toc::parse(&b).is_err(), "bit {bit}");
        }
        assert!(Toc::parse(&bytes[1..]).is_err());
    }
}
