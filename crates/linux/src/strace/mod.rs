//! Formatting system calls as lines of text.

use crate::call::string;
use crate::errno::Errno;
use crate::ioctl;
use crate::table::{Arg, Call};

mod names;
mod rows;

use names::Name;
use rows::How;

fn name_of(list: &[Name], value: i32) -> Option<&'static str> {
    list.iter().find(|(v, _)| *v as u32 == value as u32).map(|(_, name)| *name)
}

/// The name of a signal, such as `SIGSEGV`.
pub fn signal(number: i32) -> String {
    /// The first real-time signal.
    const REAL_TIME: i32 = 32;
    match name_of(names::SIGNALS, number) {
        Some(name) => name.into(),
        None if (REAL_TIME..=64).contains(&number) => format!("SIGRT_{}", number - REAL_TIME),
        None => number.to_string(),
    }
}

/// The names of the bits that are set, and a number for bits without a name; `none` if no bit is set.
fn flags(list: &[Name], mut value: u64, none: &str) -> String {
    let mut found = Vec::new();
    for (bits, name) in list {
        if value & bits == *bits {
            found.push(name.to_string());
            value &= !bits;
        }
    }
    if value != 0 {
        found.push(format!("{value:#x}"));
    }
    if found.is_empty() { none.into() } else { found.join("|") }
}

/// Formats flags of `open`.
fn open(value: u64) -> String {
    let access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][value as usize & 3];
    match flags(names::OPEN, value & !3 & 0xffff_ffff, "") {
        rest if rest.is_empty() => access.into(),
        rest => format!("{access}|{rest}"),
    }
}

/// Formats flags of `mmap`, six bits of which are the size of huge pages.
fn map(value: u64) -> String {
    let log = value >> libc::MAP_HUGE_SHIFT & libc::MAP_HUGE_MASK as u64;
    if value & libc::MAP_HUGETLB as u64 == 0 || log == 0 {
        return flags(names::MAPS, value, "0");
    }
    let rest = flags(names::MAPS, value & !((libc::MAP_HUGE_MASK as u64) << libc::MAP_HUGE_SHIFT), "0");
    format!("{rest}|{log}<<MAP_HUGE_SHIFT")
}

/// Formats a value by its name, or as a number.
fn one(list: &[Name], value: u64) -> String {
    name_of(list, value as i32).map_or_else(|| (value as i32).to_string(), str::to_string)
}

/// Formats an argument by name; `None` if it has no name.
fn named(how: How, value: u64, args: &[u64; 6]) -> Option<String> {
    // Flags and small numbers are 32 bits wide.
    let low = value & 0xffff_ffff;
    Some(match how {
        How::Flags(list, none) => flags(list, low, none),
        How::One(list) if std::ptr::eq(list, names::SIGNALS) => signal(value as i32),
        How::One(list) => one(list, value),
        How::With(list, more) => {
            let set = more.iter().filter(|(bits, _)| low & bits != 0).fold(0, |all, (bits, _)| all | bits);
            let first = one(list, low & !set);
            if set == 0 { first } else { format!("{first}|{}", flags(more, set, "")) }
        }
        How::CloneFlags(list) => match (flags(list, value & !0xff, ""), value & 0xff) {
            (flags, 0) if flags.is_empty() => "0".into(),
            (flags, 0) => flags,
            (flags, n) if flags.is_empty() => signal(n as i32),
            (flags, n) => format!("{flags}|{}", signal(n as i32)),
        },
        How::Permissions(list) => match flags(list, low & !0o777, "") {
            flags if flags.is_empty() => format!("{low:#o}"),
            flags => format!("{flags}|{:#o}", low & 0o777),
        },
        How::Open => open(value),
        How::By(at, list) => {
            let (_, how) = list.iter().find(|(v, _)| *v as u32 == args[at] as u32)?;
            return named(*how, value, args);
        }
    })
}

fn show(arg: Arg, value: u64) -> String {
    match arg {
        Arg::Fd | Arg::Int => (value as i32).to_string(),
        Arg::At if value as i32 == libc::AT_FDCWD => "AT_FDCWD".into(),
        Arg::At => (value as i32).to_string(),
        Arg::Size | Arg::Long => (value as i64).to_string(),
        Arg::Mode => format!("{value:#o}"),
        Arg::Hex | Arg::Either => format!("{value:#x}"),
        Arg::Ptr if value == 0 => "NULL".into(),
        Arg::Ptr => format!("{value:#x}"),
        Arg::Signal => signal(value as i32),
        Arg::Open => open(value),
        Arg::Prot => flags(names::PROTECTIONS, value, "PROT_NONE"),
        Arg::Map => map(value),
        Arg::Request => match ioctl::find(value as u32) {
            Some(request) => request.name.into(),
            None => format!("{value:#x}"),
        },
        Arg::Path | Arg::Text => match string(value) {
            Ok(text) => format!("{text:?}"),
            Err(_) => format!("{value:#x}"),
        },
    }
}

/// Formats a call of this row (or an unknown call with this number) with its arguments.
pub fn call(number: u64, call: Option<&Call>, args: [u64; 6]) -> String {
    let Some(call) = call else { return format!("syscall_{number}({args:#x?})") };
    let text = |(at, &arg): (usize, &Arg)| {
        let by_name = rows::find(call.name, at).and_then(|how| named(how, args[at], &args));
        by_name.unwrap_or_else(|| show(arg, args[at]))
    };
    let shown: Vec<String> = call.args.iter().enumerate().map(text).collect();
    format!("{}({})", call.name, shown.join(", "))
}

/// Formats a result.
pub fn result(result: Result<u64, Errno>) -> String {
    match result {
        Ok(value) if value > 0xffff_ffff => format!("{value:#x}"),
        Ok(value) => value.to_string(),
        Err(crate::errno::RESTART) => "? (interrupted; made again)".into(),
        Err(Errno(n)) => match name_of(names::ERRORS, n) {
            Some(name) => format!("-1 {name}"),
            None => format!("-1 ({n})"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{every_call, riscv64};
    use crate::space::{Mapping, Space};

    /// Copies bytes to an address that programs can have.
    fn in_memory(bytes: &[u8]) -> u64 {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let (protection, flags) = (protection as u32, flags as u32);
        let mapping = Mapping { at: 0, size: bytes.len() as u64, protection, flags, fd: -1, offset: 0 };
        let at = Space::default().map(&mapping).expect("memory");
        trine_engine::direct::write(at, bytes).expect("just mapped");
        at
    }

    #[test]
    fn rows_are_about_calls_that_there_are() {
        for (calls, at, _) in rows::ROWS {
            for name in *calls {
                let call = every_call().find(|call| call.name == *name);
                let call = call.unwrap_or_else(|| panic!("no call {name}"));
                let number = !matches!(call.args.get(*at), None | Some(Arg::Path | Arg::Text | Arg::Ptr));
                assert!(number, "{name}: argument {at} is none that has names");
            }
        }
    }

    #[test]
    fn lines_are_what_strace_prints() {
        let _alone = crate::space::tests::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = in_memory(b"/etc/\"x\"\0");
        let here = libc::AT_FDCWD as u64;
        let lines = [
            (
                56,
                [here, path, (libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC) as u64, 0o640, 0, 0],
                r#"openat(AT_FDCWD, "/etc/\"x\"", O_RDWR|O_CREAT|O_CLOEXEC, 0o640)"#,
            ),
            (
                56,
                [3, path, (libc::O_TMPFILE | libc::O_SYNC) as u64, 0, 0, 0],
                r#"openat(3, "/etc/\"x\"", O_RDONLY|O_TMPFILE|O_SYNC, 0o0)"#,
            ),
            (
                222,
                [0, 4096, 3, 0x22, u64::MAX, 0],
                "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)",
            ),
            (226, [4096, 1, 0, 0, 0, 0], "mprotect(0x1000, 1, PROT_NONE)"),
            (226, [4096, 1, 0x80, 0, 0, 0], "mprotect(0x1000, 1, 0x80)"),
            (29, [0, 0x5413, 0x10, 0, 0, 0], "ioctl(0, TIOCGWINSZ, 0x10)"),
            (29, [0, 0x1234, 0x10, 0, 0, 0], "ioctl(0, 0x1234, 0x10)"),
            (
                222,
                [0, 1, 0, 0x5404_0022, u64::MAX, 0],
                "mmap(NULL, 1, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0)",
            ),
            (25, [3, 2, 1, 0, 0, 0], "fcntl(3, F_SETFD, FD_CLOEXEC)"),
            (25, [3, 4, 0x802, 0, 0, 0], "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)"),
            (25, [3, 1030, 0x1f4, 0, 0, 0], "fcntl(3, F_DUPFD_CLOEXEC, 0x1f4)"),
            (48, [here, path, 4, 0, 0, 0], r#"faccessat(AT_FDCWD, "/etc/\"x\"", R_OK)"#),
            (48, [here, path, 0, 0, 0, 0], r#"faccessat(AT_FDCWD, "/etc/\"x\"", F_OK)"#),
            (62, [3, u64::MAX, 2, 0, 0, 0], "lseek(3, -1, SEEK_END)"),
            (79, [3, path, 8, 0x1000, 0, 0], r#"newfstatat(3, "/etc/\"x\"", 0x8, AT_EMPTY_PATH)"#),
            (
                98,
                [8, 0x189, 1, 0, 0, 0],
                "futex(0x8, FUTEX_WAIT_BITSET|FUTEX_PRIVATE_FLAG|FUTEX_CLOCK_REALTIME, 1, 0x0, NULL, 0)",
            ),
            (101, [8, 0, 0, 0, 0, 0], "nanosleep(0x8, NULL)"),
            (113, [1, 8, 0, 0, 0, 0], "clock_gettime(CLOCK_MONOTONIC, 0x8)"),
            (113, [0xffff_ffff_ffff_fffa, 8, 0, 0, 0, 0], "clock_gettime(-6, 0x8)"),
            (135, [0, 8, 0, 8, 0, 0], "rt_sigprocmask(SIG_BLOCK, 0x8, NULL, 8)"),
            (167, [1, 9, 0, 0, 0, 0], "prctl(PR_SET_PDEATHSIG, SIGKILL, 0x0, 0x0, 0x0)"),
            (194, [0, 4096, 0o3600, 0, 0, 0], "shmget(0, 4096, IPC_CREAT|IPC_EXCL|0o600)"),
            (
                198,
                [2, 0x80801, 6, 0, 0, 0],
                "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP)",
            ),
            (198, [16, 3, 15, 0, 0, 0], "socket(AF_NETLINK, SOCK_RAW, 15)"),
            (208, [3, 1, 2, 8, 4, 0], "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, 0x8, 4)"),
            (208, [3, 6, 1, 8, 4, 0], "setsockopt(3, SOL_TCP, TCP_NODELAY, 0x8, 4)"),
            (208, [3, 99, 1, 8, 4, 0], "setsockopt(3, 99, 1, 0x8, 4)"),
            (
                220,
                [0x120_0011, 0, 0, 0, 8, 0],
                "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, NULL, 0x8)",
            ),
            (233, [4096, 4096, 4, 0, 0, 0], "madvise(0x1000, 4096, MADV_DONTNEED)"),
            (260, [u64::MAX, 8, 1, 0, 0, 0], "wait4(-1, 0x8, WNOHANG, NULL)"),
            (261, [0, 7, 0, 8, 0, 0], "prlimit64(0, RLIMIT_NOFILE, NULL, 0x8)"),
            (
                276,
                [3, path, 4, path, 1, 0],
                r#"renameat2(3, "/etc/\"x\"", 4, "/etc/\"x\"", RENAME_NOREPLACE)"#,
            ),
            (129, [1, 9, 0, 0, 0, 0], "kill(1, SIGKILL)"),
            (129, [1, 34, 0, 0, 0, 0], "kill(1, SIGRT_2)"),
            (129, [1, 99, 0, 0, 0, 0], "kill(1, 99)"),
        ];
        for (number, args, want) in lines {
            assert_eq!(call(number, riscv64::MACHINE.calls.find(number), args), want);
        }
        assert_eq!(call(1000, None, [0; 6]), format!("syscall_1000({:#x?})", [0; 6]));
        assert_eq!(result(Err(Errno(libc::ENOENT))), "-1 ENOENT");
        assert_eq!(result(Err(Errno(4000))), "-1 (4000)");
        assert_eq!(result(Ok(7)), "7");
        assert_eq!(result(Ok(0x3f_0000_1000)), "0x3f00001000");
    }
}
