//! Trace spans around a bucket.
//!
//! Holds one wrapper. Span names and fields are upstream's (`tracing/opentracing`). Invariant: the span
//! of a read lasts until its body is dropped, and then carries the bytes that were read.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug_span};

use crate::{Attributes, Bucket, EntryStream, ListOptions, ObjectStream, Result, SharedBucket, UploadBody};

/// A bucket whose operations show in traces.
#[derive(Debug)]
pub struct Traced {
    inner: SharedBucket,
}

impl Traced {
    /// `inner`, traced.
    pub fn new(inner: SharedBucket) -> Traced {
        Traced { inner }
    }
}

/// A body, or a listing, within the span of its operation.
struct Spanned<T> {
    items: BoxStream<'static, Result<T>>,
    span: Span,
    size: fn(&T) -> u64,
    read: u64,
}

impl<T> Stream for Spanned<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let _within = this.span.enter();
        let item = this.items.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(item))) = &item {
            this.read += (this.size)(item);
        }
        item
    }
}

impl<T> Drop for Spanned<T> {
    fn drop(&mut self) {
        self.span.record("read", self.read);
    }
}

fn spanned(stream: ObjectStream, span: Span) -> ObjectStream {
    let ObjectStream { len, version, body } = stream;
    let body = Spanned { items: body, span, size: |frame: &Bytes| frame.len() as u64, read: 0 };
    ObjectStream { len, version, body: body.boxed() }
}

#[async_trait]
impl Bucket for Traced {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        let span = debug_span!("bucket_get", name = key, read = Empty);
        let stream = self.inner.get(key).instrument(span.clone()).await?;
        Ok(spanned(stream, span))
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let span = debug_span!("bucket_getrange", name = key, offset, length = len, read = Empty);
        let stream = self.inner.get_range(key, offset, len).instrument(span.clone()).await?;
        Ok(spanned(stream, span))
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let span = debug_span!("bucket_attributes", name = key);
        self.inner.attributes(key).instrument(span).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let span = debug_span!("bucket_exists", name = key);
        self.inner.exists(key).instrument(span).await
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let span = debug_span!("bucket_iter", dir);
        let items = self.inner.list(dir, options).instrument(span.clone()).await?;
        Ok(Spanned { items, span, size: |_| 0, read: 0 }.boxed())
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        let span = debug_span!("bucket_upload", name = key);
        self.inner.upload(key, body).instrument(span).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let span = debug_span!("bucket_delete", name = key);
        self.inner.delete(key).instrument(span).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes as New, Id, Record};
    use tracing_subscriber::layer::{Context as Layered, Layer, SubscriberExt as _};
    use tracing_subscriber::registry::LookupSpan;

    use super::*;
    use crate::BucketExt as _;
    use crate::memory::InMemory;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    struct Text<'a>(&'a mut String);

    impl Visit for Text<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }

    impl<S: tracing::Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Log {
        fn on_new_span(&self, new: &New<'_>, _: &Id, _: Layered<'_, S>) {
            let mut text = format!("+{}", new.metadata().name());
            new.record(&mut Text(&mut text));
            self.0.lock().unwrap().push(text);
        }

        fn on_record(&self, _: &Id, record: &Record<'_>, _: Layered<'_, S>) {
            let mut text = String::new();
            record.record(&mut Text(&mut text));
            self.0.lock().unwrap().push(text);
        }

        fn on_close(&self, id: Id, context: Layered<'_, S>) {
            self.0.lock().unwrap().push(format!("-{}", context.span(&id).unwrap().name()));
        }
    }

    #[tokio::test]
    async fn a_reads_span_lasts_to_the_end_of_its_body() {
        let log = Log::default();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
        let bucket = Traced::new(Arc::new(InMemory::new()));
        bucket.upload_bytes("k", "12345".into()).await.unwrap();
        let stream = bucket.get_range("k", 1, Some(3)).await.unwrap();
        bucket.exists("k").await.unwrap();
        stream.collect().await.unwrap();
        drop(bucket.list("", ListOptions::default()).await.unwrap());
        let want = [
            "+bucket_upload name=\"k\"",
            "-bucket_upload",
            "+bucket_getrange name=\"k\" offset=1 length=3",
            "+bucket_exists name=\"k\"",
            "-bucket_exists",
            " read=3",
            "-bucket_getrange",
            "+bucket_iter dir=\"\"",
            "-bucket_iter",
        ];
        assert_eq!(*log.0.lock().unwrap(), want);
    }
}
