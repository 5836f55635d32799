//! Compression and TLS between us and a real Thanos, in both directions.
//!
//! Needs a `thanos` (`$ATHANOR_THANOS` or on the PATH), and for the second direction the golden
//! buckets (`$ATHANOR_GOLDEN`); says what was not run where they are missing. What passes between the
//! two goes through a proxy that looks for Snappy's stream identifier.

#![allow(clippy::print_stderr, reason = "for whoever runs the tests")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use component::flags::groups::{GrpcClient, GrpcServer, ServerTls};
use component::grpc;
use component::probe::Probe;
use futures::StreamExt as _;
use model::Labels;
use storeapi::endpoints::Peer as _;
use storeapi::{
    Aggr, AggrChunk, Call, Chunk, Item, Part, RemoteStore, Series, SeriesStream, Store, StoreService,
};
use storeapi_proto::info::info_server::{Info, InfoServer};
use storeapi_proto::info::{InfoRequest, InfoResponse, StoreInfo};
use storeapi_proto::thanos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Request, Response, Status};

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("ATHANOR_THANOS").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("thanos")).find(|p| p.is_file())
    });
    if found.is_none() {
        eprintln!("not run: no thanos in $ATHANOR_THANOS or on the PATH");
    }
    found
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &PathBuf, arguments: &[String]) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Passes bytes on and counts Snappy's identifier: towards the server, and back.
struct Proxy {
    address: String,
    seen: [Arc<AtomicUsize>; 2],
}

impl Proxy {
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: [Arc<AtomicUsize>; 2] = Default::default();
        let counts = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, counts[0].clone()));
                tokio::spawn(pass(from_server, to_client, counts[1].clone()));
            }
        });
        Proxy { address, seen }
    }

    fn seen(&self) -> [usize; 2] {
        self.seen.each_ref().map(|n| n.load(Ordering::SeqCst))
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        let found = buffer[..n].windows(6).filter(|w| w == b"sNaPpY").count();
        seen.fetch_add(found, Ordering::SeqCst);
        if to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
}

/// Eight hundred series of one sample each.
struct Fixed;

const SERIES: usize = 800;
const T: i64 = 1_792_627_200_000;

#[async_trait]
impl Store for Fixed {
    async fn series(&self, _: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        let series = (0..SERIES).map(|n| {
            let mut encoder = tsdb_block::chunkenc::xor::Encoder::new();
            encoder.push(T, n as f64).unwrap();
            let data = bytes::Bytes::from(encoder.finish());
            let chunk = Chunk { encoding: 0, hash: xxhash_rust::xxh64::xxh64(&data, 0), data };
            let part = Part { aggr: Aggr::Raw, chunk };
            let chunk = AggrChunk { min_time: T, max_time: T, parts: [part].into_iter().collect() };
            let number = format!("{n:04}");
            let labels = Labels::from_pairs([("__name__", "up"), ("cluster", "x"), ("n", number.as_str())]);
            Ok(Item::Series(vec![Series { labels, chunks: vec![chunk] }]))
        });
        Ok(futures::stream::iter(series.collect::<Vec<_>>()).boxed())
    }
    async fn label_names(
        &self,
        _: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        let names = ["__name__", "cluster", "n"].map(str::to_owned).into();
        Ok(thanos::LabelNamesResponse { names, ..Default::default() })
    }
    async fn label_values(
        &self,
        _: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        Ok(thanos::LabelValuesResponse { values: vec!["x".to_owned()], ..Default::default() })
    }
}

struct FixedInfo;

#[async_trait]
impl Info for FixedInfo {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let cluster = storeapi_proto::convert::to_label_set(&Labels::from_pairs([("cluster", "x")]));
        Ok(Response::new(InfoResponse {
            label_sets: vec![cluster],
            component_type: "store".to_owned(),
            store: Some(StoreInfo { min_time: 0, max_time: i64::MAX, ..Default::default() }),
            ..Default::default()
        }))
    }
}

fn our_server(tls: ServerTls) -> grpc::Running {
    let registry = component::metrics::Registry::new();
    let probe = Probe::new("store", &registry).unwrap();
    let flags = GrpcServer {
        address: "127.0.0.1:0".to_owned(),
        tls,
        max_connection_age: Duration::ZERO,
        grace_period: Duration::ZERO,
    };
    grpc::Server::new("store", &flags, &registry, &probe)
        .add(StoreService::new(Arc::new(Fixed)), &[])
        .add(InfoServer::new(FixedInfo), &[])
        .start()
        .unwrap()
}

/// The body of a GET, or `None` while nobody answers.
async fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_querier_asks_our_store_in_snappy_and_gets_snappy_back() {
    let Some(thanos) = program() else { return };
    let server = our_server(ServerTls::default());
    let proxy = Proxy::before(server.address().to_string()).await;
    let http = free_address();
    let _querier = start(
        &thanos,
        &[
            "query".to_owned(),
            format!("--http-address={http}"),
            format!("--grpc-address={}", free_address()),
            format!("--endpoint={}", proxy.address),
            "--grpc-compression=snappy".to_owned(),
        ],
    );
    sum_is_answered(&http).await;
    let [asked, answered] = proxy.seen();
    assert!(asked > 0 && answered > 0, "{asked} {answered}");
}

/// Waits until the querier at `http` knows the sum of all our series.
async fn sum_is_answered(http: &str) {
    let path = format!("/api/v1/query?query=sum(up)&time={}", T / 1000);
    let wanted = format!("\"value\":[{},\"{}\"]", T / 1000, (0..SERIES).sum::<usize>());
    let mut last = None;
    for _ in 0..100 {
        last = get(http, &path).await;
        if last.as_ref().is_some_and(|body| body.contains(&wanted)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no answer: {last:?}");
}

/// An authority's certificate, and certificate and key signed by it, as files.
struct Pki {
    ca: String,
    cert: String,
    key: String,
    _folder: tempfile::TempDir,
}

/// For the name `store.example`, good on either side.
fn pki() -> Pki {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["store.example".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    let write = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    Pki {
        ca: write("ca.pem", authority.pem()),
        cert: write("own.pem", cert.pem()),
        key: write("own.key", key.serialize_pem()),
        _folder: folder,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_querier_asks_our_store_over_tls_with_a_certificate_of_its_own() {
    let Some(thanos) = program() else { return };
    let pki = pki();
    let server = our_server(ServerTls {
        cert: pki.cert.clone(),
        key: pki.key.clone(),
        client_ca: pki.ca.clone(),
        min_version: "1.3".to_owned(),
        ..ServerTls::default()
    });
    let http = free_address();
    let _querier = start(
        &thanos,
        &[
            "query".to_owned(),
            format!("--http-address={http}"),
            format!("--grpc-address={}", free_address()),
            format!("--endpoint={}", server.address()),
            "--grpc-client-tls-secure".to_owned(),
            format!("--grpc-client-tls-ca={}", pki.ca),
            format!("--grpc-client-tls-cert={}", pki.cert),
            format!("--grpc-client-tls-key={}", pki.key),
            "--grpc-client-server-name=store.example".to_owned(),
        ],
    );
    sum_is_answered(&http).await;
}

async fn collected(store: &impl Store) -> (Vec<String>, Vec<Series>) {
    let request = thanos::LabelNamesRequest { start: 0, end: i64::MAX, ..Default::default() };
    let names = store.label_names(request, Call::internal("")).await.unwrap().names;
    let request = thanos::SeriesRequest {
        min_time: T - 7_200_000,
        max_time: T,
        matchers: vec![thanos::LabelMatcher {
            r#type: thanos::label_matcher::Type::Nre.into(),
            name: "__name__".to_owned(),
            value: "nobody".to_owned(),
        }],
        response_batch_size: 64,
        ..Default::default()
    };
    let mut stream = store.series(request, Call::internal("")).await.unwrap();
    let mut series = Vec::new();
    while let Some(item) = stream.next().await {
        match item.unwrap() {
            Item::Series(more) => series.extend(more),
            Item::Warning(text) => panic!("{text}"),
            Item::Hints(_) => {}
        }
    }
    (names, series)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_asks_a_real_store_in_snappy_and_over_tls_and_gets_the_same_as_without() {
    let Some(thanos) = program() else { return };
    let golden = std::env::var_os("ATHANOR_GOLDEN")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden")));
    let bucket = golden.join("buckets/compacted-plain");
    if !bucket.is_dir() {
        eprintln!("not run: no golden buckets in {}", golden.display());
        return;
    }
    let (data, pki) = (tempfile::tempdir().unwrap(), pki());
    let address = free_address();
    // A second store, behind TLS.
    let private = free_address();
    let _private = start(
        &thanos,
        &[
            "store".to_owned(),
            format!("--http-address={}", free_address()),
            format!("--grpc-address={private}"),
            format!("--data-dir={}", data.path().join("private").display()),
            format!("--objstore.config=type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.display()),
            format!("--grpc-server-tls-cert={}", pki.cert),
            format!("--grpc-server-tls-key={}", pki.key),
            format!("--grpc-server-tls-client-ca={}", pki.ca),
        ],
    );
    let _store = start(
        &thanos,
        &[
            "store".to_owned(),
            format!("--http-address={}", free_address()),
            format!("--grpc-address={address}"),
            format!("--data-dir={}", data.path().display()),
            format!("--objstore.config=type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.display()),
        ],
    );
    let proxy = Proxy::before(address).await;
    let remote = |snappy| {
        let settings = GrpcClient { snappy, ..GrpcClient::default() };
        let channel = grpc::Connector::new(&settings, None).unwrap().channel(&proxy.address).unwrap();
        RemoteStore::new(channel)
    };
    let (plain, snappy) = (remote(false), remote(true));
    let mut info = plain.info().await;
    for _ in 0..100 {
        if info.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        info = plain.info().await;
    }
    assert_eq!(info.unwrap().component_type, "store");
    let wanted = collected(&plain).await;
    assert_eq!(proxy.seen(), [0, 0]);
    assert_eq!(snappy.info().await.unwrap().component_type, "store");
    let got = collected(&snappy).await;
    let [asked, answered] = proxy.seen();
    assert!(asked > 0 && answered > 0, "{asked} {answered}");
    assert!(!wanted.1.is_empty() && got == wanted);

    let settings = GrpcClient {
        secure: true,
        ca: pki.ca.clone(),
        cert: pki.cert.clone(),
        key: pki.key.clone(),
        server_name: "store.example".to_owned(),
        min_version: "1.3".to_owned(),
        snappy: true,
        ..GrpcClient::default()
    };
    let channel = grpc::Connector::new(&settings, None).unwrap().channel(&private).unwrap();
    let private = RemoteStore::new(channel);
    for _ in 0..100 {
        if private.info().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(collected(&private).await == wanted);
}
