//! Reading objects and ranges of them.
//!
//! Holds the request and what is made of the answer's window. Invariant: a server that ignores the range,
//! sends more than was asked or another window yields the right bytes or an error.

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::error::{classify, status};
use super::{S3, name};
use crate::{Bucket as _, Error, ErrorKind, ObjectStream, Result};

/// The part of an answer that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Bytes before it.
    skip: u64,
    /// Its bytes.
    len: u64,
}

/// Finds what was asked for, `want` bytes from `offset`, in an answer of `length` bytes.
fn window(
    offset: u64,
    want: Option<u64>,
    range: Option<&str>,
    length: u64,
) -> std::result::Result<Window, String> {
    let (start, total) = match range {
        None => (0, Some(length)),
        Some(text) => {
            let (start, end, total) = parse(text).ok_or_else(|| format!("content range {text:?} is none"))?;
            if end.checked_sub(start) != Some(length) {
                return Err(format!("content range {text:?} and length {length} do not agree"));
            }
            (start, total)
        }
    };
    let end = start.checked_add(length).ok_or("the answer is too long")?;
    let skip =
        offset.checked_sub(start).ok_or_else(|| format!("the answer begins at {start}, not {offset}"))?;
    let wanted = want.map_or(u64::MAX, |want| offset.saturating_add(want)).min(total.unwrap_or(u64::MAX));
    if end < wanted && (total.is_some() || want.is_some()) {
        return Err(format!("the answer ends at {end}, before {wanted}"));
    }
    Ok(Window { skip: skip.min(length), len: wanted.min(end).saturating_sub(offset) })
}

/// `bytes 0-9/100` as start, end and total; the total may be unknown.
fn parse(range: &str) -> Option<(u64, u64, Option<u64>)> {
    let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    let last: u64 = last.parse().ok()?;
    Some((first.parse().ok()?, last.checked_add(1)?, total))
}

impl S3 {
    pub(super) async fn read(
        &self,
        operation: &'static str,
        key: &str,
        range: Option<(u64, Option<u64>)>,
    ) -> Result<ObjectStream> {
        let key = name(operation, key)?;
        let (offset, want) = range.unwrap_or((0, None));
        if want == Some(0) {
            // No header can ask for nothing; but whether the object is there must be known.
            self.attributes(key).await?;
            return Ok(ObjectStream::from_bytes(Bytes::new()));
        }
        let mut get = self.client().await?.get_object().bucket(&self.config.bucket).key(key);
        if let Some((offset, want)) = range {
            let last = want.and_then(|want| offset.checked_add(want - 1));
            get = get.range(last.map_or(format!("bytes={offset}-"), |last| format!("bytes={offset}-{last}")));
        }
        let answer = match get.send().await {
            Ok(answer) => answer,
            // At or behind the end.
            Err(e) if range.is_some() && status(&e) == Some(416) => {
                return Ok(ObjectStream::from_bytes(Bytes::new()));
            }
            Err(e) => return Err(classify(operation, key, e)),
        };
        let odd = |text: String| Error::new(ErrorKind::Other, operation, key, text);
        let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let length = length.ok_or_else(|| odd("no length announced".to_owned()))?;
        let window = window(offset, want, answer.content_range(), length).map_err(odd)?;
        let version = answer.e_tag().map(str::to_owned);
        let body = cut(frames(operation, key.to_owned(), answer.body), window);
        Ok(ObjectStream { len: window.len, version, body })
    }
}

fn frames(operation: &'static str, key: String, body: ByteStream) -> BoxStream<'static, Result<Bytes>> {
    let frames = stream::unfold(body, |mut body| async move { body.next().await.map(|frame| (frame, body)) });
    let broken = move |e| {
        let text = DisplayErrorContext(&e).to_string();
        Error::new(ErrorKind::Retry, operation, key.as_str(), text)
    };
    frames.map(move |frame| frame.map_err(&broken)).boxed()
}

/// The bytes of the window, and no more.
fn cut(body: BoxStream<'static, Result<Bytes>>, window: Window) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((body, window), |(mut body, mut window)| async move {
        while window.len > 0 {
            let Some(frame) = body.next().await else { break };
            let mut frame = frame?;
            let skipped = frame.len().min(usize::try_from(window.skip).unwrap_or(usize::MAX));
            window.skip -= skipped as u64;
            let mut frame = frame.split_off(skipped);
            frame.truncate(usize::try_from(window.len).unwrap_or(usize::MAX));
            if !frame.is_empty() {
                window.len -= frame.len() as u64;
                return Ok(Some((frame, (body, window))));
            }
        }
        Ok(None)
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r023_the_window_is_right_or_refused() {
        let ok = |skip, len| Ok(Window { skip, len });
        for (offset, want, range, length, expected) in [
            (0, None, None, 100, ok(0, 100)),
            (10, Some(5), Some("bytes 10-14/100"), 5, ok(0, 5)),
            (10, None, Some("bytes 10-99/100"), 90, ok(0, 90)),
            // Cut at the end of the object.
            (90, Some(50), Some("bytes 90-99/100"), 10, ok(0, 10)),
            // The range is ignored.
            (10, Some(5), None, 100, ok(10, 5)),
            (90, Some(50), None, 100, ok(90, 10)),
            (200, Some(5), None, 100, ok(100, 0)),
            (10, None, None, 100, ok(10, 90)),
            // More than asked, on either side.
            (10, Some(5), Some("bytes 10-19/100"), 10, ok(0, 5)),
            (10, Some(5), Some("bytes 5-19/100"), 15, ok(5, 5)),
            // The total is not told.
            (10, Some(5), Some("bytes 10-14/*"), 5, ok(0, 5)),
            (10, None, Some("bytes 10-14/*"), 5, ok(0, 5)),
            (u64::MAX, None, None, 100, ok(100, 0)),
        ] {
            assert_eq!(window(offset, want, range, length), expected, "{offset} {want:?} {range:?}");
        }
        for (offset, want, range, length) in [
            // Another window, or less than there is.
            (10, Some(5), Some("bytes 11-15/100"), 5),
            (10, Some(5), Some("bytes 10-12/100"), 3),
            (10, None, Some("bytes 10-50/100"), 41),
            (10, Some(5), Some("bytes 10-12/*"), 3),
            // Nonsense.
            (10, Some(5), Some("bytes 10-14/100"), 6),
            (10, Some(5), Some("bytes 14-10/100"), 5),
            (10, Some(5), Some("bytes */100"), 5),
            (10, Some(5), Some("bytes 10-18446744073709551615/*"), 5),
            (10, Some(5), Some(""), 5),
        ] {
            assert!(window(offset, want, range, length).is_err(), "{offset} {want:?} {range:?} {length}");
        }
    }
}
