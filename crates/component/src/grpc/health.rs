//! `grpc.health.v1.Health`, fed by the probe.
//!
//! Answers for the empty service name only, as Thanos does. It decides nothing itself. Invariant: a
//! watcher sees every change of readiness at least once, in order.

use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::probe::Probe;

pub(super) struct ProbeHealth(Probe);

/// The service, to be added to a server.
pub(super) fn service(probe: &Probe) -> HealthServer<ProbeHealth> {
    HealthServer::new(ProbeHealth(probe.clone()))
}

fn answer(serving: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: serving.into() }
}

fn serving(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[tonic::async_trait]
impl Health for ProbeHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(serving(self.0.status().ready))))
    }

    type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !request.get_ref().service.is_empty() {
            // The protocol says: an unknown service is watched as such until it appears.
            let unknown = futures::stream::once(async { Ok(answer(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(Box::pin(unknown.chain(futures::stream::pending()))));
        }
        let mut last = None;
        let changes = WatchStream::new(self.0.watch()).filter_map(move |status| {
            let changed = last.replace(status.ready) != Some(status.ready);
            std::future::ready(changed.then(|| Ok(answer(serving(status.ready)))))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
