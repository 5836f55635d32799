//! Writing XOR chunks.
//!
//! Holds the encoder for columns of floats (upstream `tsdb/chunkenc/xor.go`). It knows no start
//! timestamps: the encoding has none. Invariant: what it writes, `xor` reads back bit for bit.

use bits::Writer;

/// The samples as the data of one XOR chunk. `ts` and `values` have the same length; at most 65,535
/// samples fit, more are left to the caller to split.
///
/// # Panics
/// Never; samples beyond the shorter column or 65,535 are not written.
pub(super) fn encode(ts: &[i64], values: &[f64]) -> Vec<u8> {
    let count = ts.len().min(values.len()).min(usize::from(u16::MAX));
    let mut out = Writer::new(count as u16);
    let (mut delta, mut leading, mut trailing) = (0i64, 0xffu32, 0u32);
    for i in 0..count {
        match i {
            0 => {
                out.varint(ts[0]);
                out.put(values[0].to_bits(), 64);
                continue;
            }
            1 => {
                delta = ts[1].wrapping_sub(ts[0]);
                out.uvarint(delta as u64);
            }
            _ => {
                let next = ts[i].wrapping_sub(ts[i - 1]);
                let change = next.wrapping_sub(delta);
                delta = next;
                timestamp(&mut out, change);
            }
        }
        let xor = values[i].to_bits() ^ values[i - 1].to_bits();
        if xor == 0 {
            out.put(0, 1);
            continue;
        }
        let (l, t) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        if leading != 0xff && l >= leading && t >= trailing {
            out.put(0b10, 2);
        } else {
            (leading, trailing) = (l, t);
            let significant = 64 - l - t;
            out.put(0b11, 2);
            out.put(u64::from(l), 5);
            // 64 does not fit six bits and is written as 0: there is always one significant bit.
            out.put(u64::from(significant & 63), 6);
        }
        out.put(xor >> trailing, 64 - leading - trailing);
    }
    out.finish()
}

fn timestamp(out: &mut Writer, change: i64) {
    let fits = |bits: u32| -((1i64 << (bits - 1)) - 1) <= change && change <= 1i64 << (bits - 1);
    match change {
        0 => out.put(0, 1),
        _ if fits(14) => {
            out.put(0b10, 2);
            out.put(change as u64, 14);
        }
        _ if fits(17) => {
            out.put(0b110, 3);
            out.put(change as u64, 17);
        }
        _ if fits(20) => {
            out.put(0b1110, 4);
            out.put(change as u64, 20);
        }
        _ => {
            out.put(0b1111, 4);
            out.put(change as u64, 64);
        }
    }
}

mod bits {
    /// Bits into bytes, most significant first.
    #[derive(Debug)]
    pub(super) struct Writer {
        bytes: Vec<u8>,
        /// Free bits in the last byte.
        free: u32,
    }

    impl Writer {
        pub(super) fn new(count: u16) -> Self {
            Writer { bytes: count.to_be_bytes().to_vec(), free: 0 }
        }

        /// The low `n` bits of `value`.
        pub(super) fn put(&mut self, value: u64, n: u32) {
            let mut left = n;
            while left > 0 {
                if self.free == 0 {
                    self.bytes.push(0);
                    self.free = 8;
                }
                let take = left.min(self.free);
                let part = (value >> (left - take)) & ((1u64 << take) - 1);
                if let Some(last) = self.bytes.last_mut() {
                    *last |= (part << (self.free - take)) as u8;
                }
                self.free -= take;
                left -= take;
            }
        }

        pub(super) fn uvarint(&mut self, mut v: u64) {
            while v >= 0x80 {
                self.put(v & 0x7f | 0x80, 8);
                v >>= 7;
            }
            self.put(v, 8);
        }

        pub(super) fn varint(&mut self, v: i64) {
            self.uvarint(((v << 1) ^ (v >> 63)) as u64);
        }

        pub(super) fn finish(self) -> Vec<u8> {
            self.bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Samples;

    use super::*;

    #[test]
    fn reads_back_bit_for_bit() {
        let cases: [Vec<(i64, f64)>; 4] = [
            vec![],
            vec![(-5, f64::NAN)],
            (0..120).map(|i| (1_700_000_000_000 + i * 15_000 + (i % 7), (i as f64).sin())).collect(),
            vec![
                (0, 1.0),
                (1, 1.0),
                (8192, -0.0),
                (8193, 5e-324),
                (1 << 40, f64::MAX),
                ((1 << 40) + 1, 2.0),
                (i64::MAX, 3.0),
            ],
        ];
        for samples in cases {
            let (ts, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
            let data = encode(&ts, &values);
            let mut out = Samples::default();
            tsdb_block::chunkenc::decode(tsdb_block::chunkenc::Encoding::Xor, &data, &mut out).unwrap();
            let bits = |v: &[f64]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
            assert_eq!((out.ts.clone(), bits(&out.values)), (ts, bits(&values)));
        }
    }
}
