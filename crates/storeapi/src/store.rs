//! The StoreAPI as a trait: what a server offers and a client calls, in process or over gRPC.
//!
//! Holds the call's context and the shape of the answer. It does not know who answers: a bucket, a
//! Prometheus, a remote peer (`client`) and a fan-out over many all implement [`Store`]. Invariant:
//! series in a stream are sorted by final labels; dropping a stream ends the work behind it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::Matcher;
use storeapi_proto::thanos;
use tonic::{Code, Status};

use crate::encoding::ChunkEncodings;
use crate::series::Series;

/// The tenant of calls that name none (Thanos `pkg/tenancy`).
pub const DEFAULT_TENANT: &str = "default-tenant";

/// The gRPC metadata key that carries the tenant.
pub const TENANT_KEY: &str = "thanos-tenant";

/// What a call carries besides its message.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asks; labels metrics.
    pub tenant: String,
    /// Chunk encodings that the caller can read beyond Thanos' three.
    pub encodings: ChunkEncodings,
    /// For a fan-out: matchers on `__address__` that select the stores to ask, any set of which
    /// suffices; empty for all stores (`storeMatch[]`). Stays within the process.
    pub store_matchers: Arc<[Vec<Matcher>]>,
    /// For a fan-out: when it stops waiting for stores. Stays within the process.
    pub deadline: Option<std::time::Instant>,
}

impl Default for Call {
    fn default() -> Self {
        Call {
            tenant: DEFAULT_TENANT.to_owned(),
            encodings: ChunkEncodings::default(),
            store_matchers: Arc::default(),
            deadline: None,
        }
    }
}

impl Call {
    /// A call within the process, or from a peer that reads every encoding.
    pub fn internal(tenant: impl Into<String>) -> Self {
        Call { tenant: tenant.into(), encodings: ChunkEncodings::ALL, ..Call::default() }
    }

    /// The context of a request that came over gRPC.
    pub fn from_metadata(metadata: &tonic::metadata::MetadataMap) -> Self {
        let tenant = metadata.get(TENANT_KEY).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Call {
            tenant: if tenant.is_empty() { DEFAULT_TENANT.to_owned() } else { tenant.to_owned() },
            encodings: ChunkEncodings::from_metadata(metadata),
            store_matchers: Arc::default(),
            deadline: None,
        }
    }

    /// Writes this context into an outgoing request's metadata.
    pub fn to_metadata(&self, metadata: &mut tonic::metadata::MetadataMap) {
        if let Ok(tenant) = self.tenant.parse() {
            metadata.insert(TENANT_KEY, tenant);
        }
        self.encodings.to_metadata(metadata);
    }
}

/// One piece of a Series answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Consecutive series; never empty.
    Series(Vec<Series>),
    /// Something is missing from the answer; the text says what.
    Warning(String),
    /// Statistics and block names (`hintspb`).
    Hints(prost_types::Any),
}

/// A Series answer. Items come in order; the first error ends the stream.
pub type SeriesStream = BoxStream<'static, Result<Item, Status>>;

/// A StoreAPI, local or remote.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Series with their chunks, sorted by final labels.
    ///
    /// # Errors
    /// As Thanos: `InvalidArgument` for matchers that do not compile, `ResourceExhausted` for
    /// limits, `Aborted` for failures where the request forbids partial answers.
    async fn series(&self, request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status>;

    /// Sorted label names.
    ///
    /// # Errors
    /// As [`Store::series`].
    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status>;

    /// Sorted values of one label.
    ///
    /// # Errors
    /// As [`Store::series`].
    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    async fn series(&self, request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        (**self).series(request, call).await
    }

    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        (**self).label_names(request, call).await
    }

    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        (**self).label_values(request, call).await
    }
}

/// Whether a request forbids partial answers: the old field or the new one says so.
pub fn forbids_partial(disabled: bool, strategy: i32) -> bool {
    disabled || strategy == thanos::PartialResponseStrategy::Abort as i32
}

/// A status as Go's gRPC prints it, which is how warnings carry their code from peer to peer.
pub fn status_text(status: &Status) -> String {
    format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message())
}

/// Go's name of a gRPC code.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
