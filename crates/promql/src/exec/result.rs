//! The end of a query: rows to the caller's sink, in the order and with the labels it is promised.
//!
//! Holds the last sort, the delayed removal of names, and the window of a bare range selector. It knows no
//! operator. Invariant: a matrix leaves in ascending order of labels, each set once; rows are kept back
//! only where the planner cannot promise that order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use model::{Millis, Samples};

use crate::column::Steps;
use crate::error::QueryError;
use crate::exec::lift::strip_stale;
use crate::exec::merge::Merge;
use crate::exec::op::{Cx, Row, drop_metadata};
use crate::functions::range::extend_floats;
use crate::parse::Extended;
use crate::sink::{Points, Sink, Value};

/// Rows that are sorted at once.
const RUN: usize = 16 << 10;

/// Hands rows to a sink.
pub(crate) struct Results<'s> {
    sink: &'s mut dyn Sink,
    steps: Steps,
    /// Whether the result is an instant vector, with this time.
    vector: Option<Millis>,
    /// Whether rows come in order and once each, as far as the planner knows.
    streams: bool,
    kept: Option<Merge>,
    /// Whether a row was handed on that has labels.
    started: bool,
    what: Arc<str>,
}

impl<'s> Results<'s> {
    /// The end of a flow with these steps. `streams` if its rows are distinct and, for a
    /// matrix, ascend.
    pub(crate) fn new(
        sink: &'s mut dyn Sink,
        steps: Steps,
        vector: Option<Millis>,
        streams: bool,
        what: Arc<str>,
    ) -> Self {
        Results { sink, steps, vector, streams, kept: None, started: false, what }
    }

    /// Takes the next row.
    pub(crate) fn push(&mut self, row: &mut Row, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let delayed = cx.env.options.delayed_name_removal;
        if delayed && row.drop_name {
            cx.env.note_labels(&row.labels);
            row.labels = drop_metadata(&row.labels);
        }
        let streams = match self.vector {
            // Duplicates have been refused on the way, except where names go only now.
            Some(_) => self.streams && !delayed,
            // Labels that sort around the metric name upset the order once that is dropped: they come
            // before all others, so nothing but the empty set can have been handed on.
            None => self.streams && (self.started || cx.env.is_tidy()),
        };
        if !streams || self.kept.is_some() {
            let what = &self.what;
            return self.kept.get_or_insert_with(|| Merge::new(Arc::clone(what))).add(row, cx);
        }
        self.started |= !row.labels.is_empty();
        self.emit(row)
    }

    fn emit(&mut self, row: &Row) -> Result<(), QueryError> {
        match self.vector {
            None => self.sink.series(&row.labels, Points::Steps(self.steps, &row.column)),
            Some(at) => match row.column.hists.first() {
                Some(h) => self.sink.sample(&row.labels, at, Value::Histogram(&h.histogram)),
                None => self.sink.sample(&row.labels, at, Value::Float(row.column.values[0])),
            },
        }
    }

    /// Hands on what was kept back.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let rows = kept.into_rows();
        if self.vector.is_some() {
            return rows.iter().try_for_each(|row| self.emit(row));
        }
        // Sorted in runs, between which the query may end, and merged while they leave.
        let mut runs = Vec::new();
        let mut left = rows.into_iter();
        loop {
            cx.env.interrupt.check()?;
            let mut run: Vec<Row> = left.by_ref().take(RUN).collect();
            if run.is_empty() {
                break;
            }
            run.sort_unstable_by(|a, b| b.labels.cmp(&a.labels));
            runs.push(run);
        }
        let first = |run: &[Row], at: usize| run.last().map(|row| Reverse((row.labels.clone(), at)));
        let mut next: BinaryHeap<_> =
            runs.iter().enumerate().filter_map(|(at, run)| first(run, at)).collect();
        while let Some(Reverse((_, at))) = next.pop() {
            cx.env.interrupt.check()?;
            if let Some(row) = runs[at].pop() {
                self.emit(&row)?;
            }
            next.extend(first(&runs[at], at));
        }
        Ok(())
    }
}

/// The samples of a bare range selector: those after `end - range`, up to `end`.
pub(crate) fn window(
    samples: &mut Samples,
    end: Millis,
    range: Millis,
    extended: Extended,
    lookback: Millis,
) -> Result<(), QueryError> {
    let start = end.saturating_sub(range);
    let (mint, maxt) = match extended {
        Extended::None => (start, end),
        Extended::Anchored => (start.saturating_sub(lookback), end),
        Extended::Smoothed => (start.saturating_sub(lookback), end.saturating_add(lookback)),
    };
    let from = samples.ts.partition_point(|t| *t <= mint);
    let to = samples.ts.partition_point(|t| *t <= maxt).max(from);
    samples.ts.truncate(to);
    samples.ts.drain(..from);
    samples.values.truncate(to);
    samples.values.drain(..from);
    if !samples.start_ts.is_empty() {
        samples.start_ts.truncate(to);
        samples.start_ts.drain(..from);
    }
    samples.hists.retain(|h| (from..to).contains(&(h.index as usize)));
    samples.hists.iter_mut().for_each(|h| h.index -= from as u32);
    strip_stale(samples);
    if extended == Extended::None {
        return Ok(());
    }
    if !samples.hists.is_empty() {
        let name = if extended == Extended::Anchored { "anchored" } else { "smoothed" };
        return Err(QueryError::Execution(format!("{name} modifier is not supported with histograms")));
    }
    if !samples.ts.is_empty() {
        let smoothed = extended == Extended::Smoothed;
        let (ts, values) = extend_floats((&samples.ts, &samples.values), (start, end), smoothed);
        samples.clear();
        (samples.ts, samples.values) = (ts, values);
    }
    Ok(())
}
