//! The capabilities of root (capabilities(7)). A monitor that runs as root is an ordinary process of root's afterwards: it
//! opens root's files where Landlock lets it, and nothing that permissions keep from root.

use std::io;
use std::path::Path;

/// Numbers of capabilities (include/uapi/linux/capability.h).
const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
/// There are at most so many.
const MOST: u32 = 64;

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION: u32 = 0x2008_0522;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None.
    pub const NONE: Capabilities = Capabilities(0);
    /// To read files whatever their permissions: root's reading of a shared folder.
    pub const READ: Capabilities = Capabilities(1 << DAC_READ_SEARCH);
    /// To make and change files for any user: a folder that root shares, and the guest's users change. The threads that
    /// serve it act for one of them at a time.
    pub const CHANGE_FILES: Capabilities = Capabilities(
        1 << CHOWN | 1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH | 1 << FOWNER | 1 << SETGID | 1 << SETUID,
    );

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Capabilities {
        Capabilities(bits)
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Effective, permitted and inheritable capabilities, 32 of each.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes all capabilities of the calling thread but these, and keeps it from getting others by an executable. It makes
/// system calls only, so that a signal's handler may call it.
pub(crate) fn limit(kept: Capabilities) -> io::Result<()> {
    // SAFETY: the calls change the calling thread and no memory.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        // These fail where the thread may not, or there is no such capability: then there is nothing to lose. Kernels from
        // 4.3 on have an ambient set.
        for capability in 0..MOST {
            libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0);
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    }
    let mut sets = get()?;
    for (word, set) in sets.iter_mut().enumerate() {
        let kept = (kept.0 >> (32 * word)) as u32;
        *set = Sets { effective: set.effective & kept, permitted: set.permitted & kept, inheritable: 0 };
    }
    put(&sets)
}

fn get() -> io::Result<[Sets; 2]> {
    let (mut header, mut sets) = (Header { version: VERSION, pid: 0 }, [Sets::default(); 2]);
    // SAFETY: the kernel writes these structures, which have the layout of this version.
    match unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) } {
        0 => Ok(sets),
        _ => Err(io::Error::last_os_error()),
    }
}

fn put(sets: &[Sets; 2]) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: the kernel reads these structures, which have the layout of this version.
    match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process needs [`Capabilities::READ`] to open one of these files, as root does whose files belong to
/// somebody else. A thread without capabilities tries it.
pub fn needs_read_search(paths: &[impl AsRef<Path>]) -> bool {
    let open = |path: &Path| match std::fs::File::open(path) {
        Err(e) => e.kind() != io::ErrorKind::PermissionDenied,
        Ok(_) => true,
    };
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_ref()).filter(|path| path.is_file()).collect();
    let without = || {
        let Ok(mut sets) = get() else { return false };
        sets.iter_mut().for_each(|set| set.effective = 0);
        put(&sets).is_ok() && paths.iter().all(|&path| open(path))
    };
    !std::thread::scope(|scope| scope.spawn(without).join().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_what_it_is_told() {
        let before = get().unwrap();
        let after = std::thread::spawn(|| {
            limit(Capabilities::READ).unwrap();
            get().unwrap()
        });
        let after = after.join().unwrap();
        let had = before[0].permitted & (1 << DAC_READ_SEARCH);
        assert_eq!((after[0].permitted, after[0].inheritable, after[1].permitted), (had, 0, 0));
        // The other threads keep theirs.
        assert_eq!(get().unwrap()[0].permitted, before[0].permitted);
    }

    #[test]
    fn ones_own_files_need_no_capability() {
        assert!(!needs_read_search(&[std::env::current_exe().unwrap()]));
        assert!(!needs_read_search(&["/nowhere/at/all"]));
    }
}
