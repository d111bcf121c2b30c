//! The records of groups and members, below one directory (here `networks/`):
//!
//! ```text
//! networks/lock                          held while anything here is read or changed
//! networks/GROUP/group.json              what the group has
//! networks/GROUP/held                    shared by the processes of all members, where the group has a holder
//! networks/GROUP/way-out.log             what the program says by which an ordinary user's packets get out
//! networks/GROUP/members/GUEST/member.json
//! networks/GROUP/members/GUEST/alive     locked by the process that watches over the guest, as long as it runs
//! networks/GROUP/members/GUEST/{hosts,resolv.conf,hostname}   where the guest has no other place for them
//! ```
//!
//! The kernel releases a lock of flock(2) when its process ends, however it ends; a process ID could be
//! reused, a lock cannot.

use crate::Result;
use crate::error::{Doing, Error};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_base::file_lock;
use trine_base::process_stat::ProcessIdentity;
use trine_base::replace_file::{self, Durability};

/// The record of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub name: String,
    pub bridge: String,
    pub v4: Ipv4Addr,
    pub v6: Option<Ipv6Addr>,
    /// Remarks for members that join.
    pub notes: Vec<String>,
    /// Whether IPv6 packets are routed to the outside as well.
    pub out6: bool,
    /// Whether packets are routed to the outside at all.
    pub out4: bool,
    /// A name server that the uplink provides.
    pub resolver: Option<Ipv4Addr>,
    /// The MTU in bytes; `None` means the kernel's default.
    pub mtu: Option<u32>,
    /// Inode number of the network namespace with the bridge, if that is not a holder's.
    pub namespace: u64,
    /// Processes that keep the group's namespace; empty if it is the host's.
    pub holders: Vec<ProcessIdentity>,
}

/// The record of a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    pub guest: String,
    pub name: String,
    pub aliases: Vec<String>,
    /// Its host number in both subnets.
    pub number: u8,
    /// The end of its pair that is on the bridge.
    pub link: String,
    /// Additional lines for `/etc/hosts`.
    pub hosts: Vec<(String, std::net::IpAddr)>,
    /// The directory of its three files.
    pub files: PathBuf,
    /// Whether it has no IPv6 address, as machines.
    #[serde(default)]
    pub only4: bool,
}

/// The directory of records, locked.
pub(crate) struct Records {
    dir: PathBuf,
    _lock: File,
}

fn create(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).file(path)
}

/// Locks a file; `None` where another process has the lock and `wait` is false.
fn lock(path: &Path, wait: bool) -> Result<Option<File>> {
    file_lock::take(path, if wait { Duration::MAX } else { Duration::ZERO }).file(path)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(value).map_err(std::io::Error::from).file(path)?;
    replace_file::replace(path, &bytes, 0o600, Durability::Volatile).file(path)
}

/// Names of a directory's entries that could be ours, sorted; none where there is no directory.
fn entries(dir: &Path) -> Vec<String> {
    let all = fs::read_dir(dir).into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = all.filter(|n| crate::names::guest(n).is_ok()).collect();
    names.sort();
    names
}

impl Records {
    /// Opens the records; waits until no other process uses them.
    pub fn open(dir: &Path) -> Result<Records> {
        create(dir)?;
        let path = dir.join("lock");
        let lock = lock(&path, true)?.ok_or_else(|| Error::Full(format!("{} is locked", path.display())))?;
        Ok(Records { dir: dir.into(), _lock: lock })
    }

    /// The directory of a group.
    pub fn group_dir(&self, group: &str) -> PathBuf {
        self.dir.join(group)
    }

    /// The lock that a group's holder waits for.
    pub fn held(&self, group: &str) -> PathBuf {
        self.group_dir(group).join("held")
    }

    /// The directory of a member.
    pub fn member_dir(&self, group: &str, guest: &str) -> PathBuf {
        self.group_dir(group).join("members").join(guest)
    }

    /// Names of all groups, including incomplete ones.
    pub fn groups(&self) -> Vec<String> {
        let mut all = entries(&self.dir);
        all.retain(|n| self.dir.join(n).is_dir());
        all
    }

    /// The record of a group; `None` where it has no complete one.
    pub fn group(&self, name: &str) -> Option<Group> {
        read(&self.group_dir(name).join("group.json"))
    }

    /// Records a group.
    pub fn set_group(&self, group: &Group) -> Result<()> {
        create(&self.group_dir(&group.name))?;
        write(&self.group_dir(&group.name).join("group.json"), group)
    }

    /// Names of a group's members, including incomplete ones.
    pub fn guests(&self, group: &str) -> Vec<String> {
        entries(&self.group_dir(group).join("members"))
    }

    /// Complete records of the members of a group.
    pub fn members(&self, group: &str) -> Vec<Member> {
        let read = |guest: &String| read(&self.member_dir(group, guest).join("member.json"));
        self.guests(group).iter().filter_map(read).collect()
    }

    /// The group of a guest.
    pub fn group_of(&self, guest: &str) -> Option<String> {
        self.groups().into_iter().find(|g| self.member_dir(g, guest).is_dir())
    }

    /// Records a member, and takes the lock that says that it lives.
    pub fn set_member(&self, group: &str, member: &Member) -> Result<File> {
        let dir = self.member_dir(group, &member.guest);
        create(&dir)?;
        let alive = lock(&dir.join("alive"), false)?.ok_or_else(|| Error::Member(member.guest.clone()))?;
        write(&dir.join("member.json"), member)?;
        Ok(alive)
    }

    /// Whether the monitor of a member is running.
    pub fn alive(&self, group: &str, guest: &str) -> Result<bool> {
        Ok(lock(&self.member_dir(group, guest).join("alive"), false)?.is_none())
    }

    /// Removes the record of a member.
    pub fn forget_member(&self, group: &str, guest: &str) -> Result<()> {
        remove(&self.member_dir(group, guest))
    }

    /// Removes the record of a group.
    pub fn forget_group(&self, group: &str) -> Result<()> {
        remove(&self.group_dir(group))
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.file(dir),
    }
}
