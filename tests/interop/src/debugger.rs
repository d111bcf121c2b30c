//! `cargo xtask test gdb`: gdb-multiarch debugs programs and machines, over a Unix socket, and reads core dumps, in
//! both engines.

use crate::{coredump, machine_debugger};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trine_test_support::command::{Running, until};
use trine_test_support::scratch::Scratch;
use trine_test_support::tools;

const SOURCE: &str = include_str!("debugger.c");

/// Time limit of one conversation.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Commands at the beginning of every conversation.
pub const SETUP: &str = "set confirm off
set pagination off
set width 0
";

/// One conversation.
struct Case {
    name: &'static str,
    /// Argument of the program.
    argument: &'static str,
    /// The typed lines.
    script: &'static str,
    /// When the program has written this, gdb is interrupted, as by Ctrl-C.
    interrupt_at: Option<&'static str>,
    /// Expected output of gdb, in this order.
    gdb: &'static [&'static str],
    /// Expected output of the program, in this order, to its end.
    program: &'static [&'static str],
    /// How the program ends.
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Code(i32),
    Signal(i32),
    /// It does not end: the test ends it.
    Runs,
}

const CASES: &[Case] = &[
    Case {
        name: "breakpoints, steps, registers, threads",
        argument: "",
        script: "break main
continue
info registers pc sp fcsr
break add
continue
info threads
info auxv
backtrace
stepi
x/i $pc
next
print sum
print $a0 = 77
print $a0
print $fa0 = 2.5
print $fa0
set variable sum = 40
finish
thread 2
info registers pc
thread name
thread 1
disable
call add(40, 2)
enable
continue
handle SIGUSR1 nostop noprint pass
continue
",
        interrupt_at: None,
        gdb: &[
            "Breakpoint 1, main (argc=1,",
            "pc ",
            "<main+",
            "RNE (round to nearest",
            "hit Breakpoint 2, add (a=1, b=2)",
            "(first)",
            "(second)",
            "AT_ENTRY",
            "#1 ",
            " in main (",
            "=> ",
            "= 3",
            "= 77",
            "= 77",
            "double = 2.5",
            "Value returned is",
            "= 40",
            "Switching to thread 2",
            "pc ",
            "Switching to thread 1",
            "= 42",
            "hit Breakpoint 2, add (a=3, b=4)",
            "exited with code 07",
        ],
        program: &["sum 47", "handled 10", "children 42 43", "end 43"],
        end: End::Code(7),
    },
    Case {
        name: "watchpoints",
        argument: "",
        script: "break add
continue
delete
watch counter
continue
rwatch ratio
continue
delete
awatch handled
continue
continue
delete
continue
",
        interrupt_at: None,
        gdb: &[
            "hit Breakpoint 1, add (a=1, b=2)",
            "Hardware watchpoint 2: counter",
            "Old value = 0",
            "New value = 3",
            "hit Hardware read watchpoint 3: ratio",
            "Value = 1.5",
            "received signal SIGUSR1",
            "Value = 0",
            "exited with code 07",
        ],
        program: &["sum 10", "handled 10", "children 42 43", "end 43"],
        end: End::Code(7),
    },
    Case {
        name: "signals",
        argument: "",
        script: "break on_usr1
continue
continue
backtrace
finish
tbreak children
continue
signal SIGTERM
",
        interrupt_at: None,
        gdb: &[
            "received signal SIGUSR1",
            "hit Breakpoint 1, on_usr1 (signal=10)",
            "<signal handler called>",
            "in main (",
            "children ()",
            "terminated with signal SIGTERM",
        ],
        program: &["sum 10", "handled 10"],
        end: End::Signal(15),
    },
    Case {
        name: "a signal that gdb keeps",
        argument: "",
        script: "handle SIGUSR1 stop print nopass
continue
continue
",
        interrupt_at: None,
        gdb: &["received signal SIGUSR1", "exited with code 07"],
        program: &["sum 10", "handled 0", "children 42 43", "end 43"],
        end: End::Code(7),
    },
    Case {
        name: "a crash",
        argument: "crash",
        script: "handle SIGUSR1 nostop noprint pass
continue
backtrace
continue
",
        interrupt_at: None,
        gdb: &["received signal SIGSEGV", "#0 ", "main (argc=2", "terminated with signal SIGSEGV"],
        program: &["sum 10", "handled 10", "children 42 43"],
        end: End::Signal(11),
    },
    Case {
        name: "Ctrl-C in a loop, and detach",
        argument: "loop",
        script: "handle SIGUSR1 nostop noprint pass
continue
info threads
set variable sum = 0
detach
",
        interrupt_at: Some("children"),
        gdb: &["received signal SIGINT", "main (argc=2", "(first)", "in pause ()", "detached"],
        program: &["sum 10", "handled 10", "children 42 43", "end "],
        end: End::Code(7),
    },
    Case {
        name: "Ctrl-C in a system call, and detach",
        argument: "sleep",
        script: "handle SIGUSR1 nostop noprint pass
continue
backtrace
print counter
call add(3, 4)
backtrace 1
detach
",
        interrupt_at: Some("children"),
        gdb: &[
            "received signal SIGINT",
            "in pause ()",
            "in main (argc=2",
            "= 43",
            "= 7",
            "in pause ()",
            "detached",
        ],
        program: &["sum 10", "handled 10", "children 42 43"],
        end: End::Runs,
    },
    Case {
        name: "a breakpoint that many threads run into",
        argument: "crowd",
        script: "set print thread-events off
handle SIGUSR1 nostop noprint pass
set $n = 0
break crowd
continue
break add
commands
silent
set $n = $n + 1
continue
end
continue
print $n
",
        interrupt_at: None,
        gdb: &["hit Breakpoint 1, crowd ()", "exited with code 07", "= 120"],
        program: &["children 42 43", "end 0"],
        end: End::Code(7),
    },
    Case {
        name: "kill",
        argument: "",
        script: "break add
continue
kill
",
        interrupt_at: None,
        gdb: &["hit Breakpoint 1, add (a=1, b=2)", "killed"],
        program: &[],
        end: End::Signal(9),
    },
    Case {
        name: "another program in its place, for which gdb comes again",
        argument: "exec",
        script: "handle SIGUSR1 nostop noprint pass
python
try:
    gdb.execute('continue')
except gdb.error as e:
    print('gdb says:', e)
import os, time
for i in range(100):
    if os.path.exists(SOCKET): break
    time.sleep(0.1)
gdb.execute('target remote ' + SOCKET)
end
break main
continue
delete
continue
",
        interrupt_at: None,
        gdb: &["gdb says: Remote connection closed", "Breakpoint 1, main (argc=1", "exited with code 07"],
        program: &["sum 10", "handled 10", "children 42 43", "sum 10", "end 43"],
        end: End::Code(7),
    },
];

/// The contents of a file.
pub fn content(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The first of the texts that does not follow the ones before it.
pub fn missing<'a>(said: &str, wanted: &[&'a str]) -> Option<&'a str> {
    let mut rest = said;
    wanted.iter().copied().find(|want| match rest.find(want) {
        Some(at) => {
            rest = &rest[at + want.len()..];
            false
        }
        None => true,
    })
}

fn check(case: &Case, trine: &Path, program: &Path, dir: &Path, engine: &str) -> Result<(), String> {
    let (socket, out, said) = (dir.join("socket"), dir.join("program.txt"), dir.join("gdb.txt"));
    let at = format!("--gdb=unix:{}", socket.display());
    let mut command = Command::new(trine);
    command.args(["run", "--engine", engine, &at]).arg(program);
    if !case.argument.is_empty() {
        command.arg(case.argument);
    }
    let mut guest = Running::start(&mut command, &out)?;
    until("the program waits for gdb", PATIENCE, || Ok(socket.exists()))
        .map_err(|e| format!("{e}\n{}", content(&out)))?;
    let script = dir.join("script");
    let python = format!("python SOCKET = '{}'\n", socket.display());
    std::fs::write(&script, format!("{SETUP}{python}target remote {}\n{}", socket.display(), case.script))
        .map_err(|e| e.to_string())?;
    let mut command = Command::new("gdb-multiarch");
    command.args(["-nx", "-batch", "-x"]).arg(&script).arg(program);
    let mut gdb = Running::start(&mut command, &said)?;
    let report =
        |what: &str| format!("{what}\n--- gdb:\n{}\n--- program:\n{}", content(&said), content(&out));
    if let Some(sign) = case.interrupt_at {
        until("the program is where it is to be interrupted", PATIENCE, || Ok(content(&out).contains(sign)))
            .map_err(|e: String| report(&e))?;
        std::thread::sleep(Duration::from_millis(300));
        let pid = gdb.0.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().map_err(|e| e.to_string())?;
    }
    if gdb.end(PATIENCE)?.is_none() {
        return Err(report("gdb does not come to an end"));
    }
    let end = match guest.end(if case.end == End::Runs { Duration::from_millis(300) } else { PATIENCE })? {
        None => End::Runs,
        Some(status) => status.code().map_or_else(|| End::Signal(status.signal().unwrap_or(0)), End::Code),
    };
    drop(guest);
    if let Some(want) = missing(&content(&said), case.gdb) {
        return Err(report(&format!("gdb does not say '{want}'")));
    }
    if let Some(want) = missing(&content(&out), case.program) {
        return Err(report(&format!("the program does not say '{want}'")));
    }
    if end != case.end {
        return Err(report(&format!("the program's end is {end:?}, not {:?}", case.end)));
    }
    if socket.exists() {
        return Err(report("the socket is still there"));
    }
    Ok(())
}

/// Compiles a program with threads.
pub fn compile(dir: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let (file, program) = (dir.join(name).with_extension("c"), dir.join(name));
    std::fs::write(&file, source).map_err(|e| e.to_string())?;
    let mut gcc = tools::gcc(&tools::cross_gcc()?);
    gcc.args(["-g", "-O0", "-static", "-o"]).arg(&program).arg(&file).arg("-lpthread");
    match gcc.status().map_err(|e| e.to_string())?.success() {
        true => Ok(program),
        false => Err(format!("{name}.c does not compile")),
    }
}

/// Runs all conversations.
pub fn run() -> Result<(), String> {
    if !tools::has(&["gdb-multiarch"]) {
        return Ok(());
    }
    let trine = tools::trine()?;
    let dir = Scratch::new("gdb")?;
    let program = compile(&dir, "debugger", SOURCE)?;
    let crashing = compile(&dir, "coredump", coredump::SOURCE)?;
    for engine in ["baseline", "interp"] {
        for case in CASES {
            check(case, &trine, &program, &dir, engine)
                .map_err(|e| format!("{} ({engine}): {e}", case.name))?;
        }
        println!("{} conversations with gdb, {engine} engine", CASES.len());
        coredump::run(&trine, &crashing, &dir, engine)?;
    }
    machine_debugger::run(&trine, &dir)
}
