//! Signals end every machine soon, whatever it is doing.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trine_conformance::bare::{BASE, ProgramFile};

/// A machine ends within a second; the rest is a margin for a busy host.
const MOST: Duration = Duration::from_secs(4);

fn start(program: &ProgramFile) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine"));
    command.arg("run").arg("--firmware").arg("none").arg("--kernel").arg(program.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal; returns the exit code.
fn end(mut machine: Child, signal: i32, what: &str) -> Option<i32> {
    // SAFETY: a signal for a process that was not waited for yet.
    assert_eq!(unsafe { libc::kill(machine.id() as i32, signal) }, 0);
    let start = Instant::now();
    loop {
        if let Some(status) = machine.try_wait().unwrap() {
            assert_eq!(status.signal(), None, "{what}");
            return status.code();
        }
        if start.elapsed() > MOST {
            machine.kill().unwrap();
            machine.wait().unwrap();
            panic!("{what}: still there {MOST:?} after signal {signal}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signals_end_machines_that_listen_to_nobody() {
    let programs = [
        ("a loop", "spin:\njal zero, @spin"),
        ("a wait", "again:\nwfi\njal zero, @again"),
        ("traps in the handler", "auipc t0, 0\naddi t0, t0, 12\ncsrrw zero, mtvec, t0\necall"),
        ("no handler", "csrrw zero, mtvec, zero\necall"),
        // Nobody reads its output: soon the UART waits.
        ("output", "lui t0, 268435456\nagain:\nsb t0, 0(t0)\njal zero, @again"),
    ];
    let running = programs.map(|(what, text)| (what, ProgramFile::new(BASE, text)));
    let each = |signal| running.iter().map(move |(what, program)| (what, start(program), signal));
    let machines: Vec<_> = each(libc::SIGINT).chain(each(libc::SIGTERM)).collect();
    std::thread::sleep(Duration::from_secs(4));
    for (what, machine, signal) in machines {
        assert_eq!(end(machine, signal, what), Some(128 + signal), "{what}");
    }
}
