//! Tests of `endpoints`.

use std::sync::atomic::{AtomicBool, Ordering};

use storeapi_proto::info::StoreInfo;
use storeapi_proto::thanos;

use super::*;
use crate::store::{Call, SeriesStream};

struct Fake {
    up: AtomicBool,
    hang: bool,
}

#[async_trait]
impl Store for Fake {
    async fn series(&self, _: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        Ok(Box::pin(futures::stream::empty()))
    }
    async fn label_names(
        &self,
        _: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        Ok(Default::default())
    }
    async fn label_values(
        &self,
        _: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        Ok(Default::default())
    }
}

#[async_trait]
impl Peer for Fake {
    async fn info(&self) -> Result<InfoResponse, Status> {
        if self.hang {
            futures::future::pending::<()>().await;
        }
        if !self.up.load(Ordering::Relaxed) {
            return Err(Status::unavailable("down"));
        }
        Ok(InfoResponse {
            label_sets: vec![storeapi_proto::convert::to_label_set(&Labels::from_pairs([(
                "cluster", "eu1",
            )]))],
            component_type: "store".into(),
            store: Some(StoreInfo { min_time: 100, max_time: 200, ..Default::default() }),
            ..Default::default()
        })
    }
}

struct Fakes(BTreeMap<String, Arc<Fake>>);

impl Connector for Fakes {
    fn connect(&self, target: &Target) -> Result<Arc<dyn Peer>, String> {
        self.0
            .get(&target.address)
            .map(|f| f.clone() as Arc<dyn Peer>)
            .ok_or_else(|| "no such host".to_owned())
    }
}

fn spec(addr: &str, strict: bool) -> Target {
    Target { strict, ..Target::plain(addr) }
}

#[tokio::test(start_paused = true)]
async fn members_come_go_and_are_counted() {
    let fake = |up, hang| Arc::new(Fake { up: AtomicBool::new(up), hang });
    let fakes: BTreeMap<String, Arc<Fake>> = [
        ("a:1".to_owned(), fake(true, false)),
        ("b:1".to_owned(), fake(false, false)),
        ("h:1".to_owned(), fake(true, true)),
    ]
    .into();
    let a = fakes["a:1"].clone();
    let registry = prometheus::Registry::new();
    let labels = [MetricLabel::ExternalLabels, MetricLabel::StoreType];
    let metrics = NodeMetrics::new(&registry, &labels).unwrap();
    let timeouts = Timeouts { info: Duration::from_secs(5), unhealthy: Duration::from_secs(300) };
    let set = EndpointSet::new(Box::new(Fakes(fakes)), timeouts, metrics);
    let specs = [spec("a:1", false), spec("b:1", true), spec("h:1", false), spec("missing:1", false)];
    set.update(&specs, 1000).await;
    set.first_update().await;

    // `h` hangs and `missing` cannot be dialled: neither becomes a member. `b` is strict.
    let names = |set: &EndpointSet| set.stores().iter().map(|e| e.addr.clone()).collect::<Vec<_>>();
    assert_eq!(names(&set), ["a:1", "b:1"]);
    let statuses = set.statuses();
    assert_eq!((statuses[0].last_check, statuses[0].component.as_str()), (1000, "store"));
    assert_eq!(statuses[1].last_error.as_deref(), Some("rpc error: code = Unavailable desc = down"));
    let gauge = registry.gather();
    assert_eq!(gauge[0].get_metric().len(), 2);

    // Time and labels prune; a peer that never spoke is never pruned.
    let (known, strict) = (&set.stores()[0], &set.stores()[1]);
    assert!(known.may_match(200, 300, &[Matcher::equal("cluster", "eu1")]));
    assert!(!known.may_match(201, 300, &[]));
    assert!(!known.may_match(100, 200, &[Matcher::equal("cluster", "us1")]));
    assert!(strict.may_match(201, 300, &[Matcher::equal("cluster", "us1")]));

    // A member that falls silent is not asked, keeps its place for a while, and then goes.
    a.up.store(false, Ordering::Relaxed);
    set.update(&specs, 2000).await;
    assert_eq!(names(&set), ["b:1"]);
    assert_eq!(set.statuses().len(), 2);
    assert_eq!(set.statuses()[0].last_check, 1000);
    set.update(&specs, 302_000).await;
    assert_eq!(set.statuses().len(), 1);
    // And one that is not listed any more goes at once.
    set.update(&[], 303_000).await;
    assert!(set.statuses().is_empty());
}
