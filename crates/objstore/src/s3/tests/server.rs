//! A server of scripted HTTP answers, which may lie, hang, drip or hang up.
//!
//! Speaks raw HTTP/1.1 over TCP or TLS, because no HTTP library would send what a broken server sends.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// With the query.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// What follows an answer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection serves on.
    Keep,
    Close,
    /// Nothing, for ever.
    Hang,
    /// A byte now and then, for ever.
    Drip,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The length announced, where it is not the body's.
    pub(super) length: Option<usize>,
    pub(super) then: Then,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: vec![], body: body.into(), length: None, then: Then::Keep }
    }

    /// An error document.
    pub(super) fn error(status: u16, code: &str) -> Answer {
        let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        Answer::new(status, xml)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn then(mut self, then: Then) -> Answer {
        self.then = then;
        self
    }
}

/// Answers the request, the `n`th.
type Script = Box<dyn Fn(usize, &Request) -> Answer + Send + Sync>;

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    /// Connections that the client closed.
    closed: Mutex<usize>,
}

pub(super) struct Server {
    pub(super) address: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Server {
        Server::listen(None, Box::new(script)).await
    }

    pub(super) async fn start_tls(
        config: rustls::ServerConfig,
        script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::listen(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config))), Box::new(script)).await
    }

    async fn listen(tls: Option<tokio_rustls::TlsAcceptor>, script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen::default());
        let (script, for_task) = (Arc::new(script), seen.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, script, seen) = (tls.clone(), script.clone(), for_task.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(tcp, &script, &seen).await,
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => serve(stream, &script, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Server { address, seen, task }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().clone()
    }

    /// Methods and targets so far.
    pub(super) fn log(&self) -> Vec<String> {
        self.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect()
    }

    /// Waits until the client has closed a connection.
    pub(super) async fn closed(&self) {
        while *self.seen.closed.lock() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Serves one connection until it ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: &Script, seen: &Seen) -> Option<()> {
    loop {
        let Some(request) = read(&mut stream).await else {
            *seen.closed.lock() += 1;
            return None;
        };
        let answer = {
            let mut requests = seen.requests.lock();
            requests.push(request.clone());
            script(requests.len() - 1, &request)
        };
        let length = answer.length.unwrap_or(answer.body.len());
        let mut head = format!("HTTP/1.1 {} x\r\ncontent-length: {length}\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if answer.status != 0 {
            stream.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
        }
        if request.method != "HEAD" {
            stream.write_all(&answer.body).await.ok()?;
        }
        stream.flush().await.ok()?;
        match answer.then {
            Then::Keep => {}
            Then::Close => {
                stream.shutdown().await.ok()?;
                return None;
            }
            Then::Hang => {
                // Ends when the client hangs up.
                while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
                *seen.closed.lock() += 1;
                return None;
            }
            Then::Drip => {
                while stream.write_all(b"x").await.is_ok() {
                    stream.flush().await.ok();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                *seen.closed.lock() += 1;
                return None;
            }
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = bytes.split_off(end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { method, target, headers, body })
}
