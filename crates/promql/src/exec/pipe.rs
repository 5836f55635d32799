//! A flow's operators, and how a row passes them.
//!
//! Holds the loop over operators. It knows no source and no operator in particular. Invariant: rows leave
//! in the order in which recursion would give them, without recursion. Read `driver` for what is pushed.

use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::exec::op::{Cx, Row};
use crate::exec::profile::measured;
use crate::plan::Staged;

/// Where a flow's rows end. Takes the row apart as it likes.
pub(crate) type End<'e> = &'e mut dyn FnMut(&mut Row, &mut Cx<'_>) -> Result<(), QueryError>;

/// A flow's operators with the rows that wait between them.
pub(crate) struct Pipe {
    /// The operators.
    pub ops: Vec<Staged>,
    /// Their notes.
    pub notes: Vec<Annotations>,
    more: Vec<Row>,
    /// Rows and the operator each waits for; the last is next.
    waiting: Vec<(usize, Row)>,
}

impl Pipe {
    /// Opens every operator.
    pub(crate) fn open(ops: Vec<Staged>, cx: &mut Cx<'_>) -> Result<Pipe, QueryError> {
        let notes = vec![Annotations::default(); ops.len()];
        let mut pipe = Pipe { ops, notes, more: Vec::new(), waiting: Vec::new() };
        for (staged, notes) in pipe.ops.iter_mut().zip(&mut pipe.notes) {
            measured(&mut cx.with(notes), staged.node, |cx| staged.op.open(cx))?;
        }
        Ok(pipe)
    }

    /// Takes `row` through the operators from `from` on, with all rows that spring from it.
    pub(crate) fn push(
        &mut self,
        from: usize,
        row: &mut Row,
        cx: &mut Cx<'_>,
        end: End<'_>,
    ) -> Result<(), QueryError> {
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
            let mut own = cx.with(&mut self.notes[at]);
            let (Staged { op, node }, more) = (&mut self.ops[at], &mut self.more);
            let goes_on = measured(&mut own, *node, |cx| op.apply(row, more, cx))?;
            let waiting = self.more.drain(..).rev().map(|row| (at + 1, row));
            self.waiting.extend(waiting);
            if !goes_on {
                return Ok(());
            }
        }
        end(row, cx)
    }

    /// Ends every operator in turn.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>, end: End<'_>) -> Result<(), QueryError> {
        for at in 0..self.ops.len() {
            let mut rows = Vec::new();
            let mut own = cx.with(&mut self.notes[at]);
            let Staged { op, node } = &mut self.ops[at];
            measured(&mut own, *node, |cx| op.finish(&mut rows, cx))?;
            for mut row in rows {
                cx.env.interrupt.check()?;
                self.push(at + 1, &mut row, cx, end)?;
            }
        }
        Ok(())
    }
}
