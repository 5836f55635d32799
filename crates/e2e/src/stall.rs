//! A TCP proxy that stops in the middle: for a crash while something is being sent.
//!
//! Passes bytes both ways until a client sends a given text, an object's name in a request say; from
//! then on that connection stands still. It knows no protocol. Invariant: what was passed before the
//! text arrived whole.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A running proxy; ends, with its connections, when dropped.
#[derive(Debug)]
pub struct Stall {
    /// Where to connect instead.
    pub address: String,
    stalled: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Stall {
    /// Passes to `upstream` until a client sends `text`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn before(text: &'static str, upstream: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (upstream, stalled) = (upstream.to_owned(), Arc::new(Notify::new()));
        let notify = stalled.clone();
        let task = tokio::spawn(async move {
            // Held here, so that they end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, notify) = (upstream.clone(), notify.clone());
                connections.spawn(async move { pass(client, &upstream, text, &notify).await.ok() });
            }
        });
        Ok(Stall { address, stalled, task })
    }

    /// Returns when a connection stands still.
    pub async fn stalled(&self) {
        self.stalled.notified().await;
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, upstream: &str, text: &str, stalled: &Notify) -> anyhow::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let (mut buffer, mut line) = (vec![0; 64 << 10], Vec::new());
        loop {
            let n = from_client.read(&mut buffer).await?;
            if n == 0 {
                to_server.shutdown().await?;
                return anyhow::Ok(());
            }
            // The text may be split between reads.
            line.extend_from_slice(&buffer[..n]);
            if line.windows(text.len()).any(|w| w == text.as_bytes()) {
                stalled.notify_one();
                std::future::pending::<()>().await;
            }
            let keep = line.len().saturating_sub(text.len());
            line.drain(..keep);
            to_server.write_all(&buffer[..n]).await?;
        }
    };
    let back = async { anyhow::Ok(tokio::io::copy(&mut from_server, &mut to_client).await.map(drop)?) };
    tokio::try_join!(there, back).map(drop)
}
