//! Joins the decoded chunks of one row into one run of samples.
//!
//! Three ways: plain ([`seal`]), counters whose resets are taken out while joining ([`Counter`]),
//! and averages from a sum and a count ([`average`]). It knows no encoding: callers decode.
//! Invariant: timestamps of the result rise strictly. Behaviour follows Thanos' `chunkSeriesIterator`
//! (`pkg/query/iter.go`), `ApplyCounterResetsSeriesIterator` and `AverageChunkIterator`
//! (`pkg/compact/downsample`).

use std::sync::Arc;

use model::{FloatHistogram, Millis, Samples};

use crate::row::{Cursor, Kind, set_last_start};

/// Drops what a chunk just appended at `from` repeats of the time before it.
///
/// Chunks of one row are ordered but may overlap by their samples; the earlier chunk wins.
pub fn seal(samples: &mut Samples, from: usize) {
    let rises = |w: &[Millis]| w[0] < w[1];
    let start = from.saturating_sub(1);
    if samples.ts[start..].windows(2).all(rises) {
        return;
    }
    // Rare: copy what rises, in place.
    let mut write = from;
    let mut last = if from == 0 { None } else { Some(samples.ts[from - 1]) };
    let mut hists = std::mem::take(&mut samples.hists);
    let kept = hists.partition_point(|h| (h.index as usize) < from);
    let mut tail = hists.split_off(kept).into_iter().peekable();
    for read in from..samples.ts.len() {
        let t = samples.ts[read];
        let mut hist = tail.next_if(|h| h.index as usize == read);
        if last.is_some_and(|last| t <= last) {
            continue;
        }
        last = Some(t);
        samples.ts[write] = t;
        samples.values[write] = samples.values[read];
        if !samples.start_ts.is_empty() {
            samples.start_ts[write] = samples.start_ts[read];
        }
        if let Some(mut h) = hist.take() {
            h.index = write as u32;
            hists.push(h);
        }
        write += 1;
    }
    samples.hists = hists;
    truncate(samples, write);
}

/// Keeps only what lies within `mint..=maxt`.
pub fn trim(samples: &mut Samples, mint: Millis, maxt: Millis) {
    let end = samples.ts.partition_point(|t| *t <= maxt);
    truncate(samples, end);
    let start = samples.ts.partition_point(|t| *t < mint);
    if start == 0 {
        return;
    }
    samples.ts.drain(..start);
    samples.values.drain(..start);
    if !samples.start_ts.is_empty() {
        samples.start_ts.drain(..start);
    }
    let first = samples.hists.partition_point(|h| (h.index as usize) < start);
    samples.hists.drain(..first);
    for h in &mut samples.hists {
        h.index -= start as u32;
    }
}

fn truncate(samples: &mut Samples, len: usize) {
    samples.ts.truncate(len);
    samples.values.truncate(len);
    if !samples.start_ts.is_empty() {
        samples.start_ts.truncate(len);
    }
    let hists = samples.hists.partition_point(|h| (h.index as usize) < len);
    samples.hists.truncate(hists);
}

/// Joins counter chunks, raw or downsampled, into one counter that never falls.
///
/// A downsampled counter chunk ends with a second sample at its last timestamp: the true last raw
/// value, by which a reset between two chunks is seen.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    started: bool,
    last_t: Millis,
    last_v: f64,
    total: f64,
    /// Samples up to here belong to time already covered by an earlier chunk.
    floor: Option<Millis>,
    seen: bool,
}

impl Counter {
    /// Takes one chunk's samples and appends the adjusted ones to `out`.
    pub fn feed(&mut self, chunk: &Samples, out: &mut Samples) {
        // Crossing into a later chunk asks for the first sample after the last one seen.
        if self.seen {
            self.floor = Some(self.floor.map_or(self.last_t, |f| f.max(self.last_t)));
        }
        if chunk.hists.is_empty() && chunk.start_ts.is_empty() && out.start_ts.is_empty() {
            // A copy stays in registers.
            let mut own = self.clone();
            out.ts.reserve(chunk.len());
            out.values.reserve(chunk.len());
            for (t, v) in chunk.ts.iter().zip(&chunk.values) {
                if own.accept(*t, *v) {
                    out.ts.push(*t);
                    out.values.push(own.total);
                }
            }
            *self = own;
            return;
        }
        let mut at = Cursor::new(chunk);
        while !at.ended() {
            if at.kind() == Kind::Histogram {
                self.last_t = at.t();
                self.seen = true;
                if self.above_floor() {
                    at.copy_to(out);
                }
            } else if self.accept(at.t(), at.v()) {
                out.push(self.last_t, self.total);
                set_last_start(out, at.start_t());
            }
            at.step();
        }
    }

    /// Counts one float in; whether it is to be handed on, as `total` at `last_t`.
    #[inline]
    fn accept(&mut self, t: Millis, v: f64) -> bool {
        if v.is_nan() {
            return false;
        }
        if !self.started {
            self.started = true;
            (self.last_t, self.last_v, self.total) = (t, v, v);
        } else if t > self.last_t {
            self.total += if v >= self.last_v { v - self.last_v } else { v };
            (self.last_t, self.last_v) = (t, v);
        } else {
            // A repeated timestamp carries the true last value of the chunk before it.
            if t == self.last_t {
                self.last_v = v;
            }
            return false;
        }
        self.seen = true;
        self.above_floor()
    }

    #[inline]
    fn above_floor(&mut self) -> bool {
        if self.floor.is_some_and(|floor| self.last_t <= floor) {
            return false;
        }
        self.floor = None;
        true
    }
}

/// Why a sum and a count do not make an average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misaligned {
    /// They have different numbers of samples.
    #[error("sum and count iterator not aligned")]
    Length,
    /// A timestamp differs.
    #[error("sum and count timestamps not aligned")]
    Timestamps,
}

/// Appends `sum / count`, sample by sample, to `out`.
///
/// # Errors
/// [`Misaligned`] when the two were not written together; nothing is appended then.
pub fn average(sum: &Samples, count: &Samples, out: &mut Samples) -> Result<(), Misaligned> {
    aligned(sum, count)?;
    if sum.hists.is_empty() {
        out.ts.extend_from_slice(&sum.ts);
        out.values.extend(sum.values.iter().zip(&count.values).map(|(s, c)| s / c));
        if !out.start_ts.is_empty() {
            out.start_ts.resize(out.ts.len(), 0);
        }
        return Ok(());
    }
    each(sum, count, out, |h, by| divided(&h, by));
    Ok(())
}

/// As [`average`], histograms as Thanos 0.43 averages them (`AverageChunkIterator`), for whole chunks.
///
/// Thanos divides in the memory of the iterator that decodes the chunk, which takes the next sample's
/// buckets as differences (by bits) to what it holds there. So from the second sample on buckets are
/// not the sums divided by the counts; counts and sums of the histograms are. Answers that have to be
/// equal to those of Thanos need the same.
///
/// # Errors
/// As [`average`].
pub fn average_as_thanos(sum: &Samples, count: &Samples, out: &mut Samples) -> Result<(), Misaligned> {
    if sum.hists.is_empty() {
        return average(sum, count, out);
    }
    aligned(sum, count)?;
    // The true buckets of the sample before, and what the iterator holds in their place.
    let mut before: Option<(FloatHistogram, FloatHistogram)> = None;
    each(sum, count, out, |h, by| {
        let read = match &before {
            Some((last, held)) => misread(&h, last, held),
            None => h.clone(),
        };
        let averaged = divided(&read, by);
        // Dividing by zero takes the buckets out of the result, not out of the iterator.
        let held = if by == 0.0 { read } else { averaged.clone() };
        // A stale marker has no buckets, and reading it moves none.
        if !model::is_stale_nan(h.sum) {
            before = Some((h, held));
        }
        averaged
    });
    Ok(())
}

/// `h` as it is decoded where `held` lies in place of `last`.
fn misread(h: &FloatHistogram, last: &FloatHistogram, held: &FloatHistogram) -> FloatHistogram {
    let mut read = h.clone();
    let sides = [
        (&mut read.positive_buckets, &last.positive_buckets, &held.positive_buckets),
        (&mut read.negative_buckets, &last.negative_buckets, &held.negative_buckets),
    ];
    for (buckets, last, held) in sides {
        for ((bucket, last), held) in buckets.iter_mut().zip(last).zip(held) {
            *bucket = f64::from_bits(bucket.to_bits() ^ last.to_bits() ^ held.to_bits());
        }
    }
    read
}

fn aligned(sum: &Samples, count: &Samples) -> Result<(), Misaligned> {
    if sum.len() != count.len() {
        return Err(Misaligned::Length);
    }
    if sum.ts != count.ts { Err(Misaligned::Timestamps) } else { Ok(()) }
}

/// Appends each sample of `sum` divided by that of `count`, histograms by `divide`.
fn each(
    sum: &Samples,
    count: &Samples,
    out: &mut Samples,
    mut divide: impl FnMut(FloatHistogram, f64) -> FloatHistogram,
) {
    let mut hists = sum.hists.iter().peekable();
    for i in 0..sum.len() {
        match hists.next_if(|h| h.index as usize == i) {
            Some(h) => {
                out.push_histogram(sum.ts[i], Arc::new(divide((*h.histogram).clone(), count.values[i])));
            }
            None => out.push(sum.ts[i], sum.values[i] / count.values[i]),
        }
    }
}

/// `h / by`; division by zero leaves no buckets (Prometheus `FloatHistogram.Div`).
fn divided(h: &FloatHistogram, by: f64) -> FloatHistogram {
    let mut h = h.clone();
    h.zero_count /= by;
    h.count /= by;
    h.sum /= by;
    if by == 0.0 {
        h.positive_spans.clear();
        h.negative_spans.clear();
        h.positive_buckets.clear();
        h.negative_buckets.clear();
        return h;
    }
    h.positive_buckets.iter_mut().chain(&mut h.negative_buckets).for_each(|b| *b /= by);
    if by < 0.0 {
        h.counter_reset_hint = model::CounterResetHint::Gauge;
    }
    h
}

#[cfg(test)]
mod tests;
