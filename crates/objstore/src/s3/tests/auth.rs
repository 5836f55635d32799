//! Credentials, regions and TLS.

use super::*;
use server::Server;

fn with_env(server: &Server, more: &str, env: &[(&str, &str)]) -> S3 {
    let yaml = format!("endpoint: '{}'\nbucket: b\ninsecure: true\n{more}", server.address);
    let config = Config::parse(&serde_norway::from_str(&yaml).unwrap()).unwrap();
    let env: std::collections::BTreeMap<String, String> =
        env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    S3::new(config, "test", &|name| env.get(name).cloned()).unwrap()
}

#[tokio::test]
async fn keys_come_from_configuration_then_environment_then_nowhere() {
    let server = Server::start(|_, request| good(b"v", request)).await;
    let env =
        [("AWS_ACCESS_KEY_ID", "FROMENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "token")];
    let old = [("AWS_ACCESS_KEY", "OLD"), ("AWS_SECRET_KEY", "s")];
    let fixed = "region: r\naccess_key: FIXED\nsecret_key: s\n";
    for (more, env, want) in [
        (fixed, &env[..], Some("FIXED")),
        ("region: r", &env, Some("FROMENV")),
        ("region: r", &old, Some("OLD")),
        ("region: r", &[], None),
    ] {
        with_env(&server, more, env).get("k").await.unwrap();
        let request = server.requests().pop().unwrap();
        let signed = request.header("authorization").map(|a| {
            a.split_once("Credential=").and_then(|(_, rest)| rest.split_once('/')).unwrap().0.to_owned()
        });
        assert_eq!(signed.as_deref(), want);
        let token = request.header("x-amz-security-token");
        assert_eq!(token, (want == Some("FROMENV")).then_some("token"));
        assert!(request.header("user-agent").unwrap().contains("athanor-test"));
    }
}

#[tokio::test]
async fn a_web_identity_token_is_exchanged_for_keys() {
    let server = Server::start(|_, request| {
        if request.method != "POST" {
            return good(b"v", request);
        }
        let form = String::from_utf8(request.body.clone()).unwrap();
        assert!(form.contains("WebIdentityToken=eyJ&") || form.ends_with("WebIdentityToken=eyJ"), "{form}");
        assert!(form.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"), "{form}");
        Answer::new(
            200,
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>TEMP</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>st</SessionToken>\
             <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        )
    })
    .await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "eyJ\n").unwrap();
    let env = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
    ];
    let s3 = with_env(&server, &format!("region: r\nsts_endpoint: http://{}", server.address), &env);
    s3.get("k").await.unwrap();
    s3.get("k").await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "keys are kept while they live");
    assert!(requests[2].header("authorization").unwrap().contains("Credential=TEMP/"));
    assert_eq!(requests[2].header("x-amz-security-token"), Some("st"));
    // No file, no keys: an error that names it.
    std::fs::remove_file(token.path()).unwrap();
    let s3 = with_env(&server, &format!("region: r\nsts_endpoint: http://{}", server.address), &env);
    let error = s3.get("k").await.unwrap_err().to_string();
    assert!(error.contains("read web identity token"), "{error}");
}

#[tokio::test]
async fn a_region_that_is_not_told_is_asked_for_once() {
    let server = Server::start(|_, request| match request.target.as_str() {
        t if t.contains("location") => Answer::new(200, "<LocationConstraint>eu-x-1</LocationConstraint>"),
        _ => good(b"v", request),
    })
    .await;
    let s3 = with_env(&server, "access_key: k\nsecret_key: s", &[]);
    s3.get("k").await.unwrap();
    s3.get("k").await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[2].header("authorization").unwrap().contains("/eu-x-1/s3/"));
    // A server that does not know.
    let server = Server::start(|_, request| match request.target.as_str() {
        t if t.contains("location") => Answer::error(403, "AccessDenied"),
        _ => good(b"v", request),
    })
    .await;
    with_env(&server, "access_key: k\nsecret_key: s", &[]).get("k").await.unwrap();
    assert!(server.requests()[1].header("authorization").unwrap().contains("/us-east-1/s3/"));
}

/// A certificate authority, and a leaf for `name` that it signed: PEM of the authority, leaf and key.
fn certificates(name: &str) -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, String, String) {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority, leaf.pem(), key.serialize_pem())
}

#[tokio::test]
async fn tls_is_verified_as_configured() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let (authority, leaf, key) = certificates("bucket.example");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let ca = path("ca.pem", &authority.pem());
    let (cert, key_file) = (path("leaf.pem", &leaf), path("key.pem", &key));
    let other = path("other.pem", &certificates("x").0.pem());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let serve = async |clients: rustls::server::ClientCertVerifierBuilder| {
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Server::start_tls(config, |_, request| good(b"v", request)).await
    };
    let (server, strict) = (serve(clients.clone().allow_unauthenticated()).await, serve(clients).await);
    let open_at = |address: &str, http: &str| {
        let yaml = format!(
            "endpoint: '{address}'\nbucket: b\nregion: r\naccess_key: k\nsecret_key: s\nhttp_config: {{{http}}}"
        );
        let config = Config::parse(&serde_norway::from_str(&yaml).unwrap()).unwrap();
        S3::new(config, "test", &|_| None)
    };
    let open = |http: &str| open_at(&server.address, http);
    // A server that insists on a certificate of ours.
    let authenticated = format!("cert_file: {cert}, key_file: {key_file}");
    for (more, works) in [("", false), (authenticated.as_str(), true)] {
        let http = format!("tls_config: {{ca_file: {ca}, server_name: bucket.example, {more}}}");
        let read = open_at(&strict.address, &http).unwrap().read("get", "k", None).await;
        assert_eq!(read.is_ok(), works, "{read:?}");
    }
    for (http, works) in [
        (format!("tls_config: {{ca_file: {ca}, server_name: bucket.example}}"), true),
        (
            format!(
                "tls_config: {{ca_file: {ca}, server_name: bucket.example, cert_file: {cert}, key_file: {key_file}}}"
            ),
            true,
        ),
        ("insecure_skip_verify: true".to_owned(), true),
        // The certificate is for another name, from another authority, or from nobody known.
        (format!("tls_config: {{ca_file: {ca}}}"), false),
        (format!("tls_config: {{ca_file: {other}, server_name: bucket.example}}"), false),
        ("tls_config: {server_name: bucket.example}".to_owned(), false),
        ("tls_config: {insecure_skip_verify: true}".to_owned(), false),
    ] {
        let s3 = open(&http);
        // Without any root of the system's, a name of one's own cannot even be configured.
        let read = match s3 {
            Ok(s3) => s3.read("get", "k", None).await.map(drop).map_err(|e| e.to_string()),
            Err(e) => Err(e),
        };
        assert_eq!(read.is_ok(), works, "{http}: {read:?}");
    }
    let none = dir.path().join("none").display().to_string();
    for (http, want) in [
        (format!("tls_config: {{ca_file: {none}}}"), format!("unable to load specified CA cert {none}: ")),
        (
            format!("tls_config: {{ca_file: {key_file}}}"),
            format!("unable to use specified CA cert {key_file}"),
        ),
        (
            format!("tls_config: {{cert_file: {cert}}}"),
            format!("client cert file \"{cert}\" specified without client key file"),
        ),
        (
            format!("tls_config: {{key_file: {cert}}}"),
            format!("client key file \"{cert}\" specified without client cert file"),
        ),
        (
            format!("tls_config: {{cert_file: {none}, key_file: {key_file}}}"),
            format!("unable to use specified client cert ({none}) & key ({key_file}): "),
        ),
    ] {
        let error = open(&http).unwrap_err();
        assert!(error.starts_with(&want), "{error}");
    }
}
