//! The state of a container between two commands: `<root>/<id>/state.json`, beside its configuration.

use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use trine_base::process_stat::ProcessStat;
use trine_base::replace_file::{self, Durability};
use trine_cgroup::Manager;

/// Version of the runtime specification.
pub const VERSION: &str = "1.2.0";

/// File names in a container's directory.
const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
/// The socket on which the process inside waits until it is started.
pub const START: &str = "start";

/// The container's state, as hooks and the command `state` receive it (runtime-spec, "State").
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// Version of the specification.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// `creating`, `created`, `running`, `paused` or `stopped`.
    pub status: Status,
    /// Process ID of its first process on the host; 0 once it has ended.
    #[serde(default)]
    pub pid: i32,
    /// The directory of its bundle.
    pub bundle: PathBuf,
    /// The annotations of its configuration.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
}

/// The status of a container.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being created.
    Creating,
    /// It waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let word = match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        };
        // Tables pad it to a width.
        f.pad(word)
    }
}

/// The record of a container.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its state; the status is that at the time of writing.
    #[serde(flatten)]
    pub state: ContainerState,
    /// When its first process started, in ticks since the host booted (proc_pid_stat(5), field 22): a process
    /// ID that is reused belongs to another process.
    pub started: u64,
    /// Its root directory.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339).
    pub created: String,
    /// User ID of its creator.
    pub owner: u32,
    /// Its control groups.
    pub groups: Option<Manager>,
    /// Whether its processes keep the session keyrings of their callers.
    #[serde(default)]
    pub callers_keys: bool,
}

/// Checks the name of a container: it must be a file name, and one that containerd and Podman use.
///
/// # Errors
/// The name is not valid.
pub fn valid(id: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(letter) {
        return Err(Error::refused(format!(
            "invalid container ID format: {id:?} must consist of letters, digits and _ + - . and must not begin with a dot"
        )));
    }
    Ok(())
}

/// Whether a process is exiting and executes nothing any more.
pub fn is_exiting(pid: i32) -> bool {
    /// `PF_EXITING` (linux/sched.h).
    const EXITING: u64 = 4;
    let flags = ProcessStat::of(pid).and_then(|stat| stat.number::<u64>(9));
    flags.is_some_and(|flags| flags & EXITING != 0)
}

/// A container's directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    id: String,
}

impl Directory {
    /// Creates the directory of a container.
    ///
    /// # Errors
    /// The name is taken or not valid.
    pub fn make(root: &Path, id: &str) -> Result<Directory> {
        valid(id)?;
        let directory = Directory { path: root.join(id), id: id.into() };
        let make = |path: &Path| fs::DirBuilder::new().mode(0o711).create(path);
        let made = match make(&directory.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let above = fs::DirBuilder::new().mode(0o711).recursive(true).create(root);
                above.and_then(|()| make(&directory.path))
            }
            other => other,
        };
        match made {
            Ok(()) => Ok(directory),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(id.into())),
            Err(e) => Err(e).with(|| format!("cannot make {}", directory.path.display())),
        }
    }

    /// The directory of an existing container.
    ///
    /// # Errors
    /// There is none.
    pub fn find(root: &Path, id: &str) -> Result<Directory> {
        valid(id)?;
        let path = root.join(id);
        if path.is_dir() { Ok(Directory { path, id: id.into() }) } else { Err(Error::Missing(id.into())) }
    }

    /// The container's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, config: &[u8]) -> Result<()> {
        self.write(CONFIG, config)
    }

    /// Writes the record atomically: readers see the old or the new one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(Error::refused)?;
        self.write(RECORD, &text)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let written = replace_file::replace(&path, bytes, 0o600, Durability::Volatile);
        written.with(|| format!("cannot write {}", path.display()))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        match fs::read(self.path.join(name)) {
            // Another command has just deleted it, or a command was killed while creating it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Missing(self.id.clone())),
            other => other.with(|| format!("cannot read {}", self.path.join(name).display())),
        }
    }

    /// Reads the record.
    ///
    /// # Errors
    /// It does not exist or is not valid.
    pub fn load(&self) -> Result<Record> {
        let broken = |e| Error::refused(format!("{}: {e}", self.path.join(RECORD).display()));
        serde_json::from_slice(&self.read(RECORD)?).map_err(broken)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn config(&self) -> Result<oci_spec::runtime::Spec> {
        let broken = |e| Error::refused(format!("{}: {e}", self.path.join(CONFIG).display()));
        serde_json::from_slice(&self.read(CONFIG)?).map_err(broken)
    }

    /// Removes the directory. Its contents are known, so it need not be listed.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn remove(&self) -> Result<()> {
        for name in [START, CONFIG, RECORD] {
            drop(fs::remove_file(self.path.join(name)));
        }
        match fs::remove_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(&self.path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
        .with(|| format!("cannot remove {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;
    use trine_base::rfc3339;

    #[test]
    fn names_are_those_of_files() {
        for good in ["a", "a.b-c_d+e", "3f"] {
            assert!(valid(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\0", "ä", &"a".repeat(256)] {
            assert!(valid(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let root = std::env::temp_dir().join(format!("trine-state-{}", std::process::id()));
        let directory = Directory::make(&root, "c").unwrap();
        assert!(matches!(Directory::make(&root, "c"), Err(Error::Exists(_))));
        let state = ContainerState {
            oci_version: VERSION.into(),
            id: "c".into(),
            status: Status::Created,
            pid: 7,
            bundle: "/b".into(),
            annotations: HashMap::from([("a".into(), "b".into())]),
        };
        let record = Record {
            state,
            started: 1,
            rootfs: "/r".into(),
            created: rfc3339::nanoseconds(UNIX_EPOCH),
            owner: 0,
            groups: None,
            callers_keys: false,
        };
        directory.save(&record).unwrap();
        assert_eq!(Directory::find(&root, "c").unwrap().load().unwrap(), record);
        directory.remove().unwrap();
        assert!(matches!(Directory::find(&root, "c"), Err(Error::Missing(_))));
        fs::remove_dir_all(root).unwrap();
    }
}
