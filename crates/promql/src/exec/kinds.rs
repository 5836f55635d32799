//! Floats and histograms of one label set that meet at a step.
//!
//! Holds the check behind functions that put series of equal labels together (`label_replace`, `-vector`).
//! It knows label sets by their hash, as `distinct` does. Invariant: two samples of one kind do not meet.
//! One of each may, as in Prometheus, which keeps both in the series; a reader of vectors then takes the
//! float and never gets past the histogram, so that no later one is found either. Reference: Prometheus
//! `promql/engine.go` (`mergeSeriesWithSameLabelset`, `gatherVector`).

use std::sync::Arc;

use crate::column::Column;
use crate::error::QueryError;
use crate::exec::distinct::Seen;
use crate::exec::op::{Cx, Op, Row, same_labelset};

/// What becomes of a float and a histogram that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// Both go on, in one row or in two: results and subqueries have room for both.
    Both,
    /// The float goes on, and no later histogram of the series.
    Float,
    /// The query fails: this was to be repeated over steps.
    Refused,
}

/// Fails the query where two floats, or two histograms, of one label set meet.
pub(crate) struct Kinds {
    meeting: Meeting,
    /// Floats by the hash of their labels, histograms by its complement.
    seen: Seen,
    what: Arc<str>,
    /// Whether the order of rows is visible.
    single: bool,
    held: Vec<Row>,
}

impl Kinds {
    /// `what` names the rows in refusals of memory, `single` says that there is one step.
    pub(crate) fn new(meeting: Meeting, single: bool, what: Arc<str>) -> Self {
        Kinds { meeting, seen: Seen::new(true), what, single, held: Vec::new() }
    }

    /// The first step at which a float and a histogram of this hash have met so far.
    fn met(&self, hash: u64) -> Option<usize> {
        let (floats, hists) = (self.seen.steps(hash)?, self.seen.steps(!hash)?);
        let word = floats.iter().zip(hists).position(|(a, b)| a & b != 0)?;
        Some(word * 64 + (floats[word] & hists[word]).trailing_zeros() as usize)
    }
}

/// Removes the histograms from step `from` on; their floats stay.
fn forget_histograms(column: &mut Column, from: usize) {
    let kept = column.hists.partition_point(|h| (h.index as usize) < from);
    for h in column.hists.drain(kept..) {
        let (word, bit) = (h.index as usize / 64, 1 << (h.index % 64));
        if column.both.get(word).is_none_or(|both| both & bit == 0) {
            column.present[word] &= !bit;
        }
    }
    column.both.clear();
}

impl Op for Kinds {
    fn is_gate(&self) -> bool {
        self.meeting != Meeting::Float
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let hash = row.labels.hash64();
        let plain = row.column.hists.is_empty();
        let collides = match plain {
            true => self.seen.collides(hash, &row.column),
            false => {
                let (floats, hists) = row.column.kinds();
                let of = |present| Column { present, ..Column::default() };
                self.seen.collides(hash, &of(floats)) | self.seen.collides(!hash, &of(hists))
            }
        };
        if collides {
            return Err(same_labelset());
        }
        match self.meeting {
            Meeting::Both => Ok(true),
            Meeting::Refused if self.met(hash).is_some() => {
                Err(QueryError::execution("unexpected number of samples"))
            }
            Meeting::Refused => Ok(true),
            // What is behind a row that is held may not overtake it where order matters.
            Meeting::Float if plain && (!self.single || self.held.is_empty()) => Ok(true),
            Meeting::Float => {
                cx.env.meter.charge(row.bytes(), &self.what)?;
                self.held.push(std::mem::take(row));
                Ok(false)
            }
        }
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let held = std::mem::take(&mut self.held);
        cx.env.meter.release(held.iter().map(Row::bytes).sum());
        for mut row in held {
            if let Some(from) = self.met(row.labels.hash64()) {
                forget_histograms(&mut row.column, from);
            }
            if row.column.any() {
                more.push(row);
            }
        }
        Ok(())
    }
}
