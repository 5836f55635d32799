//! Peers that misbehave, through real connections: those that never answer, never read, or talk
//! nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use component::discovery::Target;
use component::flags::groups::{GrpcServer, ServerTls};
use component::grpc::{self, Connector as Dialler};
use component::probe::Probe;
use futures::{FutureExt as _, StreamExt as _, stream};
use model::Labels;
use storeapi::endpoints::{Connector, EndpointSet, MetricLabel, NodeMetrics, Peer, Timeouts};
use storeapi::series::{AggrChunk, Chunk, Series};
use storeapi::{Call, Item, RemoteStore, SeriesStream, Store, StoreService};
use storeapi_proto::info::info_server::{Info, InfoServer};
use storeapi_proto::info::{InfoRequest, InfoResponse, StoreInfo};
use storeapi_proto::thanos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Request, Response, Status};

const CHUNK: usize = 16 << 10;

/// A store without end, that counts what it has been asked for.
#[derive(Clone, Default)]
struct Endless {
    produced: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Endless {
    async fn series(&self, _: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        let (produced, guard) = (self.produced.clone(), SetOnDrop(self.ended.clone()));
        let items = stream::unfold((0usize, guard), move |(n, guard)| {
            produced.fetch_add(1, Ordering::SeqCst);
            async move {
                let data = bytes::Bytes::from(vec![n as u8; CHUNK]);
                let chunks = vec![AggrChunk::raw(0, 1, Chunk { encoding: 0, data, hash: 1 })];
                let number = format!("{n:012}");
                let labels = Labels::from_pairs([("__name__", "up"), ("n", number.as_str())]);
                Some((Ok(Item::Series(vec![Series { labels, chunks }])), (n + 1, guard)))
            }
        });
        Ok(items.boxed())
    }
    async fn label_names(
        &self,
        _: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        Ok(thanos::LabelNamesResponse::default())
    }
    async fn label_values(
        &self,
        _: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        Ok(thanos::LabelValuesResponse::default())
    }
}

#[async_trait]
impl Info for Endless {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let store = Some(StoreInfo { min_time: 0, max_time: i64::MAX, ..Default::default() });
        Ok(Response::new(InfoResponse { component_type: "store".to_owned(), store, ..Default::default() }))
    }
}

fn serve(store: &Endless) -> grpc::Running {
    let registry = component::metrics::Registry::new();
    let probe = Probe::new("store", &registry).unwrap();
    let flags = GrpcServer {
        address: "127.0.0.1:0".to_owned(),
        tls: ServerTls::default(),
        max_connection_age: Duration::ZERO,
        grace_period: Duration::ZERO,
    };
    grpc::Server::new("store", &flags, &registry, &probe)
        .add(StoreService::new(Arc::new(store.clone())), &[])
        .add(InfoServer::new(store.clone()), &[])
        .start()
        .unwrap()
}

fn remote(address: &str) -> RemoteStore<grpc::Channel> {
    RemoteStore::new(Dialler::plain().channel(address).unwrap())
}

/// Waits until `value` stands still, and returns it.
async fn settled(value: &AtomicUsize) -> usize {
    let mut last = value.load(Ordering::SeqCst);
    let mut still = 0;
    while still < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = value.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_producer_and_one_that_leaves_ends_it() {
    for batch in [0, 64] {
        let store = Endless::default();
        let server = serve(&store);
        let request = thanos::SeriesRequest { response_batch_size: batch, ..Default::default() };
        let client = remote(&server.address().to_string());
        let mut stream = client.series(request, Call::internal("")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        let before = settled(&store.produced).await;
        // The connection's windows and one message ahead on each side, and not more.
        assert!(before * CHUNK < 16 << 20, "{before} chunks for one reader that waits");
        let mut read = 0;
        while read < 2 * before {
            let Some(Ok(Item::Series(all))) = stream.next().await else { panic!("the stream goes on") };
            read += all.len();
        }
        let after = settled(&store.produced).await;
        assert!(after > before && (after - read) * CHUNK < 16 << 20, "{after} chunks, {read} read");
        assert!(!store.ended.load(Ordering::SeqCst));
        drop(stream);
        for _ in 0..500 {
            if store.ended.load(Ordering::SeqCst) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(store.ended.load(Ordering::SeqCst), "the producer outlives its reader");
    }
}

/// A server that accepts, reads, and never says a word.
async fn silent() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
            });
        }
    });
    address
}

struct Peers;

impl Connector for Peers {
    fn connect(&self, target: &Target) -> Result<Arc<dyn Peer>, String> {
        Ok(Arc::new(remote(&target.address)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_never_answers_costs_the_round_its_timeout_and_is_no_member() {
    let store = Endless::default();
    let server = serve(&store);
    let (good, silent) = (server.address().to_string(), silent().await);
    let registry = component::metrics::Registry::new();
    let metrics = NodeMetrics::new(&registry, &[MetricLabel::StoreType]).unwrap();
    let timeouts = Timeouts { info: Duration::from_millis(300), unhealthy: Duration::from_secs(300) };
    let set = EndpointSet::new(Box::new(Peers), timeouts, metrics);
    let strict = Target { strict: true, ..Target::plain(&silent) };
    for (targets, members) in
        [(vec![Target::plain(&good), Target::plain(&silent)], 1), (vec![Target::plain(&good), strict], 2)]
    {
        set.update(&targets, 1_000).await;
        assert_eq!(set.stores().len(), members);
    }
    let status = set.statuses().into_iter().find(|s| s.name == silent).unwrap();
    assert_eq!(
        status.last_error.as_deref(),
        Some("rpc error: code = DeadlineExceeded desc = context deadline exceeded")
    );
    // A call without a limit waits, and can be given up.
    let endless = remote(&silent).series(thanos::SeriesRequest::default(), Call::internal("")).now_or_never();
    assert!(endless.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_its_connection_or_call_and_nothing_else() {
    let store = Endless::default();
    let server = serve(&store);
    let address = server.address().to_string();
    for nonsense in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\0\xff\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The server may cut it off at once.
        let _ = stream.read_to_end(&mut answer).await;
    }
    // A request whose lengths lie, over a channel that works.
    let mut grpc = tonic::client::Grpc::new(Dialler::plain().channel(&address).unwrap());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/thanos.Store/Series");
    let lying = bytes::Bytes::from_static(b"\x1a\xff\xff\xff\xff\x0f");
    let answer = grpc.server_streaming(Request::new(lying), path, Verbatim).await;
    assert_eq!(answer.map(drop).unwrap_err().code(), Code::Internal);
    assert_eq!(remote(&address).info().await.unwrap().component_type, "store");
}

/// Sends bytes as they are.
struct Verbatim;

impl tonic::codec::Codec for Verbatim {
    type Encode = bytes::Bytes;
    type Decode = ();
    type Encoder = Verbatim;
    type Decoder = Verbatim;
    fn encoder(&mut self) -> Verbatim {
        Verbatim
    }
    fn decoder(&mut self) -> Verbatim {
        Verbatim
    }
}

impl tonic::codec::Encoder for Verbatim {
    type Item = bytes::Bytes;
    type Error = Status;
    fn encode(&mut self, item: bytes::Bytes, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(out, item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Verbatim {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, from: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes::Buf::advance(from, bytes::Buf::remaining(from));
        Ok(Some(()))
    }
}
