//! From the chunks of a series to its samples.
//!
//! Holds the choice of the chunk to decode (raw, or the aggregate that the function needs), joining,
//! and deduplication of replicas (Thanos `pkg/query/iter.go`, `pkg/dedup`). It knows no store and no
//! stream. Invariant: each chunk is decoded at most once, into columns that are used again for the next
//! series; what goes out is strictly ascending by time and within the range asked for.

use dedup::join::{self, Counter};
use dedup::{Algorithm, overlap_split};
use model::{Millis, Samples};
use storeapi::{Aggr, AggrChunk, Chunk, Series};
use tsdb_block::chunkenc::{self, Encoding};

/// Chunks of these series, and the samples that their heads say they have.
pub fn counts(series: &[Series]) -> (u64, u64) {
    let parts = series.iter().flat_map(|s| &s.chunks).flat_map(|c| &c.parts);
    parts.fold((0, 0), |(chunks, samples), part| {
        let number = u8::try_from(part.chunk.encoding.saturating_add(1)).unwrap_or(0);
        let encoding = Encoding::from_byte(number);
        let count = encoding.and_then(|e| chunkenc::count(e, &part.chunk.data).ok()).map_or(0, u64::from);
        (chunks + 1, samples + count)
    })
}

/// What of a chunk is needed, by the function around the selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One aggregate, or raw samples.
    One(Aggr),
    /// A counter without resets between chunks, or raw samples made so.
    Counter,
    /// Sum over count, or raw samples.
    Average,
}

impl Wanted {
    /// What a function needs (Thanos `aggrsFromFunc`).
    pub fn of_function(func: &str) -> Self {
        let is = |word: &str| func == word || func.strip_prefix(word).is_some_and(|f| f.starts_with('_'));
        match func {
            _ if is("min") => Wanted::One(Aggr::Min),
            _ if is("max") => Wanted::One(Aggr::Max),
            _ if is("count") => Wanted::One(Aggr::Count),
            // `sum` itself adds up averages.
            _ if func.starts_with("sum_") => Wanted::One(Aggr::Sum),
            "increase" | "rate" | "irate" | "resets" | "xincrease" | "xrate" => Wanted::Counter,
            _ => Wanted::Average,
        }
    }

    /// The aggregates to ask stores for, as they stand in the request.
    pub fn aggregates(self) -> Vec<i32> {
        match self {
            Wanted::One(aggr) => vec![aggr as i32],
            Wanted::Counter => vec![Aggr::Counter as i32],
            Wanted::Average => vec![Aggr::Count as i32, Aggr::Sum as i32],
        }
    }
}

/// A chunk that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk of time range {min_time}-{max_time}: {reason}")]
pub struct BadChunk {
    /// Time of its first sample.
    pub min_time: Millis,
    /// Time of its last sample.
    pub max_time: Millis,
    /// What is wrong with it.
    pub reason: String,
}

/// Decodes and deduplicates one series after the other.
#[derive(Debug)]
pub struct Decoder {
    wanted: Wanted,
    /// How replicas are merged; `None` leaves overlapping chunks in one row.
    dedup: Option<Algorithm>,
    counter: bool,
    assigned: Vec<u32>,
    rows: Vec<Samples>,
    spare: Vec<Samples>,
    chunk: Samples,
    second: Samples,
    /// Whether the row at hand has samples outside of the range.
    untrimmed: bool,
}

impl Decoder {
    /// A decoder for selections below the function `func`.
    pub fn new(func: &str, dedup: Option<Algorithm>) -> Self {
        Decoder {
            wanted: Wanted::of_function(func),
            dedup,
            counter: dedup::is_counter(func),
            assigned: Vec::new(),
            rows: Vec::new(),
            spare: Vec::new(),
            chunk: Samples::default(),
            second: Samples::default(),
            untrimmed: false,
        }
    }

    /// Fills `out` with the samples within `mint..=maxt`, some `expected` of them. Chunks that cannot be
    /// used are left out and added to `bad`.
    pub fn decode(
        &mut self,
        chunks: &[AggrChunk],
        (mint, maxt): (Millis, Millis),
        expected: usize,
        out: &mut Samples,
        bad: &mut Vec<BadChunk>,
    ) {
        out.clear();
        // Once, and no more than that: columns are as many as series are on their way.
        out.ts.reserve_exact(expected);
        out.values.reserve_exact(expected);
        let Some(algorithm) = self.dedup else {
            self.row(chunks.iter(), (mint, maxt), out, bad);
            return;
        };
        let count =
            overlap_split::assign(chunks.iter().map(|c| (c.min_time, c.max_time)), &mut self.assigned);
        if count <= 1 {
            self.row(chunks.iter(), (mint, maxt), out, bad);
            return;
        }
        let assigned = std::mem::take(&mut self.assigned);
        for row in 0..count {
            let mut samples = self.spare.pop().unwrap_or_default();
            samples.clear();
            let own = chunks.iter().zip(&assigned).filter(|(_, r)| **r as usize == row).map(|(c, _)| c);
            self.row(own, (mint, maxt), &mut samples, bad);
            self.rows.push(samples);
        }
        self.assigned = assigned;
        match algorithm {
            Algorithm::Penalty => dedup::penalty::merge(&self.rows, self.counter, out),
            Algorithm::Chain => dedup::chain::merge(&self.rows, out),
        }
        self.spare.append(&mut self.rows);
    }

    /// Joins the chunks of one row.
    fn row<'c>(
        &mut self,
        chunks: impl Iterator<Item = &'c AggrChunk>,
        (mint, maxt): (Millis, Millis),
        out: &mut Samples,
        bad: &mut Vec<BadChunk>,
    ) {
        let mut counter = Counter::default();
        let mut beyond = false;
        for chunk in chunks {
            // After the first chunk that reaches behind the range, nothing within it can follow.
            if beyond {
                break;
            }
            beyond = chunk.max_time > maxt;
            // A counter needs its past for the total; other samples before the range are not looked at.
            if chunk.max_time < mint && self.wanted != Wanted::Counter {
                continue;
            }
            let done = match self.wanted {
                Wanted::Counter => self.counter_chunk(chunk, &mut counter, out),
                Wanted::One(aggr) => {
                    joined(chunk, chunk.get(aggr).or(chunk.get(Aggr::Raw)), (mint, maxt), out)
                }
                Wanted::Average => match chunk.get(Aggr::Raw) {
                    Some(raw) => joined(chunk, Some(raw), (mint, maxt), out),
                    None => self.average_chunk(chunk, (mint, maxt), out),
                },
            };
            if let Err(reason) = done {
                bad.push(BadChunk { min_time: chunk.min_time, max_time: chunk.max_time, reason });
            }
        }
        if self.wanted == Wanted::Counter || std::mem::take(&mut self.untrimmed) {
            join::trim(out, mint, maxt);
        }
    }

    fn counter_chunk(
        &mut self,
        chunk: &AggrChunk,
        counter: &mut Counter,
        out: &mut Samples,
    ) -> Result<(), String> {
        self.chunk.clear();
        let (encoding, data) = bytes(chunk.get(Aggr::Counter).or(chunk.get(Aggr::Raw)))?;
        chunkenc::decode(encoding, data, &mut self.chunk).map_err(|e| e.to_string())?;
        counter.feed(&self.chunk, out);
        Ok(())
    }

    fn average_chunk(
        &mut self,
        chunk: &AggrChunk,
        (mint, maxt): (Millis, Millis),
        out: &mut Samples,
    ) -> Result<(), String> {
        let (encoding, _) = bytes(chunk.get(Aggr::Sum))?;
        // How a histogram is averaged depends on those before it in its chunk.
        let whole = encoding == Encoding::FloatHistogram;
        let mint = if whole { Millis::MIN } else { mint };
        for (aggr, into) in [(Aggr::Sum, &mut self.chunk), (Aggr::Count, &mut self.second)] {
            into.clear();
            let (encoding, data) = bytes(chunk.get(aggr))?;
            chunkenc::decode_range(encoding, data, mint, maxt, into).map_err(|e| e.to_string())?;
        }
        let from = out.len();
        join::average_as_thanos(&self.chunk, &self.second, out).map_err(|e| e.to_string())?;
        join::seal(out, from);
        self.untrimmed |= whole;
        Ok(())
    }
}

fn joined(
    of: &AggrChunk,
    chunk: Option<&Chunk>,
    (mint, maxt): (Millis, Millis),
    out: &mut Samples,
) -> Result<(), String> {
    let from = out.len();
    let (encoding, data) = bytes(chunk)?;
    if of.min_time >= mint && of.max_time <= maxt {
        chunkenc::decode(encoding, data, out).map_err(|e| e.to_string())?;
    } else {
        chunkenc::decode_range(encoding, data, mint, maxt, out).map_err(|e| e.to_string())?;
    }
    join::seal(out, from);
    Ok(())
}

fn bytes(chunk: Option<&Chunk>) -> Result<(Encoding, &[u8]), String> {
    let chunk = chunk.ok_or("no valid chunk found")?;
    let number = chunk.encoding.checked_add(1).and_then(|n| u8::try_from(n).ok());
    // On the wire there are no containers of aggregates.
    let known = number.and_then(Encoding::from_byte).filter(|e| *e != Encoding::Aggr);
    let encoding = known.ok_or_else(|| format!("unsupported chunk encoding {}", chunk.encoding))?;
    Ok((encoding, &chunk.data))
}

/// What decoding chunks can come to: an estimate from the counts in their heads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Samples of the series, before replicas are joined.
    pub samples: usize,
    /// Bytes of all samples, of each aggregate.
    pub bytes: u64,
}

impl Size {
    /// Of these chunks.
    pub fn of(chunks: &[AggrChunk]) -> Self {
        let mut size = Size::default();
        for chunk in chunks {
            let mut most = 0;
            for part in &chunk.parts {
                let Ok((encoding, data)) = bytes(Some(&part.chunk)) else { continue };
                let samples = chunkenc::count(encoding, data).map_or(0, u64::from);
                most = most.max(samples as usize);
                size.bytes += match encoding {
                    Encoding::Xor | Encoding::Xor2 => samples * 16,
                    // A histogram takes as much as its buckets; a third of a kilobyte is a usual one.
                    _ => samples * 400,
                };
            }
            size.samples += most;
        }
        size
    }
}

#[cfg(test)]
mod tests;
