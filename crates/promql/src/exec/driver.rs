//! Running flows: rows from the source, through the operators, to the end.
//!
//! Holds the loop that moves rows and reads the store. It knows no particular operator. Invariant: rows
//! reach the end in the order a single thread would give them, and nothing here recurses but chains,
//! whose nesting the planner bounds. Read `op` for what is called.

use model::{Labels, Samples};

use crate::annotations::{Annotation, Annotations};
use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::counts::{Reading, strip_buckets};
use crate::exec::lift::Lift;
use crate::exec::op::{Cx, Env, Op, Row, Slots};
use crate::functions::Param;
use crate::plan::{Flow, Source};
use crate::storage::{Queryable, SeriesSet};

/// Where a flow's rows end. Takes the row apart as it likes.
pub(crate) type End<'e> = &'e mut dyn FnMut(&mut Row, &mut Cx<'_>) -> Result<(), QueryError>;

/// Moves rows.
pub(crate) struct Driver<'r> {
    /// Where series come from.
    pub store: &'r dyn Queryable,
    /// What does not change.
    pub env: &'r Env,
    /// Results of steps.
    pub slots: Slots,
    /// What the user should know.
    pub notes: Annotations,
    /// The selections, started, each until it is read.
    pub sets: Vec<Option<Box<dyn SeriesSet>>>,
}

/// A flow's operators with the rows that wait between them.
struct Pipe {
    ops: Vec<Box<dyn Op>>,
    more: Vec<Row>,
    /// Rows and the operator each waits for; the last is next.
    waiting: Vec<(usize, Row)>,
}

impl Pipe {
    fn open(mut ops: Vec<Box<dyn Op>>, cx: &mut Cx<'_>) -> Result<Pipe, QueryError> {
        ops.iter_mut().try_for_each(|op| op.open(cx))?;
        Ok(Pipe { ops, more: Vec::new(), waiting: Vec::new() })
    }

    /// Takes `row` through the operators from `from` on, with all rows that spring from it.
    fn push(&mut self, from: usize, row: &mut Row, cx: &mut Cx<'_>, end: End<'_>) -> Result<(), QueryError> {
        self.through(from, row, cx, end)?;
        while let Some((from, mut row)) = self.waiting.pop() {
            self.through(from, &mut row, cx, end)?;
        }
        Ok(())
    }

    fn through(
        &mut self,
        from: usize,
        row: &mut Row,
        cx: &mut Cx<'_>,
        end: End<'_>,
    ) -> Result<(), QueryError> {
        for at in from..self.ops.len() {
            let goes_on = self.ops[at].apply(row, &mut self.more, cx)?;
            let waiting = self.more.drain(..).rev().map(|row| (at + 1, row));
            self.waiting.extend(waiting);
            if !goes_on {
                return Ok(());
            }
        }
        end(row, cx)
    }

    /// Ends every operator in turn.
    fn finish(&mut self, cx: &mut Cx<'_>, end: End<'_>) -> Result<(), QueryError> {
        for at in 0..self.ops.len() {
            let mut rows = Vec::new();
            self.ops[at].finish(&mut rows, cx)?;
            for mut row in rows {
                cx.env.interrupt.check()?;
                self.push(at + 1, &mut row, cx, end)?;
            }
        }
        Ok(())
    }
}

impl Driver<'_> {
    /// Runs `f` with what operators see.
    pub(crate) fn with_cx<T>(&mut self, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        f(&mut Cx { env: self.env, slots: &mut self.slots, notes: &mut self.notes })
    }

    /// Runs a flow to its end.
    pub(crate) fn drive(&mut self, flow: Flow, end: End<'_>) -> Result<(), QueryError> {
        let mut pipe = self.with_cx(|cx| Pipe::open(flow.ops, cx))?;
        match flow.source {
            Source::Nothing => {}
            Source::Select(at, mut lift, counts_only) => {
                self.with_cx(|cx| lift.open(cx));
                let reading =
                    counts_only.then(|| lift.reading(flow.source_steps, self.env.lookback)).flatten();
                self.select(at, &lift, reading, flow.source_steps, &mut pipe, end)?;
            }
            Source::Slot(at) => {
                for mut row in self.slots.rows(at) {
                    self.env.interrupt.check()?;
                    self.env.meter.release(row.bytes());
                    self.with_cx(|cx| pipe.push(0, &mut row, cx, end))?;
                }
            }
            Source::Scalar(of) => {
                let mut row = Row { labels: Labels::empty(), drop_name: false, column: Column::default() };
                scalar_column(&self.slots.scalar(of), flow.source_steps, &mut row.column);
                self.with_cx(|cx| pipe.push(0, &mut row, cx, end))?;
            }
            Source::Chain(flows) => {
                for flow in flows {
                    self.drive(flow, &mut |row, cx| pipe.push(0, row, cx, end))?;
                }
            }
        }
        self.with_cx(|cx| pipe.finish(cx, end))
    }

    /// Reads a selection series by series.
    fn select(
        &mut self,
        at: usize,
        lift: &Lift,
        counts_only: Option<Reading>,
        steps: Steps,
        pipe: &mut Pipe,
        end: End<'_>,
    ) -> Result<(), QueryError> {
        let Some(mut set) = self.sets[at].take() else { return Ok(()) };
        let mut samples = Samples::default();
        let mut row = Row::default();
        loop {
            self.env.interrupt.check()?;
            let Some(labels) = set.next(&mut samples)? else { break };
            let cx = &mut Cx { env: self.env, slots: &mut self.slots, notes: &mut self.notes };
            if let Some(reading) = &counts_only {
                strip_buckets(&mut samples, reading);
            }
            if lift.lift(labels, &mut samples, steps, &mut row, cx.env, cx.notes)? {
                pipe.push(0, &mut row, cx, end)?;
            }
        }
        for text in set.warnings() {
            self.notes.add(Annotation::storage(text));
        }
        Ok(())
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
