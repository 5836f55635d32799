//! A service as a process, with ports of its own.
//!
//! Starts a binary, asks it over HTTP and ends it. It knows no service's endpoints. Invariant: the
//! process ends with its value, whatever the test does.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running service.
#[derive(Debug)]
pub struct Service {
    process: Child,
    /// Where it serves HTTP.
    pub http: String,
    /// Where it serves gRPC.
    pub grpc: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").to_string()
}

impl Service {
    /// Starts `binary verb arguments…` on free ports.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(binary: &str, verb: &str, arguments: &[String]) -> Self {
        let (http, grpc) = (free_address(), free_address());
        let mut command = Command::new(binary);
        command.arg(verb).arg(format!("--http-address={http}")).arg(format!("--grpc-address={grpc}"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("the binary starts");
        Service { process, http, grpc }
    }

    /// Status and body of a GET, or `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.http).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Waits until `/-/ready` answers 200.
    ///
    /// # Panics
    /// When that has not happened within a minute.
    pub fn wait_ready(&self) {
        for _ in 0..600 {
            if self.get("/-/ready").is_some_and(|(status, _)| status == 200) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("not ready: {:?}", self.get("/-/ready"));
    }
}
