//! Links the command statically if the host's C library allows it: a program in another root (`chroot`, a
//! container) starts children under Trine, and the host's dynamic loader does not exist there. A static
//! executable also starts faster.
//!
//! The compiler's own switch for this (`crt-static`) cannot be set for one executable without building
//! everything for an explicit target. Therefore a script in place of the linker changes its arguments.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// Replaces `ld.bfd`: links static libraries only, and the static unwinder in place of the shared one.
const SCRIPT: &str = r#"#!/bin/sh
# Written by Trine's build script.
for arg do
    shift
    case $arg in
    -Bdynamic) continue ;;
    -lgcc_s) set -- "$@" --start-group -lgcc_eh -lgcc -lc; arg=--end-group ;;
    esac
    set -- "$@" "$arg"
done
exec "@LD@" "$@"
"#;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux")
        && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|e| e == "gnu")
        && env::var("HOST") == env::var("TARGET");
    let Some(dir) = env::var_os("OUT_DIR").map(PathBuf::from).filter(|_| linux) else { return };
    match prepare(&dir) {
        Some(()) => {
            for arg in [&format!("-B{}", dir.display()), "-fuse-ld=bfd", "-static-pie"] {
                println!("cargo:rustc-link-arg-bins={arg}");
            }
        }
        None => println!("cargo:warning=trine is linked dynamically: `cc -static-pie` does not work here"),
    }
}

/// Writes the script and tries it; `None` where the host cannot link statically.
fn prepare(dir: &Path) -> Option<()> {
    let out = Command::new("cc").arg("-print-prog-name=ld.bfd").output().ok()?;
    let linker = String::from_utf8(out.stdout).ok()?;
    let linker = Command::new("sh").args(["-c", "command -v \"$0\"", linker.trim()]).output().ok()?;
    let linker = String::from_utf8(linker.stdout).ok().filter(|l| !l.trim().is_empty())?;
    let script = dir.join("ld.bfd");
    fs::write(&script, SCRIPT.replace("@LD@", linker.trim())).ok()?;
    let executable = Command::new("chmod").arg("755").arg(&script).status().ok()?;
    let (source, trial) = (dir.join("trial.c"), dir.join("trial"));
    fs::write(&source, "int main(void) { return 0; }\n").ok()?;
    let linked = Command::new("cc")
        .arg(format!("-B{}", dir.display()))
        .args(["-fuse-ld=bfd", "-static-pie", "-o"])
        .args([&trial, &source])
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let runs = executable.success() && linked.success() && Command::new(&trial).status().ok()?.success();
    runs.then_some(())
}
