//! Limits in the files of cgroup v1 (Documentation/admin-guide/cgroup-v1/).

use crate::{Error, Result, file};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxThrottleDevice};
use std::path::Path;

/// A memory limit as it is meant: 0 means that none is given, as with runc.
pub(crate) fn given(limit: Option<i64>) -> Option<i64> {
    limit.filter(|limit| *limit != 0)
}

/// Refuses a limit below current usage, if the configuration asks for that check.
pub(crate) fn before_memory(memory: &LinuxMemory, usage: &Path) -> Result<()> {
    if let (Some(limit @ 0..), Some(true)) = (given(memory.limit()), memory.check_before_update()) {
        let used = file::number(usage).unwrap_or(0);
        if used > limit as u64 {
            let what =
                format!("linux.resources.memory.limit {limit} is less than the memory in use ({used} bytes)");
            return Err(Error::Refused(format!("{what}, which checkBeforeUpdate asks to refuse")));
        }
    }
    Ok(())
}

/// Whether a memory limit is given that needs a group.
pub(crate) fn wants_memory(memory: &LinuxMemory) -> bool {
    [memory.limit(), memory.swap(), memory.reservation()].into_iter().any(|limit| given(limit).is_some())
        || memory.swappiness().is_some()
        || memory.disable_oom_killer() == Some(true)
}

pub(crate) fn memory(dir: &Path, memory: &LinuxMemory) -> Result<()> {
    before_memory(memory, &dir.join("memory.usage_in_bytes"))?;
    let set = |name: &str, value: i64| file::write(&dir.join(name), &value.to_string());
    let limit = given(memory.limit());
    // No limit of memory implies no limit of memory and swap.
    let swap = given(memory.swap()).or(limit.filter(|limit| *limit == -1));
    let together = |swap| match set("memory.memsw.limit_in_bytes", swap) {
        // This kernel does not count swap.
        Err(error) if error.number() == Some(libc::ENOENT) && (swap == -1 || limit == Some(swap)) => Ok(()),
        other => other,
    };
    match (limit, swap) {
        (Some(limit), Some(swap)) => match set("memory.limit_in_bytes", limit) {
            // The memory limit must never exceed the limit of both: to raise them, the latter is written
            // first.
            Err(error) if error.number() == Some(libc::EINVAL) => {
                together(swap)?;
                set("memory.limit_in_bytes", limit)?;
            }
            other => {
                other?;
                together(swap)?;
            }
        },
        (Some(limit), None) => set("memory.limit_in_bytes", limit)?,
        (None, Some(swap)) => together(swap)?,
        (None, None) => {}
    }
    if let Some(reservation) = given(memory.reservation()) {
        set("memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(swappiness) = memory.swappiness() {
        file::write(&dir.join("memory.swappiness"), &swappiness.to_string())?;
    }
    match memory.disable_oom_killer() {
        Some(disable) => set("memory.oom_control", i64::from(disable)),
        None => Ok(()),
    }
}

/// The limit of processes and threads, which has the same file in both versions; 0 and less is none.
pub(crate) fn pids(dir: &Path, most: i64) -> Result<()> {
    let most = if most > 0 { most.to_string() } else { "max".into() };
    file::write(&dir.join("pids.max"), &most)
}

/// Whether a CPU limit is given.
pub(crate) fn wants_cpu(cpu: &LinuxCpu) -> bool {
    let numbers = [cpu.shares(), cpu.period(), cpu.realtime_period(), cpu.burst()];
    let signed = [cpu.quota(), cpu.realtime_runtime()];
    numbers.into_iter().flatten().any(|n| n != 0)
        || signed.into_iter().any(|n| given(n).is_some())
        || cpu.idle().is_some()
}

pub(crate) fn cpu(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    let set = |name: &str, value: i128| file::write(&dir.join(name), &value.to_string());
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set("cpu.shares", shares.into())?;
    }
    let period = cpu.period().filter(|period| *period != 0);
    let quota = given(cpu.quota());
    let set_period = || period.map_or(Ok(()), |period| set("cpu.cfs_period_us", period.into()));
    // The burst must not exceed the quota, and a group's quota must not exceed that of the group above. A
    // value that is refused at first is written again after the others.
    let burst = || cpu.burst().map_or(Ok(()), |burst| set("cpu.cfs_burst_us", burst.into()));
    let early = burst();
    let late = set_period();
    if let Some(quota) = quota {
        set("cpu.cfs_quota_us", quota.into())?;
    }
    late.or_else(|_| set_period())?;
    early.or_else(|_| burst())?;
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        set("cpu.rt_period_us", period.into())?;
    }
    if let Some(runtime) = given(cpu.realtime_runtime()) {
        set("cpu.rt_runtime_us", runtime.into())?;
    }
    match cpu.idle() {
        Some(idle) => set("cpu.idle", idle.into()),
        None => Ok(()),
    }
}

/// Lines `MAJOR:MINOR RATE`.
pub(crate) fn rates(devices: &Option<Vec<LinuxThrottleDevice>>) -> Vec<(String, u64)> {
    let line = |d: &LinuxThrottleDevice| (format!("{}:{}", d.major(), d.minor()), d.rate());
    devices.iter().flatten().map(line).collect()
}

/// Whether a limit for block devices is given.
pub(crate) fn wants_io(io: &LinuxBlockIo) -> bool {
    let rates = [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ];
    [io.weight(), io.leaf_weight()].into_iter().flatten().any(|weight| weight != 0)
        || io.weight_device().iter().flatten().next().is_some()
        || rates.iter().any(|devices| devices.iter().flatten().next().is_some())
}

pub(crate) fn io(dir: &Path, io: &LinuxBlockIo) -> Result<()> {
    // Weights are implemented by an I/O scheduler, which names its files after itself.
    let weight_file = |name: &str| {
        let bfq = dir.join(format!("blkio.bfq.{name}"));
        if bfq.exists() { bfq } else { dir.join(format!("blkio.{name}")) }
    };
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        file::write(&weight_file("weight"), &weight.to_string())?;
    }
    if let Some(weight) = io.leaf_weight().filter(|weight| *weight != 0) {
        file::write(&dir.join("blkio.leaf_weight"), &weight.to_string())?;
    }
    let devices = || io.weight_device().iter().flatten();
    let line = |d: &oci_spec::runtime::LinuxWeightDevice, weight: u16| {
        format!("{}:{} {weight}", d.major(), d.minor())
    };
    file::write_all(&weight_file("weight_device"), devices().filter_map(|d| Some(line(d, d.weight()?))))?;
    file::write_all(
        &dir.join("blkio.leaf_weight_device"),
        devices().filter_map(|d| Some(line(d, d.leaf_weight()?))),
    )?;
    for (name, devices) in [
        ("read_bps", io.throttle_read_bps_device()),
        ("write_bps", io.throttle_write_bps_device()),
        ("read_iops", io.throttle_read_iops_device()),
        ("write_iops", io.throttle_write_iops_device()),
    ] {
        let lines = rates(devices).into_iter().map(|(device, rate)| format!("{device} {rate}"));
        file::write_all(&dir.join(format!("blkio.throttle.{name}_device")), lines)?;
    }
    Ok(())
}
