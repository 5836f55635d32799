//! Summaries: quantiles over a sliding time window.
//!
//! The `prometheus` crate has none. Objectives are met with a bounded sample of the window's
//! observations (reservoirs that take turns, as upstream rotates its streams), so memory does not
//! grow with the rate. It knows no metric's meaning. Invariant: `_sum` and `_count` are exact and never
//! go back; only quantiles age, and an empty window shows NaN.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

const WINDOW: Duration = Duration::from_secs(600);
const SLICES: u32 = 5;
/// Observations kept a slice; the error of a quantile over it is well under the objectives used.
const KEPT: usize = 500;

#[derive(Debug, Default)]
struct Series {
    count: u64,
    sum: f64,
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    number: u64,
    seen: u64,
    kept: Vec<f64>,
}

#[derive(Debug)]
struct Inner {
    desc: Desc,
    quantiles: Vec<f64>,
    labels: Vec<String>,
    began: Instant,
    series: Mutex<BTreeMap<Vec<String>, Series>>,
}

/// A family of summaries. Clones share it.
#[derive(Clone, Debug)]
pub struct Summary(Arc<Inner>);

impl Summary {
    /// A family `name` with `labels`, which shows `quantiles` (each within 0 and 1).
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn new(name: &str, help: &str, labels: &[&str], quantiles: &[f64]) -> prometheus::Result<Self> {
        let mut labels: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        labels.sort();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels.clone(), Default::default())?;
        Ok(Summary(Arc::new(Inner {
            desc,
            quantiles: quantiles.to_vec(),
            labels,
            began: Instant::now(),
            series: Mutex::default(),
        })))
    }

    /// Makes the series with `values`, given by label names in sorted order, if it is not there.
    pub fn touch(&self, values: &[&str]) {
        let key: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        self.0.series.lock().entry(key).or_default();
    }

    /// Counts `value` into the series with label `values`, given by label names in sorted order.
    pub fn observe(&self, values: &[&str], value: f64) {
        let now = self.slice_now();
        let key: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        let mut all = self.0.series.lock();
        let series = all.entry(key).or_default();
        series.count += 1;
        series.sum += value;
        series.slices.retain(|s| s.number + u64::from(SLICES) > now);
        if series.slices.last().is_none_or(|s| s.number != now) {
            series.slices.push(Slice { number: now, seen: 0, kept: Vec::new() });
        }
        if let Some(slice) = series.slices.last_mut() {
            slice.seen += 1;
            if slice.kept.len() < KEPT {
                slice.kept.push(value);
            } else {
                // Reservoir sampling with a cheap mix of the count as its dice.
                let dice = slice.seen.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) % slice.seen;
                if let Some(place) = usize::try_from(dice).ok().and_then(|at| slice.kept.get_mut(at)) {
                    *place = value;
                }
            }
        }
    }

    fn slice_now(&self) -> u64 {
        self.0.began.elapsed().as_secs() / u64::from(WINDOW.as_secs() as u32 / SLICES)
    }
}

impl Collector for Summary {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.slice_now();
        let mut metrics = Vec::new();
        for (values, series) in self.0.series.lock().iter() {
            let live = series.slices.iter().filter(|s| s.number + u64::from(SLICES) > now);
            let mut window: Vec<f64> = live.flat_map(|s| s.kept.iter().copied()).collect();
            window.sort_by(f64::total_cmp);
            let mut shown = proto::Summary::default();
            shown.set_sample_count(series.count);
            shown.set_sample_sum(series.sum);
            let quantile = |at: &f64| {
                let mut q = proto::Quantile::default();
                q.set_quantile(*at);
                let rank = (at * window.len() as f64).ceil() as usize;
                q.set_value(window.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN));
                q
            };
            shown.set_quantile(self.0.quantiles.iter().map(quantile).collect());
            let mut metric = proto::Metric::default();
            metric.set_label(self.0.labels.iter().zip(values).map(|(n, v)| pair(n, v)).collect());
            metric.set_summary(shown);
            metrics.push(metric);
        }
        let mut family = MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics);
        vec![family]
    }
}

fn pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
