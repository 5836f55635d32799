//! The HTTP client of a bucket, from `http_config`.
//!
//! Holds the keys, their defaults and the one TLS stack. It knows nothing of S3. Invariant: a client
//! certificate is read anew for every connection, so that it can be renewed without a restart.
//! Facts: upstream `exthttp`, where `disable_compression` and `tls_config.insecure_skip_verify` have no
//! effect, and no request asks for `100 Continue`.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_norway::Value;

use crate::config::values::{Section, boolean, duration, number, text};

/// How long a dial may take, as upstream's.
const DIAL: Duration = Duration::from_secs(30);

/// `http_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpConfig {
    /// How long an idle connection is kept; 0 for ever.
    pub(super) idle_conn_timeout: Duration,
    /// How long the head of an answer may take after the request; 0 for ever.
    pub(super) response_header_timeout: Duration,
    pub(super) insecure_skip_verify: bool,
    /// Added to the time a dial may take.
    pub(super) tls_handshake_timeout: Duration,
    /// Idle connections kept; 0 for any number.
    pub(super) max_idle_conns: u64,
    /// Idle connections kept per host; 0 for two. A bucket has one host: the smaller counts.
    pub(super) max_idle_conns_per_host: u64,
    /// Connections per host; 0 for any number.
    pub(super) max_conns_per_host: u64,
    pub(super) tls: TlsConfig,
}

/// `tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// Replaces the system's roots.
    pub(super) ca_file: String,
    pub(super) cert_file: String,
    pub(super) key_file: String,
    /// The name the server's certificate must carry instead of the host's.
    pub(super) server_name: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            idle_conn_timeout: Duration::from_secs(90),
            response_header_timeout: Duration::from_secs(120),
            insecure_skip_verify: false,
            tls_handshake_timeout: Duration::from_secs(10),
            max_idle_conns: 100,
            max_idle_conns_per_host: 100,
            max_conns_per_host: 0,
            tls: TlsConfig::default(),
        }
    }
}

impl HttpConfig {
    pub(super) fn parse(value: &Value) -> Result<HttpConfig, String> {
        let mut config = HttpConfig::default();
        if matches!(value, Value::Null) {
            // Every field at its zero value.
            config.idle_conn_timeout = Duration::ZERO;
            config.response_header_timeout = Duration::ZERO;
            config.tls_handshake_timeout = Duration::ZERO;
            (config.max_idle_conns, config.max_idle_conns_per_host) = (0, 0);
            return Ok(config);
        }
        let mut section = Section::new(value, "exthttp.HTTPConfig")?;
        section.read("idle_conn_timeout", &mut config.idle_conn_timeout, duration)?;
        section.read("response_header_timeout", &mut config.response_header_timeout, duration)?;
        section.read("insecure_skip_verify", &mut config.insecure_skip_verify, boolean)?;
        section.read("tls_handshake_timeout", &mut config.tls_handshake_timeout, duration)?;
        // No request of ours asks for it, nor do upstream's.
        let mut expect_continue = Duration::ZERO;
        section.read("expect_continue_timeout", &mut expect_continue, duration)?;
        section.read("max_idle_conns", &mut config.max_idle_conns, number)?;
        section.read("max_idle_conns_per_host", &mut config.max_idle_conns_per_host, number)?;
        section.read("max_conns_per_host", &mut config.max_conns_per_host, number)?;
        section.read("disable_compression", &mut false, boolean)?;
        if let Some(value) = section.take("tls_config") {
            let mut tls = Section::new(&value, "exthttp.TLSConfig")?;
            tls.read("ca_file", &mut config.tls.ca_file, text)?;
            tls.read("cert_file", &mut config.tls.cert_file, text)?;
            tls.read("key_file", &mut config.tls.key_file, text)?;
            tls.read("server_name", &mut config.tls.server_name, text)?;
            tls.read("insecure_skip_verify", &mut false, boolean)?;
            tls.end()?;
        }
        section.end()?;
        Ok(config)
    }

    /// A client; `loopback` hosts are never reached through a proxy.
    pub(super) fn client(&self, loopback: bool) -> Result<reqwest::Client, String> {
        let idle = match (self.max_idle_conns, self.max_idle_conns_per_host) {
            (all, 0) => {
                if all == 0 {
                    2
                } else {
                    all.min(2)
                }
            }
            (0, per) => per,
            (all, per) => all.min(per),
        };
        let some = |d: Duration| (!d.is_zero()).then_some(d);
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(usize::try_from(idle).unwrap_or(usize::MAX))
            .pool_idle_timeout(some(self.idle_conn_timeout))
            .connect_timeout(DIAL + self.tls_handshake_timeout)
            .tcp_keepalive(DIAL)
            .tls_backend_preconfigured(self.tls()?);
        if loopback {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|e| e.to_string())
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let verified = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider.clone())))
        } else if self.tls.server_name.is_empty() {
            builder.with_root_certificates(self.roots()?)
        } else {
            let name = ServerName::try_from(self.tls.server_name.clone()).map_err(|e| e.to_string())?;
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone())
                    .build()
                    .map_err(|e| e.to_string())?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Named { inner, name }))
        };
        let (cert, key) = (&self.tls.cert_file, &self.tls.key_file);
        match (cert.is_empty(), key.is_empty()) {
            (true, true) => Ok(verified.with_no_client_auth()),
            (false, true) => Err(format!("client cert file {cert:?} specified without client key file")),
            (true, false) => Err(format!("client key file {key:?} specified without client cert file")),
            (false, false) => {
                let files = ClientCertificate { cert: cert.clone(), key: key.clone(), provider };
                files.read().map_err(|e| {
                    format!("unable to use specified client cert ({cert}) & key ({key}): {e}")
                })?;
                Ok(verified.with_client_cert_resolver(Arc::new(files)))
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if self.tls.ca_file.is_empty() {
            // None at all is the connection's problem: a bucket without TLS needs none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        }
        let file = &self.tls.ca_file;
        let pem = std::fs::read(file).map_err(|e| format!("unable to load specified CA cert {file}: {e}"))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        match roots.add_parsable_certificates(certificates) {
            (0, _) => Err(format!("unable to use specified CA cert {file}")),
            _ => Ok(roots),
        }
    }
}

/// A client certificate that may be renewed.
#[derive(Debug)]
struct ClientCertificate {
    cert: String,
    key: String,
    provider: Arc<CryptoProvider>,
}

impl ClientCertificate {
    fn read(&self) -> Result<CertifiedKey, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let chain = std::fs::read(&self.cert).map_err(|e| text(&e))?;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|e| text(&e))?;
        let key = std::fs::read(&self.key).map_err(|e| text(&e))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| text(&e))?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|e| text(&e))
    }
}

impl rustls::client::ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match self.read() {
            Ok(key) => Some(Arc::new(key)),
            Err(e) => {
                tracing::error!(err = e, cert = self.cert, "client certificate cannot be used");
                None
            }
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Expects another name than the host's.
#[derive(Debug)]
struct Named {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate whose key signs, as `insecure_skip_verify` asks for.
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
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
