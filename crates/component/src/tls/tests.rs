//! TLS between real ends.

use std::time::Duration;

use prometheus::Registry;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::flags::groups::{GrpcClient, GrpcServer};
use crate::grpc::{Connector, Running, Server};
use crate::probe::Probe;
use crate::testing::pki::Authority;

fn start(tls: ServerTls) -> Running {
    let registry = Registry::new();
    let probe = Probe::new("store", &registry).unwrap();
    let flags = GrpcServer {
        address: "127.0.0.1:0".to_owned(),
        tls,
        max_connection_age: Duration::ZERO,
        grace_period: Duration::ZERO,
    };
    Server::new("store", &flags, &registry, &probe).start().unwrap()
}

/// A health check over a connection of its own.
async fn check(server: &Running, settings: &GrpcClient) -> Result<(), tonic::Status> {
    let connector = Connector::new(settings, None).unwrap();
    let channel = connector.channel(&server.address().to_string()).unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

fn server_tls((cert, key): (String, String)) -> ServerTls {
    ServerTls { cert, key, min_version: "1.3".to_owned(), ..ServerTls::default() }
}

#[tokio::test]
async fn clients_verify_by_authority_and_name_unless_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let server = start(server_tls(authority.sign("server", &["store.example"])));
    let secure = GrpcClient { secure: true, min_version: "1.3".to_owned(), ..GrpcClient::default() };
    let known = GrpcClient { ca: authority.ca.clone(), ..secure.clone() };
    let named = GrpcClient { server_name: "store.example".to_owned(), ..known.clone() };
    check(&server, &named).await.unwrap();
    check(&server, &GrpcClient { skip_verify: true, ..secure.clone() }).await.unwrap();
    for wrong in [known, secure, GrpcClient::default()] {
        let status = check(&server, &wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{wrong:?}: {status:?}");
        if wrong.secure {
            let text = "connection error: desc = \"transport: authentication handshake failed: ";
            assert!(status.message().starts_with(text), "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_client_authority_keeps_strangers_out() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let tls = server_tls(authority.sign("server", &["127.0.0.1"]));
    let server = start(ServerTls { client_ca: authority.ca.clone(), ..tls });
    let stranger = GrpcClient { secure: true, ca: authority.ca.clone(), ..GrpcClient::default() };
    assert!(check(&server, &stranger).await.is_err());
    let (cert, key) = authority.sign("client", &["client"]);
    check(&server, &GrpcClient { cert, key, ..stranger }).await.unwrap();
}

#[tokio::test]
async fn rotated_certificates_are_used_from_the_next_connection_on() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let (cert, key) = authority.sign("server", &["old.example"]);
    let server = start(server_tls((cert.clone(), key)));
    let expecting = |name: &str| GrpcClient {
        secure: true,
        ca: authority.ca.clone(),
        server_name: name.to_owned(),
        ..GrpcClient::default()
    };
    check(&server, &expecting("old.example")).await.unwrap();
    authority.sign("server", &["new.example"]);
    // A file system with coarse times would hide the change.
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    std::fs::File::options().append(true).open(&cert).unwrap().set_modified(later).unwrap();
    check(&server, &expecting("new.example")).await.unwrap();
    assert!(check(&server, &expecting("old.example")).await.is_err());
    std::fs::write(&cert, "not a certificate").unwrap();
    assert!(check(&server, &expecting("new.example")).await.is_err());
}

#[test]
fn what_cannot_work_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let good = server_tls(authority.sign("server", &["x"]));
    let refused = |tls: &ServerTls| server(tls).unwrap_err().to_string();
    assert!(server(&ServerTls::default()).unwrap().is_none());
    assert_eq!(
        refused(&ServerTls { client_ca: "x".to_owned(), ..ServerTls::default() }),
        "when a client CA is used a server key and certificate must also be provided"
    );
    assert_eq!(
        refused(&ServerTls { key: String::new(), ..good.clone() }),
        "both server key and certificate must be provided"
    );
    let missing = refused(&ServerTls { cert: "/nonexistent".to_owned(), ..good.clone() });
    assert!(missing.starts_with("server credentials: /nonexistent: "), "{missing}");
    let (_, other) = authority.sign("other", &["y"]);
    let mixed = refused(&ServerTls { key: other, ..good.clone() });
    assert!(mixed.starts_with("server credentials: "), "{mixed}");
    let ciphers = vec!["TLS_RSA_WITH_RC4_128_SHA".to_owned()];
    let cipher = refused(&ServerTls { ciphers, ..good.clone() });
    assert!(
        cipher.starts_with(
            "invalid cipher suite: TLS_RSA_WITH_RC4_128_SHA, valid values are TLS_AES_128_GCM_SHA256, "
        ),
        "{cipher}"
    );
    let curve = refused(&ServerTls { curves: vec!["P1".to_owned()], ..good.clone() });
    assert_eq!(
        curve,
        "invalid curve: P1, valid values are CurveP256, CurveP384, CurveP521, SecP256r1MLKEM768, \
         SecP384r1MLKEM1024, X25519, X25519MLKEM768"
    );
    assert_eq!(
        refused(&ServerTls { min_version: "1.4".to_owned(), ..good.clone() }),
        "invalid TLS version: 1.4, valid values are 1.0, 1.1, 1.2, 1.3"
    );
    let chosen = ServerTls {
        ciphers: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()],
        curves: vec!["CurveP256,X25519".to_owned()],
        min_version: "1.0".to_owned(),
        ..good
    };
    let config = server(&chosen).unwrap().unwrap();
    assert_eq!(config.crypto_provider().kx_groups.len(), 2);
    let client_half = GrpcClient { secure: true, cert: "x".to_owned(), ..GrpcClient::default() };
    assert_eq!(
        client(&client_half).unwrap_err().to_string(),
        "both client key and certificate must be provided"
    );
}
