//! What root could undo, and a place where processes of an ordinary user are counted.

use std::fs;
use std::io::Error;

/// Whether this process is the superuser of the host: then some limits do not hold.
pub(super) fn is_root() -> bool {
    // SAFETY: only returns a number.
    unsafe { libc::getuid() == 0 || libc::geteuid() == 0 }
}

/// Capabilities with which a process could lift limits, reach other processes or get around the file system's paths
/// (include/uapi/linux/capability.h): `DAC_READ_SEARCH`, `SYS_MODULE`, `SYS_RAWIO`, `SYS_PTRACE`, `SYS_ADMIN`,
/// `SYS_BOOT`, `SYS_RESOURCE`, `MKNOD`, `MAC_OVERRIDE`, `MAC_ADMIN`, `PERFMON`, `BPF`, `CHECKPOINT_RESTORE`.
const DROPPED: [u32; 13] = [2, 16, 17, 19, 21, 22, 24, 27, 32, 33, 38, 39, 40];

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// Gives capabilities up, those of [`DROPPED`] or `all`, for this process and what it starts.
pub(super) fn drop_for_good(all: bool) -> Result<(), String> {
    let failed = || format!("capabilities cannot be given up: {}", Error::last_os_error());
    let header = [VERSION, 0];
    // Low words of effective, permitted, inheritable; then the high ones.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: structures of ours, as the call has them.
    if unsafe { libc::syscall(libc::SYS_capget, &header, &mut sets) } != 0 {
        return Err(failed());
    }
    for bit in DROPPED {
        let mask = !(1 << (bit % 32));
        sets[bit as usize / 32].iter_mut().for_each(|set| *set &= mask);
        // Fails where the process has no right to: then it cannot gain it again, either.
        // SAFETY: changes the bounding set only.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, bit, 0, 0, 0) };
    }
    if all {
        sets = [[0; 3]; 2];
    }
    // SAFETY: structures of ours; changes the effective, permitted and inheritable sets.
    if unsafe { libc::syscall(libc::SYS_capset, &header, &sets) } != 0 {
        return Err(failed());
    }
    // SAFETY: clears the ambient set, and says that executables give no privileges.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(failed());
        }
    }
    Ok(())
}

/// Moves this process into a user namespace of its own, in which its user and group have the numbers they had: since
/// Linux 5.14 `RLIMIT_NPROC` counts there only what runs in it.
pub(super) fn own_user_namespace() -> Result<(), String> {
    // SAFETY: these only return numbers.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: changes only what this process, of one thread, is.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
        return Err(format!("the host does not allow one ({})", Error::last_os_error()));
    }
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|e| format!("/proc/self/{file}: {e}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{user} {user} 1"))?;
    write("gid_map", format!("{group} {group} 1"))
}
