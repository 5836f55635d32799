//! Encoders of histogram chunks.
//!
//! Holds one encoder for integer and one for float histograms, with and without start timestamps.
//! They know nothing of when to cut a chunk beyond what the format demands. Invariant: all
//! histograms of a chunk share one layout, except stale markers, which have none; what does not
//! fit is refused and leaves the chunk as it was.

use model::{FloatHistogram, Histogram, Millis, STALE_NAN_BITS, Span};

use super::super::bits::{BitWriter, WriteSpan};
use super::super::st::StWriter;
use super::CounterReset;
use super::layout::{Layout, bucket_count};
use super::read::HEADER;
use crate::{Error, Result};

/// What both encoders share.
#[derive(Clone, Debug)]
struct Frame {
    bits: BitWriter,
    reset: CounterReset,
    st: Option<StWriter>,
    count: u16,
    layout: Layout,
    t: Millis,
    delta: i64,
    stale: bool,
}

impl Frame {
    fn new(reset: CounterReset, start_timestamps: bool) -> Frame {
        Frame {
            bits: BitWriter::new(HEADER),
            reset,
            st: start_timestamps.then(StWriter::default),
            count: 0,
            layout: Layout::default(),
            t: 0,
            delta: 0,
            stale: false,
        }
    }

    fn full(&self) -> bool {
        self.count >= if self.st.is_some() { 0x3fff } else { u16::MAX }
    }

    /// Refuses a histogram of another layout, or with buckets that its spans do not cover.
    fn admit(&self, layout: &Layout, stale: bool, buckets: [usize; 2]) -> Result<()> {
        let refuse = |why: &str| Err(Error::Invalid(format!("histogram chunk: {why}")));
        if self.full() {
            return refuse("too many samples");
        }
        if buckets != [bucket_count(&layout.positive), bucket_count(&layout.negative)] {
            return refuse("spans and buckets disagree");
        }
        if self.count > 0 && !stale && (self.stale || !same_layout(layout, &self.layout)) {
            return refuse("the layout changed");
        }
        Ok(())
    }

    /// The delta of deltas of a following sample's time.
    fn step(&mut self, t: Millis) -> i64 {
        let delta = t.wrapping_sub(self.t);
        let dod = delta.wrapping_sub(self.delta);
        self.delta = delta;
        dod
    }

    fn done(&mut self, t: Millis, st: Millis, stale: bool) {
        if let Some(w) = &mut self.st {
            w.write(&mut self.bits, HEADER - 1, u32::from(self.count), t, self.t, st);
        }
        self.t = t;
        self.stale = stale;
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let mut count = self.count;
        if self.st.is_some() {
            count |= u16::from(self.reset as u8) << 14;
        } else {
            *self.bits.byte(2) = (self.reset as u8) << 6;
        }
        let [a, b] = count.to_be_bytes();
        *self.bits.byte(0) = a;
        *self.bits.byte(1) = b;
        self.bits.finish()
    }
}

/// Equality that takes NaN bounds for equal to themselves.
fn same_layout(a: &Layout, b: &Layout) -> bool {
    let bits =
        |l: &Layout| l.custom.as_deref().unwrap_or_default().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    (a.schema, a.zero_threshold.to_bits()) == (b.schema, b.zero_threshold.to_bits())
        && a.positive == b.positive
        && a.negative == b.negative
        && bits(a) == bits(b)
}

fn layout(
    schema: i32,
    zero_threshold: f64,
    p: &[Span],
    n: &[Span],
    custom: &Option<std::sync::Arc<[f64]>>,
) -> Layout {
    Layout { schema, zero_threshold, positive: p.to_vec(), negative: n.to_vec(), custom: custom.clone() }
}

/// Writes integer histograms (encoding 2, or 5 with start timestamps).
#[derive(Clone, Debug)]
pub struct IntEncoder {
    frame: Frame,
    count: Delta,
    zero: Delta,
    sum: u64,
    span: WriteSpan,
    buckets: Vec<Delta>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Delta {
    value: i64,
    delta: i64,
}

impl Delta {
    fn put(&mut self, b: &mut BitWriter, v: i64) {
        let delta = v.wrapping_sub(self.value);
        b.varbit_int(delta.wrapping_sub(self.delta));
        *self = Delta { value: v, delta };
    }
}

impl IntEncoder {
    /// An empty chunk.
    pub fn new(reset: CounterReset, start_timestamps: bool) -> Self {
        IntEncoder {
            frame: Frame::new(reset, start_timestamps),
            count: Delta::default(),
            zero: Delta::default(),
            sum: 0,
            span: WriteSpan::default(),
            buckets: Vec::new(),
        }
    }

    /// Appends a histogram. A stale marker is written without its buckets.
    ///
    /// # Errors
    /// Another layout than the chunk's, a histogram after a stale marker, or a full chunk: cut a
    /// new one.
    pub fn push(&mut self, st: Millis, t: Millis, h: &Histogram) -> Result<()> {
        let stale = h.sum.to_bits() == STALE_NAN_BITS;
        let empty = Histogram { sum: h.sum, ..Histogram::default() };
        let h = if stale { &empty } else { h };
        let own = layout(h.schema, h.zero_threshold, &h.positive_spans, &h.negative_spans, &h.custom_values);
        self.frame.admit(&own, stale, [h.positive_buckets.len(), h.negative_buckets.len()])?;
        let all = h.positive_buckets.iter().chain(&h.negative_buckets);
        let b = &mut self.frame.bits;
        if self.frame.count == 0 {
            own.write(b);
            self.frame.layout = own;
            b.varbit_int(t);
            b.varbit_uint(h.count);
            b.varbit_uint(h.zero_count);
            b.put(h.sum.to_bits(), 64);
            self.count.value = h.count as i64;
            self.zero.value = h.zero_count as i64;
            for v in all {
                b.varbit_int(*v);
                self.buckets.push(Delta { value: *v, delta: 0 });
            }
        } else {
            let dod = self.frame.step(t);
            let b = &mut self.frame.bits;
            b.varbit_int(dod);
            if stale {
                // The counts of a stale marker are written as if nothing had changed.
                b.varbit_int(0);
                b.varbit_int(0);
            } else {
                self.count.put(b, h.count as i64);
                self.zero.put(b, h.zero_count as i64);
            }
            b.xor(h.sum.to_bits() ^ self.sum, &mut self.span);
            for (d, v) in self.buckets.iter_mut().zip(all) {
                d.put(b, *v);
            }
        }
        self.sum = h.sum.to_bits();
        self.frame.done(t, st, stale);
        Ok(())
    }

    /// Number of histograms.
    pub fn len(&self) -> usize {
        usize::from(self.frame.count)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frame.count == 0
    }

    /// The chunk's data.
    pub fn finish(self) -> Vec<u8> {
        self.frame.finish()
    }
}

/// Writes float histograms (encoding 3, or 6 with start timestamps).
#[derive(Clone, Debug)]
pub struct FloatEncoder {
    frame: Frame,
    count: Xor,
    zero: Xor,
    sum: Xor,
    buckets: Vec<Xor>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Xor {
    value: u64,
    span: WriteSpan,
}

impl Xor {
    fn first(&mut self, b: &mut BitWriter, v: f64) {
        self.value = v.to_bits();
        b.put(self.value, 64);
    }

    fn put(&mut self, b: &mut BitWriter, v: f64) {
        b.xor(v.to_bits() ^ self.value, &mut self.span);
        self.value = v.to_bits();
    }
}

impl FloatEncoder {
    /// An empty chunk.
    pub fn new(reset: CounterReset, start_timestamps: bool) -> Self {
        FloatEncoder {
            frame: Frame::new(reset, start_timestamps),
            count: Xor::default(),
            zero: Xor::default(),
            sum: Xor::default(),
            buckets: Vec::new(),
        }
    }

    /// Appends a histogram, as [`IntEncoder::push`].
    ///
    /// # Errors
    /// As [`IntEncoder::push`].
    pub fn push(&mut self, st: Millis, t: Millis, h: &FloatHistogram) -> Result<()> {
        let stale = h.sum.to_bits() == STALE_NAN_BITS;
        let empty = FloatHistogram { sum: h.sum, ..FloatHistogram::default() };
        let h = if stale { &empty } else { h };
        let own = layout(h.schema, h.zero_threshold, &h.positive_spans, &h.negative_spans, &h.custom_values);
        self.frame.admit(&own, stale, [h.positive_buckets.len(), h.negative_buckets.len()])?;
        let all = h.positive_buckets.iter().chain(&h.negative_buckets);
        if self.frame.count == 0 {
            let b = &mut self.frame.bits;
            own.write(b);
            self.frame.layout = own;
            b.varbit_int(t);
            self.count.first(b, h.count);
            self.zero.first(b, h.zero_count);
            self.sum.first(b, h.sum);
            for v in all {
                let mut x = Xor::default();
                x.first(b, *v);
                self.buckets.push(x);
            }
        } else {
            let dod = self.frame.step(t);
            let b = &mut self.frame.bits;
            b.varbit_int(dod);
            self.count.put(b, h.count);
            self.zero.put(b, h.zero_count);
            self.sum.put(b, h.sum);
            for (x, v) in self.buckets.iter_mut().zip(all) {
                x.put(b, *v);
            }
        }
        self.frame.done(t, st, stale);
        Ok(())
    }

    /// Number of histograms.
    pub fn len(&self) -> usize {
        usize::from(self.frame.count)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frame.count == 0
    }

    /// The chunk's data.
    pub fn finish(self) -> Vec<u8> {
        self.frame.finish()
    }
}
