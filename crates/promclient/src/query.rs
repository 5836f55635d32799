//! PromQL over HTTP, with the answer as JSON.
//!
//! Holds instant and range queries for tests and comparisons. It knows no value type. Invariant: what
//! Prometheus answered is returned unchanged.

use serde_json::Value;

use crate::{Client, Error};

impl Client {
    /// The `data` of an instant query at `time` (seconds or RFC 3339); `more` are further parameters.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or answers nonsense.
    pub async fn query(&self, expr: &str, time: &str, more: &[(&str, &str)]) -> Result<Value, Error> {
        let mut url = self.url(&["api", "v1", "query"]);
        url.query_pairs_mut()
            .append_pair("query", expr)
            .append_pair("time", time)
            .extend_pairs(more.iter().copied());
        self.get_data(url).await.map(Option::unwrap_or_default)
    }

    /// The `data` of a range query.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn query_range(
        &self,
        expr: &str,
        (start, end, step): (&str, &str, &str),
        more: &[(&str, &str)],
    ) -> Result<Value, Error> {
        let mut url = self.url(&["api", "v1", "query_range"]);
        url.query_pairs_mut()
            .append_pair("query", expr)
            .append_pair("start", start)
            .append_pair("end", end)
            .append_pair("step", step)
            .extend_pairs(more.iter().copied());
        self.get_data(url).await.map(Option::unwrap_or_default)
    }
}
