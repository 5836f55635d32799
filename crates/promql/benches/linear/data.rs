//! Series for growing queries: as many as asked for, of every kind that an operator family needs.
//!
//! `n` is the number of series, `i` tells them apart, samples are evenly spread.
//!
//! | metric | series | labels and values |
//! |---|---|---|
//! | `x_total`, `y_total` | n | `k` is shared by ten, `one` by all, `own` by none, `instance`, `job`; whole counters with resets |
//! | `walk` | n | fractions, up and down |
//! | `few` | n | five whole numbers |
//! | `keys` | n / 10 | one for each `k` |
//! | `spread` | n | `one` is each one's own, that of `x_total` among them; a `version` |
//! | `single` | 1 | `one` |
//! | `h_bucket` | n | histograms of ten buckets |
//! | `wide_bucket` | n | one histogram of n buckets |
//! | `native` | n | native histograms of 20 buckets, counters |
//! | `target_info` | n | for each `instance` and `job` a `version` |
//!
//! Knows no query. Invariant: the same shape gives the same series.

use std::sync::Arc;

use model::labels::METRIC_NAME;
use model::{FloatHistogram, Labels, Millis, Samples, Span};
use promql::testing::Memory;

/// How much there is.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Series of a metric.
    pub series: usize,
    /// Samples of a series.
    pub samples: usize,
    /// From the first to behind the last of them.
    pub span: Millis,
}

impl Shape {
    /// All series.
    pub(crate) fn store(self) -> Memory {
        let mut store = Memory::new();
        let n = self.series;
        let histograms = self.histograms();
        for at in 0..n {
            let (i, k, own) = (format!("{at:06}"), format!("k{}", at / 10), format!("o{at}"));
            let host = format!("host-{at}.example:9100");
            let counter = self.floats(|t| ((t % 5_000) * (1 + at % 7) + at) as f64);
            for name in ["x_total", "y_total"] {
                let (instance, job) = (("instance", host.as_str()), ("job", "a"));
                let labels = [("i", i.as_str()), ("k", &k), ("one", "0"), ("own", &own), instance, job];
                insert(&mut store, name, &labels, counter.clone());
            }
            let labels = [("i", i.as_str()), ("k", k.as_str())];
            insert(&mut store, "walk", &labels, self.floats(|t| ((t * 7 + at) as f64 * 0.37).sin() / 3.0));
            insert(&mut store, "few", &labels, self.floats(|t| ((t / 3 + at) % 5) as f64));
            insert(&mut store, "native", &labels, histograms.clone());
            let (group, le) = (format!("{:06}", at / 10), bound(at % 10, 10));
            insert(&mut store, "h_bucket", &[("i", &group), ("le", &le)], self.bucket(at % 10));
            insert(&mut store, "wide_bucket", &[("le", &bound(at, n))], self.bucket(at));
            let labels = [("instance", host.as_str()), ("job", "a"), ("version", &k)];
            insert(&mut store, "target_info", &labels, self.floats(|_| 1.0));
            let labels = [("one", own.trim_start_matches('o')), ("version", &k)];
            insert(&mut store, "spread", &labels, counter.clone());
            if at % 10 == 0 {
                insert(&mut store, "keys", &[("k", &k)], counter);
            }
        }
        insert(&mut store, "single", &[("one", "0")], self.floats(|t| t as f64));
        store
    }

    fn time(self, t: usize) -> Millis {
        self.span * t as Millis / self.samples as Millis
    }

    fn floats(self, value: impl Fn(usize) -> f64) -> Samples {
        let mut samples = Samples::default();
        (0..self.samples).for_each(|t| samples.push(self.time(t), value(t)));
        samples
    }

    /// The counter of a bucket: each has its own and those below it.
    fn bucket(self, number: usize) -> Samples {
        self.floats(|t| ((t + 1) * (number + 1)) as f64)
    }

    fn histograms(self) -> Samples {
        let mut samples = Samples::default();
        for t in 0..self.samples {
            let n = (t + 1) as f64;
            let histogram = FloatHistogram {
                schema: 3,
                zero_threshold: 1e-3,
                zero_count: n,
                count: 41.0 * n,
                sum: 55.5 * n,
                positive_spans: vec![Span { offset: -10, length: 15 }, Span { offset: 2, length: 5 }],
                positive_buckets: (0..20).map(|b| f64::from(b % 5) * n).collect(),
                ..FloatHistogram::default()
            };
            samples.push_histogram(self.time(t), Arc::new(histogram));
        }
        samples
    }
}

fn bound(number: usize, of: usize) -> String {
    if number + 1 == of { "+Inf".to_owned() } else { number.to_string() }
}

fn insert(store: &mut Memory, name: &str, labels: &[(&str, &str)], samples: Samples) {
    let pairs = labels.iter().copied().chain([(METRIC_NAME, name)]);
    store.insert(&Labels::from_pairs(pairs), samples);
}
