//! One Prometheus, reached over HTTP.
//!
//! Holds the base URL, the connection pool, and how answers are read: bounded, and charged to the
//! memory budget while they are held. It knows no endpoint. Invariant: paths are joined under the base
//! URL's path, with or without a trailing slash.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::budget::{Account, Budget};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::{Credentials, Pool};
use crate::{Error, HttpClientConfig};

/// The largest answer of the JSON API that is read.
pub const MAX_ANSWER: u64 = 1 << 30;
/// How much of an error's body is kept.
const MAX_ERROR_BODY: usize = 64 << 10;

/// A client of one Prometheus. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    pool: Arc<Pool>,
    budget: Arc<Budget>,
}

/// The bytes of an answer with the memory they are charged to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
    /// Released when the answer is dropped.
    _account: Account,
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: String,
    data: Option<T>,
}

impl Client {
    /// A client for the Prometheus at `base`.
    ///
    /// # Errors
    /// [`Error::Config`] when the URL or the configuration cannot be used.
    pub fn new(
        base: &str,
        config: HttpClientConfig,
        user_agent: &str,
        budget: Arc<Budget>,
    ) -> Result<Self, Error> {
        let base = Url::parse(base).map_err(|e| Error::Config(format!("Prometheus URL {base:?}: {e}")))?;
        if base.cannot_be_a_base() {
            return Err(Error::Config(format!("Prometheus URL {base}: not a base URL")));
        }
        Ok(Client { base, pool: Arc::new(Pool::new(config, user_agent)?), budget })
    }

    /// The base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a path under the base; `segments` are escaped one by one.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends a request and returns the answer's head; the body is still to come.
    pub(crate) async fn send(
        &self,
        method: &'static str,
        url: Url,
        set: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<(reqwest::Response, Option<tokio::sync::OwnedSemaphorePermit>), Error> {
        let permit = match &self.pool.in_flight {
            Some(gate) => gate.clone().acquire_owned().await.ok(),
            None => None,
        };
        let client = self.pool.client()?;
        let shown = url.to_string();
        let mut request = set(if method == "POST" { client.post(url) } else { client.get(url) });
        request = match self.pool.config().authorization_header()? {
            Some(Credentials::Basic(user, password)) => request.basic_auth(user, Some(password)),
            Some(Credentials::Scheme(scheme, token)) => {
                request.header("Authorization", format!("{scheme} {token}"))
            }
            None => request,
        };
        let sent = request.send();
        let limit = u64::try_from(self.pool.config().transport_config.response_header_timeout).unwrap_or(0);
        let answer = if limit == 0 {
            sent.await
        } else {
            match tokio::time::timeout(std::time::Duration::from_nanos(limit), sent).await {
                Ok(answer) => answer,
                Err(_) => {
                    let cause = "timeout awaiting response headers".to_owned();
                    return Err(Error::Transport { method, url: shown, cause });
                }
            }
        };
        answer.map(|a| (a, permit)).map_err(|e| Error::transport(method, &shown, e))
    }

    /// Reads a body into memory, charging each piece before it is kept.
    pub(crate) async fn read(
        &self,
        method: &'static str,
        mut answer: reqwest::Response,
    ) -> Result<Answer, Error> {
        let url = answer.url().to_string();
        let code = answer.status().as_u16();
        let account = self.budget.account();
        let mut body = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| Error::transport(method, &url, e))? {
            if (body.len() + piece.len()) as u64 > MAX_ANSWER {
                return Err(Error::TooLarge { url, limit: MAX_ANSWER });
            }
            account.charge(piece.len() as u64, &"answer of Prometheus")?;
            body.extend_from_slice(&piece);
        }
        Ok(Answer { code, body: body.freeze(), _account: account })
    }

    /// GETs `url` and returns the body of a 2xx answer.
    pub(crate) async fn get(&self, url: Url) -> Result<Answer, Error> {
        let (answer, _permit) = self.send("GET", url, |r| r).await?;
        success(answer).await.map(|answer| self.read("GET", answer))?.await
    }

    /// GETs `url` and returns the envelope's `data`.
    pub(crate) async fn get_data<T: DeserializeOwned>(&self, url: Url) -> Result<Option<T>, Error> {
        let shown = url.to_string();
        let answer = self.get(url).await?;
        if answer.code == 204 {
            return Ok(None);
        }
        let envelope: Envelope<T> = serde_json::from_slice(&answer.body)
            .map_err(|e| Error::malformed(format!("unmarshal response of {shown}"), e))?;
        if envelope.status != "success" {
            return Err(Error::Api { code: answer.code, message: envelope.error });
        }
        Ok(envelope.data)
    }
}

/// The answer if its status is 2xx, else an error with the start of its body.
pub(crate) async fn success(mut answer: reqwest::Response) -> Result<reqwest::Response, Error> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let code = answer.status().as_u16();
    let mut body = Vec::new();
    // Best effort: the status is the error, whatever becomes of the body.
    while let Ok(Some(piece)) = answer.chunk().await {
        let room = MAX_ERROR_BODY.saturating_sub(body.len());
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if body.len() >= MAX_ERROR_BODY {
            break;
        }
    }
    Err(Error::Status { code, body: String::from_utf8_lossy(&body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_under_prefix_and_slash() {
        let at = |base: &str, segments: &[&str]| {
            let c =
                Client::new(base, HttpClientConfig::default(), "t", Budget::unlimited()).expect("base URL");
            c.url(segments).to_string()
        };
        assert_eq!(at("http://h:9090", &["api", "v1"]), "http://h:9090/api/v1");
        assert_eq!(at("http://h:9090/", &["api"]), "http://h:9090/api");
        assert_eq!(at("http://h/prom/", &["metrics"]), "http://h/prom/metrics");
        assert_eq!(at("http://h/prom", &["label", "a/b", "values"]), "http://h/prom/label/a%2Fb/values");
        assert!(Client::new("localhost", HttpClientConfig::default(), "t", Budget::unlimited()).is_err());
    }
}
