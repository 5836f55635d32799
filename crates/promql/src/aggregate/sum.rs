//! `sum` and `avg`.
//!
//! Holds the accumulator of both: compensated sums as arrays over the steps, histograms beside them where
//! there are any. It knows no labels. Invariant: at each step floats are added in series order by
//! `kahan_inc`; a mean turns to its running form at the very sample where the sum would overflow.
//! Reference: Prometheus `promql/engine.go` (`aggregation`).

use std::ops::Range;
use std::sync::Arc;

use model::histogram::kahan_inc;

use super::histogram::HistogramSum;
use super::{Accumulator, Place};
use crate::annotations::{Annotation, Annotations, HistogramOperation};
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Cx, Row};
use crate::functions::Param;

/// Sum or mean of one group.
#[derive(Debug)]
pub(super) struct Sum {
    mean: bool,
    /// Sums; a step is present once a sample was seen there.
    sums: Column,
    comps: Vec<f64>,
    /// Samples a step, for means.
    counts: Vec<f64>,
    rare: Option<Box<Rare>>,
}

/// What most groups never need.
#[derive(Debug, Default)]
struct Rare {
    /// Histograms by step.
    hists: Vec<Option<Box<HistogramSum>>>,
    /// Steps with a float, with a histogram, with histograms that cannot be added.
    float: Vec<bool>,
    hist: Vec<bool>,
    incompatible: Vec<bool>,
    /// Running means by step, where the sum would have overflowed.
    means: Vec<Option<f64>>,
}

impl Rare {
    fn new(steps: usize) -> Box<Self> {
        Box::new(Rare {
            hists: (0..steps).map(|_| None).collect(),
            float: vec![false; steps],
            hist: vec![false; steps],
            incompatible: vec![false; steps],
            means: vec![None; steps],
        })
    }
}

impl Sum {
    pub(super) fn new(mean: bool) -> Self {
        Sum { mean, sums: Column::default(), comps: Vec::new(), counts: Vec::new(), rare: None }
    }

    fn rare(&mut self) -> &mut Rare {
        let (steps, sums) = (self.sums.len(), &self.sums);
        self.rare.get_or_insert_with(|| {
            let mut rare = Rare::new(steps);
            // All that came before were floats.
            sums.steps().for_each(|i| rare.float[i] = true);
            rare
        })
    }

    /// Adds a float at a step, with all that may be special there.
    fn add_float(&mut self, i: usize, f: f64) {
        if !self.sums.has(i) {
            self.sums.set(i, f);
            self.comps[i] = 0.0;
            if self.mean {
                self.counts[i] = 1.0;
            }
            if let Some(rare) = &mut self.rare {
                rare.float[i] = true;
            }
            return;
        }
        if let Some(rare) = &mut self.rare {
            if rare.incompatible[i] {
                return;
            }
            rare.float[i] = true;
        }
        if !self.mean {
            (self.sums.values[i], self.comps[i]) = kahan_inc(f, self.sums.values[i], self.comps[i]);
            return;
        }
        self.counts[i] += 1.0;
        let count = self.counts[i];
        let running = self.rare.as_ref().and_then(|r| r.means[i]);
        if running.is_none() {
            let (sum, comp) = kahan_inc(f, self.sums.values[i], self.comps[i]);
            if !sum.is_infinite() {
                (self.sums.values[i], self.comps[i]) = (sum, comp);
                return;
            }
            self.comps[i] /= count - 1.0;
        }
        let mean = running.unwrap_or(self.sums.values[i] / (count - 1.0));
        let q = (count - 1.0) / count;
        let (mean, comp) = kahan_inc(f / count, q * mean, q * self.comps[i]);
        self.comps[i] = comp;
        self.rare().means[i] = Some(mean);
    }

    /// Adds a histogram at a step.
    fn add_histogram(
        &mut self,
        i: usize,
        h: &model::FloatHistogram,
        metric: &str,
        place: &Place,
        notes: &mut Annotations,
    ) {
        let seen = self.sums.has(i);
        let mean = self.mean;
        if seen && self.rare().incompatible[i] {
            return;
        }
        if !seen {
            self.sums.set(i, 0.0);
        }
        if mean {
            self.counts[i] = if seen { self.counts[i] + 1.0 } else { 1.0 };
        }
        let count = if mean { self.counts[i] } else { 0.0 };
        let rare = self.rare();
        rare.hist[i] = true;
        if !seen {
            rare.float[i] = false;
            rare.hists[i] = Some(Box::new(HistogramSum::new(h)));
            return;
        }
        // Without an earlier histogram there are floats, and the group comes to nothing anyway.
        let Some(sum) = &mut rare.hists[i] else { return };
        let added = match mean {
            true => sum.add_to_mean(h, count, place, notes),
            false => sum.add(h, place, notes),
        };
        if added.is_err() {
            rare.incompatible[i] = true;
            notes.add(Annotation::mixed_exponential_custom_histograms(metric, place.span));
        }
    }

    /// Adds the floats of a column, a word of steps at a time.
    fn add_floats(&mut self, column: &Column) {
        for (word, have) in column.present.iter().enumerate() {
            let from = 64 * word;
            let mut left = *have;
            // Where the group has seen just these steps, what the others add means nothing: the first
            // sample of a step sets all there is of it.
            if *have != 0 && *have == self.sums.present[word] && self.rare.is_none() {
                let done = self.add_alike(column, from..column.len().min(from + 64)) - from;
                left = if done < 64 { left >> done << done } else { 0 };
            }
            while left != 0 {
                let i = from + left.trailing_zeros() as usize;
                left &= left - 1;
                self.add_float(i, column.values[i]);
            }
        }
    }

    /// Adds steps to those of a group without anything special. Returns where a mean would overflow.
    fn add_alike(&mut self, column: &Column, steps: Range<usize>) -> usize {
        let floats = &column.values[steps.clone()];
        let (sums, comps) = (&mut self.sums.values[steps.clone()], &mut self.comps[steps.clone()]);
        let sums = sums.iter_mut().zip(comps).zip(floats);
        if !self.mean {
            for ((sum, comp), f) in sums {
                (*sum, *comp) = kahan_inc(*f, *sum, *comp);
            }
            return steps.end;
        }
        for (i, (((sum, comp), f), count)) in sums.zip(&mut self.counts[steps.clone()]).enumerate() {
            let (new, new_comp) = kahan_inc(*f, *sum, *comp);
            if new.is_infinite() {
                return steps.start + i;
            }
            (*sum, *comp) = (new, new_comp);
            *count += 1.0;
        }
        steps.end
    }
}

impl Accumulator for Sum {
    fn add(&mut self, row: &mut Row, place: &Place, notes: &mut Annotations) {
        let column = &mut row.column;
        let steps = place.steps.count;
        if self.sums.is_empty() {
            self.counts = if self.mean { vec![0.0; steps] } else { Vec::new() };
            if column.hists.is_empty() {
                self.sums = std::mem::take(column);
                if self.mean {
                    self.sums.steps().for_each(|i| self.counts[i] = 1.0);
                }
                return;
            }
            self.sums.reset(steps);
        }
        if self.comps.is_empty() {
            self.comps = vec![0.0; steps];
        }
        if column.hists.is_empty() {
            self.add_floats(column);
            return;
        }
        let mut hists = column.hists.iter().peekable();
        for i in column.steps() {
            match hists.next_if(|h| h.index as usize == i) {
                Some(h) => self.add_histogram(i, &h.histogram, row.labels.metric_name(), place, notes),
                None => self.add_float(i, column.values[i]),
            }
        }
    }

    fn result(&mut self, place: &Place, _q: &Param, cx: &mut Cx<'_>) -> Result<Column, QueryError> {
        let mut out = std::mem::take(&mut self.sums);
        // Groups of one row have no compensation; adding none still makes +0 of -0.
        self.comps.resize(out.len(), 0.0);
        let finished = |sum: f64, comp: f64, count: f64| match count {
            0.0 => sum + comp,
            n => sum / n + comp / n,
        };
        let Some(mut rare) = self.rare.take() else {
            match self.mean {
                false => out.values.iter_mut().zip(&self.comps).for_each(|(v, c)| *v += c),
                true => {
                    for ((v, c), n) in out.values.iter_mut().zip(&self.comps).zip(&self.counts) {
                        *v = finished(*v, *c, *n);
                    }
                }
            }
            return Ok(out);
        };
        let sums = out;
        let mut out = Column::default();
        out.reset(sums.len());
        for i in sums.steps() {
            if rare.float[i] && rare.hist[i] {
                cx.notes.add(Annotation::mixed_floats_histograms_aggregation(place.span));
                continue;
            }
            if rare.incompatible[i] {
                continue;
            }
            let count = if self.mean { self.counts[i] } else { 0.0 };
            match rare.hists[i].take() {
                Some(h) => {
                    if h.collides() {
                        let operation = HistogramOperation::Aggregation;
                        cx.notes.add(Annotation::counter_reset_collision(operation, place.span));
                    }
                    let h = if self.mean { h.mean(count) } else { h.sum() };
                    out.push_histogram(i, Arc::new(h));
                }
                None => {
                    let value = match rare.means[i] {
                        Some(mean) => mean + self.comps[i],
                        None => finished(sums.values[i], self.comps[i], count),
                    };
                    out.set(i, value);
                }
            }
        }
        Ok(out)
    }
}
