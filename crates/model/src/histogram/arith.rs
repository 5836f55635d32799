//! Arithmetic between float histograms.
//!
//! Holds scaling, addition, subtraction and compensated (Kahan-Neumaier) addition, with the
//! reconciliation of schemas, zero buckets and custom bounds that they need. It knows no PromQL
//! annotation: callers turn an [`Outcome`] into one. Invariant: the operand on the right is never
//! changed; sums are taken in the order Prometheus' `float_histogram.go` takes them, so that
//! results agree to the bit.

use std::sync::Arc;

use super::buckets::{SpanBuilder, bound, compact, indices, target_index};
use super::{CounterResetHint, FloatHistogram, Span};

/// What an addition or subtraction noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One operand says "reset", the other "no reset".
    pub reset_collision: bool,
    /// Custom bounds differed and were reduced to the common ones.
    pub bounds_reconciled: bool,
}

/// Exponential and custom buckets cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchema;

/// Adds `x` to the running `sum` with compensation `c` (Neumaier's variant; an infinite sum drops
/// the compensation).
#[inline]
pub fn kahan_inc(x: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + x;
    // Choices, not branches: loops over arrays become vector instructions.
    let (large, small) = if sum.abs() >= x.abs() { (sum, x) } else { (x, sum) };
    let c = c + ((large - t) + small);
    (t, if t.is_infinite() { 0.0 } else { c })
}

/// One side (positive or negative buckets) of an operand with its compensations.
struct Side {
    rows: Vec<(i32, f64, f64)>,
}

impl Side {
    fn new(spans: &[Span], counts: &[f64], comp: Option<&[f64]>) -> Side {
        let rows = indices(spans)
            .zip(counts)
            .enumerate()
            .map(|(i, (index, c))| (index, *c, comp.and_then(|v| v.get(i)).copied().unwrap_or(0.0)))
            .collect();
        Side { rows }
    }

    /// Merges rows to a coarser schema; plain sums, or compensated ones.
    fn reduce(&mut self, from: i32, to: i32, kahan: bool) {
        if from <= to {
            return;
        }
        let mut out: Vec<(i32, f64, f64)> = Vec::with_capacity(self.rows.len());
        for (index, v, c) in self.rows.drain(..) {
            let t = target_index(index, from, to);
            match out.last_mut() {
                Some(last) if last.0 == t && kahan => {
                    (last.1, last.2) = kahan_inc(v, last.1, last.2);
                    (last.1, last.2) = kahan_inc(c, last.1, last.2);
                }
                Some(last) if last.0 == t => last.1 += v,
                _ => out.push((t, v, c)),
            }
        }
        self.rows = out;
    }

    /// Merge-joins `other` into `self` by index. Leading rows of `other` that lie within the zero
    /// threshold are left out.
    fn combine(self, other: Side, op: Op, schema: i32, threshold: f64) -> Side {
        let skip = if schema == super::CUSTOM_BUCKETS_SCHEMA {
            0
        } else {
            other.rows.iter().take_while(|r| bound(r.0, schema, &[]) <= threshold).count()
        };
        let mut out = Vec::with_capacity(self.rows.len() + other.rows.len() - skip);
        let mut a = self.rows.into_iter().peekable();
        let mut b = other.rows.into_iter().skip(skip).peekable();
        loop {
            match (a.peek().copied(), b.peek().copied()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    let joined = match op {
                        Op::Add => (x.1 + y.1, x.2),
                        Op::Sub => (x.1 - y.1, x.2),
                        Op::Kahan => {
                            let (mut v, mut c) = kahan_inc(y.1, x.1, x.2);
                            if y.2 != 0.0 {
                                (v, c) = kahan_inc(y.2, v, c);
                            }
                            (v, c)
                        }
                    };
                    out.push((x.0, joined.0, joined.1));
                    a.next();
                    b.next();
                }
                (Some(x), Some(y)) if x.0 < y.0 => {
                    out.push(x);
                    a.next();
                }
                (Some(x), None) => {
                    out.push(x);
                    a.next();
                }
                (_, Some(y)) => {
                    out.push(if op == Op::Sub { (y.0, -y.1, -y.2) } else { y });
                    b.next();
                }
                (None, None) => return Side { rows: out },
            }
        }
    }

    fn store(self, spans: &mut Vec<Span>, counts: &mut Vec<f64>, comp: Option<&mut Vec<f64>>) {
        let mut builder = SpanBuilder::default();
        self.rows.iter().for_each(|r| builder.push(r.0));
        *spans = builder.finish();
        *counts = self.rows.iter().map(|r| r.1).collect();
        if let Some(comp) = comp {
            *comp = self.rows.iter().map(|r| r.2).collect();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Kahan,
}

impl FloatHistogram {
    /// Scales every population, the count and the sum. A negative factor makes it a gauge.
    pub fn scale(&mut self, factor: f64) {
        self.each(|v| v * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides every population, the count and the sum. Zero removes all buckets, a negative
    /// divisor makes it a gauge.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive_buckets.clear();
            self.negative_buckets.clear();
            self.positive_spans.clear();
            self.negative_spans.clear();
        }
        self.each(|v| v / divisor);
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn each(&mut self, f: impl Fn(f64) -> f64) {
        self.zero_count = f(self.zero_count);
        self.count = f(self.count);
        self.sum = f(self.sum);
        self.positive_buckets.iter_mut().for_each(|v| *v = f(*v));
        self.negative_buckets.iter_mut().for_each(|v| *v = f(*v));
    }

    /// Adds `other`.
    ///
    /// # Errors
    /// [`IncompatibleSchema`] when one has custom buckets and the other has not.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Outcome, IncompatibleSchema> {
        self.plain(other, Op::Add)
    }

    /// Subtracts `other`. For the operator `-` the caller has to set the gauge hint.
    ///
    /// # Errors
    /// [`IncompatibleSchema`] when one has custom buckets and the other has not.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Outcome, IncompatibleSchema> {
        self.plain(other, Op::Sub)
    }

    fn plain(&mut self, other: &FloatHistogram, op: Op) -> Result<Outcome, IncompatibleSchema> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchema);
        }
        let mut outcome = Outcome { reset_collision: self.join_hint(other), bounds_reconciled: false };
        let sign = |a: f64, b: f64| if op == Op::Sub { a - b } else { a + b };
        if !self.uses_custom_buckets() {
            let (zero, _) = self.reconcile_zero(other, None);
            self.zero_count = sign(self.zero_count, zero);
        }
        self.count = sign(self.count, other.count);
        self.sum = sign(self.sum, other.sum);
        if self.uses_custom_buckets() && self.custom_bounds() != other.custom_bounds() {
            outcome.bounds_reconciled = true;
            self.add_mismatched(other, op, None);
            return Ok(outcome);
        }
        if self.same_layout(other) {
            let pairs = self
                .positive_buckets
                .iter_mut()
                .zip(&other.positive_buckets)
                .chain(self.negative_buckets.iter_mut().zip(&other.negative_buckets));
            pairs.for_each(|(a, b)| *a = sign(*a, *b));
            return Ok(outcome);
        }
        let schema = self.schema.min(other.schema);
        for positive in [true, false] {
            let (h_spans, h_counts) = self.side(positive);
            let (o_spans, o_counts) = other.side(positive);
            let (mut a, mut b) = (Side::new(h_spans, h_counts, None), Side::new(o_spans, o_counts, None));
            a.reduce(self.schema, schema, false);
            b.reduce(other.schema, schema, false);
            let joined = a.combine(b, op, schema, self.zero_threshold);
            let (spans, counts) = self.side_mut(positive);
            joined.store(spans, counts, None);
        }
        self.schema = schema;
        Ok(outcome)
    }

    /// Adds `other` with compensation: `comp` holds the lost low parts, in the layout of `self`,
    /// and is created by the first call.
    ///
    /// # Errors
    /// [`IncompatibleSchema`] when one has custom buckets and the other has not.
    pub fn kahan_add(
        &mut self,
        other: &FloatHistogram,
        comp: &mut Option<FloatHistogram>,
    ) -> Result<Outcome, IncompatibleSchema> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchema);
        }
        let mut outcome = Outcome { reset_collision: self.join_hint(other), bounds_reconciled: false };
        let mut c = comp.take().unwrap_or_else(|| self.compensation());
        if !self.uses_custom_buckets() {
            let (zero, zero_c) = self.reconcile_zero(other, Some(&mut c));
            (self.zero_count, c.zero_count) = kahan_inc(zero, self.zero_count, c.zero_count);
            (self.zero_count, c.zero_count) = kahan_inc(zero_c, self.zero_count, c.zero_count);
        }
        (self.count, c.count) = kahan_inc(other.count, self.count, c.count);
        (self.sum, c.sum) = kahan_inc(other.sum, self.sum, c.sum);
        if self.uses_custom_buckets() && self.custom_bounds() != other.custom_bounds() {
            outcome.bounds_reconciled = true;
            self.add_mismatched(other, Op::Kahan, Some(&mut c));
            c.positive_spans.clone_from(&self.positive_spans);
            c.custom_values.clone_from(&self.custom_values);
            *comp = Some(c);
            return Ok(outcome);
        }
        if self.same_layout(other) && c.same_counts(self) {
            for positive in [true, false] {
                let counts = self.side_mut(positive).1.iter_mut();
                let comps = c.side_mut(positive).1.iter_mut();
                for ((v, c), x) in counts.zip(comps).zip(other.side(positive).1) {
                    (*v, *c) = kahan_inc(*x, *v, *c);
                }
            }
            c.zero_threshold = self.zero_threshold;
            *comp = Some(c);
            return Ok(outcome);
        }
        let schema = self.schema.min(other.schema);
        for positive in [true, false] {
            let (h_spans, h_counts) = self.side(positive);
            let (o_spans, o_counts) = other.side(positive);
            let mut a = Side::new(h_spans, h_counts, Some(c.side(positive).1));
            let mut b = Side::new(o_spans, o_counts, None);
            a.reduce(self.schema, schema, true);
            b.reduce(other.schema, schema, true);
            let joined = a.combine(b, Op::Kahan, schema, self.zero_threshold);
            let c_counts = if positive { &mut c.positive_buckets } else { &mut c.negative_buckets };
            let (spans, counts) = self.side_mut(positive);
            joined.store(spans, counts, Some(c_counts));
        }
        self.schema = schema;
        c.schema = schema;
        c.zero_threshold = self.zero_threshold;
        c.positive_spans.clone_from(&self.positive_spans);
        c.negative_spans.clone_from(&self.negative_spans);
        *comp = Some(c);
        Ok(outcome)
    }

    /// Whether any field is infinite, as after an overflow.
    pub fn has_overflow(&self) -> bool {
        self.zero_count.is_infinite()
            || self.count.is_infinite()
            || self.sum.is_infinite()
            || self.positive_buckets.iter().chain(&self.negative_buckets).any(|v| v.is_infinite())
            || self.custom_bounds().iter().any(|v| v.is_infinite())
    }

    fn side(&self, positive: bool) -> (&[Span], &[f64]) {
        if positive {
            (&self.positive_spans, &self.positive_buckets)
        } else {
            (&self.negative_spans, &self.negative_buckets)
        }
    }

    fn side_mut(&mut self, positive: bool) -> (&mut Vec<Span>, &mut Vec<f64>) {
        if positive {
            (&mut self.positive_spans, &mut self.positive_buckets)
        } else {
            (&mut self.negative_spans, &mut self.negative_buckets)
        }
    }

    /// Whether the buckets of both stand for the same values, bucket by bucket, and none lies within the
    /// zero bucket.
    fn same_layout(&self, other: &FloatHistogram) -> bool {
        self.schema == other.schema
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.same_counts(other)
            && self.first_bounds_above(self.zero_threshold)
    }

    fn same_counts(&self, other: &FloatHistogram) -> bool {
        self.positive_buckets.len() == other.positive_buckets.len()
            && self.negative_buckets.len() == other.negative_buckets.len()
    }

    fn first_bounds_above(&self, threshold: f64) -> bool {
        let above =
            |spans: &[Span]| indices(spans).next().is_none_or(|i| bound(i, self.schema, &[]) > threshold);
        self.uses_custom_buckets() || (above(&self.positive_spans) && above(&self.negative_spans))
    }

    fn compensation(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            custom_values: self.custom_values.clone(),
            ..FloatHistogram::default()
        }
    }

    /// Settles the hint of a sum; true when the operands contradict each other.
    fn join_hint(&mut self, other: &FloatHistogram) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let (mine, theirs) = (self.counter_reset_hint, other.counter_reset_hint);
        if mine == theirs || mine == Gauge {
            return false;
        }
        self.counter_reset_hint = if theirs == Gauge { Gauge } else { Unknown };
        theirs != Gauge && mine != Unknown && theirs != Unknown
    }

    /// What the zero count would be with a larger threshold; a threshold within a populated bucket
    /// moves up to that bucket's end. Returns count, threshold, and the compensation's zero count.
    fn zero_for_threshold(&self, mut threshold: f64, c: Option<&FloatHistogram>) -> (f64, f64, f64) {
        let mut c_zero = c.map_or(0.0, |c| c.zero_count);
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold, c_zero);
        }
        'again: loop {
            let mut zero = self.zero_count;
            for (i, b) in self.positive().enumerate() {
                if b.lower >= threshold {
                    break;
                }
                (zero, c_zero) = kahan_inc(b.count, zero, c_zero);
                if let Some(x) = c.and_then(|c| c.positive_buckets.get(i)) {
                    (zero, c_zero) = kahan_inc(*x, zero, c_zero);
                }
                if b.upper > threshold {
                    if b.count != 0.0 {
                        threshold = b.upper;
                    }
                    break;
                }
            }
            for (i, b) in self.negative().enumerate() {
                if b.upper <= -threshold {
                    break;
                }
                (zero, c_zero) = kahan_inc(b.count, zero, c_zero);
                if let Some(x) = c.and_then(|c| c.negative_buckets.get(i)) {
                    (zero, c_zero) = kahan_inc(*x, zero, c_zero);
                }
                if b.lower < -threshold {
                    if b.count != 0.0 {
                        // The positive side has to be counted again up to the new threshold.
                        threshold = -b.lower;
                        continue 'again;
                    }
                    break;
                }
            }
            return (zero, threshold, c_zero);
        }
    }

    /// The zero count for a threshold of at least `threshold`, and the threshold it ends up with.
    pub(super) fn zero_count_at(&self, threshold: f64) -> (f64, f64) {
        let (zero, at, _) = self.zero_for_threshold(threshold, None);
        (zero, at)
    }

    /// Widens the zero bucket of `self` until both operands agree; returns the zero count `other`
    /// would then have, with its compensation.
    fn reconcile_zero(&mut self, other: &FloatHistogram, mut c: Option<&mut FloatHistogram>) -> (f64, f64) {
        let (mut zero, mut zero_c, mut theirs) = (other.zero_count, 0.0, other.zero_threshold);
        // Thresholds only grow, each time to the end of a bucket: the loop ends. NaN never does.
        if theirs.is_nan() || self.zero_threshold.is_nan() {
            return (zero, zero_c);
        }
        while theirs != self.zero_threshold {
            if self.zero_threshold > theirs {
                (zero, theirs, zero_c) = other.zero_for_threshold(self.zero_threshold, None);
            }
            if theirs > self.zero_threshold {
                let (mine, at, c_zero) = self.zero_for_threshold(theirs, c.as_deref());
                self.zero_count = mine;
                self.zero_threshold = at;
                if let Some(c) = c.as_deref_mut() {
                    c.zero_count = c_zero;
                }
                self.clear_zero_region(c.as_deref_mut());
            }
        }
        (zero, zero_c)
    }

    /// Empties the buckets within the zero threshold, whose population the zero count holds.
    fn clear_zero_region(&mut self, mut c: Option<&mut FloatHistogram>) {
        let positive = self.positive().take_while(|b| b.lower < self.zero_threshold).count();
        let negative = self.negative().take_while(|b| b.upper > -self.zero_threshold).count();
        self.positive_buckets[..positive].fill(0.0);
        self.negative_buckets[..negative].fill(0.0);
        if let Some(c) = c.as_deref_mut() {
            let (p, n) = (positive.min(c.positive_buckets.len()), negative.min(c.negative_buckets.len()));
            c.positive_buckets[..p].fill(0.0);
            c.negative_buckets[..n].fill(0.0);
        }
        let (cp, cn) = match c {
            Some(c) => (Some(&mut c.positive_buckets), Some(&mut c.negative_buckets)),
            None => (None, None),
        };
        compact(&mut self.positive_spans, &mut self.positive_buckets, cp, 0);
        compact(&mut self.negative_spans, &mut self.negative_buckets, cn, 0);
    }

    /// Adds custom buckets with other bounds: both are mapped to the bounds they share.
    fn add_mismatched(&mut self, other: &FloatHistogram, op: Op, c: Option<&mut FloatHistogram>) {
        let shared = common_bounds(self.custom_bounds(), other.custom_bounds());
        let mut rows = vec![(0.0f64, 0.0f64); shared.len() + 1];
        let mut map = |h: &FloatHistogram, negate: bool, comp: Option<&[f64]>| {
            let mut at = 0;
            for (k, (index, v)) in indices(&h.positive_spans).zip(&h.positive_buckets).enumerate() {
                let target = match usize::try_from(index).ok().and_then(|i| h.custom_bounds().get(i)) {
                    Some(upper) => {
                        while at < shared.len() && shared[at] < *upper {
                            at += 1;
                        }
                        at
                    }
                    None => shared.len(),
                };
                let row = &mut rows[target];
                *row = kahan_inc(if negate { -v } else { *v }, row.0, row.1);
                if let Some(x) = comp.and_then(|c| c.get(k)) {
                    *row = kahan_inc(*x, row.0, row.1);
                }
            }
        };
        map(self, false, c.as_ref().map(|c| c.positive_buckets.as_slice()));
        map(other, op == Op::Sub, None);
        let kept = rows.iter().enumerate().filter(|(_, r)| r.0 != 0.0 || r.1 != 0.0);
        let side = Side { rows: kept.map(|(i, r)| (i as i32, r.0, r.1)).collect() };
        side.store(&mut self.positive_spans, &mut self.positive_buckets, c.map(|c| &mut c.positive_buckets));
        self.custom_values = if shared.is_empty() { None } else { Some(Arc::from(shared)) };
    }
}

/// Bounds that both (ascending) lists hold.
fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            out.push(a[i]);
            i += 1;
            j += 1;
        } else if a[i] < b[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}
