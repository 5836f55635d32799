//! Who signs the requests.
//!
//! Holds the order in which credentials are looked for, and the exchange of a web identity token for
//! temporary keys. It signs nothing. Invariant: temporary keys are replaced after four fifths of their
//! life, and a token file is read anew for each exchange.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::config::Config;

/// What requests are signed with.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Static(Credentials),
    WebIdentity(WebIdentity),
    /// Requests are not signed.
    Anonymous,
}

/// Keys from the configuration, else from the environment, else by web identity, else none.
pub(super) fn find(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    client: &reqwest::Client,
) -> Source {
    let fixed = |key: &str, secret: &str, token: Option<&str>, from| {
        let token = token.filter(|t| !t.is_empty()).map(str::to_owned);
        Source::Static(Credentials::new(key, secret, token, None, from))
    };
    if !config.access_key.is_empty() {
        return fixed(&config.access_key, &config.secret_key, Some(&config.session_token), "configuration");
    }
    let env = |names: &[&str]| names.iter().find_map(|name| env(name).filter(|v| !v.is_empty()));
    let key = env(&["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
    let secret = env(&["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
    if let (Some(key), Some(secret)) = (key, secret) {
        return fixed(&key, &secret, env(&["AWS_SESSION_TOKEN"]).as_deref(), "environment");
    }
    if let Some(token_file) = env(&["AWS_WEB_IDENTITY_TOKEN_FILE"]) {
        let endpoint = match (config.sts_endpoint.is_empty(), env(&["AWS_REGION"])) {
            (false, _) => config.sts_endpoint.clone(),
            (true, None) => "https://sts.amazonaws.com".to_owned(),
            (true, Some(region)) => {
                let cn = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://sts.{region}.amazonaws.com{cn}")
            }
        };
        return Source::WebIdentity(WebIdentity {
            client: client.clone(),
            endpoint,
            token_file,
            role: env(&["AWS_ROLE_ARN"]).unwrap_or_default(),
            session: env(&["AWS_ROLE_SESSION_NAME"]).unwrap_or_else(|| "athanor".to_owned()),
        });
    }
    tracing::warn!(bucket = config.bucket, "no credentials found: requests to the bucket are not signed");
    Source::Anonymous
}

/// Exchanges a token for keys.
#[derive(Clone, Debug)]
pub(super) struct WebIdentity {
    client: reqwest::Client,
    endpoint: String,
    token_file: String,
    role: String,
    session: String,
}

impl WebIdentity {
    async fn exchange(&self) -> Result<Credentials, String> {
        let token = tokio::fs::read_to_string(&self.token_file)
            .await
            .map_err(|e| format!("read web identity token {}: {e}", self.token_file))?;
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", self.role.as_str()),
            ("RoleSessionName", self.session.as_str()),
            ("WebIdentityToken", token.trim()),
        ];
        let failed = |e: reqwest::Error| format!("web identity at {}: {e}", self.endpoint);
        let answer = self.client.post(&self.endpoint).form(&form).send().await.map_err(failed)?;
        let status = answer.status();
        let xml = answer.text().await.map_err(failed)?;
        if !status.is_success() {
            let message = element(&xml, "Message").unwrap_or_default();
            return Err(format!("web identity at {}: status {status}: {message}", self.endpoint));
        }
        let need = |name: &str| {
            element(&xml, name).ok_or_else(|| format!("web identity at {}: no {name}", self.endpoint))
        };
        let now = SystemTime::now();
        let end = DateTime::from_str(&need("Expiration")?, DateTimeFormat::DateTime)
            .ok()
            .and_then(|end| SystemTime::try_from(end).ok())
            .and_then(|end| end.duration_since(now).ok())
            .unwrap_or(Duration::ZERO);
        Ok(Credentials::new(
            need("AccessKeyId")?,
            need("SecretAccessKey")?,
            element(&xml, "SessionToken"),
            Some(now + end.mul_f64(0.8)),
            "web identity",
        ))
    }
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let exchange = async { self.exchange().await.map_err(CredentialsError::provider_error) };
        future::ProvideCredentials::new(exchange)
    }
}

/// The text of the first element of that name; keys and times hold nothing that XML would escape but `&`.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.replace("&amp;", "&"))
}
