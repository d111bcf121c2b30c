//! Control groups that root gives to the ordinary user, as systemd's `Delegate=yes` does.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use trine_test_support::{NOBODY, text};

/// Their mount point on hosts.
const TOP: &str = "/sys/fs/cgroup";

/// One group for each hierarchy, each with one below it, which contains the user's processes.
pub struct Delegated {
    groups: Vec<PathBuf>,
}

fn is_group(dir: &Path) -> bool {
    dir.join("cgroup.procs").is_file()
}

fn give(dir: &Path) -> Result<(), String> {
    let files = fs::read_dir(dir).map_err(text)?.flatten().map(|e| e.path()).filter(|p| p.is_file());
    files.chain([dir.into()]).try_for_each(|p| chown(p, Some(NOBODY), Some(NOBODY)).map_err(text))
}

impl Delegated {
    /// Makes them.
    pub fn new() -> Result<Delegated, String> {
        let top = Path::new(TOP);
        let hierarchies: Vec<PathBuf> = match is_group(top) {
            true => vec![top.into()],
            false => {
                let entries = fs::read_dir(top)
                    .map_err(text)?
                    .flatten()
                    .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
                entries.map(|e| e.path()).filter(|p| is_group(p)).collect()
            }
        };
        let name = format!("trine-test-{}", std::process::id());
        let made = Delegated { groups: hierarchies.iter().map(|h| h.join(&name)).collect() };
        for (group, above) in made.groups.iter().zip(&hierarchies) {
            fs::create_dir(group).map_err(text)?;
            fs::create_dir(group.join("own")).map_err(text)?;
            for (dir, above) in [(group.clone(), above.clone()), (group.join("own"), group.clone())] {
                // Settings that a new group for CPUs does not inherit in cgroup v1.
                for file in ["cpuset.cpus", "cpuset.mems"].map(|f| (above.join(f), dir.join(f))) {
                    if let Ok(value) = fs::read(file.0) {
                        drop(fs::write(file.1, value));
                    }
                }
                // The controllers of cgroup v2, as many as there are.
                let all = fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
                all.split_whitespace()
                    .for_each(|c| drop(fs::write(above.join("cgroup.subtree_control"), format!("+{c}"))));
                give(&dir)?;
            }
        }
        Ok(made)
    }

    /// A shell's line that moves it in.
    pub fn enter(&self) -> String {
        let lines = self.groups.iter().map(|g| format!("echo $$ > {}/own/cgroup.procs", g.display()));
        lines.chain(["true".into()]).collect::<Vec<_>>().join(" && ")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        self.groups.iter().for_each(|group| remove(group));
    }
}

/// Removes a group and those below, including the containers' common one.
fn remove(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).for_each(|e| remove(&e.path()));
    drop(fs::remove_dir(group));
}
