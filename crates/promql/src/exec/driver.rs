//! Running flows: rows from the source, through the operators, to the end.
//!
//! Holds the loop that moves rows and reads the store. It knows no particular operator. Invariant: rows
//! reach the end in the order a single thread would give them, and nothing here recurses but chains,
//! whose nesting the planner bounds. Read `op` for what is called.

use std::collections::BTreeMap;

use model::{Labels, Millis, Samples};

use crate::annotations::{Annotation, Annotations};
use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::batch;
use crate::exec::counts::{Reading, strip_buckets};
use crate::exec::ledger::Ledger;
use crate::exec::lift::{Lift, timestamps};
use crate::exec::op::{Cx, Env, Row, Slots};
use crate::exec::pipe::{End, Pipe};
use crate::exec::profile;
use crate::exec::shared::{Reader, Sources};
use crate::exec::tally::Tally;
use crate::functions::Param;
use crate::functions::range::Windows;
use crate::parse::NodeId;
use crate::plan::{Flow, Select, Source};

/// Moves rows.
pub(crate) struct Driver<'r> {
    /// What does not change.
    pub env: &'r Env,
    /// Results of steps.
    pub slots: Slots,
    /// What the user should know, by the node it is about: of equal annotations the one that Prometheus
    /// would come to last counts.
    pub notes: BTreeMap<NodeId, Annotations>,
    /// Counts of samples, where they are wanted.
    pub ledger: Option<Ledger>,
    /// The selections.
    pub sources: Sources<'r>,
}

impl Driver<'_> {
    /// Runs `f` with what operators see; its notes are about `node`.
    pub(crate) fn with_cx<T>(&mut self, node: NodeId, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let mut notes = Annotations::default();
        let ledger = self.ledger.as_mut();
        let result = f(&mut Cx { env: self.env, slots: &mut self.slots, notes: &mut notes, ledger });
        self.note(node, notes);
        result
    }

    /// Keeps notes about a node.
    pub(crate) fn note(&mut self, node: NodeId, notes: Annotations) {
        if !notes.is_empty() {
            self.notes.entry(node).or_default().merge(notes);
        }
    }

    /// Runs a flow to its end.
    pub(crate) fn drive(&mut self, flow: Flow, end: End<'_>) -> Result<(), QueryError> {
        let node = flow.node;
        let mut pipe = self.with_cx(node, |cx| Pipe::open(flow.ops, cx))?;
        match flow.source {
            Source::Nothing => {}
            Source::Select(mut select) => {
                self.with_cx(node, |cx| select.lift.open(cx));
                self.select(&select, flow.source_steps, &mut pipe, end)?;
            }
            Source::Slot(at) => {
                for mut row in self.slots.rows(at) {
                    self.env.interrupt.check()?;
                    self.env.meter.release(row.bytes());
                    self.with_cx(node, |cx| pipe.push(0, &mut row, cx, end))?;
                }
            }
            Source::Scalar(of) => {
                let mut row = Row { labels: Labels::empty(), drop_name: false, column: Column::default() };
                scalar_column(&self.slots.scalar(of), flow.source_steps, &mut row.column);
                self.with_cx(node, |cx| pipe.push(0, &mut row, cx, end))?;
            }
            Source::Chain(flows) => {
                for flow in flows {
                    self.drive(flow, &mut |row, cx| pipe.push(0, row, cx, end))?;
                }
            }
        }
        self.with_cx(node, |cx| pipe.finish(cx, end))?;
        for (staged, notes) in pipe.ops.iter().zip(pipe.notes) {
            self.note(staged.node, notes);
        }
        Ok(())
    }

    /// Reads a selection series by series.
    fn select(
        &mut self,
        select: &Select,
        steps: Steps,
        pipe: &mut Pipe,
        end: End<'_>,
    ) -> Result<(), QueryError> {
        let mut set = self.sources.open(select.selection, self.env);
        let reading = match select.counts_only {
            true => select.lift.reading(steps, self.env.lookback),
            false => None,
        };
        let mut notes = Annotations::default();
        let what = (select, reading.as_ref(), steps);
        match self.env.pool.clone() {
            Some(pool) => batch::run(self, &pool, &mut set, what, pipe, end, &mut notes)?,
            None => self.one_by_one(&mut set, what, pipe, end, &mut notes)?,
        }
        for text in self.sources.close(set) {
            notes.add(Annotation::storage(text));
        }
        self.note(select.node, notes);
        Ok(())
    }
}

impl Driver<'_> {
    /// Reads a selection in this thread.
    fn one_by_one(
        &mut self,
        set: &mut Reader<'_>,
        (select, reading, steps): (&Select, Option<&Reading>, Steps),
        pipe: &mut Pipe,
        end: End<'_>,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let mut samples = Samples::default();
        let mut row = Row::default();
        loop {
            self.env.interrupt.check()?;
            let meter = &self.env.meter;
            let began = profile::begin(self.ledger.as_ref(), meter);
            let next = set.next(&mut samples)?;
            let Some(labels) = next else {
                profile::end(self.ledger.as_mut(), meter, select.node, began);
                return Ok(());
            };
            if let Some(reading) = reading {
                strip_buckets(&mut samples, reading);
            }
            let ledger = self.ledger.as_mut();
            let cx = &mut Cx { env: self.env, slots: &mut self.slots, notes: &mut *notes, ledger };
            let any = select.lift.lift(labels, &mut samples, steps, &mut row, cx.env, cx.notes)?;
            profile::end(cx.ledger.as_deref_mut(), meter, select.node, began);
            if let Some(ledger) = cx.ledger.as_deref_mut() {
                select.count(&mut ledger.tally, &samples, &row.column, (steps, self.env.lookback));
                ledger.settle()?;
            }
            if any {
                pipe.push(0, &mut row, cx, end)?;
            }
        }
    }
}

impl Select {
    /// Counts a series that was lifted.
    pub(crate) fn count(
        &self,
        tally: &mut Tally,
        samples: &Samples,
        column: &Column,
        (steps, lookback): (Steps, Millis),
    ) {
        match &self.lift {
            Lift::Range(call) => {
                let margins = call.kernel.margins(call.extended, lookback);
                tally.windows(self.node, (&call.windows, margins), samples, column, true);
            }
            Lift::OwnTime { .. } => tally.look_at(self.node, column),
            Lift::Instant { .. } => tally.load(self.node, column),
            Lift::Timestamp { offset, fixed, .. } => {
                // What was looked at counts, whether its time is wanted or not.
                let mut seen = Column::default();
                timestamps(samples, steps, (*offset, lookback), *fixed, &mut seen);
                tally.look_at(self.node, &seen);
            }
            Lift::Smoothed { offset, .. } => {
                let windows = Windows { steps, range: 0, offset: *offset, fixed: None };
                tally.smoothed(self.node, &windows, lookback, samples);
            }
        }
    }
}

/// A scalar as a column.
pub(crate) fn scalar_column(of: &Param, steps: Steps, column: &mut Column) {
    column.reset(steps.count);
    column.fill();
    match of {
        Param::Const(v) => column.values.fill(*v),
        Param::PerStep(values) => column.values.copy_from_slice(values),
    }
}
