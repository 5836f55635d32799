//! Thanos' services and Prometheus, by command line: started, and waited for until ready.
//!
//! The same words start our binaries and Thanos' own. It knows no code of the services. Invariant: a
//! [`Service`] that is handed out answers on its ports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::http::{Client, wait};
use super::process::{Process, free_port};

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub process: Process,
    /// `127.0.0.1:port` of HTTP.
    pub http: String,
    /// `127.0.0.1:port` of gRPC; the HTTP address for a Prometheus.
    pub grpc: String,
}

impl Service {
    /// A URL of this service.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }
}

/// Starts services below one folder, which holds their logs and data.
#[derive(Debug)]
pub struct Fleet {
    dir: PathBuf,
    client: Client,
    reserved: Mutex<BTreeMap<String, String>>,
}

impl Fleet {
    /// A fleet with its files in `dir`, which must exist.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        Ok(Fleet { dir: dir.to_owned(), client: Client::new()?, reserved: Mutex::default() })
    }

    /// The client that asks for readiness.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The folder of logs and data.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a store gateway over a bucket; returns when its first sync is done.
    ///
    /// # Errors
    /// When it ends or does not get ready.
    pub async fn store(
        &self,
        name: &str,
        program: &Path,
        bucket: &str,
        more: &[&str],
    ) -> anyhow::Result<Service> {
        let data = format!("--data-dir={}", self.folder(name)?.display());
        let bucket = format!("--objstore.config={bucket}");
        self.thanos("store", name, program, &[&[data.as_str(), bucket.as_str()], more].concat()).await
    }

    /// Starts a querier over StoreAPIs; returns when it knows the labels of each.
    ///
    /// # Errors
    /// When it ends or does not see every store.
    pub async fn querier(
        &self,
        name: &str,
        program: &Path,
        stores: &[&str],
        more: &[&str],
    ) -> anyhow::Result<Service> {
        let stores: Vec<String> = stores.iter().map(|s| format!("--endpoint={s}")).collect();
        let mut args: Vec<&str> = stores.iter().map(String::as_str).collect();
        args.push("--query.replica-label=replica");
        args.extend(more);
        let service = self.thanos("query", name, program, &args).await?;
        for store in stores.iter().filter_map(|s| s.strip_prefix("--endpoint=")) {
            wait(&format!("{name} to know {store}"), || self.knows(&service, store)).await?;
        }
        Ok(service)
    }

    /// Whether a querier knows a store and what it holds.
    ///
    /// # Errors
    /// When it does not: what it says instead.
    pub async fn knows(&self, querier: &Service, store: &str) -> anyhow::Result<()> {
        let stores = self.client.data(&querier.url("/api/v1/stores"), &[]).await?;
        let all = stores.as_object().context("stores")?.values().filter_map(Value::as_array).flatten();
        let known = all.into_iter().any(|s| {
            s["name"] == store
                && s["lastError"].is_null()
                && s["labelSets"].as_array().is_some_and(|l| !l.is_empty())
        });
        ensure!(known, "{store} is not among {stores}");
        Ok(())
    }

    /// Starts a sidecar beside a Prometheus; `more` brings the bucket, if any.
    ///
    /// # Errors
    /// When it ends or does not get ready.
    pub async fn sidecar(
        &self,
        name: &str,
        program: &Path,
        prometheus: &Service,
        more: &[&str],
    ) -> anyhow::Result<Service> {
        let url = format!("--prometheus.url={}", prometheus.url(""));
        let tsdb = format!("--tsdb.path={}", self.tsdb(name).display());
        self.thanos("sidecar", name, program, &[&[url.as_str(), tsdb.as_str()], more].concat()).await
    }

    /// Starts a Prometheus whose data is where the sidecar `sidecar` looks for it.
    ///
    /// # Errors
    /// When it ends or does not get ready.
    pub async fn prometheus(
        &self,
        sidecar: &str,
        program: &Path,
        configuration: &str,
        more: &[&str],
    ) -> anyhow::Result<Service> {
        let name = format!("prometheus-{sidecar}");
        let file = self.folder(&name)?.join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let http = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", self.tsdb(sidecar).display()))
            .arg(format!("--web.listen-address={http}"))
            .args(more);
        let process = Process::start(&name, &mut command, &self.dir)?;
        self.ready(Service { process, grpc: http.clone(), http }, &name).await
    }

    /// The HTTP address of a service that will be started later under this name, for whoever must know
    /// it before.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn reserve(&self, name: &str) -> anyhow::Result<String> {
        let mut reserved = self.reserved.lock().map_err(|_| anyhow::anyhow!("reserved addresses"))?;
        if let Some(address) = reserved.get(name) {
            return Ok(address.clone());
        }
        let address = format!("127.0.0.1:{}", free_port()?);
        reserved.insert(name.to_owned(), address.clone());
        Ok(address)
    }

    /// Where the Prometheus of a sidecar keeps its data.
    pub fn tsdb(&self, sidecar: &str) -> PathBuf {
        self.dir.join(format!("tsdb-{sidecar}"))
    }

    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    async fn thanos(&self, verb: &str, name: &str, program: &Path, args: &[&str]) -> anyhow::Result<Service> {
        let (http, grpc) = (self.reserve(name)?, format!("127.0.0.1:{}", free_port()?));
        let mut command = Command::new(program);
        command
            .arg(verb)
            .args([format!("--http-address={http}"), format!("--grpc-address={grpc}")])
            .args(args)
            .current_dir(self.folder(name)?);
        let process = Process::start(name, &mut command, &self.dir)?;
        self.ready(Service { process, http, grpc }, name).await
    }

    async fn ready(&self, mut service: Service, name: &str) -> anyhow::Result<Service> {
        let what = format!("{name} to be ready");
        let ready = wait(&what, || {
            // An ended process will not get ready: stop waiting.
            let alive = service.process.alive();
            let (client, url) = (&self.client, service.url("/-/ready"));
            async move { if alive.is_err() { Ok(alive) } else { client.text(&url).await.map(|_| Ok(())) } }
        });
        match ready.await {
            Ok(alive) => alive.map(|()| service),
            Err(error) => Err(error.context(service.process.tail())),
        }
    }
}

/// The bucket configuration of a folder.
pub fn filesystem(dir: &Path) -> String {
    format!("{{type: FILESYSTEM, config: {{directory: '{}'}}}}", dir.display())
}

/// The bucket configuration of the S3 server that `cargo xtask servers` started, below a prefix; `None`
/// where it has not been.
pub fn s3(prefix: &str) -> Option<String> {
    let var = |name: &str| std::env::var(format!("ATHANOR_S3_{name}")).ok();
    Some(format!(
        "{{type: S3, config: {{endpoint: '{}', bucket: '{}', access_key: '{}', secret_key: '{}', insecure: true}}, prefix: '{prefix}'}}",
        var("ENDPOINT")?,
        var("BUCKET")?,
        var("ACCESS_KEY")?,
        var("SECRET_KEY")?
    ))
}

/// A label of each series in a vector or matrix, sorted.
pub fn labels_of(data: &Value, label: &str) -> Vec<String> {
    let series = data["result"].as_array().into_iter().flatten();
    let mut out: Vec<String> =
        series.map(|s| s["metric"][label].as_str().unwrap_or_default().to_owned()).collect();
    out.sort();
    out
}
