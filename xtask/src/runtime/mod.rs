//! `trine oci` with real bundles: what a container's program sees (as root and as an ordinary user, and where crun is
//! there, whether it sees the same under it), the life of containers, terminals, hooks, errors.

mod cases;
mod life;
mod rare;

use crate::tools;
use cases::{CASES, Case, REFUSED};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An ordinary user: `nobody`.
pub const NOBODY: u32 = 65534;

/// An error as a sentence.
pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// A bundle of busybox, and who runs it.
pub struct Place {
    /// Its directory.
    pub dir: PathBuf,
    /// Who runs it; root where there is none.
    pub user: Option<u32>,
    /// What every configuration begins as.
    pub config: Value,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(out) = self.trine(&["list", "--quiet"]) {
            for id in String::from_utf8_lossy(&out.stdout).split_whitespace() {
                drop(self.trine(&["delete", "--force", id]));
            }
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

impl Place {
    /// Makes one.
    pub fn new(user: Option<u32>) -> Result<Place, String> {
        let name = format!("trine-runtime-{}-{}", std::process::id(), user.unwrap_or(0));
        let mut place = Place { dir: std::env::temp_dir().join(name), user, config: Value::Null };
        fs::create_dir_all(&place.dir).map_err(text)?;
        fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o755)).map_err(text)?;
        fs::copy(tools::trine()?, place.dir.join("trine")).map_err(text)?;
        root(&place.dir.join("rootfs"))?;
        fs::create_dir(place.dir.join("shared")).map_err(text)?;
        fs::write(place.dir.join("shared/file"), "shared\n").map_err(text)?;
        if let Some(user) = user {
            let chown = Command::new("chown").arg("-R").arg(user.to_string()).arg(&place.dir).status();
            if !chown.is_ok_and(|s| s.success()) {
                return Err("chown failed".into());
            }
        }
        let rootless: &[&str] = if user.is_some() { &["spec", "--rootless"] } else { &["spec"] };
        place.trine(rootless).and_then(succeed)?;
        let config = fs::read(place.dir.join("config.json")).map_err(text)?;
        place.config = serde_json::from_slice(&config).map_err(text)?;
        place.config["process"]["terminal"] = false.into();
        // The test's own limits may be lower than those that are asked for by default.
        place.config["process"]["rlimits"] = Value::Array(Vec::new());
        place.config["root"]["readonly"] = true.into();
        // The newest that Debian's crun knows.
        place.config["ociVersion"] = "1.0.2".into();
        Ok(place)
    }

    /// A command as this place's user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let id = user.to_string();
                let mut c = Command::new("setpriv");
                c.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
                c
            }
        };
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// `trine oci`, its state kept in this place.
    pub fn oci(&self) -> Command {
        let mut command = self.command(&self.dir.join("trine"));
        command.args(["oci", "--root"]).arg(self.dir.join("state"));
        command
    }

    /// Runs it.
    pub fn trine(&self, args: &[&str]) -> Result<Output, String> {
        self.oci().args(args).output().map_err(text)
    }

    /// Writes the configuration with changes.
    pub fn configure(&self, changes: &[(&str, &str)]) -> Result<(), String> {
        let mut config = self.config.clone();
        changes.iter().try_for_each(|(pointer, value)| change(&mut config, pointer, value))?;
        fs::write(self.dir.join("config.json"), config.to_string()).map_err(text)
    }

    /// Writes the configuration of a script.
    pub fn script(&self, script: &str, changes: &[(&str, &str)]) -> Result<(), String> {
        let args = serde_json::json!(["sh", "-c", script]).to_string();
        let all: Vec<_> =
            [("/process/args", args.as_str())].into_iter().chain(changes.iter().copied()).collect();
        self.configure(&all)
    }
}

/// Standard output of what has gone well.
pub fn succeed(out: Output) -> Result<String, String> {
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(said)
    } else {
        Err(format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// Sets what a JSON pointer leads to; `+` as its last part adds to a list.
fn change(config: &mut Value, pointer: &str, value: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(value).map_err(|e| format!("{pointer}: {e}"))?;
    let (above, name) = pointer.rsplit_once('/').ok_or("no pointer")?;
    let above_value = config.pointer_mut(above).ok_or_else(|| format!("{pointer} is not there"))?;
    match (name, above_value.as_array_mut()) {
        ("+", Some(list)) => list.push(value),
        _ if value.is_null() => drop(above_value.as_object_mut().and_then(|o| o.remove(name))),
        _ => above_value[name] = value,
    }
    Ok(())
}

/// Makes a root of busybox, and in it what images have that lead out.
pub fn root(dir: &Path) -> Result<(), String> {
    let busybox = tools::busybox()?;
    for name in ["bin", "etc/deep", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(dir.join(name)).map_err(text)?;
    }
    fs::copy(&busybox, dir.join("bin/busybox")).map_err(text)?;
    let list = Command::new(&busybox).arg("--list").output().map_err(text)?;
    for name in String::from_utf8_lossy(&list.stdout).split_whitespace().filter(|n| *n != "busybox") {
        symlink("busybox", dir.join("bin").join(name)).map_err(text)?;
    }
    fs::write(dir.join("etc/inside"), "inside\n").map_err(text)?;
    fs::write(dir.join("etc/deep/er"), "deeper\n").map_err(text)?;
    symlink("inside", dir.join("etc/link")).map_err(text)?;
    for (to, at) in [("/dev", "to-dev"), ("../../proc", "to-proc"), ("/", "root-again")] {
        symlink(to, dir.join(at)).map_err(text)?;
    }
    symlink("../../../../../escaped", dir.join("out")).map_err(text)
}

/// How a command ended, and what it wrote.
pub fn said(out: &Output) -> String {
    format!(
        "{}; it said:\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

fn check(case: &Case, out: &Output) -> Result<(), String> {
    let stdout = String::from_utf8_lossy(&out.stdout);
    let mut lines = stdout.lines().map(str::trim);
    let missing = case.wants.iter().find(|want| !lines.any(|line| line == **want));
    let lacks = case.lacks.iter().find(|word| stdout.contains(**word));
    if out.status.code() == Some(case.code) && missing.is_none() && lacks.is_none() {
        return Ok(());
    }
    Err(format!("{}: missing {missing:?}, too much {lacks:?}; {}", case.name, said(out)))
}

/// The same bundle under crun, which does not start where both versions of control groups are mounted.
fn crun(place: &Place) -> Option<Output> {
    if place.user.is_some() || Command::new("crun").arg("--version").stdout(Stdio::null()).status().is_err() {
        return None;
    }
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun run trine-test-$$";
    place.command(Path::new("unshare")).args(["-m", "sh", "-c", script]).output().ok()
}

fn sees(place: &Place, case: &Case) -> Result<(), String> {
    if case.root && place.user.is_some() {
        return Ok(());
    }
    place.script(case.script, case.changes)?;
    let out = place.trine(&["run", "c"])?;
    check(case, &out)?;
    if let Some(other) = Some(()).filter(|()| case.same).and_then(|()| crun(place))
        && (other.status.code(), &other.stdout) != (out.status.code(), &out.stdout)
    {
        return Err(format!("{}: under crun: {}\nhere: {}", case.name, said(&other), said(&out)));
    }
    Ok(())
}

fn refuses(place: &Place, (pointer, value, word): (&str, &str, &str)) -> Result<(), String> {
    place.script("true", &[(pointer, value)])?;
    let out = place.trine(&["run", "c"])?;
    let why = String::from_utf8_lossy(&out.stderr);
    if out.status.code() != Some(1) || !why.contains(word) || why.contains("panicked") {
        return Err(format!("{pointer} = {value}: no refusal with '{word}': {}", said(&out)));
    }
    Ok(())
}

/// Everything in one place; what fails is told at the end.
fn all(user: Option<u32>) -> Result<(), String> {
    let place = Place::new(user)?;
    let mut failures = Vec::new();
    failures.extend(CASES.iter().filter_map(|case| sees(&place, case).err()));
    failures.extend(REFUSED.iter().filter_map(|case| refuses(&place, *case).err()));
    failures.extend(life::all(&place));
    // Nothing may be left of what has ended or was refused.
    let left = place.trine(&["list", "--quiet"]).and_then(succeed)?;
    if !left.trim().is_empty() {
        failures.push(format!("left behind: {left}"));
    }
    match failures.as_slice() {
        [] => Ok(()),
        _ => Err(format!("as {}:\n{}", if user.is_some() { "a user" } else { "root" }, failures.join("\n"))),
    }
}

/// Runs the tests: as root and as an ordinary user.
pub fn run() -> Result<(), String> {
    let id = Command::new("id").arg("-u").output().map_err(text)?;
    if id.stdout != b"0\n" {
        eprintln!("skipped: containers of root, and those of a user are run from root (setpriv)");
        return Ok(());
    }
    all(None)?;
    if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: setpriv is not here, so nothing is run as an ordinary user");
        return Ok(());
    }
    all(Some(NOBODY))
}
