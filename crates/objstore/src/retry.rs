//! Tries again what may succeed the second time.
//!
//! Holds the [`Policy`] (exponential pauses with full jitter) and [`Retrying`], which repeats requests
//! that fail with [`ErrorKind::Retry`] and resumes bodies that break off. It repeats no upload: only the
//! provider knows how much of one can be sent again. Invariant: a body ends after exactly the announced
//! number of bytes, all of one version of the object, or with an error.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::{
    Attributes, Bucket, EntryStream, Error, ErrorKind, ListOptions, ObjectStream, Result, SharedBucket,
    UploadBody,
};

/// How often and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all; 0 counts as 1.
    pub attempts: u32,
    /// The longest pause before the second try; it doubles from there.
    pub first: Duration,
    /// The longest pause there is.
    pub longest: Duration,
}

impl Default for Policy {
    /// That of the S3 client in Thanos: ten tries within some eight seconds.
    fn default() -> Self {
        Policy { attempts: 10, first: Duration::from_millis(200), longest: Duration::from_secs(1) }
    }
}

impl Policy {
    /// Calls until the result is no [`ErrorKind::Retry`], or the tries are used up.
    ///
    /// # Errors
    /// Those of the last call.
    pub async fn run<T, F: Future<Output = Result<T>>>(&self, mut call: impl FnMut() -> F) -> Result<T> {
        let mut tried = 1;
        loop {
            match call().await {
                Err(e) if e.is_retryable() && self.again(&mut tried, &e).await => {}
                result => return result,
            }
        }
    }

    /// Waits for the next try; false when there is none.
    async fn again(&self, tried: &mut u32, error: &Error) -> bool {
        if *tried >= self.attempts {
            return false;
        }
        tracing::debug!(err = %error, tried = *tried, "bucket operation is tried again");
        let most = self.first.saturating_mul(1 << (*tried - 1).min(16)).min(self.longest);
        // Full jitter: those who failed together do not come back together.
        tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
        *tried += 1;
        true
    }
}

/// A bucket that is patient.
#[derive(Clone, Debug)]
pub struct Retrying {
    inner: SharedBucket,
    policy: Policy,
}

impl Retrying {
    /// `inner`, asked again as `policy` says.
    pub fn new(inner: SharedBucket, policy: Policy) -> Retrying {
        Retrying { inner, policy }
    }

    /// `stream`, which begins at `offset`, continued by further requests where it breaks off.
    fn resuming(
        &self,
        operation: &'static str,
        key: &str,
        offset: u64,
        stream: ObjectStream,
    ) -> ObjectStream {
        let ObjectStream { len, version, body } = stream;
        let reader = Reader {
            bucket: self.clone(),
            operation,
            key: key.to_owned(),
            version: version.clone(),
            body,
            at: offset,
            left: len,
            tried: 1,
        };
        let body = stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|frame| (frame, reader)))
        });
        ObjectStream { len, version, body: body.boxed() }
    }
}

/// A body on its way.
struct Reader {
    bucket: Retrying,
    operation: &'static str,
    key: String,
    version: Option<String>,
    body: BoxStream<'static, Result<Bytes>>,
    at: u64,
    left: u64,
    /// Tries since the last byte.
    tried: u32,
}

impl Reader {
    fn error(&self, kind: ErrorKind, text: String) -> Error {
        Error::new(kind, self.operation, self.key.as_str(), text)
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let error = match self.body.next().await {
                Some(Ok(frame)) if frame.is_empty() => continue,
                Some(Ok(mut frame)) => {
                    frame.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.at += frame.len() as u64;
                    self.left -= frame.len() as u64;
                    self.tried = 1;
                    return Ok(Some(frame));
                }
                Some(Err(e)) => e,
                None => self.error(ErrorKind::Retry, format!("the body ended {} bytes early", self.left)),
            };
            self.resume(error).await?;
        }
    }

    /// Asks for the rest after `error`.
    async fn resume(&mut self, mut error: Error) -> Result<()> {
        let policy = self.bucket.policy;
        while error.is_retryable() && policy.again(&mut self.tried, &error).await {
            match self.bucket.inner.get_range(&self.key, self.at, Some(self.left)).await {
                Ok(rest) if rest.len == self.left && rest.version == self.version => {
                    self.body = rest.body;
                    return Ok(());
                }
                Ok(_) => {
                    return Err(self.error(ErrorKind::Other, "the object changed while it was read".into()));
                }
                Err(e) => error = e,
            }
        }
        Err(error)
    }
}

#[async_trait]
impl Bucket for Retrying {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        let stream = self.policy.run(|| self.inner.get(key)).await?;
        Ok(self.resuming("get", key, 0, stream))
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let stream = self.policy.run(|| self.inner.get_range(key, offset, len)).await?;
        Ok(self.resuming("get_range", key, offset, stream))
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        self.policy.run(|| self.inner.attributes(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.policy.run(|| self.inner.exists(key)).await
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        self.policy.run(|| self.inner.list(dir, options)).await
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        self.inner.upload(key, body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let mut tries = 0;
        let call = || {
            tries += 1;
            let again = tries > 1;
            async move {
                match self.inner.delete(key).await {
                    // An earlier try took effect without saying so.
                    Err(e) if again && e.is_not_found() => Ok(()),
                    result => result,
                }
            }
        };
        self.policy.run(call).await
    }
}
