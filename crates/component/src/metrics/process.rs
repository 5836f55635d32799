//! What every process shows of itself: `process_*` and `thanos_build_info`.
//!
//! Reads `/proc` at each scrape. It knows no service. Invariant: a value that cannot be read is left
//! out, as upstream does, and never shown as zero.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, GaugeVec, Opts, Registry};

/// The kernel's clock ticks a second in `/proc`, fixed by its interface on every Linux we run on.
const TICKS: f64 = 100.0;

/// Registers `process_*` and `thanos_build_info` (its labels from the build).
///
/// # Errors
/// When the registry has them already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    let labels = ["version", "revision", "branch", "goversion", "goos", "goarch", "tags"];
    let info = GaugeVec::new(
        Opts::new("thanos_build_info", "Constant 1; the labels say what was built, from what and for what."),
        &labels,
    )?;
    let build = crate::build::INFO;
    info.with_label_values(&[
        build.version,
        build.revision,
        build.branch,
        build.toolchain,
        build.os,
        build.arch,
        build.tags,
    ])
    .set(1.0);
    registry.register(Box::new(info))?;
    registry.register(Box::new(Process::new()?))
}

struct Process {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    virtual_max: Gauge,
    resident: Gauge,
    start: Gauge,
    received: Counter,
    sent: Counter,
}

impl Process {
    fn new() -> prometheus::Result<Self> {
        Ok(Process {
            cpu: Counter::new("process_cpu_seconds_total", "CPU seconds spent, user and system together.")?,
            open_fds: Gauge::new("process_open_fds", "File descriptors that are open.")?,
            max_fds: Gauge::new("process_max_fds", "Most file descriptors that may be open.")?,
            virtual_bytes: Gauge::new("process_virtual_memory_bytes", "Size of the address space in bytes.")?,
            virtual_max: Gauge::new(
                "process_virtual_memory_max_bytes",
                "Most bytes of address space; 1.8446744073709552e+19 is unlimited.",
            )?,
            resident: Gauge::new("process_resident_memory_bytes", "Resident memory in bytes.")?,
            start: Gauge::new(
                "process_start_time_seconds",
                "Start of the process in seconds since the epoch.",
            )?,
            received: Counter::new(
                "process_network_receive_bytes_total",
                "Bytes received in the process' network namespace.",
            )?,
            sent: Counter::new(
                "process_network_transmit_bytes_total",
                "Bytes sent in the process' network namespace.",
            )?,
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [&self.cpu, &self.received, &self.sent]
            .iter()
            .flat_map(|c| c.desc())
            .chain(
                [
                    &self.open_fds,
                    &self.max_fds,
                    &self.virtual_bytes,
                    &self.virtual_max,
                    &self.resident,
                    &self.start,
                ]
                .iter()
                .flat_map(|g| g.desc()),
            )
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        let mut gauge = |g: &Gauge, value: Option<f64>| {
            if let Some(value) = value {
                g.set(value);
                families.extend(g.collect());
            }
        };
        let stat = fs::read_to_string("/proc/self/stat").ok();
        // The command's name may hold spaces and brackets; the fields start after the last `)`.
        let fields: Option<Vec<f64>> = stat.as_deref().and_then(|s| s.rsplit_once(')')).map(|(_, rest)| {
            rest.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(f64::NAN)).collect()
        });
        // Numbered as proc_pid_stat(5) does, the fourth field being the first of `fields`.
        let field = |number: usize| {
            fields.as_ref().and_then(|f| f.get(number - 4)).copied().filter(|v| v.is_finite())
        };
        gauge(&self.virtual_bytes, field(23));
        gauge(&self.resident, resident());
        let start = boot_time().zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS);
        gauge(&self.start, start);
        gauge(&self.open_fds, fs::read_dir("/proc/self/fd").ok().map(|d| d.count() as f64));
        gauge(&self.max_fds, crate::budget::soft_limit("Max open files").map(|n| n as f64));
        gauge(&self.virtual_max, crate::budget::soft_limit("Max address space").map(|n| n as f64));
        let mut counter = |c: &Counter, value: Option<f64>| {
            if let Some(value) = value {
                c.reset();
                c.inc_by(value.max(0.0));
                families.extend(c.collect());
            }
        };
        counter(&self.cpu, field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS));
        let (received, sent) = network().unzip();
        counter(&self.received, received);
        counter(&self.sent, sent);
        families
    }
}

/// Resident bytes. In kilobytes of the status file, because the size of a page differs between kernels.
fn resident() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

/// Octets in and out from the `IpExt` lines: one line of names, one of numbers.
fn network() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|l| l.strip_prefix("IpExt:"));
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let numbers: Vec<&str> = lines.next()?.split_whitespace().collect();
    let of = |name| numbers.get(names.iter().position(|n| *n == name)?)?.parse().ok();
    Some((of("InOctets")?, of("OutOctets")?))
}
