//! `cargo xtask test`: everything that CI runs, and the slow parts; and the parts that are tasks.

use crate::floors;
use std::time::{Duration, Instant};
use trine_test_support::command::tool;
use trine_test_support::parts::{PARTS, Part, Run};
use trine_test_support::watchdog::within;
use trine_test_support::{Checked, tools};

/// What a part of CI may take, with the building that it needs. Together they should take 40 minutes.
const QUICK: Duration = Duration::from_secs(30 * 60);
/// What a slow part may take: 45 minutes are wanted, on a host that does nothing else.
const SLOW: Duration = Duration::from_secs(90 * 60);

/// The parts that are tasks.
const TASKS: &[(&str, Run)] = &[
    ("fmt", || tools::cargo(&["fmt", "--all", "--check"])),
    ("clippy", || {
        tools::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    }),
    ("floors", floors::check),
    ("unit", || tools::cargo(&["test", "--workspace", "--quiet"])),
    ("network", || tools::cargo(&["test", "-p", "trine-hostnet", "--quiet"])),
    ("code-races", code_races),
    ("differential", || differential(20, 1)),
    ("differential-long", || differential(900, 1000)),
    ("x86", || conformance("x86", &["200000".into(), "1".into()])),
    ("x86-long", || conformance("x86", &["10000000".into(), "100000".into()])),
    ("privileged", || privileged(40, 1)),
    ("privileged-long", || privileged(3000, 1000)),
    ("fuzz-check", fuzz_check),
    ("fuzz-decode", || fuzz("decode")),
    ("fuzz-walk", || fuzz("walk")),
    ("fuzz-virtio", || fuzz("virtio")),
    ("fuzz-pci", || fuzz("pci")),
    ("fuzz-state", || fuzz("state")),
    ("fuzz-load", || fuzz("load")),
    ("fuzz-archive", || fuzz("archive")),
    ("fuzz-qcow2", || fuzz("qcow2")),
    ("fuzz-ports", || fuzz("ports")),
    ("fuzz-elf", || fuzz("elf")),
    ("fuzz-bundle", || fuzz("bundle")),
    ("fuzz-tree", || fuzz("tree")),
    ("fuzz-image", || fuzz("image")),
    ("fuzz-layer", || fuzz("layer")),
    ("fuzz-saved", || fuzz("saved")),
    ("fuzz-nat", || fuzz("nat")),
    ("fuzz-flash", || fuzz("flash")),
    ("fuzz-vsock", || fuzz("vsock")),
    ("fuzz-fuse", || fuzz("fuse")),
    ("fuzz-gdb", || fuzz("gdb")),
    ("fuzz-snapshot", || fuzz("snapshot")),
];

/// Prints the parts.
pub fn list() {
    for part in PARTS {
        println!("{:20} {}{}", part.name, part.what, if part.slow { " (--all)" } else { "" });
    }
}

/// The parts of these names, or all, or all that are not slow.
fn chosen(all: bool, names: &[String]) -> Result<Vec<&'static Part>, String> {
    if names.is_empty() {
        return Ok(PARTS.iter().filter(|p| all || !p.slow).collect());
    }
    let find = |name: &String| {
        let part = PARTS.iter().find(|p| p.name == name);
        part.ok_or_else(|| format!("there is no part '{name}': --list shows them"))
    };
    names.iter().map(find).collect()
}

fn run(part: &Part) -> Checked {
    match part.home.package() {
        Some(package) => tools::run_package(package, &[part.name]),
        None => {
            let (_, run) = TASKS.iter().find(|t| t.0 == part.name).ok_or("this task is not there")?;
            run()
        }
    }
}

/// Runs the tests.
pub fn test(all: bool, names: &[String]) -> Checked {
    for part in chosen(all, names)? {
        let (name, what) = (part.name, part.what);
        eprintln!("== {name}: {what}");
        let start = Instant::now();
        let limit = if part.slow { SLOW } else { QUICK };
        within(limit, || run(part)).map_err(|e| format!("{name}: {e}"))?;
        eprintln!("== {name} passed in {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Code that changes while several vCPUs run it: the long tests of two crates.
fn code_races() -> Checked {
    for (package, test) in [("trine-engine", "shared"), ("trine-conformance", "code_races")] {
        let only = ["--", "--ignored", "--nocapture", "five_minutes"];
        tools::cargo(&[&["test", "--release", "-p", package, "--test", test][..], &only].concat())?;
    }
    Ok(())
}

/// Writes the pages of docs/ that are generated from tables.
pub fn docs() -> Checked {
    let page = tools::root().join("docs/system-calls.md");
    let words = ["run", "--quiet", "--package", "trine-linux", "--example", "page"];
    let text = tool(tools::cargo_command().args(words))?;
    std::fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))
}

/// Lints the fuzz targets, which are a workspace of their own: otherwise a change of a crate's interface
/// breaks them unnoticed. Nothing is linked, so a host without a C++ compiler, which libFuzzer needs, can do
/// it.
fn fuzz_check() -> Checked {
    tool(
        tools::cargo_command()
            .args(["clippy", "--quiet", "--locked", "--bins", "--", "-D", "warnings"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a")
            .current_dir(tools::root().join("fuzz")),
    )
    .map(drop)
}

/// Runs a fuzz target from its seeds and reports its coverage.
fn fuzz(target: &str) -> Checked {
    let dir = tools::root().join("fuzz");
    std::fs::create_dir_all(dir.join("corpus").join(target)).map_err(|e| e.to_string())?;
    let status = tools::cargo_command()
        .args(["fuzz", "run", target, &format!("corpus/{target}"), &format!("seeds/{target}"), "--"])
        .args(["-max_total_time=600", "-print_final_stats=1"])
        // libFuzzer's instrumentation is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(&dir)
        .status();
    match status {
        Ok(s) if s.success() => Ok(()),
        Ok(s) => Err(format!("{s} (cargo-fuzz has to be there: cargo install cargo-fuzz)")),
        Err(e) => Err(e.to_string()),
    }
}

/// Runs an example of the crate `conformance`.
fn conformance(example: &str, arguments: &[String]) -> Checked {
    let first = ["run", "--quiet", "--package", "trine-conformance", "--example", example, "--"];
    let all: Vec<&str> = first.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    tools::cargo(&all)
}

fn differential(programs: usize, seed: u64) -> Checked {
    for (xlen, name) in [("64", "riscv64"), ("32", "riscv32")] {
        let qemu = tools::qemu_user(name)?.display().to_string();
        conformance("differential", &[programs.to_string(), seed.to_string(), xlen.into(), qemu])?;
    }
    Ok(())
}

fn privileged(programs: u64, seed: u64) -> Checked {
    let (program, arguments) = tools::qemu_system()?;
    let own = [programs.to_string(), seed.to_string(), program.display().to_string()];
    conformance("privileged", &[&own[..], &arguments].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_test_support::parts::{Home, difference};

    #[test]
    fn the_tasks_are_those_of_the_table() {
        assert_eq!(difference(Home::Task, TASKS), None);
    }

    #[test]
    fn names_choose_parts_and_nothing_chooses_the_quick_ones() {
        let names = |parts: Vec<&Part>| parts.iter().map(|p| p.name).collect::<Vec<_>>();
        assert_eq!(names(chosen(false, &["stress".into(), "fmt".into()]).unwrap()), ["stress", "fmt"]);
        assert!(chosen(true, &["nothing".into()]).is_err());
        assert!(chosen(false, &[]).unwrap().iter().all(|p| !p.slow));
        assert_eq!(chosen(true, &[]).unwrap().len(), PARTS.len());
    }
}
