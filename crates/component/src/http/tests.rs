//! Requests through real connections.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::Registry;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::flags::groups::{GrpcClient, Http};
use crate::metrics::text;
use crate::probe::Probe;
use crate::testing::pki::Authority;

/// An answer, head and body apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|l| l.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends `request` (method and path, then header lines) and reads to the end of the connection.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    let (first, headers) = request.split_once('\n').unwrap_or((request, ""));
    let (headers, body) = headers.split_once("\n\n").unwrap_or((headers, ""));
    let mut text = format!("{first} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for line in headers.lines() {
        text.push_str(&format!("{line}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A TLS connection may end without its goodbye.
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = answer[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Answer { status, head, body }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return out;
        }
        out.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
}

struct Peer {
    server: Running,
    registry: Registry,
    probe: Probe,
}

impl Peer {
    fn start(config: &str) -> Self {
        let registry = Registry::new();
        let probe = Probe::new("query", &registry).unwrap();
        let tenant = Tenant {
            header: http::HeaderName::from_static("thanos-tenant"),
            default: "default-tenant".to_owned(),
        };
        let both = [Method::GET, Method::POST];
        let router = Router::new()
            .with_cors(true)
            .with_metrics(Metrics::new(&registry, Some(tenant)).unwrap())
            .on(&both, "/api/v1/label/{name}/values", "label_values", async |request: Request| {
                let name = param(&request, "name").unwrap();
                match form(request).await {
                    Ok(pairs) => Response::new(body::full(format!("{name} {pairs:?}"))),
                    Err(text) => plain_error(StatusCode::BAD_REQUEST, &text),
                }
            })
            .on(&[Method::GET], "/slow", "slow", async |_| {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Response::new(body::full("done"))
            });
        let flags = Http {
            address: "127.0.0.1:0".to_owned(),
            grace_period: Duration::from_secs(20),
            config: config.to_owned(),
        };
        let server = Server::new("query", &flags, router, &registry, &probe).unwrap().start().unwrap();
        Peer { server, registry, probe }
    }

    async fn ask(&self, request: &str) -> Answer {
        ask(TcpStream::connect(self.server.address()).await.unwrap(), request).await
    }
}

#[tokio::test]
async fn probes_answer_as_their_latches_stand() {
    let peer = Peer::start("");
    let healthy = peer.ask("GET /-/healthy").await;
    assert_eq!((healthy.status, healthy.text()), (200, "OK"));
    let ready = peer.ask("GET /-/ready").await;
    assert_eq!((ready.status, ready.text()), (503, "NOT OK\n"));
    peer.probe.ready();
    assert_eq!(peer.ask("HEAD /-/ready").await.status, 200);
    peer.probe.not_healthy("test");
    assert_eq!(peer.ask("GET /-/healthy").await.status, 503);
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_in_gos_words() {
    let peer = Peer::start("");
    let unknown = peer.ask("GET /nowhere").await;
    assert_eq!((unknown.status, unknown.text()), (404, "404 page not found\n"));
    assert_eq!(unknown.header("x-content-type-options"), Some("nosniff"));
    let wrong = peer.ask("DELETE /api/v1/label/a/values").await;
    assert_eq!((wrong.status, wrong.text()), (405, "Method Not Allowed\n"));
    assert_eq!(wrong.header("allow"), Some("GET, OPTIONS, POST"));
    let options = peer.ask("OPTIONS /api/v1/label/a/values").await;
    assert_eq!((options.status, options.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(peer.ask("GET /-/ready").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn forms_come_from_body_and_query_in_gos_order() {
    let peer = Peer::start("");
    let form_type = "Content-Type: application/x-www-form-urlencoded";
    let answer =
        peer.ask(&format!("POST /api/v1/label/a%2Fb/values?x=3&y=\n{form_type}\n\nx=1+2&x=%41")).await;
    assert_eq!(answer.text(), "a/b [(\"x\", \"1 2\"), (\"x\", \"A\"), (\"x\", \"3\"), (\"y\", \"\")]");
    let answer = peer.ask("GET /api/v1/label/a/values?x=%zz").await;
    assert_eq!((answer.status, answer.text()), (400, "invalid URL escape \"%zz\"\n"));
    let answer = peer.ask("GET /api/v1/label/a/values?x=1;y=2").await;
    assert_eq!((answer.status, answer.text()), (400, "invalid semicolon separator in query\n"));
}

#[tokio::test]
async fn metrics_come_in_the_form_and_coding_that_is_asked_for() {
    let peer = Peer::start("");
    let plain = peer.ask("GET /metrics").await;
    let classic = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!(plain.header("content-type"), Some(classic));
    assert!(plain.text().contains("\nthanos_status{check=\"healthy\",component=\"query\"} 1\n"));
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let answer = peer.ask(&format!("GET /metrics\n{prometheus}")).await;
    assert_eq!(answer.header("content-type"), Some(open));
    assert!(answer.text().contains("\nthanos_status{check=\"healthy\",component=\"query\"} 1.0\n"));
    assert!(answer.text().ends_with("# EOF\n"));
    let refused = peer.ask("GET /metrics\nAccept: application/openmetrics-text;q=0,text/plain").await;
    assert_eq!(refused.header("content-type"), Some(classic));
    let zipped = peer.ask("GET /metrics\nAccept-Encoding: br, gzip").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("# HELP "), "{text}");
}

#[tokio::test]
async fn named_endpoints_are_counted_with_their_tenant_and_others_are_not() {
    let peer = Peer::start("");
    peer.ask("GET /api/v1/label/a/values?x=%zz\nTHANOS-TENANT: blue").await;
    peer.ask("HEAD /slow").await;
    peer.ask("GET /-/ready").await;
    let text = text::encode(&peer.registry.gather());
    let counted: Vec<&str> = text.lines().filter(|l| l.starts_with("http_requests_total{")).collect();
    assert_eq!(
        counted,
        [
            "http_requests_total{code=\"200\",handler=\"slow\",method=\"head\",tenant=\"default-tenant\"} 1",
            "http_requests_total{code=\"400\",handler=\"label_values\",method=\"get\",tenant=\"blue\"} 1",
        ]
    );
    let labels = "code=\"400\",handler=\"label_values\",method=\"get\",tenant=\"blue\"";
    for line in [
        format!("http_request_duration_seconds_bucket{{{labels},le=\"720\"}} 1"),
        format!("http_response_size_bytes_bucket{{{labels},le=\"64\"}} 1"),
        format!("http_response_size_bytes_sum{{{labels}}} 25"),
        "http_inflight_requests{handler=\"label_values\",method=\"GET\",tenant=\"blue\"} 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn stopping_lets_a_running_request_end() {
    let peer = Peer::start("");
    let stream = TcpStream::connect(peer.server.address()).await.unwrap();
    let asking = tokio::spawn(ask(stream, "GET /slow"));
    tokio::time::sleep(Duration::from_millis(30)).await;
    let address = peer.server.address();
    peer.server.stop().await;
    assert_eq!(asking.await.unwrap().text(), "done");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn users_and_headers_of_the_web_configuration_hold_for_every_path_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let hash = bcrypt::hash("secret", 4).unwrap();
    let yaml = format!(
        "basic_auth_users: {{anna: {hash}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
    );
    std::fs::write(&path, yaml).unwrap();
    let peer = Peer::start(&path.display().to_string());
    let refused = peer.ask("GET /metrics").await;
    assert_eq!((refused.status, refused.text()), (401, "Unauthorized\n"));
    assert_eq!(refused.header("www-authenticate"), Some("Basic"));
    // anna:secret, anna:wrong
    let admitted = peer.ask("GET /-/healthy\nAuthorization: Basic YW5uYTpzZWNyZXQ=").await;
    assert_eq!((admitted.status, admitted.header("x-frame-options")), (200, Some("deny")));
    assert_eq!(peer.ask("GET /-/healthy\nAuthorization: Basic YW5uYTp3cm9uZw==").await.status, 401);

    std::fs::write(&path, "http_server_config: {headers: {}}").unwrap();
    assert_eq!(peer.ask("GET /-/healthy").await.status, 200);
    std::fs::write(&path, "nonsense: [").unwrap();
    let broken = peer.ask("GET /-/healthy").await;
    assert_eq!((broken.status, broken.text()), (500, "Internal Server Error\n"));
    std::fs::write(&path, "rate_limit: {interval: 1h, burst: 1}").unwrap();
    let limited = Peer::start(&path.display().to_string());
    assert_eq!(limited.ask("GET /-/healthy").await.status, 200);
    let second = limited.ask("GET /-/healthy").await;
    assert_eq!((second.status, second.text()), (429, "Too Many Requests\n"));
}

/// Asks over TLS as `settings` say, for the server name `x`; `None` when there is no connection.
async fn ask_tls(peer: &Peer, settings: &GrpcClient, request: &str) -> Option<Answer> {
    let client = crate::tls::client(settings).unwrap().unwrap();
    let mut config = (*client.config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(peer.server.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from("x").unwrap(), stream).await.ok()?;
    // With TLS 1.3 a refused client certificate shows at the first read only.
    if settings.cert.is_empty() {
        let mut probe = [0; 1];
        let waited = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut probe)).await;
        if matches!(waited, Ok(Err(_) | Ok(0))) {
            return None;
        }
    }
    Some(ask(stream, request).await)
}

#[tokio::test]
async fn the_web_configuration_turns_tls_on_with_client_certificates_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    authority.sign("server", &["x"]);
    let path = dir.path().join("web.yml");
    let write = |more: &str| {
        // Paths are relative to the file.
        let yaml = format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{more}");
        std::fs::write(&path, yaml).unwrap();
    };
    write("");
    let peer = Peer::start(&path.display().to_string());
    let plain = GrpcClient { secure: true, ca: authority.ca.clone(), ..GrpcClient::default() };
    let answer = ask_tls(&peer, &plain, "GET /-/healthy").await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "OK"));

    write(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [friend]\n",
    );
    assert!(ask_tls(&peer, &plain, "GET /-/healthy").await.is_none());
    let (cert, key) = authority.sign("friend", &["friend", "10.0.0.1"]);
    let friend = GrpcClient { cert, key, ..plain.clone() };
    assert_eq!(ask_tls(&peer, &friend, "GET /-/healthy").await.unwrap().status, 200);

    write("  client_auth_type: RequestClientCert\n  max_version: TLS12\n");
    assert_eq!(ask_tls(&peer, &plain, "GET /-/healthy").await.unwrap().status, 200);
}
