//! A [`Store`] at the other end of a gRPC channel.
//!
//! Holds the three calls over the fast codec and announces the chunk encodings we read. It does not
//! know how the channel was built, nor whether the peer is up (`endpoints` does). Invariants:
//! dropping a stream resets the call at the peer; no message is read that the budget has no room for.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use model::Budget;
use storeapi_proto::thanos;
use tonic::codegen::{Body, StdError};
use tonic::{Code, Request, Status};

use crate::codec::ClientCodec;
use crate::store::{Call, SeriesStream, Store};

/// A remote StoreAPI over a channel (or any other tonic client service).
#[derive(Clone, Debug)]
pub struct RemoteStore<C> {
    channel: C,
    budget: Arc<Budget>,
}

/// Bytes of memory that a byte of a message may come to: the message itself, its buffer as it grows, and
/// short strings one by one.
const PER_BYTE: u64 = 6;
/// A message of this size is read in any case.
const SMALL: u64 = 64 << 10;

impl<C> RemoteStore<C> {
    /// A client over `channel`, which reads messages of up to 2 GiB.
    pub fn new(channel: C) -> Self {
        Self::within(channel, Budget::unlimited())
    }

    /// A client that refuses messages for which `budget` has no room at the time of the call.
    pub fn within(channel: C, budget: Arc<Budget>) -> Self {
        RemoteStore { channel, budget }
    }

    /// The largest message that is read now.
    fn largest(&self) -> usize {
        let free = self.budget.limit().saturating_sub(self.budget.used());
        usize::try_from((free / PER_BYTE).max(SMALL)).unwrap_or(usize::MAX).min(i32::MAX as usize)
    }

    /// Says of a message that was too large why it was.
    fn refused(&self, status: Status) -> Status {
        if status.code() != Code::OutOfRange || self.budget.limit() == u64::MAX {
            return status;
        }
        let (used, limit, flag) = (self.budget.used(), self.budget.limit(), self.budget.flag());
        Status::resource_exhausted(format!(
            "memory budget exhausted: {} ({used} of {limit} bytes are in use, limit set by {flag})",
            status.message()
        ))
    }
}

impl<C> RemoteStore<C>
where
    C: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    C::ResponseBody: Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as Body>::Error: Into<StdError> + Send,
    C::Future: Send,
{
    async fn ready(&self) -> Result<tonic::client::Grpc<C>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(self.largest())
            .max_encoding_message_size(i32::MAX as usize);
        grpc.ready().await.map_err(|e| Status::unavailable(chain(e.into())))?;
        Ok(grpc)
    }

    async fn unary<Q, A>(&self, path: &'static str, message: Q, call: &Call) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        call.to_metadata(request.metadata_mut());
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::default();
        let answer = self.ready().await?.unary(request, path, codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.refused(status))
    }
}

/// An error with its causes, outermost first.
fn chain(error: StdError) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text
}

#[async_trait]
impl<C> Store for RemoteStore<C>
where
    C: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    C::ResponseBody: Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as Body>::Error: Into<StdError> + Send,
    C::Future: Send,
{
    async fn series(&self, message: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        let mut request = Request::new(message);
        call.to_metadata(request.metadata_mut());
        let path = http::uri::PathAndQuery::from_static("/thanos.Store/Series");
        let codec = ClientCodec::<thanos::SeriesRequest>::default();
        let stream = self.ready().await?.server_streaming(request, path, codec).await?.into_inner();
        let this = self.clone();
        // A frame without content says nothing.
        let items = stream.filter_map(|item| async move { item.transpose() });
        Ok(items.map(move |item| item.map_err(|status| this.refused(status))).boxed())
    }

    async fn label_names(
        &self,
        message: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        self.unary("/thanos.Store/LabelNames", message, &call).await
    }

    async fn label_values(
        &self,
        message: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        self.unary("/thanos.Store/LabelValues", message, &call).await
    }
}

#[async_trait]
impl<C> crate::endpoints::Peer for RemoteStore<C>
where
    C: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    C::ResponseBody: Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as Body>::Error: Into<StdError> + Send,
    C::Future: Send,
{
    async fn info(&self) -> Result<storeapi_proto::info::InfoResponse, Status> {
        let message = storeapi_proto::info::InfoRequest {};
        self.unary("/thanos.info.Info/Info", message, &Call::internal("")).await
    }
}
