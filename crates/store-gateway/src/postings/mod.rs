//! From matchers to references of series.
//!
//! Holds the expansion for one block: which lists to read (`groups`), reading them from cache or bucket,
//! and the set operations, which run on the stored bytes. It reads no series. Invariant: the references
//! ascend, and they select exactly the series that match, apart from matchers handed back as lazy, which
//! the caller applies to the series themselves.
//! Upstream: `bucketIndexReader.ExpandedPostings`, `lazy_postings.go`.

mod groups;
mod lazy;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use model::{MatchType, Matcher};
use tsdb_block::index::postings as sets;

use crate::block::Block;
use crate::cache::Key;
use crate::error::{Context as _, Failure, Result};
use crate::fetch::RangeReader;
use crate::index_header::{ListRange, Reader};
use crate::partitioner::Partitioner;
use crate::pool::CpuPool;
use crate::request::{Hold, Request};
use crate::stats::Data;
use groups::{Group, groups};
pub use lazy::LazyOptions;

/// Lists this close together are read at once.
const PARTITIONER: Partitioner = Partitioner { gap: 16 << 10, longest: 4 << 20 };
/// Reads at once for one block.
const READS: usize = 8;
/// So many label values are looked up where the request is.
const FEW_VALUES: usize = 16;
/// Lists of so many bytes are joined where the request is.
const SMALL_LISTS: usize = 32 << 10;

/// What a set of matchers selects in a block.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    /// References, ascending.
    pub(crate) references: Vec<u32>,
    /// Matchers that are not applied yet.
    pub(crate) lazy: Vec<Matcher>,
    /// The key under which the result goes into the cache once the lazy matchers were applied.
    pub(crate) cache_key: Option<Key>,
    /// The charge for the references.
    _hold: Option<Hold>,
}

impl Expanded {
    /// Keeps the first `n` references.
    pub(crate) fn truncate(&mut self, n: usize) {
        self.references.truncate(n);
    }
}

/// Reads and joins postings.
#[derive(Clone, Debug)]
pub(crate) struct Expander {
    pub(crate) fetch: RangeReader,
    pub(crate) pool: CpuPool,
    pub(crate) lazy: LazyOptions,
}

/// A list to read: where it stands, and its name in the cache.
#[derive(Debug)]
struct Wanted {
    range: ListRange,
    key: Key,
}

/// A group whose lists were looked up.
#[derive(Debug)]
struct Found {
    group: Group,
    /// Indexes into the wanted lists.
    lists: Vec<usize>,
}

impl Expander {
    /// The series of `block` that all `matchers` select; none for no matcher, as upstream.
    pub(crate) async fn expand(
        &self,
        block: &Arc<Block>,
        header: Reader,
        matchers: &[Matcher],
        request: &Arc<Request>,
    ) -> Result<(Reader, Expanded)> {
        if matchers.is_empty() {
            return Ok((header, Expanded::default()));
        }
        let cache_key = Key::Expanded(block.id, cache_text(matchers).into());
        if let Some(hit) =
            request.cache().get_many(std::slice::from_ref(&cache_key), &request.tenant).pop().flatten()
        {
            return Ok((header, from_cache(&hit, request)?));
        }
        // Looking up many values reads and compares much.
        let few = |m: &Matcher| m.set_matches().is_none_or(|words| words.len() < FEW_VALUES);
        let small = matchers.iter().all(|m| is_looked_up(m) && few(m));
        let (header, plan) = {
            let (matchers, block, request) = (matchers.to_vec(), block.clone(), request.clone());
            let options = self.lazy;
            let job = move || {
                let plan = plan(&header, &matchers, &block, &request, options)?;
                Ok((header, plan))
            };
            self.pool.run_sized(small, job).await?
        };
        let Some(plan) = plan else {
            store(request, cache_key, &[]);
            return Ok((header, Expanded::default()));
        };
        let lists = self
            .lists(block, plan.wanted, request)
            .await
            .context("fetch and expand postings: get postings")?;
        let lazy: Vec<Matcher> =
            plan.groups.iter().filter(|f| f.group.lazy).flat_map(|f| f.group.matchers.clone()).collect();
        let total: usize = lists.bytes.iter().map(|b| b.len()).sum();
        // Joining lists makes others of at most that size, two at a time.
        let mut hold = request.hold(2 * total as u64, &what(matchers))?;
        let groups = plan.groups;
        drop(plan.hold);
        let references = self.pool.run_sized(total < SMALL_LISTS, move || join(&groups, &lists)).await?;
        hold.release((2 * total as u64).saturating_sub(4 * references.len() as u64));
        if lazy.is_empty() {
            store(request, cache_key, &references);
            return Ok((header, Expanded { references, lazy, cache_key: None, _hold: Some(hold) }));
        }
        request.metrics.lazy_postings.inc();
        Ok((header, Expanded { references, lazy, cache_key: Some(cache_key), _hold: Some(hold) }))
    }

    /// The bytes of every wanted list, from cache or bucket, in their order.
    async fn lists(&self, block: &Arc<Block>, wanted: Vec<Wanted>, request: &Arc<Request>) -> Result<Lists> {
        let began = Instant::now();
        let keys: Vec<Key> = wanted.iter().map(|w| w.key.clone()).collect();
        let mut bytes = request.cache().get_many(&keys, &request.tenant);
        let cached: u64 = bytes.iter().flatten().map(|b| b.len() as u64).sum();
        request.limits.bytes.reserve(cached).map_err(|e| {
            Failure::limit(format!("exceeded bytes limit while loading postings from index cache: {e}"))
        })?;
        let hits = bytes.iter().flatten().count() as u64;
        request.stats.touch(Data::Postings, hits, cached);

        let mut missing: Vec<usize> = (0..wanted.len()).filter(|i| bytes[*i].is_none()).collect();
        request.stats.to_fetch(missing.len() as u64);
        missing.sort_by_key(|i| wanted[*i].range.start);
        let parts = PARTITIONER.parts(missing.iter().map(|i| wanted[*i].range.clone()));
        let size: u64 = parts.iter().map(|p| p.bytes.end - p.bytes.start).sum();
        request
            .limits
            .bytes
            .reserve(size)
            .map_err(|e| Failure::limit(format!("exceeded bytes limit while fetching postings: {e}")))?;
        let reads = parts.into_iter().map(|part| {
            let (fetch, block, request) = (self.fetch.clone(), block.clone(), request.clone());
            let items: Vec<(usize, ListRange)> =
                missing[part.items.clone()].iter().map(|i| (*i, wanted[*i].range.clone())).collect();
            async move {
                let len = part.bytes.end - part.bytes.start;
                let hold = request.hold(len, &format_args!("postings of block {}", block.id))?;
                let buffer = fetch
                    .read_exact(&block.index_key, part.bytes.start, len)
                    .await
                    .context("read postings range")?;
                request.stats.fetch(Data::Postings, items.len() as u64, len);
                let all = hold.over(buffer);
                let mut out = Vec::with_capacity(items.len());
                for (i, range) in items {
                    let start = (range.start - part.bytes.start) as usize;
                    let end = (range.end - part.bytes.start) as usize;
                    let section = all.slice(start..end);
                    // Verifies length and checksum before anyone believes it.
                    let list = sets::decode(&section).map_err(|e| {
                        Failure::block(e.in_file(std::path::Path::new(&block.index_key), range.start))
                    })?;
                    let words = list.as_words().as_flattened();
                    out.push((i, section.slice_ref(words)));
                }
                Ok::<_, Failure>(out)
            }
        });
        let reads: Vec<_> = reads.collect();
        let mut fetched = futures::stream::iter(reads).buffer_unordered(READS);
        while let Some(lists) = fetched.try_next().await? {
            for (i, list) in lists {
                request.stats.touch(Data::Postings, 1, list.len() as u64);
                // A copy of its own, so that the cache does not keep the whole range.
                request.cache().put(wanted[i].key.clone(), Bytes::copy_from_slice(&list), &request.tenant);
                bytes[i] = Some(list);
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        request.metrics.postings_fetch.with_label_values(&[&request.tenant]).observe(seconds);
        Ok(Lists { bytes: bytes.into_iter().map(Option::unwrap_or_default).collect() })
    }
}

/// Lists as big-endian words, without count and checksum.
#[derive(Debug)]
struct Lists {
    bytes: Vec<Bytes>,
}

/// A list's words as the set operations read them.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [[u8; 4]]);

impl sets::Postings for Words<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn at(self, i: usize) -> u32 {
        u32::from_be_bytes(self.0[i])
    }
}

impl Lists {
    fn words(&self, i: usize) -> Words<'_> {
        Words(self.bytes[i].as_chunks::<4>().0)
    }
}

#[derive(Debug)]
struct Plan {
    groups: Vec<Found>,
    wanted: Vec<Wanted>,
    /// The charge for label values.
    hold: Hold,
}

/// Decides which lists are needed; `None` where nothing can match.
fn plan(
    header: &Reader,
    matchers: &[Matcher],
    block: &Block,
    request: &Arc<Request>,
    options: LazyOptions,
) -> Result<Option<Plan>> {
    let mut hold = request.hold(0, &"label values")?;
    for m in matchers.iter().filter(|m| !is_looked_up(m)) {
        hold.grow(header.values_size(&m.name), &format_args!("label values for {}", shown(m)))?;
    }
    let Some(groups) = groups(matchers, header).context("matchersToPostingGroups")? else { return Ok(None) };
    let all = groups.iter().any(|g| g.add_all) && !groups.iter().any(|g| !g.add.is_empty());
    let mut groups: Vec<Group> =
        groups.into_iter().filter(|g| !g.add.is_empty() || !g.remove.is_empty()).collect();
    if all {
        let range = header.lookup("", &[""])?.pop().flatten();
        let Some(range) = range else { return Ok(None) };
        groups.push(Group::all_series(range));
    }
    // A group that adds keys of which none exists selects nothing.
    if groups.iter().any(|g| !g.add_all && g.add.is_empty()) {
        return Ok(None);
    }
    if options.enabled && !all && groups.len() > 1 {
        lazy::choose(&mut groups, block.estimates.series, options, &request.metrics);
    }
    let mut wanted = Vec::new();
    let mut found = Vec::with_capacity(groups.len());
    for mut group in groups {
        let mut lists = Vec::new();
        if !group.lazy {
            let name: Arc<str> = group.name.as_str().into();
            let keys = std::mem::take(if group.add_all { &mut group.remove } else { &mut group.add });
            for (value, range) in keys {
                lists.push(wanted.len());
                wanted.push(Wanted { range, key: Key::Postings(block.id, name.clone(), value.into()) });
            }
        }
        found.push(Found { group, lists });
    }
    Ok(Some(Plan { groups: found, wanted, hold }))
}

/// Intersects what the groups add and takes away what they remove.
fn join(groups: &[Found], lists: &Lists) -> Result<Vec<u32>> {
    let mut added: Vec<Vec<u32>> = Vec::new();
    let mut single: Vec<Words<'_>> = Vec::new();
    let mut removed: Vec<Words<'_>> = Vec::new();
    for found in groups.iter().filter(|f| !f.group.lazy) {
        let words = found.lists.iter().map(|i| lists.words(*i));
        if found.group.add_all {
            removed.extend(words);
        } else if let [only] = found.lists.as_slice() {
            single.push(lists.words(*only));
        } else {
            added.push(sets::union_all(&words.collect::<Vec<_>>()));
        }
    }
    added.sort_by_key(Vec::len);
    let mut added = added.into_iter();
    let mut selected =
        if single.is_empty() { added.next().unwrap_or_default() } else { sets::intersect_all(&single) };
    for more in added {
        selected = sets::intersect(selected.as_slice(), more.as_slice());
    }
    if !removed.is_empty() && !selected.is_empty() {
        selected = match removed.as_slice() {
            [only] => sets::subtract(selected.as_slice(), *only),
            many => sets::subtract(selected.as_slice(), sets::union_all(many).as_slice()),
        };
    }
    Ok(selected)
}

/// Whether a matcher's values are looked up one by one; else all values of the label are read.
fn is_looked_up(m: &Matcher) -> bool {
    match m.kind {
        MatchType::Equal | MatchType::NotEqual => !m.value.is_empty(),
        MatchType::Regexp | MatchType::NotRegexp => m.value == ".*" || m.set_matches().is_some(),
    }
}

/// A matcher for a refusal: its beginning, if it is long.
fn shown(m: &Matcher) -> String {
    let mut text = m.to_string();
    let cut = text.char_indices().nth(200).map_or(text.len(), |(at, _)| at);
    text.truncate(cut);
    text
}

/// The matchers for a refusal.
pub(crate) fn what(matchers: &[Matcher]) -> String {
    let mut text = String::from("postings of {");
    for (i, m) in matchers.iter().enumerate() {
        use std::fmt::Write as _;
        let _ = write!(text, "{}{}", if i > 0 { "," } else { "" }, shown(m));
    }
    text.push('}');
    text
}

fn cache_text(matchers: &[Matcher]) -> String {
    let mut all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    all.sort_unstable();
    all.join(",")
}

/// Puts references into the cache, in the form that lists have.
pub(crate) fn store(request: &Request, key: Key, references: &[u32]) {
    let bytes: Vec<u8> = references.iter().flat_map(|r| r.to_be_bytes()).collect();
    request.cache().put(key, bytes.into(), &request.tenant);
}

fn from_cache(bytes: &Bytes, request: &Arc<Request>) -> Result<Expanded> {
    let len = bytes.len() as u64;
    request.limits.bytes.reserve(len).map_err(|e| {
        Failure::limit(format!("exceeded bytes limit while loading expanded postings from index cache: {e}"))
    })?;
    request.stats.touch(Data::Postings, 1, len);
    let hold = request.hold(len, &"cached postings")?;
    let references = bytes.as_chunks::<4>().0.iter().map(|w| u32::from_be_bytes(*w)).collect();
    Ok(Expanded { references, _hold: Some(hold), ..Expanded::default() })
}
