//! Compiling calls.
//!
//! Holds what each function becomes: a lift of a selector, an operator, a scalar. It computes nothing (see
//! `functions`). Invariant: every function of the table is compiled here or is a kernel of `functions`.

use super::compile::{Compiler, Part};
use super::flow::{Check, Flow, ScalarStep, Source, Step};
use super::select::selector;
use crate::annotations::Annotation;
use crate::error::QueryError;
use crate::exec::lift::{Lift, RangeCall};
use crate::exec::op::{Scalar, SlotId};
use crate::exec::vector::{Absent, DropHistograms, Element, OverSubquery, Relabel, Sort, SortKind, StepTime};
use crate::exec::whole::{HistogramCall, Histograms};
use crate::functions::absent;
use crate::functions::element::ElementKernel;
use crate::functions::labels::{LabelJoin, LabelReplace};
use crate::functions::range::{RangeKernel, Windows};
use crate::parse::{Expr, Extended, Function, NodeId, Span};

impl Compiler<'_> {
    pub(super) fn call(&mut self, id: NodeId, func: &Function, args: &[NodeId]) -> Result<Part, QueryError> {
        if let Some(value) = self.a.folded.get(&id) {
            return Ok(Part::Scalar(Scalar::Const(*value)));
        }
        let args: Vec<NodeId> = args.iter().map(|a| self.a.ast.unparen(*a)).collect();
        // Parentheses have handed their part up.
        let outermost: Vec<NodeId> = match self.a.ast.expr(id) {
            Expr::Call { args, .. } => args.to_vec(),
            _ => Vec::new(),
        };
        for (inner, outer) in args.iter().zip(&outermost) {
            if inner != outer {
                let part = self.take(*outer);
                self.put_back(*inner, part);
            }
        }
        match func.name {
            "time" => Ok(Part::Scalar(self.scalar_step(id, ScalarStep::Time))),
            "pi" => Ok(Part::Scalar(Scalar::Const(std::f64::consts::PI))),
            "scalar" => {
                let flow = self.rows(args[0])?;
                let slot: SlotId = self.slot();
                self.steps.push(Step::Single(flow, slot));
                Ok(Part::Scalar(Scalar::Slot(slot)))
            }
            "vector" => {
                let of = self.scalar(args[0]);
                Ok(Part::Rows(Flow::single(Source::Scalar(of), self.context(id).steps)))
            }
            "min_of" | "max_of" => {
                let (a, b) = (self.scalar(args[0]), self.scalar(args[1]));
                let step =
                    if func.name == "min_of" { ScalarStep::MinOf(a, b) } else { ScalarStep::MaxOf(a, b) };
                Ok(Part::Scalar(self.scalar_step(id, step)))
            }
            "timestamp" | "start_timestamp" => self.timestamp(id, args[0], func.name == "start_timestamp"),
            "absent" => {
                let labels = match self.a.ast.expr(args[0]) {
                    Expr::Vector(v) => absent::labels_of(&v.matchers),
                    _ => model::Labels::empty(),
                };
                let mut flow = self.rows(args[0])?;
                flow.then(Absent::new(labels, self.context(id).steps, false));
                Ok(Part::Rows(one_row(flow)))
            }
            "label_replace" | "label_join" => self.relabel(id, func.name, &args),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(id, func.name, &args),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                self.histograms(id, func.name, &args)
            }
            "info" => self.info(id, &args),
            name => {
                if let Some(kernel) = RangeKernel::of(name) {
                    return self.range_call(id, name, kernel, &args);
                }
                match ElementKernel::of(name) {
                    Some(kernel) => self.element(id, kernel, &args),
                    None => Err(QueryError::Execution(format!("unknown function \"{name}\""))),
                }
            }
        }
    }

    fn element(&mut self, id: NodeId, kernel: ElementKernel, args: &[NodeId]) -> Result<Part, QueryError> {
        let steps = self.context(id).steps;
        let mut flow = match args.first() {
            Some(vector) => self.rows(*vector)?,
            None => {
                let time = self.scalar_step(id, ScalarStep::Time);
                Flow { node: id, ..Flow::single(Source::Scalar(time), steps) }
            }
        };
        let scalars = args.iter().skip(1).map(|a| self.scalar(*a)).collect();
        flow.then_map(Element::new(kernel, steps, scalars));
        flow.dropped_names(self.check(id), self.options.delayed_name_removal);
        Ok(Part::Rows(flow))
    }

    fn timestamp(&mut self, id: NodeId, arg: NodeId, start: bool) -> Result<Part, QueryError> {
        let mut flow = match self.take(arg) {
            Part::Selector(at) => {
                // With `@` any offset is forgotten, as in Prometheus.
                let lift = Lift::Timestamp {
                    offset: self.a.offsets[at.index()],
                    fixed: self.a.at[at.index()],
                    start,
                };
                self.source(at, id, lift, 0)
            }
            part => {
                self.put_back(arg, part);
                let mut flow = self.rows(arg)?;
                flow.then_map(StepTime { steps: self.context(id).steps, start });
                flow
            }
        };
        flow.dropped_names(self.check(id), self.options.delayed_name_removal);
        Ok(Part::Rows(flow))
    }

    fn relabel(&mut self, id: NodeId, name: &str, args: &[NodeId]) -> Result<Part, QueryError> {
        // Names that are not UTF-8 are refused; anything else that is not can equal no label's value.
        let sources = args[3..].iter().filter(|_| name == "label_join").map(|a| ("source", *a));
        for (which, at) in sources.chain([("destination", args[1])]) {
            if std::str::from_utf8(self.bytes(at)).is_err() {
                let text = format!("invalid {which} label name in {name}(): {}", self.text(at));
                return Err(QueryError::Execution(text));
            }
        }
        let texts: Vec<String> = args[1..].iter().map(|a| self.text(*a)).collect();
        let call = match name {
            "label_replace" => {
                LabelReplace::new(&texts[0], &texts[1], &texts[2], &texts[3]).map(Relabel::Replace)
            }
            _ => {
                let sources: Vec<&str> = texts[2..].iter().map(String::as_str).collect();
                LabelJoin::new(&texts[0], &texts[1], &sources).map(Relabel::Join)
            }
        };
        let names_metric = texts[0] == model::labels::METRIC_NAME;
        let mut flow = self.series(args[0]);
        flow.then_map(call.map_err(QueryError::Execution)?);
        (flow.unique, flow.sorted, flow.kinds_meet) = (false, false, true);
        if names_metric {
            (flow.one_name, flow.nameless) = (false, false);
        }
        self.as_one(id, &mut flow);
        Ok(Part::Rows(flow))
    }

    fn sort(&mut self, id: NodeId, name: &str, args: &[NodeId]) -> Result<Part, QueryError> {
        let names: Vec<String> = args[1..].iter().map(|a| self.text(*a)).collect();
        let mut flow = self.rows(args[0])?;
        let by_value = matches!(name, "sort" | "sort_desc");
        if self.context(id).single() {
            let kind = if by_value { SortKind::Value } else { SortKind::Labels(names) };
            flow.then(Sort::new(kind, name.ends_with("_desc")));
            flow.sorted = false;
        } else {
            self.notes.entry(id).or_default().add(Annotation::sort_in_range_query(self.a.ast.span(id)));
            if by_value {
                flow.then_map(DropHistograms);
            }
        }
        Ok(Part::Rows(flow))
    }

    fn histograms(&mut self, id: NodeId, name: &str, args: &[NodeId]) -> Result<Part, QueryError> {
        let (vector, call) = match name {
            "histogram_quantile" => {
                let q = self.scalar(args[0]);
                (args[1], HistogramCall::Quantile(q, self.a.ast.span(args[0])))
            }
            "histogram_fraction" => {
                let (lower, upper) = (self.scalar(args[0]), self.scalar(args[1]));
                (args[2], HistogramCall::Fraction(lower, upper))
            }
            _ => {
                let label = self.text(args[1]);
                let quantiles = args[2..].iter().map(|a| (self.scalar(*a), self.a.ast.span(*a))).collect();
                (args[0], HistogramCall::Quantiles(label, quantiles))
            }
        };
        let (steps, span, what) = (self.context(id).steps, self.a.ast.span(vector), self.what(vector));
        let mut flow = self.rows(vector)?;
        flow.then(Histograms::new(call, steps, span, what));
        (flow.unique, flow.sorted, flow.nameless) = (false, false, false);
        flow.dropped_names(self.check(id), self.options.delayed_name_removal);
        Ok(Part::Rows(flow))
    }

    fn range_call(
        &mut self,
        id: NodeId,
        name: &str,
        kernel: RangeKernel,
        args: &[NodeId],
    ) -> Result<Part, QueryError> {
        let delayed = self.options.delayed_name_removal;
        let (steps, start) = (self.context(id).steps, self.context(id).start);
        let matrix = args
            .iter()
            .copied()
            .find(|a| matches!(self.a.ast.expr(*a), Expr::Matrix { .. } | Expr::Subquery(_)));
        let Some(matrix) = matrix else { return Ok(Part::Rows(Flow::nothing(steps))) };
        let scalars: Vec<Scalar> =
            args.iter().copied().filter(|a| *a != matrix).map(|a| self.scalar(a)).collect();
        // What a subquery gives has no place of its own in the query: notes point at the query's start.
        let span = match self.a.ast.expr(args[0]) {
            Expr::Subquery(_) => Span { start: 0, ..self.a.ast.span(args[0]) },
            _ => self.a.ast.span(args[0]),
        };
        let part = self.take(matrix);
        let mut call = RangeCall {
            kernel,
            windows: Windows { steps, range: 0, offset: 0, fixed: None },
            extended: Extended::None,
            span,
            args: scalars,
            params: Vec::new(),
        };
        let mut labels = model::Labels::empty();
        let mut flow = match (part, self.a.ast.expr(matrix)) {
            (Part::Subquery(mut inner), Expr::Subquery(subquery)) => {
                let at = self.a.at[matrix.index()];
                call.windows.range = subquery.range.millis().unwrap_or(0);
                call.windows.fixed = at.map(|_| start);
                let original = subquery.offset.and_then(|o| o.millis()).unwrap_or(0);
                call.windows.offset = match at {
                    Some(at) => original.saturating_add(start.saturating_sub(at)),
                    None => self.a.offsets[matrix.index()],
                };
                let what = self.what(matrix);
                self.whole_series(&mut inner, what);
                let inner_steps = inner.steps;
                inner.node = id;
                inner.then_map(OverSubquery {
                    call,
                    node: id,
                    inner: inner_steps,
                    scratch: Default::default(),
                });
                inner.steps = steps;
                inner
            }
            (_, Expr::Matrix { selector: at, range }) => {
                let Some(v) = selector(&self.a, *at) else { return Ok(Part::Rows(Flow::nothing(steps))) };
                if let Some(text) = RangeKernel::refuses(name, v.extended) {
                    return Err(QueryError::Execution(text));
                }
                labels = absent::labels_of(&v.matchers);
                call.windows.range = range.millis().unwrap_or(0);
                call.windows.offset = self.a.offsets[at.index()];
                call.windows.fixed = self.a.at[at.index()].map(|_| start);
                call.extended = v.extended;
                let extra = match v.extended {
                    Extended::None => kernel.margins(v.extended, self.lookback).0,
                    _ => 0,
                };
                self.source(*at, id, Lift::Range(call), extra)
            }
            _ => return Ok(Part::Rows(Flow::nothing(steps))),
        };
        if name == "absent_over_time" {
            flow.then(Absent::new(labels, steps, true));
            return Ok(Part::Rows(one_row(flow)));
        }
        match kernel.keeps_name() {
            true if flow.unique => {}
            true => flow.then(crate::exec::distinct::Distinct::strict()),
            false => {
                let check = if delayed { Check::None } else { Check::Strict };
                flow.dropped_names(check, delayed);
            }
        }
        Ok(Part::Rows(flow))
    }
}

/// A flow that gives one row at most.
fn one_row(mut flow: Flow) -> Flow {
    (flow.unique, flow.sorted, flow.one_name, flow.nameless) = (true, true, true, true);
    flow
}
