//! Arithmetic and comparison of two vectors: the "many" side streams past the "one" side.
//!
//! Holds matching, fill values, labels of results and the errors of ambiguous matches. It knows no plan.
//! Invariant: each row costs its steps, however many rows share its signature. Errors name what Prometheus
//! names; where several steps are in error, the first. Reference: Prometheus `promql/engine.go`
//! (`VectorBinop`, `resultMetric`).

use std::collections::HashMap;
use std::sync::Arc;

use model::{Labels, LabelsBuilder};

use super::build::{Build, Side};
use super::element::{Operand, Problem, element, float_columns};
use super::{Signature, changes_metric, compare};
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::distinct::Seen;
use crate::exec::op::{Cx, Env, METADATA, Op, Row, SlotId};
use crate::parse::{BinaryOp, Cardinality, Span, VectorMatching};

const GROUPING: &str = "multiple matches for labels: grouping labels must ensure unique matches";
const EXPLICIT: &str =
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";

/// What an operator between vectors is made of.
#[derive(Clone, Debug)]
pub(crate) struct ProbeSpec {
    /// Where the "one" side is held.
    pub slot: SlotId,
    /// The operator.
    pub op: BinaryOp,
    /// How series match.
    pub matching: VectorMatching,
    /// `bool`
    pub return_bool: bool,
    /// Where the operation stands.
    pub span: Span,
    /// Whether no two rows of the streaming side can have the same signature at a step.
    pub unambiguous: bool,
    /// What refusals of memory name.
    pub what: Arc<str>,
}

/// The operator at work.
pub(crate) struct Probe {
    spec: ProbeSpec,
    signature: Signature,
    build: Box<Build>,
    /// Steps at which the streaming side has any sample.
    any: Vec<u64>,
    /// Steps at which each signature has matched.
    matched: Vec<Option<Box<[u64]>>>,
    /// Results that grouping labels must keep apart.
    results: Seen,
    /// What was wrong with the last pair at each step that was not in order.
    problems: Vec<Option<Problem>>,
    columns: Column,
    /// A second match, with its first step, while an earlier error is still possible.
    second: Option<(u32, &'static str)>,
}

/// The samples of a side that does not stream: a column, or one value throughout.
enum Other<'a> {
    Side(&'a Side),
    Fill(f64),
}

impl Probe {
    /// An operator whose "one" side is held in a slot.
    pub(crate) fn new(spec: ProbeSpec) -> Self {
        let signature = Signature::new(&spec.matching);
        Probe {
            spec,
            signature,
            build: Box::default(),
            any: Vec::new(),
            matched: Vec::new(),
            results: Seen::new(true),
            problems: Vec::new(),
            columns: Column::default(),
            second: None,
        }
    }

    fn swapped(&self) -> bool {
        self.spec.matching.card == Cardinality::OneToMany
    }

    /// Labels of a result: the many side's, with what the operator and the matching take and give.
    fn result_labels(&self, many: &Labels, one: &Labels, env: &Env) -> Labels {
        let matching = &self.spec.matching;
        let mut labels = LabelsBuilder::new(many);
        if changes_metric(self.spec.op) || (self.spec.return_bool && !env.options.delayed_name_removal) {
            env.note_labels(many);
            METADATA.iter().for_each(|name| {
                labels.del(name);
            });
        }
        if matching.card != Cardinality::OneToOne {
            for name in &matching.include {
                labels.set(name, one.value(name));
            }
            return labels.labels();
        }
        let labels = labels.labels();
        if matching.on { labels.only(&matching.labels) } else { labels.without(&matching.labels) }
    }

    /// Computes the steps of `mask` into `self.columns`; returns the steps that have matched (a comparison
    /// that does not hold has matched).
    fn compute(&mut self, many: &Column, other: &Other<'_>, mask: &[u64]) -> Vec<u64> {
        let (op, swapped) = (self.spec.op, self.swapped());
        let mut out = std::mem::take(&mut self.columns);
        let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        let floats = many.hists.is_empty() && !trims;
        let matched = match other {
            Other::Side(side) if floats && side.column.hists.is_empty() => {
                let (l, r) = match swapped {
                    false => (&many.values, &side.column.values),
                    true => (&side.column.values, &many.values),
                };
                self.floats(l, r, mask, &mut out);
                mask.to_vec()
            }
            _ => self.mixed(many, other, mask, &mut out),
        };
        self.columns = out;
        matched
    }

    fn floats(&self, l: &[f64], r: &[f64], mask: &[u64], out: &mut Column) {
        let op = self.spec.op;
        out.hists.clear();
        out.present.clear();
        out.present.extend_from_slice(mask);
        if !op.is_comparison() {
            float_columns(op, l, r, &mut out.values);
            return;
        }
        out.values.clear();
        out.values.extend_from_slice(l);
        for (i, (l, r)) in l.iter().zip(r).enumerate() {
            let holds = compare(op, *l, *r).unwrap_or(false);
            if self.spec.return_bool {
                out.values[i] = f64::from(u8::from(holds));
            } else if !holds {
                out.present[i / 64] &= !(1 << (i % 64));
            }
        }
    }

    fn mixed(&mut self, many: &Column, other: &Other<'_>, mask: &[u64], out: &mut Column) -> Vec<u64> {
        let (op, swapped) = (self.spec.op, self.swapped());
        out.reset(many.len());
        let mut matched = mask.to_vec();
        let (mut many_hist, mut other_hist) = (0, 0);
        for (word, bits) in mask.iter().enumerate() {
            let mut left = *bits;
            while left != 0 {
                let i = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let m = Operand::at(many, i, &mut many_hist);
                let o = match other {
                    Other::Side(side) => Operand::at(&side.column, i, &mut other_hist),
                    Other::Fill(v) => Operand::Float(*v),
                };
                let mut result = if swapped { element(op, o, m) } else { element(op, m, o) };
                if let Some(problem) = result.problem {
                    if self.problems.is_empty() {
                        self.problems = vec![None; many.len()];
                    }
                    self.problems[i] = Some(problem);
                    if problem.drops() {
                        matched[word] &= !(1 << (i % 64));
                        continue;
                    }
                }
                if self.spec.return_bool {
                    result.float = f64::from(u8::from(result.keep));
                    (result.histogram, result.keep) = (None, true);
                }
                match result.histogram {
                    _ if !result.keep => {}
                    Some(h) => out.push_histogram(i, h),
                    None => out.set(i, result.float),
                }
            }
        }
        matched
    }

    /// Notes the steps at which a signature matched, and refuses a second match.
    fn note_match(
        &mut self,
        at: usize,
        labels: &Labels,
        bits: &[u64],
        cx: &Cx<'_>,
    ) -> Result<(), QueryError> {
        let one_to_one = self.spec.matching.card == Cardinality::OneToOne;
        if !one_to_one && !self.spec.unambiguous {
            // Equal result labels in one group.
            let hash = labels.hash64().wrapping_add((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let column = Column { present: bits.to_vec(), ..Column::default() };
            if self.results.collides(hash, &column) {
                return self.second_match(column.first(), GROUPING);
            }
        }
        let wanted = (one_to_one && !self.spec.unambiguous) || self.spec.matching.fill_left.is_some();
        if !wanted || bits.iter().all(|w| *w == 0) {
            return Ok(());
        }
        if self.matched.len() <= at {
            self.matched.resize_with(at + 1, || None);
        }
        match &mut self.matched[at] {
            Some(before) => {
                let twice: Vec<u64> = before.iter().zip(bits).map(|(a, b)| a & b).collect();
                if one_to_one && twice.iter().any(|w| *w != 0) {
                    let twice = Column { present: twice, ..Column::default() };
                    return self.second_match(twice.first(), EXPLICIT);
                }
                before.iter_mut().zip(bits).for_each(|(a, b)| *a |= b);
            }
            slot => {
                cx.env.meter.charge(16 + 8 * bits.len() as u64, &self.spec.what)?;
                *slot = Some(Box::from(bits));
            }
        }
        Ok(())
    }

    /// A second match fails the query, but duplicates on the held side at that step come first.
    fn second_match(&mut self, step: Option<usize>, text: &'static str) -> Result<(), QueryError> {
        if self.build.conflicts.is_empty() {
            return Err(QueryError::execution(text));
        }
        let step = step.unwrap_or(0) as u32;
        if self.second.is_none_or(|(before, _)| step < before) {
            self.second = Some((step, text));
        }
        Ok(())
    }

    /// Sends the computed steps on as a row with these labels, or keeps them back if there are none.
    fn emit(&mut self, labels: Labels, row: &mut Row, more: &mut Vec<Row>, first: &mut bool) {
        if self.second.is_some() || !self.columns.any() {
            return;
        }
        let column = std::mem::take(&mut self.columns);
        let new = Row { labels, drop_name: self.spec.return_bool, column };
        match std::mem::replace(first, false) {
            true => self.columns = std::mem::replace(row, new).column,
            false => more.push(new),
        }
    }

    /// One pair of sides: matching, result, labels.
    #[allow(clippy::too_many_arguments, reason = "the pair and where its results go")]
    fn pair(
        &mut self,
        at: usize,
        (many, many_labels): (&Column, &Labels),
        (other, one_labels): (&Other<'_>, &Labels),
        mask: &[u64],
        row: &mut Row,
        more: &mut Vec<Row>,
        first: &mut bool,
        cx: &Cx<'_>,
    ) -> Result<(), QueryError> {
        let matched = self.compute(many, other, mask);
        let labels = self.result_labels(many_labels, one_labels, cx.env);
        self.note_match(at, &labels, &matched, cx)?;
        self.emit(labels, row, more, first);
        Ok(())
    }

    /// The first step at which two rows of the held side met and the other side had a sample.
    fn conflict(&self) -> Option<(u32, &(Labels, Labels))> {
        let filled = self.spec.matching.fill_left.is_some() || self.spec.matching.fill_right.is_some();
        let any = |i: u32| self.any.get(i as usize / 64).is_some_and(|w| w >> (i % 64) & 1 == 1);
        self.build.conflicts.iter().find(|(i, _)| filled || any(**i)).map(|(i, pair)| (*i, pair))
    }

    /// Rows for what the held side has and the streaming side has not.
    fn fill_left(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let Some(fill) = self.spec.matching.fill_left else { return Ok(()) };
        let build = std::mem::take(&mut self.build);
        // Who matched before filling began: filled steps must not hide later rows of the same signature
        // from each other, for these stand at other steps.
        for (at, number) in &build.order {
            cx.env.interrupt.check()?;
            let (at, number) = (*at as usize, *number as usize);
            let side = &build.sides[at];
            let mut mask = side.column.present.clone();
            if let Some(Some(matched)) = self.matched.get(at) {
                mask.iter_mut().zip(matched).for_each(|(m, used)| *m &= !used);
            }
            restrict(&mut mask, side, number);
            if mask.iter().all(|w| *w == 0) {
                continue;
            }
            let constant = fill_column(fill, side.column.len());
            let many_labels = self.signature.of(&side.rows[number]);
            let (mut first, mut unused) = (false, Row::default());
            let (many, one) = ((&constant, &many_labels), (&Other::Side(side), &side.rows[number]));
            self.pair(at, many, one, &mask, &mut unused, more, &mut first, cx)?;
        }
        self.build = build;
        Ok(())
    }
}

/// Keeps of `mask` the steps whose sample is of row `number`.
fn restrict(mask: &mut [u64], side: &Side, number: usize) {
    if side.owner.is_none() {
        return;
    }
    for (word, bits) in mask.iter_mut().enumerate() {
        let mut left = *bits;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            if side.owner(word * 64 + bit) != number {
                *bits &= !(1 << bit);
            }
        }
    }
}

fn fill_column(value: f64, steps: usize) -> Column {
    let mut column = Column::default();
    column.reset(steps);
    column.fill();
    column.values.fill(value);
    column
}

impl Op for Probe {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.build = cx.slots.build(self.spec.slot);
        Ok(())
    }

    fn apply(&mut self, row: &mut Row, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let many = std::mem::take(&mut row.column);
        let many_labels = std::mem::take(&mut row.labels);
        if !self.build.conflicts.is_empty() {
            self.any.resize(many.present.len(), 0);
            self.any.iter_mut().zip(&many.present).for_each(|(a, b)| *a |= b);
        }
        let signature = self.signature.of(&many_labels);
        let fill = self.spec.matching.fill_right;
        let at = match (self.build.find(&signature), fill) {
            (Some(at), _) => at,
            (None, None) => return Ok(false),
            (None, Some(_)) => self.build.find_or_add(&signature),
        };
        let side = std::mem::take(&mut self.build.sides[at]);
        let mut first = true;
        let with_many = (&many, &many_labels);
        let both: Vec<u64> = many.present.iter().zip(&side.column.present).map(|(a, b)| a & b).collect();
        if both.iter().any(|w| *w != 0) {
            let other = Other::Side(&side);
            if self.spec.matching.include.is_empty() || side.owner.is_none() {
                self.pair(at, with_many, (&other, &side.rows[0]), &both, row, more, &mut first, cx)?;
            } else {
                // Labels differ by the row that a step matches: one result each.
                for (number, mask) in by_owner(&side, &both) {
                    let one = (&other, &side.rows[number]);
                    self.pair(at, with_many, one, &mask, row, more, &mut first, cx)?;
                }
            }
        }
        if let Some(fill) = fill {
            let mask: Vec<u64> = match side.column.present.is_empty() {
                true => many.present.clone(),
                false => many.present.iter().zip(&side.column.present).map(|(a, b)| a & !b).collect(),
            };
            if mask.iter().any(|w| *w != 0) {
                let one = (&Other::Fill(fill), &signature);
                self.pair(at, with_many, one, &mask, row, more, &mut first, cx)?;
            }
        }
        self.build.sides[at] = side;
        if self.columns.is_empty() {
            // The next result is computed in this memory.
            self.columns = many;
        }
        Ok(!first)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let conflict = self.conflict();
        let second = self.second.filter(|(step, _)| conflict.is_none_or(|(c, _)| *step < c));
        if let Some((_, text)) = second {
            return Err(QueryError::execution(text));
        }
        if let Some((_, (later, earlier))) = conflict {
            let mut both = [later.to_string(), earlier.to_string()];
            both.sort();
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                self.signature.of(later),
                if self.swapped() { "left" } else { "right" },
                both[0],
                both[1],
            )));
        }
        self.fill_left(more, cx)?;
        for problem in self.problems.iter().flatten() {
            cx.notes.add(problem.annotation(self.spec.op, self.spec.span));
        }
        cx.env.meter.release(self.build.charged);
        (self.build, self.matched, self.problems) = (Box::default(), Vec::new(), Vec::new());
        Ok(())
    }
}

/// The steps of `mask` by the row whose sample stands there, in order of rows.
fn by_owner(side: &Side, mask: &[u64]) -> Vec<(usize, Vec<u64>)> {
    let mut parts: HashMap<usize, Vec<u64>> = HashMap::new();
    for (word, bits) in mask.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            let part = parts.entry(side.owner(word * 64 + bit)).or_insert_with(|| vec![0; mask.len()]);
            part[word] |= 1 << bit;
        }
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_unstable_by_key(|(number, _)| *number);
    parts
}
