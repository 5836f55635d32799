//! Compiling binary operators.
//!
//! Holds which side is held and which streams, and how chains of `or` become one flow. It knows no sample.
//! Invariant: rows leave in Prometheus' order (that of the "many" side; left before right for `or`).

use super::compile::{Compiler, Part};
use super::flow::{Check, Flow, ScalarStep, Source, Step};
use crate::binary::{
    BuildSpec, Filter, OrState, OrTee, OrUnseen, Probe, ProbeSpec, Signature, VectorScalar, changes_metric,
};
use crate::error::QueryError;
use crate::exec::distinct::Distinct;
use crate::exec::op::{METADATA, SlotId};
use crate::parse::{Binary, BinaryOp, Cardinality, NodeId, ValueType, VectorMatching};

/// Chains of `or` within chains; deeper ones are put down first.
const MOST_NESTED: usize = 8;

impl Compiler<'_> {
    pub(super) fn binary(&mut self, id: NodeId, binary: &Binary) -> Result<Part, QueryError> {
        let scalar = |c: &Self, id: NodeId| c.a.ast.node(id).value_type == ValueType::Scalar;
        let span = self.a.ast.span(id);
        let delayed = self.options.delayed_name_removal;
        let op = binary.op;
        let (left, right) = (scalar(self, binary.lhs), scalar(self, binary.rhs));
        if left && right {
            let (l, r) = (self.scalar(binary.lhs), self.scalar(binary.rhs));
            return Ok(Part::Scalar(self.scalar_step(id, ScalarStep::Binary(op, l, r))));
        }
        if left || right {
            let (scalar, vector) = if left { (binary.lhs, binary.rhs) } else { (binary.rhs, binary.lhs) };
            let scalar = self.scalar(scalar);
            let mut flow = self.rows(vector)?;
            flow.then_map(VectorScalar::new(op, scalar, left, binary.return_bool, span));
            if changes_metric(op) || binary.return_bool {
                flow.dropped_names(self.check(id), delayed);
            }
            return Ok(Part::Rows(flow));
        }
        let (lhs, rhs) = (self.rows(binary.lhs)?, self.rows(binary.rhs)?);
        let Some(matching) = binary.matching() else { return Ok(Part::Rows(lhs)) };
        Ok(Part::Rows(match op {
            BinaryOp::Or => self.or(id, matching, lhs, rhs),
            BinaryOp::And | BinaryOp::Unless => {
                let slot = self.build(binary.rhs, matching, rhs, true);
                let mut flow = self.relieved(lhs);
                flow.then(Filter::new(slot, Signature::new(matching), op == BinaryOp::Unless));
                flow.held += 1;
                flow
            }
            _ => self.probe(id, binary, matching, lhs, rhs),
        }))
    }

    fn build(&mut self, id: NodeId, matching: &VectorMatching, flow: Flow, presence: bool) -> SlotId {
        let spec = BuildSpec { signature: Signature::new(matching), presence, what: self.what(id) };
        let slot = self.slot();
        self.steps.push(Step::Build(flow, spec, slot));
        slot
    }

    fn probe(
        &mut self,
        id: NodeId,
        binary: &Binary,
        matching: &VectorMatching,
        lhs: Flow,
        rhs: Flow,
    ) -> Flow {
        let delayed = self.options.delayed_name_removal;
        let (many, one, held) = match matching.card {
            Cardinality::OneToMany => (rhs, lhs, binary.lhs),
            _ => (lhs, rhs, binary.rhs),
        };
        let slot = self.build(held, matching, one, false);
        let mut flow = self.relieved(many);
        flow.node = id;
        let plain = Signature::new(matching).is_plain();
        let one_to_one = matching.card == Cardinality::OneToOne;
        // Whether distinct rows have distinct labels afterwards too.
        let keeps = if one_to_one { plain } else { matching.include.is_empty() };
        let distinct = flow.unique && flow.one_name;
        flow.then(Probe::new(ProbeSpec {
            slot,
            op: binary.op,
            matching: matching.clone(),
            return_bool: binary.return_bool,
            span: self.a.ast.span(id),
            unambiguous: distinct && keeps,
            what: self.what(id),
        }));
        flow.held += 1;
        if !keeps {
            (flow.unique, flow.sorted, flow.nameless) = (false, false, false);
        }
        if matching.fill_left.is_some() {
            // What fills in has other labels than what streams.
            (flow.unique, flow.sorted, flow.nameless) = (false, false, false);
        }
        let drops = changes_metric(binary.op) || (binary.return_bool && !delayed);
        let check = self.check(id);
        if drops {
            flow.dropped_names(check, false);
        } else if !keeps {
            let mut names = matching.labels.iter().chain(&matching.include);
            flow.one_name = matching.on && one_to_one && !names.any(|n| METADATA.contains(&n.as_str()));
            if check != Check::None {
                flow.then(Distinct::per_step(true));
            }
        }
        flow
    }

    fn or(&mut self, id: NodeId, matching: &VectorMatching, lhs: Flow, mut rhs: Flow) -> Flow {
        let signature = Signature::new(matching);
        let what = self.what(id);
        let steps = lhs.steps;
        let mut lhs = lhs;
        if lhs.nested >= MOST_NESTED {
            lhs = self.put_down(lhs);
        }
        if rhs.nested >= MOST_NESTED {
            rhs = self.put_down(rhs);
        }
        let nested = lhs.nested.max(rhs.nested);
        // Rows of a chain with the same matching and nothing behind it just get one operand more.
        let (mut chain, state, nested) = match lhs {
            Flow { source: Source::Chain(flows), ops, or: Some(state), .. }
                if ops.is_empty() && state.signature == signature =>
            {
                (flows, state, nested)
            }
            mut lhs => {
                let state = OrState::new(signature, what);
                lhs.then(OrTee::new(state.clone()));
                (vec![lhs], state, nested + 1)
            }
        };
        rhs.then(OrUnseen::new(state.clone()));
        rhs.then(OrTee::new(state.clone()));
        chain.push(rhs);
        let mut flow = Flow { node: id, or: Some(state), nested, ..Flow::new(Source::Chain(chain), steps) };
        self.as_one(id, &mut flow);
        flow
    }
}
