//! Listing keys, page by page.
//!
//! Holds the paging and the decoding of keys. Invariant: entries come in key order across pages, and a
//! listing that cannot be continued is an error, never a shorter listing.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::S3;
use super::error::classify;
use crate::bucket::folder;
use crate::retry::Policy;
use crate::{Entry, EntryStream, Error, ErrorKind, ListOptions, Result};

#[derive(Clone)]
struct Pages {
    client: Client,
    bucket: String,
    prefix: String,
    recursive: bool,
    policy: Policy,
}

impl Pages {
    /// One page, and what continues it.
    async fn page(&self, token: Option<String>) -> Result<(Vec<Entry>, Option<String>)> {
        let odd = |text: &str| Error::new(ErrorKind::Other, "iter", self.prefix.as_str(), text);
        let mut list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
        if !self.recursive {
            list = list.delimiter("/");
        }
        list = list.encoding_type(EncodingType::Url).set_continuation_token(token.clone());
        let page = list.send().await.map_err(|e| classify("iter", &self.prefix, e))?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let key = |text: &str| {
            let key = if encoded { decode(text) } else { Some(text.to_owned()) };
            key.filter(|key| key.starts_with(&self.prefix))
                .ok_or_else(|| odd("the listing holds a key that is none"))
        };
        let mut entries = Vec::with_capacity(page.contents().len() + page.common_prefixes().len());
        for object in page.contents() {
            let key = key(object.key().unwrap_or_default())?;
            // An object that stands for the folder itself.
            if key == self.prefix {
                continue;
            }
            entries.push(Entry {
                key,
                is_dir: false,
                size: object.size().and_then(|n| u64::try_from(n).ok()),
                last_modified: object.last_modified().and_then(|t| (*t).try_into().ok()),
            });
        }
        for folder in page.common_prefixes() {
            let key = key(folder.prefix().unwrap_or_default())?;
            entries.push(Entry { key, is_dir: true, size: None, last_modified: None });
        }
        // Each page covers a stretch of keys, objects and folders apart.
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let next = page.next_continuation_token().map(str::to_owned);
        match next {
            None if page.is_truncated() == Some(true) => {
                Err(odd("the listing is cut off and names no next page"))
            }
            Some(next) if Some(&next) == token.as_ref() => Err(odd("the listing turns in a circle")),
            next => Ok((entries, next)),
        }
    }
}

/// Undoes URL encoding, where a plus stands for a space.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

impl S3 {
    pub(super) async fn entries(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let pages = Pages {
            client: self.client().await?.clone(),
            bucket: self.config.bucket.clone(),
            prefix: folder(dir),
            recursive: options.recursive,
            policy: self.policy,
        };
        let (first, token) = pages.page(None).await?;
        let rest = stream::try_unfold((pages, token), |(pages, token)| async move {
            let Some(token) = token else { return Ok(None) };
            let (entries, next) = pages.policy.run(|| pages.page(Some(token.clone()))).await?;
            Ok(Some((entries, (pages, next))))
        });
        let all = stream::once(async { Ok(first) }).chain(rest);
        Ok(all.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn keys_are_decoded() {
        assert_eq!(decode("a/b+c%2Bd%25%C3%BC"), Some("a/b c+d%ü".to_owned()));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
