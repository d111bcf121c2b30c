//! gdb's signal numbers, which are the same on all systems (gdb, include/gdb/signals.def), and Linux's.

use gdbstub::common::Signal;

/// Linux's number and gdb's signal, up to 31.
const PAIRS: [(i32, Signal); 31] = [
    (1, Signal::SIGHUP),
    (2, Signal::SIGINT),
    (3, Signal::SIGQUIT),
    (4, Signal::SIGILL),
    (5, Signal::SIGTRAP),
    (6, Signal::SIGABRT),
    (7, Signal::SIGBUS),
    (8, Signal::SIGFPE),
    (9, Signal::SIGKILL),
    (10, Signal::SIGUSR1),
    (11, Signal::SIGSEGV),
    (12, Signal::SIGUSR2),
    (13, Signal::SIGPIPE),
    (14, Signal::SIGALRM),
    (15, Signal::SIGTERM),
    // SIGSTKFLT, which gdb has no name for.
    (16, Signal::SIGEMT),
    (17, Signal::SIGCHLD),
    (18, Signal::SIGCONT),
    (19, Signal::SIGSTOP),
    (20, Signal::SIGTSTP),
    (21, Signal::SIGTTIN),
    (22, Signal::SIGTTOU),
    (23, Signal::SIGURG),
    (24, Signal::SIGXCPU),
    (25, Signal::SIGXFSZ),
    (26, Signal::SIGVTALRM),
    (27, Signal::SIGPROF),
    (28, Signal::SIGWINCH),
    (29, Signal::SIGIO),
    (30, Signal::SIGPWR),
    (31, Signal::SIGSYS),
];

/// Converts Linux's signal number (1 to 64); other numbers become 0, "no signal".
pub fn to_gdb(linux: i32) -> Signal {
    match linux {
        32 => Signal::SIG32,
        33..=63 => Signal((linux - 33) as u8 + Signal::SIG33.0),
        64 => Signal::SIG64,
        n => PAIRS.iter().find(|p| p.0 == n).map_or(Signal::SIGZERO, |p| p.1),
    }
}

/// Converts gdb's signal to Linux's number; 0 if Linux does not have it.
pub fn to_linux(gdb: Signal) -> i32 {
    (1..=64).find(|&n| to_gdb(n) == gdb).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_number_of_its_own() {
        for n in 1..=64 {
            assert_eq!(to_linux(to_gdb(n)), n, "signal {n}");
        }
    }

    #[test]
    fn numbers_are_gdbs() {
        // signals.def: USR1 30, CHLD 20, BUS 10, REALTIME_33 45, REALTIME_63 75, REALTIME_32 77, REALTIME_64 78.
        let known = [(10, 30), (17, 20), (7, 10), (33, 45), (63, 75), (32, 77), (64, 78), (0, 0), (65, 0)];
        known.iter().for_each(|&(linux, gdb)| assert_eq!(to_gdb(linux).0, gdb, "signal {linux}"));
        assert_eq!(to_linux(Signal(150)), 0);
    }
}
