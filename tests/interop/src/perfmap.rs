//! `cargo xtask test perf-map`: map files of programs, and whether `perf` finds its names in them.

use crate::coredump;
use crate::debugger::{PATIENCE, compile, content};
use std::path::{Path, PathBuf};
use std::process::Command;
use trine_test_support::command::Running;
use trine_test_support::scratch::Scratch;
use trine_test_support::tools;

fn map_of(pid: &str) -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{pid}.map"))
}

/// Lines of a map file: address, bytes and name.
fn lines(pid: &str) -> Result<Vec<(u64, u64, String)>, String> {
    let path = map_of(pid);
    let content = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    std::fs::remove_file(&path).map_err(|e| e.to_string())?;
    let line = |l: &str| {
        let mut fields = l.splitn(3, ' ');
        let mut number = || u64::from_str_radix(fields.next()?, 16).ok();
        Some((number()?, number()?, fields.next()?.to_string()))
    };
    content.lines().map(|l| line(l).ok_or_else(|| format!("what is the line '{l}'?"))).collect()
}

fn has(lines: &[(u64, u64, String)], name: &str) -> bool {
    lines.iter().any(|(at, size, n)| *at != 0 && *size != 0 && n.starts_with(name))
}

/// Runs the program to its end; returns its output.
fn run_it(command: &mut Command, out: &Path) -> Result<(u32, String), String> {
    let mut process = Running::start(command, out)?;
    let pid = process.0.id();
    process.end(PATIENCE)?.ok_or("the program does not come to an end")?;
    Ok((pid, content(out)))
}

fn number(said: &str, name: &str) -> Result<String, String> {
    let found = said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    found.map(String::from).ok_or_else(|| format!("no line '{name}' in:\n{said}"))
}

/// Runs all checks.
pub fn run() -> Result<(), String> {
    let trine = tools::trine()?;
    let dir = Scratch::new("perf")?;
    let program = compile(&dir, "coredump", coredump::SOURCE)?;
    let out = dir.join("out");
    let trined = |argument: &str| {
        let mut command = Command::new("sh");
        let script = "ulimit -c 0 && exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(&trine).args(["run", "--perf-map"]).arg(&program);
        command.arg(argument);
        command
    };
    let (pid, _) = run_it(&mut trined("segv"), &out)?;
    let map = lines(&pid.to_string())?;
    if !has(&map, "trine: ") || !has(&map, "spinner+0x") {
        return Err(format!("names are missing in {map:?}"));
    }
    let (pid, said) = run_it(&mut trined("fork"), &out)?;
    let (parent, child) = (lines(&pid.to_string())?, lines(&number(&said, "main")?)?);
    if child.is_empty() || !has(&child, "trine: ") || parent.is_empty() || child[0] != parent[0] {
        return Err(format!("the child's map does not begin as its parent's: {child:?}, {parent:?}"));
    }
    println!("map files of a program with threads, and of a child");
    perf(&dir, &mut trined("segv"))
}

/// Whether perf shows the names.
fn perf(dir: &Path, program: &mut Command) -> Result<(), String> {
    if !tools::has(&["perf"]) {
        return Ok(());
    }
    let (data, out) = (dir.join("perf.data"), dir.join("out"));
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-o"]).arg(&data).arg(program.get_program()).args(program.get_args());
    let (_, said) = run_it(&mut command, &out)?;
    let Ok(pid) = number(&said, "main") else {
        eprintln!("skipped: perf may not record here");
        return Ok(());
    };
    let mut command = Command::new("perf");
    command.args(["report", "--stdio", "--sort", "sym", "-i"]).arg(&data);
    let (_, report) = run_it(&mut command, &out)?;
    lines(&pid)?;
    if !report.contains("spinner+0x") {
        return Err(format!("perf does not know 'spinner':\n{report}"));
    }
    println!("perf finds them");
    Ok(())
}
