//! Running a program: selections are started, steps are done, the result leaves.
//!
//! Holds [`run`]. It knows no operator (see `op` and the modules beside it) and no tree. Invariant: every
//! selection is started before the first is read, and the caller's account holds nothing of a run that
//! has ended. Read `op`, then `driver`.

mod batch;
pub(crate) mod counts;
pub(crate) mod distinct;
pub(crate) mod driver;
pub(crate) mod gosort;
pub(crate) mod kinds;
pub(crate) mod ledger;
pub(crate) mod lift;
pub(crate) mod merge;
pub(crate) mod meter;
pub(crate) mod op;
pub(crate) mod pipe;
pub(crate) mod profile;
mod reckon;
pub(crate) mod result;
pub(crate) mod shared;
pub(crate) mod tally;
pub(crate) mod vector;
mod weigh;
pub(crate) mod whole;

use std::sync::Arc;
use std::time::Instant;

use model::{Budget, Millis, Samples};

use crate::annotations::{Annotation, Annotations};
use crate::engine::{Outcome, Query, Times};
use crate::error::QueryError;
use crate::functions::Param;
use crate::parse::{Extended, NodeId, ValueType};
use crate::plan::{Flow, InfoStep, Program, Root, Select, Source, Step, compile};
use crate::sink::{Points, Sink};
use crate::stats::{Statistics, StatsLevel, Timings};
use crate::storage::Queryable;
use driver::{Driver, scalar_column};
use ledger::Ledger;
use meter::Meter;
use op::{Env, Row, Slot, Slots};
use profile::{Profile, measured};
use reckon::reckon;
use result::{Results, window};
use shared::Sources;

/// Columns of so many steps are not worth being charged.
const FEW_STEPS: usize = 20_000;

/// Evaluates a query.
pub(crate) fn run(query: &Query, store: &dyn Queryable, sink: &mut dyn Sink) -> Result<Outcome, QueryError> {
    let began = Instant::now();
    query.options.interrupt.check()?;
    let lookback = query.lookback();
    let analyze = query.options.analyze;
    let program = compile(query, lookback, analyze)?;
    let env = Env::new(
        query.engine.clone(),
        query.pool.clone(),
        lookback,
        query.options.interrupt.clone(),
        Meter::new(match &query.options.account {
            // What is held is read off the account.
            None if analyze => Some(Arc::new(Budget::unlimited().account())),
            account => account.clone(),
        }),
    );
    for context in program.analysis.contexts.iter().filter(|c| c.steps.count > FEW_STEPS) {
        // What works on one row at a time still has that row.
        env.meter.charge(32 * context.steps.count as u64, &query.text())?;
    }
    let Program { analysis, selections, steps, root, slots, notes, outline } = program;
    let sources = Sources::start(store, selections);
    let limit = i64::try_from(query.engine.max_samples).unwrap_or(i64::MAX);
    let profile = outline.as_ref().map(|_| Profile::new(analysis.ast.nodes().len()));
    let ledger = query.is_counting().then(|| Ledger::new(limit, profile));
    let mut driver = Driver { env: &env, slots: Slots::new(slots), notes, ledger, sources };
    let prepared = Instant::now();
    for step in steps {
        driver.step(step)?;
    }
    driver.root(root, query, sink)?;
    let mut explained = None;
    let samples = match driver.ledger.take() {
        None => None,
        Some(ledger) => {
            let (counted, profile) = ledger.finish();
            let stats = reckon(&analysis, &counted, query.options.stats == StatsLevel::PerStep);
            if limit > 0 && stats.peak as i64 > limit {
                return Err(QueryError::TooManySamples);
            }
            let figures = |(outline, profile)| profile::analysis(outline, &analysis, &counted, &profile);
            explained = outline.zip(profile).map(figures);
            Some(stats).filter(|_| query.options.stats != StatsLevel::None)
        }
    };
    let done = Instant::now();
    let timings = Timings {
        eval_total: done - began,
        preparation: prepared - began,
        inner_eval: done - prepared,
        exec_total: done - began,
        ..Timings::default()
    };
    let mut annotations = Annotations::default();
    // Nodes in order are the order of evaluation.
    driver.notes.into_values().for_each(|notes| annotations.merge(notes));
    Ok(Outcome { annotations, stats: Statistics { timings, samples }, analysis: explained })
}

impl Driver<'_> {
    /// Does a step.
    fn step(&mut self, step: Step) -> Result<(), QueryError> {
        self.env.interrupt.check()?;
        match step {
            Step::Build(flow, spec, slot) => {
                let mut build = Box::<crate::binary::Build>::default();
                let node = flow.node;
                self.drive(flow, &mut |row, cx| measured(cx, node, |cx| build.add(row, &spec, cx.env)))?;
                self.slots.put(slot, Slot::Build(build));
            }
            Step::Rows(flow, slot) => {
                let (node, mut rows) = (flow.node, Vec::new());
                self.drive(flow, &mut |row, cx| {
                    measured(cx, node, |cx| cx.env.meter.charge(row.bytes(), &"an intermediate result"))?;
                    rows.push(std::mem::take(row));
                    Ok(())
                })?;
                self.slots.put(slot, Slot::Rows(rows));
            }
            Step::Info(flow, info, slot) => {
                let rows = self.info(flow, *info)?;
                self.slots.put(slot, Slot::Rows(rows));
            }
            Step::Single(flow, slot) => {
                let param = self.single(flow)?;
                self.slots.put(slot, Slot::Scalar(Arc::new(param)));
            }
            Step::Scalar(step, steps, slot) => {
                let param = step.compute(steps, |of| self.slots.scalar(of));
                self.slots.put(slot, Slot::Scalar(Arc::new(param)));
            }
        }
        Ok(())
    }

    /// `info()`: what is selected depends on the rows.
    fn info(&mut self, flow: Flow, info: InfoStep) -> Result<Vec<Row>, QueryError> {
        let InfoStep { call, mut selection, lift, what } = info;
        let (steps, node) = (flow.steps, flow.node);
        let (mut base, mut drops) = (Vec::new(), Vec::new());
        self.drive(flow, &mut |row, cx| {
            measured(cx, node, |cx| cx.env.meter.charge(row.bytes(), &what))?;
            let row = std::mem::take(row);
            base.push((row.labels, row.column));
            drops.push(row.drop_name);
            Ok(())
        })?;
        let mut infos = Vec::new();
        if let Some(matchers) = call.matchers(base.iter().map(|(labels, _)| labels)) {
            selection.matchers = matchers;
            let selection = self.sources.add(selection);
            let select = Select { selection, lift, counts_only: false, node };
            let flow = Flow { node, ..Flow::new(Source::Select(Box::new(select)), steps) };
            self.drive(flow, &mut |row, cx| {
                measured(cx, node, |cx| cx.env.meter.charge(row.bytes(), &what))?;
                let row = std::mem::take(row);
                infos.push((row.labels, row.column));
                Ok(())
            })?;
        }
        let rows = self.with_cx(node, |cx| measured(cx, node, |_| call.join(base, &infos)));
        let rows = rows.map_err(QueryError::Execution)?;
        let row = |r: crate::functions::info::Enriched| Row {
            labels: r.labels,
            drop_name: drops[r.base],
            column: r.column,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// `scalar()`: the only float of each step.
    fn single(&mut self, flow: Flow) -> Result<Param, QueryError> {
        let count = flow.steps.count;
        let mut values = vec![f64::NAN; count];
        let mut found = vec![0u8; count];
        self.drive(flow, &mut |row, _| {
            let mut hists = row.column.hists.iter().peekable();
            for i in row.column.steps() {
                if hists.next_if(|h| h.index as usize == i).is_some() {
                    continue;
                }
                values[i] = if found[i] == 0 { row.column.values[i] } else { f64::NAN };
                found[i] = 1;
            }
            Ok(())
        })?;
        Ok(match count {
            1 => Param::Const(values[0]),
            _ => Param::PerStep(values),
        })
    }

    /// Hands the result to the sink.
    fn root(&mut self, root: Root, query: &Query, sink: &mut dyn Sink) -> Result<(), QueryError> {
        let instant = match query.times {
            Times::Instant(at) => Some(at),
            Times::Range { .. } => None,
        };
        match root {
            Root::Text(text) => sink.string(instant.unwrap_or(0), &text),
            Root::Scalar(of, steps) => {
                let param = self.slots.scalar(of);
                match instant {
                    Some(at) => sink.scalar(at, param.at(0)),
                    None => {
                        let mut row = Row::default();
                        scalar_column(&param, steps, &mut row.column);
                        sink.series(&row.labels, Points::Steps(steps, &row.column))
                    }
                }
            }
            Root::Rows(flow) => {
                let vector = instant.filter(|_| query.result_type() == ValueType::Vector);
                let ordered = flow.sorted && flow.one_name_or_kept(self.env);
                let streams = flow.unique && (vector.is_some() || ordered);
                let what = Arc::from(query.text());
                let mut results = Results::new(sink, flow.steps, vector, streams, what);
                self.drive(flow, &mut |row, cx| results.push(row, cx))?;
                self.with_cx(query.ast.root(), |cx| results.finish(cx))
            }
            Root::Window { node, selection, end, range, extended } => {
                self.window(node, selection, end, range, extended, sink)
            }
        }
    }

    /// A bare range selector.
    fn window(
        &mut self,
        node: NodeId,
        selection: usize,
        end: Millis,
        range: Millis,
        extended: Extended,
        sink: &mut dyn Sink,
    ) -> Result<(), QueryError> {
        let mut set = self.sources.open(selection, self.env);
        let mut samples = Samples::default();
        loop {
            self.env.interrupt.check()?;
            let Some(labels) = set.next(&mut samples)? else { break };
            window(&mut samples, end, range, extended, self.env.lookback)?;
            if let Some(ledger) = &mut self.ledger {
                ledger.tally.window(node, &samples);
                ledger.settle()?;
            }
            if !samples.is_empty() {
                sink.series(&labels, Points::Samples(&samples))?;
            }
        }
        let mut notes = Annotations::default();
        self.sources.close(set).into_iter().for_each(|text| notes.add(Annotation::storage(text)));
        self.note(node, notes);
        Ok(())
    }
}

impl Flow {
    /// Whether rows stay distinct and in order when names are dropped at the end.
    fn one_name_or_kept(&self, env: &Env) -> bool {
        !env.options.delayed_name_removal || self.one_name
    }
}
