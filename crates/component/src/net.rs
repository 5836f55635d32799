//! Listening sockets, as Go's `net.Listen` understands addresses.
//!
//! `:10902` means all addresses of both families, names are resolved. It speaks no protocol.
//! Invariant: accepting goes on after a passing error, so that running out of descriptors for a moment
//! does not stop a server.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs as _};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const BACKLOG: i32 = 1024;

/// Binds `host:port`; an empty host is every address, IPv6 included where the machine has it.
///
/// # Errors
/// When the address is malformed, cannot be resolved or is in use.
pub(crate) fn bind(address: &str) -> io::Result<StdListener> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{why}: {address:?}"));
    let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("missing port in address"))?;
    if host.is_empty() || host == "[::]" {
        let port: u16 = port.parse().map_err(|_| invalid("invalid port"))?;
        let both = listen(SocketAddr::from(([0u16; 8], port)), true);
        return match both {
            // No IPv6 here.
            Err(e) if e.kind() != io::ErrorKind::AddrInUse => listen(SocketAddr::from(([0; 4], port)), false),
            other => other,
        };
    }
    let mut last = invalid("no address");
    for resolved in address.to_socket_addrs()? {
        match listen(resolved, false) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr, both_families: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!both_families)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next connection, or `None` when it is time to stop.
pub(crate) async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Answers are written whole; waiting for more bytes only delays them.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            Err(e) => {
                tracing::warn!(err = %e, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
