//! `trine oci update` and `trine oci events`.

use super::args::{Events, Update};
use super::log::Log;
use super::system;
use crate::code;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};
use trine_base::size;
use trine_container::{Container, Error, sys};

type Result<T> = std::result::Result<T, Error>;

/// Changes a container's resource limits.
pub fn update(container: &Container, args: &Update, log: &Log) -> Result<u8> {
    if args.l3_cache_schema.is_some() || args.mem_bw_schema.is_some() {
        return Err(Error::refused("--l3-cache-schema and --mem-bw-schema (Intel RDT) are not supported"));
    }
    let mut all = match &args.resources {
        Some(path) => read(path)?,
        None => json!({}),
    };
    single(&mut all, args)?;
    let resources: LinuxResources =
        serde_json::from_value(all).map_err(|e| Error::refused(format!("limits: {e}")))?;
    log.notes(&container.update(&resources)?);
    Ok(code::OK)
}

fn read(path: &std::path::Path) -> Result<Value> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|mut f| f.read_to_string(&mut text)),
    };
    let what = || format!("--resources {}", path.display());
    read.map_err(|error| system(&what(), error))?;
    serde_json::from_str(&text).map_err(|error| Error::refused(format!("{}: {error}", what())))
}

/// Puts single limits over those of a file.
fn single(all: &mut Value, args: &Update) -> Result<()> {
    let size = |text: &Option<String>| text.as_deref().map(bytes).transpose();
    let rows: [(&str, &str, Option<Value>); 14] = [
        ("blockIO", "weight", args.blkio_weight.map(Value::from)),
        ("cpu", "period", args.cpu_period.map(Value::from)),
        ("cpu", "quota", args.cpu_quota.map(Value::from)),
        ("cpu", "burst", args.cpu_burst.map(Value::from)),
        ("cpu", "shares", args.cpu_share.map(Value::from)),
        ("cpu", "realtimePeriod", args.cpu_rt_period.map(Value::from)),
        ("cpu", "realtimeRuntime", args.cpu_rt_runtime.map(Value::from)),
        ("cpu", "idle", args.cpu_idle.map(Value::from)),
        ("cpu", "cpus", args.cpuset_cpus.clone().map(Value::from)),
        ("cpu", "mems", args.cpuset_mems.clone().map(Value::from)),
        ("memory", "limit", size(&args.memory)?.map(Value::from)),
        ("memory", "reservation", size(&args.memory_reservation)?.map(Value::from)),
        ("memory", "swap", size(&args.memory_swap)?.map(Value::from)),
        ("pids", "limit", args.pids_limit.map(Value::from)),
    ];
    if !all.is_object() {
        return Err(Error::refused("--resources: this is not a JSON object"));
    }
    for (section, name, value) in rows {
        let Some(value) = value else { continue };
        if !all[section].is_object() {
            all[section] = json!({});
        }
        all[section][name] = value;
    }
    Ok(())
}

/// A number of bytes: `512`, `64M`, `1g`; `-1` is no limit, and 0 is as if nothing was said.
fn bytes(text: &str) -> Result<i64> {
    match text {
        "-1" => Ok(-1),
        "0" => Ok(0),
        _ => i64::try_from(size::parse(text).map_err(Error::refused)?)
            .map_err(|_| Error::refused(format!("'{text}' is not a size that a host can have"))),
    }
}

/// Parses a duration as Go writes it, with one unit.
fn interval(text: &str) -> Result<Duration> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let found =
        units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, *ms)));
    let time = found.and_then(|(n, ms)| n.checked_mul(ms)).filter(|ms| (1..1 << 31).contains(ms));
    let wrong = || Error::refused(format!("--interval {text}: it must be a duration such as 5s or 500ms"));
    time.map(Duration::from_millis).ok_or_else(wrong)
}

/// Prints statistics, once or repeatedly, and when the kernel killed processes because memory ran out.
pub fn events(container: &Container, args: &Events) -> Result<u8> {
    let id = &args.id;
    let stats = || {
        println!("{}", json!({ "type": "stats", "id": id, "data": data(container)? }));
        Ok::<_, Error>(())
    };
    if args.stats {
        return stats().map(|()| code::OK);
    }
    let interval = interval(&args.interval)?;
    let mut news = container.oom_events()?;
    let process = container.process()?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let mut two = [news.as_fd().as_raw_fd(), process.as_raw_fd()].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: writes an array of ours, of this length.
        let polled = unsafe { libc::poll(two.as_mut_ptr(), 2, left.as_millis() as i32) };
        sys::check(polled.into()).map_err(|error| system("cannot wait", error))?;
        for _ in 0..news.take().unwrap_or(0) {
            println!("{}", json!({ "type": "oom", "id": id }));
        }
        if two[1].revents != 0 {
            return Ok(code::OK);
        }
        if next <= Instant::now() {
            stats()?;
            next += interval;
        }
    }
}

/// A container's statistics in the format of runc.
fn data(container: &Container) -> Result<Value> {
    let stats = container.stats()?;
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let (current, limit) = stats.pids.unwrap_or_default();
    // As runc writes it where there is none.
    let limit = if limit == u64::MAX { 0 } else { limit };
    let io = |pick: fn(&trine_cgroup::Io) -> [(&'static str, u64); 2]| {
        let rows = stats.io.iter().flat_map(|io| pick(io).map(|(op, value)| (io.device, op, value)));
        let row =
            |((major, minor), op, value)| json!({ "major": major, "minor": minor, "op": op, "value": value });
        rows.map(row).collect::<Vec<_>>()
    };
    let huge = |h: &trine_cgroup::Huge| json!({ "usage": h.usage, "max": h.peak, "failcnt": h.failures });
    let used = |usage: u64, max: u64, limit: u64, failcnt: u64| json!({ "usage": usage, "max": max, "limit": limit, "failcnt": failcnt });
    let swap = &memory.swap;
    Ok(json!({
        "cpu": {
            "usage": { "total": cpu.total, "percpu": cpu.each, "kernel": cpu.kernel, "user": cpu.user },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled,
            },
        },
        "memory": {
            "cache": memory.cache,
            "usage": used(memory.usage, memory.peak, memory.limit, memory.failures),
            "swap": used(swap.usage, swap.peak, swap.limit, swap.failures),
            "kernel": used(0, 0, 0, 0),
            "kernelTCP": used(0, 0, 0, 0),
            "raw": memory.all,
        },
        "pids": { "current": current, "limit": limit },
        "blkio": {
            "ioServiceBytesRecursive": io(|i| [("Read", i.read_bytes), ("Write", i.write_bytes)]),
            "ioServicedRecursive": io(|i| [("Read", i.reads), ("Write", i.writes)]),
        },
        "hugetlb": stats.huge.iter().map(|(size, h)| (size.clone(), huge(h))).collect::<serde_json::Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        for (text, value) in [("512", 512), ("64M", 64 << 20), ("1g", 1 << 30), ("2kb", 2048), ("-1", -1)] {
            assert_eq!(bytes(text).unwrap(), value, "{text}");
        }
        for text in ["", "M", "-2", "1.5G", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(interval("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(interval("5s").unwrap(), Duration::from_secs(5));
        for text in ["", "5", "0s", "-1s", "99999999h"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
