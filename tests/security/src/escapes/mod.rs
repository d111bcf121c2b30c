//! Known ways to escape from containers. Each is first shown to succeed without its protection, by another
//! configuration or by a careless runtime (`attack.c`), and then to be refused with it.
//!
//! The configuration is that of `trine run IMAGE`. Values written to the host's kernel are always the current
//! ones.

mod given;
mod places;
mod rows;

use rows::{Change, ROWS, Row};
use serde_json::{Value, json};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use trine_container::image;
use trine_test_support::bundle::Bundle;
use trine_test_support::command::{said, succeed};
use trine_test_support::{NOBODY, is_root, text, tools};

/// The output of an attack that succeeded.
const GOT: &str = "GOT";

/// Containers, and objects of the host that nothing inside may reach.
struct Host {
    bundle: Bundle,
    /// The attacking program.
    attack: PathBuf,
    /// A file outside.
    secret: PathBuf,
    /// A process outside.
    victim: Child,
    /// A socket outside, by a name that is not a file's.
    _socket: UnixListener,
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.victim.kill());
        drop(self.victim.wait());
    }
}

/// The configuration of an image's container.
fn usual(root: &Path) -> Result<Value, String> {
    let options =
        image::ImageOptions { command: vec!["true".into()], hostname: "inside".into(), ..Default::default() };
    let given = image::Given { root: root.into(), read: &|_| Ok(None), maps: None };
    let made = image::configuration(&Default::default(), &options, &given)?;
    serde_json::to_value(made).map_err(text)
}

/// Compiles a program that needs no libraries.
fn compile(to: &Path) -> Result<bool, String> {
    let source = tools::root().join("tests/security/src/escapes/attack.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-static", "-o"]).arg(to).arg(source).stderr(Stdio::null());
    Ok(gcc.status().is_ok_and(|s| s.success()))
}

/// Number of this process, in names of what it creates on the host.
fn id() -> String {
    std::process::id().to_string()
}

impl Host {
    fn new(user: Option<u32>) -> Result<Option<Host>, String> {
        let mut bundle = Bundle::new(user)?;
        let attack = bundle.dir.join("rootfs/bin/attack");
        if !compile(&attack)? {
            return Ok(None);
        }
        let secret = bundle.dir.join("secret");
        fs::write(&secret, "outside\n").map_err(text)?;
        if user.is_none() {
            bundle.config = usual(&bundle.dir.join("rootfs"))?;
        }
        bundle.config["root"]["readonly"] = json!(false);
        let victim = bundle.command(Path::new("sleep")).arg("600").spawn().map_err(text)?;
        let name = SocketAddr::from_abstract_name(format!("trine-escape-{}", id())).map_err(text)?;
        let socket = UnixListener::bind_addr(&name).map_err(text)?;
        let mut host = Host { bundle, attack, secret, victim, _socket: socket };
        if user.is_none() {
            host.furnish()?;
        }
        Ok(Some(host))
    }

    /// Variables for scripts, and files of a hostile image.
    fn furnish(&mut self) -> Result<(), String> {
        let rootfs = self.bundle.dir.join("rootfs");
        let raised = rootfs.join("bin/raised");
        fs::copy(&self.attack, &raised).map_err(text)?;
        fs::set_permissions(&raised, fs::Permissions::from_mode(0o4755)).map_err(text)?;
        let device = disk(&rootfs)?;
        let mut env = vec![
            "PATH=/bin".to_string(),
            format!("PID={}", self.victim.id()),
            format!("ID={}", id()),
            format!("HANDLE={}", succeed(self.host(&["handle-of", &self.secret.display().to_string()])?)?),
        ];
        if let Some((major, minor)) = device {
            env.push(format!("DISK={major} {minor}"));
            let node = rootfs.join("image-disk");
            let made =
                Command::new("mknod").arg(node).args(["b", &major.to_string(), &minor.to_string()]).status();
            made.map_err(text)?;
        }
        self.bundle.config["process"]["env"] = json!(env);
        Ok(())
    }

    /// An attack, or a careless runtime, on the host itself.
    fn host(&self, args: &[&str]) -> Result<Output, String> {
        self.bundle.command(&self.attack).args(args).output().map_err(text)
    }

    fn configured(&self, changes: &[Change]) -> Value {
        let mut config = self.bundle.config.clone();
        changes.iter().for_each(|change| change(&mut config));
        config
    }

    fn write(&self, config: &Value) -> Result<(), String> {
        fs::write(self.bundle.dir.join("config.json"), config.to_string()).map_err(text)
    }

    /// Writes a configuration that runs a script.
    fn script(&self, script: &str, mut config: Value) -> Result<(), String> {
        config["process"]["args"] = json!(["sh", "-c", format!("{{ {script}; }} 2>&1; echo tried")]);
        self.write(&config)
    }

    /// Runs a script in a container; returns its output.
    fn inside(&self, script: &str, changes: &[Change]) -> Result<String, String> {
        self.script(script, self.configured(changes))?;
        let out = self.bundle.trine(&["run", "c"])?;
        let lines = succeed(out)?;
        if lines.contains("tried") { Ok(lines) } else { Err(format!("it did not come to its end: {lines}")) }
    }
}

/// The disk that contains a directory, or the first one.
fn disk(dir: &Path) -> Result<Option<(u32, u32)>, String> {
    let dev = fs::metadata(dir).map_err(text)?.dev();
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    if major != 0 {
        return Ok(Some((major, minor)));
    }
    let table = fs::read_to_string("/proc/partitions").unwrap_or_default();
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    Ok(table.lines().find_map(row))
}

/// The successful attacks, one line each.
fn got(lines: &str) -> Vec<&str> {
    lines.lines().filter(|line| line.contains(GOT)).collect()
}

/// Judges the output of an attack without the protection and with it.
fn judge(name: &str, off: &str, on: &str) -> Result<usize, String> {
    match (got(off).as_slice(), got(on).as_slice()) {
        ([], []) => {
            eprintln!(
                "skipped: {name}: it does not go out on this host without the protection either: {off}"
            );
            Ok(0)
        }
        (some, []) => Ok(some.len()),
        (_, out) => Err(format!("{name}: ESCAPED: {}; all it said: {on}", out.join(", "))),
    }
}

fn row(host: &Host, row: &Row) -> Result<usize, String> {
    let told = |e| format!("{}: {e}", row.name);
    let off = host.inside(row.script, &[row.both, row.off].concat()).map_err(told)?;
    let on = host.inside(row.script, &[row.both, row.on].concat()).map_err(told)?;
    judge(row.name, &off, &on)
}

/// Everything as root.
fn root() -> Result<(), String> {
    let Some(host) = Host::new(None)? else {
        eprintln!("skipped: gcc with a static C library is not here, and the attacks are written in C");
        return Ok(());
    };
    let mut results: Vec<Result<usize, String>> = ROWS.iter().map(|r| row(&host, r)).collect();
    results.extend(given::PARTS.iter().chain(places::PARTS).map(|(name, part)| {
        let result = part(&host).map_err(|e| format!("{name}: {e}"));
        drop(host.bundle.trine(&["delete", "--force", "c"]));
        result
    }));
    report("root", results)
}

fn user() -> Result<(), String> {
    let Some(host) = Host::new(Some(NOBODY))? else { return Ok(()) };
    let results = given::USERS.iter().map(|(name, part)| {
        let result = part(&host).map_err(|e| format!("{name}: {e}"));
        drop(host.bundle.trine(&["delete", "--force", "c"]));
        result
    });
    report("an ordinary user", results.collect())
}

fn report(who: &str, results: Vec<Result<usize, String>>) -> Result<(), String> {
    let count: usize = results.iter().flatten().sum();
    let tried = results.len();
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() {
        println!("as {who}: {tried} kinds of attacks, {count} ways out without protection, none with it");
        return Ok(());
    }
    Err(format!("as {who}:\n{}", failed.join("\n")))
}

/// Runs the tests.
pub fn run() -> Result<(), String> {
    if !is_root() {
        eprintln!("skipped: containers of root, and those of a user are run from root (setpriv)");
        return Ok(());
    }
    let first = root();
    if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: setpriv is not here, so nothing is run as an ordinary user");
        return first;
    }
    let failed: Vec<String> = [first, user()].into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}
