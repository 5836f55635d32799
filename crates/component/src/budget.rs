//! How much memory the process may use, found out from where it runs.
//!
//! Reads cgroup v2 and v1 limits, the resource limits and the machine's memory, and makes a
//! `model::Budget` of a share of the least. It charges nothing itself. Invariant: a budget set by
//! hand is taken as it is; a detected one leaves room for the process itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::Budget;

use crate::flags::groups::Memory;

/// The flag that refusals name.
pub const FLAG: &str = "--memory.budget";

/// Share of a detected limit given to requests when no ratio was asked for.
const SHARE: f64 = 0.6;

/// Where a limit was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--memory.budget`.
    Flag,
    /// `memory.max` of a cgroup v2 or a parent.
    CgroupV2,
    /// `memory.limit_in_bytes` of a cgroup v1.
    CgroupV1,
    /// A resource limit on address space or data.
    ResourceLimit,
    /// The machine's memory.
    Physical,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Flag => "flag",
            Source::CgroupV2 => "cgroup v2",
            Source::CgroupV1 => "cgroup v1",
            Source::ResourceLimit => "resource limit",
            Source::Physical => "physical memory",
        })
    }
}

/// A limit and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes.
    pub bytes: u64,
    /// Where it was found.
    pub source: Source,
}

/// Why the memory flags cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The ratio is not within (0, 1].
    #[error("--auto-gomemlimit.ratio must be greater than 0 and less than or equal to 1.")]
    Ratio,
    /// `--memory.budget=0`.
    #[error("--memory.budget must be greater than 0")]
    Zero,
}

/// The process' budget by flags and surroundings, and what it was made from.
///
/// # Errors
/// [`Error`] when a flag's value makes no sense.
pub fn from_flags(flags: &Memory) -> Result<(Arc<Budget>, Limit), Error> {
    let (bytes, limit) = size(flags, detect(Path::new("/")))?;
    Ok((Budget::new(bytes, FLAG), limit))
}

fn size(flags: &Memory, found: Limit) -> Result<(u64, Limit), Error> {
    if !(flags.ratio > 0.0 && flags.ratio <= 1.0) {
        return Err(Error::Ratio);
    }
    match flags.budget {
        Some(0) => Err(Error::Zero),
        Some(bytes) => Ok((bytes, Limit { bytes, source: Source::Flag })),
        None => {
            let share = if flags.automatic { flags.ratio } else { SHARE };
            let usable = match found.source {
                // Address space is used up by stacks and mappings that requests do not count.
                Source::ResourceLimit => found.bytes.saturating_sub(virtual_size()),
                _ => found.bytes,
            };
            Ok(((usable as f64 * share) as u64, found))
        }
    }
}

/// The least limit found below `root` (`/` outside of tests).
pub fn detect(root: &Path) -> Limit {
    [cgroup_v2(root), cgroup_v1(root), resource_limit(root), physical(root)]
        .into_iter()
        .flatten()
        .min_by_key(|limit| limit.bytes)
        .unwrap_or(Limit { bytes: u64::MAX, source: Source::Physical })
}

fn read(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path.trim_start_matches('/'))).ok()
}

/// The process' cgroup below `controller`; v2 has one line without controllers.
fn own_cgroup(root: &Path, controller: Option<&str>) -> Option<String> {
    read(root, "proc/self/cgroup")?.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|c| c == name),
        }
        .then(|| path.to_owned())
    })
}

/// The least `file` of the cgroup and its parents below `mount`.
fn least_of_parents(root: &Path, mount: &str, group: &str, file: &str) -> Option<u64> {
    let mut path = group.trim_end_matches('/').to_owned();
    let mut least: Option<u64> = None;
    loop {
        let found = read(root, &format!("{mount}{path}/{file}")).and_then(|t| t.trim().parse::<u64>().ok());
        least = [least, found].into_iter().flatten().min();
        match path.rfind('/') {
            Some(at) => path.truncate(at),
            None => return least,
        }
    }
}

fn cgroup_v2(root: &Path) -> Option<Limit> {
    let group = own_cgroup(root, None)?;
    let bytes = least_of_parents(root, "/sys/fs/cgroup", &group, "memory.max")?;
    Some(Limit { bytes, source: Source::CgroupV2 })
}

fn cgroup_v1(root: &Path) -> Option<Limit> {
    let group = own_cgroup(root, Some("memory"))?;
    let bytes = least_of_parents(root, "/sys/fs/cgroup/memory", &group, "memory.limit_in_bytes")?;
    // Unlimited is written as a page-rounded i64::MAX.
    (bytes < i64::MAX as u64 - 0xFFFF).then_some(Limit { bytes, source: Source::CgroupV1 })
}

fn resource_limit(root: &Path) -> Option<Limit> {
    let text = read(root, "proc/self/limits")?;
    let of = |name| parse_soft_limit(&text, name).filter(|bytes| *bytes != u64::MAX);
    let bytes = [of("Max address space"), of("Max data size")].into_iter().flatten().min()?;
    Some(Limit { bytes, source: Source::ResourceLimit })
}

fn physical(root: &Path) -> Option<Limit> {
    let text = read(root, "proc/meminfo")?;
    let kib: u64 = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(Limit { bytes: kib.checked_mul(1024)?, source: Source::Physical })
}

fn virtual_size() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.as_deref().and_then(|t| t.split(' ').next()).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(4096)
}

/// A soft resource limit of this process by its name in `/proc/self/limits`; `u64::MAX` is unlimited.
pub fn soft_limit(name: &str) -> Option<u64> {
    parse_soft_limit(&fs::read_to_string("/proc/self/limits").ok()?, name)
}

fn parse_soft_limit(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|l| l.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       24000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_limit_of_all_parents_counts() {
        let v2 = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/kubepods/pod1/main\n"),
            ("sys/fs/cgroup/kubepods/pod1/main/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/pod1/memory.max", "268435456\n"),
            ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n"),
        ]);
        assert_eq!(detect(v2.path()), Limit { bytes: 256 << 20, source: Source::CgroupV2 });
        let v1 = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "5:cpu,memory:/docker/x\n1:name=systemd:/\n"),
            ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ]);
        assert_eq!(detect(v1.path()), Limit { bytes: 512 << 20, source: Source::CgroupV1 });
    }

    #[test]
    fn resource_limits_and_memory_are_fallbacks() {
        let head = "Limit                     Soft Limit           Hard Limit           Units     \n";
        let limited =
            format!("{head}Max address space         268435456            unlimited            bytes\n");
        let dir = tree(&[MEMINFO, ("proc/self/limits", &limited)]);
        assert_eq!(detect(dir.path()), Limit { bytes: 256 << 20, source: Source::ResourceLimit });
        let free =
            format!("{head}Max address space         unlimited            unlimited            bytes\n");
        let dir = tree(&[MEMINFO, ("proc/self/limits", &free), ("proc/self/cgroup", "0::/\n")]);
        assert_eq!(detect(dir.path()), Limit { bytes: 24_000_000 * 1024, source: Source::Physical });
        let nothing = tree(&[]);
        assert_eq!(detect(nothing.path()).bytes, u64::MAX);
    }

    #[test]
    fn flags_win_and_are_checked() {
        let found = Limit { bytes: 1000, source: Source::CgroupV2 };
        let flags = |budget, automatic, ratio| Memory { budget, automatic, ratio };
        assert_eq!(size(&flags(None, false, 0.9), found).unwrap().0, 600);
        assert_eq!(size(&flags(None, true, 0.9), found).unwrap().0, 900);
        assert_eq!(size(&flags(Some(7), true, 0.9), found).unwrap().1.source, Source::Flag);
        assert_eq!(size(&flags(Some(0), false, 0.9), found), Err(Error::Zero));
        assert_eq!(size(&flags(None, false, 1.5), found), Err(Error::Ratio));
        assert_eq!(size(&flags(None, false, f64::NAN), found), Err(Error::Ratio));
    }
}
