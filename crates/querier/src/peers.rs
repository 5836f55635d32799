//! Connections to the peers, and which peers there are.
//!
//! Holds the connector that the endpoint set dials with, the group that stands for several servers, and
//! the loops that resolve names and ask for Info (Thanos `cmd/thanos/endpointset.go`). It knows no
//! query. Invariant: a failing lookup or file never shrinks what is known (`component::discovery`), and a
//! group is one peer whatever its members are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use component::discovery::endpoints::{Source, Static};
use component::discovery::files::Files;
use component::discovery::{Kind, Provider, Resolve, SystemResolver, Target};
use component::flags::groups::GrpcClient;
use component::metrics::IntCounter;
use component::{Env, grpc, metrics};
use model::Budget;
use parking_lot::Mutex;
use storeapi::endpoints::{Connector, EndpointSet, NodeMetrics, Peer, Timeouts};
use storeapi::{Call, RemoteStore, SeriesStream, Store};
use storeapi_proto::info::InfoResponse;
use storeapi_proto::thanos;
use tonic::{Code, Status};

use crate::args::Endpoints as Args;

type Remote = RemoteStore<grpc::Channel>;

/// Everything that finds peers.
#[derive(Debug)]
pub struct Discovery {
    set: Arc<EndpointSet>,
    source: Source,
    files: Files,
    names: Provider,
    groups: Provider,
    duplicates: IntCounter,
    /// Takes the duplicates found while names are looked up, which nobody counts.
    uncounted: IntCounter,
    client: GrpcClient,
    args: Args,
}

/// Dials peers.
struct Channels {
    groups: Provider,
    inject: Arc<[String]>,
    metrics: grpc::ClientMetrics,
    budget: Arc<Budget>,
}

impl Connector for Channels {
    fn connect(&self, target: &Target) -> Result<Arc<dyn Peer>, String> {
        let connector = grpc::Connector::new(&target.client, Some(self.metrics.clone()));
        let connector = connector.map_err(|e| e.to_string())?;
        if target.group.is_none() {
            let channel = connector.channel(&target.address).map_err(|e| e.to_string())?;
            return Ok(Arc::new(RemoteStore::within(channel, self.budget.clone())));
        }
        Ok(Arc::new(Group {
            name: target.address.clone(),
            groups: self.groups.clone(),
            inject: self.inject.clone(),
            connector,
            budget: self.budget.clone(),
            members: Mutex::default(),
            turn: AtomicUsize::new(0),
        }))
    }
}

impl Discovery {
    /// Reads the endpoint configuration; asks nobody yet.
    ///
    /// # Errors
    /// Configuration that does not hold together, or metrics that are registered already.
    pub fn new(args: &Args, client: &GrpcClient, env: &Env) -> anyhow::Result<Self> {
        let resolver = || SystemResolver::new(Kind::from_flag(&args.dns_resolver));
        Self::with_resolvers(args, client, env, [Box::new(resolver()), Box::new(resolver())])
    }

    /// As [`Discovery::new`], with the resolvers of names and of groups.
    ///
    /// # Errors
    /// As [`Discovery::new`].
    pub fn with_resolvers(
        args: &Args,
        client: &GrpcClient,
        env: &Env,
        [names, groups]: [Box<dyn Resolve>; 2],
    ) -> anyhow::Result<Self> {
        let flags = Static {
            endpoints: args.endpoints.clone(),
            groups: args.groups.clone(),
            strict: args.strict.clone(),
            strict_groups: args.strict_groups.clone(),
        };
        let source = Source::load(args.sd_config.clone(), flags)?;
        let files = Files::new(&args.sd_files)?;
        let names = Provider::with_resolver(&env.registry, "thanos_query_endpoints", names)?;
        let groups = Provider::with_resolver(&env.registry, "thanos_query_endpoint_groups", groups)?;
        let duplicates = metrics::counter(
            &env.registry,
            "thanos_query_duplicated_endpoint_addresses_total",
            "The number of times a duplicated endpoint addresses is detected from the different configs",
        )?;
        let channels = Channels {
            groups: groups.clone(),
            inject: args.inject_addresses.clone().into(),
            metrics: grpc::ClientMetrics::new(&env.registry)?,
            budget: env.budget.clone(),
        };
        // Settings that cannot be used are an error at the start, not a peer that never appears.
        grpc::Connector::new(client, None)?;
        let timeouts = Timeouts { info: args.info_timeout, unhealthy: args.unhealthy_timeout };
        let nodes = NodeMetrics::new(&env.registry, &args.metric_labels)?;
        let set = Arc::new(EndpointSet::new(Box::new(channels), timeouts, nodes));
        let (client, args) = (client.clone(), args.clone());
        let uncounted = IntCounter::new("uncounted", "Duplicates that are not counted.")?;
        Ok(Discovery { set, source, files, names, groups, duplicates, uncounted, client, args })
    }

    /// The peers.
    pub fn set(&self) -> Arc<EndpointSet> {
        self.set.clone()
    }

    /// Starts the loops; they end with the process' shutdown.
    pub fn start(self, env: &Env) {
        let this = Arc::new(self);
        let (clock, shutdown) = (env.clock.clone(), env.shutdown.clone());
        component::run::spawn(&env.shutdown, "endpoint config", {
            let source = this.source.clone();
            let (every, clock, shutdown) = (this.args.sd_config_interval, clock.clone(), shutdown.clone());
            async move {
                source.run(every, clock, shutdown).await;
                Ok(())
            }
        });
        if !this.args.sd_files.is_empty() {
            this.files.refresh(true);
            let (files, every) = (this.files.clone(), this.args.sd_interval);
            let (clock, shutdown) = (clock.clone(), shutdown.clone());
            component::run::spawn(&env.shutdown, "endpoint files", async move {
                files.run(every, clock, shutdown).await;
                Ok(())
            });
        }
        component::run::spawn(&env.shutdown, "endpoints", async move {
            // Names are known before the first round of Info.
            this.resolve().await;
            let resolving = async {
                while shutdown.or_stop(clock.sleep(this.args.dns_interval)).await.is_some() {
                    this.resolve().await;
                }
            };
            let updating = async {
                loop {
                    let targets =
                        this.source.current().targets(&this.addresses(), &this.client, &this.duplicates);
                    if shutdown.or_stop(this.set.update(&targets, clock.now_millis())).await.is_none() {
                        return;
                    }
                    if shutdown.or_stop(clock.sleep(this.args.info_timeout)).await.is_none() {
                        return;
                    }
                }
            };
            tokio::join!(resolving, updating);
            Ok(())
        });
    }

    fn addresses(&self) -> Vec<String> {
        self.names.addresses()
    }

    /// Looks up what the configuration names at present.
    async fn resolve(&self) {
        let current = self.source.current();
        let mut wanted = current.dynamic();
        wanted.extend(self.files.addresses());
        let groups = current.targets(&[], &self.client, &self.uncounted);
        let groups: Vec<String> =
            groups.into_iter().filter(|t| t.group.is_some()).map(|t| t.address).collect();
        let limit: Duration = self.args.dns_interval;
        let (names, members) =
            tokio::join!(self.names.resolve(&wanted, limit), self.groups.resolve(&groups, limit));
        for err in [names.err(), members.err()].into_iter().flatten() {
            tracing::error!(%err, "failed to resolve addresses for endpoints");
        }
    }
}

/// Servers that share the load of one peer: each call goes to the next of them.
struct Group {
    name: String,
    groups: Provider,
    inject: Arc<[String]>,
    connector: grpc::Connector,
    budget: Arc<Budget>,
    members: Mutex<HashMap<String, Remote>>,
    turn: AtomicUsize,
}

impl Group {
    /// The members, beginning with the one whose turn it is.
    fn members(&self) -> Result<Vec<Remote>, Status> {
        let mut addresses = match self.inject.is_empty() {
            true => self.groups.addresses_of(&self.name),
            false => self.inject.to_vec(),
        };
        if addresses.is_empty() {
            return Err(Status::unavailable(format!("no addresses of {} are known", self.name)));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
        addresses.rotate_left(turn);
        let mut members = self.members.lock();
        members.retain(|address, _| addresses.contains(address));
        for address in &addresses {
            if !members.contains_key(address) {
                let channel = self.connector.channel(address);
                let channel = channel.map_err(|e| Status::unavailable(e.to_string()))?;
                members.insert(address.clone(), RemoteStore::within(channel, self.budget.clone()));
            }
        }
        Ok(addresses.iter().filter_map(|a| members.get(a).cloned()).collect())
    }

    /// Asks members in turn until one can be reached.
    async fn ask<T, F>(&self, call: impl Fn(Remote) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut last = Status::unavailable(self.name.clone());
        for member in self.members()? {
            match call(member).await {
                Err(e) if e.code() == Code::Unavailable => last = e,
                other => return other,
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Store for Group {
    async fn series(&self, request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        self.ask(|member| {
            let (request, call) = (request.clone(), call.clone());
            async move { member.series(request, call).await }
        })
        .await
    }

    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        self.ask(|member| {
            let (request, call) = (request.clone(), call.clone());
            async move { member.label_names(request, call).await }
        })
        .await
    }

    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        self.ask(|member| {
            let (request, call) = (request.clone(), call.clone());
            async move { member.label_values(request, call).await }
        })
        .await
    }
}

#[async_trait]
impl Peer for Group {
    async fn info(&self) -> Result<InfoResponse, Status> {
        self.ask(|member| async move { member.info().await }).await
    }
}
