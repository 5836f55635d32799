//! Why a request, or a block's part in it, failed.
//!
//! Holds one error type whose kind is the caller's decision and whose text grows outwards, as
//! upstream's wrapped errors do. It knows no wire. Invariant: a limit keeps its code however often it
//! is wrapped, because peers read it from the text as well as from the status.

use std::fmt;

use model::OverBudget;
use storeapi_proto::thanos::PartialResponseStrategy;
use tonic::{Code, Status};

/// What the caller does about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A limit or the memory budget: the whole request ends.
    Limit,
    /// The local index header does not read: it is built anew.
    Header,
    /// The bucket or the block's bytes: the block's own data is lost to the request.
    Block,
}

/// A failure, its text wrapped from the inside out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: Kind,
    /// Whether the next try may succeed.
    transient: bool,
    text: String,
}

/// The result of everything that reads a block.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure of the bucket or the block.
    pub(crate) fn block(text: impl fmt::Display) -> Self {
        Failure { kind: Kind::Block, transient: false, text: text.to_string() }
    }

    /// A damaged index header.
    pub(crate) fn header(text: impl fmt::Display) -> Self {
        Failure { kind: Kind::Header, transient: false, text: text.to_string() }
    }

    /// An exceeded limit; the text carries the code as Go's gRPC prints it.
    pub(crate) fn limit(text: impl fmt::Display) -> Self {
        let text = format!("rpc error: code = ResourceExhausted desc = {text}");
        Failure { kind: Kind::Limit, transient: false, text }
    }

    /// What the caller does about it.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The same failure, with what was being done in front.
    #[must_use]
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Failure { text: format!("{what}: {}", self.text), ..self }
    }

    /// The same failure, said to be worth another try.
    #[must_use]
    pub(crate) fn transient(self) -> Self {
        Failure { transient: true, ..self }
    }

    /// Whether the next try may succeed: a read that broke off, a store that was busy.
    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    /// The status of a request that this failure ends; `otherwise` is the code where it is no limit.
    pub(crate) fn status(&self, otherwise: Code) -> Status {
        let code = if self.kind == Kind::Limit { Code::ResourceExhausted } else { otherwise };
        Status::new(code, self.text.clone())
    }

    /// Whether the request can go on without the block.
    pub(crate) fn is_partial(&self, strategy: i32) -> bool {
        self.kind != Kind::Limit && strategy != PartialResponseStrategy::Abort as i32
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<OverBudget> for Failure {
    fn from(e: OverBudget) -> Self {
        Failure::limit(e)
    }
}

impl From<objstore::Error> for Failure {
    fn from(e: objstore::Error) -> Self {
        Failure { kind: Kind::Block, transient: e.is_retryable(), text: e.to_string() }
    }
}

impl From<tsdb_block::Error> for Failure {
    fn from(e: tsdb_block::Error) -> Self {
        Failure::block(e)
    }
}

/// Puts context in front of failures.
pub(crate) trait Context<T> {
    /// See [`Failure::context`].
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(what))
    }
}
