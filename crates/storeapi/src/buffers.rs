//! Buffers of received frames.
//!
//! Chunks share the bytes of the frame they came in, so a frame lives until its last chunk has been decoded;
//! then its buffer serves another one. It knows no message. Invariant: a frame keeps at most [`LOOSE`] times
//! its own size.

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use component::buffers::Pool;

/// Bytes that may wait in the process.
const MOST_IDLE: usize = 4 << 20;
/// Smaller frames are not worth waiting for.
const SMALL: usize = 4 << 10;
/// Larger ones are rare, and not copied.
const LARGE: usize = 512 << 10;
/// A buffer may be larger than its frame by this factor.
const LOOSE: usize = 4;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(MOST_IDLE));

/// All bytes of `from`, moved into a buffer of their own, so that the one they lie in can be used again.
pub(crate) fn taken(from: &mut impl Buf) -> Bytes {
    let len = from.remaining();
    if len > LARGE {
        return from.copy_to_bytes(len);
    }
    let small = len < SMALL;
    let waiting = if small { None } else { POOL.take(len..=len * LOOSE) };
    // Rounded, so that frames of about the same size can take turns.
    let new = || Vec::with_capacity(if small { len } else { len.next_multiple_of(16 << 10) });
    let mut buffer = waiting.unwrap_or_else(new);
    while from.has_remaining() {
        let piece = from.chunk();
        buffer.extend_from_slice(piece);
        from.advance(piece.len());
    }
    if small { Bytes::from(buffer) } else { POOL.lend(buffer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_what_came() {
        for len in [0, 1, SMALL - 1, SMALL, 5000, LARGE, LARGE + 1] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut from = (&bytes[..len / 2]).chain(&bytes[len / 2..]);
            let frame = taken(&mut from);
            assert!(frame == bytes && !from.has_remaining());
            // While a frame is alive nobody else writes into its buffer.
            let other = taken(&mut Bytes::from(vec![9; len]));
            assert!(frame == bytes && other == vec![9; len]);
        }
    }
}
