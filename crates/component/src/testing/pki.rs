//! Certificates for tests, made on the spot.
//!
//! Holds an authority that signs for names and writes PEM files. It knows no TLS configuration.
//! Invariant: nothing outlives the folder that the test gives.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority whose certificate is in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its certificate.
    pub(crate) ca: String,
}

impl Authority {
    /// A new authority that writes into `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, issuer.pem()).unwrap();
        Authority { issuer, folder: folder.to_owned(), ca: ca.display().to_string() }
    }

    /// Writes `<file>.pem` and `<file>.key` for `names`, and gives their paths.
    pub(crate) fn sign(&self, file: &str, names: &[&str]) -> (String, String) {
        let names = names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.folder.join(format!("{file}.{end}"));
        std::fs::write(path("pem"), cert.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("pem").display().to_string(), path("key").display().to_string())
    }
}
