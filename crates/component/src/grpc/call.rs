//! One call on the server: from the connection to the service and back.
//!
//! Puts together what lies around every service: routing, compression, deadline, metrics, panics. It
//! knows no message. Invariant: whatever the service does, the caller gets an answer with a status.
//! Order as in Thanos' interceptors (`pkg/server/grpc`): compression outermost, then panics, then
//! metrics.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use super::bodies::{Answer, Counted, Guard, panicked, too_late};
use super::compress::Encoding;
use super::instrument::ServerMetrics;
use super::kind_of;
use crate::log::requests::GrpcLog;

/// A service behind its name.
#[derive(Clone, Debug)]
pub(super) struct Routed {
    pub(super) service: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    /// Its methods; none for a service that is asked itself.
    pub(super) methods: Vec<&'static str>,
}

/// What all calls of a server share.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) services: Arc<HashMap<String, Routed>>,
    pub(super) metrics: ServerMetrics,
    pub(super) component: &'static str,
    pub(super) log: Option<GrpcLog>,
}

impl Calls {
    /// Answers one call.
    pub(super) async fn answer(&self, request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let Some((service, method)) = path.strip_prefix('/').and_then(|p| p.rsplit_once('/')) else {
            return Status::unimplemented(format!("malformed method name: {path:?}")).into_http();
        };
        let Some(routed) = self.services.get(service) else {
            return Status::unimplemented(format!("unknown service {service}")).into_http();
        };
        if !routed.methods.is_empty() && !routed.methods.contains(&method) {
            let text = format!("unknown method {method} for service {service}");
            return Status::unimplemented(text).into_http();
        }
        let kind = kind_of(method);
        let mut observation = self.metrics.begin(kind, service, method);
        let (mut head, mut body) = request.into_parts();
        let limit = timeout(&head.headers);
        observation.log = self.log.as_ref().and_then(|log| {
            log.begin(self.component, (service, method, kind), &peer.to_string(), limit, &head.headers)
        });
        let encoding = Encoding::take(&mut head.headers);
        if let Some(encoding) = encoding {
            body = encoding.decompressed(body);
        }
        let body = Counted::wrap(body, observation.received.clone());
        let deadline = limit.map(tokio::time::sleep).map(Box::pin);
        let answering = routed.service.clone().oneshot(Request::from_parts(head, body));
        let answering = AssertUnwindSafe(answering).catch_unwind();
        let (answered, deadline) = match deadline {
            None => (Ok(answering.await), None),
            Some(mut deadline) => tokio::select! {
                biased;
                answered = answering => (Ok(answered), Some(deadline)),
                () = deadline.as_mut() => (Err(too_late()), None),
            },
        };
        let answered = answered.and_then(|answered| match answered {
            Ok(Ok(response)) => Ok(response),
            Err(panic) => Err(panicked(&*panic, &self.metrics.panics)),
        });
        let response = match answered {
            Ok(response) => response,
            Err(status) => {
                observation.end(&status);
                return status.into_http();
            }
        };
        let (mut head, body) = response.into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            observation.end(&status);
        }
        let count = observation.sent.clone();
        let guard = Guard { deadline, panics: self.metrics.panics.clone() };
        let mut body = Answer::wrap(body, count, observation, Some(guard));
        if let Some(encoding) = encoding
            && !body.is_end_stream()
        {
            encoding.announce(&mut head.headers);
            body = encoding.compressed(body);
        }
        Response::from_parts(head, body)
    }
}

/// The time that the caller gives, from `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_at_most_eight_digits_and_a_unit() {
        let parsed = |text: &'static str| {
            timeout(&HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                http::HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(parsed("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parsed("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789S"] {
            assert_eq!(parsed(bad).filter(|_| !bad.is_empty() && bad != "S"), None, "{bad}");
        }
    }
}
