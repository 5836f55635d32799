//! `load` blocks: series with their values and start timestamps.
//!
//! Holds the expansion of a block into samples with times. It knows no store. Invariant: a series
//! appears once, with the values of the line that names it last.

use std::sync::Arc;

use model::time::parse_duration_millis;
use model::{FloatHistogram, Labels, Millis};

use super::{Lines, MAX_VALUES, options};
use crate::parse::SequenceValue;

/// A `load` command.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Its line in the script, from 1.
    pub line: usize,
    /// Its series in the order of their first mention.
    pub series: Vec<LoadedSeries>,
    /// Whether native histograms are to be derived from the classic ones (`load_with_nhcb`).
    pub with_nhcb: bool,
}

/// A series of a `load` command.
#[derive(Clone, Debug)]
pub struct LoadedSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its samples in time order.
    pub samples: Vec<LoadedSample>,
}

/// A sample of a `load` command.
#[derive(Clone, Debug)]
pub struct LoadedSample {
    /// Its time.
    pub t: Millis,
    /// Its start timestamp; 0 is unknown.
    pub st: Millis,
    /// Its value; unspecified for a histogram.
    pub value: f64,
    /// The histogram, if it is one.
    pub histogram: Option<Arc<FloatHistogram>>,
}

pub(super) fn parse(line: &str, number: usize, lines: &mut Lines<'_>) -> Result<Load, String> {
    let invalid = || "invalid load command, which is load[_with_nhcb] <step>".to_owned();
    let rest = line.strip_prefix("load").ok_or_else(invalid)?;
    let (with_nhcb, rest) = match rest.strip_prefix("_with_nhcb") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let step = rest.trim_start();
    if step.len() == rest.len() || step.is_empty() {
        return Err(invalid());
    }
    let gap = parse_duration_millis(step).map_err(|e| format!("invalid step definition \"{step}\": {e}"))?;
    let mut load = Load { line: number, series: Vec::new(), with_nhcb };
    let mut starts: Option<(Labels, Vec<Option<Millis>>)> = None;
    while let Some(line) = lines.next_of_block() {
        if let Some((metric, offsets)) = start_line(line) {
            if starts.is_some() {
                return Err("@st line has no following sample line".to_owned());
            }
            let labels = series(&format!("{metric} _"))?.0;
            starts = Some((labels, start_offsets(offsets)?));
            continue;
        }
        let (labels, values) = series(line)?;
        let offsets = match starts.take() {
            None => None,
            Some((of, _)) if of != labels => {
                return Err("@st metric does not match the following sample line metric".to_owned());
            }
            Some((_, offsets)) if offsets.len() != values.len() => {
                let (a, b) = (offsets.len(), values.len());
                return Err(format!("@st line has {a} values but sample line has {b}"));
            }
            Some((_, offsets)) => Some(offsets),
        };
        load.set(labels, samples(gap, values, offsets.as_deref()));
    }
    match starts {
        Some(_) => Err("@st line has no following sample line".to_owned()),
        None => Ok(load),
    }
}

impl Load {
    fn set(&mut self, labels: Labels, samples: Vec<LoadedSample>) {
        match self.series.iter_mut().find(|s| s.labels == labels) {
            Some(s) => s.samples = samples,
            None => self.series.push(LoadedSeries { labels, samples }),
        }
    }
}

pub(super) fn series(line: &str) -> Result<(Labels, Vec<SequenceValue>), String> {
    let series = options().parse_series(line).map_err(|e| e.to_string())?;
    let values = series.values(MAX_VALUES).map_err(|e| e.to_string())?;
    Ok((series.labels, values))
}

fn samples(gap: Millis, values: Vec<SequenceValue>, starts: Option<&[Option<Millis>]>) -> Vec<LoadedSample> {
    let place = |(i, value): (usize, SequenceValue)| {
        let t = gap * i as Millis;
        let st = starts.and_then(|s| s[i]).map_or(0, |offset| t + offset);
        match value {
            SequenceValue::Omitted => None,
            SequenceValue::Float(value) => Some(LoadedSample { t, st, value, histogram: None }),
            SequenceValue::Histogram { histogram, .. } => {
                Some(LoadedSample { t, st, value: 0.0, histogram: Some(histogram) })
            }
        }
    };
    values.into_iter().enumerate().filter_map(place).collect()
}

/// Metric and offsets of a line whose first word ends in `@st`.
fn start_line(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.split_once([' ', '\t'])?;
    Some((word.strip_suffix("@st")?, rest))
}

/// `_ -20s 0s-1mx2`: offsets from each sample's own time.
fn start_offsets(text: &str) -> Result<Vec<Option<Millis>>, String> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        let count = |text: &str| {
            let n = text.parse::<usize>().ok().filter(|n| *n <= MAX_VALUES);
            n.ok_or_else(|| format!("invalid repeat count in \"{item}\""))
        };
        if item == "_" {
            out.push(None);
            continue;
        }
        if let Some(times) = item.strip_prefix("_x") {
            match count(times)? {
                0 => return Err(format!("invalid repeat count in \"{item}\"")),
                n => out.extend(std::iter::repeat_n(None, n)),
            }
            continue;
        }
        let (base, rest) = offset(item)?;
        let (step, rest) = match rest.as_bytes().first() {
            None => {
                out.push(Some(base));
                continue;
            }
            Some(b'x') => (0, rest),
            Some(sign @ (b'+' | b'-')) => {
                let (step, rest) = offset(&rest[1..])?;
                (if *sign == b'-' { -step } else { step }, rest)
            }
            Some(_) => return Err(format!("unexpected text after the duration in \"{item}\"")),
        };
        let times = rest.strip_prefix('x').ok_or_else(|| format!("expected x<count> in \"{item}\""))?;
        out.extend((0..=count(times)?).map(|i| Some(base + step * i as Millis)));
    }
    Ok(out)
}

/// A signed duration of one unit, and what follows it.
fn offset(text: &str) -> Result<(Millis, &str), String> {
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(format!("expected digits in duration \"{text}\""));
    }
    let unit = body[digits..].bytes().take_while(|b| b.is_ascii_alphabetic() && *b != b'x').count();
    let (duration, rest) = body.split_at(digits + unit);
    let millis =
        parse_duration_millis(duration).map_err(|e| format!("invalid duration \"{duration}\": {e}"))?;
    Ok((if negative { -millis } else { millis }, rest))
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Script};
    use super::*;

    fn block(text: &str) -> Load {
        match Script::parse(text).unwrap().commands.remove(0) {
            Command::Load(load) => load,
            _ => panic!("no load"),
        }
    }

    #[test]
    fn values_stand_at_multiples_of_the_gap() {
        let load = block("load 90s\n a 1 _ 3\n b _x2 7\n a 5 6\n");
        let times = |i: usize| load.series[i].samples.iter().map(|s| (s.t, s.value)).collect::<Vec<_>>();
        assert_eq!(load.series.len(), 2);
        assert_eq!((times(0), times(1)), (vec![(0, 5.0), (90_000, 6.0)], vec![(180_000, 7.0)]));
    }

    #[test]
    fn start_timestamps_count_from_their_sample() {
        assert_eq!(start_offsets("_ -20s 0s-1mx2 5sx1 _x2 +1ms").unwrap(), {
            let mut v = vec![None, Some(-20_000), Some(0), Some(-60_000), Some(-120_000)];
            v.extend([Some(5_000), Some(5_000), None, None, Some(1)]);
            v
        });
        let load = block("load 1m\n a{b=\"c\"}@st _ -20s\n a{b=\"c\"} 1 2\n");
        assert_eq!(load.series[0].samples.iter().map(|s| s.st).collect::<Vec<_>>(), [0, 40_000]);
        for bad in ["a@st -1m", "a@st -1m\n b 1", "a@st -1m\n a 1 2", "a@st 1m1s\n a 1", "a@st _x0\n a 1"] {
            assert!(Script::parse(&format!("load 1m\n {bad}\n")).is_err(), "{bad}");
        }
    }
}
