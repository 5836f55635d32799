//! Lines as golden logs have them.

use std::sync::Arc;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(json: bool, name: &str, what: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let layer = EntryLayer { sink: Box::new(Lines::new(buffer.clone(), json)), name: name.to_owned() };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), what);
    let bytes = buffer.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn logfmt_keeps_the_order_and_quotes_what_needs_it() {
    let text = logged(false, "", || {
        let span = tracing::info_span!("server", service = "http/server");
        let _in = span.enter();
        tracing::warn!(component = "store", address = "0.0.0.0:10902", err = %"a \"b\"\nc", n = 3, "listening for requests");
    });
    let (ts, rest) = text.split_once(" caller=tests.rs:").unwrap();
    assert!(ts.starts_with("ts=20") && ts.ends_with('Z'), "{ts}");
    let (_, rest) = rest.split_once(' ').unwrap();
    assert_eq!(
        rest,
        "level=warn service=http/server component=store msg=\"listening for requests\" \
         address=0.0.0.0:10902 err=\"a \\\"b\\\"\\nc\" n=3\n"
    );
}

#[test]
fn json_sorts_keys_and_keeps_types() {
    let text = logged(true, "probe", || tracing::debug!(zeta = 1.5, flag = true, n = 7u64, "hello <x>"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["name"], "probe");
    assert_eq!((&value["zeta"], &value["flag"], &value["n"]), (&1.5.into(), &true.into(), &7.into()));
    let keys: Vec<usize> = ["caller", "flag", "level", "msg", "n\"", "name", "ts", "zeta"]
        .iter()
        .map(|k| text.find(&format!("\"{k}")).unwrap())
        .collect();
    assert!(keys.is_sorted(), "{text}");
    assert!(text.contains("\"msg\":\"hello <x>\""), "{text}");
}

#[test]
fn timestamps_drop_trailing_zeros() {
    let at = OffsetDateTime::from_unix_timestamp_nanos(1_792_627_200_120_000_000).unwrap();
    assert_eq!(timestamp(at), "2026-10-22T00:00:00.12Z");
    let at = OffsetDateTime::from_unix_timestamp(1_792_627_200).unwrap();
    assert_eq!(timestamp(at), "2026-10-22T00:00:00Z");
}

#[test]
fn journal_entries_carry_message_priority_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    assert!(journald::Journal::open_at(path.to_str().unwrap()).is_none());
    let server = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let journal = journald::Journal::open_at(path.to_str().unwrap()).unwrap();
    let layer = EntryLayer { sink: Box::new(journal), name: String::new() };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::error!(err = %"two\nlines", "went wrong");
    });
    let mut bytes = [0u8; 4096];
    let n = server.recv(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..n]);
    assert!(text.starts_with("MESSAGE=went wrong\nPRIORITY=3\nTHANOS_TS="), "{text}");
    assert!(
        bytes[..n].windows(29).any(|w| w == b"THANOS_ERR\n\x09\0\0\0\0\0\0\0two\nlines\n".get(..29).unwrap())
    );
}

#[test]
fn requests_are_written_with_upstreams_keys() {
    use crate::grpc::MethodKind;
    let yaml = "options: {level: DEBUG, decision: {log_start: true, log_end: true}}";
    let document = crate::flags::PathOrContent::inline("request.logging-config", yaml);
    let requests = requests::Requests::from_flag(&document).unwrap();
    let text = logged(false, "", || {
        let request = http::Request::get("/api/v1/query?query=up")
            .header("x-request-id", "one")
            .header("user-agent", "curl")
            .body(())
            .unwrap();
        requests.http.as_ref().unwrap().begin(&request, "query", "10.0.0.1:5").unwrap().end(503);
        let headers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("request-id"),
            http::HeaderValue::from_static("two"),
        )]);
        let path = ("thanos.Store", "Series", MethodKind::ServerStream);
        let call = requests.grpc.as_ref().unwrap().begin("store", path, "10.0.0.1:6", None, &headers);
        call.unwrap().end(&tonic::Status::internal("bad block"));
    });
    let lines: Vec<&str> = text.lines().map(|l| &l[l.find("level=").unwrap()..]).collect();
    // Times differ from run to run.
    let fixed = |line: &str| {
        let words = line.split(' ').filter(|w| !w.contains("time_ms=") && !w.contains("start_time="));
        words.collect::<Vec<_>>().join(" ")
    };
    let grpc = "service=gRPC/server component=store protocol=grpc";
    let grpc_own = "grpc.component=server grpc.service=thanos.Store grpc.method=Series \
                    grpc.method_type=server_stream requestID=two peer.address=10.0.0.1:6";
    let http_own = "http.method=\"GET /api/v1/query?query=up\" http.request_id=one http.user_agent=curl";
    assert_eq!(
        lines.iter().map(|l| fixed(l)).collect::<Vec<_>>(),
        [
            format!(
                "level=debug protocol=http msg=\"started call\" http.component=server {http_own} thanos.method_name=query"
            ),
            format!(
                "level=error protocol=http msg=\"finished call\" http.component=server {http_own} \
                 http.status_code=503 http.remote_addr=10.0.0.1:5 thanos.method_name=query"
            ),
            format!("level=debug {grpc} msg=\"started call\" {grpc_own}"),
            format!(
                "level=error {grpc} msg=\"finished call\" {grpc_own} grpc.code=Internal \
                 grpc.error=\"rpc error: code = Internal desc = bad block\""
            ),
        ]
    );
}
