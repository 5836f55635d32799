//! A small HTTP client, and waiting for what is to come true.
//!
//! Knows the shape of Prometheus' envelope and nothing of any service. Invariant: a wait that fails
//! says what was waited for and what was seen last.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// How long anything that starts, uploads or stops may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks services over HTTP.
#[derive(Clone, Debug)]
pub struct Client(reqwest::Client);

impl Client {
    /// A client without a timeout of its own.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Client(reqwest::Client::builder().no_proxy().build()?))
    }

    /// Sends a request; parameters go into the query of a GET and into the form of anything else.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        params: &[(String, String)],
    ) -> anyhow::Result<(u16, String)> {
        let builder = self.0.request(method.parse()?, url);
        let builder = if method == "GET" { builder.query(params) } else { builder.form(params) };
        let response = builder.send().await.with_context(|| format!("{method} {url}"))?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.with_context(|| format!("{method} {url}"))?))
    }

    /// The body of a GET that is answered with 200.
    ///
    /// # Errors
    /// When the status is another.
    pub async fn text(&self, url: &str) -> anyhow::Result<String> {
        let (status, body) = self.send("GET", url, &[]).await?;
        ensure!(status == 200, "GET {url}: {status} {body}");
        Ok(body)
    }

    /// `data` of a Prometheus answer.
    ///
    /// # Errors
    /// When the answer is an error, or no JSON.
    pub async fn data(&self, url: &str, params: &[(&str, &str)]) -> anyhow::Result<Value> {
        let params: Vec<_> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (status, body) = self.send("GET", url, &params).await?;
        let mut answer: Value = serde_json::from_str(&body).with_context(|| format!("{url}: {body}"))?;
        ensure!(status == 200 && answer["status"] == "success", "GET {url} {params:?}: {status} {body}");
        ensure!(answer.get("warnings").is_none(), "GET {url} {params:?}: {body}");
        Ok(answer["data"].take())
    }
}

/// Tries until `attempt` succeeds.
///
/// # Errors
/// The last error, when patience is at its end.
pub async fn wait<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => bail!("waited for {what}: {error:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
