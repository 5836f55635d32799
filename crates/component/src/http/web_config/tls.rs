//! The TLS part of the web configuration.
//!
//! Turns exporter-toolkit's fields into a `rustls` configuration, again whenever a field or a file has
//! changed. It opens no connection. Invariant: a client certificate is verified exactly when its policy
//! says so; TLS 1.0 and 1.1 as limits mean 1.2, the lowest that `rustls` speaks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls::{RootCertStore, SupportedProtocolVersion, client::danger::HandshakeSignatureValid};
use serde::Deserialize;

use super::Error;
use crate::tls::{certified, names, roots_of, system_roots};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    cert: String,
    key: String,
    client_ca: String,
    cert_file: String,
    key_file: String,
    client_auth_type: String,
    client_ca_file: String,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    prefer_server_cipher_suites: Option<bool>,
    client_allowed_sans: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Version {
    #[serde(rename = "TLS10")]
    V10,
    #[serde(rename = "TLS11")]
    V11,
    #[serde(rename = "TLS12")]
    V12,
    #[serde(rename = "TLS13")]
    V13,
}

impl Settings {
    /// Whether TLS is meant at all.
    pub(super) fn is_present(&self) -> bool {
        [
            &self.cert,
            &self.key,
            &self.client_ca,
            &self.cert_file,
            &self.key_file,
            &self.client_auth_type,
            &self.client_ca_file,
        ]
        .iter()
        .any(|field| !field.is_empty())
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
        let (min, max) = (self.min_version.unwrap_or(Version::V12), self.max_version.unwrap_or(Version::V13));
        let mut versions = Vec::new();
        if max == Version::V13 {
            versions.push(&rustls::version::TLS13);
        }
        if min <= Version::V12 && max >= Version::V12 {
            versions.push(&rustls::version::TLS12);
        }
        if versions.is_empty() {
            return Err(Error::Invalid(
                "no TLS version from min_version to max_version is available".to_owned(),
            ));
        }
        Ok(versions)
    }

    fn verifier(
        &self,
        folder: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        let invalid = |text: String| Error::Invalid(text);
        let ca = text_or_file(&self.client_ca, &self.client_ca_file, folder, "client_ca_file")?;
        let (verified, mandatory) = match self.client_auth_type.as_str() {
            "" | "NoClientCert" if ca.is_empty() => return Ok(None),
            "" | "NoClientCert" => {
                let text = "client CA's have been configured without a Client Auth Policy";
                return Err(invalid(text.to_owned()));
            }
            "RequestClientCert" => (false, false),
            "RequireAnyClientCert" | "RequireClientCert" => (false, true),
            "VerifyClientCertIfGiven" => (true, false),
            "RequireAndVerifyClientCert" => (true, true),
            other => return Err(invalid(format!("invalid ClientAuth: {other}"))),
        };
        let signed = if verified {
            let roots =
                if ca.is_empty() { system_roots()? } else { roots_of(ca.as_bytes()).map_err(invalid)? };
            let builder = WebPkiClientVerifier::builder_with_provider(
                Arc::<RootCertStore>::new(roots),
                provider.clone(),
            );
            let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
            Some(builder.build().map_err(|e| invalid(e.to_string()))?)
        } else {
            None
        };
        let sans = self.client_allowed_sans.clone();
        Ok(Some(Arc::new(Verifier { signed, mandatory, sans, provider: provider.clone() })))
    }

    fn server(&self, folder: &Path, http2: bool) -> Result<ServerConfig, Error> {
        if self.cert.is_empty() && self.cert_file.is_empty() {
            return Err(Error::Invalid("missing one of cert or cert_file".to_owned()));
        }
        if self.key.is_empty() && self.key_file.is_empty() {
            return Err(Error::Invalid("missing one of key or key_file".to_owned()));
        }
        let provider = Arc::new(names::provider(&self.cipher_suites, &self.curve_preferences)?);
        // A file wins over text, as upstream.
        let cert = text_or_file(&self.cert, &self.cert_file, folder, "cert_file")?;
        let key = text_or_file(&self.key, &self.key_file, folder, "key_file")?;
        let pair = certified(cert.as_bytes(), key.as_bytes(), &provider)
            .map_err(|e| Error::Invalid(format!("failed to load X509KeyPair: {e}")))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(crate::tls::Error::from)?;
        let builder = match self.verifier(folder, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(config)
    }

    /// When the files that it names were changed.
    fn stamps(&self, folder: &Path) -> Vec<Option<SystemTime>> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        let stamp = |file: &&String| std::fs::metadata(folder.join(file)).and_then(|m| m.modified()).ok();
        files.iter().filter(|f| !f.is_empty()).map(stamp).collect()
    }
}

fn text_or_file(text: &str, file: &str, folder: &Path, field: &str) -> Result<String, Error> {
    if file.is_empty() {
        return Ok(text.to_owned());
    }
    let path: PathBuf = folder.join(file);
    std::fs::read_to_string(&path)
        .map_err(|e| Error::Io(format!("failed to read {field} ({}): {e}", path.display())))
}

struct Made {
    settings: Settings,
    http2: bool,
    stamps: Vec<Option<SystemTime>>,
    config: Arc<ServerConfig>,
}

/// The configuration last made, while nothing has changed.
#[derive(Default)]
pub(super) struct Reloaded(Mutex<Option<Made>>);

impl std::fmt::Debug for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reloaded")
    }
}

impl Reloaded {
    /// What `settings` say, with files read anew when they have changed.
    pub(super) fn server(
        &self,
        settings: &Settings,
        folder: &Path,
        http2: bool,
    ) -> Result<Arc<ServerConfig>, Error> {
        let stamps = settings.stamps(folder);
        let mut made = self.0.lock();
        if let Some(made) = &*made
            && made.settings == *settings
            && made.http2 == http2
            && made.stamps == stamps
        {
            return Ok(made.config.clone());
        }
        let config = Arc::new(settings.server(folder, http2)?);
        *made = Some(Made { settings: settings.clone(), http2, stamps, config: config.clone() });
        Ok(config)
    }
}

/// Client certificates under one of the six policies, by name where names are listed.
#[derive(Debug)]
struct Verifier {
    signed: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

/// Whether a certificate carries one of `allowed`: DNS names and URIs as they are, IP addresses by value.
fn carries(certificate: &CertificateDer<'_>, allowed: &[String]) -> bool {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let mut texts = parsed.valid_dns_names().chain(parsed.valid_uri_names());
    if texts.any(|name| allowed.iter().any(|a| a == name)) {
        return true;
    }
    let ips = allowed.iter().filter_map(|a| a.parse::<std::net::IpAddr>().ok());
    ips.map(ServerName::from).any(|ip| parsed.verify_is_valid_for_subject_name(&ip).is_ok())
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.as_ref().map_or(&[], |signed| signed.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(signed) = &self.signed {
            signed.verify_client_cert(end_entity, intermediates, now)?;
        }
        match &self.sans {
            Some(allowed) if !carries(end_entity, allowed) => Err(rustls::Error::General(format!(
                "could not find allowed SANs in client cert, found: {allowed:?}"
            ))),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
