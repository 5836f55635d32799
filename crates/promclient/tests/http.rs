//! The client against a server of recorded answers: what is sent, what is refused, what is held.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::Matcher;
use model::budget::Budget;
use parking_lot::Mutex;
use promclient::remote_read::Answer;
use promclient::series::Scope;
use promclient::{Client, Error, HttpClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a path answers: status line, headers, body.
type Answers = HashMap<&'static str, (&'static str, &'static str, Vec<u8>)>;

/// Heads and bodies of requests, in order.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A server that keeps what it was sent.
struct Fake {
    url: String,
    seen: Seen,
}

impl Fake {
    fn last(&self) -> (String, Vec<u8>) {
        self.seen.lock().last().cloned().expect("a request")
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answers: &Answers,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let length: usize = length.map_or(0, |l| l.trim().parse().unwrap());
    while bytes.len() < end + 4 + length {
        stream.read_buf(&mut bytes).await?;
    }
    let path = head.split(' ').nth(1).unwrap_or("").split('?').next().unwrap_or("").to_owned();
    seen.lock().push((head, bytes[end + 4..].to_vec()));
    let Some((status, headers, body)) = answers.get(path.as_str()) else {
        // A path without an answer is never answered.
        std::future::pending::<()>().await;
        return Ok(());
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

async fn start(answers: Answers, tls: Option<tokio_rustls::TlsAcceptor>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/prefix/", listener.local_addr().unwrap());
    let seen = Seen::default();
    let (kept, answers) = (seen.clone(), Arc::new(answers));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answers, seen, tls) = (answers.clone(), kept.clone(), tls.clone());
            tokio::spawn(async move {
                // Clients that go away, or refuse the certificate, are part of the tests.
                let _ = match tls {
                    None => serve(stream, &answers, &seen).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &answers, &seen).await,
                        Err(e) => Err(e),
                    },
                };
            });
        }
    });
    Fake { url, seen }
}

fn client(fake: &Fake, yaml: &str, budget: &Arc<Budget>) -> Client {
    let config = HttpClientConfig::parse(yaml).unwrap();
    Client::new(&fake.url, config, "thanos-sidecar", budget.clone()).unwrap()
}

fn json(body: &str) -> (&'static str, &'static str, Vec<u8>) {
    ("200 OK", "Content-Type: application/json\r\n", body.as_bytes().to_vec())
}

const ALL: Scope<'static> = Scope { matchers: &[], start: 0, end: 1500, limit: 7 };

#[tokio::test]
async fn requests_carry_agent_credentials_and_parameters() {
    let labels = json(r#"{"status":"success","data":["a","b"]}"#);
    let fake = start(Answers::from([("/prefix/api/v1/labels", labels)]), None).await;
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let basic = format!("basic_auth: {{username: anna, password_file: {}}}", password.display());
    for (yaml, wanted) in [
        ("", None),
        (basic.as_str(), Some("Basic YW5uYTpzZWNyZXQ=")),
        ("bearer_token: abc", Some("Bearer abc")),
        ("authorization: {type: Custom, credentials: x}", Some("Custom x")),
    ] {
        let client = client(&fake, yaml, &Budget::unlimited());
        assert_eq!(client.label_names(ALL).await.unwrap(), ["a", "b"]);
        let (head, _) = fake.last();
        assert!(head.starts_with("GET /prefix/api/v1/labels?start=0&end=1.5&limit=7 HTTP/1.1\r\n"), "{head}");
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|l| l.split_once(": "));
            lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
        };
        assert_eq!(header("authorization").as_deref(), wanted);
        assert_eq!(header("user-agent").as_deref(), Some("thanos-sidecar"));
        assert_eq!(header("accept-encoding"), None);
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_name_what_they_can() {
    let fake = start(
        Answers::from([
            (
                "/prefix/api/v1/labels",
                json(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#),
            ),
            ("/prefix/api/v1/series", json("nonsense")),
            ("/prefix/api/v1/label/a/values", ("503 Service Unavailable", "", vec![b'x'; 100_000])),
            ("/prefix/api/v1/status/buildinfo", ("404 Not Found", "", Vec::new())),
        ]),
        None,
    )
    .await;
    let client = client(&fake, "", &Budget::unlimited());
    let refused = client.label_names(ALL).await.unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.http_code()), ("parse error", Some(200)));
    let malformed = client.series(ALL).await.unwrap_err().to_string();
    assert!(
        malformed.starts_with(&format!("unmarshal response of {}api/v1/series", fake.url)),
        "{malformed}"
    );
    let Error::Status { code, body } = client.label_values("a", ALL).await.unwrap_err() else {
        panic!("a status");
    };
    assert_eq!((code, body.len()), (503, 64 << 10));
    assert_eq!(client.version().await.unwrap(), "0");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let gone = Client::new(&url, HttpClientConfig::default(), "t", Budget::unlimited()).unwrap();
    let gone = gone.version().await.unwrap_err().to_string();
    assert!(
        gone.starts_with(&format!("perform GET request against {url}/api/v1/status/buildinfo: ")),
        "{gone}"
    );
    assert!(gone.contains("refused"), "{gone}");
}

#[tokio::test]
async fn answers_are_charged_while_they_are_held_and_refused_over_the_budget() {
    let body = format!(r#"{{"status":"success","data":["{}"]}}"#, "a".repeat(1 << 20));
    let fake = start(Answers::from([("/prefix/api/v1/labels", json(&body))]), None).await;
    let enough = Budget::new(2 << 20, "test");
    client(&fake, "", &enough).label_names(ALL).await.unwrap();
    assert_eq!(enough.used(), 0);
    let small = Budget::new(1 << 19, "test");
    let refused = client(&fake, "", &small).label_names(ALL).await.unwrap_err();
    assert!(matches!(refused, Error::OverBudget(_)), "{refused}");
    assert_eq!(small.used(), 0);
}

#[tokio::test]
async fn silence_and_crowds_are_bounded_where_the_configuration_says_so() {
    let fake = start(Answers::new(), None).await;
    let impatient =
        client(&fake, "transport_config: {response_header_timeout: 50000000}", &Budget::unlimited());
    let late = impatient.version().await.unwrap_err().to_string();
    assert!(late.ends_with("timeout awaiting response headers"), "{late}");

    let single = client(&fake, "transport_config: {max_conns_per_host: 1}", &Budget::unlimited());
    let before = fake.seen.lock().len();
    let waiting = tokio::spawn({
        let single = single.clone();
        async move { single.version().await }
    });
    while fake.seen.lock().len() == before {
        tokio::task::yield_now().await;
    }
    let second = tokio::time::timeout(Duration::from_millis(100), single.version()).await;
    assert!(second.is_err());
    assert_eq!(fake.seen.lock().len(), before + 1, "the second request waits for the first");
    waiting.abort();
}

#[tokio::test]
async fn remote_read_is_asked_for_in_snappy_and_told_by_its_type() {
    let streamed = "Content-Type: application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse\r\n";
    let matchers = [Matcher::equal("__name__", "up")];
    for (headers, body) in
        [(streamed, &b""[..]), ("Content-Type: text/html\r\n", b"<p>"), (streamed, b"\x05\0\0\0\0abcde")]
    {
        let answer = ("200 OK", headers, body.to_vec());
        let fake = start(Answers::from([("/prefix/api/v1/read", answer)]), None).await;
        let answer = client(&fake, "", &Budget::unlimited()).remote_read(&matchers, 1, 2).await;
        let (head, sent) = fake.last();
        for header in [
            "content-encoding: snappy",
            "content-type: application/x-stream-protobuf",
            "x-prometheus-remote-read-version: 0.1.0",
        ] {
            assert!(head.to_ascii_lowercase().contains(header), "{head}");
        }
        let plain = snap::raw::Decoder::new().decompress_vec(&sent).unwrap();
        assert_eq!(plain, promclient::remote_read::request_body(&matchers, 1, 2));
        match (headers == streamed, body.is_empty(), answer) {
            (true, true, Ok(Answer::Chunks(mut stream))) => assert!(stream.next().await.unwrap().is_none()),
            (true, false, Ok(Answer::Chunks(mut stream))) => {
                assert_eq!(
                    stream.next().await.unwrap_err().to_string(),
                    "next proto: frame 0: invalid checksum"
                );
            }
            (false, _, Err(e)) => {
                assert_eq!(e.to_string(), "remote read: not supported remote read content type: text/html");
            }
            (_, _, other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn certificates_are_verified_unless_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, cert.pem()).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let version = json(r#"{"status":"success","data":{"version":"3.14.0"}}"#);
    let answers = Answers::from([("/prefix/api/v1/status/buildinfo", version)]);
    let fake = start(answers, Some(Arc::new(tls).into())).await;
    let by_ca = format!("tls_config: {{ca_file: {}}}", ca.display());
    for (yaml, accepted) in
        [("tls_config: {insecure_skip_verify: true}", true), (by_ca.as_str(), true), ("", false)]
    {
        let version = client(&fake, yaml, &Budget::unlimited()).version().await;
        assert_eq!(version.as_deref().ok(), accepted.then_some("3.14.0"), "{yaml}: {version:?}");
    }
}
