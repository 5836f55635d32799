//! The argument lists of prometheus-operator, bitnami's chart and kube-thanos start our binaries.
//!
//! Each list is as those render it; only ports and folders are this test's. Where the machine allows,
//! a service runs as they run it: without rights, under a uid that owns nothing but its data, on a
//! root file system that is read-only.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::harness::{self, Client, Fleet, Process, free_port, wait};

/// A uid that owns nothing.
const NOBODY: u32 = 65534;

/// Folders of one service: `conf` is read, `data` is written.
struct Place {
    dir: tempfile::TempDir,
    http: u16,
    grpc: u16,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place { dir, http: free_port().unwrap(), grpc: free_port().unwrap() };
        for folder in ["conf", "data", "bucket"] {
            std::fs::create_dir(place.path(folder)).unwrap();
        }
        place.own("data");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a folder writable for the service.
    fn own(&self, name: &str) {
        if is_root() {
            chown(self.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.path("conf").join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// As a secret holds it: on several lines.
    fn bucket(&self) -> String {
        format!("type: FILESYSTEM\nconfig:\n  directory: {}\n", self.path("bucket").display())
    }

    /// Starts a service, waits for its probes, asks for metrics, stops it.
    async fn starts(&self, service: &str, args: &[String]) {
        // A copy that any uid may run, wherever the checkout lies.
        let program = self.path(service);
        std::fs::copy(harness::build(service).unwrap(), &program).unwrap();
        let mut command = restricted(&program, &self.path("data"));
        command.args(args).env_clear().current_dir("/");
        let mut process = Process::start(service, &mut command, self.dir.path()).unwrap();
        let client = Client::new().unwrap();
        let told = |e: anyhow::Error, process: &Process| panic!("{args:?}: {e:#}\n{}", process.tail());
        for path in ["/-/healthy", "/-/ready", "/metrics"] {
            let url = format!("http://127.0.0.1:{}{path}", self.http);
            let asked = wait(path, || {
                let alive = process.alive();
                let (client, url) = (client.clone(), url.clone());
                async move {
                    match alive {
                        Err(ended) => Ok(Err(ended)),
                        Ok(()) => client.text(&url).await.map(Ok),
                    }
                }
            });
            if let Err(e) = asked.await.and_then(|answer| answer) {
                told(e, &process);
            }
        }
        let status = process.stop(Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program without rights on a read-only root; as far as this machine lets us.
fn restricted(program: &Path, data: &Path) -> Command {
    let available = |words: &[&str]| {
        Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
    };
    let unprivileged = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let setpriv = [&["setpriv"], &unprivileged[..], &["true"]].concat();
    if !is_root() || !available(&setpriv) {
        harness::not_run("another uid: this is not root, or there is no setpriv");
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    if available(&["unshare", "--mount", "sh", "-c", "mount --bind / / && mount -o remount,bind,ro /"]) {
        command = Command::new("unshare");
        let script =
            "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro / && shift && exec setpriv \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(data);
    } else {
        harness::not_run("a read-only root: this machine does not let us mount");
    }
    command.args(unprivileged).arg(program);
    command
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_sidecar_arguments_start_the_sidecar() {
    let Some(prometheus) = harness::outside("ATHANOR_PROMETHEUS", "prometheus") else {
        return harness::not_run("the operator's sidecar arguments: there is no prometheus");
    };
    let help = Command::new(&prometheus).arg("--help").output().unwrap();
    let delays = String::from_utf8_lossy(&help.stdout).contains("delay-compact-file");
    for inline in [false, true] {
        let place = Place::new();
        let fleet = Fleet::new(dir_of(&place)).unwrap();
        let tsdb = fleet.tsdb("a");
        let delay = format!("--storage.tsdb.delay-compact-file.path={}/thanos.shipper.json", tsdb.display());
        let plain = ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"];
        let flags = if delays { vec![delay.as_str()] } else { plain.to_vec() };
        let labels = "global: {external_labels: {prometheus: monitoring/k8s, prometheus_replica: k8s-0}}\n";
        let server = fleet.prometheus("a", &prometheus, labels, &flags).await.unwrap();
        // The data volume: Prometheus' folder, which the sidecar writes to as well.
        std::fs::remove_dir(place.path("data")).unwrap();
        std::os::unix::fs::symlink(&tsdb, place.path("data")).unwrap();
        if is_root() {
            chown(&tsdb, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let bucket = if inline {
            format!("--objstore.config={}", place.bucket())
        } else {
            format!("--objstore.config-file={}", place.file("thanos.yaml", &place.bucket()))
        };
        place.own("bucket");
        let client =
            place.file("prometheus.http-client-file.yaml", "tls_config:\n  insecure_skip_verify: true\n");
        let mut args = vec![
            "sidecar".to_owned(),
            format!("--prometheus.url={}", server.url("/")),
            format!("--grpc-address=:{}", place.grpc),
            format!("--http-address=:{}", place.http),
            "--grpc-server-tls-min-version=1.3".to_owned(),
            bucket,
            format!("--tsdb.path={}", tsdb.display()),
        ];
        if delays {
            args.extend(words(&[
                "--shipper.meta-file-name=thanos.shipper.json",
                "--shipper.ignore-unequal-block-size",
            ]));
        }
        args.extend(words(&[
            "--log.level=debug",
            "--log.format=json",
            "--min-time=-2w",
            "--prometheus.ready_timeout=15m",
            "--prometheus.get_config_timeout=10s",
            "--prometheus.get_config_interval=20s",
        ]));
        args.push(format!("--prometheus.http-client-file={client}"));
        place.starts("sidecar", &args).await;
    }
}

fn dir_of(place: &Place) -> &Path {
    place.dir.path()
}

#[tokio::test(flavor = "multi_thread")]
async fn bitnamis_query_arguments_start_the_querier() {
    let place = Place::new();
    let targets = place.file("servicediscovery.yml", "- targets: ['127.0.0.1:1']\n");
    let mut args = words(&["query", "--log.level=info", "--log.format=logfmt"]);
    args.extend([
        format!("--grpc-address=0.0.0.0:{}", place.grpc),
        format!("--http-address=0.0.0.0:{}", place.http),
        "--query.replica-label=replica".to_owned(),
        format!("--store.sd-files={targets}"),
    ]);
    args.extend(words(&[
        "--endpoint=dnssrv+_grpc._tcp.rel-thanos-storegateway.ns.svc.cluster.invalid",
        "--endpoint-group=rel-thanos-storegateway-headless.ns.svc.cluster.invalid:10901",
        "--endpoint=127.0.0.1:1",
        "--alert.query-url=http://rel-thanos-query.ns.svc.cluster.local:9090",
    ]));
    place.starts("querier", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_thanos_query_arguments_start_the_querier() {
    let place = Place::new();
    let mut args = vec![
        "query".to_owned(),
        format!("--grpc-address=0.0.0.0:{}", place.grpc),
        format!("--http-address=0.0.0.0:{}", place.http),
    ];
    args.extend(words(&[
        "--log.level=info",
        "--log.format=logfmt",
        "--query.replica-label=prometheus_replica",
        "--query.replica-label=rule_replica",
        "--endpoint=dnssrv+_grpc._tcp.thanos-store.thanos.svc.cluster.invalid:10901",
        "--web.external-prefix=",
        "--web.prefix-header=X-Forwarded-Prefix",
        "--query.timeout=5m",
        "--query.lookback-delta=15m",
        "--query.auto-downsampling",
        "--query.promql-engine=thanos",
        "--query.telemetry.request-duration-seconds-quantiles=0.1",
        "--query.telemetry.request-duration-seconds-quantiles=0.25",
        "--query.telemetry.request-samples-quantiles=100",
        "--query.telemetry.request-series-seconds-quantiles=10",
        "--alert.query-url=http://thanos-query:9090",
    ]));
    place.starts("querier", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bitnamis_store_arguments_start_the_store_gateway() {
    let place = Place::new();
    let cache = place.file("index-cache.yml", "type: IN-MEMORY\nconfig:\n  max_size: 250MB\n");
    let bucket = place.file("objstore.yml", &place.bucket());
    let mut args = words(&["store", "--log.level=info", "--log.format=logfmt"]);
    args.extend([
        format!("--grpc-address=0.0.0.0:{}", place.grpc),
        format!("--http-address=0.0.0.0:{}", place.http),
        format!("--data-dir={}", place.path("data").display()),
        format!("--objstore.config-file={bucket}"),
        format!("--index-cache.config-file={cache}"),
    ]);
    args.extend(words(&[
        "--selector.relabel-config=- action: hashmod\n  source_labels: [\"__block_id\"]\n  target_label: shard\n  \
         modulus: 2\n- action: keep\n  source_labels: [\"shard\"]\n  regex: 0\n",
        "--max-time=-2h",
        "--min-time=-4w",
    ]));
    place.starts("store-gateway", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_thanos_store_arguments_start_the_store_gateway() {
    let place = Place::new();
    let json = format!(
        "\"config\":\n  \"directory\": \"{}\"\n\"type\": \"FILESYSTEM\"",
        place.path("bucket").display()
    );
    let mut args = words(&["store", "--log.level=info", "--log.format=logfmt"]);
    args.extend([
        format!("--data-dir={}", place.path("data").display()),
        format!("--grpc-address=0.0.0.0:{}", place.grpc),
        format!("--http-address=0.0.0.0:{}", place.http),
        format!("--objstore.config={json}"),
    ]);
    args.extend(words(&[
        "--ignore-deletion-marks-delay=24h",
        "--index-cache.config=\"config\":\n  \"max_item_size\": \"5MiB\"\n  \"max_size\": \"100MiB\"\n\"type\": \"IN-MEMORY\"",
        "--min-time=-6w",
        "--store.grpc.touched-series-limit=1000000",
        "--store.grpc.series-sample-limit=500000000",
        "--store.grpc.downloaded-bytes-limit=1GB",
        "--max-time=9999-12-31T23:59:59Z",
    ]));
    place.starts("store-gateway", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_store_arguments_start_the_store_gateway() {
    let place = Place::new();
    let bucket = place.file("objstore.yml", &place.bucket());
    let mut args = words(&["store", "--index-cache-size=2GB", "--chunk-pool-size=2GB"]);
    args.extend([
        format!("--data-dir={}", place.path("data").display()),
        format!("--objstore.config-file={bucket}"),
        format!("--http-address=:{}", place.http),
        format!("--grpc-address=:{}", place.grpc),
    ]);
    place.starts("store-gateway", &args).await;
}
