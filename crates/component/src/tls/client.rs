//! TLS towards servers.
//!
//! Makes a `rustls` configuration and the name to expect from the gRPC client's settings. It dials
//! nothing. Invariant: without a CA file the system's roots count, and certificates go unverified
//! only when asked for.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{CertifiedFiles, Error, roots, versions};
use crate::flags::groups::GrpcClient;

/// How to make a connection to a server private.
#[derive(Clone, Debug)]
pub struct Client {
    /// Versions, roots, own certificate.
    pub config: Arc<ClientConfig>,
    /// The name expected in the server's certificate; that of the host where `None`.
    pub server_name: Option<ServerName<'static>>,
}

/// What `settings` ask for, `None` for plain text.
///
/// # Errors
/// [`Error`].
pub fn client(settings: &GrpcClient) -> Result<Option<Client>, Error> {
    if !settings.secure {
        return Ok(None);
    }
    tracing::debug!("enabling client to server TLS");
    let roots = if settings.ca.is_empty() { system_roots()? } else { roots(Path::new(&settings.ca))? };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let lowest = if settings.min_version.is_empty() { "1.2" } else { &settings.min_version };
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions(lowest)?)?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match (settings.cert.as_str(), settings.key.as_str()) {
        ("", "") => builder.with_no_client_auth(),
        ("", _) | (_, "") => return Err(Error::ClientHalf),
        (cert, key) => {
            let files = CertifiedFiles::load("client", cert, key, &provider)?;
            builder.with_client_cert_resolver(Arc::new(files))
        }
    };
    if settings.skip_verify {
        config.dangerous().set_certificate_verifier(Arc::new(Unverified(provider)));
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = &settings.server_name;
    let server_name = if name.is_empty() {
        None
    } else {
        let bad = |e: rustls::pki_types::InvalidDnsNameError| {
            rustls::Error::General(format!("server name {name:?}: {e}"))
        };
        Some(ServerName::try_from(name.clone()).map_err(bad)?)
    };
    Ok(Some(Client { config: Arc::new(config), server_name }))
}

/// The roots that the system trusts.
pub(crate) fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    // No roots at all is no error in Go either: then every certificate is unknown.
    if added == 0 && !found.errors.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(Error::SystemRoots(errors.join("; ")));
    }
    Ok(roots)
}

/// Accepts every certificate, but not a signature that is not its own.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
