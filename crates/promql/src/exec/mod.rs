//! Evaluation.

use crate::engine::{Outcome, Query};
use crate::error::QueryError;
use crate::sink::Sink;
use crate::storage::Queryable;

pub(crate) fn run(_: &Query, _: &dyn Queryable, _: &mut dyn Sink) -> Result<Outcome, QueryError> {
    Err(QueryError::execution("evaluation is being built"))
}
