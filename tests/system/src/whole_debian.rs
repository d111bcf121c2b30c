//! `trine run debian`: boots, packages, a compiler, Python's own tests, git over the network, a folder of the host, commands and
//! files from outside, reboot, and an end that loses nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trine_base::xdg;
use trine_machine::snapshot::{Snapshot, encode};
use trine_test_support::command::{Said, check, tool};
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text, tools};

/// Time limit for making the disk, which fetches packages and configures them.
const MAKING: Duration = Duration::from_secs(1200);
/// Time limit for a boot.
const BOOT: Duration = Duration::from_secs(240);
/// The machine's name.
const NAME: &str = "debian-of-tests";
/// Modules of Python's own tests.
const PYTHON_TESTS: &str = "test_math test_float test_struct test_hashlib test_threading";
/// What is installed in the machine.
const PACKAGES: &str = "gcc libc6-dev git python3 libpython3.13-testsuite";

/// Runs a verb.
fn verb(words: &[&str]) -> Result<Said, String> {
    let mut command = Command::new(tools::trine()?);
    command.args(words).stdin(Stdio::null()).output().map(Said::from).map_err(text)
}

/// Runs a verb that must succeed; returns its output.
fn done(words: &[&str]) -> Result<String, String> {
    let said = verb(words)?;
    check(said.code == 0, &words.join(" "), &said)?;
    Ok(said.out)
}

/// Runs a shell's lines in the machine.
fn inside(lines: &str) -> Result<String, String> {
    done(&["exec", NAME, "sh", "-c", lines])
}

/// Waits until commands can be executed in the machine.
fn is_up() -> Checked {
    let end = Instant::now() + BOOT;
    while Instant::now() < end {
        if verb(&["exec", NAME, "true"])?.code == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Err("no command can be executed in the machine".into())
}

/// A machine with a record, removed when this is dropped.
struct Recorded;

impl Drop for Recorded {
    fn drop(&mut self) {
        drop(verb(&["rm", "-f", NAME]));
    }
}

/// A server of git repositories, ended when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Boots to a login shell with so many harts; everything must have started, and the machine powers off.
fn boots(machines: &Machines, harts: &str, patience: Duration) -> Checked {
    let mut talk = Talk::start(machines.run(&["--ephemeral", "--cold", "--cpus", harts, "debian"]))?;
    talk.hear_within("root@debian:~# ", patience)?;
    talk.say("nproc; systemctl is-system-running --wait; systemctl --failed --no-legend; poweroff\n")?;
    // The line before is hidden by what the shell tells the terminal.
    talk.hear_within(&format!("{harts}\r\nrunning\r\n"), BOOT)?;
    talk.hear_within("reboot: Power down", BOOT)?;
    talk.end()?;
    Ok(())
}

/// A machine without a record shuts down by itself when it is sent SIGTERM. Its own services run.
fn shuts_down(machines: &Machines) -> Checked {
    let mut talk = Talk::start(machines.run(&["--ephemeral", "debian"]))?;
    talk.hear_within("root@debian:~# ", BOOT)?;
    talk.say("systemctl is-system-running --wait; systemctl is-active trine-terminal-size trine-shut-down.socket\n")?;
    talk.hear_within("running\r\nactive\r\nactive\r\n", BOOT)?;
    talk.signal(rustix::process::Signal::TERM)?;
    talk.hear_within("reboot: Power down", BOOT)?;
    match talk.end()? {
        0 => Ok(()),
        code => Err(format!("a machine that was sent SIGTERM and shut down gives {code}")),
    }
}

/// A machine that goes on from the snapshot at the prompt; returns its id and its first random number.
fn at_once(machines: &Machines, patience: Duration) -> Result<String, String> {
    let mut talk = Talk::start(machines.run(&["--ephemeral", "--cpus", "2", "debian"]))?;
    talk.hear_within("root@debian:~# ", patience)?;
    // What is typed does not have the word that is waited for.
    talk.say("echo its''own: $(cat /etc/machine-id) $(od -An -N8 -tx8 /dev/urandom)\n")?;
    talk.hear_within("itsown: ", BOOT)?;
    let own = talk.hear_before("\r\n", BOOT)?;
    talk.say("poweroff\n")?;
    talk.hear_within("reboot: Power down", BOOT)?;
    talk.end()?;
    match own.len() {
        0..48 => Err(format!("a machine does not say what it is: {own}")),
        _ => Ok(own),
    }
}

/// Machines from one snapshot differ in what must not be shared.
fn differ(machines: &Machines) -> Checked {
    // The first one may have to make the snapshot.
    let ones = [at_once(machines, MAKING)?, at_once(machines, BOOT)?];
    let parts = ones.each_ref().map(|one| one.split_once(' ').unwrap_or_default());
    match parts[0].0 != parts[1].0 && parts[0].1 != parts[1].1 {
        true => Ok(()),
        false => Err(format!("machines from one snapshot have the same id or random numbers: {ones:?}")),
    }
}

/// A cache of Trine's with all that is in the user's but the snapshots; returns the file for one of a machine with two harts, and
/// that of the user's. The machine of [`at_once`] has made that.
fn other_cache(cache: &Path) -> Result<(PathBuf, PathBuf), String> {
    let (users, disks) = (xdg::cache().map_err(text)?, cache.join("disks"));
    fs::create_dir_all(&disks).map_err(text)?;
    let mut snapshots = Vec::new();
    for (from, to) in [(&users, cache), (&users.join("disks"), &disks)] {
        for entry in fs::read_dir(from).map_err(text)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            match &*name {
                "disks" => {}
                name if name.ends_with("-1048576k-2.snap") => snapshots.push((disks.join(name), path)),
                name if name.ends_with(".snap") => {}
                name => symlink(path, to.join(name)).map_err(text)?,
            }
        }
    }
    snapshots.sort_by_key(|(_, path)| path.metadata().and_then(|meta| meta.modified()).ok());
    snapshots.pop().ok_or_else(|| "there is no snapshot of a machine with two harts".into())
}

/// A user with another key than the one who had disk and snapshot made comes in, whether the machine goes on from the snapshot
/// or boots.
fn admits_another_user(machines: &Machines) -> Checked {
    // A store of its own: the key is made in it.
    let verb = |words: &[&str]| machines.said(words);
    let started = verb(&["run", "-d", "--name", NAME, "--ephemeral", "--cpus", "2", "debian"])?;
    let come_in = || {
        let end = Instant::now() + BOOT;
        loop {
            let said = verb(&["exec", NAME, "cat", "/proc/sys/kernel/random/boot_id"])?;
            if said.code == 0 || Instant::now() > end {
                return check(said.code == 0, "another user's exec", &said).map(|()| said.out);
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    };
    let both = check(started.code == 0, "another user's machine", &started).and_then(|()| {
        let from_snapshot = come_in()?;
        drop(verb(&["exec", NAME, "systemctl", "reboot"])?);
        std::thread::sleep(Duration::from_secs(5));
        Ok((from_snapshot, come_in()?))
    });
    drop(verb(&["rm", "-f", NAME])?);
    let (from_snapshot, booted) = both?;
    match from_snapshot != booted {
        true => Ok(()),
        false => Err("another user's machine has not booted anew".into()),
    }
}

/// A machine whose snapshot cannot be used boots, and says so. One that is damaged is removed.
fn boots_in_place_of_a_snapshot(machines: &Machines) -> Checked {
    let cache = machines.dir.join("cache");
    let (snapshot, good) = other_cache(&cache.join("trine"))?;
    let header = Snapshot::open(&good).map_err(text)?.header;
    let (bytes, memory) = encode(&header.save(), b"not a state");
    fs::write(&snapshot, bytes).map_err(text)?;
    let file = fs::File::options().write(true).open(&snapshot).map_err(text)?;
    // First its state is that of no board, which shows only when it is loaded; then the last page of memory is missing, too.
    for (len, stays) in [(memory + header.memory, true), (memory + header.memory - 4096, false)] {
        file.set_len(len).map_err(text)?;
        let said = machines.dir.join("said");
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>$SAID", "sh"]).arg(tools::trine()?);
        command.args(["run", "--ephemeral", "--cpus", "2", "debian"]);
        command.env("SAID", &said).env("XDG_CACHE_HOME", &cache);
        let mut talk = Talk::start(command)?;
        talk.hear_within("root@debian:~# ", BOOT)?;
        talk.say("systemctl is-system-running --wait; poweroff\n")?;
        talk.hear_within("running\r\n", BOOT)?;
        talk.hear_within("reboot: Power down", BOOT)?;
        talk.end()?;
        let said = fs::read_to_string(&said).map_err(text)?;
        if !said.contains("; this machine boots") || snapshot.exists() != stays || !good.exists() {
            return Err(format!("a machine without its snapshot says: {said}"));
        }
    }
    Ok(())
}

/// 20 boots with four harts.
pub fn boots_of_debian() -> Checked {
    let machines = Machines::new("debian-boots")?;
    boots(&machines, "4", MAKING)?;
    (1..20).try_for_each(|_| boots(&machines, "4", BOOT))?;
    println!("20 boots of Debian with four harts");
    Ok(())
}

/// All of it.
pub fn run() -> Checked {
    let machines = Machines::new("whole-debian")?;
    boots(&machines, "1", MAKING)?;
    boots(&machines, "4", BOOT)?;
    println!("boots with 1 and with 4 harts: everything runs, nothing has failed");
    differ(&machines)?;
    println!("machines from one snapshot have their own ids and random numbers");
    admits_another_user(&machines)?;
    println!("another user's key opens a machine from that snapshot, and after its reboot");
    boots_in_place_of_a_snapshot(&machines)?;
    println!("a machine boots where its snapshot is damaged");
    shuts_down(&machines)?;
    println!("SIGTERM shuts a machine without a record down");
    let work = machines.dir.join("work");
    fs::create_dir(&work).map_err(text)?;
    fs::write(work.join("from-host"), "the host's words\n").map_err(text)?;
    let share = format!("{}:/mnt/work", work.display());
    let _recorded = Recorded;
    done(&["run", "-d", "--name", NAME, "--net", "user,host", "--share", &share, "debian"])?;
    is_up()?;
    inside(&format!(
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends {PACKAGES}"
    ))?;
    println!("packages: installed");
    works(&machines)?;
    restarts()
}

/// What one does in it.
fn works(machines: &Machines) -> Checked {
    let source = machines.dir.join("hello.c");
    fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"compiled inside\"); return 7; }\n")
        .map_err(text)?;
    done(&["cp", &source.display().to_string(), &format!("{NAME}:/root/hello.c")])?;
    inside("gcc -O2 -o /root/hello /root/hello.c")?;
    let said = verb(&["exec", NAME, "/root/hello"])?;
    check(said.code == 7 && said.out == "compiled inside\n", "a program compiled inside", &said)?;
    let back = machines.dir.join("hello");
    done(&["cp", &format!("{NAME}:/root/hello"), &back.display().to_string()])?;
    check(fs::read(&back).is_ok_and(|file| file.starts_with(b"\x7fELF")), "the program comes out", &said)?;
    inside(
        "grep -q 'the host' /mnt/work/from-host && echo \"the guest's words\" >/mnt/work/from-guest && sync",
    )?;
    let words = fs::read_to_string(machines.dir.join("work/from-guest")).map_err(text)?;
    check(words == "the guest's words\n", "the shared folder", &said)?;
    println!("a compiler, cp, a shared folder: as they should be");
    clones(machines)?;
    inside(&format!("python3 -m test -q {PYTHON_TESTS} 2>&1"))?;
    println!("python: {PYTHON_TESTS} pass");
    Ok(())
}

/// The guest clones a repository that the host serves on its loopback.
fn clones(machines: &Machines) -> Checked {
    let repositories = machines.dir.join("repositories");
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"])
            .arg(repositories.join("one"));
        trine_test_support::command::tool(command.args(words))
    };
    fs::create_dir_all(repositories.join("one")).map_err(text)?;
    git(&["init", "-q"])?;
    fs::write(repositories.join("one/file"), vec![b'x'; 3 << 20]).map_err(text)?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "one"])?;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(text)?.port();
    // Itself, not by `git`, whose child it would be and outlive it.
    let programs = tool(Command::new("git").arg("--exec-path"))?;
    let mut daemon = Command::new(Path::new(programs.trim()).join("git-daemon"));
    daemon.args(["--export-all", "--listen=127.0.0.1", &format!("--port={port}")]);
    daemon.arg(format!("--base-path={}", repositories.display())).stderr(Stdio::null());
    let _server = Server(daemon.spawn().map_err(text)?);
    std::thread::sleep(Duration::from_secs(1));
    inside(&format!(
        "cd /root && git clone -q git://10.0.2.2:{port}/one && test $(stat -c %s one/file) = {}",
        3 << 20
    ))?;
    println!("git: cloned from the host over the network");
    Ok(())
}

/// A reboot, a stop, and another start keep what was written.
fn restarts() -> Checked {
    let boot = inside("cat /proc/sys/kernel/random/boot_id; echo kept >/root/kept")?;
    // The connection ends with the machine.
    drop(verb(&["exec", NAME, "systemctl", "reboot"])?);
    std::thread::sleep(Duration::from_secs(5));
    is_up()?;
    let after = inside("cat /proc/sys/kernel/random/boot_id; cat /root/kept")?;
    if after.lines().next() == boot.lines().next() || after.lines().nth(1) != Some("kept") {
        return Err(format!("a reboot: {boot:?} became {after:?}"));
    }
    done(&["stop", NAME])?;
    let said = verb(&["logs", NAME])?;
    check(said.out.contains("reboot: Power down"), "stop shuts the machine down", &said)?;
    done(&["start", NAME])?;
    is_up()?;
    inside("test -s /root/kept && ! dmesg | grep -q 'recovery complete'")?;
    println!("reboot, stop and start: what was written stays, and the file system needed no recovery");
    Ok(())
}
