//! A store of series in memory.
//!
//! Holds [`Memory`]: series by metric name and labels, appended to in time order, selected by
//! matchers. It knows no file and no chunk. Invariant: what it hands out is sorted by labels, and a
//! selection sees the series as they were when it was started.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::histogram::InvalidHistogram;
use model::labels::METRIC_NAME;
use model::{FloatHistogram, Labels, MatchType, Matcher, Millis, Samples};

use super::chunks::HeadChunk;
use crate::storage::{Queryable, Selection, SeriesSet, StorageError};

/// Series in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By metric name (empty for none), then by labels.
    names: BTreeMap<Box<str>, BTreeMap<Labels, Series>>,
}

#[derive(Clone, Debug, Default)]
struct Series {
    samples: Arc<Samples>,
    head: HeadChunk,
}

/// Why a sample was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// It is older than what the series holds.
    #[error("out of order sample of {0}")]
    OutOfOrder(Labels),
    /// The series holds another value at this time.
    #[error("duplicate sample for timestamp of {0}")]
    Duplicate(Labels),
    /// The histogram is not well formed.
    #[error("{0}")]
    Histogram(#[from] InvalidHistogram),
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Memory::default()
    }

    /// Appends a float. `st` is the start timestamp, 0 where it is not known.
    ///
    /// # Errors
    /// [`AppendError`] for a sample that is not behind the series' last; one that repeats it is
    /// ignored.
    pub fn append(&mut self, labels: &Labels, t: Millis, st: Millis, value: f64) -> Result<(), AppendError> {
        let series = self.series(labels);
        if let Some(last) = series.samples.ts.last().filter(|last| **last >= t) {
            let same = *last == t
                && series.samples.histogram(series.samples.len() - 1).is_none()
                && series.samples.values.last().is_some_and(|v| v.to_bits() == value.to_bits());
            return refuse(same, *last == t, labels);
        }
        series.head.float();
        series.push(st, |samples| samples.push(t, value));
        Ok(())
    }

    /// Appends a histogram. What is read back has the counter reset hint and the layout of buckets that
    /// it would have in Prometheus.
    ///
    /// # Errors
    /// [`AppendError`] as for floats, and for a histogram that is not well formed.
    pub fn append_histogram(
        &mut self,
        labels: &Labels,
        t: Millis,
        st: Millis,
        histogram: &Arc<FloatHistogram>,
    ) -> Result<(), AppendError> {
        histogram.validate()?;
        let series = self.series(labels);
        if let Some(last) = series.samples.ts.last().filter(|last| **last >= t) {
            let held = series.samples.histogram(series.samples.len() - 1);
            let same = *last == t && held.is_some_and(|h| h.data_eq(histogram));
            return refuse(same, *last == t, labels);
        }
        let earlier = &mut Arc::make_mut(&mut series.samples).hists;
        let histogram = series.head.histogram(t, histogram, earlier);
        series.push(st, |samples| samples.push_histogram(t, histogram));
        Ok(())
    }

    /// Puts a whole series in, in place of what the store held under these labels.
    pub fn insert(&mut self, labels: &Labels, samples: Samples) {
        *self.series(labels) = Series { samples: Arc::new(samples), head: HeadChunk::default() };
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.names.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn series(&mut self, labels: &Labels) -> &mut Series {
        let name = labels.metric_name();
        if !self.names.contains_key(name) {
            self.names.insert(name.into(), BTreeMap::new());
        }
        self.names.entry(name.into()).or_default().entry(labels.clone()).or_default()
    }
}

fn refuse(same: bool, same_time: bool, labels: &Labels) -> Result<(), AppendError> {
    match (same, same_time) {
        (true, _) => Ok(()),
        (_, true) => Err(AppendError::Duplicate(labels.clone())),
        _ => Err(AppendError::OutOfOrder(labels.clone())),
    }
}

impl Series {
    fn push(&mut self, st: Millis, add: impl FnOnce(&mut Samples)) {
        let samples = Arc::make_mut(&mut self.samples);
        if st != 0 && samples.start_ts.is_empty() {
            samples.start_ts = vec![0; samples.ts.len()];
        }
        add(samples);
        samples
            .start_ts
            .resize(if st != 0 || !samples.start_ts.is_empty() { samples.ts.len() } else { 0 }, 0);
        if let Some(last) = samples.start_ts.last_mut() {
            *last = st;
        }
    }
}

impl Queryable for Memory {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let named = |m: &&Matcher| m.kind == MatchType::Equal && m.name == METRIC_NAME;
        let matches = |labels: &Labels| selection.matchers.iter().all(|m| m.matches(labels.value(&m.name)));
        let mut found: Vec<(Labels, Arc<Samples>)> = Vec::new();
        let mut look = |series: &BTreeMap<Labels, Series>| {
            let hits = series.iter().filter(|(labels, _)| matches(labels));
            found.extend(hits.map(|(labels, s)| (labels.clone(), s.samples.clone())));
        };
        match selection.matchers.iter().find(named) {
            Some(name) => self.names.get(name.value.as_str()).into_iter().for_each(&mut look),
            None => {
                self.names.values().for_each(&mut look);
                found.sort_by(|a, b| a.0.cmp(&b.0));
            }
        }
        Box::new(Selected { left: found.into_iter(), mint: selection.mint, maxt: selection.maxt })
    }
}

struct Selected {
    left: std::vec::IntoIter<(Labels, Arc<Samples>)>,
    mint: Millis,
    maxt: Millis,
}

impl SeriesSet for Selected {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        for (labels, all) in self.left.by_ref() {
            let from = all.ts.partition_point(|t| *t < self.mint);
            let to = all.ts.partition_point(|t| *t <= self.maxt);
            if from >= to {
                continue;
            }
            samples.ts.extend_from_slice(&all.ts[from..to]);
            samples.values.extend_from_slice(&all.values[from..to]);
            if !all.start_ts.is_empty() {
                samples.start_ts.extend_from_slice(&all.start_ts[from..to]);
            }
            let first = all.hists.partition_point(|h| (h.index as usize) < from);
            let within = all.hists[first..].iter().take_while(|h| (h.index as usize) < to);
            samples.hists.extend(within.map(|h| model::HistogramAt {
                index: h.index - from as u32,
                histogram: h.histogram.clone(),
            }));
            return Ok(Some(labels));
        }
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        crate::parse::Options::all().parse_metric(text).unwrap()
    }

    fn selected(
        store: &Memory,
        matchers: Vec<Matcher>,
        mint: Millis,
        maxt: Millis,
    ) -> Vec<(String, Vec<f64>)> {
        let mut set = store.select(&Selection { mint, maxt, matchers, ..Default::default() });
        let (mut samples, mut out) = (Samples::default(), Vec::new());
        while let Some(labels) = set.next(&mut samples).unwrap() {
            out.push((labels.to_string(), samples.values.clone()));
        }
        out
    }

    #[test]
    fn series_come_sorted_by_labels_whatever_their_names() {
        let mut store = Memory::new();
        for (i, text) in [r#"b{A="2"}"#, r#"a{z="1"}"#, r#"c{A="1"}"#].iter().enumerate() {
            store.append(&labels(text), 5, 0, i as f64).unwrap();
        }
        let all = selected(&store, vec![], 0, 10);
        assert_eq!(all.iter().map(|s| s.1[0]).collect::<Vec<_>>(), [2.0, 0.0, 1.0]);
        assert_eq!(selected(&store, vec![Matcher::equal("__name__", "a")], 0, 10).len(), 1);
        assert_eq!(selected(&store, vec![Matcher::equal("A", "")], 0, 10).len(), 1);
        assert!(selected(&store, vec![], 6, 10).is_empty());
    }

    #[test]
    fn samples_are_cut_to_the_selection_and_start_timestamps_fill_up() {
        let mut store = Memory::new();
        let a = labels("a");
        store.append(&a, 1, 0, 1.0).unwrap();
        store.append(&a, 2, 1, 2.0).unwrap();
        store.append_histogram(&a, 3, 0, &Arc::default()).unwrap();
        store.append(&a, 4, 3, 4.0).unwrap();
        let mut set = store.select(&Selection { mint: 2, maxt: 3, ..Default::default() });
        let mut samples = Samples::default();
        assert!(set.next(&mut samples).unwrap().is_some());
        assert_eq!((samples.ts.as_slice(), samples.start_ts.as_slice()), (&[2, 3][..], &[1, 0][..]));
        assert_eq!(samples.hists[0].index, 1);
    }

    #[test]
    fn samples_behind_the_last_are_refused_unless_they_repeat_it() {
        let mut store = Memory::new();
        let a = labels("a");
        store.append(&a, 2, 0, 1.0).unwrap();
        assert_eq!(store.append(&a, 2, 0, 1.0), Ok(()));
        assert_eq!(store.append(&a, 2, 0, 2.0), Err(AppendError::Duplicate(a.clone())));
        assert_eq!(store.append(&a, 1, 0, 1.0), Err(AppendError::OutOfOrder(a.clone())));
        let bad = FloatHistogram { count: -1.0, ..Default::default() };
        assert!(matches!(store.append_histogram(&a, 3, 0, &Arc::new(bad)), Err(AppendError::Histogram(_))));
    }
}
