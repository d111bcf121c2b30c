//! Programs that try to escape their confinement, to exhaust resources, and to crash the monitor.
//!
//! Everything that must be refused is first shown to succeed without the confinement. Under root, all is done
//! twice: as root, where control groups can be created, and as an ordinary user, where mostly they cannot.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trine_test_support::{NOBODY, is_root, text, tools};

/// The output of a monitor that failed.
const FAILURES: [&str; 3] = ["panicked at", "memory allocation of", "fatal runtime error"];
/// The kernel's errors for a refusal.
const REFUSALS: [&str; 3] = ["Operation not permitted", "Permission denied", "Function not implemented"];

/// Executables with malformed headers.
const CRAFTED: usize = 400;

/// The attempts of `reach`.
const WRITE: &str = "f_create f_write f_rdwr f_trunc f_truncate f_link_write f_dirfd f_reopen f_tmpfile f_mkdir f_fifo \
    f_symlink f_hardlink f_rename f_chmod f_fchmod f_utimes f_xattr f_flags f_unixfile f_shm f_native_write f_ownmem f_kmsg \
    f_freeze f_trim f_subvolume f_defragment f_lease s_shmat s_shmctl s_semop s_semctl s_msgsnd s_msgrcv s_msgctl s_queue \
    o_comm";
const NET: &str = "n_tcp n_udp n_tcp6 n_netlink n_packet n_unix n_abstract n_datagrams n_native f_unixfile \
    n_sendto n_sendmsg n_sendmmsg n_fastopen n_tunnel";
const EXEC: &str = "e_native e_memfd o_native o_again f_native_write n_native";
const FORK: &str = "k_fork k_vfork k_clone3 o_child";
const READ: &str =
    "r_passwd r_link r_dir o_native r_xattr r_listxattr r_inotify s_shmat s_shmctl s_semctl s_msgrcv s_queue";
/// `--deny all` puts these out of the host's reach, too: natively nothing can be tried, as nothing is
/// executed.
const ALL: [&str; 5] = [WRITE, NET, READ, AROUND, "k_fork"];
/// Refused by every confinement.
const AROUND: &str = "a_mem a_memread a_signal a_pidfd a_userns a_usernsclone a_native_userns a_setns a_mount a_vmread \
    a_log a_hostname p_rlimit p_affinity p_policy p_param p_attributes p_nice p_nicegroup p_ioprio p_oom p_filter";
/// More of these, for native programs; Trine's own table refuses them.
const NATIVE: &str = "b_ptrace b_uring b_keys";
/// Ways out of control groups and limits, for root.
const OUT: &str = "c_procs c_proc1 c_make c_rlimit c_core c_sysrq c_sys c_capability";
/// Works under any refusal except its own.
const ORDINARY: &str = "o_null o_memfd o_pair o_thread o_child o_read o_native o_again o_settings o_comm";

/// The place of a run, and its user.
struct Place {
    dir: PathBuf,
    user: Option<u32>,
}

/// A process of the same user outside, with objects of its own, which are removed when it is dropped.
struct Victim {
    process: Child,
    /// Variables that name it and its objects.
    variables: Vec<(String, String)>,
}

impl Victim {
    fn start(place: &Place) -> Result<Victim, String> {
        let mut hold = place.command(place.dir.join("native"));
        hold.arg("hold").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = hold.spawn().map_err(text)?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(text)?;
        }
        let pair = |word: &str| word.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        let mut variables: Vec<_> = line.split_ascii_whitespace().filter_map(pair).collect();
        variables.push(("VICTIM".into(), process.id().to_string()));
        Ok(Victim { process, variables })
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Its input ends, and it removes its objects.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// How a run ended.
struct Ended {
    /// The shell's number for it.
    code: i32,
    out: String,
    err: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Programs may have taken rights from their files.
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.dir).stderr(Stdio::null()).status();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Place {
    fn new(user: Option<u32>) -> Result<Place, String> {
        let name = format!("trine-hostile-{}-{}", std::process::id(), user.unwrap_or(0));
        let place = Place { dir: std::env::temp_dir().join(name), user };
        std::fs::create_dir_all(&place.dir).map_err(text)?;
        std::fs::copy(tools::trine()?, place.dir.join("trine")).map_err(text)?;
        let gcc = tools::cross_gcc()?;
        for name in ["use", "reach", "over", "wild"] {
            let source = tools::root().join(format!("crates/program/tests/hostile/{name}.c"));
            let to = place.dir.join(name);
            let mut compile = tools::gcc(&gcc);
            compile.args(["-O1", "-Wall", "-Werror", "-static", "-pthread", "-o"]).arg(&to).arg(source);
            if !compile.status().is_ok_and(|s| s.success()) {
                return Err(format!("{name}.c does not compile"));
            }
        }
        let mut host = Command::new("cc");
        host.args(["-O1", "-w", "-pthread", "-o"]).arg(place.dir.join("native"));
        host.arg(tools::root().join("crates/program/tests/hostile/reach.c"));
        if !host.status().is_ok_and(|s| s.success()) {
            return Err("the host's C compiler (cc) is needed for a native program".into());
        }
        std::fs::set_permissions(&place.dir, PermissionsExt::from_mode(0o755)).map_err(text)?;
        Ok(place)
    }

    /// A fresh working directory, with a file and a link to it.
    fn work(&self) -> Result<PathBuf, String> {
        let work = self.dir.join("work");
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&work).stderr(Stdio::null()).status();
        drop(std::fs::remove_dir_all(&work));
        std::fs::create_dir(&work).map_err(text)?;
        std::fs::write(work.join("file"), "some text\n").map_err(text)?;
        std::os::unix::fs::symlink("file", work.join("link")).map_err(text)?;
        for path in [work.clone(), work.join("file")] {
            chown(path, self.user, self.user).map_err(text)?;
        }
        Ok(work)
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null());
        command
    }

    /// `trine run OPTIONS PROGRAM ARGUMENTS`, the words separated by blanks.
    fn run(&self, options: &str, program: &str) -> Result<Ended, String> {
        self.run_beside(options, program, None)
    }

    /// As [`Place::run`], with a process outside as the target.
    fn run_beside(&self, options: &str, program: &str, victim: Option<&Victim>) -> Result<Ended, String> {
        let work = self.work()?;
        let mut words = program.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let script = "exec 7<. 8<file; exec timeout -s KILL 300 \"$@\"";
        let mut command = self.command("/bin/sh");
        command.args(["-c", script, "sh"]);
        if program.contains("n_sendto") {
            command.arg(self.dir.join("native")).arg("inherit");
        }
        command.arg(self.dir.join("trine")).arg("run");
        command.args(options.split_ascii_whitespace()).arg(self.dir.join(name)).args(words);
        command.current_dir(work).envs(victim.into_iter().flat_map(|v| v.variables.iter().cloned()));
        let out = command.output().map_err(text)?;
        let code = out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0));
        let [stdout, stderr] = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        match FAILURES.iter().find(|f| stderr.contains(**f)) {
            Some(failure) => Err(format!("{options} {program}: the monitor failed ({failure}):\n{stderr}")),
            None => Ok(Ended { code, out: stdout, err: stderr }),
        }
    }

    /// Whether `use` could get a resource.
    fn used(&self, options: &str, what: &str) -> Result<(u64, Ended), String> {
        let ended = self.run(options, &format!("use {what}"))?;
        let got = ended.out.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok());
        Ok((got.unwrap_or(u64::MAX), ended))
    }
}

fn check(right: bool, what: &str, ended: &Ended) -> Result<(), String> {
    match right {
        true => Ok(()),
        false => Err(format!("{what}: code {}, output {:?}, errors {:?}", ended.code, ended.out, ended.err)),
    }
}

/// The existing control groups of programs.
fn groups() -> BTreeSet<String> {
    let mut find = Command::new("find");
    find.args(["/sys/fs/cgroup", "-maxdepth", "8", "-type", "d", "-name", "trine-[0-9]*"]);
    let found = find.stderr(Stdio::null()).output().map(|o| o.stdout).unwrap_or_default();
    String::from_utf8_lossy(&found).lines().map(str::to_owned).collect()
}

/// All groups made since are gone within a few seconds.
fn nothing_left(before: &BTreeSet<String>) -> Result<(), String> {
    for _ in 0..50 {
        if groups().is_subset(before) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let left: Vec<_> = groups().difference(before).cloned().collect();
    Err(format!("control groups are left behind: {}", left.join(", ")))
}

fn limits(place: &Place) -> Result<(), String> {
    let before = groups();
    let (got, ended) = place.used("", "memory 200")?;
    check(got == 200, "memory without a limit", &ended)?;
    let (got, ended) = place.used("--limit memory=64M", "memory 60")?;
    check(got == 60, "a program gets the memory it was given", &ended)?;
    let (got, ended) = place.used("--limit memory=64M", "memory 200")?;
    let each = ended.err.contains("each process separately");
    let kept = if each { got < 200 } else { ended.code == 137 && ended.err.contains("--limit memory") };
    check(kept, "memory=64M", &ended)?;
    if !each {
        let ended = place.used("--limit memory=64M", "shared 200")?.1;
        check(ended.code == 137, "memory=64M, shared", &ended)?;
    }
    for what in ["forks", "threads"] {
        let (got, ended) = place.used("", &format!("{what} 40"))?;
        check(got == 40, &format!("{what} without a limit"), &ended)?;
        let (got, ended) = place.used("--limit pids=16", &format!("{what} 40"))?;
        check(got == 15, &format!("{what} with pids=16"), &ended)?;
    }
    let (got, ended) = place.used("", "files 100")?;
    check(got == 100, "files without a limit", &ended)?;
    let (got, ended) = place.used("--limit files=32", "files 100")?;
    check((20..32).contains(&got), "files=32", &ended)?;
    let ended = place.run("--limit files=32", "use native")?;
    check(ended.out.trim() == "32", "files=32 for a native child", &ended)?;
    let ended = place.run("--limit cpu=1s", "use cpu")?;
    check([128 + 24, 137].contains(&ended.code), "cpu=1s", &ended)?;
    let ended = place.run("--limit cpu=1s", "use keeper")?;
    let out_of_reach = ended.out.lines().all(|l| REFUSALS.iter().any(|r| l.ends_with(r)));
    check(out_of_reach && [128 + 24, 137].contains(&ended.code), "cpu=1s, and its keeper", &ended)?;
    let ended = place.run("--limit cpu=0.5", "use files 1")?;
    let refused = ended.code == 2 && ended.err.contains("control group");
    check(refused || ended.code == 0, "cpu=0.5", &ended)?;
    for wrong in ["--limit memory=1", "--limit disk=1G", "--deny everything", "--limit pids=1,"] {
        let ended = place.run(wrong, "use files 1")?;
        check(ended.code == 2 && ended.out.is_empty(), wrong, &ended)?;
    }
    killed(place)?;
    nothing_left(&before)
}

/// A program ended by SIGKILL leaves nothing behind.
fn killed(place: &Place) -> Result<(), String> {
    let mut trine = place.command(place.dir.join("trine"));
    trine.args(["run", "--limit", "memory=64M,pids=20,cpu=10s"]).arg(place.dir.join("use")).arg("wait");
    let mut child = trine.stderr(Stdio::null()).spawn().map_err(text)?;
    std::thread::sleep(Duration::from_millis(300));
    child.kill().map_err(text)?;
    child.wait().map_err(text).map(drop)
}

/// The attacker: a program of `trine run` with its first arguments, and the process outside that it tries to
/// reach.
struct Attacker<'a> {
    place: &'a Place,
    program: String,
    victim: &'a Victim,
    /// Attempts that are impossible on this host for this user, confined or not.
    impossible: RefCell<BTreeSet<String>>,
}

impl Attacker<'_> {
    /// The attempts that succeed, and those that fail, each with the reason.
    fn attempts(&self, options: &str, list: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let ended = self.place.run_beside(options, &format!("{} {list}", self.program), Some(self.victim))?;
        let named = |l: &&str| list.split_ascii_whitespace().any(|n| l.starts_with(&format!("{n} ")));
        let (well, ill): (Vec<&str>, Vec<&str>) =
            ended.out.lines().filter(named).partition(|l| l.ends_with(" ok"));
        let count = list.split_ascii_whitespace().count();
        check(well.len() + ill.len() == count, &format!("{options} {}: all attempts", self.program), &ended)?;
        let name = |l: &&str| l.trim_end_matches(" ok").to_owned();
        Ok((well.iter().map(name).collect(), ill.iter().map(|l| l.to_string()).collect()))
    }

    /// Under `--deny all`, everything of `list` that works without it is refused.
    fn refused_all(&self, list: &str) -> Result<usize, String> {
        let possible = self.attempts("", list)?.0;
        let (well, _) = self.attempts("--deny all", &possible.join(" "))?;
        match well.is_empty() {
            true => Ok(possible.len()),
            false => Err(format!("--deny all {} lets through: {}", self.program, well.join(", "))),
        }
    }

    /// Under `options`, everything of `list` that works without them is refused, and ordinary things work.
    fn refused(&self, options: &str, list: &str) -> Result<usize, String> {
        let (possible, impossible) = self.attempts("", list)?;
        self.impossible.borrow_mut().extend(impossible.iter().cloned());
        if possible.len() < impossible.len() {
            return Err(format!("most of {list} must be possible without {options}"));
        }
        let (well, ill) = self.attempts(options, &possible.join(" "))?;
        if !well.is_empty() {
            return Err(format!("{options} {} lets through: {}", self.program, well.join(", ")));
        }
        if let Some(other) = ill.iter().find(|l| !REFUSALS.iter().any(|r| l.ends_with(r))) {
            return Err(format!("{options} {}: not refused, but failed: {other}", self.program));
        }
        let ordinary = without(ORDINARY, list);
        let ordinary = if options.contains("write") { without(&ordinary, WRITE) } else { ordinary };
        let ordinary = if options.contains("fork") { without(&ordinary, EXEC) } else { ordinary };
        let ill = self.attempts(options, &ordinary)?.1;
        match ill.is_empty() {
            true => Ok(possible.len()),
            false => {
                Err(format!("{options} {} refuses what it should not: {}", self.program, ill.join(", ")))
            }
        }
    }
}

fn without(list: &str, out: &str) -> String {
    let keep: Vec<&str> =
        list.split_ascii_whitespace().filter(|n| !out.split_ascii_whitespace().any(|o| o == *n)).collect();
    keep.join(" ")
}

fn denials(place: &Place, victim: &Victim) -> Result<(), String> {
    let attacker = |program| Attacker { place, program, victim, impossible: RefCell::default() };
    let guest = attacker("reach".into());
    // A native child of a program: Trine's tables are not between it and the kernel.
    let native = attacker(format!("use exec {}", place.dir.join("native").display()));
    let mut count = 0;
    for (options, list) in [("--deny write", WRITE), ("--deny net", NET), ("--deny fork", FORK)] {
        count += guest.refused(options, list)? + native.refused(options, list)?;
    }
    for options in ["--limit files=200", "--limit pids=200", "--deny write,net"] {
        count += guest.refused(options, AROUND)? + native.refused(options, &format!("{AROUND} {NATIVE}"))?;
    }
    for (options, list) in
        [("--deny exec", EXEC), ("--deny read", READ), ("--engine interp --deny write", "f_write f_create")]
    {
        count += guest.refused(options, list)?;
    }
    count += guest.refused_all(&ALL.join(" "))?;
    let ended = place.run("--deny net", "reach o_sendmsg")?;
    check(ended.code == 0, "messages between ends of a pair, without a socket from outside", &ended)?;
    if place.user.is_none() && is_root() {
        count += guest.refused("--limit pids=200", OUT)? + native.refused("--limit pids=200", OUT)?;
    }
    let impossible: BTreeSet<_> =
        guest.impossible.take().into_iter().chain(native.impossible.take()).collect();
    impossible.iter().for_each(|i| println!("    not possible here anyway: {i}"));
    println!("    {count} attempts possible without, refused with --deny or --limit");
    Ok(())
}

/// Invalid addresses and arguments.
fn wild(place: &Place) -> Result<(), String> {
    for options in ["", "--engine interp", "--deny net,write"] {
        let ended = place.run(options, "over")?;
        check(ended.code == 0 && ended.out.ends_with("over passed\n"), &format!("{options} over"), &ended)?;
    }
    // Never as root: some of the calls would reach the host's other processes.
    if place.user.is_none() && is_root() {
        return Ok(());
    }
    for (options, rounds) in
        [("--deny net,write", "20 40"), ("", "20 40"), ("--engine interp --deny net", "5 40")]
    {
        let ended = place.run(options, &format!("wild {rounds}"))?;
        let at = ended.out.rfind("wild: ").unwrap_or(0);
        let line = ended.out[at..].lines().next().unwrap_or_default();
        println!("    {options} {line}");
        if ended.code != 0 || !line.ends_with(" 0 wrong") {
            let wrong: Vec<&str> = ended.out.lines().filter(|l| l.starts_with("call ")).collect();
            return Err(format!("{options} wild: code {}\n{}", ended.code, wrong.join("\n")));
        }
    }
    Ok(())
}

/// Executables with malformed headers: refused with a sentence, or run to a permitted end.
fn crafted(place: &Place) -> Result<(), String> {
    if place.user.is_none() && is_root() {
        return Ok(());
    }
    let whole = std::fs::read(place.dir.join("use")).map_err(text)?;
    let count = whole.get(56).map_or(0, |&n| n as usize);
    let wild =
        [0, 1, 0xfff, 1 << 12, 1 << 20, 1 << 31, (1 << 36) - 1, (1 << 38) - 4096, 1 << 47, 1 << 63, u64::MAX];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut refused, mut ran) = (0, 0);
    for round in 0..CRAFTED {
        let mut bytes = whole.clone();
        for _ in 0..1 + next(3) {
            // A word of the header after its first (entry, table) or of the program headers.
            let at = if next(4) == 0 { 24 + 8 * next(5) } else { 64 + 8 * next(7 * count) };
            let value = if next(3) == 0 { 1u64 << next(64) } else { wild[next(wild.len())] };
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let path = place.dir.join("crafted");
        std::fs::write(&path, &bytes).map_err(text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).map_err(text)?;
        let engine = if round % 2 == 0 { "baseline" } else { "interp" };
        let ended = place.run(&format!("--engine {engine} --deny all"), "crafted files 5")?;
        let said = ended.err.starts_with("trine: ") && ended.err.lines().count() == 1;
        match ended.code {
            2 if said => refused += 1,
            0 | 1 | 127 | 128.. if ended.code != 134 && !ended.err.contains("trine: ") => ran += 1,
            _ => return check(false, &format!("crafted executable {round}"), &ended),
        }
    }
    println!("    {CRAFTED} crafted executables: {refused} refused, {ran} ran or were ended by a signal");
    Ok(())
}

/// All of it.
pub fn run() -> Result<(), String> {
    let users = if is_root() { vec![None, Some(NOBODY)] } else { vec![None] };
    for user in users {
        let place = Place::new(user)?;
        println!("  as {}", if is_root() && user.is_none() { "root" } else { "an ordinary user" });
        limits(&place)?;
        denials(&place, &Victim::start(&place)?)?;
        wild(&place)?;
        crafted(&place)?;
    }
    Ok(())
}
