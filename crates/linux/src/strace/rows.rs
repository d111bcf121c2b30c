//! How arguments are shown by name. The table of calls says what an argument is for the host; this table says
//! what it is for a reader.

use super::names::{self, Name};

/// How a value is shown.
#[derive(Clone, Copy)]
pub enum How {
    /// By the names of its bits; the text is shown if none is set.
    Flags(&'static [Name], &'static str),
    /// By its name.
    One(&'static [Name]),
    /// As a value of the first list with flags of the second.
    With(&'static [Name], &'static [Name]),
    /// As flags of the list, with a signal in the lowest byte.
    CloneFlags(&'static [Name]),
    /// As flags of the list, with permission bits.
    Permissions(&'static [Name]),
    /// As flags of `open`.
    Open,
    /// Depending on the argument at this index: as in the first row with its value, or else as the table of
    /// calls says.
    By(usize, &'static [(u64, How)]),
}

use How::{By, CloneFlags, Flags, One, Open, Permissions, With};

const fn flags(list: &'static [Name]) -> How {
    Flags(list, "0")
}

/// The third argument of `fcntl`.
const OF_FCNTL: &[(u64, How)] = &[
    (libc::F_SETFD as u64, flags(names::DESCRIPTOR)),
    (libc::F_SETFL as u64, Open),
    (10, One(names::SIGNALS)),
];

/// Socket options by level.
const OF_LEVEL: &[(u64, How)] = &[
    (libc::SOL_SOCKET as u64, One(names::SOCKET_OPTIONS)),
    (libc::SOL_TCP as u64, One(names::TCP_OPTIONS)),
    (libc::SOL_IP as u64, One(names::IP_OPTIONS)),
    (libc::SOL_IPV6 as u64, One(names::IPV6_OPTIONS)),
];

/// The protocol of a socket by family.
const OF_DOMAIN: &[(u64, How)] =
    &[(libc::AF_INET as u64, One(names::PROTOCOLS)), (libc::AF_INET6 as u64, One(names::PROTOCOLS))];

/// Names of calls, the index of an argument, and how it is shown.
pub const ROWS: &[(&[&str], usize, How)] = &[
    (&["fcntl"], 1, One(names::COMMANDS)),
    (&["fcntl"], 2, By(1, OF_FCNTL)),
    (&["flock"], 1, flags(names::FLOCKS)),
    (&["lseek"], 2, One(names::WHENCE)),
    (&["faccessat", "faccessat2"], 2, Flags(names::ACCESSES, "F_OK")),
    (&["faccessat2"], 3, flags(names::AT_ACCESS)),
    (&["unlinkat"], 2, flags(names::AT_UNLINK)),
    (&["linkat", "fchownat"], 4, flags(names::AT)),
    (&["newfstatat", "utimensat", "fchmodat2"], 3, flags(names::AT)),
    (&["statx", "open_tree"], 2, flags(names::AT)),
    (&["statx"], 3, flags(names::STATX)),
    (&["execveat", "name_to_handle_at"], 4, flags(names::AT)),
    (&["renameat2"], 4, flags(names::RENAMES)),
    (&["fallocate"], 1, flags(names::ALLOCATIONS)),
    (&["fadvise64"], 3, One(names::FILE_ADVICE)),
    (&["setxattr", "lsetxattr", "fsetxattr"], 4, flags(names::XATTR)),
    (&["splice"], 5, flags(names::SPLICES)),
    (&["tee", "vmsplice"], 3, flags(names::SPLICES)),
    (&["preadv2", "pwritev2"], 5, flags(names::READS)),
    (&["close_range"], 2, flags(names::CLOSES)),
    (&["memfd_create"], 1, flags(names::MEMFD)),
    (&["getrandom"], 2, flags(names::RANDOM)),
    (&["eventfd2"], 1, flags(names::EVENTFD)),
    (&["epoll_create1"], 0, flags(names::EPOLL)),
    (&["epoll_ctl"], 1, One(names::EPOLL_OPERATIONS)),
    (&["inotify_init1"], 0, flags(names::INOTIFY)),
    (&["inotify_add_watch"], 2, flags(names::WATCHES)),
    (&["signalfd4"], 3, flags(names::SIGNALFD)),
    (&["timerfd_create"], 0, One(names::CLOCKS)),
    (&["timerfd_create"], 1, flags(names::TIMERFD)),
    (&["timerfd_settime", "timer_settime", "clock_nanosleep"], 1, flags(names::TIMERS)),
    (
        &[
            "clock_gettime",
            "clock_settime",
            "clock_getres",
            "clock_nanosleep",
            "clock_adjtime",
            "timer_create",
        ],
        0,
        One(names::CLOCKS),
    ),
    (&["futex_waitv"], 4, One(names::CLOCKS)),
    (&["getitimer", "setitimer"], 0, One(names::INTERVALS)),
    (&["mremap"], 3, flags(names::REMAPS)),
    (&["madvise"], 2, One(names::ADVICE)),
    (&["process_madvise"], 3, One(names::ADVICE)),
    (&["msync"], 2, flags(names::SYNCS)),
    (&["mlock2"], 2, flags(names::LOCKS)),
    (&["mlockall"], 0, flags(names::LOCK_ALL)),
    (&["membarrier"], 0, One(names::BARRIERS)),
    (&["futex"], 1, With(names::FUTEXES, names::FUTEX_FLAGS)),
    (&["clone"], 0, CloneFlags(names::CLONES)),
    (&["unshare"], 0, flags(names::SHARES)),
    (&["setns"], 1, flags(names::SHARES)),
    (&["wait4"], 2, flags(names::WAITS)),
    (&["waitid"], 0, One(names::WAITED)),
    (&["waitid"], 3, flags(names::WAITS)),
    (&["pidfd_open"], 1, flags(names::PIDFDS)),
    (&["rt_sigprocmask"], 0, One(names::MASKS)),
    (&["socket", "socketpair"], 0, One(names::DOMAINS)),
    (&["socket", "socketpair"], 1, With(names::SOCKETS, names::SOCKET_FLAGS)),
    (&["socket", "socketpair"], 2, By(0, OF_DOMAIN)),
    (&["accept4"], 3, flags(names::SOCKET_FLAGS)),
    (&["shutdown"], 1, One(names::SHUTDOWNS)),
    (&["getsockopt", "setsockopt"], 1, One(names::LEVELS)),
    (&["getsockopt", "setsockopt"], 2, By(1, OF_LEVEL)),
    (&["sendto", "recvfrom", "sendmmsg", "recvmmsg"], 3, flags(names::MESSAGES)),
    (&["sendmsg", "recvmsg"], 2, flags(names::MESSAGES)),
    (&["getrlimit", "setrlimit"], 0, One(names::LIMITS)),
    (&["prlimit64"], 1, One(names::LIMITS)),
    (&["getrusage"], 0, One(names::USERS)),
    (&["getpriority", "setpriority"], 0, One(names::PRIORITIES)),
    (&["sched_setscheduler"], 1, One(names::POLICIES)),
    (&["sched_get_priority_max", "sched_get_priority_min"], 0, One(names::POLICIES)),
    (&["prctl"], 0, One(names::PRCTL)),
    (&["mount"], 3, flags(names::MOUNTS)),
    (&["umount2"], 1, flags(names::UNMOUNTS)),
    (&["shmget", "semget"], 2, Permissions(names::IPC)),
    (&["msgget"], 1, Permissions(names::IPC)),
    (&["shmat"], 2, flags(names::ATTACHES)),
    (&["shmctl"], 1, One(names::IPC_COMMANDS)),
    (&["msgctl"], 1, One(names::QUEUE_COMMANDS)),
    (&["semctl"], 2, One(names::SEM_COMMANDS)),
    (&["prctl"], 1, By(0, &[(libc::PR_SET_PDEATHSIG as u64, One(names::SIGNALS))])),
];

/// How an argument is shown, if not as the table of calls says.
pub fn find(call: &str, at: usize) -> Option<How> {
    ROWS.iter().find(|(calls, place, _)| *place == at && calls.contains(&call)).map(|(_, _, how)| *how)
}
