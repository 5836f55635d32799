//! What operators are: rows in, rows out.
//!
//! Holds the [`Row`], the [`Op`] trait with its stateless half [`Map`], and what operators share during a
//! run ([`Cx`], [`Slots`]). It knows no particular operator. Invariant: rows come in series order, every
//! row has at least one sample, and no row is looked at again once it was handed on. Read `driver` for
//! who calls them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{Labels, Millis};

use crate::annotations::Annotations;
use crate::binary::Build;
use crate::column::Column;
use crate::engine::EngineOptions;
use crate::error::QueryError;
use crate::exec::ledger::Ledger;
use crate::exec::meter::Meter;
use crate::exec::tally::Tally;
use crate::functions::Param;
use crate::interrupt::Interrupt;

/// One series over the steps of an evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Its labels.
    pub labels: Labels,
    /// Whether the metric name is to be dropped in the end (delayed name removal).
    pub drop_name: bool,
    /// Its samples.
    pub column: Column,
}

impl Row {
    /// Bytes a kept row takes, with what allocations waste: the list that holds it may be twice as long
    /// as it needs to be, and each of its own parts has the allocator's header and is rounded up.
    pub(crate) fn bytes(&self) -> u64 {
        const PART: usize = 32;
        let column = |n: usize| n.max(4) * 8 + PART;
        let hists: usize = self.column.hists.iter().map(|h| h.histogram.size() + 4 * PART).sum();
        let own = column(self.column.len()) + column(self.column.present.len()) + hists;
        (2 * size_of::<Row>() + self.labels.byte_len() + PART + own) as u64
    }
}

/// What does not change during a run.
pub(crate) struct Env {
    /// The engine's options.
    pub options: Arc<EngineOptions>,
    /// How old a selected sample may be.
    pub lookback: Millis,
    /// Deadline and cancellation.
    pub interrupt: Interrupt,
    /// What memory is charged to.
    pub meter: Meter,
    /// Threads for what can be done in parallel.
    pub pool: Option<Arc<rayon::ThreadPool>>,
    /// Whether a row had labels whose order changes when names are dropped.
    untidy: AtomicBool,
}

impl Env {
    /// Of a run.
    pub(crate) fn new(
        options: Arc<EngineOptions>,
        pool: Option<Arc<rayon::ThreadPool>>,
        lookback: Millis,
        interrupt: Interrupt,
        meter: Meter,
    ) -> Self {
        Env { options, pool, lookback, interrupt, meter, untidy: AtomicBool::new(false) }
    }

    /// Looks at labels whose metric name is about to be dropped: labels that sort before it, and the
    /// other ones that go with it, change the order of what is left.
    pub(crate) fn note_labels(&self, labels: &Labels) {
        let mut names = labels.iter_bytes().map(|(name, _)| name);
        let last: &[u8] = METADATA[2].as_bytes();
        let tidy = names.next().is_none_or(|first| match first == METADATA[0].as_bytes() {
            true => names.next().is_none_or(|second| second > last),
            false => first > last,
        });
        if !tidy {
            self.untidy.store(true, Ordering::Relaxed);
        }
    }

    /// Whether no such labels were seen.
    pub(crate) fn is_tidy(&self) -> bool {
        !self.untidy.load(Ordering::Relaxed)
    }

    /// Labels of a result whose name goes: at once, or in the end.
    pub(crate) fn unnamed(&self, labels: &Labels) -> Labels {
        if self.options.delayed_name_removal {
            return labels.clone();
        }
        self.note_labels(labels);
        drop_metadata(labels)
    }
}

/// A run as operators see it.
pub(crate) struct Cx<'a> {
    /// What does not change.
    pub env: &'a Env,
    /// Results of earlier steps.
    pub slots: &'a mut Slots,
    /// What the user should know.
    pub notes: &'a mut Annotations,
    /// What is counted in the query's own thread, where that is wanted.
    pub ledger: Option<&'a mut Ledger>,
}

impl Cx<'_> {
    /// The same, with other notes.
    pub(crate) fn with<'c>(&'c mut self, notes: &'c mut Annotations) -> Cx<'c> {
        Cx { env: self.env, slots: &mut *self.slots, notes, ledger: self.ledger.as_deref_mut() }
    }
}

/// A run as a [`Map`] sees it, in whichever thread: nothing here is anyone else's.
pub(crate) struct Local<'a> {
    /// What does not change.
    pub env: &'a Env,
    /// What the user should know.
    pub notes: &'a mut Annotations,
    /// Counts of samples, where they are wanted.
    pub tally: Option<&'a mut Tally>,
}

/// The result of a step, kept for a later one.
pub(crate) enum Slot {
    /// A scalar.
    Scalar(Arc<Param>),
    /// One side of a binary operator.
    Build(Box<Build>),
    /// Rows, in order.
    Rows(Vec<Row>),
}

/// Results of steps; each is taken once, scalars are shared.
#[derive(Default)]
pub(crate) struct Slots(Vec<Option<Slot>>);

/// Index of a slot.
pub(crate) type SlotId = usize;

impl Slots {
    /// Room for `n` results.
    pub(crate) fn new(n: usize) -> Self {
        Slots((0..n).map(|_| None).collect())
    }

    /// Keeps a result.
    pub(crate) fn put(&mut self, at: SlotId, slot: Slot) {
        self.0[at] = Some(slot);
    }

    /// Takes rows out; none are there if the step gave none.
    pub(crate) fn rows(&mut self, at: SlotId) -> Vec<Row> {
        match self.0[at].take() {
            Some(Slot::Rows(rows)) => rows,
            _ => Vec::new(),
        }
    }

    /// Takes one side of a binary operator out.
    pub(crate) fn build(&mut self, at: SlotId) -> Box<Build> {
        match self.0[at].take() {
            Some(Slot::Build(build)) => build,
            _ => Box::default(),
        }
    }

    /// The scalar at `of`.
    pub(crate) fn scalar(&self, of: Scalar) -> Arc<Param> {
        match of {
            Scalar::Const(v) => Arc::new(Param::Const(v)),
            Scalar::Slot(at) => match &self.0[at] {
                Some(Slot::Scalar(param)) => param.clone(),
                _ => Arc::new(Param::Const(f64::NAN)),
            },
        }
    }
}

/// A scalar operand: known, or the result of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar {
    /// Known when planned.
    Const(f64),
    /// The result of a step.
    Slot(SlotId),
}

/// An operator within a pipeline.
pub(crate) trait Op: Send {
    /// Called once, before the first row: results of earlier steps are taken here.
    fn open(&mut self, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        Ok(())
    }

    /// The stateless operator this is, if it is one.
    fn as_map(&self) -> Option<&dyn Map> {
        None
    }

    /// Whether it only looks at rows: nothing is ever put into `more`, and nothing comes at the end.
    fn is_gate(&self) -> bool {
        false
    }

    /// Takes the next row. Returns whether `row` goes on; rows put into `more` go on after it.
    fn apply(&mut self, row: &mut Row, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError>;

    /// Called after the last row; rows put into `more` go on.
    fn finish(&mut self, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        Ok(())
    }
}

/// An operator that looks at one row at a time and remembers nothing: it runs in any thread.
pub(crate) trait Map: Send + Sync {
    /// As [`Op::open`].
    fn open(&mut self, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        Ok(())
    }

    /// Whether it takes long enough to be worth a thread.
    fn is_heavy(&self) -> bool {
        false
    }

    /// Changes `row` and returns whether it goes on.
    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError>;
}

/// A [`Map`] as an [`Op`].
pub(crate) struct Mapped<M>(pub M);

impl<M: Map> Op for Mapped<M> {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.0.open(cx)
    }

    fn as_map(&self) -> Option<&dyn Map> {
        Some(&self.0)
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let tally = cx.ledger.as_deref_mut().map(|ledger| &mut ledger.tally);
        let goes_on = self.0.map(row, &mut Local { env: cx.env, notes: &mut *cx.notes, tally })?;
        cx.ledger.as_deref_mut().map_or(Ok(()), Ledger::settle)?;
        Ok(goes_on)
    }
}

/// Labels that describe the metric and go where the metric's meaning changes.
pub(crate) const METADATA: [&str; 3] = ["__name__", "__type__", "__unit__"];

/// `labels` without those that describe the metric.
pub(crate) fn drop_metadata(labels: &Labels) -> Labels {
    labels.without(&METADATA)
}

/// The text of an error when two rows have the same labels at the same step.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::execution("vector cannot contain metrics with the same labelset")
}
