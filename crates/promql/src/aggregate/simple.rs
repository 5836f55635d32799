//! `min`, `max`, `count`, `group`, `stddev`, `stdvar` and `quantile`.
//!
//! Holds their accumulators. They know no labels. Invariant: histograms are ignored with a note, except by
//! `count` and `group`, which count them. Reference: Prometheus `promql/engine.go` (`aggregation`).

use super::{Accumulator, Place};
use crate::annotations::{Annotation, Annotations};
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Cx, Row};
use crate::functions::Param;
use crate::functions::quantile::quantile;

/// The steps at which `column` has floats, histograms ignored with a note.
fn floats<'c>(
    column: &'c Column,
    name: &str,
    place: &Place,
    notes: &mut Annotations,
) -> impl Iterator<Item = (usize, f64)> + 'c {
    if !column.hists.is_empty() {
        notes.add(Annotation::histogram_ignored_in_aggregation(name, place.span));
    }
    let mut hists = column.hists.iter().peekable();
    column.steps().filter_map(move |i| match hists.next_if(|h| h.index as usize == i) {
        Some(_) => None,
        None => Some((i, column.values[i])),
    })
}

/// The smallest or largest float.
pub(super) struct Extreme {
    name: &'static str,
    /// Whether the new value takes the place of the old.
    replaces: fn(f64, f64) -> bool,
    best: Column,
}

impl Extreme {
    pub(super) fn new(name: &'static str, replaces: fn(f64, f64) -> bool) -> Self {
        Extreme { name, replaces, best: Column::default() }
    }
}

impl Accumulator for Extreme {
    fn add(&mut self, row: &mut Row, place: &Place, notes: &mut Annotations) {
        if self.best.is_empty() {
            if row.column.hists.is_empty() {
                self.best = std::mem::take(&mut row.column);
                return;
            }
            self.best.reset(place.steps.count);
        }
        for (i, f) in floats(&row.column, self.name, place, notes) {
            let have = self.best.values[i];
            if !self.best.has(i) || (self.replaces)(have, f) || have.is_nan() {
                self.best.set(i, f);
            }
        }
    }

    fn result(&mut self, _place: &Place, _q: &Param, _cx: &mut Cx<'_>) -> Result<Column, QueryError> {
        Ok(std::mem::take(&mut self.best))
    }
}

/// The number of samples, or just 1.
pub(super) struct Count {
    counting: bool,
    counts: Column,
}

impl Count {
    pub(super) fn new(counting: bool) -> Self {
        Count { counting, counts: Column::default() }
    }
}

impl Accumulator for Count {
    fn add(&mut self, row: &mut Row, place: &Place, _notes: &mut Annotations) {
        if self.counts.is_empty() {
            self.counts.reset(place.steps.count);
        }
        if self.counting && row.column.is_full() {
            self.counts.values.iter_mut().for_each(|n| *n += 1.0);
        } else if self.counting {
            row.column.steps().for_each(|i| self.counts.values[i] += 1.0);
        }
        self.counts.present.iter_mut().zip(&row.column.present).for_each(|(a, b)| *a |= b);
    }

    fn result(&mut self, _place: &Place, _q: &Param, _cx: &mut Cx<'_>) -> Result<Column, QueryError> {
        if !self.counting {
            self.counts.values.fill(1.0);
        }
        Ok(std::mem::take(&mut self.counts))
    }
}

/// Population variance or its root, by Welford's method.
pub(super) struct Variance {
    name: &'static str,
    squares: Column,
    means: Vec<f64>,
    counts: Vec<f64>,
}

impl Variance {
    pub(super) fn new(name: &'static str) -> Self {
        Variance { name, squares: Column::default(), means: Vec::new(), counts: Vec::new() }
    }
}

impl Accumulator for Variance {
    fn add(&mut self, row: &mut Row, place: &Place, notes: &mut Annotations) {
        if self.squares.is_empty() {
            self.squares.reset(place.steps.count);
            self.means = vec![0.0; place.steps.count];
            self.counts = vec![0.0; place.steps.count];
        }
        for (i, f) in floats(&row.column, self.name, place, notes) {
            if !self.squares.has(i) {
                self.squares.set(i, if f.is_finite() { 0.0 } else { f64::NAN });
                (self.means[i], self.counts[i]) = (f, 1.0);
                continue;
            }
            self.counts[i] += 1.0;
            let delta = f - self.means[i];
            self.means[i] += delta / self.counts[i];
            self.squares.values[i] += delta * (f - self.means[i]);
        }
    }

    fn result(&mut self, _place: &Place, _q: &Param, _cx: &mut Cx<'_>) -> Result<Column, QueryError> {
        let root = self.name == "stddev";
        for (v, n) in self.squares.values.iter_mut().zip(&self.counts) {
            *v /= n;
            if root {
                *v = v.sqrt();
            }
        }
        Ok(std::mem::take(&mut self.squares))
    }
}

/// A quantile over the group: keeps every float, as the rows they came in.
#[derive(Default)]
pub(super) struct Quantile {
    rows: Vec<Column>,
}

impl Accumulator for Quantile {
    fn add(&mut self, row: &mut Row, place: &Place, notes: &mut Annotations) {
        let mut column = std::mem::take(&mut row.column);
        if !column.hists.is_empty() {
            notes.add(Annotation::histogram_ignored_in_aggregation("quantile", place.span));
            for h in column.hists.drain(..) {
                column.present[h.index as usize / 64] &= !(1 << (h.index % 64));
            }
        }
        self.rows.push(column);
    }

    fn result(&mut self, place: &Place, q: &Param, cx: &mut Cx<'_>) -> Result<Column, QueryError> {
        // Rows are walked for so many steps at once: a line of memory.
        const AT_ONCE: usize = 8;
        let mut out = Column::default();
        out.reset(place.steps.count);
        let rows = std::mem::take(&mut self.rows);
        let mut values: [Vec<f64>; AT_ONCE] = Default::default();
        for from in (0..place.steps.count).step_by(AT_ONCE) {
            cx.env.interrupt.check()?;
            let steps = from..(from + AT_ONCE).min(place.steps.count);
            values.iter_mut().for_each(Vec::clear);
            for row in &rows {
                for i in steps.clone().filter(|i| row.has(*i)) {
                    values[i - from].push(row.values[i]);
                }
            }
            for (i, values) in steps.zip(&mut values).filter(|(_, values)| !values.is_empty()) {
                out.set(i, quantile(q.at(i), values));
            }
        }
        Ok(out)
    }
}
