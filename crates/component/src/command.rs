//! From a process' arguments to a running service, and its exit status.
//!
//! Reads the command line, starts logs, metrics and the runtime, watches signals and runs the chosen
//! [`Command`]. It knows no service. Invariant: the last line on stderr says why a process ended with a
//! status other than 0; lexical and start-up errors exit with 1, value errors with 2, as upstream.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use model::Budget;
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::budget;
use crate::clock::{SharedClock, SystemClock};
use crate::flags::groups::Common;
use crate::flags::{self, Args, Declare, Parsed, Spec, Verb};
use crate::log;
use crate::metrics;
use crate::shutdown::{Reason, Shutdown};

/// What a service is given to run with.
#[derive(Clone, Debug)]
pub struct Env {
    /// Thanos' word for the service: the verb, and the `component` label.
    pub component: &'static str,
    /// Where metrics are registered; `process_*` and build info are in it.
    pub registry: Registry,
    /// The time.
    pub clock: SharedClock,
    /// Memory for all requests together.
    pub budget: Arc<Budget>,
    /// When to stop, and who still runs.
    pub shutdown: Shutdown,
    /// Counts SIGHUPs; a service that reloads follows it.
    pub reload: watch::Receiver<u64>,
    /// The service's flags as `/api/v1/status/flags` shows them, sorted by name.
    pub flags: Vec<(String, String)>,
}

impl Env {
    /// An environment for tests: an empty registry, `clock`, no memory limit, no flags.
    pub fn for_tests(component: &'static str, clock: SharedClock) -> Self {
        Env {
            component,
            registry: Registry::new(),
            clock,
            budget: Budget::unlimited(),
            shutdown: Shutdown::new(),
            reload: watch::channel(0).1,
            flags: Vec::new(),
        }
    }
}

type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;
type Start = Box<dyn FnOnce(Env) -> Running>;
type Prepared = Result<(Start, Vec<(String, String)>), String>;

/// A service under its verb.
pub struct Command {
    verb: &'static str,
    about: &'static str,
    specs: Vec<Spec>,
    prepare: Box<dyn Fn(&Parsed) -> Prepared>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("verb", &self.verb).finish_non_exhaustive()
    }
}

impl Command {
    /// The service `verb` with arguments `A`; `run` returns when it has stopped.
    pub fn new<A, F, R>(verb: &'static str, about: &'static str, run: F) -> Self
    where
        A: Args + 'static,
        F: Fn(A, Env) -> R + Clone + 'static,
        R: Future<Output = anyhow::Result<()>> + 'static,
    {
        let prepare = move |parsed: &Parsed| -> Prepared {
            let read = flags::read(parsed, |d| A::declare(d))?;
            let run = run.clone();
            let start: Start = Box::new(move |env| Box::pin(run(read.values, env)));
            Ok((start, read.shown.into_iter().collect()))
        };
        Command { verb, about, specs: flags::specs::<A>(), prepare: Box::new(prepare) }
    }

    /// The verb.
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The service's own flags, for comparison with the parity table.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Checks a command line (without the program's name) as [`main`] would, without running anything.
    ///
    /// # Errors
    /// The exit status and the message.
    pub fn check(&self, words: &[String]) -> Result<(), (u8, String)> {
        let common = flags::specs::<Common>();
        let verbs = [Verb { name: self.verb, about: self.about, flags: self.specs.clone() }];
        let parsed = flags::parse(&common, &verbs, words).map_err(|e| (1, e.to_string()))?;
        flags::read(&parsed, |d: &mut Declare<'_>| Common::declare(d)).map_err(|e| (2, e))?;
        (self.prepare)(&parsed).map(drop).map_err(|e| (2, e))
    }
}

/// Threads for calls that block, local files above all; each takes 2 MiB of address space.
const BLOCKING_THREADS: usize = 16;

const ABOUT: &str = "Long-term storage and global queries for Prometheus, compatible with Thanos.";

/// Runs the service that the process' arguments name. With one command its verb may be left out.
pub fn main(commands: Vec<Command>) -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or("athanor").to_owned();
    let words: Vec<String> = arguments.collect();
    let address_space = crate::budget::soft_limit("Max address space");
    if address_space.is_some_and(|limit| limit != u64::MAX) {
        spare_address_space(&words);
    }
    ExitCode::from(run(&program, &name, &commands, &words))
}

/// Starts the program anew with few of glibc's allocation arenas, each of which reserves 64 MiB of address
/// space: under a limit on that they would leave none for data. glibc reads the variable at its start only.
fn spare_address_space(words: &[String]) {
    use std::os::unix::process::CommandExt as _;
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Comes back only when it fails; then the service runs as it is.
        let error = std::process::Command::new(program).args(words).env(ARENAS, "1").exec();
        say(&format!("could not start anew with {ARENAS}=1: {error}\n"));
    }
}

fn say(text: &str) {
    // There is nobody to tell when stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn run(program: &str, name: &str, commands: &[Command], words: &[String]) -> u8 {
    let common_specs = flags::specs::<Common>();
    let verbs: Vec<Verb<'_>> =
        commands.iter().map(|c| Verb { name: c.verb, about: c.about, flags: c.specs.clone() }).collect();
    let usage = |verb| flags::usage(name, ABOUT, &common_specs, &verbs, verb);
    let parsed = match flags::parse(&common_specs, &verbs, words) {
        Ok(parsed) => parsed,
        Err(e) => {
            say(&format!("{name}: error: {e}\n"));
            return 1;
        }
    };
    if parsed.version {
        say(&crate::build::INFO.text(name));
        return 0;
    }
    let Some(command) = parsed.verb.filter(|_| !parsed.help).map(|at| &commands[at]) else {
        say(&usage(parsed.verb));
        return 0;
    };
    let prepared = flags::read(&parsed, |d: &mut Declare<'_>| Common::declare(d))
        .and_then(|common| (command.prepare)(&parsed).map(|(start, shown)| (common.values, start, shown)));
    let (common, start, shown) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            let all: Vec<&str> = std::iter::once(program).chain(words.iter().map(String::as_str)).collect();
            say(&usage(parsed.verb));
            say(&format!("error parsing commandline arguments: [{}]: {e}\n", all.join(" ")));
            return 2;
        }
    };
    if let Err(e) = log::start(common.log_format, common.log_level, &common.debug_name) {
        say(&format!("failed to create logger: {e}\n"));
        return 1;
    }
    match serve(command.verb, &common, start, shown) {
        Ok(()) => {
            tracing::info!("exiting");
            0
        }
        Err(e) => {
            tracing::error!(err = %format!("{e:#}"));
            1
        }
    }
}

fn serve(
    component: &'static str,
    common: &Common,
    start: Start,
    flags: Vec<(String, String)>,
) -> anyhow::Result<()> {
    let preparing = |e: anyhow::Error| e.context(format!("preparing {component} command failed"));
    if common.tracing.content().map_err(|e| preparing(e.into()))?.is_some() {
        return Err(preparing(anyhow::anyhow!(
            "tracing.config: this version exports no traces; remove --tracing.config and --tracing.config-file"
        )));
    }
    let (budget, limit) = budget::from_flags(&common.memory).map_err(|e| preparing(e.into()))?;
    tracing::info!(bytes = budget.limit(), limit = limit.bytes, source = %limit.source, "memory budget");
    let registry = Registry::new();
    metrics::process::register(&registry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("main")
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let shutdown = Shutdown::new();
    let result = runtime.block_on(async {
        let reload = watch_signals(&shutdown)?;
        let env = Env {
            component,
            registry,
            clock: SystemClock::shared(),
            budget,
            shutdown: shutdown.clone(),
            reload,
            flags,
        };
        start(env).await
    });
    // Tasks that ignore the stop must not keep the process.
    runtime.shutdown_background();
    match (result, shutdown.reason()) {
        (Err(e), _) => Err(e.context(format!("{component} command failed"))),
        (Ok(()), Some(Reason::Failed(e))) => Err(anyhow::anyhow!("{component} command failed: {e:#}")),
        (Ok(()), _) => Ok(()),
    }
}

/// SIGINT and SIGTERM stop, SIGHUP counts.
fn watch_signals(shutdown: &Shutdown) -> std::io::Result<watch::Receiver<u64>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let (reloads, reload) = watch::channel(0);
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "interrupt",
                _ = terminate.recv() => "terminated",
                _ = hangup.recv() => {
                    tracing::info!(signal = "hangup", "caught signal. Reloading.");
                    reloads.send_modify(|n| *n += 1);
                    continue;
                }
            };
            tracing::info!(signal = name, "caught signal. Exiting.");
            shutdown.trigger(Reason::Signal(name));
        }
    });
    Ok(reload)
}
