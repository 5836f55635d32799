//! Thanos' aggregate chunks (encoding 255).
//!
//! Holds the container of up to five chunks: count, sum, min, max and counter. It knows nothing of
//! how they are computed. Invariant: parsing copies nothing and reads nothing outside the data.
//! Reference: Thanos `pkg/compact/downsample/aggr.go`. The counter chunk's last sample repeats the
//! time of the one before it and carries the last raw value, for resets between chunks.

use super::Encoding;
use crate::wire::{Cursor, put_uvarint};
use crate::{Error, Result};

const NAME: &str = "aggregate chunk";

/// Which aggregate, in the order of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Aggregate {
    Count = 0,
    Sum = 1,
    Min = 2,
    Max = 3,
    Counter = 4,
}

impl Aggregate {
    /// All of them, in order.
    pub const ALL: [Aggregate; 5] =
        [Aggregate::Count, Aggregate::Sum, Aggregate::Min, Aggregate::Max, Aggregate::Counter];
}

/// A chunk within the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubChunk<'a> {
    /// Its encoding.
    pub encoding: Encoding,
    /// Its data.
    pub data: &'a [u8],
}

/// The chunks of a container, each where present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregates<'a> {
    chunks: [Option<SubChunk<'a>>; 5],
}

impl<'a> Aggregates<'a> {
    /// Splits a container. Aggregates missing at the end (cut containers of old versions) are
    /// absent, a length that reaches behind the end is an error.
    pub fn parse(data: &'a [u8]) -> Result<Aggregates<'a>> {
        let mut c = Cursor::new(data, NAME);
        let mut out = Aggregates::default();
        for slot in &mut out.chunks {
            if c.left() == 0 {
                break;
            }
            let at = c.pos();
            let len = c.uvarint()?;
            if len == 0 {
                continue;
            }
            if len >= c.left() as u64 {
                return Err(Error::corrupt(NAME, at, format!("length {len}, {} bytes left", c.left())));
            }
            let encoding = Encoding::try_from(c.u8()?)?;
            *slot = Some(SubChunk { encoding, data: c.bytes(len as usize)? });
        }
        Ok(out)
    }

    /// One aggregate, if present.
    pub fn get(&self, which: Aggregate) -> Option<SubChunk<'a>> {
        self.chunks[which as usize]
    }

    /// The aggregates that are present.
    pub fn iter(&self) -> impl Iterator<Item = (Aggregate, SubChunk<'a>)> {
        Aggregate::ALL.into_iter().zip(self.chunks).filter_map(|(a, c)| Some((a, c?)))
    }

    /// Sets or takes out an aggregate.
    pub fn set(&mut self, which: Aggregate, chunk: Option<SubChunk<'a>>) {
        self.chunks[which as usize] = chunk;
    }

    /// The container's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.chunks.iter().flatten().map(|c| c.data.len() + 4).sum());
        for slot in &self.chunks {
            match slot {
                None => out.push(0),
                Some(c) => {
                    put_uvarint(&mut out, c.data.len() as u64);
                    out.push(c.encoding as u8);
                    out.extend_from_slice(c.data);
                }
            }
        }
        out
    }
}
