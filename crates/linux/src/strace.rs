//! A system call as a line of text.

use crate::call::string;
use crate::errno::Errno;
use crate::table::{self, Arg};

fn show(arg: Arg, value: u64) -> String {
    match arg {
        Arg::Fd | Arg::Int => (value as i32).to_string(),
        Arg::At if value as i32 == libc::AT_FDCWD => "AT_FDCWD".into(),
        Arg::At => (value as i32).to_string(),
        Arg::Size | Arg::Long => (value as i64).to_string(),
        Arg::Mode => format!("{value:#o}"),
        Arg::Hex => format!("{value:#x}"),
        Arg::Ptr if value == 0 => "NULL".into(),
        Arg::Ptr => format!("{value:#x}"),
        Arg::Signal => format!("signal {}", value as i32),
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
        Err(Errno(n)) => format!("-1 ({})", std::io::Error::from_raw_os_error(n)),
    }
}
