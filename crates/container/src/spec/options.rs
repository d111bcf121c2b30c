//! Mount options: those that runc's documentation and mount(8) list; other options belong to the file system.

use crate::error::{Error, Result};
use crate::sys::Attributes;
use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME, MS_BIND,
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC,
    MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE,
    MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE,
};

/// From linux/mount.h; the C library has no name for it.
const MS_NOSYMFOLLOW: u64 = 256;

/// A word, its flag, and whether it sets or clears the flag.
const WORDS: &[(&str, u64, bool)] = &[
    ("async", MS_SYNCHRONOUS, false),
    ("atime", MS_NOATIME, false),
    ("bind", MS_BIND, true),
    ("defaults", 0, true),
    ("dev", MS_NODEV, false),
    ("diratime", MS_NODIRATIME, false),
    ("dirsync", MS_DIRSYNC, true),
    ("exec", MS_NOEXEC, false),
    ("iversion", MS_I_VERSION, true),
    ("lazytime", MS_LAZYTIME, true),
    ("loud", MS_SILENT, false),
    ("mand", MS_MANDLOCK, true),
    ("noatime", MS_NOATIME, true),
    ("nodev", MS_NODEV, true),
    ("nodiratime", MS_NODIRATIME, true),
    ("noexec", MS_NOEXEC, true),
    ("noiversion", MS_I_VERSION, false),
    ("nolazytime", MS_LAZYTIME, false),
    ("nomand", MS_MANDLOCK, false),
    ("norelatime", MS_RELATIME, false),
    ("nostrictatime", MS_STRICTATIME, false),
    ("nosuid", MS_NOSUID, true),
    ("nosymfollow", MS_NOSYMFOLLOW, true),
    ("rbind", MS_BIND | MS_REC, true),
    ("relatime", MS_RELATIME, true),
    ("remount", MS_REMOUNT, true),
    ("ro", MS_RDONLY, true),
    ("rw", MS_RDONLY, false),
    ("silent", MS_SILENT, true),
    ("strictatime", MS_STRICTATIME, true),
    ("suid", MS_NOSUID, false),
    ("symfollow", MS_NOSYMFOLLOW, false),
    ("sync", MS_SYNCHRONOUS, true),
];

const PROPAGATION: &[(&str, u64)] = &[
    ("private", MS_PRIVATE),
    ("shared", MS_SHARED),
    ("slave", MS_SLAVE),
    ("unbindable", MS_UNBINDABLE),
    ("rprivate", MS_PRIVATE | MS_REC),
    ("rshared", MS_SHARED | MS_REC),
    ("rslave", MS_SLAVE | MS_REC),
    ("runbindable", MS_UNBINDABLE | MS_REC),
];

/// The attributes of `mount_setattr(2)` for flags of `mount(2)`: to be set, and to be cleared first.
const ATTRIBUTES: &[(u64, u64, u64)] = &[
    (MS_RDONLY, MOUNT_ATTR_RDONLY, 0),
    (MS_NOSUID, MOUNT_ATTR_NOSUID, 0),
    (MS_NODEV, MOUNT_ATTR_NODEV, 0),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC, 0),
    (MS_NOATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    (MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    (MS_RELATIME, 0, MOUNT_ATTR__ATIME),
    (MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, 0),
    (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, 0),
];

/// All known words, sorted.
pub fn words() -> Vec<String> {
    let own = ["idmap", "ridmap", "tmpcopyup"].iter().map(|w| w.to_string());
    let deep = WORDS.iter().filter(|w| recursive(w.0).is_some()).map(|w| format!("r{}", w.0));
    let plain = WORDS.iter().map(|w| w.0).chain(PROPAGATION.iter().map(|w| w.0)).map(str::to_string);
    let mut all: Vec<String> = plain.chain(deep).chain(own).collect();
    all.sort();
    all
}

/// The parsed options of a mount.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// `MS_*` flags to set.
    pub set: u64,
    /// `MS_*` flags to clear.
    pub clear: u64,
    /// Propagations in order: one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, and `MS_REC`.
    pub propagation: Vec<u64>,
    /// Attributes that are also applied to all mounts below.
    pub recursive: Attributes,
    /// Whether owners are mapped (by the mount's own mappings or the container's): `Some(true)` for all
    /// mounts below, too.
    pub map_owners: Option<bool>,
    /// Whether a tmpfs starts with a copy of what it covers.
    pub copy_up: bool,
    /// Options of the file system, separated by commas.
    pub data: String,
}

/// Converts `MS_*` flags to attributes of `mount_setattr(2)`.
pub fn attributes(set: u64, clear: u64) -> Attributes {
    let mut all = Attributes::default();
    for &(flag, attribute, first) in ATTRIBUTES {
        if set & flag != 0 {
            (all.set, all.clear) = (all.set & !first | attribute, all.clear | first);
        } else if clear & flag != 0 {
            all.clear |= if first == 0 { attribute } else { first };
        }
    }
    all
}

impl MountOptions {
    /// Parses options in order: the last one of a kind counts.
    ///
    /// # Errors
    /// An option is not allowed for any file system of a container.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<MountOptions> {
        let mut all = MountOptions::default();
        for word in words {
            if word.contains(['\0', ',']) && !word.contains('=') {
                return Err(Error::refused(format!("mount option {word:?} must be exactly one option")));
            }
            if !all.known(word) {
                let comma = if all.data.is_empty() { "" } else { "," };
                all.data.extend([comma, word]);
            }
        }
        Ok(all)
    }

    fn known(&mut self, word: &str) -> bool {
        if let Some(&(_, flag, set)) = WORDS.iter().find(|w| w.0 == word) {
            self.change(flag, set);
        } else if let Some(&(_, flags)) = PROPAGATION.iter().find(|w| w.0 == word) {
            self.propagation.push(flags);
        } else if let Some(&(_, flag, set)) = word.strip_prefix('r').and_then(recursive) {
            let more = attributes(if set { flag } else { 0 }, if set { 0 } else { flag });
            self.recursive.set = self.recursive.set & !more.clear | more.set;
            self.recursive.clear = self.recursive.clear & !more.set | more.clear;
        } else {
            match word {
                "tmpcopyup" => self.copy_up = true,
                "idmap" => self.map_owners = Some(false),
                "ridmap" => self.map_owners = Some(true),
                _ => return false,
            }
        }
        true
    }

    fn change(&mut self, flag: u64, set: bool) {
        // A mount has only one policy for access times.
        const TIMES: u64 = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
        if set && flag & TIMES != 0 {
            self.set &= !TIMES;
        }
        if set {
            (self.set, self.clear) = (self.set | flag, self.clear & !flag);
        } else {
            (self.set, self.clear) = (self.set & !flag, self.clear | flag);
        }
    }

    /// Whether it is a bind mount.
    pub fn is_bind(&self) -> bool {
        self.set & MS_BIND != 0
    }
}

/// The row of a word whose recursive form has another `r` in front.
fn recursive(word: &str) -> Option<&'static (&'static str, u64, bool)> {
    let row = WORDS.iter().find(|w| w.0 == word)?;
    ATTRIBUTES.iter().any(|a| a.0 == row.1).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(text.split(',')).unwrap()
    }

    #[test]
    fn words_are_flags_and_the_rest_is_data() {
        let o = parse("nosuid,strictatime,mode=755,size=65536k");
        assert_eq!((o.set, o.clear), (MS_NOSUID | MS_STRICTATIME, 0));
        assert_eq!(o.data, "mode=755,size=65536k");
        let o = parse("rbind,rprivate,ro");
        assert!(o.is_bind() && o.set & MS_REC != 0 && o.set & MS_RDONLY != 0);
        assert_eq!(o.propagation, [MS_PRIVATE | MS_REC]);
        let o = parse("ro,rw");
        assert_eq!((o.set, o.clear), (0, MS_RDONLY));
        assert_eq!(parse("noatime,relatime").set, MS_RELATIME);
        assert_eq!(
            parse("tmpcopyup,idmap"),
            MountOptions { copy_up: true, map_owners: Some(false), ..MountOptions::default() }
        );
        assert!(MountOptions::parse(["ro,rw"]).is_err());
        assert!(MountOptions::parse(["lowerdir=/a,b"]).is_ok());
    }

    #[test]
    fn recursive_words() {
        let o = parse("rro,rnosuid,rdev");
        assert_eq!(o.recursive.set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
        assert_eq!(o.recursive.clear, MOUNT_ATTR_NODEV);
        assert_eq!(
            parse("rro,rrw").recursive,
            Attributes { clear: MOUNT_ATTR_RDONLY, ..Attributes::default() }
        );
        assert_eq!(
            parse("rnoatime").recursive,
            Attributes { set: MOUNT_ATTR_NOATIME, clear: MOUNT_ATTR__ATIME, ..Attributes::default() }
        );
        assert_eq!(parse("rsync").data, "rsync");
    }
}
