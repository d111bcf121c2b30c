//! Other container engines use Trine's runtime: real containerd, Podman and Docker start, inspect, pause and
//! end containers through `trine-oci`, a link to `trine`, instead of `runc`.
//!
//! All their files are in a directory of the test's own; at the end the test checks what they left in the
//! kernel.

pub mod docker;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trine_test_support::command::{self, tool};
use trine_test_support::{is_root, text, tools};

/// How many containers run at once.
const MANY: usize = 50;
/// Limits stay as they are: an engine that raises them needs a right that root of a guest may lack.
const ULIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

/// A directory with a root file system and the runtime, and what must end with it.
struct Place {
    dir: PathBuf,
    daemon: Option<Child>,
}

impl Place {
    fn new(name: &str) -> Result<Place, String> {
        let dir = std::env::temp_dir().join(format!("trine-{name}-{}", std::process::id()));
        let place = Place { dir, daemon: None };
        let root = place.dir.join("rootfs");
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(directory)).map_err(text)?;
        }
        std::fs::copy(tools::busybox()?, root.join("bin/busybox")).map_err(text)?;
        for name in ["sh", "true", "false", "sleep", "id", "hostname", "cat", "grep", "tail"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).map_err(text)?;
        }
        std::os::unix::fs::symlink(tools::trine()?, place.runtime()).map_err(text)?;
        Ok(place)
    }

    fn runtime(&self) -> PathBuf {
        self.dir.join("trine-oci")
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// The mounts and processes that are left in the place.
    fn left(&self) -> Vec<String> {
        let own = self.dir.display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = mounts.lines().filter(|l| l.contains(&own)).map(str::to_owned);
        let processes = processes().filter(|(_, line)| line.contains(&own));
        mounts.chain(processes.map(|(pid, line)| format!("{pid} {line}"))).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        let own = self.dir.display().to_string();
        for (pid, line) in processes().filter(|(_, line)| line.contains(&own)) {
            eprintln!("ending {pid} {line}");
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for line in mounts.lines().rev().filter(|l| l.contains(&own)) {
            if let Some(at) = line.split(' ').nth(4) {
                drop(Command::new("umount").args(["-l", at]).status());
            }
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// Numbers and command lines of all processes.
fn processes() -> impl Iterator<Item = (u32, String)> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
}

/// Runs a command without input; returns its output, or fails with all of it.
fn said(command: &mut Command) -> Result<String, String> {
    tool(command.stdin(Stdio::null()))
}

/// Fails unless a command's output contains a text.
fn expect(command: &mut Command, want: &str) -> Result<(), String> {
    let wrote = said(command)?;
    match wrote.contains(want) {
        true => Ok(()),
        false => Err(format!("{command:?} does not say '{want}' but: {wrote}")),
    }
}

/// Waits for a daemon's work.
fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    command::until(what, Duration::from_secs(30), || Ok(holds()))
}

/// Whether a part can run here; if not, prints why.
fn possible(programs: &[&str]) -> bool {
    let root = is_root();
    if !root {
        println!("  skipped: needs root");
    }
    root && tools::has(programs)
}

/// Control groups that name one of our containers.
fn groups(prefix: &str) -> Vec<String> {
    let find =
        Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("{prefix}*")]).output();
    find.map(|o| String::from_utf8_lossy(&o.stdout).lines().map(str::to_owned).collect()).unwrap_or_default()
}

fn nothing_left(place: &Place, prefix: &str) -> Result<(), String> {
    let clean = || place.left().is_empty() && groups(prefix).is_empty();
    until("an end without leftovers", clean)
        .map_err(|e| format!("{e}: {:?} {:?}", place.left(), groups(prefix)))
}

/// containerd.
pub fn containerd() -> Result<(), String> {
    if !possible(&["containerd", "ctr", "containerd-shim-runc-v2"]) {
        return Ok(());
    }
    let mut place = Place::new("containerd")?;
    let config = format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{0}/sock\"\n",
        place.dir.display()
    );
    std::fs::write(place.path("config.toml"), config).map_err(text)?;
    let log = std::fs::File::create(place.path("log")).map_err(text)?;
    let daemon =
        Command::new("containerd").args(["--config", &place.path("config.toml")]).stderr(log).spawn();
    place.daemon = Some(daemon.map_err(text)?);
    until("containerd's socket", || place.dir.join("sock").exists())?;
    image(&place)?;
    drive_containerd(&place)?;
    nothing_left_but_daemon(&mut place)
}

fn nothing_left_but_daemon(place: &mut Place) -> Result<(), String> {
    if let Some(mut daemon) = place.daemon.take() {
        drop(daemon.kill());
        drop(daemon.wait());
    }
    nothing_left(place, "trine-test-")
}

fn ctr(place: &Place, words: &[&str]) -> Command {
    let mut made = Command::new("ctr");
    made.args(["--address", &place.path("sock")]).args(words);
    made
}

/// Makes an image of the root file system, by Trine's own verbs, and gives it to containerd.
fn image(place: &Place) -> Result<(), String> {
    let own = |words: &[&str]| {
        let mut made = Command::new(place.dir.join("trine"));
        made.env("XDG_DATA_HOME", place.path("data")).args(words);
        made
    };
    std::os::unix::fs::symlink(tools::trine()?, place.dir.join("trine")).map_err(text)?;
    said(Command::new("tar").args(["-C", &place.path("rootfs"), "-cf", &place.path("root.tar"), "."]))?;
    said(&mut own(&["import", &place.path("root.tar"), "test.local/bb:1"]))?;
    said(&mut own(&["export", "test.local/bb:1", &format!("oci-archive:{}", place.path("image.tar"))]))?;
    said(&mut ctr(place, &["images", "import", "--base-name", "test.local/bb", &place.path("image.tar")]))
        .map(drop)
}

fn drive_containerd(place: &Place) -> Result<(), String> {
    let binary = place.runtime().display().to_string();
    let listed = said(&mut ctr(place, &["images", "ls", "-q"]))?;
    let image = listed.lines().next().ok_or("containerd has no image")?.to_owned();
    let run = |more: &[&str], id: &str, line: &[&str]| {
        let mut words = vec!["run", "--runc-binary", &binary];
        words.extend_from_slice(more);
        words.extend_from_slice(&[&image, id]);
        words.extend_from_slice(line);
        ctr(place, &words)
    };
    expect(&mut run(&["--rm"], "trine-test-one", &["id", "-u"]), "0")?;
    let code = run(&["--rm"], "trine-test-code", &["sh", "-c", "exit 7"]).status().map_err(text)?;
    if code.code() != Some(7) {
        return Err(format!("containerd says that a container which ends with 7 ended with {code}"));
    }
    let ids: Vec<String> = (0..MANY).map(|i| format!("trine-test-{i}")).collect();
    for id in &ids {
        said(&mut run(&["-d", "--memory-limit", "67108864"], id, &["sleep", "1000"]))?;
    }
    let tasks = said(&mut ctr(place, &["tasks", "ls"]))?;
    let running = tasks.lines().filter(|l| l.contains("RUNNING")).count();
    if running != MANY {
        return Err(format!("{running} of {MANY} containers run:\n{tasks}"));
    }
    for id in &ids {
        expect(&mut ctr(place, &["tasks", "exec", "--exec-id", "e", id, "id", "-u"]), "0")?;
    }
    let first = &ids[0];
    expect(&mut ctr(place, &["tasks", "metrics", first]), "memory")?;
    expect(&mut ctr(place, &["tasks", "ps", first]), "PID")?;
    said(&mut ctr(place, &["tasks", "pause", first]))?;
    expect(&mut ctr(place, &["tasks", "ls"]), "PAUSED")?;
    said(&mut ctr(place, &["tasks", "resume", first]))?;
    for id in &ids {
        said(&mut ctr(place, &["tasks", "kill", "--signal", "SIGKILL", id]))?;
    }
    until("the end of all tasks", || {
        said(&mut ctr(place, &["tasks", "ls"])).is_ok_and(|t| !t.contains("RUNNING"))
    })?;
    for id in &ids {
        said(&mut ctr(place, &["tasks", "rm", id]))?;
        said(&mut ctr(place, &["containers", "rm", id]))?;
    }
    Ok(())
}

/// Podman.
pub fn podman() -> Result<(), String> {
    if !possible(&["podman", "conmon"]) {
        return Ok(());
    }
    let place = Place::new("podman")?;
    let driven = drive_podman(&place);
    drop(said(&mut pod(&place, &["rm", "-af", "-t", "0"])));
    driven?;
    nothing_left(&place, "libpod-trine-test-")
}

fn pod(place: &Place, words: &[&str]) -> Command {
    let mut made = Command::new("podman");
    made.args([
        "--root",
        &place.path("root"),
        "--runroot",
        &place.path("run"),
        "--tmpdir",
        &place.path("tmp"),
    ])
    .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"])
    .args(["--runtime", &place.runtime().display().to_string()])
    .args(words);
    made
}

fn drive_podman(place: &Place) -> Result<(), String> {
    let root = place.path("rootfs");
    let run = |more: &[&str], line: &[&str]| {
        let mut words = vec!["run", "--network", "none"];
        words.extend_from_slice(&ULIMITS);
        words.extend_from_slice(more);
        words.extend_from_slice(&["--rootfs", &root]);
        words.extend_from_slice(line);
        pod(place, &words)
    };
    expect(&mut run(&["--rm"], &["id", "-u"]), "0")?;
    expect(&mut run(&["--rm", "--user", "7:8"], &["id"]), "uid=7 gid=8")?;
    expect(&mut run(&["--rm", "--read-only"], &["sh", "-c", "echo x > /etc/x || echo refused"]), "refused")?;
    let code = run(&["--rm"], &["sh", "-c", "exit 9"]).stdin(Stdio::null()).status().map_err(text)?;
    if code.code() != Some(9) {
        return Err(format!("Podman says that a container which ends with 9 ended with {code}"));
    }
    let names: Vec<String> = (0..MANY).map(|i| format!("n{i}")).collect();
    for name in &names {
        said(&mut run(&["-d", "--name", name], &["sleep", "1000"]))?;
    }
    let running = said(&mut pod(place, &["ps", "-q"]))?.lines().count();
    if running != MANY {
        return Err(format!("{running} of {MANY} containers run"));
    }
    for name in &names {
        expect(&mut pod(place, &["exec", name, "id", "-u"]), "0")?;
    }
    expect(&mut pod(place, &["stats", "--no-stream", "n0"]), "n0")?;
    expect(&mut pod(place, &["top", "n0"]), "sleep")?;
    said(&mut pod(place, &["pause", "n0"]))?;
    expect(&mut pod(place, &["ps", "-a"]), "Paused")?;
    said(&mut pod(place, &["unpause", "n0"]))?;
    said(&mut pod(place, &["kill", "n1"]))?;
    said(&mut pod(place, &["stop", "-t", "0", "n2"]))?;
    said(&mut pod(place, &["restart", "-t", "0", "n2"]))?;
    expect(&mut pod(place, &["exec", "n2", "id", "-u"]), "0").map(drop)
}
