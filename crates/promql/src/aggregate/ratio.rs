//! Which rows `limit_ratio` takes: those whose label sets have a hash in the ratio's part of all hashes.
//!
//! Holds the hashes, the bounds, and the operator for several steps, which needs no heap. It knows no
//! group. Invariant: whether a row is taken depends on its labels and the ratio alone. Reference: Prometheus `promql/engine.go` (`HashRatioSampler`) and `model/labels`.

use model::Labels;

use super::{ParamRange, Place};
use crate::annotations::{Annotation, Annotations};
use crate::error::QueryError;
use crate::exec::op::{Cx, Local, Map, Row, Scalar};
use crate::functions::Param;

/// How a label set is hashed. The builds of Prometheus differ in it, and so in the rows they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampler {
    /// As the default build does: each name and value behind its length.
    Lengths,
    /// As a build with `slicelabels` does, which Thanos is: each name and value before a byte of 255.
    Separators,
}

impl Sampler {
    /// Where a label set stands between 0 and 1.
    pub(crate) fn offset(self, labels: &Labels) -> f64 {
        self.hash(labels) as f64 / u64::MAX as f64
    }

    fn hash(self, labels: &Labels) -> u64 {
        let mut bytes = Vec::with_capacity(labels.byte_len() + 8);
        for part in labels.iter_bytes().flat_map(|(name, value)| [name, value]) {
            match self {
                Sampler::Lengths => {
                    put_length(&mut bytes, part.len());
                    bytes.extend_from_slice(part);
                }
                Sampler::Separators => {
                    bytes.extend_from_slice(part);
                    bytes.push(255);
                }
            }
        }
        model::labels::hash_bytes(&bytes)
    }
}

/// A length takes one byte, or three behind a byte of 255.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 255 => bytes.push(short),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        }
    }
}

/// Checks the ratios; returns whether all are zero.
pub(super) fn check_ratio(
    range: ParamRange,
    place: &Place,
    notes: &mut Annotations,
) -> Result<bool, QueryError> {
    if range.max == 0.0 && range.min == 0.0 {
        return Ok(true);
    }
    if range.nan {
        return Err(QueryError::execution("Ratio value is NaN"));
    }
    if range.max > 1.0 {
        notes.add(Annotation::invalid_ratio(range.max, 1.0, place.param));
    }
    if range.min < -1.0 {
        notes.add(Annotation::invalid_ratio(range.min, -1.0, place.param));
    }
    Ok(false)
}

/// Whether a ratio (capped to -1 and 1) takes what stands at `offset`.
pub(super) fn within(ratio: f64, offset: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    (ratio > 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio)
}

/// `limit_ratio` over several steps: whether a row is taken depends on its labels alone.
pub(crate) struct LimitRatio {
    param: Scalar,
    place: Place,
    sampler: Sampler,
    ratio: Param,
    empty: bool,
}

impl LimitRatio {
    /// With the ratio as parameter.
    pub(crate) fn new(param: Scalar, place: Place, sampler: Sampler) -> Self {
        LimitRatio { param, place, sampler, ratio: Param::Const(0.0), empty: false }
    }
}

impl Map for LimitRatio {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.ratio = (*cx.slots.scalar(self.param)).clone();
        self.empty = check_ratio(ParamRange::of(&self.ratio), &self.place, cx.notes)?;
        Ok(())
    }

    fn map(&self, row: &mut Row, _: &mut Local<'_>) -> Result<bool, QueryError> {
        if self.empty {
            return Ok(false);
        }
        let offset = self.sampler.offset(&row.labels);
        let mut keep = vec![0u64; row.column.present.len()];
        (0..row.column.len())
            .filter(|i| within(self.ratio.at(*i), offset))
            .for_each(|i| keep[i / 64] |= 1 << (i % 64));
        row.column.retain(&keep);
        Ok(row.column.any())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_builds_of_prometheus() {
        // Recorded from builds with `stringlabels`, the default, and with `slicelabels`.
        let check = |pairs: &[(&str, &str)], lengths: u64, separators: u64| {
            let labels = Labels::from_pairs(pairs.iter().copied());
            assert_eq!(Sampler::Lengths.hash(&labels), lengths, "{labels}");
            assert_eq!(Sampler::Separators.hash(&labels), separators, "{labels}");
        };
        let long = |n| "v".repeat(n);
        check(&[], 17_241_709_254_077_376_921, 17_241_709_254_077_376_921);
        check(&[("__name__", "up")], 17_066_213_849_227_247_093, 2_581_902_663_846_753_688);
        let requests = [("__name__", "http_requests_total"), ("container", "c2"), ("pod", "p1")];
        check(&requests, 17_702_602_579_417_511_961, 3_374_315_449_354_625_339);
        check(&[("long", &long(254))], 5_468_719_719_704_864_577, 12_022_451_404_459_879_338);
        check(&[("long", &long(255))], 232_111_515_211_454_833, 12_081_289_439_702_221_547);
        let both = [("long", &*long(5000)), ("zoë", "☃")];
        check(&both, 9_899_891_435_538_613_642, 16_451_506_825_297_566_040);
    }

    #[test]
    fn a_ratio_takes_from_the_front_and_a_negative_one_from_the_back() {
        let taken = |ratio| [0.0, 0.29, 0.3, 0.71, 1.0].map(|offset| within(ratio, offset));
        assert_eq!(taken(0.3), [true, true, false, false, false]);
        assert_eq!(taken(-0.7), [false, false, false, true, true]);
        assert_eq!(taken(-0.3), [false, false, false, true, true]);
        assert_eq!((taken(0.0), taken(-5.0)), ([false; 5], [true; 5]));
        assert_eq!(taken(5.0), [true, true, true, true, false]);
    }
}
