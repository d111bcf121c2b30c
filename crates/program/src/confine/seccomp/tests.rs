use super::*;
use trine_linux::abi::every_call;
use trine_linux::abi::riscv64::MACHINE;
use trine_linux::table::{Call, How, Reach};

const ONLY_LIMITS: Deny = Deny { net: false, write: false, read: false, exec: false, fork: false };

/// The answer of a filter: interprets the few instructions that the filters here consist of.
fn answer(program: &BpfProgram, call: i64, args: &[u64; 6]) -> u32 {
    // struct seccomp_data: number, architecture, address of the instruction, arguments.
    const X86_64: u32 = 0xc000_003e;
    let mut data = vec![call as u32, X86_64, 0, 0];
    data.extend(args.iter().flat_map(|a| [*a as u32, (a >> 32) as u32]));
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let op = &program[at];
        at += 1;
        let jump = |taken: bool| if taken { op.jt as usize } else { op.jf as usize };
        match u32::from(op.code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => accumulator = data[op.k as usize / 4],
            code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= op.k,
            code if code == BPF_RET | BPF_K => return op.k,
            code if code == BPF_JMP | BPF_JA => at += op.k as usize,
            code if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(accumulator == op.k),
            code if code == BPF_JMP | BPF_JGE | BPF_K => at += jump(accumulator >= op.k),
            code if code == BPF_JMP | BPF_JGT | BPF_K => at += jump(accumulator > op.k),
            code if code == BPF_JMP | BPF_JSET | BPF_K => at += jump(accumulator & op.k != 0),
            code => panic!("instruction {code:#x} is not known here"),
        }
    }
}

/// The error that a confined program gets, if any.
fn error(deny: Deny, sockets: Sockets, call: i64, args: [u64; 6]) -> Option<i32> {
    let errors = filters(deny, sockets).unwrap().map(|f| answer(&f, call, &args));
    errors.into_iter().find(|a| *a != SECCOMP_RET_ALLOW).map(|a| {
        assert_eq!(a & 0xffff_0000, SECCOMP_RET_ERRNO);
        (a & 0xffff) as i32
    })
}

fn refuses(deny: &str, call: i64, args: [u64; 6]) -> bool {
    let deny = if deny.is_empty() { ONLY_LIMITS } else { deny.parse().unwrap() };
    error(deny, Sockets::SendToNames, call, args) == Some(EPERM)
}

/// The number of a call that is the same on all CPUs.
fn common(call: &Call) -> Option<i64> {
    MACHINE.calls.number(call.name).filter(|&number| number >= 424).map(|number| number as i64)
}

/// The host's number of a call whose row does not contain it.
fn host(call: &Call) -> i64 {
    if let Some(number) = common(call) {
        return number;
    }
    match call.how {
        How::Same(number) | How::Range(number, _) => number,
        _ => match call.name {
            "clone" => SYS_clone,
            "execve" => SYS_execve,
            "execveat" => SYS_execveat,
            "sendmsg" => SYS_sendmsg,
            "sendmmsg" => SYS_sendmmsg,
            "getsockopt" => SYS_getsockopt,
            "ioctl" => SYS_ioctl,
            "semctl" => SYS_semctl,
            "shmat" => SYS_shmat,
            "ioprio_set" => SYS_ioprio_set,
            "setpriority" => SYS_setpriority,
            "prlimit64" => SYS_prlimit64,
            "sched_setparam" => SYS_sched_setparam,
            "sched_setscheduler" => SYS_sched_setscheduler,
            "sched_setaffinity" => SYS_sched_setaffinity,
            "sched_setattr" => SYS_sched_setattr,
            "kexec_load" => SYS_kexec_load,
            "init_module" => SYS_init_module,
            "finit_module" => SYS_finit_module,
            "delete_module" => SYS_delete_module,
            "reboot" => SYS_reboot,
            "swapon" => SYS_swapon,
            "swapoff" => SYS_swapoff,
            "perf_event_open" => SYS_perf_event_open,
            "bpf" => SYS_bpf,
            "userfaultfd" => SYS_userfaultfd,
            "pivot_root" => SYS_pivot_root,
            "ptrace" => SYS_ptrace,
            "process_vm_readv" => SYS_process_vm_readv,
            "process_vm_writev" => SYS_process_vm_writev,
            name => panic!("{name} reaches outside, and its number on the host is not known here"),
        },
    }
}

/// Arguments with which a call reaches outside, for filters that check them.
fn reaching(call: &Call, reach: Reach) -> [u64; 6] {
    const OTHER: u64 = 4711;
    match (call.name, reach) {
        ("unshare", _) => [CLONE_NEWUSER as u64, 0, 0, 0, 0, 0],
        ("clone", Reach::Kernel) => [CLONE_NEWNET as u64 | SIGCHLD as u64, 0, 0, 0, 0, 0],
        ("clone", _) => [SIGCHLD as u64, 0, 0, 0, 0, 0],
        ("ioctl", Reach::Changes) => [3, 0xc004_5877, 0, 0, 0, 0],
        ("ioctl", Reach::Network) => [3, TUNSETIFF, 0x1000, 0, 0, 0],
        ("fcntl", Reach::Changes) => [3, SETLEASE, F_WRLCK as u64, 0, 0, 0],
        ("sendto", _) => [3, 0x1000, 1, 0, 0x2000, 16],
        ("getsockopt" | "setsockopt", _) => [3, SCTP, 110, 0x1000, 16, 0],
        ("socketpair", _) => [AF_UNIX as u64, SOCK_DGRAM as u64, 0, 0x1000, 0, 0],
        ("setpriority", _) => [PRIO_PROCESS as u64, OTHER, 0, 0, 0, 0],
        ("ioprio_set", _) => [IOPRIO_WHO_PROCESS, OTHER, 0, 0, 0, 0],
        _ => [OTHER, 0x1000, 0x2000, 0, 0, 0],
    }
}

/// For each row, with the restrictions that keep it inside the filter refuses it, and without them it does
/// not.
#[test]
fn every_row_that_reaches_outside_is_refused() {
    for call in every_call() {
        for &reach in call.reach {
            let denials: &[&str] = match reach {
                // Enforced by Landlock, or harmless.
                Reach::Own | Reach::Open | Reach::Tells | Reach::Files | Reach::Signals => continue,
                // Enforced by Landlock and, except for changes of the process itself, by the filter.
                Reach::Traced if ["get_robust_list", "process_madvise"].contains(&call.name) => continue,
                // Enforced by capabilities: see `privilege`.
                Reach::Privileged => continue,
                Reach::Hidden => {
                    let error = error(ONLY_LIMITS, Sockets::Connected, host(call), [0; 6]);
                    assert_eq!(error, Some(ENOSYS), "{}", call.name);
                    continue;
                }
                Reach::Contents => &["read", "all"],
                Reach::Changes => &["write", "all"],
                Reach::Objects => &["read", "write", "all"],
                Reach::Network => &["net", "all"],
                Reach::Children => &["fork", "all"],
                Reach::Executables => &["exec", "all"],
                Reach::Processes | Reach::Traced | Reach::Kernel => &["", "all"],
            };
            let (number, args) = (host(call), reaching(call, reach));
            for denied in denials {
                assert!(
                    refuses(denied, number, args),
                    "--deny '{denied}' lets {} through: {reach:?}",
                    call.name
                );
            }
            assert!(
                denials.contains(&"") || !refuses("", number, args),
                "{} is refused without need: {reach:?}",
                call.name
            );
        }
    }
}

/// Everything else still works in a confined program: rows that reach nothing, and harmless forms of those
/// that do.
#[test]
fn what_reaches_nothing_is_not_refused() {
    let inside = |call: &&Call| {
        call.reach.iter().all(|r| [Reach::Own, Reach::Open, Reach::Tells, Reach::Files].contains(r))
    };
    for call in every_call().filter(inside) {
        if let How::Same(number) | How::Range(number, _) = call.how {
            assert!(!refuses("all", number, [0; 6]), "{}", call.name);
        }
    }
    let thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    for (call, args) in [
        (SYS_clone, [thread as u64, 0, 0, 0, 0, 0]),
        (SYS_unshare, [CLONE_FILES as u64, 0, 0, 0, 0, 0]),
        (SYS_prlimit64, [0, RLIMIT_NOFILE as u64, 0x1000, 0, 0, 0]),
        (SYS_prlimit64, [4711, RLIMIT_NOFILE as u64, 0, 0x1000, 0, 0]),
        (SYS_sched_setaffinity, [0, 8, 0x1000, 0, 0, 0]),
        (SYS_setpriority, [PRIO_PROCESS as u64, 0, 5, 0, 0, 0]),
        (SYS_ioprio_set, [IOPRIO_WHO_PROCESS, 0, 0, 0, 0, 0]),
        (SYS_sendto, [3, 0x1000, 1, MSG_NOSIGNAL as u64, 0, 0]),
        (SYS_socketpair, [AF_UNIX as u64, (SOCK_STREAM | SOCK_CLOEXEC) as u64, 0, 0x1000, 0, 0]),
        (SYS_setsockopt, [3, SOL_SOCKET as u64, SO_KEEPALIVE as u64, 0x1000, 4, 0]),
        (SYS_fcntl, [3, F_GETFL as u64, 0, 0, 0, 0]),
        (SYS_ioctl, [0, TCGETS, 0x1000, 0, 0, 0]),
        (SYS_ioctl, [3, 0x8008_6601, 0x1000, 0, 0, 0]),
        (SYS_ioctl, [3, 0x801c_581f, 0x1000, 0, 0, 0]),
        (SYS_ioctl, [3, FIONREAD, 0x1000, 0, 0, 0]),
    ] {
        assert!(!refuses("all", call, args), "call {call}, {args:x?}");
    }
}

#[test]
fn requests_that_change_files_are_refused() {
    let changing = [
        // FIFREEZE, FITHAW, FITRIM.
        0xc004_5877,
        0xc004_5878,
        0xc018_5879,
        // FS_IOC_SETFLAGS and its 32-bit form, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION.
        0x4008_6602,
        0x4004_6602,
        0x401c_5820,
        0x4008_7602,
        // FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY, EXT4_IOC_RESIZE_FS.
        0x4080_6685,
        0x800c_6613,
        0x4008_6610,
        // BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_DEFRAG, FS_IOC_SETFSLABEL.
        0x5000_9401,
        0x5000_940e,
        0x5000_9402,
        0x4100_9432,
        // FAT_IOCTL_SET_ATTRIBUTES, F2FS_IOC_GARBAGE_COLLECT.
        0x4004_7211,
        0x4004_f506,
    ];
    for request in changing {
        assert!(refuses("write", SYS_ioctl, [3, request, 0, 0, 0, 0]), "{request:#x}");
        assert!(!refuses("net,read", SYS_ioctl, [3, request, 0, 0, 0, 0]), "{request:#x}");
    }
}

#[test]
fn sockets_from_outside_do_not_connect() {
    let fast = MSG_FASTOPEN as u64;
    for sockets in [Sockets::Connected, Sockets::SendToNames] {
        let net = "net".parse().unwrap();
        assert_eq!(error(net, sockets, SYS_sendto, [3, 1, 1, fast, 0, 0]), Some(EPERM));
        assert_eq!(error(net, sockets, SYS_sendmsg, [3, 1, fast, 0, 0, 0]), Some(EPERM));
        assert_eq!(error(net, sockets, SYS_sendmmsg, [3, 1, 1, fast, 0, 0]), Some(EPERM));
        let plain = error(net, sockets, SYS_sendmsg, [3, 1, 0, 0, 0, 0]);
        assert_eq!(plain.is_some(), sockets == Sockets::SendToNames);
    }
    let socket = |domain, kind| {
        // SAFETY: makes a descriptor, which is closed below.
        let fd = unsafe { libc::socket(domain, kind, 0) };
        let names = sends_to_names(fd);
        // SAFETY: made just now.
        unsafe { close(fd) };
        names
    };
    assert!(!socket(AF_UNIX, SOCK_STREAM) && socket(AF_UNIX, SOCK_DGRAM));
    assert!(!socket(AF_INET, SOCK_STREAM) && socket(AF_INET, SOCK_DGRAM));
    assert!(!sends_to_names(-1));
}

#[test]
fn numbers_of_x32_mean_nothing() {
    let error = error(ONLY_LIMITS, Sockets::Connected, 0x4000_0000 + SYS_ptrace, [0; 6]);
    assert_eq!(error, Some(ENOSYS));
}

#[test]
fn the_longest_filter_is_short_enough() {
    let all = filters("all".parse().unwrap(), Sockets::SendToNames).unwrap();
    // BPF_MAXINSNS.
    assert!(all.iter().all(|f| f.len() < 4096));
}
