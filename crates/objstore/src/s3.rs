//! S3 and what speaks its language.
//!
//! Holds the provider over the AWS SDK, its transport and its configuration. It retries only what it
//! sends in pieces (uploads, pages of a listing); the rest is [`crate::retry`]'s. Invariant: a read
//! returns the bytes asked for, cut at the object's end, or an error, whatever range the server sends.
//! Behaviour reference: upstream `providers/s3/s3.go` and the client it uses.

pub(crate) mod config;
mod credentials;
mod error;
mod http;
mod list;
mod read;
#[cfg(test)]
mod tests;
mod transport;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    AppName, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use tokio::sync::{OnceCell, Semaphore};

use crate::retry::Policy;
use crate::{
    Attributes, Bucket, EntryStream, Error, ErrorKind, ListOptions, ObjectStream, Result, UploadBody,
};
use config::Config;
use credentials::Source;
use error::{classify, status};
use transport::{STALL, Transport};

/// The region of buckets that do not say.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket of an S3 server.
#[derive(Debug)]
pub(crate) struct S3 {
    config: Config,
    /// For parts of uploads and pages of listings.
    policy: Policy,
    transport: Transport,
    source: Source,
    app: Option<AppName>,
    /// Made at the first request, which may have to ask for the region.
    client: OnceCell<Client>,
}

impl S3 {
    /// The bucket of a configuration; `component` goes into the user agent, `env` tells the environment.
    pub(crate) fn new(
        config: Config,
        component: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> std::result::Result<S3, String> {
        let host = config.host();
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let client = config.http.client(loopback)?;
        let limit = usize::try_from(config.http.max_conns_per_host).unwrap_or(usize::MAX);
        let transport = Transport {
            client: client.clone(),
            head: config.http.response_header_timeout,
            stall: STALL,
            connections: (limit > 0).then(|| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)))),
        };
        Ok(S3 {
            policy: policy(&config),
            source: credentials::find(&config, env, &client),
            app: AppName::new(format!("athanor-{component}")).ok(),
            transport,
            config,
            client: OnceCell::new(),
        })
    }

    /// How often its requests are to be tried.
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    fn client_for(&self, region: &str) -> Client {
        let scheme = if self.config.insecure { "http" } else { "https" };
        let connector = SharedHttpConnector::new(self.transport.clone());
        let builder = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(Region::new(region.to_owned()))
            .endpoint_url(format!("{scheme}://{}", self.config.endpoint))
            .force_path_style(self.config.path_style())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let mut builder = match &self.source {
            Source::Static(keys) => builder.credentials_provider(keys.clone()),
            Source::WebIdentity(exchange) => builder.credentials_provider(exchange.clone()),
            Source::Anonymous => builder.allow_no_auth(),
        };
        builder.set_app_name(self.app.clone());
        Client::from_conf(builder.build())
    }

    async fn client(&self) -> Result<&Client> {
        self.client
            .get_or_try_init(|| async {
                let known = (!self.config.region.is_empty()).then_some(self.config.region.as_str());
                match known.or_else(|| self.config.region_of_host()) {
                    Some(region) => Ok(self.client_for(region)),
                    None => self.discover().await,
                }
            })
            .await
    }

    /// A client for the region in which the bucket says it is.
    async fn discover(&self) -> Result<Client> {
        let client = self.client_for(DEFAULT_REGION);
        let region = match client.get_bucket_location().bucket(&self.config.bucket).send().await {
            Ok(answer) => answer.location_constraint().map(|l| l.as_str().to_owned()).unwrap_or_default(),
            Err(e) => {
                let answered = status(&e) == Some(200);
                let e = classify("location", "", e);
                if e.is_retryable() && !answered {
                    return Err(e);
                }
                // Not everyone may ask, not every server knows, and some answer in words of their own.
                String::new()
            }
        };
        Ok(match region.as_str() {
            "" | DEFAULT_REGION => client,
            "EU" => self.client_for("eu-west-1"),
            region => self.client_for(region),
        })
    }
}

fn policy(config: &Config) -> Policy {
    match config.max_retries {
        0 => Policy::default(),
        attempts => Policy { attempts, ..Policy::default() },
    }
}

#[async_trait]
impl Bucket for S3 {
    fn name(&self) -> &str {
        &self.config.bucket
    }

    fn provider(&self) -> &'static str {
        "S3"
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        self.read("get", key, None).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        self.read("get_range", key, Some((offset, len))).await
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let key = name("attributes", key)?;
        let head = self.client().await?.head_object().bucket(&self.config.bucket).key(key);
        let answer = head.send().await.map_err(|e| classify("attributes", key, e))?;
        let size = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let incomplete = || Error::new(ErrorKind::Other, "attributes", key, "no length announced");
        Ok(Attributes {
            size: size.ok_or_else(incomplete)?,
            last_modified: answer
                .last_modified()
                .and_then(|t| SystemTime::try_from(*t).ok())
                .unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        self.entries(dir, options).await
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        self.send(name("upload", key)?, body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let key = name("delete", key)?;
        let delete = self.client().await?.delete_object().bucket(&self.config.bucket).key(key);
        delete.send().await.map(drop).map_err(|e| classify("delete", key, e))
    }
}

/// A key, which must not be empty: without one a request would be about the bucket.
fn name<'k>(operation: &'static str, key: &'k str) -> Result<&'k str> {
    if key.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, operation, key, "object name is empty"));
    }
    Ok(key)
}
