//! Counting samples as Prometheus counts them.
//!
//! Holds what must be known in series order: how many samples each node has given so far, and how many a
//! call would have held at most, against the limit. It knows no sample's value and nothing of threads.
//! Nothing is counted unless a limit is set or statistics are asked for. Invariant: this engine holds far
//! less than what is reckoned here; the numbers are those of Prometheus' own evaluation, node by node and
//! step by step. Read `tally` for how rows are counted, `reckon` for how the numbers are put together.
//! Reference: Prometheus `promql/engine.go` (`currentSamples`), `util/stats/query_stats.go`.

use crate::error::QueryError;
use crate::exec::profile::Profile;
use crate::exec::tally::{ByNode, Mark, NodeCounts, Tally};
use crate::parse::NodeId;

/// A call of a range function, series by series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallCounts {
    /// Most samples at a time, those of the arguments aside.
    pub peak: i64,
    /// Samples of the result so far.
    pub out: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    rows: i64,
    call: CallCounts,
}

/// What a run has counted so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What passed in the query's own thread.
    pub tally: Tally,
    /// What passed in others.
    others: Vec<Tally>,
    running: ByNode<Running>,
    limit: i64,
    /// What operators took, where the run is analysed.
    pub profile: Option<Profile>,
}

impl Ledger {
    /// An empty one. 0 is no limit.
    pub(crate) fn new(limit: i64, profile: Option<Profile>) -> Self {
        Ledger { limit, profile, ..Ledger::default() }
    }

    /// Enters what the query's own thread has marked.
    ///
    /// # Errors
    /// [`QueryError::TooManySamples`] where that is more than the limit allows.
    pub(crate) fn settle(&mut self) -> Result<(), QueryError> {
        let mut marks = std::mem::take(&mut self.tally.marks);
        let entered = self.enter(&mut marks);
        self.tally.marks = marks;
        entered
    }

    /// Enters and removes the marks of one series.
    ///
    /// # Errors
    /// As [`Ledger::settle`].
    pub(crate) fn enter(&mut self, marks: &mut Vec<Mark>) -> Result<(), QueryError> {
        for mark in marks.drain(..) {
            let most = match mark {
                Mark::Row(node, samples) => {
                    if let Some(profile) = &mut self.profile {
                        profile.row(node);
                    }
                    let rows = &mut self.running.of(node).rows;
                    *rows += samples;
                    *rows
                }
                Mark::Call(node, most, out) => {
                    let call = &mut self.running.of(node).call;
                    call.peak = call.peak.max(call.out + most);
                    call.out += out;
                    call.peak
                }
            };
            if self.limit > 0 && most > self.limit {
                return Err(QueryError::TooManySamples);
            }
        }
        Ok(())
    }

    /// Tallies for so many threads, to be given back by [`Ledger::put_together`].
    pub(crate) fn share(&mut self, threads: usize) -> Vec<Tally> {
        let mut others = std::mem::take(&mut self.others);
        others.resize_with(threads, Tally::default);
        others.iter_mut().for_each(|tally| tally.timed = self.profile.is_some());
        others
    }

    /// Takes over what threads have counted.
    pub(crate) fn put_together(&mut self, mut others: Vec<Tally>) {
        for other in &mut others {
            for (node, spent) in self.tally.absorb(other) {
                if let Some(profile) = &mut self.profile {
                    profile.spent(node, spent);
                }
            }
        }
        self.others = others;
    }

    /// The end: everything that was counted.
    pub(crate) fn finish(self) -> (Counted, Option<Profile>) {
        let Ledger { tally, running, profile, .. } = self;
        (Counted { nodes: tally.finish(), running, nothing: NodeCounts::default() }, profile)
    }
}

/// Everything counted in a run.
#[derive(Debug)]
pub(crate) struct Counted {
    /// What passed each node.
    pub nodes: ByNode<NodeCounts>,
    running: ByNode<Running>,
    nothing: NodeCounts,
}

impl Counted {
    /// What passed a node.
    pub(crate) fn of(&self, node: NodeId) -> &NodeCounts {
        self.nodes.get(node).unwrap_or(&self.nothing)
    }

    /// What a call of a range function went through.
    pub(crate) fn call(&self, node: NodeId) -> CallCounts {
        self.running.get(node).map_or(CallCounts::default(), |own| own.call)
    }
}
