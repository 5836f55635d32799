//! Estimates from the buckets of one classic histogram.
//!
//! Holds quantile and fraction over cumulative counts, and the repair of counts that fall. It knows no
//! series. Invariant: buckets come sorted by bound; results follow Prometheus' `quantile.go` in every
//! operation.

/// A bucket with the count of all observations up to its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// Where counts had to be raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fixed {
    pub(super) min_bucket: f64,
    pub(super) max_bucket: f64,
    pub(super) max_diff: f64,
}

/// Relative difference below which counts are equal: rounding, not data.
const TOLERANCE: f64 = 1e-12;

/// Joins buckets of the same bound at the front; returns how many there are. What lies behind stays as
/// it was.
fn coalesce(buckets: &mut [Bucket]) -> usize {
    let mut kept = 0;
    for i in 1..buckets.len() {
        if buckets[i].upper == buckets[kept].upper {
            buckets[kept].count += buckets[i].count;
        } else {
            kept += 1;
            buckets[kept] = buckets[i];
        }
    }
    kept + 1
}

fn almost_equal(a: f64, b: f64) -> bool {
    let stale = |v: f64| model::is_stale_nan(v);
    if stale(a) || stale(b) {
        return stale(a) && stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let diff = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < TOLERANCE * f64::MIN_POSITIVE;
    }
    diff / crate::functions::math::min(sum, f64::MAX) < TOLERANCE
}

/// Makes counts rise: small differences of either sign vanish, falls are raised and told of.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Fixed> {
    let mut fixed: Option<Fixed> = None;
    let mut before = buckets[0].count;
    for b in &mut buckets[1..] {
        let count = b.count;
        if count == before {
            continue;
        }
        if almost_equal(before, count) {
            b.count = before;
        } else if count < before {
            b.count = before;
            let all = fixed.get_or_insert(Fixed {
                min_bucket: f64::INFINITY,
                max_bucket: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            if b.upper < all.min_bucket {
                all.min_bucket = b.upper;
            }
            if b.upper > all.max_bucket {
                all.max_bucket = b.upper;
            }
            if before - count > all.max_diff {
                all.max_diff = before - count;
            }
        } else {
            before = count;
        }
    }
    fixed
}

/// The value below which a share `q` of the observations lies, of at least one bucket. The buckets are
/// changed: a second quantile works on what the first has left, as it does in Prometheus.
pub(super) fn quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<Fixed>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return (f64::NAN, None);
    }
    let joined = coalesce(buckets);
    let buckets = &mut buckets[..joined];
    let fixed = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, fixed);
    }
    let mut rank = q * observations;
    // A search by halves: counts may be NaN, and then the halves decide.
    let (mut at, mut end) = (0, last);
    while at < end {
        let middle = (at + end) / 2;
        if buckets[middle].count >= rank { end = middle } else { at = middle + 1 }
    }
    if at == last {
        return (buckets[last - 1].upper, fixed);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, fixed);
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (buckets[at].upper - start) * (rank / count), fixed)
}

/// The share of observations between two bounds, of at least one bucket.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut [Bucket]) -> f64 {
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return f64::NAN;
    }
    let joined = coalesce(buckets);
    let buckets = &buckets[..joined];
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for b in buckets.iter() {
        let within = |v: f64| {
            if start == f64::NEG_INFINITY {
                // Nothing is known of how such a bucket is filled.
                return b.count;
            }
            rank + (b.count - rank) * (v - start) / (b.upper - start)
        };
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && start >= bound {
                *found = Some(rank);
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && start < bound && b.upper > bound {
                *found = Some(within(bound));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank = b.count;
        start = b.upper;
    }
    let clip = |rank: Option<f64>| rank.map_or(count, |r| if r > count { count } else { r });
    (clip(upper_rank) - clip(lower_rank)) / count
}
