//! Cutting a histogram at a value: the operators `</` and `>/`.
//!
//! Holds the estimate of what lies below (or above) a cut and of its sum. It knows no operator.
//! Invariant: where no bucket changes, count and sum stay as they were; else both are estimated
//! anew from bucket midpoints (Prometheus' `TrimBuckets`).

use super::{Bucket, FloatHistogram};

impl FloatHistogram {
    /// Keeps what lies below `cut` (`upper`), or above it.
    pub fn trim(&mut self, cut: f64, upper: bool) {
        let custom = self.uses_custom_buckets();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let mut seen = [false, false];
        for positive in [true, false] {
            let buckets: Vec<Bucket> =
                if positive { self.positive().collect() } else { self.negative().collect() };
            for (i, b) in buckets.into_iter().enumerate() {
                if b.count == 0.0 {
                    continue;
                }
                seen[usize::from(positive)] = true;
                let (whole, partly) =
                    if upper { (b.upper <= cut, b.lower < cut) } else { (b.lower >= cut, b.upper > cut) };
                let (keep, mid) = if whole {
                    (b.count, midpoint(b.lower, b.upper, positive, custom))
                } else if partly {
                    split(b, cut, upper, positive, custom)
                } else {
                    (0.0, 0.0)
                };
                if whole || partly {
                    count += keep;
                    sum += mid * keep;
                }
                let cell =
                    if positive { &mut self.positive_buckets[i] } else { &mut self.negative_buckets[i] };
                if !whole && *cell != keep {
                    *cell = keep;
                    changed = true;
                }
            }
        }
        if self.zero_count > 0.0 {
            let (keep, mid) = zero_split(self.zero_bucket(), cut, seen[0], seen[1], upper);
            if self.zero_count != keep {
                self.zero_count = keep;
                changed = true;
            }
            sum += mid * keep;
            count += keep;
        }
        if changed {
            self.count = count;
            self.sum = sum;
            self.compact(0);
        }
    }
}

/// What is kept of a bucket that contains the cut, and the middle of the kept part.
fn split(b: Bucket, cut: f64, upper: bool, positive: bool, linear: bool) -> (f64, f64) {
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return split_open(b, cut, upper);
    }
    let under = if cut <= b.lower {
        0.0
    } else if cut >= b.upper {
        b.count
    } else {
        b.count * b.fraction_below(cut, linear)
    };
    if upper {
        (under, midpoint(b.lower, cut, positive, linear))
    } else {
        (b.count - under, midpoint(cut, b.upper, positive, linear))
    }
}

/// A bucket with an infinite bound: nothing is known of how it is filled, so that it is kept or
/// dropped whole, except that a lower bound of -Inf below a positive upper one counts as 0.
fn split_open(b: Bucket, cut: f64, upper: bool) -> (f64, f64) {
    let finite = |x: f64| if x.is_infinite() { 0.0 } else { x };
    let grounded = b.upper > 0.0 && b.upper != f64::INFINITY;
    if b.lower == f64::NEG_INFINITY {
        if upper {
            return if cut >= b.upper {
                (b.count, 0.0)
            } else if cut > 0.0 && grounded {
                (b.count * cut / b.upper, cut / 2.0)
            } else if b.upper <= 0.0 {
                (b.count, cut)
            } else {
                (0.0, finite(b.upper))
            };
        }
        return if cut <= b.lower {
            (b.count, 0.0)
        } else if cut >= 0.0 && b.upper > cut && b.upper != f64::INFINITY {
            (b.count * (1.0 - cut / b.upper), (cut + b.upper) / 2.0)
        } else {
            (0.0, finite(b.upper))
        };
    }
    if !upper && cut >= b.lower { (b.count, cut) } else { (0.0, finite(b.lower)) }
}

fn zero_split(b: Bucket, cut: f64, negative: bool, positive: bool, upper: bool) -> (f64, f64) {
    let lo = if positive && !negative { 0.0 } else { b.lower };
    let hi = if negative && !positive { 0.0 } else { b.upper };
    if upper {
        if cut <= lo {
            (0.0, 0.0)
        } else if cut >= hi {
            (b.count, (lo + hi) / 2.0)
        } else {
            (b.count * ((cut - lo) / (hi - lo)), (lo + cut) / 2.0)
        }
    } else if cut <= lo {
        (b.count, (lo + hi) / 2.0)
    } else if cut >= hi {
        (0.0, 0.0)
    } else {
        (b.count * ((hi - cut) / (hi - lo)), (cut + hi) / 2.0)
    }
}

fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        _ if linear => (lower + upper) / 2.0,
        _ => {
            let mean = (lower * upper).abs().sqrt();
            if positive { mean } else { -mean }
        }
    }
}
