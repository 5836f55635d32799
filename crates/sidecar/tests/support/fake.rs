//! A Prometheus of recorded answers.
//!
//! Holds an HTTP server whose remote read is what the test says, byte by byte, and whose label names are
//! given. It evaluates nothing. Invariant: `sent` counts exactly the pieces the connection has taken.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use storeapi_proto::prometheus::{Chunk, ChunkedReadResponse, ChunkedSeries, Label};

pub(crate) const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
pub(crate) const SAMPLED: &str = "application/x-protobuf";

/// What remote read answers: status, content type, and pieces made on demand.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) pieces: usize,
    pub(crate) piece: Arc<dyn Fn(usize) -> Bytes + Send + Sync>,
    /// Whether the body is announced longer than it is, so that the connection ends early.
    pub(crate) cut: bool,
}

impl Read {
    pub(crate) fn streamed(pieces: Vec<Bytes>) -> Self {
        let count = pieces.len();
        Read {
            status: 200,
            kind: STREAMED,
            pieces: count,
            piece: Arc::new(move |i| pieces[i].clone()),
            cut: false,
        }
    }
}

pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) sent: Arc<AtomicUsize>,
}

/// Starts the server on a free port. It ends with the runtime.
pub(crate) async fn start(read: Read, names: &'static [&'static str]) -> Fake {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (read, counter) = (read.clone(), counter.clone());
            tokio::spawn(async move {
                let service = service_fn(move |r| {
                    let (read, counter) = (read.clone(), counter.clone());
                    async move { Ok::<_, Infallible>(answer(&r, &read, names, counter)) }
                });
                // A client that goes away is part of the tests.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    Fake { url, sent }
}

fn answer(
    request: &Request<Incoming>,
    read: &Read,
    names: &[&str],
    sent: Arc<AtomicUsize>,
) -> Response<BoxBody<Bytes, std::io::Error>> {
    let whole = |text: String| Full::new(Bytes::from(text)).map_err(|e| match e {}).boxed();
    match request.uri().path() {
        "/api/v1/read" => {
            let (piece, cut) = (read.piece.clone(), read.cut);
            let pieces = (0..read.pieces + usize::from(cut)).map({
                let last = read.pieces;
                move |i| {
                    if i == last {
                        return Err(std::io::Error::other("the server dies here"));
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    Ok(Frame::data(piece(i)))
                }
            });
            let body = BodyExt::boxed(StreamBody::new(futures::stream::iter(pieces).boxed_sync()));
            Response::builder().status(read.status).header("content-type", read.kind).body(body).unwrap()
        }
        "/api/v1/labels" => {
            Response::new(whole(format!(r#"{{"status":"success","data":{}}}"#, serde_json::json!(names))))
        }
        "/api/v1/status/config" => Response::new(whole(
            r#"{"status":"success","data":{"yaml":"global:\n  external_labels:\n    replica: a\n"}}"#.to_owned(),
        )),
        "/api/v1/status/flags" => Response::new(whole(
            r#"{"status":"success","data":{"storage.tsdb.min-block-duration":"2h","storage.tsdb.max-block-duration":"2h"}}"#
                .to_owned(),
        )),
        "/api/v1/status/buildinfo" => {
            Response::new(whole(r#"{"status":"success","data":{"version":"3.14.0"}}"#.to_owned()))
        }
        "/metrics" => Response::new(whole("prometheus_tsdb_lowest_timestamp_seconds 0\n".to_owned())),
        _ => Response::builder().status(404).body(whole("nothing here".to_owned())).unwrap(),
    }
}

trait BoxedSync: Sized {
    fn boxed_sync(self) -> std::pin::Pin<Box<dyn futures::Stream<Item = StreamItem> + Send + Sync>>;
}

type StreamItem = Result<Frame<Bytes>, std::io::Error>;

impl<S: futures::Stream<Item = StreamItem> + Send + Sync + 'static> BoxedSync for S {
    fn boxed_sync(self) -> std::pin::Pin<Box<dyn futures::Stream<Item = StreamItem> + Send + Sync>> {
        Box::pin(self)
    }
}

/// A series as remote read sends it.
pub(crate) fn series(labels: &[(&str, &str)], chunks: Vec<Chunk>) -> ChunkedSeries {
    let labels = labels.iter().map(|(n, v)| Label { name: (*n).into(), value: (*v).into() }).collect();
    ChunkedSeries { labels, chunks }
}

/// One frame with `series`.
pub(crate) fn frame(series: Vec<ChunkedSeries>) -> Bytes {
    let mut out = BytesMut::new();
    let message = ChunkedReadResponse { chunked_series: series, query_index: 0 };
    promclient::remote_read::put_frame(&mut out, &message.encode_to_vec());
    out.freeze()
}

/// An XOR chunk of one sample.
pub(crate) fn chunk(t: i64) -> Chunk {
    let mut encoder = tsdb_block::chunkenc::xor::Encoder::new();
    encoder.push(t, 1.0).unwrap();
    Chunk { min_time_ms: t, max_time_ms: t, r#type: 1, data: encoder.finish().into() }
}
