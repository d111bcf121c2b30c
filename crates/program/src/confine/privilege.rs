//! Dropping privileges with which root could undo the confinement, and a user namespace in which an ordinary
//! user's processes are counted.

use super::Deny;
use std::fs;
use std::io::Error;

/// Whether this process is the superuser of the host, for whom some limits have no effect.
pub(super) fn is_root() -> bool {
    // SAFETY: only returns a number.
    unsafe { libc::getuid() == 0 || libc::geteuid() == 0 }
}

/// Whether a capability is useless to a program with these restrictions.
type Useless = fn(Deny) -> bool;

/// Capabilities (include/uapi/linux/capability.h) that are useful inside, each with the restrictions that
/// make it useless. All others, including those of newer kernels, reach outside, lift limits or bypass file
/// system permissions.
const OF_USE: &[(u32, Useless)] = &[
    (0, |d| d.write),           // CHOWN
    (1, |d| d.write && d.read), // DAC_OVERRIDE
    (3, |d| d.write),           // FOWNER
    (4, |d| d.write),           // FSETID
    (5, |d| d.fork),            // KILL
    (6, |_| false),             // SETGID
    (7, |_| false),             // SETUID
    (8, |_| false),             // SETPCAP
    (10, |d| d.net),            // NET_BIND_SERVICE
    (18, |_| false),            // SYS_CHROOT
    (31, |d| d.write),          // SETFCAP
];

/// The most capabilities that a set can have.
const MOST: u32 = 64;

/// The capabilities that are kept, as bits.
fn kept(deny: Deny) -> u64 {
    OF_USE.iter().filter(|(_, useless)| !useless(deny)).fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// Drops capabilities for this process and everything it starts: those that are not useful inside, or `all`.
pub(super) fn drop_for_good(deny: Deny, all: bool) -> Result<(), String> {
    let failed = || format!("cannot drop capabilities: {}", Error::last_os_error());
    let header = [VERSION, 0];
    // The low words of effective, permitted and inheritable, then the high ones.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: structures of ours, as the call has them.
    if unsafe { libc::syscall(libc::SYS_capget, &header, &mut sets) } != 0 {
        return Err(failed());
    }
    let kept = if all { 0 } else { kept(deny) };
    for (word, set) in sets.iter_mut().enumerate() {
        set.iter_mut().for_each(|set| *set &= (kept >> (32 * word)) as u32);
    }
    for bit in (0..MOST).filter(|bit| kept >> bit & 1 == 0) {
        // This fails where the process is not allowed to (then it cannot gain the capability either), or
        // where it does not exist.
        // SAFETY: changes the bounding set only.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, bit, 0, 0, 0) };
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

/// Moves this process into a new user namespace in which its user and group keep their IDs: since Linux 5.14,
/// `RLIMIT_NPROC` counts only the processes in it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use trine_linux::abi::every_call;
    use trine_linux::table::Reach;

    #[test]
    fn nothing_that_reaches_outside_is_kept() {
        let names = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_NICE", "SYS_TIME", "SYSLOG", "BLOCK_SUSPEND"];
        for (name, bit) in names.into_iter().zip([12, 13, 21, 23, 25, 34, 36]) {
            assert_eq!(kept(Deny::default()) >> bit & 1, 0, "{name}");
        }
        // SETGID, SETUID, SETPCAP, SYS_CHROOT.
        assert_eq!(kept("all".parse().unwrap()), 1 << 6 | 1 << 7 | 1 << 8 | 1 << 18);
    }

    /// The only calls of the table that need just a capability are those of SYS_TIME.
    #[test]
    fn privileged_calls_set_the_clock() {
        let calls = every_call().filter(|c| c.reach.contains(&Reach::Privileged)).map(|c| c.name);
        assert_eq!(calls.collect::<Vec<_>>(), ["adjtimex", "clock_adjtime"]);
    }
}
