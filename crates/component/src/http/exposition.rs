//! `/metrics`: which format, and whether compressed.
//!
//! Negotiates as Go's client does and encodes what the registry gathers. It holds no metric.
//! Invariant: an answer is whole; nothing is sent before all of it is encoded.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use prometheus::Registry;

use super::{Response, body};
use crate::metrics::{openmetrics, text};

/// Answers a scrape.
pub(super) fn answer(registry: &Registry, request: &HeaderMap) -> Response {
    let families = registry.gather();
    let (content_type, text) = if wants_openmetrics(request) {
        (openmetrics::CONTENT_TYPE, openmetrics::encode(&families))
    } else {
        (text::CONTENT_TYPE, text::encode(&families))
    };
    let zipped = super::gzip::accepts(request).then(|| gzip(text.as_bytes())).flatten();
    let gzipped = zipped.is_some();
    let mut response = Response::new(body::full(zipped.unwrap_or_else(|| text.into_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if gzipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// The clauses of an `Accept`-like header with their quality, in order.
fn clauses<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Vec<(&'h str, Vec<&'h str>, f64)> {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or("");
            let params: Vec<&str> = parts.collect();
            let quality = params.iter().find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse().ok());
            (media, params, quality.unwrap_or(1.0))
        })
        .collect()
}

/// Whether the best clause we can serve asks for OpenMetrics.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let mut accepted = clauses(headers, &header::ACCEPT);
    // A stable sort: among equals the first one counts.
    accepted.sort_by(|a, b| b.2.total_cmp(&a.2));
    for (media, params, quality) in accepted {
        let version = params.iter().find_map(|p| p.strip_prefix("version="));
        match media {
            _ if quality <= 0.0 => {}
            "application/openmetrics-text" if matches!(version, None | Some("0.0.1" | "1.0.0")) => {
                return true;
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => return false,
            _ => {}
        }
    }
    false
}
