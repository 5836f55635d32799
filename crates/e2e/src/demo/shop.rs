//! Made-up data of a shop: a function of time, written as two replicas saw it.
//!
//! Each replica scrapes at its own offset and was away for a while, so only both together have
//! everything. Invariant: within five minutes a series keeps one value, so an answer does not depend on
//! which replica's sample it came from.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use model::{Labels, Millis};
use serde_json::Value;

use crate::blocks;

/// The metric.
const METRIC: &str = "shop_queue_length";
/// What the demo asks.
pub(super) const QUERY: &str = "shop_queue_length";
/// Three processes of the shop.
pub(super) const INSTANCES: [&str; 3] = ["shop-1:8080", "shop-2:8080", "shop-3:8080"];
/// How much there is.
pub(super) const HOURS: i64 = 12;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const BLOCK: Millis = 2 * HOUR;
const SCRAPE: Millis = 15 * SECOND;
/// As long a series keeps its value.
const SLOT: Millis = 5 * MINUTE;

/// A replica: its name, its offset within the scrape interval, and when it was away, from the end.
const REPLICAS: [(&str, Millis, [Millis; 2]); 2] =
    [("a", SECOND, [5 * HOUR, 4 * HOUR]), ("b", 8 * SECOND, [3 * HOUR, 2 * HOUR + 20 * MINUTE])];

/// The data up to a time.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    /// The end, at the beginning of a block.
    end: Millis,
}

impl Shop {
    /// Data up to the last full block.
    pub(super) fn until_now() -> anyhow::Result<Self> {
        let now = Millis::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        Ok(Shop { end: now - now.rem_euclid(BLOCK) })
    }

    fn value(instance: usize, t: Millis) -> f64 {
        let slot = t.div_euclid(SLOT);
        let step = i64::try_from(instance).unwrap_or_default() + 3;
        (slot.wrapping_mul(step).rem_euclid(47)) as f64
    }

    /// Writes every block of both replicas.
    pub(super) fn write(&self, bucket: &Path) -> anyhow::Result<()> {
        for (replica, offset, away) in REPLICAS {
            let away = self.end - away[0]..self.end - away[1];
            let external = [("cluster", "demo"), ("replica", replica)];
            for start in (self.end - HOURS * HOUR..self.end).step_by(BLOCK as usize) {
                let times = (start + offset..start + BLOCK).step_by(SCRAPE as usize);
                let times: Vec<Millis> = times.filter(|t| !away.contains(t)).collect();
                let series = INSTANCES.iter().enumerate().map(|(i, instance)| {
                    let labels =
                        Labels::from_pairs([("__name__", METRIC), ("instance", *instance), ("job", "shop")]);
                    (labels, times.iter().map(move |t| (*t, Shop::value(i, *t))))
                });
                blocks::write(bucket, Some(&external), start..start + BLOCK, series)?;
            }
        }
        Ok(())
    }

    /// First evaluation time, in seconds: late in a slot, when both replicas have scraped in it.
    pub(super) fn start(&self) -> String {
        ((self.end - HOURS * HOUR + SLOT - MINUTE) / SECOND).to_string()
    }

    /// Last evaluation time, in seconds.
    pub(super) fn end(&self) -> String {
        ((self.end - MINUTE) / SECOND).to_string()
    }

    /// Seconds between evaluations: one in a slot.
    pub(super) fn step(&self) -> String {
        (SLOT / SECOND).to_string()
    }

    /// Compares a deduplicated range answer with what was written: the number of samples.
    pub(super) fn compare(&self, answer: &Value) -> anyhow::Result<usize> {
        let series = answer["result"].as_array().context("a matrix")?;
        ensure!(series.len() == INSTANCES.len(), "{} series instead of {}", series.len(), INSTANCES.len());
        let mut samples = 0;
        for (i, (got, instance)) in series.iter().zip(INSTANCES).enumerate() {
            let metric = serde_json::json!({
                "__name__": METRIC, "cluster": "demo", "instance": instance, "job": "shop"
            });
            ensure!(got["metric"] == metric, "series {} instead of {metric}", got["metric"]);
            let values = got["values"].as_array().context("values")?;
            let slots = HOURS * HOUR / SLOT;
            ensure!(values.len() as i64 == slots, "{instance}: {} samples instead of {slots}", values.len());
            for (n, sample) in values.iter().enumerate() {
                let t = self.end - HOURS * HOUR + (n as i64 + 1) * SLOT - MINUTE;
                let want = serde_json::json!([t / SECOND, Shop::value(i, t).to_string()]);
                ensure!(*sample == want, "{instance}: {sample} instead of {want}");
                samples += 1;
            }
        }
        Ok(samples)
    }
}
