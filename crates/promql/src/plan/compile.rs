//! The compiler: nodes, children first, become flows, scalars and steps.
//!
//! Holds the walk and the nodes that are neither calls nor binary operators nor aggregations (see `call`,
//! `join` and `aggregate`). It knows no sample. Invariant: a part is taken once, by its parent; what has to
//! be complete before its parent can start (the held side of an operator, a scalar) is a step before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::analysis::{Analysis, Context};
use super::explain::{Known, Outline, outline};
use super::flow::{Check, Flow, ScalarStep, Select, Source, Step};
use super::projection::union;
use super::select::{selection, selector};
use crate::annotations::Annotations;
use crate::column::Steps;
use crate::engine::{EngineOptions, Query};
use crate::error::QueryError;
use crate::exec::kinds::Meeting;
use crate::exec::lift::Lift;
use crate::exec::merge::Merge;
use crate::exec::op::{Scalar, SlotId};
use crate::exec::vector::{Negate, Repeat, Tap};
use crate::parse::{Expr, Extended, NodeId, UnaryOp, ValueType};
use crate::storage::Selection;

/// Operators that hold a side each, one behind the other; more, and what came so far is put down first.
const MOST_HELD: usize = 32;

/// Most evaluation times of a query or a subquery: a column has an entry for each.
const MOST_STEPS: usize = 1 << 26;

/// What is to be done for a query.
pub(crate) struct Program<'q> {
    /// The tree.
    pub analysis: Analysis<'q>,
    /// What to ask of the store, and how often each is read.
    pub selections: Vec<(Selection, usize)>,
    /// What to do first, in order.
    pub steps: Vec<Step>,
    /// How many results of steps there are.
    pub slots: usize,
    /// The result.
    pub root: Root,
    /// What can be said before looking at any sample, by node.
    pub notes: BTreeMap<NodeId, Annotations>,
    /// The operators as a tree, where that is wanted and there are any.
    pub outline: Option<Outline>,
}

/// What the result is.
pub(crate) enum Root {
    /// Rows.
    Rows(Flow),
    /// A scalar over the steps.
    Scalar(Scalar, Steps),
    /// A string.
    Text(Box<[u8]>),
    /// The samples of a selection within a window.
    Window {
        /// The node.
        node: NodeId,
        /// The selection.
        selection: usize,
        /// End of the window.
        end: model::Millis,
        /// Its length.
        range: model::Millis,
        /// `anchored` or `smoothed`.
        extended: Extended,
    },
}

/// What a node became.
pub(super) enum Part {
    /// Rows.
    Rows(Flow),
    /// An instant selector that nobody has looked at.
    Selector(NodeId),
    /// A range selector.
    Range(NodeId),
    /// A subquery with the rows of its expression.
    Subquery(Flow),
    /// A scalar.
    Scalar(Scalar),
    /// A string.
    Text(Box<[u8]>),
    /// Taken by its parent.
    Taken,
}

/// Compiles a query; with the tree of its operators if `explained`.
pub(crate) fn compile(
    query: &Query,
    lookback: model::Millis,
    explained: bool,
) -> Result<Program<'_>, QueryError> {
    let analysis = Analysis::new(&query.ast, query.times, &query.engine);
    check_steps(&analysis, query)?;
    let mut compiler = Compiler {
        a: analysis,
        query,
        options: &query.engine,
        lookback,
        parts: Vec::new(),
        selections: Vec::new(),
        known: HashMap::new(),
        steps: Vec::new(),
        slots: 0,
        notes: BTreeMap::new(),
        at: query.ast.root(),
        counting: query.is_counting(),
        explained: explained.then(Known::default),
    };
    compiler.run()?;
    let root = compiler.root()?;
    let explained = compiler.explained.take();
    let outline = explained.and_then(|known| outline(&compiler.a, &query.text, &known));
    Ok(Program {
        outline,
        analysis: compiler.a,
        selections: compiler.selections,
        steps: compiler.steps,
        slots: compiler.slots,
        root,
        notes: compiler.notes,
    })
}

/// Refuses what has more steps than a column may have.
fn check_steps(a: &Analysis<'_>, query: &Query) -> Result<(), QueryError> {
    let Some(context) = a.contexts.iter().find(|c| c.steps.count > MOST_STEPS) else { return Ok(()) };
    let place = match context.outer {
        Some((_, Some(id))) => text_of(a, query, id),
        _ => Arc::from(query.text()),
    };
    let count = context.steps.count;
    Err(QueryError::Execution(format!(
        "too many steps: {place} is evaluated at {count} times, more than {MOST_STEPS}"
    )))
}

/// The text of a node, shortened.
fn text_of(a: &Analysis<'_>, query: &Query, id: NodeId) -> Arc<str> {
    const LONGEST: usize = 200;
    let span = a.ast.span(id);
    let text = query.text.get(span.start as usize..span.end as usize).unwrap_or(&[]);
    let cut = &text[..text.len().min(LONGEST)];
    let mut shown = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < text.len() {
        shown.push('…');
    }
    Arc::from(shown)
}

pub(super) struct Compiler<'q> {
    pub a: Analysis<'q>,
    pub query: &'q Query,
    pub options: &'q EngineOptions,
    pub lookback: model::Millis,
    parts: Vec<Part>,
    selections: Vec<(Selection, usize)>,
    /// Selections by what they ask for, labels apart.
    known: HashMap<String, usize>,
    pub steps: Vec<Step>,
    slots: usize,
    pub notes: BTreeMap<NodeId, Annotations>,
    /// The node being compiled.
    at: NodeId,
    /// Whether samples are counted.
    counting: bool,
    /// What is known of nodes, where the plan is to be explained.
    explained: Option<Known>,
}

impl Compiler<'_> {
    fn run(&mut self) -> Result<(), QueryError> {
        for i in 0..self.a.ast.nodes().len() {
            let id = NodeId(i as u32);
            self.at = id;
            let part = match self.a.is_reachable(id) {
                true => self.node(id)?,
                false => Part::Taken,
            };
            if let (Some(known), Part::Scalar(Scalar::Const(value))) = (&mut self.explained, &part) {
                known.constants.insert(id, *value);
            }
            let part = self.counted(id, part);
            let part = self.hoisted(id, part);
            self.parts.push(part);
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<Part, QueryError> {
        let ast = self.a.ast;
        let node = ast.node(id);
        if self.a.context(id).is_empty() {
            match node.value_type {
                ValueType::Vector => return Ok(Part::Rows(Flow::nothing(self.context(id).steps))),
                ValueType::Scalar => return Ok(Part::Scalar(Scalar::Const(f64::NAN))),
                _ => {}
            }
        }
        Ok(match &node.expr {
            Expr::Number { value, .. } => Part::Scalar(Scalar::Const(*value)),
            Expr::String(text) => Part::Text(text.clone()),
            Expr::Vector(_) => Part::Selector(id),
            Expr::Matrix { .. } => Part::Range(id),
            Expr::Subquery(s) => {
                let flow = self.series(s.expr);
                Part::Subquery(flow)
            }
            Expr::Paren(inner) => self.take(*inner),
            Expr::Unary { op, expr } => self.unary(id, *op, *expr)?,
            Expr::Call { func, args } => self.call(id, func, args)?,
            Expr::Binary(binary) => self.binary(id, binary)?,
            Expr::Aggregate(aggregate) => self.aggregate(id, aggregate)?,
            Expr::Duration { .. } => Part::Taken,
        })
    }

    /// Counts what leaves a node, if that is wanted. Selectors are counted where they become rows.
    fn counted(&self, id: NodeId, mut part: Part) -> Part {
        let paren = matches!(self.a.ast.expr(id), Expr::Paren(_) | Expr::Subquery(_));
        if let (Part::Rows(flow), true, false) = (&mut part, self.counting, paren) {
            flow.node = id;
            flow.then_map(Tap(id));
        }
        part
    }

    /// Repeats a hoisted part over the steps of its parent.
    fn hoisted(&mut self, id: NodeId, mut part: Part) -> Part {
        let outer = self.a.outer_context(id).steps;
        if let (Part::Rows(flow), true) = (&mut part, self.a.hoisted[id.index()]) {
            flow.settle(Meeting::Refused, || self.what(id));
        }
        if !self.a.hoisted[id.index()] || outer.count == 1 || self.a.outer_context(id).is_empty() {
            return part;
        }
        let mut flow = match part {
            Part::Rows(flow) => flow,
            Part::Selector(at) => self.selected(at),
            other => return other,
        };
        flow.node = id;
        flow.then_map(Repeat { steps: outer });
        flow.steps = outer;
        Part::Rows(flow)
    }

    fn root(&mut self) -> Result<Root, QueryError> {
        let root = self.a.ast.root();
        let steps = self.a.contexts[0].steps;
        Ok(match self.take(root) {
            Part::Rows(mut flow) | Part::Subquery(mut flow) => {
                flow.settle(Meeting::Both, || self.what(root));
                Root::Rows(flow)
            }
            Part::Selector(id) => Root::Rows(self.selected(id)),
            Part::Scalar(of) => Root::Scalar(of, steps),
            Part::Text(text) => Root::Text(text),
            Part::Range(id) => {
                let Expr::Matrix { selector: at, range } = self.a.ast.expr(id) else {
                    return Ok(Root::Text(Box::default()));
                };
                let selection = self.selection(*at, 0);
                let end = self.a.context(id).start.saturating_sub(self.a.offsets[at.index()]);
                let extended = selector(&self.a, *at).map_or(Extended::None, |v| v.extended);
                Root::Window { node: id, selection, end, range: range.millis().unwrap_or(0), extended }
            }
            Part::Taken => Root::Rows(Flow::nothing(steps)),
        })
    }

    /// The context of a node.
    pub(super) fn context(&self, id: NodeId) -> &Context {
        self.a.context(id)
    }

    /// The text of a node, for messages.
    pub(super) fn what(&self, id: NodeId) -> Arc<str> {
        text_of(&self.a, self.query, id)
    }

    /// How labels are checked that lost their name in a node evaluated step by step.
    pub(super) fn check(&self, id: NodeId) -> Check {
        match self.options.delayed_name_removal && self.context(id).single() {
            true => Check::None,
            false => Check::PerStep,
        }
    }

    /// With delayed removal of names, series of equal labels are one from here on, over several steps.
    pub(super) fn as_one(&self, id: NodeId, flow: &mut Flow) {
        if self.options.delayed_name_removal && !self.context(id).single() {
            let what = self.what(id);
            self.whole_series(flow, what);
        }
    }

    /// A new slot.
    pub(super) fn slot(&mut self) -> SlotId {
        self.slots += 1;
        self.slots - 1
    }

    /// The selection of the selector at `id`; those that differ in the labels they need at most are one.
    pub(super) fn selection(&mut self, id: NodeId, extra: model::Millis) -> usize {
        let mut new = selection(&self.a, id, self.query.times, self.lookback, extra, self.options);
        let projection = new.hints.projection.take();
        let key = format!("{:?} {} {} {:?}", new.matchers, new.mint, new.maxt, new.hints);
        if let Some(at) = self.known.get(&key) {
            let (known, uses) = &mut self.selections[*at];
            known.hints.projection = union(known.hints.projection.take(), projection);
            *uses += 1;
            return *at;
        }
        new.hints.projection = projection;
        self.known.insert(key, self.selections.len());
        self.selections.push((new, 1));
        self.selections.len() - 1
    }

    /// The part of a node.
    pub(super) fn take(&mut self, id: NodeId) -> Part {
        std::mem::replace(&mut self.parts[id.index()], Part::Taken)
    }

    /// Gives a part to a node.
    pub(super) fn put_back(&mut self, id: NodeId, part: Part) {
        self.parts[id.index()] = part;
    }

    /// A node's rows, for what looks at a vector at a time.
    pub(super) fn rows(&mut self, id: NodeId) -> Result<Flow, QueryError> {
        let mut flow = self.flow(id);
        flow.settle(Meeting::Float, || self.what(id));
        Ok(flow)
    }

    /// A node's rows, for what looks at whole series: those that have a float and a histogram at one step
    /// keep both.
    pub(super) fn series(&mut self, id: NodeId) -> Flow {
        let mut flow = self.flow(id);
        flow.settle(Meeting::Both, || self.what(id));
        flow
    }

    /// A node's rows as they are.
    fn flow(&mut self, id: NodeId) -> Flow {
        let steps = self.a.outer_context(id).steps;
        let mut flow = match self.take(id) {
            Part::Rows(flow) | Part::Subquery(flow) => flow,
            Part::Selector(at) => self.selected(at),
            Part::Scalar(of) => Flow::single(Source::Scalar(of), steps),
            _ => Flow::nothing(steps),
        };
        flow.node = self.at;
        flow
    }

    /// A node's scalar; the type check has seen to it that it is one.
    pub(super) fn scalar(&mut self, id: NodeId) -> Scalar {
        match self.take(id) {
            Part::Scalar(of) => of,
            _ => Scalar::Const(f64::NAN),
        }
    }

    /// A node's string; strings are bytes.
    pub(super) fn bytes(&self, id: NodeId) -> &[u8] {
        match self.a.ast.expr(self.a.ast.unparen(id)) {
            Expr::String(text) => text,
            _ => &[],
        }
    }

    /// A node's string. Bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self, id: NodeId) -> String {
        String::from_utf8_lossy(self.bytes(id)).into_owned()
    }

    /// A flow of a selector's samples.
    pub(super) fn selected(&mut self, id: NodeId) -> Flow {
        let Some(v) = selector(&self.a, id) else { return Flow::nothing(self.context(id).steps) };
        let offset = self.a.offsets[id.index()];
        let lift = match v.extended {
            Extended::Smoothed => Lift::Smoothed { offset, span: self.a.ast.span(id) },
            _ => Lift::Instant { offset },
        };
        let mut flow = self.source(id, id, lift, 0);
        if self.counting {
            flow.node = id;
            flow.then_map(Tap(id));
        }
        flow
    }

    /// A flow of a selector with the lift of `node`.
    pub(super) fn source(&mut self, id: NodeId, node: NodeId, lift: Lift, extra: model::Millis) -> Flow {
        let selection = self.selection(id, extra);
        if let Some(known) = &mut self.explained {
            known.selections.insert(node, selection);
        }
        let one_name = selector(&self.a, id).is_some_and(|v| v.metric_name().is_some());
        let steps = self.context(id).steps;
        let counts_only = self.a.counts_only[id.index()];
        let source = Source::Select(Box::new(Select { selection, lift, counts_only, node }));
        Flow { node: self.at, unique: true, sorted: true, one_name, ..Flow::new(source, steps) }
    }

    /// Adds a step that computes a scalar, or computes it now where that can be done.
    pub(super) fn scalar_step(&mut self, id: NodeId, step: ScalarStep) -> Scalar {
        let steps = self.context(id).steps;
        if let Some(value) = step.known(steps) {
            return Scalar::Const(value);
        }
        let slot = self.slot();
        self.steps.push(Step::Scalar(step, steps, slot));
        Scalar::Slot(slot)
    }

    /// Makes sure that a series comes in one row.
    pub(super) fn whole_series(&self, flow: &mut Flow, what: Arc<str>) {
        if !flow.unique {
            flow.then(Merge::new(what));
            flow.unique = true;
            flow.sorted = false;
        }
    }

    /// Puts down what a flow has so far if it holds too much.
    pub(super) fn relieved(&mut self, flow: Flow) -> Flow {
        if flow.held < MOST_HELD { flow } else { self.put_down(flow) }
    }

    /// Reads a flow into a slot, and goes on from there.
    pub(super) fn put_down(&mut self, flow: Flow) -> Flow {
        let slot = self.slot();
        let next = Flow {
            node: flow.node,
            unique: flow.unique,
            sorted: flow.sorted,
            one_name: flow.one_name,
            nameless: flow.nameless,
            ..Flow::new(Source::Slot(slot), flow.steps)
        };
        self.steps.push(Step::Rows(flow, slot));
        next
    }

    fn unary(&mut self, id: NodeId, op: UnaryOp, expr: NodeId) -> Result<Part, QueryError> {
        let scalar = self.a.ast.node(expr).value_type == ValueType::Scalar;
        if op == UnaryOp::Plus {
            // A selector with a sign is a selector no more, as `timestamp` sees it.
            return Ok(if scalar { self.take(expr) } else { Part::Rows(self.flow(expr)) });
        }
        if scalar {
            let of = self.scalar(expr);
            return Ok(Part::Scalar(self.scalar_step(id, ScalarStep::Negate(of))));
        }
        let mut flow = self.series(expr);
        flow.then_map(Negate);
        // Series that become equal are put together; this is the one check that delayed removal spares.
        let check = if self.options.delayed_name_removal { Check::None } else { Check::ByKind };
        flow.dropped_names(check, self.options.delayed_name_removal);
        Ok(Part::Rows(flow))
    }
}
