//! Go's names of cipher suites and key exchanges.
//!
//! Chooses from what the crypto provider has by the names that flags and files use. It knows no
//! file. Invariant: every name that Go accepts is accepted; suites and curves that `rustls` does not
//! have are left out with a log line, and a choice that leaves nothing is an error.

use rustls::CipherSuite;
use rustls::NamedGroup;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::Error;

/// Go's `tls.CipherSuites()`, sorted, with the suite where `rustls` has it.
static SUITES: [(&str, Option<CipherSuite>); 13] = [
    ("TLS_AES_128_GCM_SHA256", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
];

/// Go's curves, sorted, with the group where `rustls` may have it.
static CURVES: [(&str, NamedGroup); 7] = [
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
    ("CurveP521", NamedGroup::secp521r1),
    ("SecP256r1MLKEM768", NamedGroup::secp256r1MLKEM768),
    ("SecP384r1MLKEM1024", NamedGroup::Unknown(0x11ed)),
    ("X25519", NamedGroup::X25519),
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
];

fn valid<T>(known: &[(&str, T)]) -> String {
    known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The known ones by `names`, each of which may be several with commas, as prometheus-operator passes
/// them.
fn chosen<T: Copy>(
    what: &'static str,
    names: &[String],
    known: &'static [(&'static str, T)],
) -> Result<Vec<(&'static str, T)>, Error> {
    let choose = |name: &str| {
        known.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| Error::Name {
            what,
            name: name.to_owned(),
            valid: valid(known),
        })
    };
    names.iter().flat_map(|list| list.split(',')).map(choose).collect()
}

/// A crypto provider with these suites and curves only; no names are all it has.
pub(crate) fn provider(ciphers: &[String], curves: &[String]) -> Result<CryptoProvider, Error> {
    let mut provider = aws_lc_rs::default_provider();
    let suites = chosen("cipher suite", ciphers, &SUITES)?;
    let groups = chosen("curve", curves, &CURVES)?;
    if !ciphers.is_empty() {
        // As in Go, the choice is one of TLS 1.2 suites; those of TLS 1.3 are not configurable.
        provider.cipher_suites.retain(|have| {
            have.version() == &rustls::version::TLS13
                || suites.iter().any(|(_, suite)| *suite == Some(have.suite()))
        });
    }
    if !curves.is_empty() {
        let mut kept = Vec::new();
        for (name, group) in groups {
            match aws_lc_rs::ALL_KX_GROUPS.iter().find(|have| have.name() == group) {
                Some(have) => kept.push(*have),
                None => tracing::warn!(curve = name, "key exchange is not available and left out"),
            }
        }
        if kept.is_empty() {
            return Err(rustls::Error::General("no configured curve is available".to_owned()).into());
        }
        provider.kx_groups = kept;
    }
    Ok(provider)
}
