//! The resource usage of a group.

use crate::manager::Place;
use crate::{Manager, file};
use std::collections::BTreeMap;
use std::path::Path;

/// CPU time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Total.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
    /// Per CPU; only cgroup v1 measures that.
    pub each: Vec<u64>,
    /// Number of periods of the CPU limit that have passed.
    pub periods: u64,
    /// Number of periods in which the limit was reached.
    pub throttled_periods: u64,
    /// For how long processes were throttled.
    pub throttled: u64,
}

/// Bytes of swap, or, in cgroup v1, of memory and swap together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Current usage.
    pub usage: u64,
    /// Highest usage so far; 0 where it is not known.
    pub peak: u64,
    /// The limit; `u64::MAX` means no limit.
    pub limit: u64,
    /// How often the limit was reached.
    pub failures: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Current usage, including the page cache.
    pub usage: u64,
    /// Highest usage so far; 0 where it is not known.
    pub peak: u64,
    /// The limit; `u64::MAX` means no limit.
    pub limit: u64,
    /// How often the limit was reached.
    pub failures: u64,
    /// Page cache.
    pub cache: u64,
    /// Swap (cgroup v2), or memory and swap together (cgroup v1).
    pub swap: Swap,
    /// Whether groups below are included; always true in cgroup v2.
    pub hierarchy: bool,
    /// All values of `memory.stat`.
    pub all: BTreeMap<String, u64>,
    /// Number of processes killed because memory was used up.
    pub oom_kills: u64,
}

/// Transfers of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// The device's major and minor number.
    pub device: (u32, u32),
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Number of reads.
    pub reads: u64,
    /// Number of writes.
    pub writes: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Huge {
    /// Current usage.
    pub usage: u64,
    /// Highest usage so far; 0 where it is not known.
    pub peak: u64,
    /// How often the limit was reached.
    pub failures: u64,
}

/// The resource usage of a group; values of missing controllers are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Number of processes and threads, and its limit (`u64::MAX` means no limit).
    pub pids: Option<(u64, u64)>,
    /// Block devices.
    pub io: Vec<Io>,
    /// Huge pages, by size as in `2MB`.
    pub huge: BTreeMap<String, Huge>,
}

impl Manager {
    /// Reads the resource usage of the group so far.
    pub fn stats(&self) -> Stats {
        let place = |controller| self.place(controller, "").ok();
        let memory = place("memory").and_then(|place| match place {
            Place::First(dir) => memory_first(dir),
            Place::Second(dir) => memory_second(dir),
        });
        let pids = place("pids").and_then(|place| {
            let number = |name| file::number(&place.dir().join(name));
            Some((number("pids.current")?, number("pids.max").unwrap_or(u64::MAX)))
        });
        let io = match (self.first("blkio"), place("io")) {
            (Some(dir), _) => io_first(dir),
            (_, Some(Place::Second(dir))) => io_second(&read(dir, "io.stat")),
            _ => Vec::new(),
        };
        let huge = match place("hugetlb") {
            Some(Place::First(dir)) => huge(dir, ".usage_in_bytes", ".max_usage_in_bytes"),
            Some(Place::Second(dir)) => huge(dir, ".current", ""),
            None => BTreeMap::new(),
        };
        Stats { cpu: self.cpu(), memory, pids, io, huge }
    }

    fn cpu(&self) -> Option<Cpu> {
        if let Some(dir) = self.first("cpuacct") {
            let number = |name| file::number(&dir.join(name)).unwrap_or(0);
            let each = read(dir, "cpuacct.usage_percpu");
            let throttling = self.first("cpu").map(|dir| read(dir, "cpu.stat")).unwrap_or_default();
            let throttled = |key| file::value(&throttling, key).unwrap_or(0);
            return Some(Cpu {
                total: number("cpuacct.usage"),
                user: number("cpuacct.usage_user"),
                kernel: number("cpuacct.usage_sys"),
                each: each.split_ascii_whitespace().filter_map(file::parse).collect(),
                periods: throttled("nr_periods"),
                throttled_periods: throttled("nr_throttled"),
                throttled: throttled("throttled_time"),
            });
        }
        let text = read(&self.second()?.dir, "cpu.stat");
        let value = |key| file::value(&text, key).unwrap_or(0);
        let nanoseconds = |key| value(key).saturating_mul(1000);
        file::value(&text, "usage_usec").map(|_| Cpu {
            total: nanoseconds("usage_usec"),
            user: nanoseconds("user_usec"),
            kernel: nanoseconds("system_usec"),
            each: Vec::new(),
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled: nanoseconds("throttled_usec"),
        })
    }
}

fn read(dir: &Path, name: &str) -> String {
    file::read(&dir.join(name)).unwrap_or_default()
}

fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair =
        |line: &str| line.split_once(' ').and_then(|(k, v)| Some((k.to_owned(), file::parse(v.trim())?)));
    text.lines().filter_map(pair).collect()
}

/// cgroup v1 reports no limit as a number of pages that no address space reaches.
fn limit(bytes: u64) -> u64 {
    if bytes >= 1 << 62 { u64::MAX } else { bytes }
}

fn memory_first(dir: &Path) -> Option<Memory> {
    let number = |name: &str| file::number(&dir.join(name)).unwrap_or(0);
    let all = pairs(&read(dir, "memory.stat"));
    Some(Memory {
        usage: file::number(&dir.join("memory.usage_in_bytes"))?,
        peak: number("memory.max_usage_in_bytes"),
        limit: limit(number("memory.limit_in_bytes")),
        failures: number("memory.failcnt"),
        cache: all.get("total_cache").or(all.get("cache")).copied().unwrap_or(0),
        swap: Swap {
            usage: number("memory.memsw.usage_in_bytes"),
            peak: number("memory.memsw.max_usage_in_bytes"),
            limit: limit(number("memory.memsw.limit_in_bytes")),
            failures: number("memory.memsw.failcnt"),
        },
        hierarchy: number("memory.use_hierarchy") == 1,
        oom_kills: file::value(&read(dir, "memory.oom_control"), "oom_kill").unwrap_or(0),
        all,
    })
}

fn memory_second(dir: &Path) -> Option<Memory> {
    let number = |name: &str| file::number(&dir.join(name));
    let all = pairs(&read(dir, "memory.stat"));
    let events = read(dir, "memory.events");
    let event = |key| file::value(&events, key).unwrap_or(0);
    Some(Memory {
        usage: number("memory.current")?,
        peak: number("memory.peak").unwrap_or(0),
        limit: number("memory.max").unwrap_or(u64::MAX),
        failures: event("max"),
        cache: all.get("file").copied().unwrap_or(0),
        swap: Swap {
            usage: number("memory.swap.current").unwrap_or(0),
            peak: number("memory.swap.peak").unwrap_or(0),
            limit: number("memory.swap.max").unwrap_or(u64::MAX),
            failures: file::value(&read(dir, "memory.swap.events"), "fail").unwrap_or(0),
        },
        hierarchy: true,
        oom_kills: event("oom_kill"),
        all,
    })
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines such as `8:0 Read 4096`, of bytes and of requests. Some schedulers have counters in files of their
/// own.
fn io_first(dir: &Path) -> Vec<Io> {
    let counted = |name: &str| {
        let bfq = read(dir, &format!("blkio.bfq.{name}_recursive"));
        let bfq = Some(bfq).filter(|text| text.lines().any(|line| line.contains(':')));
        bfq.unwrap_or_else(|| read(dir, &format!("blkio.throttle.{name}_recursive")))
    };
    let mut all: BTreeMap<(u32, u32), Io> = BTreeMap::new();
    for (name, bytes) in [("io_service_bytes", true), ("io_serviced", false)] {
        for line in counted(name).lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(device), Some(what)) = (words.next().and_then(device), words.next()) else { continue };
            let count = words.next().and_then(file::parse).unwrap_or(0);
            let io = all.entry(device).or_insert(Io { device, ..Io::default() });
            match (what, bytes) {
                ("Read", true) => io.read_bytes = count,
                ("Write", true) => io.write_bytes = count,
                ("Read", false) => io.reads = count,
                ("Write", false) => io.writes = count,
                _ => {}
            }
        }
    }
    all.into_values().collect()
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_second(text: &str) -> Vec<Io> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let mut io = Io { device: device(words.next()?)?, ..Io::default() };
        for (key, count) in words.filter_map(|word| word.split_once('=')) {
            let count = file::parse(count).unwrap_or(0);
            match key {
                "rbytes" => io.read_bytes = count,
                "wbytes" => io.write_bytes = count,
                "rios" => io.reads = count,
                "wios" => io.writes = count,
                _ => {}
            }
        }
        Some(io)
    };
    text.lines().filter_map(line).collect()
}

fn huge(dir: &Path, usage: &str, peak: &str) -> BTreeMap<String, Huge> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |name: String| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(usage)?;
        (!size.contains(".rsvd")).then(|| size.to_owned())
    };
    let sizes = names.filter_map(|entry| size(entry.file_name().into_string().ok()?));
    let one = |size: &str| {
        let file = |end: &str| dir.join(format!("hugetlb.{size}{end}"));
        let failures = file::number(&file(".failcnt"));
        let failures = failures.or_else(|| file::value(&file::read(&file(".events")).ok()?, "max"));
        let peak = if peak.is_empty() { None } else { file::number(&file(peak)) };
        Huge {
            usage: file::number(&file(usage)).unwrap_or(0),
            peak: peak.unwrap_or(0),
            failures: failures.unwrap_or(0),
        }
    };
    sizes.map(|size| (size.clone(), one(&size))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_devices() {
        let io = io_second("8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=9 dios=9\n253:1\nbad rbytes=1\n");
        let first = Io { device: (8, 0), read_bytes: 4096, write_bytes: 1, reads: 2, writes: 3 };
        assert_eq!(io, [first, Io { device: (253, 1), ..Io::default() }]);
        assert_eq!(limit(0x7fff_ffff_ffff_f000), u64::MAX);
    }
}
