//! `cargo xtask test leaks`: SIGKILL for each of Trine's processes at any moment of a container's or
//! program's life. The next command cleans up: no process, mount, control group or file stays.
//!
//! This process adopts orphaned descendants, so a descendant that still runs afterwards is a leak. Without
//! processes and mounts, no namespace is left either: nothing else holds one.

use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trine_base::elf::{self, Cpu, Segment};
use trine_control::process::{self, Stat};
use trine_test_support::bundle::Bundle;
use trine_test_support::command::succeed;
use trine_test_support::text;

/// Number of kills of commands of `trine oci`, and of their children.
const BUNDLES: usize = 104;
/// Number of kills around `trine run -d`.
const GUESTS: usize = 60;
/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn wait(&mut self, most: Duration) {
        std::thread::sleep(Duration::from_micros(self.below(most.as_micros() as u64 + 1)));
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { list.get(self.below(list.len() as u64) as usize).copied() }
    }
}

/// The running descendants of this process; ended ones are reaped.
fn descendants() -> Vec<i32> {
    let all: Vec<Stat> = process::all();
    let mut ours: BTreeSet<i32> = BTreeSet::from([std::process::id() as i32]);
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|p| ours.contains(&p.parent) && !ours.contains(&p.pid))
            .map(|p| p.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    let lives = |p: &&Stat| ours.contains(&p.pid) && !p.is_zombie() && p.pid != std::process::id() as i32;
    all.iter().filter(lives).map(|p| p.pid).collect()
}

/// Reaps adopted processes, but not a command that is waited for: a process that joined a container's
/// namespace keeps it alive until it is reaped.
fn reap(but: Option<u32>) {
    let own = std::process::id() as i32;
    let adopted = |s: &&Stat| s.parent == own && s.is_zombie() && Some(s.pid as u32) != but;
    for stat in process::all().iter().filter(adopted) {
        let pid = rustix::process::Pid::from_raw(stat.pid);
        let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG);
    }
}

/// Runs a command that must leave nothing behind, while adopted processes are reaped.
fn good(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(text)?;
    while child.try_wait().map_err(text)?.is_none() {
        reap(Some(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    succeed(child.wait_with_output().map_err(text)?)
}

/// Directories of control groups with one of these words in their names.
fn groups(dir: &Path, words: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if words.iter().any(|word| entry.file_name().to_string_lossy().contains(word)) {
            found.push(entry.path().display().to_string());
        }
        groups(&entry.path(), words, found);
    }
}

fn mounts() -> Result<Vec<String>, String> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(text)?;
    // Number, parent, device: those of other tests may come and go.
    Ok(table
        .lines()
        .filter(|line| line.contains("trine") || line.contains("nsfs"))
        .map(String::from)
        .collect())
}

fn files(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path().display().to_string()).collect()
}

/// Waits until nothing is left.
fn nothing_left(before: &[String], words: &[&str], dirs: &[&Path]) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        reap(None);
        let mut left: Vec<String> = descendants().iter().map(|pid| told(*pid)).collect();
        groups(Path::new("/sys/fs/cgroup"), words, &mut left);
        left.extend(mounts()?.into_iter().filter(|m| !before.contains(m)));
        left.extend(dirs.iter().flat_map(|dir| files(dir)));
        if left.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("left: {}", left.join(", ")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn told(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("process {pid} ({})", String::from_utf8_lossy(&line).replace('\0', " "))
}

/// A command without input and output.
fn start(mut command: Command) -> Result<Child, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(text)
}

/// Kills a command, or one of its descendants, and waits for the command.
fn kill(mut child: Child, whom: Option<i32>) {
    process::kill(whom.unwrap_or(child.id() as i32));
    // A command whose process was killed ends by itself; one in the foreground of a container does not.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(child.kill());
    drop(child.wait());
}

/// Approximate duration of each command here.
fn usual(bundle: &Bundle) -> Result<Duration, String> {
    let begin = Instant::now();
    for _ in 0..3 {
        plain(bundle, &["run", "--detach"], "usual")?;
        bundle.good(&["delete", "--force", "usual"])?;
    }
    Ok(begin.elapsed() / 3)
}

/// Commands to kill: the preparation, and the commands themselves.
const COMMANDS: &[(&[&str], &[&str])] = &[
    (&[], &["create"]),
    (&["create"], &["start"]),
    (&[], &["run"]),
    (&[], &["run", "--detach"]),
    (&["run", "--detach"], &["exec"]),
    (&["run", "--detach"], &["delete", "--force"]),
    (&["create"], &["delete"]),
    (&["run", "--detach"], &["kill"]),
];

/// Runs one that is not killed; its output would be kept open by the container.
fn plain(bundle: &Bundle, line: &[&str], id: &str) -> Result<(), String> {
    let mut command = bundle.oci();
    command.args(line).arg(id);
    let status = start(command)?.wait().map_err(text)?;
    if status.success() { Ok(()) } else { Err(format!("trine oci {}: {status}", line.join(" "))) }
}

fn killed(bundle: &Bundle, round: usize, random: &mut Random, most: Duration) -> Result<(), String> {
    let word = format!("trineleak{}", std::process::id());
    let id = format!("{word}-{round}");
    let (before, (first, second)) = (mounts()?, COMMANDS[round % COMMANDS.len()]);
    if !first.is_empty() {
        plain(bundle, first, &id)?;
    }
    let mut command = bundle.oci();
    command.args(second).arg(&id);
    match second[0] {
        "exec" => drop(command.args(["sleep", "1000"])),
        "kill" => drop(command.arg("KILL")),
        _ => {}
    }
    let child = start(command)?;
    random.wait(most);
    // Every third time one of its descendants.
    let whom = if round % 3 == 2 { random.one_of(&descendants()) } else { None };
    kill(child, whom);
    let mut delete = bundle.oci();
    delete.args(["delete", "--force", &id]);
    good(delete).map_err(|e| format!("{}, then delete --force: {e}", second.join(" ")))?;
    nothing_left(&before, &[&word], &[&bundle.dir.join("state")])
        .map_err(|e| format!("{} was killed: {e}", second.join(" ")))
}

/// Runs so many rounds; fails with the messages of the first five failures.
fn rounds(count: usize, mut play: impl FnMut(usize) -> Result<(), String>) -> Result<(), String> {
    let failed = (0..count).filter_map(|round| {
        play(round).err().map(|e| format!("round {round}: {e}")).inspect(|e| eprintln!("{e}"))
    });
    let failed: Vec<String> = failed.take(5).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn bundles() -> Result<(), String> {
    let bundle = Bundle::new(None)?;
    bundle.script("sleep 1000 & exec sleep 1000", &[("/linux/resources/pids", r#"{"limit":50}"#)])?;
    let most = usual(&bundle)?;
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    rounds(BUNDLES, |round| killed(&bundle, round, &mut random, most))?;
    println!("{BUNDLES} kills of trine oci within {} ms each, nothing left", most.as_millis());
    Ok(())
}

/// A program for riscv64 that waits for ever: `ppoll` of nothing, again and again.
fn program() -> Vec<u8> {
    let load = |register: u32, value: u32| value << 20 | register << 7 | 0x13;
    let mut code: Vec<u32> = (10..15).map(|register| load(register, 0)).collect();
    // ecall; then back to the beginning.
    code.extend([load(17, 73), 0x73, 0xfe5f_f06f]);
    let (base, headers) = (0x10000, (elf::HEADER + elf::PROGRAM_HEADER) as u64);
    let size = headers + code.len() as u64 * 4;
    // One segment: read, execute.
    let segment = Segment::loaded(5, 0, base, size, 4096);
    let mut elf = elf::headers(Cpu::RISCV64, elf::kind::EXECUTABLE, base + headers, &[segment]);
    elf.extend(code.iter().flat_map(|n| n.to_le_bytes()));
    elf
}

/// `trine` with directories of its own.
fn trine(bundle: &Bundle, args: &[&str]) -> Command {
    let mut command = bundle.command(&bundle.dir.join("trine"));
    command
        .env("XDG_DATA_HOME", bundle.dir.join("data"))
        .env("XDG_RUNTIME_DIR", bundle.dir.join("run"))
        .args(args);
    command
}

fn guest(bundle: &Bundle, round: usize, random: &mut Random) -> Result<(), String> {
    let (before, word) = (mounts()?, format!("trineleakguest{}", std::process::id()));
    let dir = bundle.dir.display().to_string();
    let thing = if round.is_multiple_of(2) { dir.as_str() } else { "./program" };
    let name = format!("leak{round}");
    let mut child = start(trine(bundle, &["run", "-d", "--name", &name, thing]))?;
    match round % 5 {
        // The command itself, or a descendant.
        0 | 1 => {
            random.wait(Duration::from_millis(60));
            let whom = if round % 5 == 1 { random.one_of(&descendants()) } else { None };
            kill(child, whom);
        }
        // Any process of a running guest.
        2 | 3 => {
            drop(child.wait());
            random.wait(Duration::from_millis(40));
            random.one_of(&descendants()).into_iter().for_each(process::kill);
        }
        // A command beside it, while its first process may just have ended.
        _ => {
            drop(child.wait());
            let beside = start(trine(bundle, &["exec", &name, "sleep", "1000"]))?;
            random.wait(Duration::from_millis(40));
            let whom = random.one_of(&descendants());
            kill(beside, whom);
        }
    }
    let list = || good(trine(bundle, &["ps", "-aq", "--no-trunc"]));
    let all = list()?;
    let words: Vec<&str> = all.split_whitespace().chain([word.as_str()]).collect();
    for id in all.split_whitespace() {
        good(trine(bundle, &["rm", "-f", id])).map_err(|e| format!("rm -f: {e}"))?;
    }
    if !list()?.trim().is_empty() {
        return Err("a guest is still there".into());
    }
    // The name of a guest that was never created is freed by the next `run`.
    let running = bundle.dir.join("run/trine/guests");
    let result = nothing_left(&before, &words, &[&running, &bundle.dir.join("run/trine/oci")]);
    result.map_err(|e| format!("{thing}, kind {}: {e}", round % 5))
}

fn guests() -> Result<(), String> {
    let bundle = Bundle::new(None)?;
    bundle.script("sleep 1000 & exec sleep 1000", &[])?;
    fs::create_dir(bundle.dir.join("run")).map_err(text)?;
    let x = || std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(bundle.dir.join("run"), x()).map_err(text)?;
    fs::write(bundle.dir.join("program"), program()).map_err(text)?;
    fs::set_permissions(bundle.dir.join("program"), x()).map_err(text)?;
    let path = json!(format!("/trineleakguest{}", std::process::id())).to_string();
    bundle.script("sleep 1000 & exec sleep 1000", &[("/linux/cgroupsPath", &path)])?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let played = rounds(GUESTS, |round| guest(&bundle, round, &mut random));
    descendants().into_iter().for_each(process::kill);
    played?;
    println!("{GUESTS} kills around trine run -d, nothing left");
    Ok(())
}

/// Runs the tests.
pub fn run() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: containers of root");
        return Ok(());
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(text)?;
    let failed: Vec<String> = [bundles(), guests()].into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}
