//! The quantile of a list of floats.
//!
//! Holds what `quantile` and `quantile_over_time` compute and the order they sort by. It knows no
//! histogram (see `classic` and `native`). Invariant: NaN counts as the smallest value.

use std::cmp::Ordering;

/// The order of values: NaN first, then numbers; both zeros are equal.
#[inline]
pub(crate) fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// What a quantile outside of 0 to 1, or of nothing, comes to.
fn special(q: f64, count: usize) -> Option<f64> {
    if count == 0 || q.is_nan() {
        Some(f64::NAN)
    } else if q < 0.0 {
        Some(f64::NEG_INFINITY)
    } else if q > 1.0 {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// Where a quantile lies among `count` sorted values: two neighbours and the weight of the second.
fn rank(q: f64, count: usize) -> (usize, usize, f64) {
    let n = count as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    (lower as usize, upper as usize, rank - rank.floor())
}

/// The quantile of values, which are reordered.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if let Some(v) = special(q, values.len()) {
        return v;
    }
    if values.len() <= SMALL {
        values.sort_by(nan_first);
        return quantile_of_sorted(q, values);
    }
    let (lower, upper, weight) = rank(q, values.len());
    let (_, low, rest) = values.select_nth_unstable_by(lower, nan_first);
    let low = *low;
    let high = if upper == lower { low } else { rest.iter().copied().min_by(nan_first).unwrap_or(low) };
    low * (1.0 - weight) + high * weight
}

/// Lists up to this length are sorted stably, as Go sorts them: which of two zeros comes first shows.
const SMALL: usize = 12;

/// The quantile of values in [`nan_first`] order.
pub(crate) fn quantile_of_sorted(q: f64, values: &[f64]) -> f64 {
    if let Some(v) = special(q, values.len()) {
        return v;
    }
    let (lower, upper, weight) = rank(q, values.len());
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_put_nan_first() {
        let q = |q, v: &[f64]| quantile(q, &mut v.to_vec());
        assert_eq!(q(0.5, &[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(q(0.25, &[3.0, 1.0]), 1.5);
        assert_eq!(q(1.0, &[3.0, f64::NAN]), 3.0);
        assert!(q(0.0, &[3.0, f64::NAN]).is_nan());
        assert_eq!((q(-0.1, &[1.0]), q(1.1, &[1.0])), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(q(0.5, &[]).is_nan() && q(f64::NAN, &[1.0]).is_nan());
    }

    #[test]
    fn selecting_equals_sorting() {
        let values: Vec<f64> = (0..97).map(|i| f64::from(i * 37 % 97) / 3.0).collect();
        let mut sorted = values.clone();
        sorted.sort_by(nan_first);
        for i in 0..=100 {
            let q = f64::from(i) / 100.0;
            assert_eq!(quantile(q, &mut values.clone()).to_bits(), quantile_of_sorted(q, &sorted).to_bits());
        }
    }
}
