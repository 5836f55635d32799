//! The gRPC face of a [`Store`].
//!
//! Holds the `thanos.Store` service over the fast codec, with batches and re-encoding for callers
//! that ask for less. It knows no transport settings. Invariant: an answer is produced only as fast
//! as the connection takes it, apart from one item ahead.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use storeapi_proto::thanos;
use tonic::codegen::{Body, StdError};
use tonic::{Request, Response, Status};

use crate::batch::Batches;
use crate::codec::{Frame, ServerCodec};
use crate::encoding::{ChunkEncodings, downgrade};
use crate::store::{Call, Item, SeriesStream, Store};

/// A tower service that answers `/thanos.Store/*` from a [`Store`].
#[derive(Debug)]
pub struct StoreService<S: ?Sized> {
    store: Arc<S>,
}

impl<S: ?Sized> Clone for StoreService<S> {
    fn clone(&self) -> Self {
        StoreService { store: self.store.clone() }
    }
}

impl<S: Store + ?Sized> StoreService<S> {
    /// A service over `store`.
    pub fn new(store: Arc<S>) -> Self {
        StoreService { store }
    }
}

impl<S: ?Sized> tonic::server::NamedService for StoreService<S> {
    const NAME: &'static str = "thanos.Store";
}

struct Series<S: ?Sized>(Arc<S>);
struct LabelNames<S: ?Sized>(Arc<S>);
struct LabelValues<S: ?Sized>(Arc<S>);

impl<S: Store + ?Sized> tonic::server::ServerStreamingService<thanos::SeriesRequest> for Series<S> {
    type Response = Frame;
    type ResponseStream = BoxStream<'static, Result<Frame, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<thanos::SeriesRequest>) -> Self::Future {
        let store = self.0.clone();
        Box::pin(async move {
            let call = Call::from_metadata(request.metadata());
            let request = request.into_inner();
            let (batch, encodings) = (request.response_batch_size, call.encodings);
            let stream = store.series(request, call).await?;
            Ok(Response::new(Batches::new(readable(stream, encodings), batch).boxed()))
        })
    }
}

/// The stream with every chunk in an encoding that the caller reads.
pub fn readable(stream: SeriesStream, caller: ChunkEncodings) -> SeriesStream {
    if caller.is_all() {
        return stream;
    }
    stream
        .map(move |item| match item {
            Ok(Item::Series(mut all)) => {
                for series in &mut all {
                    downgrade(series, caller).map_err(|e| Status::data_loss(e.to_string()))?;
                }
                Ok(Item::Series(all))
            }
            other => other,
        })
        .boxed()
}

impl<S: Store + ?Sized> tonic::server::UnaryService<thanos::LabelNamesRequest> for LabelNames<S> {
    type Response = thanos::LabelNamesResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<thanos::LabelNamesRequest>) -> Self::Future {
        let store = self.0.clone();
        Box::pin(async move {
            let call = Call::from_metadata(request.metadata());
            store.label_names(request.into_inner(), call).await.map(Response::new)
        })
    }
}

impl<S: Store + ?Sized> tonic::server::UnaryService<thanos::LabelValuesRequest> for LabelValues<S> {
    type Response = thanos::LabelValuesResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<thanos::LabelValuesRequest>) -> Self::Future {
        let store = self.0.clone();
        Box::pin(async move {
            let call = Call::from_metadata(request.metadata());
            store.label_values(request.into_inner(), call).await.map(Response::new)
        })
    }
}

impl<S, B> tower::Service<http::Request<B>> for StoreService<S>
where
    S: Store + ?Sized,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let store = self.store.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/thanos.Store/Series" => {
                    let codec = ServerCodec::<thanos::SeriesRequest>::default();
                    limits(tonic::server::Grpc::new(codec)).server_streaming(Series(store), request).await
                }
                "/thanos.Store/LabelNames" => {
                    let codec = tonic_prost::ProstCodec::default();
                    limits(tonic::server::Grpc::new(codec)).unary(LabelNames(store), request).await
                }
                "/thanos.Store/LabelValues" => {
                    let codec = tonic_prost::ProstCodec::default();
                    limits(tonic::server::Grpc::new(codec)).unary(LabelValues(store), request).await
                }
                _ => Status::unimplemented("unknown method").into_http(),
            })
        })
    }
}

/// Thanos lets messages grow to the largest signed 32-bit number.
fn limits<C: tonic::codec::Codec>(grpc: tonic::server::Grpc<C>) -> tonic::server::Grpc<C> {
    grpc.apply_max_message_size_config(Some(i32::MAX as usize), Some(i32::MAX as usize))
}
