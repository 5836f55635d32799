//! Estimates from one native histogram: variance, quantile, fraction.
//!
//! Holds interpolation within buckets. It knows no series and no classic bucket. Invariant: custom
//! and zero buckets are interpolated linearly, others on a logarithmic scale, in Prometheus' order of
//! operations. Read next: `classic`.

use model::FloatHistogram;
use model::histogram::{Bucket, kahan_inc};

use super::math;

/// What is odd about a result because some observations were NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanNote {
    /// The quantile falls among them.
    Result,
    /// The quantile is higher than without them.
    Skew,
    /// The fraction leaves them out.
    Fraction,
}

/// The estimated variance of the observations.
pub(crate) fn variance(h: &FloatHistogram) -> f64 {
    let mean = h.sum / h.count;
    let (mut sum, mut c) = (0.0, 0.0);
    for b in h.all_buckets() {
        if b.count == 0.0 {
            continue;
        }
        let middle = if h.uses_custom_buckets() {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            let root = (b.upper * b.lower).sqrt();
            if b.upper < 0.0 { -root } else { root }
        };
        let delta = middle - mean;
        (sum, c) = kahan_inc(b.count * delta * delta, sum, c);
    }
    (sum + c) / h.count
}

/// No bucket at all.
const NOTHING: Bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0, index: 0 };

/// Where a bucket stands in a histogram.
#[derive(Clone, Copy)]
enum Place {
    Negative(usize),
    Zero,
    Positive(usize),
}

impl Place {
    fn bucket(self, h: &FloatHistogram) -> Option<Bucket> {
        match self {
            Place::Negative(at) => h.negative_at(at).map(|b| h.beside_zero(b)),
            Place::Zero => Some(h.zero_bucket()),
            Place::Positive(at) => h.positive_at(at).map(|b| h.beside_zero(b)),
        }
    }
}

/// The buckets of a histogram in the order of values, or against it: places and populations.
struct Places<'a> {
    h: &'a FloatHistogram,
    upwards: bool,
    at: usize,
}

impl<'a> Places<'a> {
    fn new(h: &'a FloatHistogram, upwards: bool) -> Self {
        Places { h, upwards, at: 0 }
    }
}

impl Iterator for Places<'_> {
    type Item = (Place, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (negative, positive) = (&self.h.negative_buckets, &self.h.positive_buckets);
        let zero = usize::from(self.h.zero_count > 0.0);
        let all = negative.len() + zero + positive.len();
        if self.at >= all {
            return None;
        }
        let at = if self.upwards { self.at } else { all - 1 - self.at };
        self.at += 1;
        Some(if at < negative.len() {
            let at = negative.len() - 1 - at;
            (Place::Negative(at), negative[at])
        } else if at < negative.len() + zero {
            (Place::Zero, self.h.zero_count)
        } else {
            let at = at - negative.len() - zero;
            (Place::Positive(at), positive[at])
        })
    }
}

/// Bounds of the zero bucket where only one side has buckets.
fn one_sided(h: &FloatHistogram, b: &mut Bucket) {
    if h.negative_buckets.is_empty() && !h.positive_buckets.is_empty() {
        b.lower = 0.0;
    } else if h.positive_buckets.is_empty() && !h.negative_buckets.is_empty() {
        b.upper = 0.0;
    }
}

/// The value below which a share `q` of the observations lies.
pub(crate) fn quantile(q: f64, h: &FloatHistogram) -> (f64, Option<NanNote>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let custom = h.uses_custom_buckets();
    // Observations of NaN are in no bucket but in the count: only from below is the rank right.
    let forward = h.sum.is_nan() || q < 0.5;
    let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    // Only counts are looked at until the bucket is found.
    let mut left = Places::new(h, forward);
    let (mut found, mut count) = (None, 0.0);
    for (place, population) in left.by_ref() {
        found = Some(place);
        if population == 0.0 {
            continue;
        }
        count += population;
        if count >= rank {
            break;
        }
    }
    let bucket = |place: Option<Place>| place.and_then(|p| p.bucket(h)).unwrap_or(NOTHING);
    let mut b = bucket(found);
    if !custom && b.lower < 0.0 && b.upper > 0.0 {
        one_sided(h, &mut b);
    } else if custom {
        if b.lower == f64::NEG_INFINITY {
            if b.upper <= 0.0 {
                return (b.upper, None);
            }
            b.lower = 0.0;
        } else if b.upper == f64::INFINITY {
            return (b.lower, None);
        }
    }
    // Sums of buckets may exceed the count by rounding.
    if count > h.count {
        count = h.count;
    }
    if count < rank {
        return if h.sum.is_nan() { (f64::NAN, Some(NanNote::Result)) } else { (b.upper, None) };
    }
    rank = if forward { rank - (count - b.count) } else { count - rank };
    let mut note = None;
    if h.sum.is_nan() {
        // The bucket that is interpolated in is the last one then, as upstream has it.
        let mut last = None;
        for (place, population) in left {
            last = Some(place);
            count += population;
        }
        if last.is_some() {
            b = bucket(last);
        }
        if count < h.count {
            note = Some(NanNote::Skew);
        }
    }
    let fraction = rank / b.count;
    if custom || (b.lower <= 0.0 && b.upper >= 0.0) {
        return (b.lower + (b.upper - b.lower) * fraction, note);
    }
    let (lower, upper) = (math::log2(b.lower.abs()), math::log2(b.upper.abs()));
    if b.lower > 0.0 {
        return (math::exp2(lower + (upper - lower) * fraction), note);
    }
    (-math::exp2(upper + (lower - upper) * (1.0 - fraction)), note)
}

/// The share of observations between two bounds.
pub(crate) fn fraction(lower: f64, upper: f64, h: &FloatHistogram) -> (f64, Option<NanNote>) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let custom = h.uses_custom_buckets();
    let (mut lower_rank, mut upper_rank) = (None, None);
    let (mut count, mut rank) = (0.0, 0.0);
    let mut buckets = h.all_buckets().into_iter();
    for mut b in buckets.by_ref() {
        count += b.count;
        let zero = b.lower <= 0.0 && b.upper >= 0.0;
        if zero {
            one_sided(h, &mut b);
        }
        let within = |v: f64| {
            let linear = custom || zero;
            if linear && b.lower == f64::NEG_INFINITY {
                return b.count;
            }
            rank + b.count * b.fraction_below(v, linear)
        };
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && b.lower >= bound {
                *found = Some(rank);
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && b.lower < bound && b.upper > bound {
                *found = Some(within(bound));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += b.count;
    }
    let mut note = None;
    if h.sum.is_nan() {
        for b in buckets {
            count += b.count;
        }
        if count < h.count {
            note = Some(NanNote::Fraction);
        }
    } else {
        count = h.count;
    }
    let clip = |rank: Option<f64>| rank.map_or(count, |r| if r > count { count } else { r });
    ((clip(upper_rank) - clip(lower_rank)) / h.count, note)
}
