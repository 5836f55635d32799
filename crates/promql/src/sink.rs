//! Where a query's result goes: series by series, never as a whole.
//!
//! Holds the [`Sink`] trait, the shapes it is handed and [`Collect`], which keeps everything. It knows
//! no JSON. Invariant: of the four calls exactly the one that fits [`crate::Query::result_type`] is
//! made; the series of a matrix come in ascending order of labels, the samples of a vector in
//! Prometheus' order. Read `engine` next.

use std::sync::Arc;

use model::histogram::FloatHistogram;
use model::{Labels, Millis, Samples};

use crate::column::{Column, Steps};
use crate::error::QueryError;

/// One sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(&'a Arc<FloatHistogram>),
}

/// The points of one series of a matrix.
#[derive(Clone, Copy, Debug)]
pub enum Points<'a> {
    /// At evaluation times: the result of a range query, or of a subquery.
    Steps(Steps, &'a Column),
    /// At their own times: the result of a range selector as an instant query.
    Samples(&'a Samples),
}

impl<'a> Points<'a> {
    /// The floats, ascending by time.
    pub fn floats(self) -> impl Iterator<Item = (Millis, f64)> + 'a {
        self.iter().filter_map(|(t, v)| match v {
            Value::Float(f) => Some((t, f)),
            Value::Histogram(_) => None,
        })
    }

    /// Calls `see` with every float, ascending by time: quicker than [`Points::floats`].
    pub fn each_float(self, mut see: impl FnMut(Millis, f64)) {
        let Points::Steps(steps, column) = self else {
            return self.floats().for_each(|(t, v)| see(t, v));
        };
        if !column.hists.is_empty() {
            return self.floats().for_each(|(t, v)| see(t, v));
        }
        for (word, (bits, values)) in column.present.iter().zip(column.values.chunks(64)).enumerate() {
            if *bits == u64::MAX {
                values.iter().enumerate().for_each(|(i, v)| see(steps.at(64 * word + i), *v));
                continue;
            }
            let mut left = *bits;
            while left != 0 {
                let i = left.trailing_zeros() as usize;
                left &= left - 1;
                see(steps.at(64 * word + i), values[i]);
            }
        }
    }

    /// The histograms, ascending by time.
    pub fn histograms(self) -> impl Iterator<Item = (Millis, &'a Arc<FloatHistogram>)> + 'a {
        let (hists, time): (&'a [model::HistogramAt], Box<dyn Fn(usize) -> Millis + 'a>) = match self {
            Points::Steps(steps, column) => (&column.hists, Box::new(move |i| steps.at(i))),
            Points::Samples(samples) => (&samples.hists, Box::new(move |i| samples.ts[i])),
        };
        hists.iter().map(move |h| (time(h.index as usize), &h.histogram))
    }

    /// All points, ascending by time; of a float and a histogram at one time the float comes first.
    pub fn iter(self) -> PointsIter<'a> {
        PointsIter { points: self, at: 0, hist: 0, halfway: false }
    }

    /// Number of points.
    pub fn count(self) -> usize {
        match self {
            Points::Steps(_, column) => {
                column.count() + column.both.iter().map(|w| w.count_ones() as usize).sum::<usize>()
            }
            Points::Samples(samples) => samples.len(),
        }
    }
}

/// Iterator of [`Points::iter`].
#[derive(Clone, Debug)]
pub struct PointsIter<'a> {
    points: Points<'a>,
    at: usize,
    hist: usize,
    /// Whether the float of a step with both was given.
    halfway: bool,
}

impl<'a> Iterator for PointsIter<'a> {
    type Item = (Millis, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, hists, values) = match self.points {
            Points::Steps(_, c) => (c.len(), &c.hists, &c.values),
            Points::Samples(s) => (s.len(), &s.hists, &s.values),
        };
        if let Points::Steps(_, c) = self.points {
            while self.at < len && !c.has(self.at) {
                // Whole words of absent steps are passed over at once.
                self.at = match self.at % 64 {
                    0 if c.present[self.at / 64] == 0 => self.at + 64,
                    _ => self.at + 1,
                };
            }
        }
        if self.at >= len {
            return None;
        }
        let at = self.at;
        self.at += 1;
        let time = match self.points {
            Points::Steps(steps, _) => steps.at(at),
            Points::Samples(s) => s.ts[at],
        };
        match hists.get(self.hist).filter(|h| h.index as usize == at) {
            Some(_) if !self.halfway && matches!(self.points, Points::Steps(_, c) if c.has_both(at)) => {
                (self.halfway, self.at) = (true, at);
                Some((time, Value::Float(values[at])))
            }
            Some(h) => {
                self.halfway = false;
                self.hist += 1;
                Some((time, Value::Histogram(&h.histogram)))
            }
            None => Some((time, Value::Float(values[at]))),
        }
    }
}

/// Takes a query's result. An error returned from any call ends the query with it.
pub trait Sink {
    /// The result is a scalar.
    ///
    /// # Errors
    /// What the receiver has to say.
    fn scalar(&mut self, at: Millis, value: f64) -> Result<(), QueryError>;

    /// The result is a string; PromQL strings are bytes.
    ///
    /// # Errors
    /// What the receiver has to say.
    fn string(&mut self, at: Millis, value: &[u8]) -> Result<(), QueryError>;

    /// The next sample of an instant vector; `at` is the evaluation time.
    ///
    /// # Errors
    /// What the receiver has to say.
    fn sample(&mut self, labels: &Labels, at: Millis, value: Value<'_>) -> Result<(), QueryError>;

    /// The next series of a matrix.
    ///
    /// # Errors
    /// What the receiver has to say.
    fn series(&mut self, labels: &Labels, points: Points<'_>) -> Result<(), QueryError>;
}

/// A sink that keeps the whole result, for small results and tests.
#[derive(Clone, Debug, Default)]
pub struct Collect {
    /// The scalar with its time.
    pub scalar: Option<(Millis, f64)>,
    /// The string with its time.
    pub string: Option<(Millis, Vec<u8>)>,
    /// Samples of a vector or series of a matrix, in order. `Samples::start_ts` is not filled.
    pub series: Vec<(Labels, Samples)>,
}

impl Sink for Collect {
    fn scalar(&mut self, at: Millis, value: f64) -> Result<(), QueryError> {
        self.scalar = Some((at, value));
        Ok(())
    }

    fn string(&mut self, at: Millis, value: &[u8]) -> Result<(), QueryError> {
        self.string = Some((at, value.to_vec()));
        Ok(())
    }

    fn sample(&mut self, labels: &Labels, at: Millis, value: Value<'_>) -> Result<(), QueryError> {
        let mut samples = Samples::default();
        push(&mut samples, at, value);
        self.series.push((labels.clone(), samples));
        Ok(())
    }

    fn series(&mut self, labels: &Labels, points: Points<'_>) -> Result<(), QueryError> {
        let mut samples = Samples::default();
        points.iter().for_each(|(t, v)| push(&mut samples, t, v));
        self.series.push((labels.clone(), samples));
        Ok(())
    }
}

fn push(samples: &mut Samples, at: Millis, value: Value<'_>) {
    match value {
        Value::Float(v) => samples.push(at, v),
        Value::Histogram(h) => samples.push_histogram(at, h.clone()),
    }
}
