//! The group of a container, in all hierarchies of the host.

use crate::{Error, GroupPath, Host, Result, file};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a group may stay busy after its last process has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Controllers of cgroup v2 that are enabled for containers, if the host has them.
const OFFERED: [&str; 7] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"];

/// A group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Controllers of a v1 hierarchy, or `name=…` for a named one without controllers; empty for cgroup v2.
    pub controllers: Vec<String>,
    /// The mount point of the hierarchy.
    pub mount: PathBuf,
    /// The group's directory.
    pub dir: PathBuf,
    /// Why there is no group here, if this process is not allowed to create one.
    pub missing: Option<String>,
}

impl Hierarchy {
    /// Whether it is the hierarchy of cgroup v2.
    pub fn is_second(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it is a v1 hierarchy with this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }
}

/// A container's group in all hierarchies of the host. It can be stored in a state file and used by a later
/// process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    hierarchies: Vec<Hierarchy>,
}

/// A group below a container's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// The v1 controllers that it is for; empty means all hierarchies.
    pub controllers: Vec<String>,
    /// Its path, relative to the container's group.
    pub dir: PathBuf,
}

/// The group that has a controller.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    First(&'a Path),
    Second(&'a Path),
}

impl<'a> Place<'a> {
    /// The group's directory, in either version.
    pub(crate) fn dir(self) -> &'a Path {
        let (Place::First(dir) | Place::Second(dir)) = self;
        dir
    }
}

impl Manager {
    /// The group at this path on this host; nothing is created yet.
    pub fn new(path: &GroupPath) -> Manager {
        // SAFETY: only returns a number.
        Manager::on(&mut Host::read(), path, unsafe { libc::geteuid() } == 0)
    }

    /// The group at this path on a host. If root creates it, a relative path is relative to the roots of the
    /// hierarchies.
    pub fn on(host: &mut Host, path: &GroupPath, root: bool) -> Manager {
        let from_root = root || path.is_absolute();
        let trees = host.trees().to_vec();
        let hierarchy = |tree: crate::Tree| {
            let controllers = tree.controllers.clone().unwrap_or_default();
            let first = tree.controllers.as_ref().and_then(|list| list.first().map(String::as_str));
            let base = match from_root {
                true => Some(tree.at.clone()),
                false => {
                    host.own(first).map(|own| if first.is_none() { delegated(own, &tree.at) } else { own })
                }
            };
            let missing = base.is_none().then(|| "this process is not in a group of it".to_owned());
            let dir = base.as_ref().unwrap_or(&tree.at).join(path.below());
            Hierarchy { controllers, mount: tree.at, dir, missing }
        };
        // A named v1 hierarchy without a name would be taken for cgroup v2.
        let known =
            trees.into_iter().filter(|tree| tree.controllers.as_ref().is_none_or(|list| !list.is_empty()));
        Manager { hierarchies: known.map(hierarchy).collect() }
    }

    /// The group in each hierarchy.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchies in which a group could be created.
    pub(crate) fn made(&self) -> impl DoubleEndedIterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|h| h.missing.is_none())
    }

    /// The cgroup v2 group.
    pub(crate) fn second(&self) -> Option<&Hierarchy> {
        self.made().find(|h| h.is_second())
    }

    /// The v1 group that has a controller.
    pub(crate) fn first(&self, controller: &str) -> Option<&Path> {
        self.made().find(|h| h.has(controller)).map(|h| &*h.dir)
    }

    /// The same manager for existing groups below its own.
    ///
    /// # Errors
    /// A path leads out of the container's group, a controller has no hierarchy of its own, a hierarchy is
    /// named twice, or a group does not exist.
    pub fn below(&self, all: &[Below]) -> Result<Manager> {
        let refuse = |why: String| Err(Error::Refused(why));
        let mut new = self.clone();
        for Below { controllers, dir } in all {
            let shown = dir.display();
            if dir.components().any(|part| matches!(part, Component::ParentDir)) {
                return refuse(format!("control group '{shown}' is not below the container's"));
            }
            if controllers.is_empty() && all.len() > 1 {
                return refuse(format!(
                    "control group '{shown}': say for which controllers each of several groups is"
                ));
            }
            if let Some(name) = controllers.iter().find(|name| self.first(name).is_none()) {
                return refuse(format!(
                    "control group '{shown}': the container has no hierarchy with '{name}'"
                ));
            }
            let down = dir.components().filter(|part| matches!(part, Component::Normal(_)));
            let down: PathBuf = down.collect();
            for (own, new) in self.hierarchies.iter().zip(&mut new.hierarchies) {
                if own.missing.is_some()
                    || !(controllers.is_empty() || controllers.iter().any(|c| own.has(c)))
                {
                    continue;
                }
                let there = own.dir.join(&down);
                if new.dir != own.dir && new.dir != there {
                    return refuse(format!(
                        "control group '{shown}': another group in the same hierarchy is given already"
                    ));
                }
                if !there.is_dir() {
                    return refuse(format!("control group {} does not exist", there.display()));
                }
                new.dir = there;
            }
        }
        Ok(new)
    }

    /// Creates the groups. A hierarchy in which this process is not allowed to create one is recorded, and is
    /// an error only for a limit that needs it.
    ///
    /// # Errors
    /// The kernel refused for another reason than missing permissions; everything created is removed again.
    pub fn create(&mut self) -> Result<()> {
        for at in 0..self.hierarchies.len() {
            let hierarchy = &self.hierarchies[at];
            if hierarchy.missing.is_some() {
                continue;
            }
            match make(hierarchy) {
                Ok(()) => {}
                Err(error) if error.is_denied() => self.hierarchies[at].missing = Some(error.to_string()),
                Err(error) => {
                    self.hierarchies[..at].iter().for_each(|h| drop(file::remove_directory(&h.dir)));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// All processes in the group and in groups below.
    ///
    /// # Errors
    /// There is no group.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let best = ["pids", "freezer", "memory"].iter().find_map(|controller| self.first(controller));
        let dir = self.second().map(|h| &*h.dir).or(best).or_else(|| self.made().next().map(|h| &*h.dir));
        let dir = dir.ok_or_else(|| Error::Refused("the container has no control group".into()))?;
        let mut all = Vec::new();
        processes(dir, &mut all)?;
        Ok(all)
    }

    /// Removes the groups and those below. A process that has just ended may keep a group busy for a moment:
    /// this waits for it.
    ///
    /// # Errors
    /// [`Error::Busy`]: processes are still running in one.
    pub fn remove(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        self.made().rev().try_for_each(|h| remove(&h.dir, until))
    }

    /// The group that has a controller, for setting `limit`.
    pub(crate) fn place(&self, controller: &str, limit: &str) -> Result<Place<'_>> {
        if let Some(first) = self.first(controller) {
            return Ok(Place::First(first));
        }
        let second = self.second();
        if let Some(second) = second
            && controllers(&second.dir, "cgroup.controllers")
                .split_ascii_whitespace()
                .any(|c| c == controller)
        {
            return Ok(Place::Second(&second.dir));
        }
        let why = self
            .hierarchies
            .iter()
            .find(|h| h.has(controller))
            .or(self.hierarchies.iter().find(|h| h.is_second()));
        let why = why.and_then(|h| h.missing.clone()).unwrap_or_else(|| match second {
            Some(second) => format!("{} does not have it", second.dir.display()),
            None => "this host does not have it".into(),
        });
        Err(Error::Missing { limit: limit.into(), controller: controller.into(), why })
    }
}

fn controllers(dir: &Path, file: &str) -> String {
    file::read(&dir.join(file)).unwrap_or_default()
}

/// Where an ordinary user creates cgroup v2 groups: below its own group, or beside it, because a group that
/// contains processes cannot enable controllers for groups below.
fn delegated(own: PathBuf, mount: &Path) -> PathBuf {
    let offers = |dir: &Path| !controllers(dir, "cgroup.subtree_control").trim().is_empty();
    match own.parent().filter(|parent| parent.starts_with(mount)) {
        Some(parent) if !offers(&own) && offers(parent) => parent.to_owned(),
        _ => own,
    }
}

/// Creates a directory and those above it, up to the mount point; returns the first one that was new.
fn make_all<'a>(hierarchy: &Hierarchy, dir: &'a Path) -> Result<Option<&'a Path>> {
    match file::make_directory(dir) {
        Ok(new) => Ok(new.then_some(dir)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && dir != hierarchy.mount => {
            let parent = dir.parent().unwrap_or(dir);
            let first = make_all(hierarchy, parent)?;
            if let Some(new) = first.filter(|_| hierarchy.has("cpuset")) {
                inherit(&hierarchy.mount, new)?;
                // Groups below a new one inherit CPUs and memory nodes automatically.
                file::write(&new.join("cgroup.clone_children"), "1")?;
            }
            file::make_directory(dir).map_err(|e| Error::file(dir, "made", "", e))?;
            Ok(first.or(Some(dir)))
        }
        Err(e) => Err(Error::file(dir, "made", "", e)),
    }
}

fn make(hierarchy: &Hierarchy) -> Result<()> {
    make_all(hierarchy, &hierarchy.dir)?;
    match hierarchy.is_second() {
        true => offer(hierarchy),
        false if hierarchy.has("cpuset") => inherit(&hierarchy.mount, &hierarchy.dir)?,
        false => {}
    }
    Ok(())
}

/// In cgroup v1, a group without CPUs and memory nodes accepts no process, and a new group has none.
pub(crate) fn inherit(mount: &Path, dir: &Path) -> Result<()> {
    let blank = |dir: &Path, name| Ok(file::read(&dir.join(name))?.trim().is_empty());
    if dir == mount || !blank(dir, "cpuset.cpus")? {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(mount);
    inherit(mount, parent)?;
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let all = file::read(&parent.join(name))?;
        file::write(&dir.join(name), all.trim())?;
    }
    Ok(())
}

/// In cgroup v2, a group has the controllers that all groups above it enable. A controller that cannot be
/// enabled matters only to a limit that needs it.
fn offer(hierarchy: &Hierarchy) {
    let has = |text: &str, controller: &str| text.split_ascii_whitespace().any(|c| c == controller);
    let there = controllers(&hierarchy.dir, "cgroup.controllers");
    let wanted: Vec<&str> = OFFERED.into_iter().filter(|c| !has(&there, c)).collect();
    let host = controllers(&hierarchy.mount, "cgroup.controllers");
    let wanted: Vec<&str> = wanted.into_iter().filter(|c| has(&host, c)).collect();
    let Ok(below) = hierarchy.dir.strip_prefix(&hierarchy.mount) else { return };
    let mut dir = hierarchy.mount.clone();
    for step in below.components().filter(|_| !wanted.is_empty()) {
        let file = dir.join("cgroup.subtree_control");
        let given = file::read(&file).unwrap_or_default();
        for controller in wanted.iter().filter(|c| !has(&given, c)) {
            drop(file::write(&file, &format!("+{controller}")));
        }
        dir.push(step);
    }
}

/// Adds the processes of a group and of those below.
pub(crate) fn processes(dir: &Path, all: &mut Vec<i32>) -> Result<()> {
    let text = match file::read(&dir.join("cgroup.procs")) {
        // It is gone, or is a threaded group.
        Err(e) if matches!(e.number(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => String::new(),
        other => other?,
    };
    // 0 stands for a process that is not visible in this PID namespace.
    all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    file::directories(dir).iter().try_for_each(|below| processes(below, all))
}

fn remove(dir: &Path, until: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(500);
    loop {
        match file::remove_directory(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.raw_os_error() != Some(libc::EBUSY) => {
                return Err(Error::file(dir, "removed", "", e));
            }
            Err(_) => {}
        }
        let below = file::directories(dir);
        if below.is_empty() {
            if Instant::now() > until {
                return Err(Error::Busy { path: dir.to_owned(), seconds: PATIENCE.as_secs() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        below.iter().try_for_each(|below| remove(below, until))?;
    }
}
