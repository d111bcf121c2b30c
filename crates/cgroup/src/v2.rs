//! Limits in the files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst), converted from the
//! specification's units, which are those of cgroup v1.

use crate::v1::{before_memory, given, rates};
use crate::{Error, Result, file};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory};
use std::path::Path;

fn word(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

pub(crate) fn memory(dir: &Path, memory: &LinuxMemory, notes: &mut Vec<String>) -> Result<()> {
    before_memory(memory, &dir.join("memory.current"))?;
    let limit = given(memory.limit());
    if let Some(swap) = swap(limit, given(memory.swap()))? {
        match file::write(&dir.join("memory.swap.max"), &word(swap)) {
            // This kernel does not count swap.
            Err(error) if error.number() == Some(libc::ENOENT) && swap <= 0 => {}
            other => other?,
        }
    }
    if let Some(limit) = limit {
        file::write(&dir.join("memory.max"), &word(limit))?;
    }
    if let Some(reservation) = given(memory.reservation()) {
        file::write(&dir.join("memory.low"), &word(reservation))?;
    }
    let dropped = [
        ("swappiness", memory.swappiness().is_some()),
        ("disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    let dropped = dropped.into_iter().filter(|(_, asked)| *asked);
    notes
        .extend(dropped.map(|(name, _)| {
            format!("linux.resources.memory.{name} is ignored: cgroup v2 does not have it")
        }));
    Ok(())
}

/// The specification counts memory and swap together; cgroup v2 counts swap alone.
fn swap(limit: Option<i64>, both: Option<i64>) -> Result<Option<i64>> {
    match (limit, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (Some(limit), Some(both)) if (0..=both).contains(&limit) => Ok(Some(both - limit)),
        (Some(limit), Some(both)) => Err(Error::Refused(format!(
            "linux.resources.memory.swap {both} counts memory and swap together: it cannot be less than the limit of memory \
             ({limit})"
        ))),
        (None, Some(_)) => Err(Error::Refused(
            "linux.resources.memory.swap counts memory and swap together: set memory.limit, too".into(),
        )),
    }
}

/// Converts CPU shares (2 to 262144, default 1024) to a weight (1 to 10000, default 100): a parabola through
/// those three pairs, both on logarithmic scales.
pub(crate) fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let l = (shares.min(262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

pub(crate) fn cpu(dir: &Path, cpu: &LinuxCpu, notes: &mut Vec<String>) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        file::write(&dir.join("cpu.weight"), &weight(shares).to_string())?;
    }
    let burst = || cpu.burst().map_or(Ok(()), |n| file::write(&dir.join("cpu.max.burst"), &n.to_string()));
    let early = burst();
    let period = cpu.period().filter(|period| *period != 0);
    let quota = given(cpu.quota());
    if quota.is_some() || period.is_some() {
        // A period without a quota leaves the quota unchanged.
        let file = dir.join("cpu.max");
        let old = || file::read(&file).ok().and_then(|text| text.split(' ').next().map(str::to_owned));
        let quota = quota.map(word).or_else(old).unwrap_or_else(|| "max".into());
        let text = match period {
            Some(period) => format!("{quota} {period}"),
            None => quota,
        };
        file::write(&file, &text)?;
    }
    early.or_else(|_| burst())?;
    if cpu.realtime_period().is_some_and(|n| n != 0) || given(cpu.realtime_runtime()).is_some() {
        notes.push(
            "linux.resources.cpu: realtimePeriod and realtimeRuntime are ignored: cgroup v2 does not have them"
                .into(),
        );
    }
    match cpu.idle() {
        Some(idle) => file::write(&dir.join("cpu.idle"), &idle.to_string()),
        None => Ok(()),
    }
}

pub(crate) fn io(dir: &Path, io: &LinuxBlockIo, notes: &mut Vec<String>) -> Result<()> {
    // The scheduler BFQ has weights up to 1000, as in cgroup v1; io.weight goes up to 10000.
    let bfq = dir.join("io.bfq.weight");
    let (file, wide) = if bfq.exists() { (bfq, false) } else { (dir.join("io.weight"), true) };
    let scaled = |weight: u16| match wide {
        true => 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990,
        false => weight.into(),
    };
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        file::write(&file, &format!("default {}", scaled(weight)))?;
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            file::write(&file, &format!("{}:{} {}", device.major(), device.minor(), scaled(weight)))?;
        }
    }
    if io.leaf_weight().is_some_and(|weight| weight != 0) {
        notes.push("linux.resources.blockIO.leafWeight is ignored: cgroup v2 does not have it".into());
    }
    for (name, devices) in [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ] {
        for (device, rate) in rates(devices) {
            let rate = if rate == 0 { "max".into() } else { rate.to_string() };
            file::write(&dir.join("io.max"), &format!("{device} {name}={rate}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        let weights = [0, 2, 3, 1024, 2048, 262_144, u64::MAX].map(weight);
        assert_eq!(weights, [1, 1, 2, 100, 174, 10_000, 10_000]);
        assert!((2..262_144).step_by(97).all(|n| weight(n) <= weight(n + 1)));
    }

    #[test]
    fn swap_alone() {
        assert_eq!(swap(Some(10), Some(30)).unwrap(), Some(20));
        assert_eq!(swap(Some(10), Some(10)).unwrap(), Some(0));
        assert_eq!(swap(Some(10), Some(-1)).unwrap(), Some(-1));
        assert_eq!(swap(Some(-1), None).unwrap(), Some(-1));
        assert_eq!(swap(Some(10), None).unwrap(), None);
        assert!(swap(Some(10), Some(9)).unwrap_err().to_string().contains("less than the limit"));
        assert!(swap(Some(-1), Some(9)).is_err());
        assert!(swap(None, Some(9)).unwrap_err().to_string().contains("set memory.limit"));
    }
}
