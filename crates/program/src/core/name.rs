//! The name of a core file (core(5); Linux, fs/coredump.c).

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The values of a pattern's specifiers.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Process ID.
    pub pid: i32,
    /// ID of the thread that died.
    pub tid: i32,
    /// User and group ID.
    pub owner: [u32; 2],
    /// The signal.
    pub signal: i32,
    /// Seconds since 1970.
    pub time: u64,
    /// The host name.
    pub host: Vec<u8>,
    /// The thread's name.
    pub name: Vec<u8>,
    /// The path of the executable.
    pub path: Vec<u8>,
    /// `RLIMIT_CORE`.
    pub limit: u64,
}

/// Makes a text usable as a part of a file name.
fn part(text: &[u8]) -> Vec<u8> {
    let mut part: Vec<u8> = text.iter().map(|&b| if b == b'/' { b'!' } else { b }).collect();
    if matches!(&part[..], b"." | b"..") {
        part[0] = b'!';
    }
    part
}

/// Expands `core_pattern`; `None` if it is empty. A pattern that pipes core files to a program or stores them
/// in a system directory is for the host's own programs: then the name is `core.PID`.
pub fn expand(pattern: &[u8], append_pid: bool, f: &Facts) -> Option<PathBuf> {
    let pattern = pattern.trim_ascii_end();
    let number = |n: &dyn std::fmt::Display| n.to_string().into_bytes();
    let pattern = match pattern.first()? {
        b'|' | b'/' | b'@' => b"core.%p",
        _ => pattern,
    };
    let (mut name, mut has_pid, mut bytes) = (Vec::new(), false, pattern.iter());
    while let Some(&b) = bytes.next() {
        if b != b'%' {
            name.push(b);
            continue;
        }
        let text = match bytes.next() {
            Some(b'%') => b"%".to_vec(),
            Some(b'p' | b'P') => {
                has_pid = true;
                number(&f.pid)
            }
            Some(b'i' | b'I') => number(&f.tid),
            Some(b'u') => number(&f.owner[0]),
            Some(b'g') => number(&f.owner[1]),
            Some(b'd') => number(&1),
            Some(b's') => number(&f.signal),
            Some(b't') => number(&f.time),
            Some(b'h') => part(&f.host),
            Some(b'e') => part(&f.name),
            Some(b'f') => part(f.path.rsplit(|&b| b == b'/').next().unwrap_or_default()),
            Some(b'E') => part(&f.path),
            Some(b'c') => number(&f.limit),
            // Linux ignores unknown specifiers.
            _ => Vec::new(),
        };
        name.extend(text);
    }
    if append_pid && !has_pid {
        name.extend(format!(".{}", f.pid).into_bytes());
    }
    Some(PathBuf::from(OsString::from_vec(name)))
}

/// The name according to the host's settings.
pub fn by_host(facts: &Facts) -> Option<PathBuf> {
    let setting = |name: &str| std::fs::read(format!("/proc/sys/kernel/{name}"));
    let append = setting("core_uses_pid").is_ok_and(|text| text.trim_ascii() != b"0");
    expand(&setting("core_pattern").unwrap_or(b"core".to_vec()), append, facts)
}

/// Opens the file and truncates it. An existing file is used only if it belongs to this user and has no other
/// links.
pub fn open(path: &Path) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(path).ok()?;
    let is = file.metadata().ok()?;
    // SAFETY: only returns a number.
    if !is.is_file() || is.nlink() != 1 || is.uid() != unsafe { libc::geteuid() } {
        return None;
    }
    file.set_permissions(Permissions::from_mode(0o600)).ok()?;
    file.set_len(0).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pattern: &str, append: bool) -> String {
        let f = Facts {
            pid: 7,
            tid: 8,
            owner: [1, 2],
            signal: 11,
            time: 99,
            host: b"here".to_vec(),
            name: b"a/b".to_vec(),
            path: b"/bin/c".to_vec(),
            limit: 4096,
        };
        expand(pattern.as_bytes(), append, &f).map_or("none".into(), |p| p.display().to_string())
    }

    #[test]
    fn patterns() {
        for (pattern, append, wanted) in [
            ("core\n", false, "core"),
            ("core", true, "core.7"),
            ("core.%p", true, "core.7"),
            ("%e-%p-%t-%s-%u-%g-%h-%%", false, "a!b-7-99-11-1-2-here-%"),
            ("dir/%f%E%i%c%z%", false, "dir/c!bin!c84096"),
            ("|/usr/bin/handler %p", false, "core.7"),
            ("/var/crash/core", true, "core.7"),
            ("\n", false, "none"),
        ] {
            assert_eq!(name(pattern, append), wanted, "{pattern}");
        }
        assert_eq!(part(b".."), b"!.");
    }

    #[test]
    fn only_own_files_are_replaced() {
        let dir = std::env::temp_dir().join(format!("trine-core-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory");
        let at = |name: &str| dir.join(name);
        let is_open = |name: &str| open(&at(name)).is_some();
        std::fs::write(at("old"), "old").expect("written");
        std::fs::write(at("two"), "two").expect("written");
        std::fs::hard_link(at("two"), at("names")).expect("linked");
        std::os::unix::fs::symlink(at("two"), at("link")).expect("linked");
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).expect("linked");
        let got = ["new", "old", "two", "link", "dangling", "."].map(is_open);
        let kept = std::fs::read(at("two")).expect("read");
        let old = std::fs::metadata(at("old")).expect("there");
        let made = at("nothing").exists();
        std::fs::remove_dir_all(&dir).expect("removed");
        assert_eq!((got, &kept[..], made), ([true, true, false, false, false, false], &b"two"[..], false));
        assert_eq!((old.len(), old.mode() & 0o777), (0, 0o600));
    }
}
