//! Series put together from rows that each have some of their steps.
//!
//! Holds [`Merge`], which gathers all rows before it hands any on. It knows no values. Invariant: rows of
//! one label set leave as one, in the order in which the sets first came; where two meet at a step the
//! query fails. Used where a whole series is needed at once: under subqueries and in results.

use std::collections::HashMap;
use std::sync::Arc;

use model::Labels;

use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row, same_labelset};

/// Gathers rows by labels.
pub(crate) struct Merge {
    what: Arc<str>,
    index: HashMap<Labels, usize>,
    rows: Vec<Row>,
}

impl Merge {
    /// `what` names the rows in refusals of memory.
    pub(crate) fn new(what: Arc<str>) -> Self {
        Merge { what, index: HashMap::new(), rows: Vec::new() }
    }

    /// Adds a row, which is taken.
    pub(crate) fn add(&mut self, row: &mut Row, cx: &Cx<'_>) -> Result<(), QueryError> {
        // The index holds the labels again, which costs a place and no bytes.
        cx.env.meter.charge(row.bytes() + 64, &self.what)?;
        let row = std::mem::take(row);
        match self.index.get(&row.labels) {
            Some(at) => {
                let first = &mut self.rows[*at];
                if row.column.first() < first.column.first() {
                    // What the first step says of the name holds.
                    first.drop_name = row.drop_name;
                }
                join(&mut first.column, row.column)?;
            }
            None => {
                self.index.insert(row.labels.clone(), self.rows.len());
                self.rows.push(row);
            }
        }
        Ok(())
    }

    /// All rows.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

/// Adds the steps of `more`.
fn join(column: &mut Column, more: Column) -> Result<(), QueryError> {
    let is_histogram = |c: &Column, i: usize| c.hists.binary_search_by_key(&(i as u32), |h| h.index).is_ok();
    for i in more.steps().filter(|i| column.has(*i)) {
        // A float and a histogram are not seen to meet, and a vector shows the histogram.
        if is_histogram(column, i) == is_histogram(&more, i) {
            return Err(same_labelset());
        }
    }
    for i in more.steps() {
        column.values[i] = more.values[i];
    }
    column.present.iter_mut().zip(&more.present).for_each(|(a, b)| *a |= b);
    if !more.hists.is_empty() {
        column.hists.extend(more.hists);
        column.hists.sort_by_key(|h| h.index);
    }
    Ok(())
}

impl Op for Merge {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        self.add(row, cx)?;
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.index = HashMap::new();
        *more = std::mem::take(&mut self.rows);
        cx.env.meter.release(more.iter().map(Row::bytes).sum());
        Ok(())
    }
}
