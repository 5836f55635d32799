//! Chunk encodings: bytes to columns of samples.
//!
//! Holds one module an encoding and the choice between them. It knows no file. Invariant: a decoder
//! appends whole samples only; bytes that end early are an error and never a short answer.

mod bits;
pub mod xor;

use crate::error::{Corrupt, Result};
use model::Samples;

/// The encoding byte of a chunk on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Integer histograms.
    Histogram = 2,
    /// Float histograms.
    FloatHistogram = 3,
    /// Floats, newer form, with optional start timestamps.
    Xor2 = 4,
    /// Integer histograms with start timestamps.
    HistogramSt = 5,
    /// Float histograms with start timestamps.
    FloatHistogramSt = 6,
    /// Thanos' five aggregates of a downsampled series.
    Aggr = 0xff,
}

impl Encoding {
    /// The encoding of a byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<Encoding> {
        Some(match byte {
            1 => Encoding::Xor,
            2 => Encoding::Histogram,
            3 => Encoding::FloatHistogram,
            4 => Encoding::Xor2,
            5 => Encoding::HistogramSt,
            6 => Encoding::FloatHistogramSt,
            0xff => Encoding::Aggr,
            _ => return None,
        })
    }
}

/// Appends the samples of a chunk's data to `out`.
///
/// # Errors
/// [`Corrupt`] with the offset in `data`.
pub fn decode(encoding: Encoding, data: &[u8], out: &mut Samples) -> Result<()> {
    match encoding {
        Encoding::Xor => xor::decode(data, out),
        _ => Err(Corrupt::new("chunk encoding", 0)),
    }
}
