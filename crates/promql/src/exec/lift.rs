//! From a stored series to a row: the samples seen at each step.
//!
//! Holds instant selection (lookback, stale markers, offset), `timestamp()` of a selector, and the call of
//! range kernels. It knows no store and no order of series. Invariant: one pass over the samples,
//! whatever the number of steps; a heavy call asks for interruption every few million samples.
//! Reference: Prometheus `promql/engine.go` (`evalSeries`, `vectorSelectorSingle`, `matrixIterSlice`).

use std::sync::Arc;

use model::{Labels, Millis, Samples, is_stale_nan};

use crate::annotations::Annotations;
use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::counts::Reading;
use crate::exec::op::{Cx, Env, Row, Scalar};
use crate::functions::Param;
use crate::functions::range::{RangeContext, RangeKernel, Windows, smooth_instant};
use crate::parse::{Extended, Span};

/// Samples of windows that are gone through between two looks at the clock.
const BETWEEN_CHECKS: u64 = 8 << 20;

/// How stored samples become a row.
pub(crate) enum Lift {
    /// The newest sample within the lookback.
    Instant {
        /// How far back to look from the evaluation time.
        offset: Millis,
    },
    /// That sample's own time in seconds.
    Timestamp {
        /// As for `Instant`.
        offset: Millis,
        /// With `@`: the time looked at whatever the step.
        fixed: Option<Millis>,
        /// The start timestamp instead; nothing where the engine does not use them.
        start: bool,
    },
    /// That sample's own time in milliseconds.
    OwnTime {
        /// As for `Instant`.
        offset: Millis,
        /// The time looked at whatever the step.
        fixed: Option<Millis>,
    },
    /// The value between the samples before and after.
    Smoothed {
        /// As for `Instant`.
        offset: Millis,
        /// Where the selector stands.
        span: Span,
    },
    /// A function of a range vector.
    Range(RangeCall),
}

/// A call of a function of a range vector.
pub(crate) struct RangeCall {
    /// The function.
    pub kernel: RangeKernel,
    /// Its windows.
    pub windows: Windows,
    /// `anchored` or `smoothed`.
    pub extended: Extended,
    /// Where the first argument stands.
    pub span: Span,
    /// The scalar arguments, before they are known.
    pub args: Vec<Scalar>,
    /// The scalar arguments.
    pub params: Vec<Param>,
}

impl RangeCall {
    /// Fetches the scalar arguments.
    pub(crate) fn open(&mut self, cx: &mut Cx<'_>) {
        self.params = self.args.iter().map(|a| (*cx.slots.scalar(*a)).clone()).collect();
    }

    /// Evaluates one series into `out`; stale markers have gone.
    pub(crate) fn eval(
        &self,
        labels: &Labels,
        samples: &Samples,
        out: &mut Column,
        env: &Env,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let steps = self.windows.steps;
        let at_once = self.steps_at_once(samples);
        if at_once >= steps.count {
            return self.chunk(self.windows, &self.params, labels, samples, out, env, notes);
        }
        out.reset(steps.count);
        let mut part = Column::default();
        for from in (0..steps.count).step_by(at_once) {
            env.interrupt.check()?;
            let count = at_once.min(steps.count - from);
            self.steps(from, count, labels, samples, &mut part, env, notes)?;
            append(&mut part, from, out);
        }
        Ok(())
    }

    /// Evaluates one series step by step, where samples depend on the end of the window: `fill` gives them.
    pub(crate) fn eval_each(
        &self,
        labels: &Labels,
        fill: impl Fn(Millis, &mut Samples),
        out: &mut Column,
        env: &Env,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        out.reset(self.windows.steps.count);
        let (mut samples, mut part) = (Samples::default(), Column::default());
        for step in 0..self.windows.steps.count {
            env.interrupt.check()?;
            fill(self.windows.end(step), &mut samples);
            self.steps(step, 1, labels, &samples, &mut part, env, notes)?;
            append(&mut part, step, out);
        }
        Ok(())
    }

    /// Evaluates `count` steps.
    #[allow(clippy::too_many_arguments, reason = "one call, split for the clock")]
    fn steps(
        &self,
        from: usize,
        count: usize,
        labels: &Labels,
        samples: &Samples,
        part: &mut Column,
        env: &Env,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let all = self.windows.steps;
        let steps = Steps { start: all.at(from), step: all.step, count };
        let params: Vec<Param> = self.params.iter().map(|p| part_of(p, from, count)).collect();
        self.chunk(Windows { steps, ..self.windows }, &params, labels, samples, part, env, notes)
    }

    /// How many steps' windows hold no more samples than may pass between two checks.
    fn steps_at_once(&self, samples: &Samples) -> usize {
        let (Some(first), Some(last)) = (samples.ts.first(), samples.ts.last()) else { return usize::MAX };
        let span = (last - first).max(1) as u64;
        let range = (self.windows.range.max(1) as u64).min(span);
        // Histograms weigh more.
        let weight = samples.len() as u64 + 64 * samples.hists.len() as u64;
        let each =
            u64::try_from(u128::from(weight) * u128::from(range) / u128::from(span)).unwrap_or(u64::MAX);
        usize::try_from(BETWEEN_CHECKS / each.max(1)).unwrap_or(usize::MAX).max(1)
    }

    #[allow(clippy::too_many_arguments, reason = "one call, split for the clock")]
    fn chunk(
        &self,
        windows: Windows,
        params: &[Param],
        labels: &Labels,
        samples: &Samples,
        out: &mut Column,
        env: &Env,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let mut ctx = range_context(windows, labels, self.span, params, self.extended, env, notes);
        self.kernel.eval(&mut ctx, samples, out).map_err(QueryError::Execution)
    }
}

fn range_context<'a>(
    windows: Windows,
    labels: &'a Labels,
    span: Span,
    params: &'a [Param],
    extended: Extended,
    env: &Env,
    annotations: &'a mut Annotations,
) -> RangeContext<'a> {
    RangeContext {
        windows,
        labels,
        span,
        params,
        extended,
        lookback: env.lookback,
        use_start_timestamps: env.options.use_start_timestamps,
        type_and_unit: env.options.type_and_unit_labels,
        annotations,
    }
}

/// Moves a result of the steps `from` on to its place.
fn append(part: &mut Column, from: usize, out: &mut Column) {
    let mut hists = part.hists.drain(..).peekable();
    for i in 0..part.values.len() {
        if part.present[i / 64] >> (i % 64) & 1 == 0 {
            continue;
        }
        match hists.next_if(|h| h.index as usize == i) {
            Some(h) => out.push_histogram(from + i, h.histogram),
            None => out.set(from + i, part.values[i]),
        }
    }
}

/// The values of some of the steps.
fn part_of(param: &Param, from: usize, count: usize) -> Param {
    match param {
        Param::Const(v) => Param::Const(*v),
        Param::PerStep(values) => Param::PerStep(values[from..from + count].to_vec()),
    }
}

impl Lift {
    /// Fetches what the lift needs of earlier steps.
    pub(crate) fn open(&mut self, cx: &mut Cx<'_>) {
        if let Lift::Range(call) = self {
            call.open(cx);
        }
    }

    /// How Prometheus would move through the samples; nothing where the values do not matter.
    pub(crate) fn reading(&self, steps: Steps, lookback: Millis) -> Option<Reading> {
        match self {
            Lift::Instant { offset } => Some(Reading::instant(steps, *offset, lookback)),
            Lift::Range(call) => {
                let (before, after) = call.kernel.margins(call.extended, lookback);
                let range = call.windows.range.saturating_add(before).saturating_add(after);
                Some(Reading::range(steps, call.windows.offset.saturating_sub(after), range))
            }
            _ => None,
        }
    }

    /// Makes a row of a series, in the column of `row`. Returns whether there is any sample.
    pub(crate) fn lift(
        &self,
        labels: Labels,
        samples: &mut Samples,
        steps: Steps,
        row: &mut Row,
        env: &Env,
        notes: &mut Annotations,
    ) -> Result<bool, QueryError> {
        let out = &mut row.column;
        row.drop_name = false;
        match self {
            Lift::Instant { offset } => {
                instant(samples, steps, *offset, env.lookback, out);
                row.labels = labels;
            }
            Lift::Timestamp { offset, fixed, start } => {
                match *start {
                    false => timestamps(samples, steps, (*offset, env.lookback), *fixed, out),
                    true => start_timestamps(samples, steps, (*offset, env.lookback), *fixed, env, out),
                }
                (row.labels, row.drop_name) = (env.unnamed(&labels), true);
            }
            Lift::OwnTime { offset, fixed } => {
                out.reset(steps.count);
                let time = |i| fixed.unwrap_or_else(|| steps.at(i).saturating_sub(*offset));
                each_seen(samples, steps, env.lookback, time, |step, seen| match samples.histogram(seen) {
                    Some(h) => out.push_histogram(step, Arc::clone(h)),
                    None => out.set(step, samples.ts[seen] as f64),
                });
                row.labels = labels;
            }
            Lift::Smoothed { offset, span } => {
                strip_stale(samples);
                let windows = Windows { steps, range: 0, offset: *offset, fixed: None };
                let mut ctx = range_context(windows, &labels, *span, &[], Extended::Smoothed, env, notes);
                smooth_instant(&mut ctx, samples, out);
                row.labels = labels;
            }
            Lift::Range(call) => {
                strip_stale(samples);
                call.eval(&labels, samples, out, env, notes)?;
                row.drop_name = !call.kernel.keeps_name();
                row.labels = if row.drop_name { env.unnamed(&labels) } else { labels };
            }
        }
        Ok(row.column.any())
    }
}

/// Removes stale markers.
pub(crate) fn strip_stale(samples: &mut Samples) {
    if !samples.values.iter().any(|v| is_stale_nan(*v)) {
        return;
    }
    let old = std::mem::take(samples);
    let mut hists = old.hists.into_iter().peekable();
    for (i, (t, v)) in old.ts.iter().zip(&old.values).enumerate() {
        let hist = hists.next_if(|h| h.index as usize == i);
        if is_stale_nan(*v) {
            continue;
        }
        match hist {
            Some(h) => samples.push_histogram(*t, h.histogram),
            None => samples.push(*t, *v),
        }
        if let Some(start) = old.start_ts.get(i) {
            samples.start_ts.truncate(samples.ts.len() - 1);
            samples.start_ts.push(*start);
        }
    }
}

/// Walks the steps and calls `see` with each step and the index of the sample seen there.
fn each_seen(
    samples: &Samples,
    steps: Steps,
    lookback: Millis,
    time: impl Fn(usize) -> Millis,
    mut see: impl FnMut(usize, usize),
) {
    let Some(first) = samples.ts.first() else { return };
    // Samples up to `next` are not newer than the time looked at.
    let mut next = samples.ts.partition_point(|t| *t <= time(0).saturating_sub(lookback));
    for step in 0..steps.count {
        let at = time(step);
        if at < *first {
            continue;
        }
        while next < samples.ts.len() && samples.ts[next] <= at {
            next += 1;
        }
        let Some(seen) = next.checked_sub(1) else { continue };
        if samples.ts[seen] > at.saturating_sub(lookback) && !is_stale_nan(samples.values[seen]) {
            see(step, seen);
        }
    }
}

/// The newest sample of each step.
fn instant(samples: &Samples, steps: Steps, offset: Millis, lookback: Millis, out: &mut Column) {
    out.reset(steps.count);
    if samples.hists.is_empty() {
        return instant_floats(samples, steps, offset, lookback, out);
    }
    let time = |i| steps.at(i).saturating_sub(offset);
    let mut hist = 0;
    each_seen(samples, steps, lookback, time, |step, seen| {
        while hist < samples.hists.len() && (samples.hists[hist].index as usize) < seen {
            hist += 1;
        }
        match samples.hists.get(hist).filter(|h| h.index as usize == seen) {
            Some(h) => out.push_histogram(step, Arc::clone(&h.histogram)),
            None => out.set(step, samples.values[seen]),
        }
    });
}

/// The newest float of each step: as [`each_seen`], without a branch on what is seen.
fn instant_floats(samples: &Samples, steps: Steps, offset: Millis, lookback: Millis, out: &mut Column) {
    let ts = &samples.ts[..];
    let Some(values) = samples.values.get(..ts.len()).filter(|v| !v.is_empty()) else { return };
    let oldest = |at: Millis| at.checked_sub(offset)?.checked_sub(lookback);
    let (Some(mut after), Some(_)) = (oldest(steps.start), oldest(steps.last())) else {
        // Times at the end of the calendar.
        let time = |i| steps.at(i).saturating_sub(offset);
        return each_seen(samples, steps, lookback, time, |step, seen| out.set(step, values[seen]));
    };
    // Samples up to `next` are not newer than the time looked at.
    let mut next = ts.partition_point(|t| *t <= after);
    for (bits, slots) in out.present.iter_mut().zip(out.values.chunks_mut(64)) {
        let mut seen = 0;
        for (i, slot) in slots.iter_mut().enumerate() {
            let at = after + lookback;
            while ts.get(next).is_some_and(|t| *t <= at) {
                next += 1;
            }
            // Before the first sample this looks at that one, which is too new then.
            let newest = next.saturating_sub(1);
            let (t, value) = (ts[newest], values[newest]);
            let counts = (t <= at) & (t > after) & !is_stale_nan(value);
            *slot = if counts { value } else { 0.0 };
            seen |= u64::from(counts) << i;
            after = after.wrapping_add(steps.step);
        }
        *bits = seen;
    }
}

/// The newest sample's own time of each step, in seconds.
pub(crate) fn timestamps(
    samples: &Samples,
    steps: Steps,
    (offset, lookback): (Millis, Millis),
    fixed: Option<Millis>,
    out: &mut Column,
) {
    out.reset(steps.count);
    let time = |i| fixed.unwrap_or_else(|| steps.at(i).saturating_sub(offset));
    each_seen(samples, steps, lookback, time, |step, seen| out.set(step, samples.ts[seen] as f64 / 1000.0));
}

/// Its start time, where start times are used.
fn start_timestamps(
    samples: &Samples,
    steps: Steps,
    (offset, lookback): (Millis, Millis),
    fixed: Option<Millis>,
    env: &Env,
    out: &mut Column,
) {
    out.reset(steps.count);
    if !env.options.use_start_timestamps {
        return;
    }
    let time = |i| fixed.unwrap_or_else(|| steps.at(i).saturating_sub(offset));
    each_seen(samples, steps, lookback, time, |step, seen| {
        let t = samples.start_ts.get(seen).copied().unwrap_or(0);
        out.set(step, t as f64 / 1000.0);
    });
}
