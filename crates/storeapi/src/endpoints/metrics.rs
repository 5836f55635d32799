//! `thanos_store_nodes_grpc_connections`: how many peers there are of each kind.
//!
//! Holds the gauge and its choice of labels (`--query.conn-metric.label`). It knows no network.
//! Invariant: after an update the gauge has exactly the label values of the queryable peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{GaugeVec, Opts, Registry};

use super::{Endpoint, label_sets_text};

/// A label of the gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricLabel {
    /// The peer's external label sets.
    ExternalLabels,
    /// The peer's component word.
    StoreType,
    /// The peer's address.
    IpPort,
}

impl MetricLabel {
    /// The label's name, which is also the flag's value.
    pub fn name(self) -> &'static str {
        match self {
            MetricLabel::ExternalLabels => "external_labels",
            MetricLabel::StoreType => "store_type",
            MetricLabel::IpPort => "ip_port",
        }
    }
}

/// The gauge.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    gauge: GaugeVec,
    labels: Vec<MetricLabel>,
    shown: Arc<Mutex<BTreeSet<Vec<String>>>>,
}

/// Bytes of external labels after which they are cut.
const LABELS_LIMIT: usize = 1000;

/// The text, cut at a character near the limit and closed, where it is too long.
fn limited(text: String) -> String {
    if text.len() <= LABELS_LIMIT {
        return text;
    }
    let end = (0..LABELS_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}}}", &text[..end])
}

impl NodeMetrics {
    /// Registers the gauge with the given labels (Thanos' default: external labels and store type).
    ///
    /// # Errors
    /// When the registry already has it.
    pub fn new(registry: &Registry, labels: &[MetricLabel]) -> prometheus::Result<Self> {
        let names: Vec<&str> = labels.iter().map(|l| l.name()).collect();
        let help = "How many peers that serve data answer, of each kind.";
        let gauge = GaugeVec::new(Opts::new("thanos_store_nodes_grpc_connections", help), &names)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(NodeMetrics { gauge, labels: labels.to_vec(), shown: Arc::default() })
    }

    /// Counts `endpoints` anew.
    pub fn update<'a>(&self, endpoints: impl Iterator<Item = &'a Endpoint>) {
        let mut counts: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for e in endpoints {
            let values = self.labels.iter().map(|l| match l {
                MetricLabel::ExternalLabels if e.label_sets.is_empty() => "no_external_labels".to_owned(),
                MetricLabel::ExternalLabels => limited(label_sets_text(&e.label_sets)),
                MetricLabel::StoreType => e.component().to_owned(),
                MetricLabel::IpPort => e.addr.clone(),
            });
            *counts.entry(values.collect()).or_default() += 1.0;
        }
        // A scrape in between sees every kind of peer that stays.
        let mut shown = self.shown.lock();
        for (values, n) in &counts {
            self.gauge.with_label_values(values).set(*n);
        }
        for gone in shown.iter().filter(|values| !counts.contains_key(*values)) {
            // It was set before, so it is there.
            let _ = self.gauge.remove_label_values(gone);
        }
        *shown = counts.into_keys().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_cut_at_a_character_and_closed() {
        assert_eq!(limited("{a}".to_owned()), "{a}");
        let cut = limited(format!("{{{}", "é".repeat(600)));
        assert_eq!((cut.len(), cut.ends_with("é}")), (1000, true));
    }
}
