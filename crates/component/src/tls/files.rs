//! Certificates in files that are rotated.
//!
//! Reads PEM files and hands the newest good pair to each handshake. It knows no flag. Invariant: a
//! changed pair is used from the next handshake on; while it cannot be read, handshakes fail with a
//! log line, as in Thanos, because the old pair may have been withdrawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Error;

/// The roots in a PEM bundle.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let shown = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let pem = std::fs::read(path).map_err(|e| Error::Ca { doing: "reading", reason: shown(&e) })?;
    roots_of(&pem).map_err(|reason| Error::Ca { doing: "building", reason: shown(&reason) })
}

/// The roots in PEM text; those that cannot be read are left out, none at all is an error.
pub(crate) fn roots_of(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let readable = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(readable);
    if added == 0 { Err("no certificate found".to_owned()) } else { Ok(roots) }
}

/// A pair of PEM texts, ready to sign.
pub(crate) fn certified(cert: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|e| format!("certificate: {e}"))?;
    if chain.is_empty() {
        return Err("certificate: none found".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("key: {e}"))?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|e| e.to_string())?;
    certified.keys_match().or_else(|e| match e {
        // A key that does not show its public half is believed.
        rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown) => Ok(()),
        e => Err(e.to_string()),
    })?;
    Ok(certified)
}

#[derive(Debug)]
struct Loaded {
    stamps: [SystemTime; 2],
    pair: Arc<CertifiedKey>,
}

/// A certificate and its key in two files.
#[derive(Debug)]
pub(crate) struct CertifiedFiles {
    side: &'static str,
    paths: [PathBuf; 2],
    provider: Arc<CryptoProvider>,
    loaded: Mutex<Option<Loaded>>,
}

impl CertifiedFiles {
    /// Reads the files for the first time.
    pub(crate) fn load(
        side: &'static str,
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let files = CertifiedFiles {
            side,
            paths: [cert.into(), key.into()],
            provider: provider.clone(),
            loaded: Mutex::new(None),
        };
        files.newest().map_err(|reason| Error::Credentials { side, reason })?;
        Ok(files)
    }

    /// The pair as the files hold it at present.
    fn newest(&self) -> Result<Arc<CertifiedKey>, String> {
        let [cert, key] = &self.paths;
        let shown = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let stamp =
            |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).map_err(|e| shown(path, &e));
        let stamps = [stamp(cert)?, stamp(key)?];
        let mut loaded = self.loaded.lock();
        if let Some(loaded) = &*loaded
            && loaded.stamps == stamps
        {
            return Ok(loaded.pair.clone());
        }
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| shown(path, &e));
        let pair = certified(&read(cert)?, &read(key)?, &self.provider).map_err(|e| shown(cert, &e))?;
        let pair = Arc::new(pair);
        *loaded = Some(Loaded { stamps, pair: pair.clone() });
        Ok(pair)
    }

    fn for_handshake(&self) -> Option<Arc<CertifiedKey>> {
        let newest = self.newest();
        if let Err(err) = &newest {
            tracing::error!(err, "{} credentials", self.side);
        }
        newest.ok()
    }
}

impl ResolvesServerCert for CertifiedFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_handshake()
    }
}

impl ResolvesClientCert for CertifiedFiles {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.for_handshake()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
