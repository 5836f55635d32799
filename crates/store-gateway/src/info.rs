//! What the store says of itself over gRPC.
//!
//! Holds the Info service. It reads no block. Invariant: while the store is not ready it is not
//! advertised. Upstream: `info.NewInfoServer` with the store's functions in `cmd/thanos/store.go`.

use std::sync::Arc;

use component::probe::Probe;
use storeapi_proto::convert::to_label_set;
use storeapi_proto::info::info_server::Info;
use storeapi_proto::info::{InfoRequest, InfoResponse, StoreInfo, TsdbInfo};
use tonic::{Request, Response, Status};

use crate::store::BucketStore;

/// The Info service of a store gateway.
#[derive(Clone, Debug)]
pub struct InfoService {
    store: Arc<BucketStore>,
    probe: Probe,
}

impl InfoService {
    /// Tells what `store` holds while `probe` is ready.
    pub fn new(store: Arc<BucketStore>, probe: Probe) -> Self {
        InfoService { store, probe }
    }

    /// The answer at this moment.
    pub fn answer(&self) -> InfoResponse {
        let label_sets = self.store.label_sets().iter().map(to_label_set).collect();
        let store = self.probe.status().ready.then(|| {
            let (min_time, max_time) = self.store.time_range();
            let tsdb_infos = self.store.stretches().into_iter().map(|(labels, min_time, max_time)| {
                TsdbInfo { labels: Some(to_label_set(&labels)), min_time, max_time }
            });
            StoreInfo {
                min_time,
                max_time,
                supports_sharding: true,
                supports_without_replica_labels: true,
                tsdb_infos: tsdb_infos.collect(),
                ..Default::default()
            }
        });
        InfoResponse { label_sets, component_type: "store".to_owned(), store, ..Default::default() }
    }
}

#[tonic::async_trait]
impl Info for InfoService {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(self.answer()))
    }
}
