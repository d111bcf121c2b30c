//! Reading `config.json`, and checking it before anything is done.

pub mod default;
pub mod options;

use crate::error::{Context, Error, Result};
use crate::idmap::Maps;
use crate::rootfs::layers::Layers;
use crate::{namespaces, rootfs};
use oci_spec::runtime::{Linux, LinuxDeviceType, LinuxIdMapping, LinuxNamespaceType, Process, Spec};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest configuration in bytes.
const MOST: u64 = 16 << 20;

/// A bundle: a configuration and a root.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its directory.
    pub path: PathBuf,
    /// Its configuration.
    pub spec: Spec,
    /// Its root directory.
    pub rootfs: PathBuf,
    /// The layers that are mounted over its root, if it has any.
    pub layers: Option<Layers>,
}

impl Bundle {
    /// Reads the bundle in a directory.
    ///
    /// # Errors
    /// The configuration does not exist, or is not possible.
    pub fn load(dir: &Path) -> Result<Bundle> {
        let path = dir.canonicalize().with(|| format!("bundle {}", dir.display()))?;
        let config = path.join("config.json");
        let bytes = read(&config).with(|| format!("cannot read the bundle's {}", config.display()))?;
        let spec = parse(&bytes).map_err(|e| Error::refused(format!("{}: {e}", config.display())))?;
        Bundle::new(path, spec)
    }

    /// A bundle whose configuration is not in a file. `path` must be absolute.
    ///
    /// # Errors
    /// The configuration is not possible.
    pub fn new(path: PathBuf, spec: Spec) -> Result<Bundle> {
        check(&spec)?;
        let root = spec.root().as_ref().map(|r| path.join(r.path())).unwrap_or_default();
        let rootfs = root.canonicalize().with(|| format!("root.path {}", root.display()))?;
        if !rootfs.is_dir() {
            return Err(Error::refused(format!("root.path {} is not a directory", rootfs.display())));
        }
        if rootfs == Path::new("/") {
            return Err(Error::refused("root.path is the host's own root"));
        }
        Ok(Bundle { path, spec, rootfs, layers: None })
    }
}

/// Reads a regular file up to the size limit. Pipes and devices are refused without waiting for them.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map(|_| bytes)
}

/// Parses a configuration.
///
/// # Errors
/// The text is not a configuration, or is larger than 16 MiB.
pub fn parse(bytes: &[u8]) -> Result<Spec> {
    if bytes.len() as u64 > MOST {
        return Err(Error::refused("a configuration has at most 16 MiB"));
    }
    serde_json::from_slice(bytes).map_err(Error::refused)
}

/// Checks a configuration. Settings that cannot be applied are refused here, not left out later.
///
/// # Errors
/// A sentence that names the field.
pub fn check(spec: &Spec) -> Result<()> {
    let refuse = |what: &str| Err(Error::refused(what));
    if spec.version().split('.').next() != Some("1") {
        return Err(Error::refused(format!("ociVersion '{}' is not 1.x", spec.version())));
    }
    if spec.root().as_ref().is_none_or(|r| r.path().as_os_str().is_empty()) {
        return refuse("root.path is missing");
    }
    let Some(linux) = spec.linux() else { return refuse("the section 'linux' is missing") };
    if let Some(p) = spec.process() {
        process(p)?;
    }
    let own = own_namespaces(linux)?;
    if spec.hostname().as_ref().is_some_and(|h| !h.is_empty()) && own & libc::CLONE_NEWUTS == 0 {
        return refuse("hostname needs a namespace of type uts, or it would be the host's");
    }
    if spec.domainname().as_ref().is_some_and(|h| !h.is_empty()) && own & libc::CLONE_NEWUTS == 0 {
        return refuse("domainname needs a namespace of type uts, or it would be the host's");
    }
    for mount in spec.mounts().iter().flatten() {
        let maps = (mount.uid_mappings(), mount.gid_mappings());
        if mount.destination().as_os_str().is_empty() {
            return refuse("mounts: one has no destination");
        }
        if some(maps.0).is_some() != some(maps.1).is_some() {
            return refuse("mounts: uidMappings and gidMappings must both be given");
        }
        rootfs::mounts::parse(mount)?;
    }
    linux_section(linux, own)
}

fn some(maps: &Option<Vec<LinuxIdMapping>>) -> Option<&Vec<LinuxIdMapping>> {
    maps.as_ref().filter(|m| !m.is_empty())
}

/// The namespaces that are not the host's.
fn own_namespaces(linux: &Linux) -> Result<i32> {
    namespaces::all(linux.namespaces().as_deref().unwrap_or_default())
}

/// The ID mappings of the container's own user namespace; `None` if it has none.
///
/// # Errors
/// The mappings are not valid.
pub fn maps(linux: &Linux) -> Result<Option<Maps>> {
    let list = linux.namespaces().as_deref().unwrap_or_default();
    let new = list.iter().any(|n| n.typ() == LinuxNamespaceType::User)
        && namespaces::path(list, LinuxNamespaceType::User).is_none();
    let (uids, gids) = (some(linux.uid_mappings()), some(linux.gid_mappings()));
    match new {
        true => Maps::new(uids.map_or(&[], |v| v), gids.map_or(&[], |v| v)).map(Some),
        false => Ok(None),
    }
}

fn linux_section(linux: &Linux, own: i32) -> Result<()> {
    let refuse = |what: &str| Err(Error::refused(what));
    if own & libc::CLONE_NEWNS == 0 {
        return refuse(
            "linux.namespaces: a container needs one of type mount, or its mounts would be the host's",
        );
    }
    maps(linux)?;
    let mapped = some(linux.uid_mappings()).is_some() || some(linux.gid_mappings()).is_some();
    if mapped && own & libc::CLONE_NEWUSER == 0 {
        return refuse("linux.uidMappings and gidMappings need a namespace of type user");
    }
    if linux.time_offsets().as_ref().is_some_and(|t| !t.is_empty()) && own & libc::CLONE_NEWTIME == 0 {
        return refuse("linux.timeOffsets needs a namespace of type time");
    }
    if linux.intel_rdt().is_some() {
        return refuse("linux.intelRdt is not supported");
    }
    if linux.memory_policy().is_some() {
        return refuse("linux.memoryPolicy is not supported");
    }
    if linux.net_devices().as_ref().is_some_and(|d| !d.is_empty()) {
        return refuse("linux.netDevices is not supported");
    }
    rootfs::pivot::propagation(linux.rootfs_propagation().as_deref())?;
    for device in linux.devices().iter().flatten() {
        let path = device.path().display();
        let number = |n: i64, most: i64| (0..=most).contains(&n);
        // dev_t has 12 bits for the major and 20 for the minor number (linux/kdev_t.h).
        let numbers = number(device.major(), 4095) && number(device.minor(), 0xf_ffff);
        if !device.path().is_absolute() || device.typ() == LinuxDeviceType::A {
            return Err(Error::refused(format!("linux.devices: '{path}' needs an absolute path and a type")));
        }
        if device.typ() != LinuxDeviceType::P && !numbers {
            return Err(Error::refused(format!("linux.devices: {path} has invalid device numbers")));
        }
    }
    linux.sysctl().iter().flatten().try_for_each(|(name, _)| sysctl(name, own))
}

/// Checks that a kernel parameter belongs to the container's own namespaces (namespaces(7), sysctl(7)).
fn sysctl(name: &str, own: i32) -> Result<()> {
    const IPC: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    // In a name with slashes, dots are part of a component (sysctl.d(5)).
    let dotted = if name.contains('/') { name.replace('/', ".") } else { name.to_string() };
    let needs = match dotted.as_str() {
        "kernel.domainname" => Some((libc::CLONE_NEWUTS, "uts")),
        n if IPC.contains(&n) || n.starts_with("fs.mqueue.") => Some((libc::CLONE_NEWIPC, "ipc")),
        n if n.starts_with("net.") => Some((libc::CLONE_NEWNET, "network")),
        n if n.starts_with("user.") => Some((libc::CLONE_NEWUSER, "user")),
        _ => None,
    };
    let bad = name.split(['/', '.']).any(|part| part.is_empty());
    match needs {
        Some((flag, _)) if own & flag != 0 && !bad => Ok(()),
        Some((_, kind)) => Err(Error::refused(format!(
            "linux.sysctl: {name} needs a namespace of type {kind}, or it would be the host's"
        ))),
        None => {
            Err(Error::refused(format!("linux.sysctl: {name} belongs to the whole host and cannot be set")))
        }
    }
}

/// Checks a process's configuration.
///
/// # Errors
/// A sentence that names the field.
pub fn process(process: &Process) -> Result<()> {
    let refuse = |what: &str| Err(Error::refused(what));
    if process.args().as_ref().is_none_or(|a| a.is_empty()) {
        return refuse("process.args is empty");
    }
    if !process.cwd().is_absolute() {
        return refuse("process.cwd must be an absolute path");
    }
    crate::process::user::check(process.user())?;
    let strings = process.args().iter().flatten().chain(process.env().iter().flatten());
    if strings.clone().any(|s| s.contains('\0')) {
        return refuse("process.args or process.env contains a zero byte");
    }
    let mut limits: Vec<_> = process.rlimits().iter().flatten().map(|l| l.typ()).collect();
    let count = limits.len();
    limits.sort_by_key(|t| *t as u32);
    limits.dedup();
    if limits.len() != count {
        return refuse("process.rlimits has a type twice");
    }
    if process.rlimits().iter().flatten().any(|l| l.soft() > l.hard()) {
        return refuse("process.rlimits: a soft limit is above its hard limit");
    }
    if process.oom_score_adj().is_some_and(|n| !(-1000..=1000).contains(&n)) {
        return refuse("process.oomScoreAdj must be between -1000 and 1000");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small configuration with changes, each at a JSON pointer.
    fn with(changes: &[(&str, &str)]) -> Result<()> {
        let mut config: serde_json::Value = serde_json::from_str(
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"args":["true"],"cwd":"/","user":{"uid":0,"gid":0}},
                "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#,
        )
        .unwrap();
        for (pointer, value) in changes {
            let (above, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(above).unwrap()[name] = serde_json::from_str(value).unwrap();
        }
        check(&parse(config.to_string().as_bytes())?)
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(with(&[]).is_ok());
        for (pointer, value, word) in [
            ("/ociVersion", r#""2.0""#, "ociVersion"),
            ("/root", "null", "root.path"),
            ("/process/args", "[]", "process.args"),
            ("/process/args", r#"["a\u0000b"]"#, "zero byte"),
            ("/process/cwd", r#""tmp""#, "cwd"),
            ("/process/oomScoreAdj", "2000", "oomScoreAdj"),
            ("/process/user/uid", "4294967295", "process.user.uid 4294967295"),
            ("/process/user/gid", "4294967295", "process.user.gid 4294967295"),
            ("/process/user/additionalGids", "[1,4294967295]", "additionalGids"),
            ("/process/rlimits", r#"[{"type":"RLIMIT_NOFILE","soft":2,"hard":1}]"#, "soft limit"),
            ("/hostname", r#""h""#, "hostname"),
            ("/linux", "null", "linux"),
            ("/linux/namespaces", r#"[{"type":"pid"}]"#, "type mount"),
            ("/linux/namespaces", r#"[{"type":"mount"},{"type":"user"}]"#, "uidMappings"),
            ("/linux/uidMappings", r#"[{"hostID":0,"containerID":0,"size":1}]"#, "type user"),
            ("/linux/timeOffsets", r#"{"boottime":{"secs":1}}"#, "timeOffsets"),
            ("/linux/intelRdt", "{}", "intelRdt"),
            ("/linux/rootfsPropagation", r#""up""#, "rootfsPropagation"),
            ("/linux/devices", r#"[{"path":"/dev/x","type":"c","major":-1,"minor":0}]"#, "linux.devices"),
            ("/linux/sysctl", r#"{"kernel.panic":"1"}"#, "kernel.panic"),
            ("/linux/sysctl", r#"{"net.ipv4.ip_forward":"1"}"#, "type network"),
            (
                "/mounts",
                r#"[{"destination":"/x","type":"bind","source":"/y","options":["size=1"]}]"#,
                "size=1",
            ),
            ("/mounts", r#"[{"destination":""}]"#, "destination"),
        ] {
            let text = with(&[(pointer, value)]).expect_err(pointer).to_string();
            assert!(text.contains(word), "{pointer}: {text}");
        }
    }

    #[test]
    fn settings_of_own_namespaces_are_allowed() {
        let own = ("/linux/namespaces", r#"[{"type":"mount"},{"type":"network"},{"type":"ipc"}]"#);
        for name in
            ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/forwarding", "kernel.shmmax", "fs.mqueue.msg_max"]
        {
            assert!(with(&[own, ("/linux/sysctl", &format!(r#"{{"{name}":"1"}}"#))]).is_ok(), "{name}");
        }
        for name in ["net.", "net..x", "kernel.hostname", "vm.swappiness", "net./../../kernel/panic"] {
            assert!(with(&[own, ("/linux/sysctl", &format!(r#"{{"{name}":"1"}}"#))]).is_err(), "{name}");
        }
    }
}
