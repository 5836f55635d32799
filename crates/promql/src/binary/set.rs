//! `and`, `unless` and `or`.
//!
//! Holds filters of rows by the presence of their signature on the other side, step by step. It knows no
//! values. Invariant: a row's labels and samples pass unchanged or not at all. Reference: Prometheus
//! `promql/engine.go` (`VectorAnd`, `VectorOr`, `VectorUnless`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Labels;

use super::{Build, Signature};
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row, SlotId};

/// Keeps what the other side has (`and`), or has not (`unless`).
pub(crate) struct Filter {
    slot: SlotId,
    signature: Signature,
    unless: bool,
    build: Box<Build>,
}

impl Filter {
    /// Against the side held in `slot`.
    pub(crate) fn new(slot: SlotId, signature: Signature, unless: bool) -> Self {
        Filter { slot, signature, unless, build: Box::default() }
    }
}

impl Op for Filter {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.build = cx.slots.build(self.slot);
        Ok(())
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let Some(at) = self.build.find(&self.signature.of(&row.labels)) else { return Ok(self.unless) };
        let there = &self.build.sides[at].column.present;
        match self.unless {
            false => row.column.retain(there),
            true => {
                let keep: Vec<u64> = there.iter().map(|word| !word).collect();
                row.column.retain(&keep);
            }
        }
        Ok(row.column.any())
    }

    fn finish(&mut self, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        cx.env.meter.release(self.build.charged);
        *self.build = Build::default();
        Ok(())
    }
}

/// Which signatures the operands of an `or` have had so far, and at which steps. Shared by all operands of
/// a chain with the same matching.
#[derive(Clone, Debug)]
pub(crate) struct OrState {
    /// What rows match by.
    pub signature: Signature,
    what: Arc<str>,
    present: Arc<Mutex<HashMap<Labels, Box<[u64]>>>>,
}

impl OrState {
    /// Nothing seen yet; `what` names it in refusals of memory.
    pub(crate) fn new(signature: Signature, what: Arc<str>) -> Self {
        OrState { signature, what, present: Arc::default() }
    }
}

/// Remembers an operand's rows. Rows of one operand do not hide each other: they count once it has ended.
pub(crate) struct OrTee {
    state: OrState,
    seen: HashMap<Labels, Box<[u64]>>,
}

impl OrTee {
    /// For an operand that has another behind it.
    pub(crate) fn new(state: OrState) -> Self {
        OrTee { state, seen: HashMap::new() }
    }
}

impl Op for OrTee {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let signature = self.state.signature.of(&row.labels);
        match self.seen.get_mut(&signature) {
            Some(bits) => bits.iter_mut().zip(&row.column.present).for_each(|(a, b)| *a |= b),
            None => {
                let bytes = signature.byte_len() + 160 + row.column.present.len() * 8;
                cx.env.meter.charge(bytes as u64, &self.state.what)?;
                self.seen.insert(signature, row.column.present.clone().into_boxed_slice());
            }
        }
        Ok(true)
    }

    fn finish(&mut self, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let mut all = self.state.present.lock().unwrap_or_else(PoisonError::into_inner);
        for (signature, seen) in std::mem::take(&mut self.seen) {
            match all.get_mut(&signature) {
                Some(bits) => bits.iter_mut().zip(&seen).for_each(|(a, b)| *a |= b),
                None => {
                    all.insert(signature, seen);
                }
            }
        }
        Ok(())
    }
}

/// Keeps what no operand before has had.
pub(crate) struct OrUnseen {
    state: OrState,
}

impl OrUnseen {
    /// For an operand that has another before it.
    pub(crate) fn new(state: OrState) -> Self {
        OrUnseen { state }
    }
}

impl Op for OrUnseen {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let all = self.state.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bits) = all.get(&self.state.signature.of(&row.labels)) {
            let keep: Vec<u64> = bits.iter().map(|word| !word).collect();
            row.column.retain(&keep);
        }
        Ok(row.column.any())
    }
}
