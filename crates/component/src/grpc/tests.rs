//! Calls through real connections.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prometheus::Registry;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service, ServiceExt as _};

use super::*;
use crate::flags::groups::{GrpcClient, GrpcServer, ServerTls};
use crate::metrics::text;
use crate::probe::Probe;

/// A service without generated code: `Echo` sends the request's messages back, `Panic` panics before
/// and `PanicLater` after the first message, `Hang` never ends.
#[derive(Clone)]
struct Raw;

impl tonic::server::NamedService for Raw {
    const NAME: &'static str = "test.Raw";
}

const METHODS: [Method; 4] = [
    Method::unary("test.Raw", "Echo"),
    Method::unary("test.Raw", "Panic"),
    Method::stream("test.Raw", "PanicLater"),
    Method::unary("test.Raw", "Hang"),
];

fn ok_trailers() -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]))
}

impl Service<Request<Body>> for Raw {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            assert!(!request.headers().contains_key("grpc-encoding"), "compression stays outside");
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            match method.as_str() {
                "Panic" => panic!("before the answer"),
                "Hang" => std::future::pending().await,
                _ => {}
            }
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(status) => return Ok(status.into_http()),
            };
            let frames: Vec<Result<Frame<Bytes>, Status>> = vec![Ok(Frame::data(body)), Ok(ok_trailers())];
            let frames = futures::stream::iter(frames.into_iter().enumerate().map(move |(i, frame)| {
                assert!(!(method == "PanicLater" && i == 1), "in mid-answer");
                frame
            }));
            let mut response = Response::new(Body::new(StreamBody::new(frames)));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            Ok(response)
        })
    }
}

struct Peer {
    server: Running,
    registry: Registry,
    probe: Probe,
}

impl Peer {
    fn start(tls: ServerTls, max_age: Duration) -> Self {
        let registry = Registry::new();
        let probe = Probe::new("store", &registry).unwrap();
        let flags = GrpcServer {
            address: "127.0.0.1:0".to_owned(),
            tls,
            max_connection_age: max_age,
            grace_period: Duration::from_secs(30),
        };
        let server = Server::new("store", &flags, &registry, &probe).add(Raw, &METHODS).start().unwrap();
        Peer { server, registry, probe }
    }

    fn plain() -> Self {
        Self::start(ServerTls::default(), Duration::ZERO)
    }

    fn address(&self) -> String {
        self.server.address().to_string()
    }

    fn shown(&self, begin: &str) -> Vec<String> {
        shown(&self.registry, begin)
    }
}

fn shown(registry: &Registry, begin: &str) -> Vec<String> {
    let text = text::encode(&registry.gather());
    text.lines().filter(|l| l.starts_with(begin) && !l.ends_with(" 0")).map(str::to_owned).collect()
}

fn message(flag: u8, content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(flag);
    out.put_u32(content.len() as u32);
    out.put_slice(content);
    out.freeze()
}

fn request(method: &str, body: Bytes) -> Request<Body> {
    Request::post(format!("/test.Raw/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(body)))
        .unwrap()
}

/// The answer's bytes and status, wherever the status stands.
async fn call<C, E>(channel: C, request: Request<Body>) -> Result<(HeaderMap, Bytes, Status), E>
where
    C: Service<Request<Body>, Response = Response<Body>, Error = E>,
{
    let (head, body) = channel.oneshot(request).await?.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
    Ok((head.headers, body.to_bytes(), status.expect("a status")))
}

/// A client that knows HTTP/2 and nothing of gRPC.
fn raw() -> impl Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone {
    let executor = hyper_util::rt::TokioExecutor::new();
    let client = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    tower::util::MapResponse::new(client, |response: Response<hyper::body::Incoming>| response.map(Body::new))
}

/// The request with its server in its URI.
fn absolute(peer: &Peer, mut request: Request<Body>) -> Request<Body> {
    *request.uri_mut() = format!("http://{}{}", peer.address(), request.uri().path()).parse().unwrap();
    request
}

#[tokio::test]
async fn plain_and_compressed_calls_give_the_same_and_are_counted_on_both_sides() {
    let peer = Peer::plain();
    let long = message(0, &[7; 300_000]);
    let registry = Registry::new();
    let metrics = ClientMetrics::new(&registry).unwrap();
    for snappy in [false, true] {
        let settings = GrpcClient { snappy, ..GrpcClient::default() };
        let connector = Connector::new(&settings, Some(metrics.clone())).unwrap();
        let channel = connector.channel(&peer.address()).unwrap();
        for body in [long.clone(), message(0, b"")] {
            let (_, answer, status) = call(channel.clone(), request("Echo", body.clone())).await.unwrap();
            assert_eq!((status.code(), answer == body), (Code::Ok, true), "{snappy}");
        }
    }
    let labels = "{grpc_method=\"Echo\",grpc_service=\"test.Raw\",grpc_type=\"unary\"} 4";
    let labels_code =
        "{grpc_code=\"OK\",grpc_method=\"Echo\",grpc_service=\"test.Raw\",grpc_type=\"unary\"} 4";
    for (side, registry) in [("server", &peer.registry), ("client", &registry)] {
        for (what, labels) in
            [("handled", labels_code), ("started", labels), ("msg_received", labels), ("msg_sent", labels)]
        {
            let wanted = format!("grpc_{side}_{what}_total{labels}");
            assert_eq!(shown(registry, &format!("grpc_{side}_{what}_total{{")), [wanted]);
        }
    }
}

#[tokio::test]
async fn a_server_answers_in_the_encoding_it_was_asked_in() {
    let peer = Peer::plain();
    let raw = raw();
    let content = vec![3u8; 100_000];
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut framed, &content).unwrap();
    let framed = framed.into_inner().unwrap();
    let mut asked = request("Echo", message(1, &framed));
    asked.headers_mut().insert("grpc-encoding", HeaderValue::from_static("snappy"));
    let (head, answer, status) = call(raw.clone(), absolute(&peer, asked)).await.unwrap();
    assert_eq!((status.code(), head["grpc-encoding"].as_bytes()), (Code::Ok, &b"snappy"[..]));
    assert_eq!(answer[0], 1);
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut snap::read::FrameDecoder::new(&answer[5..]), &mut plain).unwrap();
    assert!(plain == content);

    let (head, answer, _) =
        call(raw.clone(), absolute(&peer, request("Echo", message(0, &content)))).await.unwrap();
    assert_eq!((head.get("grpc-encoding"), answer[0]), (None, 0));

    let mut damaged = request("Echo", message(1, &framed[..framed.len() - 1]));
    damaged.headers_mut().insert("grpc-encoding", HeaderValue::from_static("snappy"));
    let (_, _, status) = call(raw, absolute(&peer, damaged)).await.unwrap();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("snappy: corrupt input"), "{}", status.message());
}

#[tokio::test]
async fn panics_deadlines_and_unknown_names_are_answered_with_their_status() {
    let peer = Peer::plain();
    let channel = Connector::plain().channel(&peer.address()).unwrap();
    let status = async |request| call(channel.clone(), request).await.unwrap().2;
    let panicked = status(request("Panic", message(0, b"x"))).await;
    assert_eq!((panicked.code(), panicked.message()), (Code::Internal, "before the answer"));
    let later = status(request("PanicLater", message(0, b"x"))).await;
    assert_eq!((later.code(), later.message()), (Code::Internal, "in mid-answer"));
    assert_eq!(peer.shown("grpc_req_panics"), ["grpc_req_panics_recovered_total 2"]);

    let mut hang = request("Hang", message(0, b"x"));
    hang.headers_mut().insert("grpc-timeout", HeaderValue::from_static("20m"));
    let (_, _, late) = call(raw(), absolute(&peer, hang)).await.unwrap();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "context deadline exceeded"));

    let unknown = status(request("Nope", Bytes::new())).await;
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::Unimplemented, "unknown method Nope for service test.Raw")
    );
    let stranger = Request::post("/a.B/C").body(Body::empty()).unwrap();
    let stranger = status(stranger).await;
    assert_eq!((stranger.code(), stranger.message()), (Code::Unimplemented, "unknown service a.B"));
    let handled = peer.shown("grpc_server_handled_total{grpc_code=\"Internal\"");
    assert_eq!(handled.len(), 2, "{handled:?}");
}

#[tokio::test]
async fn health_follows_the_probe() {
    let peer = Peer::plain();
    let channel = Connector::plain().channel(&peer.address()).unwrap();
    let mut client = HealthClient::new(channel);
    let mut check = async || client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status;
    assert_eq!(check().await, 2);
    peer.probe.ready();
    assert_eq!(check().await, 1);
    let mut client = HealthClient::new(Connector::plain().channel(&peer.address()).unwrap());
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    peer.probe.not_ready("test");
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_in_the_words_of_go() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = Connector::plain().channel(&free.to_string()).unwrap();
    let status = call(channel, request("Echo", Bytes::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.message(),
        format!(
            "connection error: desc = \"transport: Error while dialing: dial tcp {free}: connect: connection refused\""
        )
    );
    assert!(Connector::plain().channel("noport").is_err());
    assert!(Connector::plain().channel("a b:1").is_err());
}

#[tokio::test]
async fn connections_are_renewed_at_their_age_without_hurting_calls() {
    let peer = Peer::start(ServerTls::default(), Duration::from_millis(20));
    let channel = Connector::plain().channel(&peer.address()).unwrap();
    for _ in 0..30 {
        let (_, _, status) = call(channel.clone(), request("Echo", message(0, b"x"))).await.unwrap();
        assert_eq!(status.code(), Code::Ok);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn stopping_lets_calls_in_flight_end() {
    let peer = Peer::plain();
    peer.probe.ready();
    let mut client = HealthClient::new(Connector::plain().channel(&peer.address()).unwrap());
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let stopping = tokio::spawn(peer.server.stop());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!stopping.is_finished());
    peer.probe.not_ready("test");
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    drop(watch);
    stopping.await.unwrap();
}
