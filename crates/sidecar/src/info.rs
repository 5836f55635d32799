//! What the sidecar says of itself over gRPC.
//!
//! Holds the Info service. It asks Prometheus nothing. Invariant: while the sidecar is not ready the
//! store is not advertised.

use component::probe::Probe;
use storeapi_proto::convert::to_label_set;
use storeapi_proto::info::info_server::Info;
use storeapi_proto::info::{InfoRequest, InfoResponse, StoreInfo, TsdbInfo};
use tonic::{Request, Response, Status};

use crate::state::State;

/// The Info service of a sidecar.
#[derive(Clone, Debug)]
pub struct InfoService {
    state: State,
    probe: Probe,
}

impl InfoService {
    /// Tells what `state` holds while `probe` is ready.
    pub fn new(state: State, probe: Probe) -> Self {
        InfoService { state, probe }
    }

    fn answer(&self) -> InfoResponse {
        let labels = self.state.labels();
        let sets: Vec<_> = (!labels.is_empty()).then(|| to_label_set(&labels)).into_iter().collect();
        let (min_time, max_time) = self.state.range();
        let tsdb_infos =
            sets.iter().map(|set| TsdbInfo { labels: Some(set.clone()), min_time, max_time }).collect();
        let store = self.probe.status().ready.then_some(StoreInfo {
            min_time,
            max_time,
            supports_sharding: true,
            supports_without_replica_labels: true,
            tsdb_infos,
            ..Default::default()
        });
        InfoResponse { label_sets: sets, component_type: "sidecar".to_owned(), store, ..Default::default() }
    }
}

#[tonic::async_trait]
impl Info for InfoService {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(self.answer()))
    }
}

#[cfg(test)]
mod tests {
    use component::flags::value::TimeOrDuration;
    use model::Labels;

    use super::*;

    /// R034, R036: the limited range is advertised, and nothing while Prometheus is away.
    #[test]
    fn advertises_only_when_ready() {
        let state = State::new(TimeOrDuration::parse("1970-01-01T00:01:00Z").unwrap(), 0);
        let probe = Probe::new("sidecar", &component::metrics::Registry::new()).unwrap();
        let service = InfoService::new(state.clone(), probe.clone());
        assert_eq!((service.answer().store, service.answer().label_sets.len()), (None, 0));
        state.set_labels(Labels::from_pairs([("replica", "a")]));
        state.set_lowest(i64::MIN, 0);
        probe.ready();
        let store = service.answer().store.unwrap();
        assert_eq!((store.min_time, store.max_time, store.tsdb_infos.len()), (60_000, i64::MAX, 1));
        probe.not_ready("gone");
        assert_eq!(service.answer().store, None);
    }
}
