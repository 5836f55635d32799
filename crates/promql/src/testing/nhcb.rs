//! Classic histograms to native ones with custom buckets.
//!
//! Holds the derivation that `load_with_nhcb` makes beside the series of its block. It knows no
//! store. Invariant: derived series have the classic name without its suffix and no `le`. Reference:
//! Prometheus `util/convertnhcb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::histogram::CUSTOM_BUCKETS_SCHEMA;
use model::labels::METRIC_NAME;
use model::{FloatHistogram, Labels, LabelsBuilder, Millis, Span};

use super::script::{LoadedSample, LoadedSeries};

/// What one classic histogram was at one time.
#[derive(Default)]
struct Classic {
    /// Upper bounds and cumulative counts, as they came; of equal bounds the first counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native histograms that stand for the classic ones among `series`.
///
/// # Errors
/// A text, where counts fall or contradict each other.
pub(super) fn derive(series: &[LoadedSeries]) -> Result<Vec<LoadedSeries>, String> {
    let mut classics: BTreeMap<Labels, BTreeMap<Millis, Classic>> = BTreeMap::new();
    for s in series {
        let name = s.labels.metric_name();
        let Some((base, part)) = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).map(|base| (base, *suffix)))
        else {
            continue;
        };
        let le = match part {
            "_bucket" if !s.labels.has("le") => return Err(format!("{} has no bucket label", s.labels)),
            "_bucket" => match model::gofmt::parse_float(s.labels.value("le")) {
                Ok(le) if !le.is_nan() => le,
                _ => continue,
            },
            _ => 0.0,
        };
        let labels = LabelsBuilder::new(&s.labels).set(METRIC_NAME, base).del("le").labels();
        let times = classics.entry(labels).or_default();
        for sample in s.samples.iter().filter(|s| s.histogram.is_none()) {
            let classic = times.entry(sample.t).or_default();
            match part {
                "_bucket" => classic.buckets.push((le, sample.value)),
                "_sum" => classic.sum = sample.value,
                _ => classic.count = Some(sample.value),
            }
        }
    }
    let native = |(labels, times): (Labels, BTreeMap<Millis, Classic>)| {
        let sample = |(t, classic): (Millis, Classic)| {
            let histogram = classic.native().map_err(|e| format!("{labels}: {e}"))?;
            Ok(LoadedSample { t, st: 0, value: 0.0, histogram: Some(Arc::new(histogram)) })
        };
        let samples = times.into_iter().map(sample).collect::<Result<_, String>>()?;
        Ok(LoadedSeries { labels, samples })
    };
    classics.into_iter().map(native).collect()
}

impl Classic {
    fn native(mut self) -> Result<FloatHistogram, String> {
        if self.buckets.iter().any(|b| b.1 < 0.0) || self.count.is_some_and(|c| c < 0.0) {
            return Err("count must be non-negative".to_owned());
        }
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|b, a| a.0 == b.0);
        if self.buckets.windows(2).any(|w| w[1].1 < w[0].1) {
            return Err("count is not cumulative".to_owned());
        }
        let highest = self.buckets.last().map(|b| b.1);
        let count = self.count.or(highest).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let all = self.buckets.last().map_or(0.0, |b| b.1);
        if all != count {
            return Err(format!("count mismatch: count={count} != le=+Inf count={all}"));
        }
        let mut below = 0.0;
        let population = |(_, cumulative): &(f64, f64)| {
            let population = cumulative - below;
            below = *cumulative;
            population
        };
        let positive_buckets: Vec<f64> = self.buckets.iter().map(population).collect();
        let bounds = self.buckets.iter().map(|b| b.0).filter(|b| *b != f64::INFINITY).collect::<Arc<[f64]>>();
        let whole = |v: f64| v.round() == v && v.abs() < 9.2e18;
        let integers = whole(count) && self.buckets.iter().all(|b| whole(b.1));
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive_buckets.len() as u32 }],
            positive_buckets,
            custom_values: Some(bounds).filter(|b| !b.is_empty()),
            ..FloatHistogram::default()
        };
        histogram.compact(if integers { 2 } else { 0 });
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Command, Script};
    use super::*;

    fn derived(block: &str) -> Result<Vec<LoadedSeries>, String> {
        let script = Script::parse(&format!("load_with_nhcb 1m\n{block}")).unwrap();
        let Command::Load(load) = &script.commands[0] else { panic!("no load") };
        derive(&load.series)
    }

    #[test]
    fn populations_are_differences_of_cumulative_counts() {
        let series = derived(
            "h_bucket{le=\"5\"} 3\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 10\nh_sum 7\nh_bucket{le=\"x\"} 99\nother 1",
        )
        .unwrap();
        assert_eq!(series.len(), 1);
        let histogram = series[0].samples[0].histogram.clone().unwrap();
        assert_eq!(series[0].labels.to_string(), r#"{__name__="h"}"#);
        assert_eq!((histogram.count, histogram.sum), (10.0, 7.0));
        assert_eq!(histogram.custom_bounds(), [1.0, 5.0]);
        assert_eq!(histogram.positive_buckets, [1.0, 2.0, 7.0]);
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        assert!(
            derived("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 1").unwrap_err().contains("not cumulative")
        );
        assert!(derived("h_bucket{le=\"+Inf\"} 3\nh_count 4").unwrap_err().contains("mismatch"));
        assert!(derived("h_bucket 3").unwrap_err().contains("no bucket label"));
    }
}
