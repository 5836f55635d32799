//! The `config` section of an S3 bucket.
//!
//! Holds the keys, their defaults and what is refused. It opens nothing. Invariant: a key of Thanos'
//! that this build does not serve is accepted only with a value that asks for nothing.

use serde_norway::Value;

use super::http::HttpConfig;
use crate::config::values::{Section, boolean, number, text};

/// The smallest part that S3 accepts, apart from the last.
pub(super) const MIN_PART: u64 = 5 << 20;
/// The largest.
const MAX_PART: u64 = 5 << 30;

/// How the bucket's name gets into the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Auto,
    VirtualHosted,
    Path,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Config {
    pub(super) bucket: String,
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: String,
    pub(super) insecure: bool,
    pub(super) lookup: Lookup,
    pub(super) part_size: u64,
    pub(super) max_retries: u32,
    pub(super) sts_endpoint: String,
    pub(super) http: HttpConfig,
}

/// Without the keys: this ends up in logs.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn parse(value: &Value) -> Result<Config, String> {
        let mut config = Config {
            bucket: String::new(),
            endpoint: String::new(),
            region: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
            session_token: String::new(),
            insecure: false,
            lookup: Lookup::Auto,
            part_size: 64 << 20,
            max_retries: 0,
            sts_endpoint: String::new(),
            http: HttpConfig::default(),
        };
        let mut section = Section::new(value, "s3.Config")?;
        section.read("bucket", &mut config.bucket, text)?;
        section.read("endpoint", &mut config.endpoint, text)?;
        section.read("region", &mut config.region, text)?;
        section.read("access_key", &mut config.access_key, text)?;
        section.read("secret_key", &mut config.secret_key, text)?;
        section.read("session_token", &mut config.session_token, text)?;
        section.read("insecure", &mut config.insecure, boolean)?;
        section.read("bucket_lookup_type", &mut config.lookup, lookup)?;
        section.read("part_size", &mut config.part_size, part_size)?;
        section.read("max_retries", &mut config.max_retries, |key, value| {
            number(key, value).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        })?;
        section.read("sts_endpoint", &mut config.sts_endpoint, text)?;
        if let Some(value) = section.take("http_config") {
            config.http = HttpConfig::parse(&value)?;
        }
        // Host names are used as they are given, which is what `true` asks for.
        section.read("disable_dualstack", &mut false, boolean)?;
        not_served(&mut section)?;
        section.end()?;
        config.check()
    }

    fn check(self) -> Result<Config, String> {
        if self.endpoint.is_empty() {
            return Err("no s3 endpoint in config file".to_owned());
        }
        if self.endpoint.contains(['/', '?', '#', '@', ' ']) {
            return Err("Endpoint url cannot have fully qualified paths.".to_owned());
        }
        let both = "either both should be present in config or envvars/IAM should be used.";
        match (self.access_key.is_empty(), self.secret_key.is_empty()) {
            (false, true) => {
                Err(format!("no s3 secret_key specified while access_key is present in config file; {both}"))
            }
            (true, false) => {
                Err(format!("no s3 access_key specified while secret_key is present in config file; {both}"))
            }
            _ => Ok(self),
        }
    }

    /// The endpoint's host without its port.
    pub(super) fn host(&self) -> &str {
        if let Some(rest) = self.endpoint.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.endpoint.split(':').next().unwrap_or_default()
    }

    /// Whether the bucket's name goes into the path.
    pub(super) fn path_style(&self) -> bool {
        let host = self.host();
        match self.lookup {
            Lookup::Path => true,
            Lookup::VirtualHosted => false,
            // A dot in the name would not fit the certificate's wildcard.
            Lookup::Auto if !self.insecure && self.bucket.contains('.') => true,
            Lookup::Auto => {
                !(is_aws(host) || host == "storage.googleapis.com" || host.ends_with(".aliyuncs.com"))
            }
        }
    }

    /// The region that an AWS host name tells.
    pub(super) fn region_of_host(&self) -> Option<&str> {
        let host = self.host();
        if !is_aws(host) {
            return None;
        }
        let service = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com")?;
        let region = service.strip_prefix("s3")?.trim_start_matches(['.', '-']);
        let region = region.strip_prefix("dualstack.").unwrap_or(region);
        (!region.is_empty()).then_some(region)
    }
}

fn is_aws(host: &str) -> bool {
    host.starts_with("s3") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
}

fn lookup(key: &str, value: &Value) -> Result<Lookup, String> {
    match text(key, value)?.as_str() {
        // The zero value of upstream's enumeration.
        "" | "auto" => Ok(Lookup::Auto),
        "virtual-hosted" => Ok(Lookup::VirtualHosted),
        "path" => Ok(Lookup::Path),
        other => Err(format!("unsupported bucket lookup type: {other}")),
    }
}

fn part_size(key: &str, value: &Value) -> Result<u64, String> {
    match number(key, value)? {
        // The client's own rule.
        0 => Ok(16 << 20),
        size if (MIN_PART..=MAX_PART).contains(&size) => Ok(size),
        size => Err(format!("part_size {size} is not between {MIN_PART} and {MAX_PART}")),
    }
}

/// Takes the keys that this build has no use for, and refuses those that ask for something.
fn not_served(section: &mut Section) -> Result<(), String> {
    let refuse = |key: &str| Err(format!("{key} is not supported by this build"));
    for (key, idle) in [
        ("aws_sdk_auth", false),
        ("signature_version2", false),
        ("send_content_md5", true),
        ("disable_multipart", false),
    ] {
        if let Some(value) = section.take(key)
            && boolean(key, &value)? != idle
        {
            return refuse(key);
        }
    }
    match section
        .take("list_objects_version")
        .map(|v| text("list_objects_version", &v))
        .transpose()?
        .as_deref()
    {
        None | Some("" | "v2") => {}
        Some("v1") => return refuse("list_objects_version v1"),
        Some(other) => {
            return Err(format!(
                "Initialize s3 client list objects version: Unsupported version \"{other}\" was provided. Supported values are v1, v2"
            ));
        }
    }
    if let Some(value) = section.take("put_user_metadata")
        && !Section::new(&value, "map[string]string")?.is_empty()
    {
        return refuse("put_user_metadata");
    }
    if let Some(value) = section.take("trace") {
        let mut trace = Section::new(&value, "s3.TraceConfig")?;
        let mut enable = false;
        trace.read("enable", &mut enable, boolean)?;
        trace.end()?;
        if enable {
            return refuse("trace.enable");
        }
    }
    if let Some(value) = section.take("sse_config") {
        let mut sse = Section::new(&value, "s3.SSEConfig")?;
        let mut kind = String::new();
        sse.read("type", &mut kind, text)?;
        for key in ["kms_key_id", "kms_encryption_context", "encryption_key"] {
            sse.take(key);
        }
        sse.end()?;
        match kind.as_str() {
            "" => {}
            "SSE-S3" | "SSE-KMS" | "SSE-C" => return refuse(&format!("sse_config.type {kind}")),
            other => {
                return Err(format!(
                    "Initialize s3 client SSE Config: Unsupported type \"{other}\" was provided. Supported types are SSE-S3, SSE-KMS, SSE-C"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(yaml: &str) -> Result<Config, String> {
        Config::parse(&serde_norway::from_str(yaml).unwrap())
    }

    /// Every key with the value Thanos' documentation shows for it.
    #[test]
    fn the_documented_example_is_accepted() {
        let config = parse(
            "bucket: b\nendpoint: s3.eu-west-1.amazonaws.com\nregion: ''\ndisable_dualstack: false\n\
             aws_sdk_auth: false\naccess_key: a\ninsecure: false\nsignature_version2: false\nsecret_key: s\n\
             session_token: t\nput_user_metadata: {}\nhttp_config:\n  idle_conn_timeout: 1m30s\n  \
             response_header_timeout: 2m\n  insecure_skip_verify: false\n  tls_handshake_timeout: 10s\n  \
             expect_continue_timeout: 1s\n  max_idle_conns: 100\n  max_idle_conns_per_host: 100\n  \
             max_conns_per_host: 0\n  tls_config:\n    ca_file: ''\n    cert_file: ''\n    key_file: ''\n    \
             server_name: ''\n    insecure_skip_verify: false\n  disable_compression: false\ntrace:\n  \
             enable: false\nlist_objects_version: ''\nbucket_lookup_type: auto\nsend_content_md5: true\n\
             disable_multipart: false\npart_size: 67108864\nsse_config:\n  type: ''\n  kms_key_id: ''\n  \
             kms_encryption_context: {}\n  encryption_key: ''\nsts_endpoint: ''\nmax_retries: 0\n",
        )
        .unwrap();
        let shown = format!("{config:?}");
        assert_eq!(shown, "Config { bucket: \"b\", endpoint: \"s3.eu-west-1.amazonaws.com\", .. }");
        assert_eq!((config.part_size, config.http.clone()), (64 << 20, HttpConfig::default()));
        assert_eq!((config.region_of_host(), config.path_style()), (Some("eu-west-1"), false));
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let base = "endpoint: h:1\n";
        for (yaml, want) in [
            ("bucket: b", "no s3 endpoint in config file"),
            ("endpoint: http://h", "Endpoint url cannot have fully qualified paths."),
            (
                "endpoint: h\naccess_key: a",
                "no s3 secret_key specified while access_key is present in config file; either both should be present in config or envvars/IAM should be used.",
            ),
            (
                "endpoint: h\nsecret_key: a",
                "no s3 access_key specified while secret_key is present in config file; either both should be present in config or envvars/IAM should be used.",
            ),
            ("endpoint: h\nbucket_lookup_type: x", "unsupported bucket lookup type: x"),
            (
                "endpoint: h\nencrypt_sse: true",
                "yaml: unmarshal errors:\n  field encrypt_sse not found in type s3.Config",
            ),
            (
                "endpoint: h\nhttp_config: {a: 1}",
                "yaml: unmarshal errors:\n  field a not found in type exthttp.HTTPConfig",
            ),
            (
                "endpoint: h\nlist_objects_version: v3",
                "Initialize s3 client list objects version: Unsupported version \"v3\" was provided. Supported values are v1, v2",
            ),
            (
                "endpoint: h\nsse_config: {type: X}",
                "Initialize s3 client SSE Config: Unsupported type \"X\" was provided. Supported types are SSE-S3, SSE-KMS, SSE-C",
            ),
            ("endpoint: h\npart_size: 1", "part_size 1 is not between 5242880 and 5368709120"),
        ] {
            assert_eq!(parse(yaml).unwrap_err(), want);
        }
        for (yaml, key) in [
            ("aws_sdk_auth: true", "aws_sdk_auth"),
            ("signature_version2: yes", "signature_version2"),
            ("send_content_md5: false", "send_content_md5"),
            ("disable_multipart: true", "disable_multipart"),
            ("list_objects_version: v1", "list_objects_version v1"),
            ("put_user_metadata: {a: b}", "put_user_metadata"),
            ("trace: {enable: true}", "trace.enable"),
            ("sse_config: {type: SSE-S3}", "sse_config.type SSE-S3"),
        ] {
            let error = parse(&format!("{base}{yaml}")).unwrap_err();
            assert_eq!(error, format!("{key} is not supported by this build"));
        }
    }

    #[test]
    fn hosts_tell_region_and_style() {
        for (endpoint, bucket, region, path) in [
            ("s3.amazonaws.com", "b", None, false),
            ("s3-us-west-2.amazonaws.com", "b", Some("us-west-2"), false),
            ("s3.dualstack.eu-central-1.amazonaws.com:443", "b", Some("eu-central-1"), false),
            ("s3.cn-north-1.amazonaws.com.cn", "b", Some("cn-north-1"), false),
            ("s3.eu-west-1.amazonaws.com", "a.b", Some("eu-west-1"), true),
            ("storage.googleapis.com", "b", None, false),
            ("oss-cn-hangzhou.aliyuncs.com", "b", None, false),
            ("127.0.0.1:8333", "b", None, true),
            ("[::1]:8333", "b", None, true),
            ("minio.monitoring.svc", "b", None, true),
        ] {
            let config = parse(&format!("{{endpoint: \"{endpoint}\", bucket: {bucket}}}")).unwrap();
            assert_eq!((config.region_of_host(), config.path_style()), (region, path), "{endpoint}");
        }
        let config = parse("{endpoint: h, bucket_lookup_type: virtual-hosted}").unwrap();
        assert!(!config.path_style());
    }

    #[test]
    fn a_key_without_value_empties_its_field() {
        let config = parse("endpoint: h\nhttp_config:\npart_size:\n").unwrap();
        assert_eq!(config.http.response_header_timeout, Duration::ZERO);
        assert_eq!(config.part_size, 16 << 20);
        let config = parse("endpoint: h\nhttp_config: {max_idle_conns: 5}").unwrap();
        assert_eq!(config.http.response_header_timeout, Duration::from_secs(120));
    }
}
