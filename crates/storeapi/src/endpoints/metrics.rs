//! `thanos_store_nodes_grpc_connections`: how many peers there are of each kind.
//!
//! Holds the gauge and its choice of labels (`--query.conn-metric.label`). It knows no network.
//! Invariant: after an update the gauge has exactly the label values of the queryable peers.

use std::collections::BTreeMap;

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
}

impl NodeMetrics {
    /// Registers the gauge with the given labels (Thanos' default: external labels and store type).
    ///
    /// # Errors
    /// When the registry already has it.
    pub fn new(registry: &Registry, labels: &[MetricLabel]) -> prometheus::Result<Self> {
        let names: Vec<&str> = labels.iter().map(|l| l.name()).collect();
        let help = "Number of gRPC connection to Store APIs. Opened connection means healthy store APIs available for Querier.";
        let gauge = GaugeVec::new(Opts::new("thanos_store_nodes_grpc_connections", help), &names)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(NodeMetrics { gauge, labels: labels.to_vec() })
    }

    /// Counts `endpoints` anew.
    pub fn update<'a>(&self, endpoints: impl Iterator<Item = &'a Endpoint>) {
        let mut counts: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for e in endpoints {
            let values = self.labels.iter().map(|l| match l {
                MetricLabel::ExternalLabels if e.label_sets.is_empty() => "no_external_labels".to_owned(),
                MetricLabel::ExternalLabels => label_sets_text(&e.label_sets),
                MetricLabel::StoreType => e.component().to_owned(),
                MetricLabel::IpPort => e.addr.clone(),
            });
            *counts.entry(values.collect()).or_default() += 1.0;
        }
        self.gauge.reset();
        for (values, n) in counts {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            self.gauge.with_label_values(&values).set(n);
        }
    }
}
