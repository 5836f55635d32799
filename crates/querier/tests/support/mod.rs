//! A store and a querier for tests of the whole.
//!
//! Holds a gRPC server over a few series, the querier's process, and as much of an HTTP client as is
//! needed. It checks nothing. Invariant: every process and server ends with its value.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use component::flags::groups::{GrpcServer, ServerTls};
use component::probe::Probe;
use component::{grpc, metrics};
use futures::StreamExt;
use model::Labels;
use storeapi::{AggrChunk, Call, Chunk, Item, Series, SeriesStream, StoreService};
use storeapi_proto::info::info_server::{Info, InfoServer};
use storeapi_proto::info::{InfoRequest, InfoResponse, StoreInfo};
use storeapi_proto::thanos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Request, Response, Status};
use tsdb_block::chunkenc::xor;

/// `up{job="web"}` is 1 each half minute from 0 to 600 s.
fn up() -> Vec<Series> {
    let mut encoder = xor::Encoder::new();
    for i in 0..=20 {
        encoder.push(i * 30_000, 1.0).unwrap();
    }
    let chunk = Chunk { encoding: 0, data: encoder.finish().into(), hash: 0 };
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "web")]);
    vec![Series { labels, chunks: vec![AggrChunk::raw(0, 600_000, chunk)] }]
}

struct Up;

#[async_trait]
impl storeapi::Store for Up {
    async fn series(&self, _: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        Ok(futures::stream::iter([Ok(Item::Series(up()))]).boxed())
    }
    async fn label_names(
        &self,
        _: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        Ok(thanos::LabelNamesResponse { names: vec!["job".to_owned()], ..Default::default() })
    }
    async fn label_values(
        &self,
        _: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        Ok(thanos::LabelValuesResponse { values: vec!["web".to_owned()], ..Default::default() })
    }
}

#[tonic::async_trait]
impl Info for Up {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let store = StoreInfo {
            min_time: 0,
            max_time: i64::MAX,
            supports_sharding: true,
            supports_without_replica_labels: true,
            ..Default::default()
        };
        let store = Some(store);
        Ok(Response::new(InfoResponse { component_type: "store".to_owned(), store, ..Default::default() }))
    }
}

/// A store on a port of its own.
pub struct Store {
    /// `host:port`.
    pub address: String,
    _running: grpc::Running,
}

impl Store {
    pub async fn start() -> Self {
        let registry = metrics::Registry::new();
        let probe = Probe::new("store", &registry).unwrap();
        probe.ready();
        let flags = GrpcServer {
            address: "127.0.0.1:0".to_owned(),
            tls: ServerTls { min_version: "1.3".to_owned(), ..ServerTls::default() },
            max_connection_age: Duration::ZERO,
            grace_period: Duration::ZERO,
        };
        let server = grpc::Server::new("store", &flags, &registry, &probe)
            .add(StoreService::new(Arc::new(Up)), &[])
            .add(InfoServer::new(Up), &[]);
        let running = server.start().unwrap();
        Store { address: running.address().to_string(), _running: running }
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    head: String,
    pub bytes: Vec<u8>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|l| l.split_once(':'));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// The process.
pub struct Querier {
    child: Child,
    http: u16,
    pub grpc: u16,
}

impl Drop for Querier {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Querier {
    /// Starts it.
    pub fn launch(args: &[&str]) -> Self {
        let (http, grpc) = (free_port(), free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_querier"))
            .args(["query", &format!("--http-address=127.0.0.1:{http}")])
            .arg(format!("--grpc-address=127.0.0.1:{grpc}"))
            .args(args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Querier { child, http, grpc }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(args: &[&str]) -> Self {
        let mut querier = Self::launch(args);
        for _ in 0..600 {
            assert!(querier.child.try_wait().unwrap().is_none(), "the querier ended");
            if querier.probe("ready").await == Some(200) {
                return querier;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not ready within 30 s");
    }

    /// The status of a probe, once HTTP answers.
    pub async fn probe(&self, name: &str) -> Option<u16> {
        Some(self.request(&format!("GET /-/{name}"), "", "").await?.status)
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{status}");
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), "", "").await.expect("an answer")
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.request(&format!("POST {path}"), headers, form).await.expect("an answer")
    }

    /// The answer of a client that takes gzip.
    pub async fn zipped(&self, path: &str) -> serde_json::Value {
        let answer = self.request(&format!("GET {path}"), "Accept-Encoding: gzip\r\n", "").await.unwrap();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        serde_json::from_reader(flate2::read::GzDecoder::new(&answer.bytes[..])).unwrap()
    }

    async fn request(&self, line: &str, headers: &str, body: &str) -> Option<Answer> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.http)).await.ok()?;
        let length = body.len();
        // HTTP/1.0: the body ends with the connection, in one piece.
        let request = format!("{line} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let bytes = bytes.split_off(end + 4);
        Some(Answer { status, head, body: String::from_utf8_lossy(&bytes).into_owned(), bytes })
    }
}
