//! Capabilities (capabilities(7)): `process.capabilities` of the runtime specification, by system calls alone.
//!
//! The order for a process that becomes a container's: [`Sets::before_ids`] while it still has `CAP_SETPCAP`,
//! then its groups and IDs, then [`Sets::after_ids`]. Neither function allocates.

use oci_spec::runtime::{Capability, LinuxCapabilities};
use std::collections::HashSet;
use std::io;

/// All capabilities by number (include/uapi/linux/capability.h).
pub const NUMBERS: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// The kernel's number of a capability, 0 to 40.
pub fn number(capability: Capability) -> u32 {
    NUMBERS.iter().position(|known| *known == capability).map_or(63, |at| at as u32)
}

/// All capabilities.
pub fn every() -> HashSet<Capability> {
    NUMBERS.into()
}

/// The default capabilities of a container's root, as Docker's: enough to set up an ordinary distribution's
/// files, users and servers, but nothing that affects the host.
pub fn default_set() -> HashSet<Capability> {
    HashSet::from([
        Capability::AuditWrite,
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Kill,
        Capability::Mknod,
        Capability::NetBindService,
        Capability::NetRaw,
        Capability::Setfcap,
        Capability::Setgid,
        Capability::Setpcap,
        Capability::Setuid,
        Capability::SysChroot,
    ])
}

/// The five capability sets of a thread, one bit per capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// The upper bound of what `execve` can gain.
    pub bounding: u64,
    /// The capabilities that are checked.
    pub effective: u64,
    /// The capabilities that may be made effective.
    pub permitted: u64,
    /// The capabilities that an executable with file capabilities may keep.
    pub inheritable: u64,
    /// The capabilities that survive the `execve` of an ordinary executable.
    pub ambient: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

fn bits(list: &Option<HashSet<Capability>>) -> u64 {
    list.iter().flatten().fold(0, |all, capability| all | 1 << number(*capability))
}

/// The names of the bits, as the specification writes them.
fn names(bits: u64) -> String {
    let named = (0..).zip(NUMBERS).filter(|(number, _)| bits >> number & 1 != 0);
    named.map(|(_, capability)| format!("CAP_{capability}")).collect::<Vec<_>>().join(" ")
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn prctl(what: i32, two: u64, three: u64) -> io::Result<i64> {
    // SAFETY: the options used here take numbers and change this thread's capabilities only.
    check(unsafe { libc::prctl(what, two, three, 0u64, 0u64) }.into())
}

impl Sets {
    /// The sets of this thread.
    ///
    /// # Errors
    /// The kernel refused; no reason is known.
    pub fn current() -> io::Result<Sets> {
        // The low words of effective, permitted and inheritable, then the high ones.
        let mut words = [0u32; 6];
        // SAFETY: writes six words, as this version has.
        check(unsafe { libc::syscall(libc::SYS_capget, &[VERSION, 0], words.as_mut_ptr()) })?;
        let set = |at: usize| u64::from(words[at]) | u64::from(words[at + 3]) << 32;
        let mut sets = Sets { effective: set(0), permitted: set(1), inheritable: set(2), ..Sets::default() };
        // The kernel refuses numbers that it does not know.
        for number in (0..64).take_while(|n| prctl(libc::PR_CAPBSET_READ, *n, 0).is_ok()) {
            sets.bounding |= (prctl(libc::PR_CAPBSET_READ, number, 0)? as u64) << number;
            let ambient = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET as u64, number);
            sets.ambient |= (ambient.unwrap_or(0) as u64) << number;
        }
        Ok(sets)
    }

    /// The sets of a configuration, without what a thread with the sets `held` cannot grant: the
    /// specification requires a warning, not an error. Returns a sentence for each set from which something
    /// is missing.
    pub fn new(asked: &LinuxCapabilities, held: &Sets) -> (Sets, Vec<String>) {
        let mut notes = Vec::new();
        let mut grant = |set: &str, asked: u64, possible: u64, why: &str| {
            let missing = asked & !possible;
            if missing != 0 {
                notes.push(format!("process.capabilities.{set}: {} left out: {why}", names(missing)));
            }
            asked & possible
        };
        let not_held = "this host does not know or grant it";
        let bounding = grant("bounding", bits(asked.bounding()), held.bounding, not_held);
        let permitted = grant("permitted", bits(asked.permitted()), held.permitted, not_held);
        let inheritable =
            grant("inheritable", bits(asked.inheritable()), held.bounding | held.inheritable, not_held);
        let effective = grant("effective", bits(asked.effective()), permitted, "it is not permitted");
        let ambient = grant(
            "ambient",
            bits(asked.ambient()),
            permitted & inheritable,
            "it is not permitted and inheritable",
        );
        (Sets { bounding, effective, permitted, inheritable, ambient }, notes)
    }

    /// Reduces the bounding set, and keeps permitted capabilities across a change of user. `known` is what
    /// the kernel knows, or the thread's bounding set ([`Sets::current`]): only what is in it is dropped.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SETPCAP`.
    pub fn before_ids(&self, known: &Sets) -> io::Result<()> {
        let drop = known.bounding & !self.bounding;
        for number in (0..64).filter(|number| drop >> number & 1 != 0) {
            prctl(libc::PR_CAPBSET_DROP, number, 0)?;
        }
        prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(|_| ())
    }

    /// Sets all sets except the bounding set.
    ///
    /// # Errors
    /// `EPERM` if something is not held that [`Sets::new`] was told is held.
    pub fn after_ids(&self) -> io::Result<()> {
        prctl(libc::PR_SET_KEEPCAPS, 0, 0)?;
        let sets = [self.effective, self.permitted, self.inheritable];
        let words = [sets.map(|set| set as u32), sets.map(|set| (set >> 32) as u32)];
        // SAFETY: reads six words, as this version has.
        check(unsafe { libc::syscall(libc::SYS_capset, &[VERSION, 0], words.as_ptr()) })?;
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
        for number in (0..64).filter(|number| self.ambient >> number & 1 != 0) {
            prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxCapabilitiesBuilder;

    fn set(list: &[Capability]) -> HashSet<Capability> {
        list.iter().copied().collect()
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (capability, of_kernel) in [
            (Capability::Chown, 0),
            (Capability::Setpcap, 8),
            (Capability::SysAdmin, 21),
            (Capability::Setfcap, 31),
            (Capability::MacOverride, 32),
            (Capability::CheckpointRestore, 40),
        ] {
            assert_eq!(number(capability), of_kernel);
        }
        let different: HashSet<Capability> = NUMBERS.into_iter().collect();
        assert_eq!(different.len(), 41);
        // 0xa80425fb is what a process in a container of Docker has.
        assert_eq!(bits(&Some(default_set())), 0xa804_25fb);
        assert_eq!(names(1 << 21 | 1), "CAP_CHOWN CAP_SYS_ADMIN");
    }

    #[test]
    fn what_cannot_be_granted_is_left_out_and_said() {
        let three = set(&[Capability::Chown, Capability::Kill, Capability::Bpf]);
        let asked = LinuxCapabilitiesBuilder::default()
            .bounding(three.clone())
            .permitted(three.clone())
            .effective(three)
            .inheritable(set(&[Capability::Kill]))
            .ambient(set(&[Capability::Kill, Capability::Chown]))
            .build()
            .unwrap();
        let old_kernel = Sets { bounding: (1 << 38) - 1, permitted: (1 << 38) - 1, ..Sets::default() };
        let (sets, notes) = Sets::new(&asked, &old_kernel);
        let two = 1 | 1 << 5;
        let want =
            Sets { bounding: two, permitted: two, effective: two, inheritable: 1 << 5, ambient: 1 << 5 };
        assert_eq!(sets, want);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes[0].contains("bounding: CAP_BPF left out"), "{}", notes[0]);
        assert!(notes[3].contains("ambient: CAP_CHOWN left out"), "{}", notes[3]);
    }

    /// Becomes another user with a few capabilities, in a child process.
    #[test]
    fn sets_by_the_kernel() {
        let held = Sets::current().unwrap();
        let wanted = 1 << number(Capability::Setpcap) | 1 << number(Capability::Setuid);
        if held.effective & wanted != wanted {
            println!("skipped: changing users needs root, which is not here");
            return;
        }
        let kept = (1 << number(Capability::Kill) | 1 << number(Capability::NetRaw)) & held.permitted;
        let sets = Sets {
            bounding: kept | 1 << number(Capability::Chown),
            permitted: kept,
            effective: kept & 1 << number(Capability::Kill),
            inheritable: kept,
            ambient: kept,
        };
        let same = || -> io::Result<bool> {
            sets.before_ids(&held)?;
            // SAFETY: changes this process only.
            check(unsafe { libc::syscall(libc::SYS_setresuid, 7, 7, 7) })?;
            sets.after_ids()?;
            Ok(Sets::current()? == sets)
        };
        // SAFETY: the child makes system calls only.
        match unsafe { libc::fork() } {
            0 => {
                let code =
                    same().map_or_else(|e| e.raw_os_error().unwrap_or(99), |same| if same { 0 } else { 98 });
                // SAFETY: ends the child.
                unsafe { libc::_exit(code) }
            }
            pid => {
                let mut status = 0;
                // SAFETY: waits for the child made just now.
                assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
                assert_eq!(status, 0, "{}", libc::WEXITSTATUS(status));
            }
        }
    }
}
