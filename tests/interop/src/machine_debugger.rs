//! gdb-multiarch debugs a machine: two harts without a kernel, in both engines and with both kinds of time. A part of
//! `cargo xtask test gdb`.

use crate::debugger::{PATIENCE, SETUP, content, missing};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trine_test_support::command::{Running, until};
use trine_test_support::tools;

const SOURCE: &str = include_str!("machine_debugger.c");

/// One conversation.
struct Case {
    name: &'static str,
    /// The typed lines.
    script: &'static str,
    /// Whether gdb is interrupted, as by Ctrl-C, when the machine has run for a while.
    interrupt: bool,
    /// Expected output of gdb, in this order.
    gdb: &'static [&'static str],
    /// How the machine ends: with this exit code. `None`: it does not end.
    code: Option<i32>,
}

const CASES: &[Case] = &[
    Case {
        name: "harts, breakpoints, registers, steps",
        script: "info threads
info registers pc a0 mhartid mstatus priv
break store
continue
print value
print watched == value
backtrace
continue
print value
print $a0 = 77
finish
print watched
delete
hbreak load
continue
stepi
x/i $pc
stepi
print/x $mscratch = 0x1234
info registers mscratch misa
print tick_count = 5
print watched = 99
print watched
thread 2
info registers mhartid
detach
",
        interrupt: false,
        gdb: &[
            "1    Thread 1.1 (vcpu0)",
            "2    Thread 1.2 (vcpu1)",
            "pc             0x80000",
            "a0             0x0",
            "mhartid        0x0",
            "priv           0x3",
            "hit Breakpoint 1, store (value=",
            "$1 = 0",
            "$2 = 1",
            "#0  store",
            "#1 ",
            "first ()",
            "hit Breakpoint 1, store (value=",
            "$3 = 1000",
            "= 77",
            "first ()",
            "= 77",
            "Hardware assisted breakpoint 2",
            "hit Breakpoint 2, load ()",
            "=> 0x8000",
            "= 0x1234",
            "mscratch       0x1234",
            "misa           0x8000000000",
            "No symbol \"tick_count\"",
            "= 99",
            "= 99",
            "[Switching to thread 2",
            "mhartid        0x1",
            "detached",
        ],
        code: None,
    },
    Case {
        name: "watchpoints",
        script: "watch watched
continue
print other == watched
print watched
continue
print watched
info registers pc
delete
rwatch watched
continue
x/i $pc
delete
watch counter if counter >= 5000
continue
print counter
kill
",
        interrupt: false,
        gdb: &[
            "Hardware watchpoint 1: watched",
            "Old value = 0",
            "New value = 1000",
            "store (",
            "= 0",
            "= 1000",
            "Old value = 1000",
            "New value = 2000",
            "= 2000",
            "Hardware read watchpoint 2: watched",
            "Value = 2000",
            "<load+",
            "Hardware watchpoint 3: counter",
            "New value = 5000",
            "= 5000",
            "killed",
        ],
        code: Some(5),
    },
    Case {
        name: "a breakpoint behind page tables that are not there yet, and the end",
        script: "print finish = 1
hbreak *((unsigned long)high + 0xffffffc000000000)
continue
print $pc == (unsigned long)high + 0xffffffc000000000
info registers priv satp
x/2i $pc
print *(long *)((char *)&counter + 0xffffffc000000000) == counter
print *(long *)0xffffffc000000000
print *(long *)((char *)&watched + 0xffffffc000000000) = 4711
print watched
break *((unsigned long)tick + 0xffffffc000000000)
continue
continue
delete
continue
",
        interrupt: false,
        gdb: &[
            "= 1",
            "Hardware assisted breakpoint 1",
            "Breakpoint 1, 0xffffffc0",
            "= 1",
            "priv           0x1",
            "satp           0x80000000000",
            "=> 0xffffffc0",
            "= 1",
            "Cannot access memory at address 0xffffffc000000000",
            "= 4711",
            "= 4711",
            "Breakpoint 2, 0xffffffc080",
            "Breakpoint 2, 0xffffffc080",
            "exited normally",
        ],
        code: Some(0),
    },
    Case {
        name: "an interrupt, one hart alone, the monitor",
        script: "break high
continue
info threads
print counter > 1000
set scheduler-locking on
stepi
stepi
thread 2
monitor info registers
monitor info devices
monitor info jit
monitor x /2xg 0x80000000
monitor disassemble 0x80000000 2
monitor nonsense
set scheduler-locking off
detach
",
        interrupt: true,
        gdb: &[
            "received signal SIGINT",
            "(vcpu0)",
            "(vcpu1)",
            "= 1",
            "second () at",
            "CPU 0",
            "mhartid 0000000000000000",
            "uart0",
            " of them compiled",
            "0000000080000000: 0x",
            "0000000080000000: ",
            "'nonsense' is unknown",
            "detached",
        ],
        code: None,
    },
];

fn check(case: &Case, trine: &Path, program: &Path, dir: &Path, how: &[&str]) -> Result<(), String> {
    let (socket, out, said) = (dir.join("socket"), dir.join("machine.txt"), dir.join("gdb.txt"));
    let at = format!("--gdb=unix:{}", socket.display());
    let mut command = Command::new(trine);
    command.args(["run", "--firmware", "none", "--cpus", "2", "-m", "64M", &at]).args(how).arg(program);
    let mut guest = Running::start(&mut command, &out)?;
    until("the machine waits for gdb", PATIENCE, || Ok(socket.exists()))
        .map_err(|e| format!("{e}\n{}", content(&out)))?;
    let script = dir.join("script");
    std::fs::write(&script, format!("{SETUP}target remote {}\n{}", socket.display(), case.script))
        .map_err(|e| e.to_string())?;
    let mut command = Command::new("gdb-multiarch");
    // An error of one command is not the end of the conversation.
    let source = format!(
        "python\nfor line in open('{}'):\n  try: gdb.execute(line)\n  except gdb.error as e: print(e)\nend\n",
        script.display()
    );
    let start = dir.join("start");
    std::fs::write(&start, source).map_err(|e| e.to_string())?;
    command.args(["-nx", "-batch", "-x"]).arg(&start).arg(program);
    let mut gdb = Running::start(&mut command, &said)?;
    let report =
        |what: &str| format!("{what}\n--- gdb:\n{}\n--- machine:\n{}", content(&said), content(&out));
    if case.interrupt {
        until("gdb continues", PATIENCE, || Ok(content(&said).contains("Breakpoint 1 at")))
            .map_err(|e: String| report(&e))?;
        std::thread::sleep(Duration::from_millis(700));
        let pid = gdb.0.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().map_err(|e| e.to_string())?;
    }
    if gdb.end(PATIENCE)?.is_none() {
        return Err(report("gdb does not come to an end"));
    }
    let patience = if case.code.is_none() { Duration::from_millis(300) } else { PATIENCE };
    let code = guest.end(patience)?.map(|status| status.code().unwrap_or(-1));
    drop(guest);
    if let Some(want) = missing(&content(&said), case.gdb) {
        return Err(report(&format!("gdb does not say '{want}'")));
    }
    if code != case.code {
        return Err(report(&format!("the machine's end is {code:?}, not {:?}", case.code)));
    }
    Ok(())
}

fn compile(dir: &Path) -> Result<PathBuf, String> {
    let (file, program) = (dir.join("machine_debugger.c"), dir.join("machine_debugger"));
    std::fs::write(&file, SOURCE).map_err(|e| e.to_string())?;
    let mut gcc = tools::gcc(&tools::cross_gcc()?);
    gcc.args(["-g", "-O1", "-mcmodel=medany", "-nostdlib", "-static", "-fno-pic", "-ffreestanding"]);
    gcc.args(["-fno-stack-protector", "-msmall-data-limit=0"]);
    // Data in pages of its own: stores beside code drop its translations.
    gcc.arg("-Wl,-N,-Ttext=0x80000000,-Tbss=0x80010000,-e,start,--build-id=none");
    gcc.arg("-o").arg(&program).arg(&file);
    match gcc.status().map_err(|e| e.to_string())?.success() {
        true => Ok(program),
        false => Err("machine_debugger.c does not compile".into()),
    }
}

/// Runs all conversations.
pub fn run(trine: &Path, dir: &Path) -> Result<(), String> {
    let program = compile(dir)?;
    for how in [["--engine", "baseline"].as_slice(), &["--engine", "interp"], &["--count-time", "10"]] {
        for case in CASES {
            check(case, trine, &program, dir, how)
                .map_err(|e| format!("{} ({}): {e}", case.name, how.join(" ")))?;
        }
        println!("{} conversations with gdb about a machine, {}", CASES.len(), how.join(" "));
    }
    Ok(())
}
