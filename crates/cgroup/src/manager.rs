//! The group of a container, in all trees of the host.

use crate::{Error, GroupPath, Host, Result, file};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a group may stay busy after its last process was seen to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Controllers of the second version that containers are given, where the host has them.
const OFFERED: [&str; 7] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"];

/// A group in one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Controllers of the first version, with `name=` for a tree that has a name only; none for the second version.
    pub controllers: Vec<String>,
    /// Where the tree is mounted.
    pub mount: PathBuf,
    /// The group.
    pub dir: PathBuf,
    /// Why there is no group after all, where this process may not make one.
    pub missing: Option<String>,
}

impl Hierarchy {
    /// Whether it is of the second version.
    pub fn is_second(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it is of the first version and has a controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }
}

/// A container's group, wherever the host has trees. It can be kept in a state file and used by a later process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    hierarchies: Vec<Hierarchy>,
}

/// A group below a container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// The controllers of the first version that it is meant for; none: all trees.
    pub controllers: Vec<String>,
    /// Its path, from the container's group.
    pub dir: PathBuf,
}

/// Where a controller is.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    First(&'a Path),
    Second(&'a Path),
}

impl<'a> Place<'a> {
    /// The group, of either version.
    pub(crate) fn dir(self) -> &'a Path {
        let (Place::First(dir) | Place::Second(dir)) = self;
        dir
    }
}

impl Manager {
    /// The group at this path of this host; nothing is made yet.
    pub fn new(path: &GroupPath) -> Manager {
        // SAFETY: only returns a number.
        Manager::on(&mut Host::read(), path, unsafe { libc::geteuid() } == 0)
    }

    /// The group at this path of a host. A relative path is meant from the trees' roots where `root` makes it.
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
            let missing = base.is_none().then(|| "this process is in no group of it".to_owned());
            let dir = base.as_ref().unwrap_or(&tree.at).join(path.below());
            Hierarchy { controllers, mount: tree.at, dir, missing }
        };
        // A tree of the first version without a controller or a name cannot be told from the second version.
        let known =
            trees.into_iter().filter(|tree| tree.controllers.as_ref().is_none_or(|list| !list.is_empty()));
        Manager { hierarchies: known.map(hierarchy).collect() }
    }

    /// The group in each tree.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// Those that could be made.
    pub(crate) fn made(&self) -> impl DoubleEndedIterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|h| h.missing.is_none())
    }

    /// The group of the second version.
    pub(crate) fn second(&self) -> Option<&Hierarchy> {
        self.made().find(|h| h.is_second())
    }

    /// The group of the first version that has a controller.
    pub(crate) fn first(&self, controller: &str) -> Option<&Path> {
        self.made().find(|h| h.has(controller)).map(|h| &*h.dir)
    }

    /// The same with groups below its own, which have to be there.
    ///
    /// # Errors
    /// A path that leads out; a controller that has no tree of its own; a tree named twice; a group that is not there.
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
                    "control group '{shown}': which of several goes for which controller?"
                ));
            }
            if let Some(name) = controllers.iter().find(|name| self.first(name).is_none()) {
                return refuse(format!("control group '{shown}': the container has no tree with '{name}'"));
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
                    return refuse(format!("control group '{shown}': its tree has another one already"));
                }
                if !there.is_dir() {
                    return refuse(format!("control group {} is not there", there.display()));
                }
                new.dir = there;
            }
        }
        Ok(new)
    }

    /// Makes the groups. Where this process may not make one, that is remembered, and is an error only for a limit that
    /// needs it.
    ///
    /// # Errors
    /// What the kernel says but for a lack of rights; then what was made is removed again.
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

    /// Removes the groups and those below. What has just ended may keep one busy for a moment: this waits for it.
    ///
    /// # Errors
    /// [`Error::Busy`]: something still runs in one.
    pub fn remove(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        self.made().rev().try_for_each(|h| remove(&h.dir, until))
    }

    /// Where a controller is.
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

/// Where an ordinary user makes groups of the second version: below its own, or beside it, as a group with processes in it
/// gives no controllers to groups below.
fn delegated(own: PathBuf, mount: &Path) -> PathBuf {
    let offers = |dir: &Path| !controllers(dir, "cgroup.subtree_control").trim().is_empty();
    match own.parent().filter(|parent| parent.starts_with(mount)) {
        Some(parent) if !offers(&own) && offers(parent) => parent.to_owned(),
        _ => own,
    }
}

/// Makes a directory and those above it, up to the mount; gives the first that was new.
fn make_all<'a>(hierarchy: &Hierarchy, dir: &'a Path) -> Result<Option<&'a Path>> {
    match file::make_directory(dir) {
        Ok(new) => Ok(new.then_some(dir)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && dir != hierarchy.mount => {
            let parent = dir.parent().unwrap_or(dir);
            let first = make_all(hierarchy, parent)?;
            if let Some(new) = first.filter(|_| hierarchy.has("cpuset")) {
                inherit(&hierarchy.mount, new)?;
                // Groups below a new one get CPUs and memory nodes by themselves.
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

/// In the first version, a group without CPUs and memory nodes takes no process, and a new one has none.
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

/// In the second version, groups have the controllers that all above them give. What cannot be given is missed only by a
/// limit that needs it.
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
        // Gone, or a group of threads.
        Err(e) if matches!(e.number(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => String::new(),
        other => other?,
    };
    // 0 is a process that this PID namespace does not see.
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
