//! The project's own loads (`tests/performance/loads/cpu.c`), which time themselves.

use crate::measured::{Measured, check, mean};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use trine_test_support::tools;

const FLAGS: [&str; 5] = ["-O2", "-fno-tree-vectorize", "-fno-math-errno", "-static", "-o"];

fn source() -> PathBuf {
    tools::root().join("tests/performance/loads/cpu.c")
}

/// The loads, compiled for riscv64.
pub fn guest() -> Result<PathBuf, String> {
    let out = tools::root().join("target/tools/loads-riscv64");
    check(tools::gcc(&tools::cross_gcc()?).args(FLAGS).arg(&out).arg(source()).arg("-lm"))?;
    Ok(out)
}

/// The loads, compiled for the host.
pub fn native() -> Result<PathBuf, String> {
    let out = tools::root().join("target/tools/loads-native");
    check(Command::new("cc").args(FLAGS).arg(&out).arg(source()).arg("-lm"))?;
    Ok(out)
}

/// Runs the loads once: name, seconds and checksum of each.
fn once(command: &mut Command) -> Result<Vec<(String, f64, String)>, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = |l: &str| {
        let (name, rest) = l.trim().strip_prefix("LOAD ")?.split_once(": ")?;
        let (nanos, sum) = rest.split_once(' ')?;
        Some((name.to_string(), nanos.parse::<f64>().ok()? / 1e9, sum.to_string()))
    };
    let found: Vec<_> = text.lines().filter_map(line).collect();
    if found.is_empty() {
        Err(format!("no load ran: {command:?} said:\n{text}{}", String::from_utf8_lossy(&out.stderr)))
    } else {
        Ok(found)
    }
}

/// Runs the loads once under trine, QEMU and natively.
pub fn round(all: &mut Vec<Measured>, commands: [&mut Command; 3]) -> Result<(), String> {
    let [ours, theirs, native] = commands;
    let [ours, theirs, native] = [once(ours)?, once(theirs)?, once(native)?];
    for (i, (name, a, sum)) in ours.into_iter().enumerate() {
        let (Some((_, b, other)), Some((_, c, _))) = (theirs.get(i), native.get(i)) else {
            return Err(format!("{name} did not run everywhere"));
        };
        // The host's compiler may contract expressions differently: only guests must agree.
        if sum != *other {
            return Err(format!("{name}: the results differ: {sum} and {other}"));
        }
        if all.len() <= i {
            all.push(Measured::new(&name));
        }
        all[i].add([Some(a), Some(*b), Some(*c)]);
    }
    Ok(())
}

/// Prints the means of the integer and the floating-point loads.
pub fn print_means(all: &mut [Measured], json: bool) {
    for (title, kind) in [("integer", "int "), ("floating point", "fp ")] {
        let Some(mean) = mean(all.iter_mut().filter(|m| m.name.starts_with(kind))) else { continue };
        match json {
            true => println!("{}", serde_json::json!({ "geometric mean": title, "ratio": mean })),
            false => println!("geometric mean of QEMU's time, {title}: {mean:.2}"),
        }
    }
}
