//! The defaults of every container of an image: mounts, masked paths, namespaces, devices.

use super::device::Device;
use super::volume::Source;
use super::{ImageOptions, Limits, Maps};
use oci_spec::runtime as spec;
use spec::{LinuxNamespaceType, Mount};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Kernel files that reveal information about the host or change it. They are masked.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    // Energy counters reveal what other guests compute (CVE-2020-8694).
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
];

/// Kernel files that may be read but not written.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The default size of `/dev/shm` in bytes.
const SHM: u64 = 64 << 20;

/// The mounts of every container: place, type, options.
const MOUNTS: [(&str, &str, &[&str]); 7] = [
    ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
    ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

fn mount(to: &Path, kind: &str, from: &Path, options: Vec<String>) -> Mount {
    let mut made = Mount::default();
    made.set_destination(to.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(from.into()))
        .set_options(Some(options));
    made
}

fn usual(options: &ImageOptions, maps: Option<&Maps>) -> impl Iterator<Item = Mount> {
    // The group of terminals is number 5 (tty) of the image, which must be mapped to be used.
    let tty = maps
        .is_none_or(|m| m.groups.iter().any(|g| (g.container_id()..).zip(0..g.size()).any(|(n, _)| n == 5)));
    let shm = format!("size={}", if options.shm_size == 0 { SHM } else { options.shm_size });
    let privileged = options.privileged;
    MOUNTS.iter().map(move |(to, kind, list)| {
        let keep = |o: &&&str| (tty || **o != "gid=5") && (!privileged || **o != "ro");
        let mut list: Vec<String> = list.iter().filter(keep).map(|o| o.to_string()).collect();
        if *to == "/dev/shm" {
            list.push(shm.clone());
        }
        mount(Path::new(to), kind, Path::new(kind), list)
    })
}

/// All mounts: the default ones, tmpfs, the host's files.
///
/// # Errors
/// A named volume has no directory.
pub(super) fn mounts(options: &ImageOptions, maps: Option<&Maps>) -> Result<Vec<Mount>, String> {
    let mut made: Vec<Mount> = usual(options, maps).collect();
    for memory in &options.tmpfs {
        let mut list: Vec<String> = ["nosuid", "nodev", "noexec"].map(String::from).to_vec();
        list.extend(memory.options.iter().cloned());
        made.push(mount(&memory.to, "tmpfs", Path::new("tmpfs"), list));
    }
    for name in ["hosts", "resolv.conf", "hostname"] {
        let to = Path::new("/etc").join(name);
        // Mounts of the user over these places are kept.
        let Some(dir) = options.network.as_ref().filter(|_| options.volumes.iter().all(|v| v.to != to))
        else {
            continue;
        };
        made.push(mount(&to, "bind", &dir.join(name), vec!["bind".into(), "rprivate".into()]));
    }
    for volume in &options.volumes {
        let Source::Path(from) = &volume.from else {
            return Err(format!("the volume at {} has no directory of the host", volume.to.display()));
        };
        let write = if volume.read_only { "ro" } else { "rw" };
        made.push(mount(
            &volume.to,
            "bind",
            from,
            vec!["rbind".into(), write.into(), volume.propagation.clone()],
        ));
    }
    Ok(made)
}

/// The namespaces that the container has for itself.
pub(super) fn namespaces(options: &ImageOptions, user: bool) -> Vec<spec::LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let wanted = [Pid, Ipc, Uts, Mount, Cgroup].into_iter();
    let wanted = wanted.chain((!options.host_network).then_some(Network)).chain(user.then_some(User));
    let one = |kind| {
        let mut made = spec::LinuxNamespace::default();
        made.set_typ(kind);
        made
    };
    wanted.map(one).collect()
}

pub(super) fn masked(options: &ImageOptions) -> Option<Vec<String>> {
    (!options.privileged).then(|| MASKED.map(String::from).to_vec())
}

pub(super) fn read_only(options: &ImageOptions) -> Option<Vec<String>> {
    (!options.privileged).then(|| READ_ONLY.map(String::from).to_vec())
}

/// The device that a device file of the host is.
fn device(wanted: &Device) -> Result<spec::LinuxDevice, String> {
    let path = wanted.from.as_path();
    let found = path.metadata().map_err(|e| format!("cannot use the device {}: {e}", path.display()))?;
    let kind = match found.file_type() {
        t if t.is_char_device() => spec::LinuxDeviceType::C,
        t if t.is_block_device() => spec::LinuxDeviceType::B,
        _ => return Err(format!("{} is not a device: use --volume for other files", path.display())),
    };
    let mut made = spec::LinuxDevice::default();
    made.set_path(wanted.to.clone())
        .set_typ(kind)
        .set_major(i64::from(libc::major(found.rdev())))
        .set_minor(i64::from(libc::minor(found.rdev())))
        .set_file_mode(Some(found.mode() & 0o777))
        .set_uid(Some(0))
        .set_gid(Some(0));
    Ok(made)
}

/// The devices of the host in the container.
///
/// # Errors
/// A file is not a device.
pub(super) fn devices(options: &ImageOptions) -> Result<Vec<spec::LinuxDevice>, String> {
    options.devices.iter().map(device).collect()
}

fn rule(allow: bool, device: Option<&spec::LinuxDevice>, access: &str) -> spec::LinuxDeviceCgroup {
    let mut made = spec::LinuxDeviceCgroup::default();
    made.set_allow(allow)
        .set_typ(device.map(|d| d.typ()))
        .set_major(device.map(|d| d.major()))
        .set_minor(device.map(|d| d.minor()))
        .set_access(Some(access.into()));
    made
}

/// The limits of the control group.
///
/// # Errors
/// A file is not a device.
pub(super) fn resources(options: &ImageOptions) -> Result<spec::LinuxResources, String> {
    let limits = &options.limits;
    let mut made = spec::LinuxResources::default();
    let mut rules = vec![rule(options.privileged, None, "rwm")];
    let given = devices(options)?;
    rules.extend(given.iter().zip(&options.devices).map(|(d, wanted)| rule(true, Some(d), &wanted.access)));
    made.set_devices(Some(rules))
        .set_memory(memory(limits))
        .set_cpu(cpu(limits))
        .set_block_io(block_io(limits)?)
        .set_pids(limits.pids.map(|n| {
            let mut made = spec::LinuxPids::default();
            made.set_limit(n);
            made
        }));
    Ok(made)
}

fn memory(limits: &Limits) -> Option<spec::LinuxMemory> {
    limits.memory.or(limits.memory_swap).or(limits.memory_reservation)?;
    let mut made = spec::LinuxMemory::default();
    // Without a swap limit, the memory limit also limits memory and swap together, so that a guest gets no
    // more than it was given.
    made.set_limit(limits.memory)
        .set_swap(limits.memory_swap.or(limits.memory))
        .set_reservation(limits.memory_reservation);
    Some(made)
}

/// The period in microseconds for which a share of CPUs is measured.
const PERIOD: u64 = 100_000;

fn cpu(limits: &Limits) -> Option<spec::LinuxCpu> {
    if limits.cpu_milli.is_none() && limits.cpu_shares.is_none() && limits.cpuset.is_none() {
        return None;
    }
    let quota = limits.cpu_milli.map(|n| n.saturating_mul(PERIOD / 1000).max(1000));
    let mut made = spec::LinuxCpu::default();
    made.set_quota(quota.map(|n| i64::try_from(n).unwrap_or(-1)))
        .set_period(quota.map(|_| PERIOD))
        .set_shares(limits.cpu_shares)
        .set_cpus(limits.cpuset.clone());
    Some(made)
}

fn block_io(limits: &Limits) -> Result<Option<spec::LinuxBlockIo>, String> {
    let rates = [&limits.read_bps, &limits.write_bps, &limits.read_iops, &limits.write_iops];
    if limits.io_weight.is_none() && rates.iter().all(|r| r.is_empty()) {
        return Ok(None);
    }
    let list = |given: &[(i64, i64, u64)]| {
        let one = |&(major, minor, rate): &(i64, i64, u64)| {
            let made =
                spec::LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate).build();
            made.map_err(|e| format!("device {major}:{minor} cannot be limited: {e}"))
        };
        given.iter().map(one).collect::<Result<Vec<_>, _>>().map(Some)
    };
    let mut made = spec::LinuxBlockIo::default();
    made.set_weight(limits.io_weight)
        .set_throttle_read_bps_device(list(&limits.read_bps)?)
        .set_throttle_write_bps_device(list(&limits.write_bps)?)
        .set_throttle_read_iops_device(list(&limits.read_iops)?)
        .set_throttle_write_iops_device(list(&limits.write_iops)?);
    Ok(Some(made))
}
