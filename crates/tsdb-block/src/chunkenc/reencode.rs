//! Chunks without start timestamps, for peers that cannot read them.
//!
//! Holds the rewriting of XOR2 to XOR and of the start-timestamp histogram encodings to the plain
//! ones. It knows nobody's capabilities. Invariant: times, values, histograms and the counter reset
//! header survive exactly; only start timestamps are lost. One chunk always gives one chunk: the
//! plain forms count at least as many samples.

use std::borrow::Cow;

use super::{Encoding, lossless, xor, xor2};
use crate::Result;

/// The plain encoding for a chunk of `encoding`.
pub fn plain(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::Xor2 => Encoding::Xor,
        Encoding::HistogramSt => Encoding::Histogram,
        Encoding::FloatHistogramSt => Encoding::FloatHistogram,
        other => other,
    }
}

/// The chunk in its plain encoding; borrowed where it already is.
pub fn drop_start_timestamps(encoding: Encoding, data: &[u8]) -> Result<(Encoding, Cow<'_, [u8]>)> {
    let to = plain(encoding);
    if to == encoding {
        return Ok((encoding, Cow::Borrowed(data)));
    }
    if encoding == Encoding::Xor2 {
        let mut out = xor::Encoder::new();
        let mut failed = None;
        xor2::walk(data, |_, t, v| match out.push(t, f64::from_bits(v)) {
            Ok(()) => true,
            Err(e) => {
                failed = Some(e);
                false
            }
        })?;
        return failed.map_or_else(|| Ok((to, Cow::Owned(out.finish()))), Err);
    }
    let mut chunk = lossless::read(encoding, data)?;
    chunk.encoding = to;
    chunk.tail.clear();
    Ok((to, Cow::Owned(lossless::write(&chunk)?)))
}
