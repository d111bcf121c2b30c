//! `linux.resources` of the runtime specification, for controllers of either version.

use crate::devices::{self, Policy, Rule};
use crate::manager::Place;
use crate::{Error, Manager, Result, bpf, file, v1, v2};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use std::collections::HashMap;
use std::path::{Component, Path};

impl Manager {
    /// Sets limits; those that are not named are unchanged. Returns sentences about limits that are ignored
    /// because this version of control groups, or the kernel, does not have them any more.
    ///
    /// # Errors
    /// A limit cannot be set; those before it have been set.
    pub fn apply(&self, resources: &LinuxResources) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        if let Some(memory) = resources.memory() {
            if v1::wants_memory(memory) {
                match self.place("memory", "linux.resources.memory")? {
                    Place::First(dir) => v1::memory(dir, memory)?,
                    Place::Second(dir) => v2::memory(dir, memory, &mut notes)?,
                }
            }
            if v1::given(memory.kernel()).or(v1::given(memory.kernel_tcp())).is_some() {
                let why = "this memory is counted with the rest";
                notes.push(format!("linux.resources.memory: kernel and kernelTCP are ignored: {why}"));
            }
        }
        if let Some(cpu) = resources.cpu() {
            if cpu.cpus().is_some() || cpu.mems().is_some() {
                let dir = self.place("cpuset", "linux.resources.cpu.cpus")?.dir();
                cpuset(dir, cpu.cpus().as_deref(), cpu.mems().as_deref())?;
            }
            if v1::wants_cpu(cpu) {
                match self.place("cpu", "linux.resources.cpu")? {
                    Place::First(dir) => v1::cpu(dir, cpu)?,
                    Place::Second(dir) => v2::cpu(dir, cpu, &mut notes)?,
                }
            }
        }
        if let Some(pids) = resources.pids() {
            let dir = self.place("pids", "linux.resources.pids")?.dir();
            v1::pids(dir, pids.limit())?;
        }
        if let Some(io) = resources.block_io().as_ref().filter(|io| v1::wants_io(io)) {
            match self.first("blkio") {
                Some(dir) => v1::io(dir, io)?,
                None => v2::io(self.place("io", "linux.resources.blockIO")?.dir(), io, &mut notes)?,
            }
        }
        self.apply_others(resources, &mut notes)?;
        Ok(notes)
    }

    /// Sets limits that few containers use.
    fn apply_others(&self, resources: &LinuxResources, notes: &mut Vec<String>) -> Result<()> {
        for limit in resources.hugepage_limits().iter().flatten() {
            let place = self.place("hugetlb", "linux.resources.hugepageLimits")?;
            huge(place, limit.page_size(), limit.limit())?;
        }
        if let Some(network) = resources.network() {
            match (self.first("net_cls"), network.class_id()) {
                (Some(dir), Some(class)) => file::write(&dir.join("net_cls.classid"), &class.to_string())?,
                (None, Some(_)) => notes.push(only_first("network.classID", "net_cls")),
                _ => {}
            }
            let priorities = network.priorities().iter().flatten();
            let lines = priorities.map(|p| format!("{} {}", p.name(), p.priority())).collect::<Vec<_>>();
            match self.first("net_prio") {
                Some(dir) => file::write_all(&dir.join("net_prio.ifpriomap"), lines)?,
                None if !lines.is_empty() => notes.push(only_first("network.priorities", "net_prio")),
                None => {}
            }
        }
        for (device, most) in resources.rdma().iter().flatten() {
            let dir = self.place("rdma", "linux.resources.rdma")?.dir();
            let number = |n: Option<u32>| n.map_or("max".to_owned(), |n| n.to_string());
            let (handles, objects) = (number(most.hca_handles()), number(most.hca_objects()));
            file::write(
                &dir.join("rdma.max"),
                &format!("{device} hca_handle={handles} hca_object={objects}"),
            )?;
        }
        if let Some(devices) = resources.devices() {
            self.apply_devices(devices, notes)?;
        }
        if let Some(unified) = resources.unified().as_ref().filter(|unified| !unified.is_empty()) {
            self.apply_unified(unified)?;
        }
        Ok(())
    }

    /// Sets which devices may be used. A process that is not allowed to do this is not allowed to make device
    /// nodes either.
    fn apply_devices(&self, asked: &[LinuxDeviceCgroup], notes: &mut Vec<String>) -> Result<()> {
        let rules = devices::rules(asked)?;
        let done = match (self.first("devices"), self.second()) {
            (Some(dir), _) => devices_first(dir, &rules),
            (None, Some(second)) => bpf::restrict(&second.dir, &Policy::of(&rules)),
            (None, None) => {
                notes.push("linux.resources.devices is ignored: there is no control group".into());
                return Ok(());
            }
        };
        match done {
            Err(error) if error.is_denied() && !is_real_root() => {
                notes.push(format!("linux.resources.devices is ignored: {error}"));
                Ok(())
            }
            other => other,
        }
    }

    /// Writes files of cgroup v2 by name.
    fn apply_unified(&self, files: &HashMap<String, String>) -> Result<()> {
        let Some(second) = self.second() else {
            let why = "linux.resources.unified needs cgroup v2, which this host does not have";
            return Err(Error::Refused(why.into()));
        };
        let mut names: Vec<&String> = files.keys().collect();
        names.sort();
        for name in names {
            let mut parts = Path::new(name).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain || name.ends_with('/') {
                return Err(Error::Refused(format!(
                    "linux.resources.unified: \"{name}\" is not the name of a file"
                )));
            }
            if let Some((controller, _)) =
                name.split_once('.').filter(|(controller, _)| *controller != "cgroup")
            {
                self.place_second(controller, name)?;
            }
            let lines = files[name].lines().map(str::to_owned).collect::<Vec<_>>();
            for line in lines {
                file::write(&second.dir.join(name), &line)?;
            }
        }
        Ok(())
    }

    fn place_second(&self, controller: &str, name: &str) -> Result<()> {
        match self.place(controller, &format!("linux.resources.unified \"{name}\""))? {
            Place::Second(_) => Ok(()),
            Place::First(_) => Err(Error::Missing {
                limit: format!("linux.resources.unified \"{name}\""),
                controller: format!("cgroup v2 {controller}"),
                why: "this host has that controller in cgroup v1".into(),
            }),
        }
    }
}

fn only_first(what: &str, controller: &str) -> String {
    format!(
        "linux.resources.{what} is ignored: this host has no control group with the {controller} controller"
    )
}

/// Whether this process is root on the host, not in a user namespace.
fn is_real_root() -> bool {
    let map = file::read(Path::new("/proc/self/uid_map")).unwrap_or_default();
    let mut words = map.split_ascii_whitespace();
    let all = [words.next(), words.next(), words.next()] == [Some("0"), Some("0"), Some("4294967295")];
    // SAFETY: only returns a number.
    all && unsafe { libc::geteuid() } == 0
}

fn cpuset(dir: &Path, cpus: Option<&str>, mems: Option<&str>) -> Result<()> {
    for (name, list) in [("cpuset.cpus", cpus), ("cpuset.mems", mems)] {
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            file::write(&dir.join(name), list)?;
        }
    }
    Ok(())
}

/// Limits usage, and reservation if the kernel supports it.
fn huge(place: Place, size: &str, limit: i64) -> Result<()> {
    let word = size.chars().all(|c| c.is_ascii_alphanumeric());
    if !word || size.is_empty() {
        return Err(Error::Refused(format!(
            "linux.resources.hugepageLimits: \"{size}\" is not a size such as 2MB"
        )));
    }
    let limit = limit.to_string();
    let (dir, end) = match place {
        Place::First(dir) => (dir, ".limit_in_bytes"),
        Place::Second(dir) => (dir, ".max"),
    };
    file::write(&dir.join(format!("hugetlb.{size}{end}")), &limit)?;
    match file::write(&dir.join(format!("hugetlb.{size}.rsvd{end}")), &limit) {
        Err(error) if error.number() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Writes each rule with a single call, into one of two files.
fn devices_first(dir: &Path, rules: &[Rule]) -> Result<()> {
    // Consecutive rules for the same file share one open descriptor.
    rules.chunk_by(|a, b| a.allow == b.allow).try_for_each(|some| {
        let name = if some[0].allow { "devices.allow" } else { "devices.deny" };
        file::write_all(&dir.join(name), some.iter().map(Rule::to_string))
    })
}
