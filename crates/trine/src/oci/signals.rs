//! Names of signals.

use trine_container::Error;

const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The signal that a name or a number means: `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`; 0 sends none.
///
/// # Errors
/// There is no such signal.
pub fn parse(text: &str) -> Result<i32, Error> {
    let most = libc::SIGRTMAX();
    let unknown = || Error::refused(format!("unknown signal '{text}'"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=most).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(row) = NAMES.iter().find(|n| n.0 == name) {
        return Ok(row.1);
    }
    let offset = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<i32>().ok() };
    let real_time = name
        .strip_prefix("RTMIN")
        .and_then(offset)
        .map(|n| libc::SIGRTMIN() + n)
        .or_else(|| name.strip_prefix("RTMAX").and_then(offset).map(|n| most + n));
    real_time.filter(|n| (libc::SIGRTMIN()..=most).contains(n)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("TERM", 15), ("SIGKILL", 9), ("usr1", 10), ("9", 9), ("0", 0), ("RTMAX-1", 63)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["", "SIG", "65", "-1", "RTMIN+99", "KILLER"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
