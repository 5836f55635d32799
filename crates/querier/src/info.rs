//! What the querier says of itself over gRPC.
//!
//! Holds the Info service, which sums up the stores behind the fan-out. It asks no store. Invariant:
//! only what is served here is announced, and nothing before the querier is ready.

use component::probe::Probe;
use storeapi_proto::convert::to_label_set;
use storeapi_proto::info::info_server::Info;
use storeapi_proto::info::{InfoRequest, InfoResponse, QueryApiInfo, StoreInfo};
use tonic::{Request, Response, Status};

use crate::proxy::Proxy;

/// The Info service of a querier.
#[derive(Clone, Debug)]
pub struct InfoService {
    proxy: Proxy,
    probe: Probe,
}

impl InfoService {
    /// Tells of the stores behind `proxy` while `probe` is ready.
    pub fn new(proxy: Proxy, probe: Probe) -> Self {
        InfoService { proxy, probe }
    }
}

#[tonic::async_trait]
impl Info for InfoService {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        if !self.probe.status().ready {
            return Err(Status::unknown("Not ready"));
        }
        let (min_time, max_time) = self.proxy.time_range();
        Ok(Response::new(InfoResponse {
            label_sets: self.proxy.label_sets().iter().map(to_label_set).collect(),
            component_type: "query".to_owned(),
            store: Some(StoreInfo {
                min_time,
                max_time,
                supports_sharding: true,
                supports_without_replica_labels: true,
                tsdb_infos: self.proxy.tsdb_infos(),
                ..Default::default()
            }),
            query: Some(QueryApiInfo {}),
            ..Default::default()
        }))
    }
}
