//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over a whole vector.
//!
//! Holds the grouping of series with `le` into classic histograms, and the walk over steps that asks
//! `buckets` (classic) and `native` for the estimates. It knows no plan. Invariant: where a classic
//! and a native histogram of the same labels meet at a step, neither gives a result. Results may
//! repeat a label set: the caller checks, as after any function that drops names. Read next:
//! `buckets`.

mod buckets;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use model::{FloatHistogram, Labels, LabelsBuilder};

use super::Param;
use super::labels::METADATA;
use super::native::{self, NanNote};
use crate::annotations::{Annotation, Annotations, Forced};
use crate::error::QueryError;
use crate::interrupt::Interrupt;
use crate::parse::Span;
use crate::{Column, Steps};
use buckets::Bucket;

/// Which function, with its scalar arguments.
pub(crate) enum HistogramFunction<'a> {
    /// `histogram_quantile`: the quantile and where it stands.
    Quantile(&'a Param, Span),
    /// `histogram_quantiles`: the label that tells which, the quantiles and where each stands.
    Quantiles(&'a str, &'a [(Param, Span)]),
    /// `histogram_fraction`: the bounds.
    Fraction(&'a Param, &'a Param),
}

/// What the functions are told about their call.
pub(crate) struct HistogramContext<'a> {
    /// Evaluation times.
    pub(crate) steps: Steps,
    /// Where the vector argument stands.
    pub(crate) span: Span,
    /// Whether names stay until the end of the query (delayed name removal).
    pub(crate) keep_names: bool,
    /// Deadline and cancellation.
    pub(crate) interrupt: &'a Interrupt,
    /// Where to note what the user should know.
    pub(crate) annotations: &'a mut Annotations,
}

/// The series of one classic histogram.
struct Classic {
    /// Labels without `le`.
    labels: Labels,
    /// Upper bounds and the series that counts up to each, ascending.
    series: Vec<(f64, usize)>,
    /// The steps at which a bucket is present.
    steps: Vec<u64>,
}

/// A series that has native histograms.
struct Native {
    series: usize,
    /// The classic histogram of the same labels.
    classic: Option<usize>,
}

/// Evaluates a function over a vector: series in label order, each with its column.
///
/// # Errors
/// When the query's time is up, or it was canceled.
pub(crate) fn eval(
    function: &HistogramFunction<'_>,
    ctx: &mut HistogramContext<'_>,
    input: &[(Labels, Column)],
) -> Result<Vec<(Labels, Column)>, QueryError> {
    note_quantiles(function, ctx);
    let (mut classics, natives) = group(ctx, input);
    for native in &natives {
        resolve(native, &mut classics, ctx, input);
    }
    let parts: Vec<Part<'_>> = match function {
        HistogramFunction::Quantile(q, _) => vec![Part::Quantile(q, None)],
        HistogramFunction::Quantiles(label, qs) => {
            qs.iter().map(|(q, _)| Part::Quantile(q, Some(label))).collect()
        }
        HistogramFunction::Fraction(lower, upper) => vec![Part::Fraction(lower, upper)],
    };
    let mut forced = ForcedSteps::default();
    // One quantile after the other, native histograms first: the order of an instant query.
    let mut outs = vec![Vec::new(); parts.len()];
    for native in &natives {
        ctx.interrupt.check()?;
        let blocked = native.classic.map_or(&[][..], |c| &classics[c].steps);
        for (part, out) in parts.iter().zip(&mut outs) {
            part.natives(ctx, &input[native.series], blocked, out);
        }
    }
    let mut blocked: Vec<Vec<&Column>> = vec![Vec::new(); classics.len()];
    for native in &natives {
        if let Some(at) = native.classic {
            blocked[at].push(&input[native.series].1);
        }
    }
    for (classic, blocked) in classics.iter().zip(&blocked) {
        ctx.interrupt.check()?;
        evaluate(&parts, ctx, classic, blocked, input, &mut forced, &mut outs);
    }
    forced.write(ctx);
    Ok(outs.into_iter().flatten().collect())
}

/// Notes every quantile out of range, whether there is data or not.
fn note_quantiles(function: &HistogramFunction<'_>, ctx: &mut HistogramContext<'_>) {
    let mut check = |q: &Param, span: Span| {
        let mut note = |q: f64| {
            if !(0.0..=1.0).contains(&q) {
                ctx.annotations.add(Annotation::invalid_quantile(q, span));
            }
        };
        match q {
            Param::Const(q) => note(*q),
            Param::PerStep(qs) => qs.iter().for_each(|q| note(*q)),
        }
    };
    match function {
        HistogramFunction::Quantile(q, span) => check(q, *span),
        HistogramFunction::Quantiles(_, qs) => qs.iter().for_each(|(q, span)| check(q, *span)),
        HistogramFunction::Fraction(..) => {}
    }
}

/// The steps at which a column holds a float.
fn float_steps(column: &Column) -> Vec<u64> {
    let mut bits = column.present.clone();
    for at in &column.hists {
        bits[at.index as usize / 64] &= !(1 << (at.index % 64));
    }
    bits
}

/// Sorts series into classic histograms and native ones.
fn group(ctx: &mut HistogramContext<'_>, input: &[(Labels, Column)]) -> (Vec<Classic>, Vec<Native>) {
    let mut classics: Vec<Classic> = Vec::new();
    let mut by_labels: HashMap<Labels, usize> = HashMap::new();
    let mut natives = Vec::new();
    for (at, (labels, column)) in input.iter().enumerate() {
        if !column.hists.is_empty() {
            natives.push(Native { series: at, classic: None });
        }
        let steps = float_steps(column);
        if steps.iter().all(|word| *word == 0) {
            continue;
        }
        let text = labels.value("le");
        let Ok(bound) = model::gofmt::parse_float(text) else {
            let metric = if ctx.keep_names { labels.metric_name() } else { "" };
            ctx.annotations.add(Annotation::bad_bucket_label(metric, text, ctx.span));
            continue;
        };
        let key = labels.without(&["le"]);
        let group = *by_labels.entry(key).or_insert_with_key(|key| {
            classics.push(Classic { labels: key.clone(), series: Vec::new(), steps: Vec::new() });
            classics.len() - 1
        });
        let classic = &mut classics[group];
        classic.series.push((bound, at));
        classic.steps.resize(steps.len(), 0);
        classic.steps.iter_mut().zip(&steps).for_each(|(a, b)| *a |= b);
    }
    for classic in &mut classics {
        classic.series.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    }
    for native in &mut natives {
        native.classic = by_labels.get(&input[native.series].0).copied();
    }
    (classics, natives)
}

/// Notes where a native histogram meets its classic form.
fn resolve(
    native: &Native,
    classics: &mut [Classic],
    ctx: &mut HistogramContext<'_>,
    input: &[(Labels, Column)],
) {
    let Some(classic) = native.classic.map(|c| &mut classics[c]) else {
        return;
    };
    let (labels, column) = &input[native.series];
    let meets = |step: usize| classic.steps[step / 64] >> (step % 64) & 1 == 1;
    if column.hists.iter().any(|at| meets(at.index as usize)) {
        let metric = if ctx.keep_names { labels.metric_name() } else { "" };
        ctx.annotations.add(Annotation::mixed_classic_native_histograms(metric, ctx.span));
    }
}

/// One result a histogram.
enum Part<'a> {
    /// A quantile, and the label to tell it by.
    Quantile(&'a Param, Option<&'a str>),
    Fraction(&'a Param, &'a Param),
}

impl Part<'_> {
    /// The labels of a result.
    fn labels(&self, ctx: &HistogramContext<'_>, labels: &Labels) -> Labels {
        if ctx.keep_names { labels.clone() } else { labels.without(&METADATA) }
    }

    fn native(&self, step: usize, h: &FloatHistogram) -> (f64, Option<NanNote>) {
        match self {
            Part::Quantile(q, _) => native::quantile(q.at(step), h),
            Part::Fraction(lower, upper) => native::fraction(lower.at(step), upper.at(step), h),
        }
    }

    /// Adds the results of a native series, but for the steps in `blocked`.
    fn natives(
        &self,
        ctx: &mut HistogramContext<'_>,
        (labels, column): &(Labels, Column),
        blocked: &[u64],
        out: &mut Vec<(Labels, Column)>,
    ) {
        let labels = self.labels(ctx, labels);
        let mut rows = Rows::new(self, labels.clone(), column.len());
        let mut met = [false; 3];
        for at in &column.hists {
            let step = at.index as usize;
            if blocked.get(step / 64).is_some_and(|word| word >> (step % 64) & 1 == 1) {
                continue;
            }
            let (value, note) = self.native(step, &at.histogram);
            if let Some(note) = note {
                met[note as usize] = true;
            }
            rows.set(step, value);
        }
        let metric = labels.metric_name();
        for (note, annotation) in [
            (NanNote::Result, Annotation::quantile_nan_result(metric, ctx.span)),
            (NanNote::Skew, Annotation::quantile_nan_skew(metric, ctx.span)),
            (NanNote::Fraction, Annotation::fraction_nan(metric, ctx.span)),
        ] {
            if met[note as usize] {
                ctx.annotations.add(annotation);
            }
        }
        rows.finish(out);
    }

    /// The result at a step, from buckets that it may change.
    fn classic(&self, step: usize, buckets: &mut [Bucket]) -> (f64, Option<buckets::Fixed>) {
        match self {
            Part::Quantile(q, _) => buckets::quantile(q.at(step), buckets),
            Part::Fraction(lower, upper) => {
                (buckets::fraction(lower.at(step), upper.at(step), buckets), None)
            }
        }
    }
}

/// Adds the results of a classic histogram, but for the steps at which `natives` stand.
fn evaluate(
    parts: &[Part<'_>],
    ctx: &HistogramContext<'_>,
    classic: &Classic,
    natives: &[&Column],
    input: &[(Labels, Column)],
    forced: &mut ForcedSteps,
    outs: &mut [Vec<(Labels, Column)>],
) {
    let metric = if ctx.keep_names { classic.labels.metric_name() } else { "" };
    let steps = ctx.steps.count;
    let mut rows: Vec<Rows<'_>> =
        parts.iter().map(|part| Rows::new(part, part.labels(ctx, &classic.labels), steps)).collect();
    let mut scratch: Vec<Bucket> = Vec::with_capacity(classic.series.len());
    let plain = classic.series.iter().all(|(_, at)| input[*at].1.hists.is_empty());
    for step in 0..steps {
        let present = classic.steps[step / 64] >> (step % 64) & 1 == 1;
        if !present || natives.iter().any(|column| column.histogram(step).is_some()) {
            continue;
        }
        scratch.clear();
        for (upper, at) in &classic.series {
            let column = &input[*at].1;
            if column.has(step) && (plain || column.histogram(step).is_none()) {
                scratch.push(Bucket { upper: *upper, count: column.values[step] });
            }
        }
        for (part, rows) in parts.iter().zip(&mut rows) {
            let (value, fixed) = part.classic(step, &mut scratch);
            if let Some(fixed) = fixed {
                forced.add(metric, step, fixed);
            }
            rows.set(step, value);
        }
    }
    rows.into_iter().zip(outs).for_each(|(rows, out)| rows.finish(out));
}

/// The result columns of one histogram: one, or (quantiles that vary over time) one a quantile.
struct Rows<'a> {
    labels: Labels,
    steps: usize,
    tag: Option<(&'a Param, &'a str)>,
    /// By the bits of the quantile, where there is a tag.
    columns: Vec<(u64, Column)>,
}

impl<'a> Rows<'a> {
    fn new(part: &Part<'a>, labels: Labels, steps: usize) -> Self {
        let tag = match part {
            Part::Quantile(q, Some(label)) => Some((*q, *label)),
            _ => None,
        };
        Rows { labels, steps, tag, columns: Vec::new() }
    }

    fn set(&mut self, step: usize, value: f64) {
        let key = self.tag.map_or(0, |(q, _)| q.at(step).to_bits());
        let at = match self.columns.iter().position(|(k, _)| *k == key) {
            Some(at) => at,
            None => {
                let mut column = Column::default();
                column.reset(self.steps);
                self.columns.push((key, column));
                self.columns.len() - 1
            }
        };
        self.columns[at].1.set(step, value);
    }

    fn finish(self, out: &mut Vec<(Labels, Column)>) {
        for (key, column) in self.columns {
            let labels = match self.tag {
                None => self.labels.clone(),
                Some((_, label)) => {
                    let text = open_metrics_float(f64::from_bits(key));
                    LabelsBuilder::new(&self.labels).set(label, &text).labels()
                }
            };
            out.push((labels, column));
        }
    }
}

/// As OpenMetrics writes a float: `%g`, made to look like one.
fn open_metrics_float(v: f64) -> String {
    let mut text = model::gofmt::float_g(if v == 0.0 { 0.0 } else { v });
    if v.is_finite() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

/// What was fixed at each step, by metric name.
#[derive(Default)]
struct ForcedSteps {
    found: HashMap<String, Vec<(usize, buckets::Fixed)>>,
}

impl ForcedSteps {
    fn add(&mut self, metric: &str, step: usize, fixed: buckets::Fixed) {
        match self.found.get_mut(metric) {
            Some(found) => found.push((step, fixed)),
            None => {
                self.found.insert(metric.to_owned(), vec![(step, fixed)]);
            }
        }
    }

    /// Sums up step by step, as Prometheus does: there the notes of all steps so far are merged with
    /// themselves at every step, which doubles the number of samples.
    fn write(self, ctx: &mut HistogramContext<'_>) {
        for (metric, mut found) in self.found {
            found.sort_by_key(|(step, _)| *step);
            let mut all: Option<Forced> = None;
            let mut found = found.into_iter().peekable();
            for step in 0..ctx.steps.count {
                let started = all.is_some();
                while let Some((_, fixed)) = found.next_if(|(at, _)| *at == step) {
                    let t = ctx.steps.at(step);
                    let one = Forced {
                        mint: t,
                        maxt: t,
                        min_bucket: fixed.min_bucket,
                        max_bucket: fixed.max_bucket,
                        max_diff: fixed.max_diff,
                        more: 0,
                    };
                    match &mut all {
                        Some(all) => all.join(&one),
                        None => all = Some(one),
                    }
                }
                if let (true, Some(all)) = (started, &mut all) {
                    let same = *all;
                    all.join(&same);
                }
            }
            if let Some(all) = all {
                ctx.annotations.add(Annotation::forced_monotonicity(&metric, ctx.span, &all));
            }
        }
    }
}
