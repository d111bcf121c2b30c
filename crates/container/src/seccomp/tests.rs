//! Tests of programs against an interpreter and a reading of the specification that share nothing with the
//! compiler but the tables of numbers, and against this host's kernel.

use super::numbers::{Numbers, X32_BIT, second_door};
use super::*;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::collections::HashSet;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// A call as a filter sees it.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Call {
    fn of(abi: Abi, name: &str, arguments: &[u64]) -> Call {
        let number = Numbers::of(abi).get(name).unwrap_or_else(|| panic!("{abi:?} has {name}"));
        let mut call = Call { number, architecture: abi.audit(), arguments: [0; 6] };
        call.arguments[..arguments.len()].copy_from_slice(arguments);
        call
    }

    fn word(&self, offset: u32) -> u32 {
        let argument = |at: u32| self.arguments[at as usize / 8] >> (at % 8 * 8);
        match offset {
            0 => self.number,
            4 => self.architecture,
            16.. if offset.is_multiple_of(4) => argument(offset - 16) as u32,
            _ => panic!("load from {offset}"),
        }
    }
}

/// Runs a program; returns its result and the number of steps.
fn run(program: &[libc::sock_filter], call: &Call) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0usize, 0u32, 0);
    loop {
        let op = program[at];
        at += 1;
        steps += 1;
        let mut branch = |yes: bool| at += usize::from(if yes { op.jt } else { op.jf });
        match op.code {
            0x20 => a = call.word(op.k),
            0x54 => a &= op.k,
            0x05 => at += op.k as usize,
            0x15 => branch(a == op.k),
            0x25 => branch(a > op.k),
            0x35 => branch(a >= op.k),
            0x45 => branch(a & op.k != 0),
            0x06 => return (op.k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn action_value(action: Action, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

fn holds(arg: &LinuxSeccompArg, call: &Call, abi: Abi) -> bool {
    let mask = if abi.narrow() { u64::from(u32::MAX) } else { u64::MAX };
    let is = call.arguments[arg.index()] & mask;
    let (value, two) = (arg.value() & mask, arg.value_two().unwrap_or(0) & mask);
    match arg.op() {
        Operator::ScmpCmpNe => is != value,
        Operator::ScmpCmpLt => is < value,
        Operator::ScmpCmpLe => is <= value,
        Operator::ScmpCmpEq => is == value,
        Operator::ScmpCmpGe => is >= value,
        Operator::ScmpCmpGt => is > value,
        Operator::ScmpCmpMaskedEq => is & value == two,
    }
}

/// The decision of a profile about a call on an x86-64 host, entry by entry.
fn decide(profile: &LinuxSeccomp, call: &Call, tables: &[(Abi, Numbers)]) -> u32 {
    let listed = |arch| profile.architectures().iter().flatten().any(|a| *a == arch);
    let abi = match call.architecture {
        0xc000_003e if call.number < X32_BIT => Abi::X86_64,
        _ if call.number == u32::MAX && call.architecture == 0xc000_003e => return ALLOW,
        0xc000_003e if listed(Arch::ScmpArchX32) => Abi::X32,
        0x4000_0003 if listed(Arch::ScmpArchX86) => Abi::X86,
        _ => return KILL,
    };
    if call.number == u32::MAX {
        return ALLOW;
    }
    let numbers = &tables.iter().find(|(of, _)| *of == abi).unwrap().1;
    let default = action_value(profile.default_action(), profile.default_errno_ret());
    let mut first = None;
    let mut last = None;
    for entry in profile.syscalls().iter().flatten() {
        let action = action_value(entry.action(), entry.errno_ret());
        let args = entry.args().clone().unwrap_or_default();
        let indexes: HashSet<usize> = args.iter().map(|a| a.index()).collect();
        let fits = match indexes.len() == args.len() {
            true => args.iter().all(|a| holds(a, call, abi)),
            false => args.iter().any(|a| holds(a, call, abi)),
        };
        for name in entry.names() {
            let number = numbers.get(name);
            last = last.max(number);
            if action == default {
                continue;
            }
            let door = second_door(name).filter(|_| abi == Abi::X86 && args.is_empty());
            last = last.max(door.and_then(|(door, _)| numbers.get(door)));
            let door = door.filter(|(door, code)| {
                numbers.get(door) == Some(call.number) && call.arguments[0] as u32 == *code
            });
            if number == Some(call.number) && args.is_empty() {
                return action;
            }
            if (number == Some(call.number) && fits) || door.is_some() {
                first = first.or(Some(action));
            }
        }
    }
    let refuses = !matches!(
        profile.default_action(),
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace | Action::ScmpActNotify
    );
    match first {
        Some(action) => action,
        None if refuses && last.is_some_and(|last| call.number > last) => errno(libc::ENOSYS),
        None => default,
    }
}

/// xorshift64*: the same sequence every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 33) as usize % most
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A small value, one with a few bits, or any.
    fn value(&mut self) -> u64 {
        match self.below(5) {
            0 => self.below(4) as u64,
            1 => 1 << self.below(64),
            2 => 1 << self.below(64) | 1 << self.below(64),
            3 => (self.below(3) as u64) << 32 | self.below(3) as u64,
            _ => self.next(),
        }
    }
}

const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpNe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpMaskedEq,
];

const ACTIONS: [Action; 7] = [
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActTrap,
    Action::ScmpActErrno,
    Action::ScmpActTrace,
    Action::ScmpActLog,
    Action::ScmpActAllow,
];

fn random_errno(random: &mut Random, action: Action) -> Option<u32> {
    let has = matches!(action, Action::ScmpActErrno | Action::ScmpActTrace) && random.below(2) == 0;
    has.then(|| random.below(4096) as u32)
}

fn argument(index: usize, op: Operator, value: u64, two: Option<u64>) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    let builder = if let Some(two) = two { builder.value_two(two) } else { builder };
    builder.build().unwrap()
}

fn random_argument(random: &mut Random) -> LinuxSeccompArg {
    let (op, value) = (random.of(&OPERATORS), random.value());
    let two = match random.below(4) {
        0 => None,
        1 => Some(value & random.value()),
        2 => Some(value),
        _ => Some(random.value()),
    };
    argument(random.below(6), op, value, two)
}

fn random_profile(random: &mut Random, names: &[&'static str]) -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(random.of(&ACTIONS));
    let default = random_errno(random, profile.default_action());
    profile.set_default_errno_ret(default);
    let entries = (0..random.of(&[0, 1, 3, 10, 40, 120])).map(|_| {
        let mut entry = LinuxSyscall::default();
        let some = (0..1 + random.below(6)).map(|_| random.of(names).to_owned());
        entry.set_names(some.collect());
        entry.set_action(random.of(&ACTIONS));
        let errno = random_errno(random, entry.action());
        entry.set_errno_ret(errno);
        let args = (0..random.of(&[0, 0, 0, 1, 1, 1, 2, 3])).map(|_| random_argument(random)).collect();
        entry.set_args(Some(args));
        entry
    });
    let entries = entries.collect();
    profile.set_syscalls(Some(entries));
    let others = [Arch::ScmpArchX86, Arch::ScmpArchX32, Arch::ScmpArchArm, Arch::ScmpArchNative];
    let arches = others.into_iter().filter(|_| random.below(2) == 0).collect();
    profile.set_architectures(Some(arches));
    profile
}

/// A call for which the profile is likely to have a rule.
fn random_call(random: &mut Random, profile: &LinuxSeccomp, tables: &[(Abi, Numbers)]) -> Call {
    let (abi, numbers) = &tables[random.below(tables.len())];
    let mut arguments = [0; 6].map(|_| random.value());
    let entries = profile.syscalls().as_ref().unwrap();
    let mut number = random.below(600) as u32;
    if !entries.is_empty() && random.below(4) > 0 {
        let entry = &entries[random.below(entries.len())];
        let name = &entry.names()[random.below(entry.names().len())];
        number = numbers.get(name).unwrap_or(number);
        if let Some((door, code)) = second_door(name).filter(|_| *abi == Abi::X86 && random.below(2) == 0) {
            number = numbers.get(door).unwrap();
            arguments[0] = u64::from(code);
        }
        for arg in entry.args().iter().flatten() {
            arguments[arg.index()] = match random.below(6) {
                0 => arg.value(),
                1 => arg.value().wrapping_add(1),
                2 => arg.value().wrapping_sub(1),
                3 => arg.value_two().unwrap_or(0) | (!arg.value() & random.next()),
                4 => arg.value() ^ (1 << 32),
                _ => arguments[arg.index()],
            };
        }
    }
    number = match random.below(8) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 if random.below(8) == 0 => random.of(&[0, u32::MAX, X32_BIT, X32_BIT - 1, 1 << 31]),
        _ => number,
    };
    let architecture = if random.below(50) == 0 { 0xc000_00b7 } else { abi.audit() };
    Call { number, architecture, arguments }
}

#[test]
fn programs_decide_as_profiles_say() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let tables = [Abi::X86_64, Abi::X86, Abi::X32].map(|abi| (abi, Numbers::of(abi)));
    let names: Vec<&'static str> = syscalls::x86_64::Sysno::iter()
        .map(|call| call.name())
        .chain(syscalls::x86::Sysno::iter().map(|call| call.name()))
        .chain(["no_such_call", "semop", "socketcall", "ipc", "send", "socket"])
        .collect();
    for round in 0..400 {
        let profile = random_profile(&mut random, &names);
        let filter = compile_for(&profile, Abi::X86_64).unwrap();
        for _ in 0..500 {
            let call = random_call(&mut random, &profile, &tables);
            let (got, want) = (run(filter.program(), &call).0, decide(&profile, &call, &tables));
            assert_eq!(got, want, "round {round}: {call:x?} {profile:#?}");
        }
    }
}

fn docker(more: &[Capability]) -> HashSet<Capability> {
    [Capability::Chown, Capability::NetRaw, Capability::SysChroot, Capability::Mknod]
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn default_profile_refuses_what_docker_refuses() {
    let plain = compile_for(&default_profile(&docker(&[])), Abi::X86_64).unwrap();
    let admin = compile_for(&default_profile(&docker(&[Capability::SysAdmin])), Abi::X86_64).unwrap();
    let answer = |filter: &Filter, abi, name, arguments: &[u64]| {
        run(filter.program(), &Call::of(abi, name, arguments)).0
    };
    let refused = errno(libc::EPERM);
    for abi in [Abi::X86_64, Abi::X86, Abi::X32] {
        let all = |name, arguments: &[u64]| {
            (answer(&plain, abi, name, arguments), answer(&admin, abi, name, arguments))
        };
        for name in
            ["read", "openat", "execve", "ptrace", "chroot", "futex", "statx", "getxattrat", "clock_adjtime"]
        {
            assert_eq!(all(name, &[]), (ALLOW, ALLOW), "{abi:?} {name}");
        }
        for name in
            ["mount", "umount2", "setns", "unshare", "bpf", "perf_event_open", "sethostname", "open_tree"]
        {
            assert_eq!(all(name, &[]), (refused, ALLOW), "{abi:?} {name}");
        }
        for name in
            ["keyctl", "add_key", "userfaultfd", "io_uring_setup", "kexec_load", "reboot", "init_module"]
        {
            assert_eq!(all(name, &[]), (refused, refused), "{abi:?} {name}");
        }
        let (user, thread) = (libc::CLONE_NEWUSER as u64, libc::CLONE_THREAD as u64 | 17);
        assert_eq!(all("clone", &[user | 17]), (refused, ALLOW));
        assert_eq!(all("clone", &[thread]), (ALLOW, ALLOW));
        assert_eq!(all("clone3", &[]), (errno(libc::ENOSYS), ALLOW));
        for (family, want) in
            [(1, ALLOW), (10, ALLOW), (12, refused), (16, ALLOW), (38, refused), (40, refused)]
        {
            assert_eq!(all("socket", &[family]), (want, want), "{abi:?} family {family}");
        }
        assert_eq!(all("personality", &[8]), (ALLOW, ALLOW));
        assert_eq!(all("personality", &[0x0040_0000]), (refused, refused));
    }
    // In the multiplexing calls of 32-bit programs the family is in memory; all other socket calls are
    // allowed there.
    for (code, want) in
        [(1, refused), (2, ALLOW), (3, ALLOW), (8, ALLOW), (18, ALLOW), (20, ALLOW), (21, refused)]
    {
        assert_eq!(answer(&plain, Abi::X86, "socketcall", &[code]), want, "socketcall {code}");
    }
    let newer = Call { number: 1000, ..Call::of(Abi::X86_64, "read", &[]) };
    assert_eq!(run(plain.program(), &newer).0, errno(libc::ENOSYS));
    // Upper halves cannot be used to bypass the filter: the kernel takes a family's lower half.
    assert_eq!(answer(&plain, Abi::X86_64, "socket", &[38 | 1 << 32]), refused);
}

#[test]
fn programs_are_short() {
    let filter = compile_for(&default_profile(&docker(&[])), Abi::X86_64).unwrap();
    let most = (0..600).map(|number| Call { number, ..Call::of(Abi::X86_64, "read", &[]) });
    let steps = most.map(|call| run(filter.program(), &call).1).max().unwrap();
    assert!(filter.program().len() < 320, "{} instructions", filter.program().len());
    assert!(steps < 20, "{steps} steps");
}

#[test]
fn every_name_of_the_default_profile_is_a_call() {
    let all = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm, Abi::Riscv64].map(Numbers::of);
    let every: HashSet<Capability> = WITH_ALL.iter().map(|name| name.parse().unwrap()).collect();
    let profile = default_profile(&every);
    // Other libraries' names for calls above, and calls that only other CPUs have.
    let foreign = ["fstatat64", "utimensat_time64", "recv", "send", "sync_file_range2"];
    for name in profile.syscalls().iter().flatten().flat_map(|entry| entry.names()) {
        let known = all.iter().any(|numbers| numbers.get(name).is_some());
        assert!(known || foreign.contains(&name.as_str()), "{name}");
    }
}

const WITH_ALL: [&str; 14] = [
    "DAC_READ_SEARCH",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYS_NICE",
    "SYSLOG",
    "BPF",
    "PERFMON",
];

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let why = |json: &str| compile_for(&profile(json), Abi::X86_64).err().map(|e| e.to_string()).unwrap();
    let one = |entry: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{entry}]}}"#);
    for (entry, part) in [
        (r#"{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":1}"#, "SCMP_ACT_KILL cannot return"),
        (r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#, "the largest is 4095"),
        (
            r#"{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#,
            "syscalls[0] (read) compares argument 6",
        ),
        (r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#, "needs listenerPath"),
        (r#"{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}"#, "for write"),
    ] {
        assert!(why(&one(entry)).contains(part), "{}", why(&one(entry)));
    }
    assert!(why(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).contains("as defaultAction"));
    assert!(
        why(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#).contains("needs listenerPath")
    );
    assert!(why(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":3}"#).contains("defaultAction"));
    let arg = |n: u64| format!(r#"{{"index":0,"value":{},"op":"SCMP_CMP_GT"}}"#, n << 32 | n);
    let many =
        (0..2000).map(|n| format!(r#"{{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{}]}}"#, arg(n)));
    let many = many.collect::<Vec<_>>().join(",");
    assert!(why(&one(&many)).contains("instructions"));
}

#[test]
fn flags() {
    let flags = |json: &str| compile_for(&profile(json), Abi::X86_64).unwrap().flags;
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}"#), 0);
    let notify = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x",
        "syscalls":[{"names":["getppid"],"action":"SCMP_ACT_NOTIFY"}],
        "flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
    assert_eq!(flags(notify), 1 | 8 | 16 | 32);
    let plain = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
    assert_eq!(flags(plain), 0);
    assert!(matches!(profile(plain).flags().as_deref(), Some([Flag::SeccompFilterFlagWaitKillableRecv])));
}

/// Runs `child` under a filter in a forked process, which must not allocate; returns its wait status.
fn under(filter: &Filter, child: impl FnOnce(Option<OwnedFd>) -> i32) -> i32 {
    // SAFETY: the child calls only system calls through libc, none of which takes a lock of this process.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", io::Error::last_os_error()),
        0 => {
            // SAFETY: changes only the child.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            let code = load(filter).map_or(100, child);
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for the child made just now.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            status
        }
    }
}

/// The errno of `getpriority(2, 7)`, or 0.
fn probe() -> i32 {
    // SAFETY: only returns a number.
    match unsafe { libc::syscall(libc::SYS_getpriority, 2, 7) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(101),
        _ => 0,
    }
}

fn one_call(action: &str) -> Filter {
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[{{"names":["getpriority"],{action},
            "args":[{{"index":1,"value":6,"op":"SCMP_CMP_GT"}},{{"index":0,"value":3,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}}]}}]}}"#
    );
    compile(&profile(&json)).unwrap()
}

/// The exit code of each action under this kernel.
#[test]
fn actions_as_the_kernel_runs_them() {
    let code = |action: &str| libc::WEXITSTATUS(under(&one_call(action), |_| probe()));
    assert_eq!(code(r#""action":"SCMP_ACT_ERRNO""#), libc::EPERM);
    assert_eq!(code(r#""action":"SCMP_ACT_ERRNO","errnoRet":71"#), 71);
    assert_eq!(code(r#""action":"SCMP_ACT_TRACE""#), libc::ENOSYS);
    // User 7 has no process, or one with a priority.
    for action in [r#""action":"SCMP_ACT_LOG""#, r#""action":"SCMP_ACT_ALLOW""#] {
        assert!([0, libc::ESRCH].contains(&code(action)), "{action}");
    }
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        let status = under(&one_call(&format!(r#""action":"SCMP_ACT_{action}""#)), |_| probe());
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS, "{action}: {status:#x}");
    }
    // Other arguments do not match the rule.
    let status = under(&one_call(r#""action":"SCMP_ACT_KILL_PROCESS""#), |_| {
        // SAFETY: only returns a number.
        unsafe { libc::getpriority(2, 6) };
        9
    });
    assert_eq!(libc::WEXITSTATUS(status), 9);
}

#[test]
fn a_listener_answers() {
    let filter = one_call(r#""action":"SCMP_ACT_NOTIFY""#);
    assert!(filter.notifies());
    let status = under(&filter, |listener| {
        let Some(listener) = listener else { return 110 };
        // SAFETY: this process has one thread.
        let caller = unsafe { libc::fork() };
        if caller == 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(probe()) };
        }
        answer(&listener, 83);
        let mut status = 0;
        // SAFETY: waits for the child made just now.
        unsafe { libc::waitpid(caller, &mut status, 0) };
        libc::WEXITSTATUS(status)
    });
    assert_eq!(libc::WEXITSTATUS(status), 83);
}

/// Answers one call with an error (seccomp_unotify(2)).
fn answer(listener: &OwnedFd, errno: i32) {
    use std::os::fd::AsRawFd;
    // SAFETY: plain numbers.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV fills in the structure.
    unsafe { libc::ioctl(listener.as_raw_fd(), 0xc050_2100, &mut call) };
    let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: -errno, flags: 0 };
    // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads the structure.
    unsafe { libc::ioctl(listener.as_raw_fd(), 0xc018_2101, &mut response) };
}

/// Under the default profile ordinary operations work, and namespaces cannot be created.
#[test]
fn default_profile_by_the_kernel() {
    let filter = compile(&default_profile(&docker(&[]))).unwrap();
    let status = under(&filter, |_| {
        // SAFETY: changes only the child, if anything.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
        let refused = unshared == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
        let mut buffer = [0u8; 8];
        // SAFETY: writes into a buffer of ours.
        let random = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if refused && random == 8 { 0 } else { 1 }
    });
    assert_eq!(status, 0);
}
