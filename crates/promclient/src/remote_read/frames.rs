//! Cutting a byte stream into checked frames.
//!
//! Holds the incremental reader of `varint length, CRC32C big-endian, message` (upstream
//! `storage/remote/chunked.go`). It knows no message. Invariant: memory grows with what has arrived,
//! never with what a length promises.

use bytes::{Buf, Bytes, BytesMut};

use crate::Error;
use crate::error::FrameError;

/// Bytes of a checksum.
const CRC: usize = 4;
/// Most bytes of a varint.
const MAX_VARINT: usize = 10;

/// Bytes in, frames out.
#[derive(Debug)]
pub struct Frames {
    limit: u64,
    buffer: BytesMut,
    /// Of the frame whose length has been read.
    size: Option<usize>,
    count: u64,
}

impl Frames {
    /// A reader that refuses frames above `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Frames { limit, buffer: BytesMut::new(), size: None, count: 0 }
    }

    /// Frames given out so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes what has arrived.
    pub fn push(&mut self, piece: Bytes) {
        if self.buffer.is_empty() {
            // The piece's own memory is taken over where nobody else holds it.
            self.buffer = BytesMut::from(piece);
        } else {
            self.buffer.extend_from_slice(&piece);
        }
    }

    /// The next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Error::Frame`].
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Error> {
        let size = match self.size {
            Some(size) => size,
            None => match self.length()? {
                Some(size) => *self.size.insert(size),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < CRC + size {
            return Ok(None);
        }
        let want = self.buffer.get_u32();
        let frame = self.buffer.split_to(size).freeze();
        if crc32c::crc32c(&frame) != want {
            return Err(self.error(FrameError::Checksum));
        }
        self.size = None;
        self.count += 1;
        Ok(Some(frame))
    }

    /// Checks that the stream ended between frames.
    ///
    /// # Errors
    /// [`FrameError::Truncated`].
    pub fn finish(&self) -> Result<(), Error> {
        if self.size.is_some() || !self.buffer.is_empty() {
            return Err(self.error(FrameError::Truncated));
        }
        Ok(())
    }

    fn length(&mut self) -> Result<Option<usize>, Error> {
        let mut value = 0u64;
        for (i, byte) in self.buffer.iter().take(MAX_VARINT).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == MAX_VARINT - 1 && bits > 1 {
                return Err(self.error(FrameError::Length));
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                if value > self.limit {
                    return Err(self.error(FrameError::TooLarge { size: value, limit: self.limit }));
                }
                self.buffer.advance(i + 1);
                return usize::try_from(value).map(Some).map_err(|_| self.error(FrameError::Length));
            }
        }
        if self.buffer.len() >= MAX_VARINT { Err(self.error(FrameError::Length)) } else { Ok(None) }
    }

    fn error(&self, reason: FrameError) -> Error {
        Error::Frame { frame: self.count, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::put_frame;
    use super::*;

    fn read(bytes: &[u8], step: usize, limit: u64) -> (Vec<Bytes>, Result<(), Error>) {
        let mut frames = Frames::new(limit);
        let mut got = Vec::new();
        for piece in bytes.chunks(step.max(1)) {
            frames.push(Bytes::copy_from_slice(piece));
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => got.push(frame),
                    Ok(None) => break,
                    Err(e) => return (got, Err(e)),
                }
            }
        }
        let end = frames.finish();
        (got, end)
    }

    proptest! {
        /// Frames come back whatever the pieces; every cut elsewhere is an error.
        #[test]
        fn round_trip(messages in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..300), 0..8), step in 1usize..64, cut in any::<u16>()) {
            let mut wire = BytesMut::new();
            let mut ends = vec![0];
            for m in &messages { put_frame(&mut wire, m); ends.push(wire.len()); }
            let (got, end) = read(&wire, step, 1000);
            prop_assert!(end.is_ok());
            prop_assert_eq!(got, messages);
            let cut = usize::from(cut) % (wire.len() + 1);
            let (_, end) = read(&wire[..cut], step, 1000);
            prop_assert_eq!(end.is_ok(), ends.contains(&cut));
        }

        /// No input panics.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..32) {
            let _ = read(&bytes, step, 100);
        }
    }

    /// R035: wrong checksum, oversized frame, a length that is none, an end within a frame.
    #[test]
    fn r035_damage_is_named() {
        let reason = |bytes: &[u8]| match read(bytes, 7, 100).1 {
            Err(Error::Frame { frame, reason }) => (frame, reason),
            other => panic!("no frame error: {other:?}"),
        };
        let mut wire = BytesMut::new();
        put_frame(&mut wire, b"first");
        put_frame(&mut wire, b"second");
        let last = wire.len() - 1;
        wire[last] ^= 1;
        assert_eq!(reason(&wire), (1, FrameError::Checksum));
        assert_eq!(reason(&wire[..last]), (1, FrameError::Truncated));
        assert_eq!(reason(&[101, 0, 0]), (0, FrameError::TooLarge { size: 101, limit: 100 }));
        assert_eq!(reason(&[0xff; 12]), (0, FrameError::Length));
        assert!(matches!(reason(&[0x80; 9]), (0, FrameError::Truncated)));
    }
}
