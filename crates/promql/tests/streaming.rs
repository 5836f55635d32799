//! What streams takes no memory: the one test of its process, for it measures the process.

use model::{Labels, Millis, Samples};
use promql::{Engine, EngineOptions, Points, QueryError, QueryOptions, Queryable, Selection, SeriesSet};
use promql::{Sink, StorageError, Value};

const SERIES: usize = 100_000;
const SAMPLES: usize = 40;

struct Store;

struct Stream(usize);

impl Queryable for Store {
    fn select(&self, _: &Selection) -> Box<dyn SeriesSet> {
        Box::new(Stream(0))
    }
}

impl SeriesSet for Stream {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        if self.0 == SERIES {
            return Ok(None);
        }
        (0..SAMPLES).for_each(|t| samples.push(t as Millis * 15_000, (t * (self.0 % 10)) as f64));
        let (pod, zone) = (format!("pod-{:06}", self.0), format!("zone-{}", self.0 % 12));
        self.0 += 1;
        let pairs = [("__name__", "x_total"), ("job", "a"), ("pod", pod.as_str()), ("zone", zone.as_str())];
        Ok(Some(Labels::from_sorted(pairs)))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Counts series and checks their order.
#[derive(Default)]
struct Counter {
    series: usize,
    last: Option<Labels>,
}

impl Sink for Counter {
    fn scalar(&mut self, _: Millis, _: f64) -> Result<(), QueryError> {
        Ok(())
    }

    fn string(&mut self, _: Millis, _: &[u8]) -> Result<(), QueryError> {
        Ok(())
    }

    fn sample(&mut self, _: &Labels, _: Millis, _: Value<'_>) -> Result<(), QueryError> {
        Ok(())
    }

    fn series(&mut self, labels: &Labels, _: Points<'_>) -> Result<(), QueryError> {
        assert!(self.last.as_ref().is_none_or(|last| last < labels));
        (self.last, self.series) = (Some(labels.clone()), self.series + 1);
        Ok(())
    }
}

/// A line of `/proc/self/status`, in KiB.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_hundred_thousand_series_pass_in_a_few_megabytes() {
    for (threads, query, series) in [
        (1, "sum by (zone) (rate(x_total[5m]))", 12),
        (2, "sum by (zone) (rate(x_total[5m]))", 12),
        (1, "avg(x_total * 2 > 3)", 1),
        // Even the whole result, as long as nobody keeps it.
        (2, "rate(x_total[2m])", SERIES),
    ] {
        let before = status("VmRSS:");
        let engine = Engine::new(EngineOptions { threads, ..EngineOptions::default() });
        let query = engine.range(query, 60_000, 600_000, 10_000, QueryOptions::default()).unwrap();
        let mut sink = Counter::default();
        query.run(&Store, &mut sink).unwrap();
        assert_eq!(sink.series, series);
        if let (Some(before), Some(peak)) = (before, status("VmHWM:")) {
            assert!(peak.saturating_sub(before) < 64 << 10, "{before} KiB before, {peak} KiB at most");
        }
    }
}
