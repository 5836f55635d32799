//! What every service needs once: flags, HTTP, gRPC, probes, logs, metrics, budget.
//!
//! Knows no block and no series. A service is always the same page: arguments, a validated
//! configuration, a `build` that reads as the diagram, and a `run` until it is told to stop.
//! Invariant: nothing here is global but the log; whatever counts registers on the registry handed
//! down, whatever waits uses the clock handed down.
//!
//! ```no_run
//! use component::flags::groups::{GrpcServer, Http, objstore};
//! use component::flags::{Args as Declared, Declare, PathOrContent};
//! use component::{Command, Env, grpc, http, probe::Probe};
//!
//! /// One item a flag: name, help, default, syntax.
//! struct Args {
//!     http: Http,
//!     grpc: GrpcServer,
//!     objstore: PathOrContent,
//!     data_dir: String,
//!     sync_every: std::time::Duration,
//! }
//!
//! impl Declared for Args {
//!     fn declare(d: &mut Declare<'_>) -> Self {
//!         Args {
//!             http: Http::declare(d),
//!             grpc: GrpcServer::declare(d),
//!             objstore: objstore(d, true),
//!             data_dir: d.flag("data-dir", "Where files are kept.").default("./data").string(),
//!             sync_every: d.flag("sync-block-duration", "How often to sync.").default("15m").duration(),
//!         }
//!     }
//! }
//!
//! async fn run(args: Args, env: Env) -> anyhow::Result<()> {
//!     let bucket_yaml = args.objstore.content()?; // Config: refuse bad values here
//!     let probe = Probe::new(env.component, &env.registry)?;
//!     let router = http::Router::new()
//!         .with_metrics(http::Metrics::new(&env.registry, None)?)
//!         .on(&[::http::Method::GET], "/api/v1/status/flags", "flags", {
//!             let flags = env.flags.clone();
//!             move |_| {
//!                 let flags: std::collections::BTreeMap<_, _> = flags.iter().cloned().collect();
//!                 async move { component::api::success(&flags, &[], &[]) }
//!             }
//!         });
//!     let http = http::Server::new(env.component, &args.http, router, &env.registry, &probe)?.start()?;
//!     component::run::spawn(&env.shutdown, "block sync", {
//!         let (shutdown, clock) = (env.shutdown.clone(), env.clock.clone());
//!         async move {
//!             while shutdown.or_stop(clock.sleep(args.sync_every)).await.is_some() { /* one round */ }
//!             Ok(())
//!         }
//!     });
//!     let grpc = grpc::Server::new(env.component, &args.grpc, &env.registry, &probe)
//!         // .add(StoreServer::new(store).max_decoding_message_size(grpc::MAX_MESSAGE), METHODS)
//!         .start()?;
//!     probe.ready();
//!     let stop = async { tokio::join!(http.stop(), grpc.stop()); };
//!     env.shutdown.drain(&probe, stop, args.grpc.grace_period).await;
//!     Ok(())
//! }
//!
//! /// In the service's library, for its own binary and for the all-in-one.
//! pub fn command() -> Command {
//!     Command::new::<Args, _, _>("store", "Serves blocks of a bucket.", run)
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     component::main(vec![command()])
//! }
//! ```
//!
//! Read next: [`flags`], then [`http`] and [`grpc`].

pub mod api;
pub mod budget;
pub mod buffers;
pub mod build;
pub mod clock;
mod command;
pub mod discovery;
pub mod flags;
pub mod gate;
pub mod grpc;
pub mod http;
pub mod log;
pub mod metrics;
mod net;
pub mod probe;
pub mod relabel;
pub mod run;
pub mod shutdown;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;

pub use command::{Command, Env, main};
