//! `trine oci` with real bundles: the environment of a container's program (as root and as an ordinary user,
//! and if crun is installed, compared with crun), the life of containers, terminals, hooks, errors.

mod cases;
mod life;
mod rare;

use cases::{CASES, Case, REFUSED};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use trine_test_support::bundle::Bundle;
use trine_test_support::command::said;
use trine_test_support::{NOBODY, is_root};

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

/// The same bundle under crun, which does not start if both versions of control groups are mounted.
fn crun(bundle: &Bundle) -> Option<Output> {
    if bundle.user.is_some() || Command::new("crun").arg("--version").stdout(Stdio::null()).status().is_err()
    {
        return None;
    }
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun run trine-test-$$";
    bundle.command(Path::new("unshare")).args(["-m", "sh", "-c", script]).output().ok()
}

fn sees(bundle: &Bundle, case: &Case) -> Result<(), String> {
    if case.root && bundle.user.is_some() {
        return Ok(());
    }
    bundle.script(case.script, case.changes)?;
    let out = bundle.trine(&["run", "c"])?;
    check(case, &out)?;
    if let Some(other) = Some(()).filter(|()| case.same).and_then(|()| crun(bundle))
        && (other.status.code(), &other.stdout) != (out.status.code(), &out.stdout)
    {
        return Err(format!("{}: under crun: {}\nhere: {}", case.name, said(&other), said(&out)));
    }
    Ok(())
}

fn refuses(bundle: &Bundle, (pointer, value, word): (&str, &str, &str)) -> Result<(), String> {
    bundle.script("true", &[(pointer, value)])?;
    let out = bundle.trine(&["run", "c"])?;
    let why = String::from_utf8_lossy(&out.stderr);
    if out.status.code() != Some(1) || !why.contains(word) || why.contains("panicked") {
        return Err(format!("{pointer} = {value}: no refusal with '{word}': {}", said(&out)));
    }
    Ok(())
}

/// Runs everything in one bundle; failures are reported at the end.
fn all(user: Option<u32>) -> Result<(), String> {
    let bundle = Bundle::new(user)?;
    let mut failures = Vec::new();
    failures.extend(CASES.iter().filter_map(|case| sees(&bundle, case).err()));
    failures.extend(REFUSED.iter().filter_map(|case| refuses(&bundle, *case).err()));
    failures.extend(life::all(&bundle));
    // Nothing may be left of ended or refused containers.
    let left = bundle.good(&["list", "--quiet"])?;
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
    if !is_root() {
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
