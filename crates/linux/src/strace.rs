//! A system call as a line of text.

use crate::call::string;
use crate::errno::Errno;
use crate::ioctl;
use crate::table::{self, Arg};

/// Constants with their names.
macro_rules! names {
    ($(#[$doc:meta])* $list:ident: $type:ty = $($name:ident),* $(,)?) => {
        $(#[$doc])*
        const $list: &[($type, &str)] = &[$((libc::$name as $type, stringify!($name))),*];
    };
}

names! {
    /// Errors.
    ERRORS: i32 =
    EPERM, ENOENT, ESRCH, EINTR, EIO, ENXIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, ENOMEM, EACCES,
    EFAULT, ENOTBLK, EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENOTTY,
    ETXTBSY, EFBIG, ENOSPC, ESPIPE, EROFS, EMLINK, EPIPE, EDOM, ERANGE, EDEADLK, ENAMETOOLONG,
    ENOLCK, ENOSYS, ENOTEMPTY, ELOOP, ENOMSG, EIDRM, ENODATA, ETIME, ENOSTR, ENOLINK, EPROTO,
    EBADMSG, EOVERFLOW, EILSEQ, EUSERS, ENOTSOCK, EDESTADDRREQ, EMSGSIZE, EPROTOTYPE, ENOPROTOOPT,
    EPROTONOSUPPORT, ESOCKTNOSUPPORT, EOPNOTSUPP, EPFNOSUPPORT, EAFNOSUPPORT, EADDRINUSE,
    EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED, ECONNRESET, ENOBUFS, EISCONN,
    ENOTCONN, ESHUTDOWN, ETOOMANYREFS, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EALREADY,
    EINPROGRESS, ESTALE, EUCLEAN, EREMOTEIO, EDQUOT, ENOMEDIUM, EMEDIUMTYPE, ECANCELED, ENOKEY,
    EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED, EOWNERDEAD, ENOTRECOVERABLE, ERFKILL, EHWPOISON
}

names! {
    /// Signals.
    SIGNALS: i32 =
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
    SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS
}

names! {
    /// Flags of `open`, but for the access mode. Those of several bits come first.
    OPEN: u64 =
    O_TMPFILE, O_SYNC, O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK, O_DSYNC, O_ASYNC, O_DIRECT,
    O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_CLOEXEC, O_PATH
}

names! {
    /// Protections of memory.
    PROTECTIONS: u64 = PROT_READ, PROT_WRITE, PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP
}

names! {
    /// Flags of `mmap`.
    MAPS: u64 =
    MAP_SHARED_VALIDATE, MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_LOCKED, MAP_NORESERVE,
    MAP_POPULATE, MAP_NONBLOCK, MAP_STACK, MAP_HUGETLB, MAP_FIXED_NOREPLACE
}

fn name_of(list: &[(i32, &'static str)], value: i32) -> Option<&'static str> {
    list.iter().find(|(v, _)| *v == value).map(|(_, name)| *name)
}

/// The name of a signal, such as `SIGSEGV`.
pub fn signal(number: i32) -> String {
    /// The first signal that programs may use as they like.
    const REAL_TIME: i32 = 32;
    match name_of(SIGNALS, number) {
        Some(name) => name.into(),
        None if (REAL_TIME..=64).contains(&number) => format!("SIGRT_{}", number - REAL_TIME),
        None => number.to_string(),
    }
}

/// The names of the bits that are set, what has none as a number; `none` where no bit is set.
fn flags(list: &[(u64, &'static str)], mut value: u64, none: &str) -> String {
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

/// Flags of `open`.
fn open(value: u64) -> String {
    let access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][value as usize & 3];
    match flags(OPEN, value & !3 & 0xffff_ffff, "") {
        rest if rest.is_empty() => access.into(),
        rest => format!("{access}|{rest}"),
    }
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
        Arg::Prot => flags(PROTECTIONS, value, "PROT_NONE"),
        Arg::Map => flags(MAPS, value, "0"),
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

/// The call with its arguments.
pub fn call(number: u64, args: [u64; 6]) -> String {
    let Some(call) = table::find(number) else { return format!("syscall_{number}({args:#x?})") };
    let args: Vec<String> = call.args.iter().zip(args).map(|(&a, v)| show(a, v)).collect();
    format!("{}({})", call.name, args.join(", "))
}

/// Its result.
pub fn result(result: Result<u64, Errno>) -> String {
    match result {
        Ok(value) if value > 0xffff_ffff => format!("{value:#x}"),
        Ok(value) => value.to_string(),
        Err(crate::errno::RESTART) => "? (interrupted; made again)".into(),
        Err(Errno(n)) => match name_of(ERRORS, n) {
            Some(name) => format!("-1 {name}"),
            None => format!("-1 ({n})"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Mapping, Space};

    /// Bytes where a program's are.
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
            (129, [1, 9, 0, 0, 0, 0], "kill(1, SIGKILL)"),
            (129, [1, 34, 0, 0, 0, 0], "kill(1, SIGRT_2)"),
            (129, [1, 99, 0, 0, 0, 0], "kill(1, 99)"),
        ];
        for (number, args, want) in lines {
            assert_eq!(call(number, args), want);
        }
        assert_eq!(result(Err(Errno(libc::ENOENT))), "-1 ENOENT");
        assert_eq!(result(Err(Errno(4000))), "-1 (4000)");
        assert_eq!(result(Ok(7)), "7");
        assert_eq!(result(Ok(0x3f_0000_1000)), "0x3f00001000");
    }
}
