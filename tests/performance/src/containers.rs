//! Containers of an OCI bundle under Trine, `crun` and `runc` in turn, and the system calls of each.

use crate::measured::{Measured, check, mean, print};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use trine_test_support::{is_root, text, tools};

/// Starts in each run: a single one says little about so short a time.
const STARTS: usize = 20;
/// The peers' names, as columns.
const NAMES: [&str; 3] = ["trine", "crun", "runc"];

/// A measurement: name, whether with the usual filter of system calls, whether executed in an existing
/// container.
const LOADS: [(&str, bool, bool); 3] =
    [("run of true", false, false), ("run of true, filtered", true, false), ("exec of true", false, true)];

/// A bundle, and the runtimes.
struct Place {
    dir: PathBuf,
    runtimes: [Option<Vec<String>>; 3],
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Place {
    fn new() -> Result<Place, String> {
        let dir = std::env::temp_dir().join(format!("trine-bench-{}", std::process::id()));
        let bin = dir.join("rootfs/bin");
        std::fs::create_dir_all(&bin).map_err(text)?;
        std::fs::copy(tools::busybox()?, bin.join("busybox")).map_err(text)?;
        ["true", "sleep"]
            .iter()
            .try_for_each(|n| std::os::unix::fs::symlink("busybox", bin.join(n)))
            .map_err(text)?;
        let trine = tools::trine()?.display().to_string();
        let peer = |name: &str| tools::has(&[name]).then(|| vec![name.to_string()]);
        let runtimes = [Some(vec![trine, "oci".into()]), peer("crun"), peer("runc")];
        let place = Place { dir, runtimes };
        check(&mut place.command(0, &["spec"]).ok_or("no runtime")?)?;
        Ok(place)
    }

    /// A runtime's command, with its state in this place; `None` if it is not installed.
    fn command(&self, runtime: usize, args: &[&str]) -> Option<Command> {
        let words = self.runtimes[runtime].as_ref()?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--root").arg(self.dir.join(format!("state-{}", NAMES[runtime])));
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        Some(command)
    }

    /// The name of a runtime's container: each has a control group of its own.
    fn id(runtime: usize) -> String {
        format!("bench-{}-{}", NAMES[runtime], std::process::id())
    }

    /// Removes everything created.
    fn clear(&self) {
        for runtime in 0..NAMES.len() {
            if let Some(mut command) = self.command(runtime, &["delete", "--force", &Place::id(runtime)]) {
                drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
            }
        }
    }

    fn configure(&self, program: &[&str], filtered: bool) -> Result<(), String> {
        let path = self.dir.join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).map_err(text)?).map_err(text)?;
        config["process"]["args"] = program.into();
        config["process"]["terminal"] = false.into();
        config["process"]["rlimits"] = serde_json::json!([]);
        // The newest that Debian's crun knows.
        config["ociVersion"] = "1.0.2".into();
        let usual = trine_container::process::caps::default_set();
        config["linux"]["seccomp"] = match filtered {
            true => serde_json::to_value(trine_container::seccomp::default_profile(&usual)).map_err(text)?,
            false => serde_json::Value::Null,
        };
        std::fs::write(path, config.to_string()).map_err(text)
    }

    /// Seconds that a runtime takes for a load, once.
    fn time(&self, runtime: usize, exec: bool) -> Result<Option<f64>, String> {
        let id = Place::id(runtime);
        let args: &[&str] = if exec { &["exec", &id, "/bin/true"] } else { &["run", &id] };
        let Some(mut command) = self.command(runtime, args) else { return Ok(None) };
        let start = Instant::now();
        check(&mut command)?;
        Ok(Some(start.elapsed().as_secs_f64()))
    }

    /// System calls of all processes of a run, by name.
    fn calls(&self, runtime: usize) -> Result<BTreeMap<String, u64>, String> {
        let Some(plain) = self.command(runtime, &["run", &Place::id(runtime)]) else {
            return Ok(BTreeMap::new());
        };
        let out = self.dir.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&out).arg(plain.get_program());
        check(command.args(plain.get_args()).current_dir(&self.dir).stdin(Stdio::null()))?;
        let said = std::fs::read_to_string(&out).map_err(text)?;
        Ok(said.lines().filter_map(row).filter(|(name, _)| name != "total").collect())
    }
}

/// `name calls`, in either order.
fn row(line: &str) -> Option<(String, u64)> {
    let (a, b) = line.trim().split_once(char::is_whitespace)?;
    let (a, b) = (a.trim(), b.trim());
    a.parse().map(|n| (b.to_string(), n)).or_else(|_| b.parse().map(|n| (a.to_string(), n))).ok()
}

fn measure(place: &Place, runs: usize) -> Result<Vec<Measured>, String> {
    let mut all = Vec::new();
    for (name, filtered, exec) in LOADS {
        let mut measured = Measured::new(name);
        if exec {
            place.configure(&["/bin/sleep", "1000"], filtered)?;
            for runtime in 0..NAMES.len() {
                let run = |args: &[&str]| {
                    let command = place.command(runtime, args);
                    // A container keeps its standard output open: nothing must wait for its end.
                    let quiet = |mut c: Command| c.stdout(Stdio::null()).status();
                    command.map(quiet).transpose().map_err(text)
                };
                run(&["create", &Place::id(runtime)])?;
                run(&["start", &Place::id(runtime)])?;
            }
        } else {
            place.configure(&["/bin/true"], filtered)?;
        }
        for _ in 0..runs * STARTS {
            let mut times = [None; 3];
            for (runtime, time) in times.iter_mut().enumerate() {
                *time = place.time(runtime, exec)?;
            }
            measured.add(times);
        }
        place.clear();
        all.push(measured);
    }
    Ok(all)
}

/// Counts side by side, the largest differences first.
fn compare(place: &Place) -> Result<(), String> {
    if !tools::has(&["strace"]) {
        return Ok(());
    }
    place.configure(&["/bin/true"], false)?;
    let counts = [place.calls(0)?, place.calls(1)?, place.calls(2)?];
    let of = |runtime: usize, name: &str| counts[runtime].get(name).copied().unwrap_or(0);
    let totals = [0, 1, 2].map(|r| counts[r].values().sum::<u64>());
    println!("\n| system calls of `run` of true | {} |\n| --- | --- | --- | --- |", NAMES.join(" | "));
    println!("| all | {} | {} | {} |", totals[0], totals[1], totals[2]);
    let mut names: Vec<&String> = counts[0].keys().chain(counts[1].keys()).collect();
    names.sort_by_key(|name| (std::cmp::Reverse(of(0, name).abs_diff(of(1, name))), (*name).clone()));
    names.dedup();
    for name in names.iter().take(16) {
        println!("| `{name}` | {} | {} | {} |", of(0, name), of(1, name), of(2, name));
    }
    Ok(())
}

fn inside(runs: usize, json: bool) -> Result<(), String> {
    // SAFETY: changes the mount namespace of this thread alone, and of what it starts.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.map_err(text)?;
    check(Command::new("mount").args(["--make-rprivate", "/"]))?;
    // Debian's crun does not start where both versions of control groups are mounted.
    let second = Path::new("/sys/fs/cgroup/unified");
    if second.is_dir() {
        check(Command::new("umount").arg(second))?;
    }
    let place = Place::new()?;
    let mut all = measure(&place, runs)?;
    print(&mut all, NAMES, json);
    if json {
        return Ok(());
    }
    if let Some(mean) = mean(all.iter_mut()) {
        println!("geometric mean: {mean:.2} of crun's time");
    }
    compare(&place)
}

/// Runs everything; only root's containers, as crun and runc have no others without more set-up.
pub fn run(runs: usize, json: bool) -> Result<(), String> {
    if !is_root() {
        return Err("this benchmark needs root: its peers' containers do".into());
    }
    std::thread::spawn(move || inside(runs, json))
        .join()
        .map_err(|_| "the benchmark's thread failed".to_string())?
}
