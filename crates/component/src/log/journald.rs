//! The systemd journal as a place for log entries.
//!
//! Speaks the journal's native datagram protocol; entries too large for a datagram are cut, not lost.
//! It knows no other sink. Invariant: opening fails where no journal listens, so that logs never
//! vanish. Protocol: systemd's "Native Journal Protocol".

use std::os::unix::net::UnixDatagram;

use super::{Entry, Sink};

const SOCKET: &str = "/run/systemd/journal/socket";
/// Keeps a datagram under the usual socket buffer.
const MAX_VALUE: usize = 48 * 1024;

pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn open() -> Option<Self> {
        Self::open_at(SOCKET)
    }

    pub(super) fn open_at(path: &str) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        Some(Journal(socket))
    }
}

impl Sink for Journal {
    fn write(&self, entry: &Entry) {
        // A journal that went away has nowhere to complain.
        let _ = self.0.send(&datagram(entry));
    }
}

fn datagram(entry: &Entry) -> Vec<u8> {
    let error = || entry.fields.iter().find(|(name, _)| name == "err").map(|(_, v)| v.text());
    let message = entry.message.clone().or_else(error).unwrap_or_default();
    let priority = match entry.level {
        "error" => "3",
        "warn" => "4",
        "info" => "6",
        _ => "7",
    };
    let mut out = Vec::new();
    push(&mut out, "MESSAGE", &message);
    push(&mut out, "PRIORITY", priority);
    for (name, value) in entry.head.iter().chain(&entry.fields) {
        let upper: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        push(&mut out, &format!("THANOS_{upper}"), &value.text());
    }
    out
}

/// `NAME=value`, or for values with newlines the name, the length as little endian, and the bytes.
fn push(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value[..end];
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}
