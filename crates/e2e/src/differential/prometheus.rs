//! A real Prometheus over a folder of blocks.
//!
//! Knows its command line. Invariant: it scrapes nothing and compacts nothing, so that the blocks are
//! all it has.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::answer::Request;
use crate::harness::{Client, Process, free_port};

/// Everything that the parser can be made to accept.
const FEATURES: &str = "promql-experimental-functions,promql-duration-expr,\
    promql-extended-range-selectors,promql-binop-fill-modifiers,promql-per-step-stats";

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    client: Client,
    process: Process,
}

impl Prometheus {
    /// Starts it over the blocks in `dir`, with further feature flags.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(program: &Path, dir: &Path, features: &[&str]) -> anyhow::Result<Prometheus> {
        let work = dir.parent().context("a folder around the blocks")?;
        let config = work.join("prometheus.yml");
        std::fs::write(&config, "global:\n  evaluation_interval: 1m\n")?;
        let port = free_port()?;
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let features: Vec<&str> = std::iter::once(FEATURES).chain(features.iter().copied()).collect();
        let mut command = Command::new(program);
        command.args([
            flag("config.file", &config.display()),
            flag("storage.tsdb.path", &dir.display()),
            flag("storage.tsdb.retention.time", &"100y"),
            flag("storage.tsdb.min-block-duration", &"2h"),
            flag("storage.tsdb.max-block-duration", &"2h"),
            flag("web.listen-address", &format!("127.0.0.1:{port}")),
            flag("enable-feature", &features.join(",")),
            flag("query.timeout", &"1m"),
        ]);
        let mut process = Process::start("prometheus", &mut command, work)?;
        let client = Client::new()?;
        let url = format!("http://127.0.0.1:{port}");
        loop {
            process.alive()?;
            match client.text(&format!("{url}/-/ready")).await {
                Ok(_) => break,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
        Ok(Prometheus { url, client, process })
    }

    /// Asks it.
    ///
    /// # Errors
    /// When it does not answer in JSON.
    pub async fn ask(&self, request: &Request) -> anyhow::Result<Value> {
        let (path, params) = request.params();
        let url = format!("{}/api/v1/{path}", self.url);
        let (_, body) = self.client.send("POST", &url, &params).await?;
        serde_json::from_str(&body).with_context(|| format!("{request:?}: {body}"))
    }

    /// Its last words, for errors.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
