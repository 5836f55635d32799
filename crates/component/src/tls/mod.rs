//! TLS for servers and clients, set up as Thanos sets Go's.
//!
//! Holds certificates that are read again when their files change, and configurations for `rustls`
//! made from flags or files. It opens no connection. Invariant: what cannot work is an error at
//! start, in Thanos' words (`pkg/tls/options.go`); what breaks later breaks handshakes, not the
//! process. TLS 1.0 and 1.1 are accepted as lowest versions and mean 1.2, which is the lowest that
//! `rustls` speaks. Parts: `files`, `names`, `client`.

mod client;
mod files;
pub(crate) mod names;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

pub(crate) use client::system_roots;
pub use client::{Client, client};
pub(crate) use files::{CertifiedFiles, certified, roots, roots_of};

use crate::flags::groups::ServerTls;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client CA without certificate and key.
    #[error("when a client CA is used a server key and certificate must also be provided")]
    CaAlone,
    /// One of certificate and key without the other, on a server.
    #[error("both server key and certificate must be provided")]
    ServerHalf,
    /// One of certificate and key without the other, on a client.
    #[error("both client key and certificate must be provided")]
    ClientHalf,
    /// Certificate or key cannot be used.
    #[error("{side} credentials: {reason}")]
    Credentials {
        /// `server` or `client`.
        side: &'static str,
        /// Why, with the file.
        reason: String,
    },
    /// The CA bundle cannot be used.
    #[error("{doing} client CA: {reason}")]
    Ca {
        /// `reading` or `building`.
        doing: &'static str,
        /// Why, with the file.
        reason: String,
    },
    /// The system's roots cannot be used.
    #[error("reading system certificate pool: {0}")]
    SystemRoots(String),
    /// A name that is none of the known ones.
    #[error("invalid {what}: {name}, valid values are {valid}")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// The known ones.
        valid: String,
    },
    /// The parts do not fit together.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The versions from `lowest` (`1.0` to `1.3`) up.
pub(crate) fn versions(lowest: &str) -> Result<&'static [&'static SupportedProtocolVersion], Error> {
    static FROM_12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    static FROM_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match lowest {
        "1.0" | "1.1" | "1.2" => Ok(&FROM_12),
        "1.3" => Ok(&FROM_13),
        name => Err(Error::Name {
            what: "TLS version",
            name: name.to_owned(),
            valid: "1.0, 1.1, 1.2, 1.3".to_owned(),
        }),
    }
}

/// The configuration of a gRPC server, `None` for plain text.
///
/// # Errors
/// [`Error`].
pub fn server(flags: &ServerTls) -> Result<Option<Arc<ServerConfig>>, Error> {
    if flags.cert.is_empty() && flags.key.is_empty() {
        if !flags.client_ca.is_empty() {
            return Err(Error::CaAlone);
        }
        tracing::info!("disabled TLS, key and cert must be set to enable");
        return Ok(None);
    }
    tracing::info!("enabling server side TLS");
    if flags.cert.is_empty() || flags.key.is_empty() {
        return Err(Error::ServerHalf);
    }
    let provider = Arc::new(names::provider(&flags.ciphers, &flags.curves)?);
    let versions = versions(&flags.min_version)?;
    let certified = CertifiedFiles::load("server", &flags.cert, &flags.key, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = if flags.client_ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(roots(Path::new(&flags.client_ca))?);
        tracing::info!("server TLS client verification enabled");
        builder.with_client_cert_verifier(client_verifier(roots, &provider)?)
    };
    let mut config = builder.with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// A verifier that requires a certificate signed by one of `roots`.
pub(crate) fn client_verifier(
    roots: Arc<RootCertStore>,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| Error::Ca { doing: "building", reason: e.to_string() })
}
