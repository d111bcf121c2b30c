//! Core dumps of programs, read by gdb-multiarch: a part of `cargo xtask test gdb`.

use crate::debugger::{PATIENCE, content, missing};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use trine_test_support::command::{Running, until};

/// The program to crash.
pub const SOURCE: &str = include_str!("coredump.c");

/// Signals' numbers, of the host and of the program.
const QUIT: i32 = 3;
const TRAP: i32 = 5;
const ABRT: i32 = 6;
const SEGV: i32 = 11;

/// Commands that gdb gets for every core file.
const QUESTIONS: &[&str] = &[
    "info threads",
    "backtrace",
    "frame function down",
    "print local",
    "print text",
    "print shared[3]",
    "print end",
    "info auxv",
];

/// One crash.
struct Case {
    /// Argument of the program.
    argument: &'static str,
    /// Soft limit of core files, in the units of the shell's `ulimit -c`.
    limit: &'static str,
    signal: i32,
    /// Further commands for gdb.
    questions: &'static [&'static str],
    /// Expected output of gdb, in this order. `{NAME}` stands for the number that the program wrote after the
    /// name.
    gdb: &'static [&'static str],
}

/// The end of the recursion, and the rest of each answer.
macro_rules! answers {
    ($($first:literal),*; $where:literal; $caller:literal) => {
        &[$($first),*, $where, "down (depth=0)", "down (depth=1)", "down (depth=3)", $caller, "= 0", "in the heap", "= 1234",
          "AT_SYSINFO_EHDR"]
    };
}

const CASES: &[Case] = &[
    Case {
        argument: "segv",
        limit: "unlimited",
        signal: SEGV,
        questions: &[
            "frame 0",
            "info registers s11 fs11",
            "print $_siginfo._sifields._sigfault.si_addr",
            "thread apply all backtrace",
        ],
        gdb: &[
            "signal SIGSEGV",
            "(LWP {main})",
            "(LWP {sleeper})",
            "in pause ()",
            "(LWP {spinner})",
            "spinner (",
            "in crash ()",
            "in down (depth=0)",
            "in down (depth=5)",
            "in main (argc=2,",
            "= 0",
            "= {text} \"in the heap\"",
            "= 1234",
            "\"segv\"",
            "AT_SYSINFO_EHDR",
            "0x5eed",
            "(raw 0x0000000000005eed)",
            "(void *) 0x8",
            "(LWP {spinner})",
            "in start_thread ()",
            "(LWP {sleeper})",
            "in sleeper (",
            "in start_thread ()",
        ],
    },
    Case {
        argument: "abort",
        limit: "unlimited",
        signal: ABRT,
        questions: &[],
        gdb: answers!("signal SIGABRT", "(LWP {main})", "(LWP {sleeper})", "(LWP {spinner})"; "in abort ()"; "in main ("),
    },
    Case {
        argument: "trap",
        limit: "unlimited",
        signal: TRAP,
        questions: &[],
        gdb: answers!("signal SIGTRAP", "(LWP {main})", "(LWP {spinner})"; "crash ()"; "in main ("),
    },
    Case {
        argument: "wait",
        limit: "unlimited",
        signal: QUIT,
        questions: &[],
        gdb: answers!("signal SIGQUIT", "(LWP {main})", "(LWP {spinner})"; "in pause ()"; "in main ("),
    },
    Case {
        argument: "fork",
        limit: "unlimited",
        signal: SEGV,
        questions: &[],
        gdb: answers!("signal SIGSEGV", "(LWP {main})"; "in crash ()"; "in child ()"),
    },
    Case {
        argument: "vfork",
        limit: "unlimited",
        signal: SEGV,
        questions: &[],
        gdb: answers!("signal SIGSEGV", "LWP {main}"; "in crash ()"; "in child ()"),
    },
    // The program raises the limit itself.
    Case {
        argument: "raised",
        limit: "0",
        signal: SEGV,
        questions: &[],
        gdb: answers!("signal SIGSEGV", "(LWP {main})"; "in crash ()"; "in main ("),
    },
];

/// The rest of a line of the program's output that begins with a word.
fn behind(out: &str, word: &str) -> String {
    let rest = out.lines().find_map(|l| l.strip_prefix(word)?.strip_prefix(' '));
    rest.unwrap_or_default().to_string()
}

/// The only core file of a directory.
fn core_file(dir: &Path) -> Result<Option<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| e.to_string())?;
    let mut found: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    if found.len() > 1 {
        return Err(format!("more than one core file: {found:?}"));
    }
    Ok(found.pop())
}

/// Lets the program crash in `dir`, which is empty; returns its output.
fn crash(case: &Case, trine: &Path, program: &Path, dir: &Path, engine: &str) -> Result<String, String> {
    let out = dir.with_extension("txt");
    let mut command = Command::new("sh");
    let script = format!("ulimit -S -c {} && exec \"$@\"", case.limit);
    command.args(["-c", &script, "sh"]).arg(trine).args(["run", "--engine", engine]).arg(program);
    let mut guest = Running::start(command.arg(case.argument).current_dir(dir), &out)?;
    if case.argument == "wait" {
        until("the program waits", PATIENCE, || Ok(content(&out).contains("text ")))?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        let pid = guest.0.id().to_string();
        Command::new("kill").args(["-QUIT", &pid]).status().map_err(|e| e.to_string())?;
    }
    let Some(status) = guest.end(PATIENCE)? else { return Err("the program does not come to an end".into()) };
    let said = content(&out);
    let signal = match behind(&said, "status").parse() {
        Ok(childs) => childs,
        Err(_) => status.signal().unwrap_or(0),
    };
    if signal != case.signal {
        return Err(format!("signal {signal}, not {}; the program said:\n{said}", case.signal));
    }
    Ok(said)
}

fn check(case: &Case, trine: &Path, program: &Path, dir: &Path, engine: &str) -> Result<(), String> {
    let said = crash(case, trine, program, dir, engine)?;
    let core = core_file(dir)?.ok_or("there is no core file")?;
    let kind = std::fs::symlink_metadata(&core).map_err(|e| e.to_string())?;
    if kind.mode() & 0o777 != 0o600 || !kind.file_type().is_file() {
        return Err(format!("mode {:o}", kind.mode()));
    }
    // 16 GiB are reserved and the stacks are mostly untouched.
    if kind.blocks() * 512 > 4 << 20 {
        return Err(format!("{} bytes on the disk", kind.blocks() * 512));
    }
    let answers = dir.with_extension("gdb");
    let mut command = Command::new("gdb-multiarch");
    command.args(["-nx", "-batch"]);
    for question in QUESTIONS.iter().chain(case.questions) {
        command.args(["-ex", question]);
    }
    let mut gdb = Running::start(command.arg(program).arg(&core), &answers)?;
    if gdb.end(PATIENCE)?.is_none() {
        return Err("gdb does not come to an end".into());
    }
    let wanted: Vec<String> = case.gdb.iter().map(|want| filled(want, &said)).collect();
    let wanted: Vec<&str> = wanted.iter().map(|w| &w[..]).collect();
    match missing(&content(&answers), &wanted) {
        Some(want) => {
            Err(format!("gdb does not say '{want}'\n--- gdb:\n{}\n--- program:\n{said}", content(&answers)))
        }
        None => std::fs::remove_file(core).map_err(|e| e.to_string()),
    }
}

/// Replaces names in a text by what the program wrote.
fn filled(text: &str, said: &str) -> String {
    ["main", "sleeper", "spinner", "text"]
        .iter()
        .fold(text.into(), |all: String, name| all.replace(&format!("{{{name}}}"), &behind(said, name)))
}

/// No core file if none is wanted, a part of one if there is a limit, none through a link.
fn limits(trine: &Path, program: &Path, dir: &Path, engine: &str) -> Result<(), String> {
    let case = |limit| Case { argument: "segv", limit, signal: SEGV, questions: &[], gdb: &[] };
    crash(&case("0"), trine, program, dir, engine)?;
    if let Some(core) = core_file(dir)? {
        return Err(format!("with a limit of 0 there is {}", core.display()));
    }
    // In units of 512 bytes.
    crash(&case("90"), trine, program, dir, engine)?;
    let core = core_file(dir)?.ok_or("with a small limit there is no core file")?;
    let bytes = std::fs::metadata(&core).map_err(|e| e.to_string())?.blocks() * 512;
    std::fs::remove_file(&core).map_err(|e| e.to_string())?;
    if !(8192..=90 * 512).contains(&bytes) {
        return Err(format!("{bytes} bytes where {} are allowed", 90 * 512));
    }
    if std::fs::read("/proc/sys/kernel/core_pattern").is_ok_and(|p| p.trim_ascii() == b"core")
        && std::fs::read("/proc/sys/kernel/core_uses_pid").is_ok_and(|p| p.trim_ascii() == b"0")
    {
        let target = dir.with_extension("target");
        std::os::unix::fs::symlink(&target, dir.join("core")).map_err(|e| e.to_string())?;
        crash(&case("unlimited"), trine, program, dir, engine)?;
        std::fs::remove_file(dir.join("core")).map_err(|e| e.to_string())?;
        if target.exists() {
            return Err("a core file was written through a link".into());
        }
    }
    Ok(())
}

/// Runs all of them; `dir` is for this test alone.
pub fn run(trine: &Path, program: &Path, dir: &Path, engine: &str) -> Result<(), String> {
    let dir = dir.join("cores");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    for case in CASES {
        check(case, trine, program, &dir, engine)
            .map_err(|e| format!("core dump '{}' ({engine}): {e}", case.argument))?;
    }
    limits(trine, program, &dir, engine).map_err(|e| format!("core dumps' limits ({engine}): {e}"))?;
    println!("{} core dumps read by gdb, {engine} engine", CASES.len());
    Ok(())
}
