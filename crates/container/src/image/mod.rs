//! Conversion of an image's configuration and the user's options to a bundle's `config.json` (OCI Image
//! Format Specification 1.1, "Conversion to OCI Runtime Configuration").
//!
//! * [`ImageOptions`]: the user's options. [`volume`]: the host's files in the container.
//! * [`user`]: names of users and groups, which the image's own files define.
//! * [`device`]: the host's devices in the container.
//! * `defaults`: mounts, masked paths and devices of every container.

mod defaults;
pub mod device;
pub mod user;
pub mod volume;

use crate::process::caps;
use device::Device;
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime as spec;
use oci_spec::runtime::{Capability, LinuxSeccomp, Spec};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use volume::{Tmpfs, Volume};

/// The search path for programs if the image has none, as with other engines.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The seccomp filter of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// The default one ([`crate::seccomp::default_profile`]).
    #[default]
    Usual,
    /// No filter.
    Unconfined,
    /// A profile of the user's.
    Own(Box<LinuxSeccomp>),
}

/// The resource limits of a container; `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 means no limit of swap.
    pub memory_swap: Option<i64>,
    /// Bytes of memory that are protected from being reclaimed while others have more.
    pub memory_reservation: Option<i64>,
    /// Thousandths of a CPU.
    pub cpu_milli: Option<u64>,
    /// Weight against others when CPUs are busy (default 1024).
    pub cpu_shares: Option<u64>,
    /// CPUs that it may use, such as `0-2,4`.
    pub cpuset: Option<String>,
    /// Number of processes and threads.
    pub pids: Option<i64>,
    /// Weight against others when disks are busy (10 to 1000).
    pub io_weight: Option<u16>,
    /// Bytes per second read from devices, by device number.
    pub read_bps: Vec<(i64, i64, u64)>,
    /// Bytes per second written to devices, by device number.
    pub write_bps: Vec<(i64, i64, u64)>,
    /// Reads per second from devices, by device number.
    #[serde(default)]
    pub read_iops: Vec<(i64, i64, u64)>,
    /// Writes per second to devices, by device number.
    #[serde(default)]
    pub write_iops: Vec<(i64, i64, u64)>,
}

/// The user's options for a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// Command in place of the image's `Cmd`.
    pub command: Vec<String>,
    /// Entry point in place of the image's `Entrypoint`; its `Cmd` is then not used either.
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables: `NAME=VALUE`, or `NAME` to pass the host's value.
    pub env: Vec<String>,
    /// Working directory of the process.
    pub workdir: Option<String>,
    /// User as `USER[:GROUP]`, by name or number.
    pub user: Option<String>,
    /// The container's host name.
    pub hostname: String,
    /// Whether standard input and output are a terminal.
    pub tty: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Files of the host in the container.
    pub volumes: Vec<Volume>,
    /// tmpfs mounts.
    pub tmpfs: Vec<Tmpfs>,
    /// Resource limits.
    pub limits: Limits,
    /// Capabilities to add; `ALL` means all.
    pub cap_add: Vec<String>,
    /// Capabilities to drop; `ALL` means all.
    pub cap_drop: Vec<String>,
    /// Whether it may do everything that root of the host may do. Not for untrusted guests.
    pub privileged: bool,
    /// Whether set-user-ID files and file capabilities grant no privileges.
    pub no_new_privileges: bool,
    /// Seccomp filter.
    pub seccomp: Filter,
    /// Kernel parameters of its namespaces.
    pub sysctl: BTreeMap<String, String>,
    /// Resource limits of its processes (`RLIMIT_NOFILE` …): soft and hard.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes; 0 means 64 MiB.
    pub shm_size: u64,
    /// Whether it uses the host's network.
    pub host_network: bool,
    /// Directory with its `hosts`, `resolv.conf` and `hostname`, which are mounted in `/etc`; `None` keeps
    /// the image's files.
    pub network: Option<PathBuf>,
    /// Path of its control group, from the root of each hierarchy.
    pub cgroup: Option<PathBuf>,
    /// Annotations of the bundle.
    pub annotations: HashMap<String, String>,
}

/// Information about the image's files and the host.
pub struct Given<'a> {
    /// The container's root file system.
    pub root: PathBuf,
    /// Reads a file of the image without following links out of it; `None` where it does not exist.
    pub read: &'a user::Read<'a>,
    /// ID mappings of a user namespace; `None` means no such namespace.
    pub maps: Option<Maps>,
}

/// ID mappings of a user namespace (user_namespaces(7)).
#[derive(Clone, Debug, Default)]
pub struct Maps {
    /// Mappings of user IDs.
    pub users: Vec<spec::LinuxIdMapping>,
    /// Mappings of group IDs.
    pub groups: Vec<spec::LinuxIdMapping>,
}

/// The configuration of a container of an image.
///
/// # Errors
/// A sentence if the image has no command and none is given, if the image does not define the user, or if an
/// option is not possible.
pub fn configuration(
    image: &ImageConfiguration,
    options: &ImageOptions,
    given: &Given,
) -> Result<Spec, String> {
    let mut root = spec::Root::default();
    root.set_path(given.root.clone()).set_readonly(Some(options.read_only));
    let mut made = Spec::default();
    made.set_version("1.2.0".into())
        .set_root(Some(root))
        .set_process(Some(process(image, options, given)?))
        .set_hostname(Some(options.hostname.clone()))
        .set_mounts(Some(defaults::mounts(options, given.maps.as_ref())?))
        .set_linux(Some(linux(options, given)?))
        .set_annotations(Some(options.annotations.clone()));
    Ok(made)
}

/// The command line: the user's command before the image's.
fn command(image: &ImageConfiguration, options: &ImageOptions) -> Result<Vec<String>, String> {
    let config = image.config().as_ref();
    let own = |list: Option<&Option<Vec<String>>>| list.cloned().flatten().unwrap_or_default();
    let mut line = match &options.entrypoint {
        Some(line) => line.clone(),
        None => own(config.map(|c| c.entrypoint())),
    };
    match (options.command.is_empty(), &options.entrypoint) {
        (true, None) => line.extend(own(config.map(|c| c.cmd()))),
        _ => line.extend_from_slice(&options.command),
    }
    match line.is_empty() {
        true if options.entrypoint.is_some() => {
            Err("without the image's entry point there is no command: give one after the image".into())
        }
        true => Err("the image has no command: give one after the image".into()),
        false => Ok(line),
    }
}

/// Adds `NAME=VALUE` lines; later ones replace earlier ones, and a name without a value takes the host's
/// value.
fn environment(image: &ImageConfiguration, options: &ImageOptions) -> Vec<String> {
    let of_image = image.config().as_ref().and_then(|c| c.env().clone()).unwrap_or_default();
    let mut made: Vec<String> = vec![PATH.into(), format!("HOSTNAME={}", options.hostname)];
    if options.tty {
        made.push("TERM=xterm".into());
    }
    for line in of_image.iter().chain(&options.env) {
        let name = line.split('=').next().unwrap_or_default();
        let line = match line.contains('=') {
            true => Some(line.clone()),
            false => std::env::var(name).ok().map(|value| format!("{name}={value}")),
        };
        made.retain(|old| old.split('=').next() != Some(name));
        made.extend(line);
    }
    made
}

fn process(
    image: &ImageConfiguration,
    options: &ImageOptions,
    given: &Given,
) -> Result<spec::Process, String> {
    let config = image.config().as_ref();
    let named = options.user.clone().or_else(|| config.and_then(|c| c.user().clone())).unwrap_or_default();
    let user = user::find(&named, given.read)?;
    let mut env = environment(image, options);
    // An empty directory is a mistake of the user's, as with other engines.
    if !env.iter().any(|line| line.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        env.retain(|line| line != "HOME=");
        env.push(format!("HOME={}", user.home));
    }
    let cwd = options.workdir.clone().or_else(|| config.and_then(|c| c.working_dir().clone()));
    let cwd = cwd.filter(|d| !d.is_empty()).unwrap_or_else(|| "/".into());
    if !cwd.starts_with('/') {
        return Err(format!("'{cwd}' cannot be the container's directory: it does not start with '/'"));
    }
    let mut made = spec::Process::default();
    made.set_terminal(Some(options.tty))
        .set_user(user.spec())
        .set_args(Some(command(image, options)?))
        .set_env(Some(env))
        .set_cwd(cwd.into())
        .set_no_new_privileges(Some(options.no_new_privileges))
        .set_capabilities(Some(capability_sets(&capabilities(options)?, user.uid)))
        .set_rlimits(Some(rlimits(options)?));
    Ok(made)
}

fn rlimits(options: &ImageOptions) -> Result<Vec<spec::PosixRlimit>, String> {
    let one = |(name, (soft, hard)): (&String, &(u64, u64))| {
        let name = name.to_ascii_uppercase();
        let full = if name.starts_with("RLIMIT_") { name } else { format!("RLIMIT_{name}") };
        let known = spec::PosixRlimitType::deserialize(full.as_str().into_deserializer());
        let known: Result<_, serde::de::value::Error> = known;
        let kind = known.map_err(|_| format!("'{full}' is not a resource limit (see setrlimit(2))"))?;
        let made = spec::PosixRlimitBuilder::default().typ(kind).soft(*soft).hard(*hard).build();
        made.map_err(|e| format!("'{full}' cannot be set: {e}"))
    };
    options.rlimits.iter().map(one).collect()
}

/// The capabilities of the container's processes.
fn capabilities(options: &ImageOptions) -> Result<HashSet<Capability>, String> {
    let mut made = match options.privileged {
        true => caps::every(),
        false => caps::default_set(),
    };
    let named = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        short.parse::<Capability>().map_err(|_| format!("'{name}' is not a capability (see capabilities(7))"))
    };
    let all = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    if all(&options.cap_add) {
        made = caps::every();
    }
    if all(&options.cap_drop) {
        made.clear();
    }
    for name in options.cap_drop.iter().filter(|n| !n.eq_ignore_ascii_case("ALL")) {
        made.remove(&named(name)?);
    }
    for name in options.cap_add.iter().filter(|n| !n.eq_ignore_ascii_case("ALL")) {
        made.insert(named(name)?);
    }
    Ok(made)
}

/// Root starts with them; other users gain them only by executing a file that has them.
fn capability_sets(set: &HashSet<Capability>, uid: u32) -> spec::LinuxCapabilities {
    let now = if uid == 0 { set.clone() } else { HashSet::new() };
    let mut made = spec::LinuxCapabilities::default();
    made.set_bounding(Some(set.clone()))
        .set_permitted(Some(now.clone()))
        .set_effective(Some(now))
        .set_inheritable(None)
        .set_ambient(None);
    made
}

fn linux(options: &ImageOptions, given: &Given) -> Result<spec::Linux, String> {
    let mut made = spec::Linux::default();
    if let Some(maps) = given.maps.clone() {
        made.set_uid_mappings(Some(maps.users)).set_gid_mappings(Some(maps.groups));
    }
    let seccomp = match (&options.seccomp, options.privileged) {
        (Filter::Own(own), _) => Some(own.as_ref().clone()),
        (Filter::Usual, false) => Some(crate::seccomp::default_profile(&capabilities(options)?)),
        (Filter::Unconfined, _) | (Filter::Usual, true) => None,
    };
    made.set_namespaces(Some(defaults::namespaces(options, given.maps.is_some())))
        .set_resources(Some(defaults::resources(options)?))
        .set_cgroups_path(options.cgroup.clone())
        .set_devices(Some(defaults::devices(options)?))
        .set_sysctl(Some(options.sysctl.clone().into_iter().collect()))
        .set_seccomp(seccomp)
        .set_masked_paths(defaults::masked(options))
        .set_readonly_paths(defaults::read_only(options));
    Ok(made)
}

#[cfg(test)]
mod tests;
