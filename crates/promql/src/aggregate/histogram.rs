//! Sums and means of native histograms within a group at one step.
//!
//! Holds the compensated arithmetic of `sum` and `avg` over histograms. It knows no floats and no steps.
//! Invariant: histograms are added in series order with Prometheus' own operations, so that results equal
//! its own to the bit. Reference: Prometheus `promql/engine.go` (`aggregation`).

use model::{CounterResetHint, FloatHistogram};

use super::Place;
use crate::annotations::{Annotation, Annotations, HistogramOperation};

/// The histograms of one group at one step, added up.
#[derive(Clone, Debug)]
pub(super) struct HistogramSum {
    value: FloatHistogram,
    comp: Option<FloatHistogram>,
    /// The running mean, once a plain sum would overflow.
    mean: Option<FloatHistogram>,
    reset: bool,
    not_reset: bool,
}

/// Exponential and custom buckets met.
pub(super) struct Incompatible;

impl HistogramSum {
    pub(super) fn new(first: &FloatHistogram) -> Self {
        let mut sum =
            HistogramSum { value: first.clone(), comp: None, mean: None, reset: false, not_reset: false };
        sum.look(first);
        sum
    }

    fn look(&mut self, h: &FloatHistogram) {
        self.reset |= h.counter_reset_hint == CounterResetHint::Reset;
        self.not_reset |= h.counter_reset_hint == CounterResetHint::NotReset;
    }

    /// Whether counter resets contradict each other.
    pub(super) fn collides(&self) -> bool {
        self.reset && self.not_reset
    }

    /// Adds one for `sum`.
    pub(super) fn add(
        &mut self,
        h: &FloatHistogram,
        place: &Place,
        notes: &mut Annotations,
    ) -> Result<(), Incompatible> {
        self.look(h);
        let outcome = self.value.kahan_add(h, &mut self.comp).map_err(|_| Incompatible)?;
        reconciled(outcome.bounds_reconciled, place, notes);
        Ok(())
    }

    /// Adds one for `avg`; `count` includes it.
    pub(super) fn add_to_mean(
        &mut self,
        h: &FloatHistogram,
        count: f64,
        place: &Place,
        notes: &mut Annotations,
    ) -> Result<(), Incompatible> {
        self.look(h);
        if self.mean.is_none() {
            let (mut value, mut comp) = (self.value.clone(), self.comp.clone());
            let outcome = value.kahan_add(h, &mut comp).map_err(|_| Incompatible)?;
            reconciled(outcome.bounds_reconciled, place, notes);
            if !value.has_overflow() {
                (self.value, self.comp) = (value, comp);
                return Ok(());
            }
            let mut mean = self.value.clone();
            mean.divide(count - 1.0);
            self.mean = Some(mean);
            if let Some(comp) = &mut self.comp {
                comp.divide(count - 1.0);
            }
        }
        let q = (count - 1.0) / count;
        if let Some(comp) = &mut self.comp {
            comp.scale(q);
        }
        if let Some(mean) = &mut self.mean {
            let mut share = h.clone();
            share.divide(count);
            mean.scale(q);
            let outcome = mean.kahan_add(&share, &mut self.comp).map_err(|_| Incompatible)?;
            reconciled(outcome.bounds_reconciled, place, notes);
        }
        Ok(())
    }

    /// The sum.
    pub(super) fn sum(self) -> FloatHistogram {
        let mut value = self.value;
        if let Some(comp) = &self.comp {
            // Cannot fail where the additions did not.
            let _ = value.add(comp);
        }
        value.compact(0);
        value
    }

    /// The mean of `count` histograms.
    pub(super) fn mean(self, count: f64) -> FloatHistogram {
        let (mut value, mut comp) = (self.value, self.comp);
        match self.mean {
            Some(mean) => value = mean,
            None => {
                value.divide(count);
                if let Some(comp) = &mut comp {
                    comp.divide(count);
                }
            }
        }
        if let Some(comp) = &comp {
            let _ = value.add(comp);
        }
        value.compact(0);
        value
    }
}

fn reconciled(yes: bool, place: &Place, notes: &mut Annotations) {
    if yes {
        notes.add(Annotation::mismatched_custom_buckets(HistogramOperation::Aggregation, place.span));
    }
}
