//! The blocks of the bench: many series, few or some samples.
//!
//! Labels as in Thanos' own benchmark of its store: a constant one and a long unique one. Invariant: the
//! same case gives the same bytes.

use std::ops::Range;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Labels, Millis};

use crate::blocks;

/// How much a block holds.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) series: usize,
    pub(super) samples: usize,
}

const BLOCK: Millis = 2 * 3_600_000;

impl Case {
    /// The block's time range: recent enough for a Prometheus to keep it, and over.
    pub(super) fn range(&self) -> Range<Millis> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
        let end = now - now.rem_euclid(BLOCK) - 12 * BLOCK;
        end - BLOCK..end
    }

    /// Writes the block into a folder.
    pub(super) async fn write(
        &self,
        dir: &Path,
        external: Option<&'static [(&'static str, &'static str)]>,
    ) -> anyhow::Result<()> {
        let (dir, case) = (dir.to_owned(), self.clone());
        tokio::task::spawn_blocking(move || {
            let range = case.range();
            let step = BLOCK / (case.samples as Millis + 1);
            let start = range.start;
            let series = (0..case.series).map(|i| {
                let unique = format!("{i:07}aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd");
                let labels = Labels::from_pairs([("__name__", "bench"), ("foo", "bar"), ("i", &unique)]);
                let sample = move |n: usize| (start + n as Millis * step, (i * 31 + n * n) as f64 / 8.0);
                (labels, (0..case.samples).map(sample))
            });
            blocks::write(&dir, external, range, series)
        })
        .await??;
        Ok(())
    }
}
