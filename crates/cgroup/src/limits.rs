//! Groups for the limits of one program, below the groups of this process.

use crate::kill::end;
use crate::manager::processes;
use crate::{Host, file, v1, v2};
use oci_spec::runtime::{LinuxCpu, LinuxMemory};
use std::collections::BTreeMap;
use std::io::Error;
use std::path::{Path, PathBuf};

/// The controller that limits memory.
pub const MEMORY: &str = "memory";
/// The controller that limits the number of processes and threads.
pub const PIDS: &str = "pids";
/// The controller that limits the share of CPUs.
pub const CPU: &str = "cpu";
/// The controller that measures CPU time; in cgroup v2 every group does.
pub const CPU_TIME: &str = "cpuacct";

/// The period in microseconds for which a share of CPUs is measured.
const PERIOD: u64 = 100_000;

/// A group created here.
#[derive(Clone, Debug)]
struct Group {
    at: PathBuf,
    second: bool,
}

impl Group {
    fn read(&self, file: &str, key: &str) -> Option<u64> {
        match key {
            "" => file::number(&self.at.join(file)),
            _ => file::value(&file::read(&self.at.join(file)).ok()?, key),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    file::write(path, text).map_err(|e| e.to_string())
}

/// The groups of one program: for each controller its group, or the reason why there is none.
pub struct Groups {
    by_controller: BTreeMap<&'static str, Result<Group, String>>,
    trees: Vec<PathBuf>,
}

impl Groups {
    /// Creates groups with these controllers, below the groups of this process.
    pub fn make(controllers: &[&'static str]) -> Groups {
        let mut groups = Groups { by_controller: BTreeMap::new(), trees: Vec::new() };
        if controllers.is_empty() {
            return groups;
        }
        let mut host = Host::read();
        groups.trees = host.trees().iter().map(|tree| tree.at.clone()).collect();
        let mut second = Vec::new();
        for &controller in controllers {
            match host.own(Some(controller)) {
                Some(dir) => drop(groups.by_controller.insert(controller, new_group(&dir, false))),
                None => second.push(controller),
            }
        }
        if !second.is_empty() {
            let made = match host.own(None) {
                Some(dir) => second_version(&dir, &second),
                None => Err("this host has no control groups".into()),
            };
            groups.by_controller.extend(second.into_iter().map(|c| (c, made.clone())));
        }
        groups
    }

    /// Whether no group was created.
    pub fn is_empty(&self) -> bool {
        self.made().next().is_none()
    }

    /// The directories that a program in these groups must not write to.
    pub fn guarded(&self) -> Vec<PathBuf> {
        if self.is_empty() { Vec::new() } else { self.trees.clone() }
    }

    fn made(&self) -> impl Iterator<Item = &Group> {
        self.by_controller.values().flatten()
    }

    fn group(&self, controller: &str) -> Result<&Group, String> {
        match self.by_controller.get(controller) {
            Some(Ok(group)) => Ok(group),
            Some(Err(why)) => Err(why.clone()),
            None => Err("no control group was asked for".into()),
        }
    }

    /// Limits memory, including swap, to `bytes` bytes.
    ///
    /// # Errors
    /// A sentence that says why it is not possible.
    pub fn set_memory(&self, bytes: u64) -> Result<(), String> {
        let Group { at, second } = self.group(MEMORY)?;
        let most = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(most)).set_swap(Some(most));
        let set = if *second { v2::memory(at, &memory, &mut Vec::new()) } else { v1::memory(at, &memory) };
        set.map_err(|e| e.to_string())
    }

    /// Limits the number of processes and threads.
    ///
    /// # Errors
    /// A sentence that says why it is not possible.
    pub fn set_pids(&self, most: u64) -> Result<(), String> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        v1::pids(&self.group(PIDS)?.at, most).map_err(|e| e.to_string())
    }

    /// Limits the share of CPUs, in thousandths of one CPU.
    ///
    /// # Errors
    /// A sentence that says why it is not possible.
    pub fn set_cpus(&self, milli: u64) -> Result<(), String> {
        let Group { at, second } = self.group(CPU)?;
        let quota = i64::try_from(milli.saturating_mul(PERIOD) / 1000).unwrap_or(i64::MAX);
        let mut cpu = LinuxCpu::default();
        cpu.set_period(Some(PERIOD)).set_quota(Some(quota));
        let set = if *second { v2::cpu(at, &cpu, &mut Vec::new()) } else { v1::cpu(at, &cpu) };
        set.map_err(|e| e.to_string())
    }

    /// CPU time used by all processes together, in nanoseconds.
    ///
    /// # Errors
    /// A sentence that says why it is not known.
    pub fn cpu_time(&self) -> Result<u64, String> {
        let group = self.group(CPU_TIME)?;
        let used = match group.second {
            true => group.read("cpu.stat", "usage_usec").map(|us| us.saturating_mul(1000)),
            false => group.read("cpuacct.usage", ""),
        };
        used.ok_or_else(|| format!("{} does not contain the CPU time", group.at.display()))
    }

    /// How many processes the kernel killed because memory was used up.
    pub fn out_of_memory(&self) -> u64 {
        let Ok(group) = self.group(MEMORY) else { return 0 };
        let file = if group.second { "memory.events" } else { "memory.oom_control" };
        group.read(file, "oom_kill").unwrap_or(0)
    }

    /// Moves this process, which must have one thread, into all of them.
    ///
    /// # Errors
    /// A sentence that says why it is not possible.
    pub fn enter(&self) -> Result<(), String> {
        // Not `cgroup.procs` in cgroup v1, where that waits: see `enter`.
        let file = |g: &Group| g.at.join(if g.second { "cgroup.procs" } else { "tasks" });
        self.made().try_for_each(|g| write(&file(g), "0"))
    }

    /// Kills all processes in them.
    pub fn kill(&self) {
        for group in self.made() {
            if group.second && write(&group.at.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            let mut all = Vec::new();
            // Those that were found before reading failed are ended, too.
            drop(processes(&group.at, &mut all));
            all.into_iter().for_each(end);
        }
    }

    /// Removes them; returns false where processes are still running in one.
    pub fn remove(&self) -> bool {
        let gone = |g: &Group| match file::remove_directory(&g.at) {
            Err(e) => e.raw_os_error() != Some(libc::EBUSY),
            Ok(()) => true,
        };
        self.made().filter(|g| !gone(g)).count() == 0
    }
}

/// Unused groups are removed; those in use are left to the keeper process.
impl Drop for Groups {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Creates a group in this directory.
fn new_group(dir: &Path, second: bool) -> Result<Group, String> {
    let at = dir.join(format!("trine-{}", std::process::id()));
    // A group of this name was left by an earlier process that had the same ID.
    let _ = file::remove_directory(&at);
    std::fs::create_dir(&at)
        .map_err(|e: Error| format!("cannot create a control group in {} ({e})", dir.display()))?;
    Ok(Group { at, second })
}

/// Creates a cgroup v2 group with these controllers: below our own, or beside it, because a group that
/// contains processes cannot enable controllers for groups below.
fn second_version(own: &Path, controllers: &[&str]) -> Result<Group, String> {
    let offers = |dir: &&Path| {
        let given = file::read(&dir.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.iter().all(|c| *c == CPU_TIME || given.split_ascii_whitespace().any(|g| g == *c))
    };
    let mut places = [Some(own), own.parent()].into_iter().flatten().filter(offers);
    let mut why = format!("{} enables no controllers for groups below", own.display());
    let made = places.find_map(|dir| new_group(dir, true).map_err(|e| why = e).ok());
    made.ok_or(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A cgroup v2 hierarchy, as far as plain files can imitate one.
    #[test]
    fn the_second_version_gives_controllers_beside_or_below() {
        let root = std::env::temp_dir().join(format!("trine-groups-{}", std::process::id()));
        let own = root.join("slice/scope");
        fs::create_dir_all(&own).unwrap();
        fs::write(root.join("slice/cgroup.subtree_control"), "memory pids").unwrap();
        fs::write(own.join("cgroup.subtree_control"), "").unwrap();
        let group = second_version(&own, &[MEMORY, PIDS]).unwrap();
        assert_eq!(group.at.parent(), Some(&*root.join("slice")));
        let below = second_version(&own, &[CPU_TIME]).unwrap();
        assert_eq!(below.at.parent(), Some(&*own));
        assert!(second_version(&own, &[CPU]).unwrap_err().contains("no controllers"));
        let groups = Groups {
            by_controller: [(MEMORY, Ok(group.clone())), (PIDS, Ok(group.clone())), (CPU_TIME, Ok(below))]
                .into(),
            trees: Vec::new(),
        };
        for file in ["memory.max", "pids.max"] {
            fs::write(group.at.join(file), "max\n").unwrap();
        }
        groups.set_memory(4096).unwrap();
        groups.set_pids(7).unwrap();
        fs::write(own.join(group.at.file_name().unwrap()).join("cpu.stat"), "usage_usec 12\nuser_usec 3\n")
            .unwrap();
        fs::write(group.at.join("memory.events"), "low 0\noom 4\noom_kill 2\n").unwrap();
        assert_eq!(fs::read_to_string(group.at.join("memory.max")).unwrap(), "4096");
        assert_eq!(fs::read_to_string(group.at.join("pids.max")).unwrap(), "7");
        assert_eq!((groups.cpu_time(), groups.out_of_memory()), (Ok(12_000), 2));
        fs::remove_dir_all(&root).unwrap();
    }

    /// Each version has files of its own; memory and swap are counted together in the first, apart in the second.
    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let root = std::env::temp_dir().join(format!("trine-group-limits-{}", std::process::id()));
        let written = |second, before: &[&str]| {
            let at = root.join(if second { "second" } else { "first" });
            fs::create_dir_all(&at).unwrap();
            before.iter().for_each(|file| fs::write(at.join(file), "").unwrap());
            let group = Group { at: at.clone(), second };
            let by_controller = [(MEMORY, Ok(group.clone())), (CPU, Ok(group))].into();
            let groups = Groups { by_controller, trees: Vec::new() };
            groups.set_memory(1 << 20).unwrap();
            groups.set_cpus(1500).unwrap();
            before.iter().map(|file| fs::read_to_string(at.join(file)).unwrap()).collect::<Vec<_>>()
        };
        let second = written(true, &["memory.max", "memory.swap.max", "cpu.max"]);
        assert_eq!(second, ["1048576", "0", "150000 100000"]);
        let (limit, period, quota) = ("memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us");
        let first = written(false, &[limit, "memory.memsw.limit_in_bytes", period, quota]);
        assert_eq!(first, ["1048576", "1048576", "100000", "150000"]);
        // A kernel that does not count swap.
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(written(true, &["memory.max", "cpu.max"])[0], "1048576");
        assert_eq!(written(false, &[limit, period, quota])[0], "1048576");
        fs::remove_dir_all(&root).unwrap();
    }
}
