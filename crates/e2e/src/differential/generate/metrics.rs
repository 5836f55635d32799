//! What there is to select: names, labels and kinds of the series that `data` makes.
//!
//! Knows no expression. Invariant: a metric's labels, without its name, tell its series apart.

use super::Kind;

/// A metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) kind: Kind,
    /// How often it is chosen.
    pub(super) weight: usize,
}

const fn metric(name: &'static str, labels: &'static [&'static str], kind: Kind, weight: usize) -> Metric {
    Metric { name, labels, kind, weight }
}

pub(super) const METRICS: &[Metric] = &[
    metric("req_total", &["job", "instance", "code"], Kind::Float, 6),
    metric("bytes_total", &["job", "instance"], Kind::Float, 5),
    metric("typed", &["instance", "__type__"], Kind::Float, 1),
    metric("st_total", &["instance"], Kind::Float, 2),
    metric("temp", &["job", "instance"], Kind::Float, 6),
    metric("load", &["job", "instance"], Kind::Float, 4),
    metric("wide", &["i", "zone"], Kind::Float, 3),
    metric("clock", &["zone"], Kind::Float, 1),
    metric("one", &[], Kind::Float, 1),
    metric("odd", &["kind"], Kind::Float, 4),
    metric("sparse", &["instance"], Kind::Float, 3),
    metric("my.metric", &["strange label", "zone"], Kind::Float, 1),
    metric("moved", &["version"], Kind::Float, 1),
    metric("lat_bucket", &["job", "instance", "le"], Kind::Classic, 3),
    metric("lat_sum", &["job", "instance"], Kind::Float, 1),
    metric("lat_count", &["job", "instance"], Kind::Float, 1),
    metric("bad_bucket", &["of", "le"], Kind::Classic, 1),
    metric("h", &["job", "instance"], Kind::Histogram, 4),
    metric("hg", &["instance"], Kind::Histogram, 3),
    metric("hc", &["instance"], Kind::Histogram, 3),
    metric("hst", &["instance"], Kind::Histogram, 1),
    metric("hnan", &["instance"], Kind::Histogram, 1),
    metric("mixed", &["instance"], Kind::Mixed, 3),
    metric("both", &["instance", "le"], Kind::Mixed, 1),
    metric("target_info", &["job", "instance", "version", "host"], Kind::Float, 1),
    metric("build_info", &["job", "instance", "rev"], Kind::Float, 1),
];

/// Values of a label, the first ones in use.
pub(super) fn values(label: &str) -> &'static [&'static str] {
    match label {
        "job" => &["api", "db"],
        "instance" => &["a", "b", "c"],
        "code" => &["200", "500"],
        "zone" => &["x", "y", "z"],
        "i" => &["1", "7", "12", "23"],
        "kind" => &["nan", "inf", "zeros", "sometimes", "huge", "cancel"],
        "le" => &["1", "+Inf"],
        "of" => &["fall", "noinf", "odd"],
        "__type__" => &["counter", "gauge"],
        "version" => &["1", "2", "1.0", "1.1"],
        _ => &["other"],
    }
}
