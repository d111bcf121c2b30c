//! The system-call tests of `crates/linux/tests/calls`: each program prints one line for each check, and the
//! lines must be the same under QEMU's user mode and in both engines. Where QEMU itself is wrong or lacks a
//! call, `exempt.txt` beside the programs lists the expected result.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use trine_test_support::command::end_of;
use trine_test_support::tools;

/// Time limit of a program.
const LONGEST: Duration = Duration::from_secs(60);

/// Files whose programs run in a user and mount namespace of their own, where they are root.
const APART: &[&str] = &["mounts"];

/// The expected result of a check if it is not QEMU's.
enum Want {
    /// The output of the same source compiled for the host.
    Native,
    /// This text.
    This(String),
}

/// A line of `exempt.txt`: `FILE/CHECK = native` or `FILE/CHECK = RESULT`; `*` at the end of CHECK matches
/// anything.
struct Exempt {
    check: String,
    want: Want,
}

/// Results of a program's checks by their names, in order.
type Lines = Vec<(String, String)>;

fn sources() -> PathBuf {
    tools::root().join("crates/linux/tests/calls")
}

/// Reads `exempt.txt`: blocks of entries, each under at least one comment line with the reason.
fn exempt(text: &str) -> Result<Vec<Exempt>, String> {
    let (mut list, mut reason) = (Vec::new(), false);
    for (n, line) in text.lines().enumerate() {
        let wrong = |what: &str| Err(format!("exempt.txt, line {}: {what}", n + 1));
        match line.trim() {
            "" => reason = false,
            comment if comment.starts_with('#') => reason = true,
            _ if !reason => return wrong("there is no reason above it"),
            entry => match entry.split_once(" = ") {
                None => return wrong("it is not FILE/CHECK = WANTED"),
                Some((check, want)) => {
                    let want = if want == "native" { Want::Native } else { Want::This(want.into()) };
                    list.push(Exempt { check: check.into(), want });
                }
            },
        }
    }
    Ok(list)
}

impl Exempt {
    fn is_about(&self, check: &str) -> bool {
        match self.check.strip_suffix('*') {
            Some(start) => check.starts_with(start),
            None => self.check == check,
        }
    }
}

fn newer(program: &Path, sources: &[PathBuf]) -> bool {
    let time = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
    time(program).is_some_and(|built| sources.iter().all(|s| time(s).is_some_and(|t| t < built)))
}

/// Compiles a source with this compiler, if it is newer than the program.
fn compile(mut compiler: Command, source: &Path, program: &Path) -> Result<(), String> {
    if newer(program, &[source.to_path_buf(), source.with_file_name("calls.h")]) {
        return Ok(());
    }
    // These programs test errors: ignored results are intended.
    compiler.args(["-std=gnu11", "-O1", "-w", "-pthread", "-o"]).arg(program).arg(source).arg("-lrt");
    let out = compiler.output().map_err(|e| format!("the compiler: {e}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(format!("{}:\n{said}", source.display())) }
}

/// Runs a program in a directory of its own; returns its checks, and its exit as the last one.
fn run_one(command: &mut Command, dir: &Path) -> Result<Lines, String> {
    drop(std::fs::remove_dir_all(dir));
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let out = dir.with_extension("out");
    let file = std::fs::File::create(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    command.current_dir(dir).stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    let end = match end_of(&mut child, LONGEST)? {
        Some(status) => status.to_string(),
        None => {
            // With its children, which are in its process group.
            drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status());
            drop(child.kill());
            drop(child.wait());
            "it hung".into()
        }
    };
    let text = std::fs::read(&out).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    drop(std::fs::remove_dir_all(dir));
    drop(std::fs::remove_file(&out));
    let split = |line: &str| match line.split_once(": ") {
        Some((name, result)) => (name.into(), result.into()),
        None => (line.into(), String::new()),
    };
    let mut lines: Lines = text.lines().map(split).collect();
    number_repeated(&mut lines);
    lines.push(("end".into(), end));
    Ok(lines)
}

/// A check that is repeated gets a number from the second time on.
fn number_repeated(lines: &mut Lines) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in lines {
        let n = times.entry(name.clone()).or_default();
        *n += 1;
        if *n > 1 {
            *name = format!("{name} ({n})");
        }
    }
}

/// The unexpected lines of one run.
fn compare(file: &str, who: &str, want: &Lines, got: &Lines) -> Vec<String> {
    let mut found = Vec::new();
    let got_by: BTreeMap<&str, &str> = got.iter().map(|(n, r)| (n.as_str(), r.as_str())).collect();
    for (name, result) in want {
        match got_by.get(name.as_str()) {
            Some(r) if r == result => {}
            Some(r) => found.push(format!("{file}/{name}: {who} '{r}', wanted '{result}'")),
            None => found.push(format!("{file}/{name}: {who} does not print it, wanted '{result}'")),
        }
    }
    let known: Vec<&str> = want.iter().map(|(n, _)| n.as_str()).collect();
    let more = got_by.iter().filter(|(n, _)| !known.contains(n));
    found.extend(more.map(|(n, r)| format!("{file}/{n}: {who} '{r}', wanted no such line")));
    found
}

/// QEMU's lines, with exempt ones replaced.
fn wanted(file: &str, exempt: &[Exempt], qemu: Lines, native: Lines) -> Lines {
    let about = |name: &str| exempt.iter().find(|e| e.is_about(&format!("{file}/{name}")));
    // Checks that QEMU did not reach.
    let printed: Vec<String> = qemu.iter().map(|(n, _)| n.clone()).collect();
    let is_native = |name: &str| about(name).is_some_and(|e| matches!(e.want, Want::Native));
    let more: Lines = native.iter().filter(|(n, _)| !printed.contains(n) && is_native(n)).cloned().collect();
    let native: BTreeMap<String, String> = native.into_iter().collect();
    let replace = |(name, result): (String, String)| match about(&name).map(|e| &e.want) {
        None => (name, result),
        Some(Want::This(want)) => (name, want.clone()),
        Some(Want::Native) => {
            let result = native.get(&name).cloned().unwrap_or(result);
            (name, result)
        }
    };
    qemu.into_iter().map(replace).chain(more).collect()
}

/// A command that runs another one in namespaces of its own; the other command is appended to its arguments.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private"]);
    command
}

/// The command with these words; the file is set separately.
fn command(file: &str, words: &[&std::ffi::OsStr]) -> Command {
    let mut command = if APART.contains(&file) { apart() } else { Command::new(words[0]) };
    command.args(if APART.contains(&file) { words } else { &words[1..] });
    command
}

/// Compiles and runs one file; returns the number of its checks and the differences.
fn test(source: &Path, dir: &Path, exempt: &[Exempt]) -> Result<(usize, Vec<String>), String> {
    let file = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (program, host) = (dir.join(&file), dir.join(format!("{file}-native")));
    let mut cross = tools::gcc(&tools::cross_gcc()?);
    cross.arg("-static");
    compile(cross, source, &program)?;
    compile(Command::new("cc"), source, &host)?;
    let work = dir.join(format!("{file}.dir"));
    let run = |words: &[&std::ffi::OsStr]| run_one(&mut command(&file, words), &work);
    let qemu = run(&[tools::qemu_user("riscv64")?.as_ref(), program.as_ref()])?;
    let want = wanted(&file, exempt, qemu, run(&[host.as_ref()])?);
    let trine = tools::root().join("target/release/trine");
    let mut found = Vec::new();
    for engine in ["baseline", "interp"] {
        let words = ["run", "--engine", engine].map(std::ffi::OsStr::new);
        let words = [&[trine.as_os_str()], &words[..], &[program.as_os_str()]].concat();
        found.extend(compare(&file, engine, &want, &run(&words)?));
    }
    Ok((want.len(), found))
}

/// One program's system calls in the output of `--strace`: decoded flags, names of errors and signals.
fn transcript(dir: &Path) -> Result<(), String> {
    const WANTED: &[&str] = &[
        "mmap(NULL, 16384, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x",
        "mmap(NULL, 0, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 EINVAL",
        "openat(AT_FDCWD, \"m\", O_WRONLY|O_CREAT|O_TRUNC, 0o644) = ",
        "rt_sigaction(SIGBUS, 0x",
        "--- SIGSEGV, code 2, address 0x",
    ];
    let work = dir.join("transcript.dir");
    std::fs::create_dir_all(&work).map_err(|e| e.to_string())?;
    let mut command = Command::new(tools::root().join("target/release/trine"));
    command.args(["run", "--strace"]).arg(dir.join("memory")).current_dir(&work).stdin(Stdio::null());
    let out = command.output().map_err(|e| e.to_string())?;
    drop(std::fs::remove_dir_all(&work));
    let text = String::from_utf8_lossy(&out.stderr);
    match WANTED.iter().find(|want| !text.contains(*want)) {
        Some(missing) => Err(format!("--strace does not show '{missing}':\n{text}")),
        None => Ok(()),
    }
}

/// Runs all files, or the one named in the environment variable `TRINE_CALLS`.
pub fn run() -> Result<(), String> {
    tools::trine()?;
    let dir = tools::root().join("target/calls");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let list =
        std::fs::read_to_string(sources().join("exempt.txt")).map_err(|e| format!("exempt.txt: {e}"))?;
    let exempt = exempt(&list)?;
    let only = std::env::var("TRINE_CALLS").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(sources())
        .map_err(|e| e.to_string())?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "c"))
        .filter(|p| only.as_ref().is_none_or(|o| p.file_stem().is_some_and(|s| s == o.as_str())))
        .collect();
    files.sort();
    let (mut checks, mut found) = (0, Vec::new());
    let namespaces = apart().arg("true").stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    for source in &files {
        if !namespaces && APART.iter().any(|a| source.file_stem().is_some_and(|s| s == *a)) {
            println!("skipped: {}: user namespaces (unshare) are not here", source.display());
            continue;
        }
        let (n, differ) = test(source, &dir, &exempt)?;
        checks += n;
        found.extend(differ);
    }
    if only.is_none() {
        transcript(&dir)?;
    }
    println!("{checks} checks in {} files, {} differ", files.len(), found.len());
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}
