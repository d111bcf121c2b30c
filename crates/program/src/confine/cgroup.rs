//! Control groups (cgroups(7)): processes that are counted together. Both versions: in the first, each controller has a
//! tree of its own; in the second all share one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Error;
use std::path::{Path, PathBuf};

/// Controllers.
pub(super) const MEMORY: &str = "memory";
/// Number of processes and threads.
pub(super) const PIDS: &str = "pids";
/// Share of CPUs.
pub(super) const CPU: &str = "cpu";
/// CPU time used; in the second version every group knows it.
pub(super) const CPU_TIME: &str = "cpuacct";

/// Microseconds in which a share of CPUs is counted.
const PERIOD: u64 = 100_000;

/// A mounted tree of groups.
#[derive(Debug, PartialEq)]
struct Tree {
    /// Where it is mounted.
    at: PathBuf,
    /// Which of its groups is there.
    root: PathBuf,
    /// Its controllers in the first version; `None` for the second.
    controllers: Option<Vec<String>>,
}

/// The trees in a text as `/proc/self/mountinfo` is.
fn trees(mountinfo: &str) -> Vec<Tree> {
    let tree = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, at) = (left.next()?.into(), left.next()?.into());
        let mut right = right.split(' ');
        let controllers = match right.next()? {
            "cgroup2" => None,
            "cgroup" => Some(right.nth(1)?.split(',').map(str::to_owned).collect()),
            _ => return None,
        };
        Some(Tree { at, root, controllers })
    };
    mountinfo.lines().filter_map(tree).collect()
}

/// The directory of the group that a text as `/proc/self/cgroup` names for a controller; `None` names the second
/// version's.
fn own_directory(trees: &[Tree], own: &str, controller: Option<&str>) -> Option<PathBuf> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, Path::new(parts.next()?));
        let named = |list: &[String]| controller.is_some_and(|c| list.iter().any(|n| n == c));
        let fits = match controller {
            None => names.is_empty(),
            Some(c) => names.split(',').any(|n| n == c),
        };
        let tree = trees.iter().find(|t| match &t.controllers {
            None => controller.is_none(),
            Some(list) => named(list),
        });
        let tree = tree.filter(|_| fits)?;
        Some(tree.at.join(path.strip_prefix(&tree.root).ok()?))
    })
}

/// A group of ours.
#[derive(Clone, Debug)]
struct Group {
    at: PathBuf,
    second: bool,
}

impl Group {
    fn set(&self, file: &str, value: u64) -> Result<(), String> {
        write(&self.at.join(file), &value.to_string())
    }

    fn has(&self, file: &str) -> bool {
        self.at.join(file).exists()
    }

    fn read(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.at.join(file)).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        line.trim().parse().ok()
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{} cannot be written ({e})", path.display()))
}

/// Groups made for one program: for each controller the group, or why there is none.
pub(super) struct Groups {
    by_controller: BTreeMap<&'static str, Result<Group, String>>,
    trees: Vec<PathBuf>,
}

impl Groups {
    /// Makes groups with these controllers, below those that this process is in.
    pub(super) fn make(controllers: &[&'static str]) -> Groups {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let trees = trees(&text("/proc/self/mountinfo"));
        let own = text("/proc/self/cgroup");
        let mut groups =
            Groups { by_controller: BTreeMap::new(), trees: trees.iter().map(|t| t.at.clone()).collect() };
        let mut second = Vec::new();
        for &controller in controllers {
            match own_directory(&trees, &own, Some(controller)) {
                Some(dir) => drop(groups.by_controller.insert(controller, new_group(&dir, false))),
                None => second.push(controller),
            }
        }
        if !second.is_empty() {
            let made = match own_directory(&trees, &own, None) {
                Some(dir) => second_version(&dir, &second),
                None => Err("this host has no control groups".into()),
            };
            groups.by_controller.extend(second.into_iter().map(|c| (c, made.clone())));
        }
        groups
    }

    /// Whether no group was made.
    pub(super) fn is_empty(&self) -> bool {
        self.made().next().is_none()
    }

    /// Directories that a program in these groups must not write to.
    pub(super) fn guarded(&self) -> Vec<PathBuf> {
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

    /// Limits memory, swapped or not, to so many bytes.
    pub(super) fn set_memory(&self, bytes: u64) -> Result<(), String> {
        let group = self.group(MEMORY)?;
        if group.second {
            if group.has("memory.swap.max") {
                group.set("memory.swap.max", 0)?;
            }
            return group.set("memory.max", bytes);
        }
        group.set("memory.limit_in_bytes", bytes)?;
        match group.has("memory.memsw.limit_in_bytes") {
            true => group.set("memory.memsw.limit_in_bytes", bytes),
            false => Ok(()),
        }
    }

    /// Limits processes and threads.
    pub(super) fn set_pids(&self, most: u64) -> Result<(), String> {
        self.group(PIDS)?.set("pids.max", most)
    }

    /// Limits the share of CPUs, in thousandths of one.
    pub(super) fn set_cpus(&self, milli: u64) -> Result<(), String> {
        let group = self.group(CPU)?;
        let quota = milli * PERIOD / 1000;
        if group.second {
            return write(&group.at.join("cpu.max"), &format!("{quota} {PERIOD}"));
        }
        group.set("cpu.cfs_period_us", PERIOD)?;
        group.set("cpu.cfs_quota_us", quota)
    }

    /// Nanoseconds of CPU time used together.
    pub(super) fn cpu_time(&self) -> Result<u64, String> {
        let group = self.group(CPU_TIME)?;
        let used = match group.second {
            true => group.read("cpu.stat", "usage_usec ").map(|us| us.saturating_mul(1000)),
            false => group.read("cpuacct.usage", ""),
        };
        used.ok_or_else(|| format!("{} does not tell CPU time", group.at.display()))
    }

    /// How many processes the kernel ended because memory was used up.
    pub(super) fn out_of_memory(&self) -> u64 {
        let Ok(group) = self.group(MEMORY) else { return 0 };
        let file = if group.second { "memory.events" } else { "memory.oom_control" };
        group.read(file, "oom_kill ").unwrap_or(0)
    }

    /// This process is in all of them from now on.
    pub(super) fn enter(&self) -> Result<(), String> {
        self.made().try_for_each(|g| write(&g.at.join("cgroup.procs"), "0"))
    }

    /// Ends all processes in them.
    pub(super) fn kill(&self) {
        for group in self.made() {
            if group.second && write(&group.at.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            let procs = fs::read_to_string(group.at.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|p| *p > 0) {
                // SAFETY: sends a signal to a process of the program.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }

    /// Removes them; false where something still runs in one.
    pub(super) fn remove(&self) -> bool {
        let gone = |g: &Group| match fs::remove_dir(&g.at) {
            Err(e) => e.raw_os_error() != Some(libc::EBUSY),
            Ok(()) => true,
        };
        self.made().filter(|g| !gone(g)).count() == 0
    }
}

/// Groups that nothing was started in go again; those in use stay for the keeper.
impl Drop for Groups {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes a group in this directory.
fn new_group(dir: &Path, second: bool) -> Result<Group, String> {
    let at = dir.join(format!("trine-{}", std::process::id()));
    // One of this name was left behind by an earlier process of this number.
    let _ = fs::remove_dir(&at);
    fs::create_dir(&at)
        .map_err(|e: Error| format!("no control group may be made in {} ({e})", dir.display()))?;
    Ok(Group { at, second })
}

/// A group with these controllers in the second version's tree: below our own, or beside it, as a group with processes
/// in it gives no controllers to groups below.
fn second_version(own: &Path, controllers: &[&str]) -> Result<Group, String> {
    let offers = |dir: &&Path| {
        let given = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.iter().all(|c| *c == CPU_TIME || given.split_ascii_whitespace().any(|g| g == *c))
    };
    let mut places = [Some(own), own.parent()].into_iter().flatten().filter(offers);
    let mut why = format!("{} has no controllers for groups below", own.display());
    let made = places.find_map(|dir| new_group(dir, true).map_err(|e| why = e).ok());
    made.ok_or(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 0:22 / /proc rw,relatime - proc proc rw
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 /box /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
";
    const OWN: &str = "4:memory:/api/one\n3:cpu,cpuacct:/\n0::/box/two:three\n";

    #[test]
    fn where_groups_are() {
        let trees = trees(MOUNTS);
        assert_eq!(trees.len(), 3);
        let dir = |c| own_directory(&trees, OWN, c).map(|p| p.display().to_string());
        assert_eq!(dir(Some(MEMORY)).as_deref(), Some("/sys/fs/cgroup/memory/api/one"));
        assert_eq!(dir(Some(CPU_TIME)).as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/"));
        assert_eq!(dir(None).as_deref(), Some("/sys/fs/cgroup/unified/two:three"));
        assert_eq!(dir(Some(PIDS)), None);
    }

    /// A tree of the second version, as far as files can play one.
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
}
