//! File service discovery: lists of targets in files that change.
//!
//! Reads Prometheus' file-SD files (JSON or YAML) by glob and keeps each file's last good targets;
//! only the targets are used, labels are not (Thanos `--store.sd-files`). It resolves no name.
//! Invariant: a file that cannot be read keeps what it said before; one that is gone says nothing.
//! Files are looked at every few seconds instead of being watched, and read on change or every
//! interval. Thanos registers none of Prometheus' metrics for them, so there are none here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use serde::Deserialize;

use crate::clock::SharedClock;
use crate::shutdown::Shutdown;

/// How often files are looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "the format has labels, peers need none")]
    labels: BTreeMap<String, String>,
}

/// What a file looked like when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    stamp: Stamp,
    targets: Vec<String>,
}

/// The targets of all files. Clones share them.
#[derive(Clone, Debug)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    patterns: Vec<String>,
    files: RwLock<BTreeMap<PathBuf, Known>>,
}

/// A pattern does not name files of targets: the name's end is wrong, or a star stands elsewhere than
/// once in the last segment.
#[derive(Debug, thiserror::Error)]
#[error("path name {0:?} is not valid for file discovery")]
pub struct BadPattern(String);

impl Files {
    /// The files that `patterns` name; none is read yet.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        for pattern in patterns {
            let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
            let stem = name
                .rsplit_once('.')
                .filter(|(_, end)| matches!(*end, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML"));
            let fits = stem.is_some_and(|(stem, _)| {
                !folder.contains('*') && stem.matches('*').count() <= 1 && !name[stem.len()..].contains('*')
            });
            if !fits {
                return Err(BadPattern(pattern.clone()));
            }
        }
        Ok(Files(Arc::new(Inner { patterns: patterns.to_vec(), files: RwLock::default() })))
    }

    /// The targets of all files, each once, sorted.
    pub fn addresses(&self) -> Vec<String> {
        let files = self.0.files.read();
        let unique: BTreeSet<&String> = files.values().flat_map(|known| &known.targets).collect();
        unique.into_iter().cloned().collect()
    }

    /// Reads the files that have changed since they were read, or all of them.
    pub fn refresh(&self, all: bool) {
        let before = self.0.files.read().clone();
        let mut now = BTreeMap::new();
        for path in self.0.patterns.iter().flat_map(|pattern| listed(pattern)) {
            let known = before.get(&path);
            let stamp = stamp(&path);
            if !all && known.is_some_and(|known| known.stamp == stamp) {
                now.insert(path, known.cloned().unwrap_or_default());
                continue;
            }
            let targets = match read(&path) {
                Ok(targets) => targets,
                Err(err) => {
                    tracing::error!(path = %path.display(), err, "Error reading file");
                    known.map(|known| known.targets.clone()).unwrap_or_default()
                }
            };
            now.insert(path, Known { stamp, targets });
        }
        *self.0.files.write() = now;
    }

    /// Reads all files at once and then every `every`, changed ones within seconds, until shutdown.
    pub async fn run(self, every: Duration, clock: SharedClock, shutdown: Shutdown) {
        let (mut read_at, every) = (None, i64::try_from(every.as_millis()).unwrap_or(i64::MAX));
        loop {
            let now = clock.now_millis();
            let due = read_at.is_none_or(|at| now - at >= every);
            if due {
                read_at = Some(now);
            }
            let files = self.clone();
            // Only a panic ends it early, and the next round is another try.
            let _ = tokio::task::spawn_blocking(move || files.refresh(due)).await;
            if shutdown.or_stop(clock.sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    match std::fs::metadata(path) {
        Ok(meta) => Stamp { modified: meta.modified().ok(), length: meta.len() },
        Err(_) => Stamp::default(),
    }
}

fn listed(pattern: &str) -> Vec<PathBuf> {
    match glob::glob(pattern) {
        Ok(paths) => paths.flatten().collect(),
        Err(err) => {
            tracing::error!(glob = pattern, %err, "Error expanding glob");
            Vec::new()
        }
    }
}

fn read(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let is_json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let groups: Option<Vec<Option<Group>>> = if is_json {
        serde_json::from_str(&text).map_err(|e| e.to_string())?
    } else if text.trim().is_empty() {
        None
    } else {
        serde_norway::from_str(&text).map_err(|e| e.to_string())?
    };
    let mut targets = Vec::new();
    for group in groups.unwrap_or_default() {
        targets.extend(group.ok_or("nil target group item found")?.targets);
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_change_break_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a.json"), r#"[{"targets": ["a:1", "b:1"], "labels": {"x": "y"}}]"#).unwrap();
        std::fs::write(at("b.yml"), "- targets: [b:1]\n- targets: [dns+c:1]\n").unwrap();
        let patterns = ["*.json", "*.yml"].map(|p| at(p).display().to_string());
        let files = Files::new(&patterns).unwrap();
        files.refresh(true);
        assert_eq!(files.addresses(), ["a:1", "b:1", "dns+c:1"]);

        std::fs::write(at("a.json"), r#"[{"targets": ["longer:1"]}]"#).unwrap();
        std::fs::write(at("b.yml"), "- targets: [broken").unwrap();
        files.refresh(false);
        assert_eq!(files.addresses(), ["b:1", "dns+c:1", "longer:1"]);
        // Mended, with a target that it had before.
        std::fs::write(at("b.yml"), "- targets: [b:1, b:1]").unwrap();
        files.refresh(true);
        assert_eq!(files.addresses(), ["b:1", "longer:1"]);

        std::fs::remove_file(at("b.yml")).unwrap();
        files.refresh(false);
        assert_eq!(files.addresses(), ["longer:1"]);
    }

    #[test]
    fn patterns_have_one_star_in_the_last_segment_and_a_known_end() {
        let fits = |pattern: &str| Files::new(&[pattern.to_owned()]).is_ok();
        for pattern in ["a.json", "/x/y.yml", "x/*.yaml", "x/a*b.YML", "*.JSON"] {
            assert!(fits(pattern), "{pattern}");
        }
        for pattern in ["a", "a.txt", "*/a.json", "x/**.yml", "a.json*", ""] {
            assert!(!fits(pattern), "{pattern}");
        }
    }

    #[test]
    fn groups_that_are_nothing_and_unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let read_text = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        assert_eq!(read_text("a.json", "[null]"), Err("nil target group item found".to_owned()));
        assert!(read_text("a.yml", "- targets: [a]\n  other: 1").is_err());
        assert_eq!(read_text("e.yml", ""), Ok(vec![]));
    }
}
