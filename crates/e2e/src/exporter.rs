//! A scrape target whose samples carry their own timestamps.
//!
//! Every two seconds it shows the next sample of a few made-up series; scraped more often than that,
//! two Prometheus servers end up with the very same samples, so that a deduplicated answer can be
//! compared bit by bit with each one's own. Timestamps lie half a second off the full second, hence
//! never on the boundary of a range. Invariant: a value depends on its timestamp alone.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running exporter; ends when dropped.
#[derive(Debug)]
pub struct Exporter {
    address: String,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move { serve(stream).await.ok() });
            }
        });
        Ok(Exporter { address, task })
    }

    /// A Prometheus configuration that scrapes it: one of the replicas of cluster `test`.
    pub fn scraped_by(&self, replica: &str) -> String {
        format!(
            "global:\n  scrape_interval: 500ms\n  external_labels: {{cluster: test, replica: {replica}}}\n\
             scrape_configs:\n- job_name: shop\n  static_configs: [{{targets: ['{}']}}]\n",
            self.address
        )
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads requests on one connection and answers each with the current sample of every series.
async fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&buffer[..n]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            let body = page(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
        }
    }
}

/// The text that a scrape at `now` gets.
fn page(now: i64) -> String {
    use std::fmt::Write as _;
    let t = (now - 500).div_euclid(2000) * 2000 + 500;
    let n = t.div_euclid(2000);
    let mut out = String::from("# TYPE shop_orders_total counter\n");
    for (shop, pace) in [("north", 3), ("south", 7)] {
        let _ = writeln!(out, "shop_orders_total{{shop=\"{shop}\"}} {} {t}", n.rem_euclid(1 << 20) * pace);
    }
    // Starts anew every now and then.
    out.push_str("# TYPE shop_batches_total counter\n");
    let _ = writeln!(out, "shop_batches_total {} {t}", n.rem_euclid(23));
    out.push_str("# TYPE shop_temperature gauge\n");
    let _ = writeln!(out, "shop_temperature {} {t}", 20.0 + (n as f64).sin());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stays_the_same_for_two_seconds_and_is_never_ahead() {
        assert_eq!(page(10_500), page(12_499));
        assert_ne!(page(12_499), page(12_500));
        assert!(page(10_499).contains("shop_batches_total 4 8500\n"), "{}", page(10_499));
    }
}
