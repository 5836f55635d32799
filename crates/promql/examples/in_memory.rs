//! Evaluates a query over data in memory: `cargo run --example in_memory`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use model::{Labels, Samples};
use promql::{Collect, Engine, EngineOptions, QueryOptions, Queryable, Selection, SeriesSet, StorageError};

/// A store is anything that gives series for a selection, sorted by labels.
struct Requests;

impl Queryable for Requests {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let pods =
            ["a", "b", "c"].map(|pod| Labels::from_pairs([("__name__", "requests_total"), ("pod", pod)]));
        let matches = |labels: &Labels| selection.matchers.iter().all(|m| m.matches(labels.value(&m.name)));
        Box::new(Counters(pods.into_iter().filter(matches).collect::<Vec<_>>().into_iter()))
    }
}

struct Counters(std::vec::IntoIter<Labels>);

impl SeriesSet for Counters {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        let Some(labels) = self.0.next() else { return Ok(None) };
        // A sample each 15 s for ten minutes; pods count at different speeds.
        let speed = f64::from(labels.value("pod").as_bytes()[0] - b'a' + 1);
        (0..40).for_each(|i| samples.push(i * 15_000, speed * i as f64));
        Ok(Some(labels))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new(EngineOptions::default());
    let query = engine.range(
        "sum by (pod) (rate(requests_total[1m]))",
        120_000,
        480_000,
        60_000,
        QueryOptions::default(),
    )?;
    let mut result = Collect::default();
    let outcome = query.run(&Requests, &mut result)?;
    for (labels, samples) in &result.series {
        println!("{labels} {:?}", samples.values);
    }
    let (warnings, infos) = outcome.annotations.render(&query.text(), 10, 10);
    println!("warnings {warnings:?}, infos {infos:?}");
    Ok(())
}
