//! `--request.logging-config`: a line when a call begins, when it ends, or both.
//!
//! Holds the document and what is written for HTTP and for gRPC, with Thanos' keys (`pkg/logging`). It
//! serves nothing: `http` and `grpc` call it. Invariant: nothing is written unless the document says
//! so. Kept from upstream: `WARNING` filters nothing, a gRPC level decides nothing, and an HTTP entry
//! of the list must equal the request's URL with its query and the port.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::{Code, Status};

use crate::flags::PathOrContent;
use crate::grpc::{MethodKind, code_name};

/// Why the document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be had.
    #[error("getting request logging config failed. {0}")]
    Content(#[from] crate::flags::ContentError),
    /// It is not what it should be.
    #[error("{0}")]
    Yaml(#[from] serde_norway::Error),
    /// A decision without a level.
    #[error("level field is empty")]
    NoLevel,
    /// A level that is none of the four.
    #[error("the format of level is invalid. Expected INFO/DEBUG/ERROR/WARNING, got this {0}")]
    Level(String),
    /// Beginnings without ends, for HTTP.
    #[error("log start call is not supported")]
    StartAlone,
    /// Beginnings without ends, for gRPC.
    #[error("log decision combination is not supported")]
    Combination,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    http: Http,
    grpc: Grpc,
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    options: Options,
    config: Vec<HttpEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpEntry {
    path: String,
    port: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Grpc {
    options: Options,
    config: Vec<GrpcEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GrpcEntry {
    service: String,
    method: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    level: String,
    decision: Decision,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Decision {
    log_start: bool,
    log_end: bool,
}

impl Options {
    /// These options where they say something, else `outer`; a level is never missing afterwards.
    fn over(&self, outer: Options) -> Result<Options, Error> {
        if *self == Options::default() {
            return Ok(outer);
        }
        if self.level.is_empty() {
            return Err(Error::NoLevel);
        }
        Ok(self.clone())
    }

    fn check_level(&self) -> Result<(), Error> {
        match self.level.as_str() {
            "INFO" | "DEBUG" | "ERROR" | "WARNING" => Ok(()),
            other => Err(Error::Level(other.to_owned())),
        }
    }
}

/// What is written of requests.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Of HTTP requests.
    pub http: Option<HttpLog>,
    /// Of gRPC calls.
    pub grpc: Option<GrpcLog>,
}

impl Requests {
    /// What the flags' document asks for.
    ///
    /// # Errors
    /// [`Error`].
    pub fn from_flag(document: &PathOrContent) -> Result<Self, Error> {
        Self::parse(document.content()?.as_deref().unwrap_or(""))
    }

    fn parse(yaml: &str) -> Result<Self, Error> {
        if yaml.trim().is_empty() {
            return Ok(Requests::default());
        }
        let document = serde_norway::from_str::<Option<Document>>(yaml)?.unwrap_or_default();
        let nothing = Options { level: "ERROR".to_owned(), decision: Decision::default() };
        let global = document.options.over(nothing)?;

        let options = document.http.options.over(global.clone())?;
        options.check_level()?;
        let http = match (options.decision.log_start, options.decision.log_end) {
            (false, false) => None,
            (true, false) => return Err(Error::StartAlone),
            (start, true) => Some(HttpLog {
                start,
                debug: matches!(options.level.as_str(), "DEBUG" | "WARNING"),
                only: document.http.config.iter().map(|e| format!("{}:{}", e.path, e.port)).collect(),
            }),
        };

        let options = document.grpc.options.over(global)?;
        let grpc = match (options.decision.log_start, options.decision.log_end) {
            (false, false) => None,
            (true, false) => return Err(Error::Combination),
            (start, true) => {
                options.check_level()?;
                let only = document.grpc.config.iter().map(|e| format!("/{}/{}", e.service, e.method));
                Some(GrpcLog { start, only: only.collect() })
            }
        };
        Ok(Requests { http, grpc })
    }
}

/// Milliseconds as Go prints its 32-bit float.
fn millis(since: Instant) -> String {
    (since.elapsed().as_micros() as f32 / 1000.0).to_string()
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// Writes lines of HTTP requests.
#[derive(Clone, Debug)]
pub struct HttpLog {
    start: bool,
    /// Whether entries of the lowest level are written.
    debug: bool,
    /// `url:port`; empty for all.
    only: Arc<[String]>,
}

/// An HTTP request whose end is to be written.
#[derive(Debug)]
pub(crate) struct HttpEntryEnd {
    method: String,
    id: String,
    agent: String,
    address: String,
    handler: String,
    began: Instant,
    debug: bool,
}

impl HttpLog {
    /// Writes the beginning where it is wanted; the end is the caller's to report.
    pub(crate) fn begin<B>(
        &self,
        request: &http::Request<B>,
        handler: &str,
        peer: &str,
    ) -> Option<HttpEntryEnd> {
        let text = |name: &str| header(request.headers(), name);
        let url = request.uri().path_and_query().map_or("/", |p| p.as_str());
        if !self.only.is_empty() {
            let port = text("host").rsplit_once(':').map(|(_, port)| port.to_owned());
            let url = if url.contains(':') { format!("[{url}]") } else { url.to_owned() };
            let named = port.map_or(url.clone(), |port| format!("{url}:{port}"));
            if !self.only.contains(&named) {
                return None;
            }
        }
        let forwarded = text("x-forwarded-for");
        let entry = HttpEntryEnd {
            method: format!("{} {url}", request.method()),
            id: text("x-request-id"),
            agent: text("user-agent"),
            address: if forwarded.is_empty() { peer.to_owned() } else { forwarded },
            handler: handler.to_owned(),
            began: Instant::now(),
            debug: self.debug,
        };
        if self.start && self.debug {
            tracing::debug!(
                protocol = "http",
                http.component = "server",
                http.start_time = %rfc3339(OffsetDateTime::now_utc()),
                http.method = entry.method,
                http.request_id = entry.id,
                http.user_agent = entry.agent,
                thanos.method_name = entry.handler,
                "started call"
            );
        }
        Some(entry)
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned()
}

impl HttpEntryEnd {
    /// Writes the end.
    pub(crate) fn end(self, status: u16) {
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    protocol = "http",
                    http.component = "server",
                    http.method = self.method,
                    http.request_id = self.id,
                    http.user_agent = self.agent,
                    http.status_code = %status,
                    http.time_ms = millis(self.began),
                    http.remote_addr = self.address,
                    thanos.method_name = self.handler,
                    "finished call"
                )
            };
        }
        match status {
            200..500 if self.debug => write!(debug),
            200..500 => {}
            _ => write!(error),
        }
    }
}

/// Writes lines of gRPC calls.
#[derive(Clone, Debug)]
pub struct GrpcLog {
    start: bool,
    /// `/service/method`; empty for all.
    only: Arc<[String]>,
}

/// A gRPC call whose end is to be written.
#[derive(Debug)]
pub(crate) struct GrpcEntryEnd {
    component: &'static str,
    service: String,
    method: String,
    kind: MethodKind,
    peer: String,
    started: String,
    /// Empty for none.
    deadline: String,
    id: String,
    began: Instant,
}

impl GrpcLog {
    /// Writes the beginning where it is wanted; the end is the caller's to report.
    pub(crate) fn begin(
        &self,
        component: &'static str,
        path: (&str, &str, MethodKind),
        peer: &str,
        deadline: Option<std::time::Duration>,
        headers: &HeaderMap,
    ) -> Option<GrpcEntryEnd> {
        let (service, method, kind) = path;
        if !self.only.is_empty() && !self.only.contains(&format!("/{service}/{method}")) {
            return None;
        }
        let now = OffsetDateTime::now_utc();
        let id = header(headers, "request-id");
        let entry = GrpcEntryEnd {
            component,
            service: service.to_owned(),
            method: method.to_owned(),
            kind,
            peer: peer.to_owned(),
            started: rfc3339(now),
            deadline: deadline.map_or_else(String::new, |d| rfc3339(now + d)),
            id: if id.is_empty() { ulid::Ulid::generate().to_string() } else { id },
            began: Instant::now(),
        };
        if self.start {
            entry.write(Code::Ok, "started call", None);
        }
        Some(entry)
    }
}

impl GrpcEntryEnd {
    /// Writes the end.
    pub(crate) fn end(self, status: &Status) {
        self.write(status.code(), "finished call", Some(status));
    }

    fn write(&self, code: Code, message: &str, end: Option<&Status>) {
        let shown = end.map(|_| code_name(code));
        let error = end
            .filter(|status| status.code() != Code::Ok)
            .map(|status| format!("rpc error: code = {} desc = {}", code_name(code), status.message()));
        let deadline = (!self.deadline.is_empty()).then_some(self.deadline.as_str());
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    service = "gRPC/server",
                    component = self.component,
                    protocol = "grpc",
                    grpc.component = "server",
                    grpc.service = self.service,
                    grpc.method = self.method,
                    grpc.method_type = self.kind.name(),
                    requestID = self.id,
                    peer.address = self.peer,
                    grpc.start_time = self.started,
                    grpc.request.deadline = deadline,
                    grpc.code = shown,
                    grpc.error = error,
                    grpc.time_ms = millis(self.began),
                    "{message}"
                )
            };
        }
        match code {
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => write!(error),
            _ => write!(debug),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(yaml: &str) -> String {
        Requests::parse(yaml).unwrap_err().to_string()
    }

    #[test]
    fn options_of_a_protocol_win_over_the_global_ones() {
        let none = Requests::parse("").unwrap();
        assert!(none.http.is_none() && none.grpc.is_none());
        let yaml = "options: {level: DEBUG, decision: {log_start: true, log_end: true}}\n\
                    http: {options: {level: ERROR, decision: {log_end: true}}, config: [{path: /a, port: 1}]}\n\
                    grpc: {config: [{service: thanos.Store, method: Series}]}";
        let both = Requests::parse(yaml).unwrap();
        let (http, grpc) = (both.http.unwrap(), both.grpc.unwrap());
        assert_eq!((http.start, http.debug, &*http.only), (false, false, &["/a:1".to_owned()][..]));
        assert_eq!((grpc.start, &*grpc.only), (true, &["/thanos.Store/Series".to_owned()][..]));
        let quiet = Requests::parse("http: {options: {level: INFO}}").unwrap();
        assert!(quiet.http.is_none() && quiet.grpc.is_none());
    }

    #[test]
    fn documents_that_do_not_fit_are_refused_in_upstreams_words() {
        assert!(refused("unknown: 1").contains("unknown field"));
        assert_eq!(refused("options: {decision: {log_end: true}}"), "level field is empty");
        assert_eq!(
            refused("options: {level: WARN, decision: {log_end: true}}"),
            "the format of level is invalid. Expected INFO/DEBUG/ERROR/WARNING, got this WARN"
        );
        assert_eq!(
            refused("http: {options: {level: INFO, decision: {log_start: true}}}"),
            "log start call is not supported"
        );
        assert_eq!(
            refused("grpc: {options: {level: INFO, decision: {log_start: true}}}"),
            "log decision combination is not supported"
        );
    }

    #[test]
    fn lists_choose_by_url_and_port_and_by_method() {
        let log = HttpLog { start: false, debug: true, only: vec!["/a?x=1:90".to_owned()].into() };
        let chosen = |uri: &str, host: &str| {
            let request = http::Request::get(uri).header("host", host).body(()).unwrap();
            log.begin(&request, "a", "").is_some()
        };
        assert!(chosen("/a?x=1", "h:90"));
        assert!(!chosen("/a", "h:90") && !chosen("/a?x=1", "h") && !chosen("/a?x=1", "h:91"));
        let log = GrpcLog { start: false, only: vec!["/s/m".to_owned()].into() };
        let chosen = |method| {
            log.begin("store", ("s", method, MethodKind::Unary), "", None, &HeaderMap::new()).is_some()
        };
        assert!(chosen("m") && !chosen("n"));
    }
}
