//! Snappy's framed stream format, one message at a time.
//!
//! What gRPC calls `snappy` between Thanos components: a stream identifier, then chunks of at most
//! 64 KiB, each with the masked CRC-32C of its plain bytes (`framing_format.txt` of Snappy). It knows
//! no gRPC frame. Invariant: decoding never believes a length, it grows by what it has decoded; a
//! chunk whose checksum is wrong is an error.

use bytes::{BufMut as _, Bytes, BytesMut};

const IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";
const BLOCK: usize = 1 << 16;
const COMPRESSED: u8 = 0x00;
const PLAIN: u8 = 0x01;
const STREAM: u8 = 0xff;
/// Chunk types from here on may be skipped.
const SKIPPABLE: u8 = 0x80;

/// Compresses messages; keeps its tables between them.
#[derive(Debug)]
pub(super) struct Encoder(snap::raw::Encoder);

impl Default for Encoder {
    fn default() -> Self {
        Encoder(snap::raw::Encoder::new())
    }
}

impl Encoder {
    /// Appends the stream that holds `plain` to `out`.
    pub(super) fn encode(&mut self, plain: &[u8], out: &mut BytesMut) -> Result<(), snap::Error> {
        out.put_slice(IDENTIFIER);
        for block in plain.chunks(BLOCK) {
            let head = out.len();
            out.resize(head + 8 + snap::raw::max_compress_len(block.len()), 0);
            let mut length = self.0.compress(block, &mut out[head + 8..])?;
            let mut kind = COMPRESSED;
            // Less than an eighth gained is not worth decoding, as in Go's writer.
            if length >= block.len() - block.len() / 8 {
                kind = PLAIN;
                length = block.len();
                out[head + 8..head + 8 + length].copy_from_slice(block);
            }
            out.truncate(head + 8 + length);
            let size = u32::try_from(length + 4).unwrap_or(u32::MAX).to_le_bytes();
            out[head] = kind;
            out[head + 1..head + 4].copy_from_slice(&size[..3]);
            out[head + 4..head + 8].copy_from_slice(&masked(block).to_le_bytes());
        }
        Ok(())
    }
}

/// Decompresses messages; keeps its buffer between them.
#[derive(Debug)]
pub(super) struct Decoder {
    raw: snap::raw::Decoder,
    block: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { raw: snap::raw::Decoder::new(), block: Vec::new() }
    }
}

/// A message cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("snappy: corrupt input at offset {0}")]
    Corrupt(usize),
    #[error("snappy: unsupported input at offset {0}")]
    Unsupported(usize),
    #[error("gzip: invalid data")]
    Gzip,
    #[error("message larger than {0} bytes")]
    TooLarge(usize),
}

impl Decoder {
    /// The plain bytes of the stream `input`, at most `limit` of them.
    pub(super) fn decode(&mut self, input: &[u8], limit: usize) -> Result<Bytes, Error> {
        let mut out = BytesMut::with_capacity(input.len().saturating_mul(2).min(limit));
        let mut at = 0;
        while at < input.len() {
            let corrupt = Error::Corrupt(at);
            let head = input.get(at..at + 4).ok_or(corrupt)?;
            let length = u32::from_le_bytes([head[1], head[2], head[3], 0]) as usize;
            let content = input.get(at + 4..at + 4 + length).ok_or(corrupt)?;
            if at == 0 && head[0] != STREAM {
                return Err(corrupt);
            }
            match head[0] {
                COMPRESSED | PLAIN => {
                    let (sum, data) = content.split_at_checked(4).ok_or(corrupt)?;
                    let plain = if head[0] == PLAIN {
                        Some(data).filter(|data| data.len() <= BLOCK)
                    } else {
                        self.block.resize(BLOCK, 0);
                        let length = snap::raw::decompress_len(data).ok().filter(|n| *n <= BLOCK);
                        let length = length.and_then(|_| self.raw.decompress(data, &mut self.block).ok());
                        length.map(|length| &self.block[..length])
                    };
                    let plain = plain.ok_or(corrupt)?;
                    if sum != masked(plain).to_le_bytes() {
                        return Err(corrupt);
                    }
                    if plain.len() > limit - out.len() {
                        return Err(Error::TooLarge(limit));
                    }
                    out.extend_from_slice(plain);
                }
                STREAM if &input[at..at + 4 + length] == IDENTIFIER => {}
                STREAM => return Err(corrupt),
                kind if kind >= SKIPPABLE => {}
                _ => return Err(Error::Unsupported(at)),
            }
            at += 4 + length;
        }
        Ok(out.freeze())
    }
}

fn masked(plain: &[u8]) -> u32 {
    crc32c::crc32c(plain).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use proptest::prelude::*;

    use super::*;

    fn encoded(plain: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        Encoder::default().encode(plain, &mut out).unwrap();
        out
    }

    fn decoded(input: &[u8]) -> Result<Bytes, Error> {
        Decoder::default().decode(input, usize::MAX)
    }

    fn patterned(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * i / 7 % 251) as u8 & if i % 3 == 0 { 0xff } else { 3 }).collect()
    }

    #[test]
    fn another_implementation_reads_ours_and_we_read_its_streams() {
        for length in [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let plain = patterned(length);
            let mut read = Vec::new();
            snap::read::FrameDecoder::new(&encoded(&plain)[..]).read_to_end(&mut read).unwrap();
            assert!(read == plain, "{length}");
            let mut theirs = snap::write::FrameEncoder::new(Vec::new());
            theirs.write_all(&plain).unwrap();
            assert!(decoded(&theirs.into_inner().unwrap()).unwrap() == plain, "{length}");
        }
    }

    #[test]
    fn what_does_not_compress_is_stored() {
        let mut noise = vec![0u8; 5000];
        let mut state = 1u32;
        noise.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let out = encoded(&noise);
        assert_eq!((out.len(), out[IDENTIFIER.len()]), (noise.len() + IDENTIFIER.len() + 8, PLAIN));
        assert_eq!(decoded(&out).unwrap(), noise);
    }

    #[test]
    fn damage_is_an_error_with_its_offset() {
        let out = encoded(&patterned(1000));
        assert_eq!(decoded(b""), Ok(Bytes::new()));
        assert_eq!(decoded(&out[10..]), Err(Error::Corrupt(0)));
        assert_eq!(decoded(&out[..out.len() - 1]), Err(Error::Corrupt(10)));
        let mut flipped = out.clone();
        flipped[14] ^= 1; // The checksum.
        assert_eq!(decoded(&flipped), Err(Error::Corrupt(10)));
        let mut unknown = out.clone();
        unknown[10] = 0x02;
        assert_eq!(decoded(&unknown), Err(Error::Unsupported(10)));
        let mut padded = out.to_vec();
        padded.splice(10..10, *b"\xfe\x02\x00\x00xx");
        assert_eq!(decoded(&padded).unwrap(), patterned(1000));
        assert_eq!(Decoder::default().decode(&out, 999), Err(Error::TooLarge(999)));
        assert!(Decoder::default().decode(&out, 1000).is_ok());
    }

    #[test]
    fn chunks_that_promise_much_and_hold_nothing_cost_nothing() {
        // Each chunk says that 64 KiB follow, and ends.
        let mut lying = IDENTIFIER.to_vec();
        for _ in 0..1000 {
            lying.extend_from_slice(b"\x00\x07\x00\x00\0\0\0\0\x80\x80\x04");
        }
        assert_eq!(decoded(&lying), Err(Error::Corrupt(10)));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(plain in prop::collection::vec(0u8..4, 0..2000)) {
            prop_assert_eq!(decoded(&encoded(&plain)).unwrap(), plain);
        }

        #[test]
        fn any_input_decodes_or_fails(mut input in prop::collection::vec(any::<u8>(), 0..300), whole: bool) {
            if whole {
                input.splice(0..0, IDENTIFIER.iter().copied());
            }
            if let Ok(out) = decoded(&input) {
                prop_assert!(out.len() <= 64 * input.len());
            }
        }
    }
}
