//! Series put together from rows that each have some of their steps.
//!
//! Holds [`Merge`], which gathers all rows before it hands any on. It knows no values. Invariant: rows of
//! one label set leave as one, in the order in which the sets first came; where two floats or two
//! histograms meet at a step the query fails. Used where a whole series is needed at once: under subqueries and in results.

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

/// Adds the steps of `more`. A float and a histogram may meet.
fn join(column: &mut Column, more: Column) -> Result<(), QueryError> {
    let meet = |a: &[u64], b: &[u64]| a.iter().zip(b).any(|(a, b)| a & b != 0);
    let ((floats, hists), (new_floats, new_hists)) = (column.kinds(), more.kinds());
    if meet(&floats, &new_floats) || meet(&hists, &new_hists) {
        return Err(same_labelset());
    }
    if meet(&column.present, &more.present) || !more.both.is_empty() {
        let words = floats.iter().zip(&new_floats).zip(hists.iter().zip(&new_hists));
        column.both = words.map(|((a, b), (c, d))| (a | b) & (c | d)).collect();
    }
    for i in more.steps().filter(|i| new_floats[i / 64] >> (i % 64) & 1 == 1) {
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
