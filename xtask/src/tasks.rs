//! `cargo xtask test`: everything that CI runs, and the slow parts.

use crate::floors;
use std::process::Command;
use std::time::Instant;
use trine_test_support::command::tool;
use trine_test_support::{Checked, tools};

type Part = (&'static str, &'static str, fn() -> Result<(), String>);

/// What CI runs, in this order.
const QUICK: &[Part] = &[
    ("fmt", "formatting", || tools::cargo(&["fmt", "--all", "--check"])),
    ("clippy", "lints, warnings as errors", || {
        tools::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    }),
    ("floors", "crates import downwards only", floors::check),
    ("unit", "unit and integration tests", || tools::cargo(&["test", "--workspace", "--quiet"])),
    ("boot", "Debian's kernel boots to a userland, in both engines", boot),
    ("firmware", "OpenSBI and U-Boot below and in machines", crate::firmware::firmware),
    ("ends", "machines end, begin again, and have disks", crate::firmware::ends),
    ("as-machine", "an image boots as a machine's root under Debian's kernel", crate::of_image::run),
    (
        "gdb",
        "gdb-multiarch debugs a program with threads and reads core dumps, in both engines",
        crate::debugger::run,
    ),
    ("perf-map", "perf finds names for generated code", crate::perfmap::run),
    ("calls", "system calls of programs, each as under QEMU's user mode", crate::calls::run),
    ("binfmt", "the kernel starts riscv64 programs under trine", crate::binfmt::run),
    (
        "images",
        "images from and to a real registry, killed, in parallel, as skopeo and umoci see them",
        crate::images::run,
    ),
    ("runtime", "containers from OCI bundles, as root and as an ordinary user", crate::runtime::run),
    (
        "containers",
        "images as containers, from a registry: limits, networks, volumes, as root and as an ordinary user",
        crate::containers::run,
    ),
    (
        "verbs",
        "run -d, ps, attach, logs, stop… and SIGKILL for anything, at machines and programs",
        crate::verbs::run,
    ),
    (
        "escapes",
        "ways out of containers: each goes where its protection is off, and is refused where it is on",
        crate::escapes::run,
    ),
    ("stress-short", "signals, futexes, mappings, code and children at once, a few seconds", || {
        crate::stress::run(5)
    }),
    ("differential", "random programs against QEMU, 200,000 instructions and more", || differential(20, 1)),
    ("privileged", "random programs for M, S and U mode against QEMU's machine, 6,000 steps", || {
        privileged(40, 1)
    }),
    ("containerd", "real containerd drives our runtime: 50 containers", crate::drivers::containerd),
    ("podman", "real Podman drives our runtime: 50 containers", crate::drivers::podman),
    ("docker", "real Docker drives our runtime: 20 containers at once", crate::drivers::docker::run),
];

/// The slow parts.
const SLOW: &[Part] = &[
    ("lockstep", "interpreter and compiler side by side over a whole boot", lockstep),
    ("boots", "20 boots in a row", || (0..20).try_for_each(|_| boot_with("baseline"))),
    ("torture-O0", "GCC's c-torture/execute inside the machine, -O0", || crate::torture::run("-O0")),
    ("torture-O2", "GCC's c-torture/execute inside the machine, -O2", || crate::torture::run("-O2")),
    ("debian", "Debian's riscv64 programs write what they write under QEMU", crate::debian::run),
    ("stress", "signals, futexes, mappings, code and children at once, 10 minutes in each engine", || {
        crate::stress::run(600)
    }),
    ("fuzz-decode", "10 minutes of fuzzing", || fuzz("decode")),
    ("fuzz-walk", "10 minutes of fuzzing", || fuzz("walk")),
    ("fuzz-virtio", "10 minutes of fuzzing", || fuzz("virtio")),
    ("fuzz-state", "10 minutes of fuzzing", || fuzz("state")),
    ("fuzz-load", "10 minutes of fuzzing", || fuzz("load")),
    ("fuzz-archive", "10 minutes of fuzzing", || fuzz("archive")),
    ("fuzz-ports", "10 minutes of fuzzing", || fuzz("ports")),
    ("fuzz-elf", "10 minutes of fuzzing", || fuzz("elf")),
    (
        "network",
        "private networks and ports of containers, in network namespaces of the tests' own",
        crate::network::run,
    ),
    ("leaks", "SIGKILL for any process of containers at any moment leaves nothing", crate::leaks::run),
    ("fuzz-bundle", "10 minutes of fuzzing", || fuzz("bundle")),
    ("hostile", "programs that try to get out and to use everything up", crate::hostile::run),
    ("fuzz-tree", "10 minutes of fuzzing", || fuzz("tree")),
    ("fuzz-image", "10 minutes of fuzzing", || fuzz("image")),
    ("fuzz-layer", "10 minutes of fuzzing", || fuzz("layer")),
    ("fuzz-saved", "10 minutes of fuzzing", || fuzz("saved")),
    ("differential-long", "random programs against QEMU, 10 million instructions", || {
        differential(900, 1000)
    }),
    ("privileged-long", "random programs for M, S and U mode against QEMU's machine, 450,000 steps", || {
        privileged(3000, 1000)
    }),
];

/// Prints the parts.
pub fn list() {
    for (name, what, _) in QUICK {
        println!("{name:20} {what}");
    }
    for (name, what, _) in SLOW {
        println!("{name:20} {what} (--all)");
    }
}

/// Runs the tests.
pub fn test(all: bool, part: Option<&str>) -> Result<(), String> {
    let every = QUICK.iter().chain(SLOW);
    let chosen: Vec<&Part> = match part {
        Some(name) => every.filter(|p| p.0 == name).collect(),
        None if all => every.collect(),
        None => QUICK.iter().collect(),
    };
    if chosen.is_empty() {
        return Err(format!("there is no part '{}': --list shows them", part.unwrap_or("")));
    }
    for (name, what, run) in chosen {
        eprintln!("== {name}: {what}");
        let start = Instant::now();
        run().map_err(|e| format!("{name}: {e}"))?;
        eprintln!("== {name} passed in {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Writes the pages that are made from tables.
pub fn docs() -> Checked {
    let page = tools::root().join("docs/system-calls.md");
    let words = ["run", "--quiet", "--package", "trine-linux", "--example", "page"];
    let text = tool(Command::new(env!("CARGO")).args(words).current_dir(tools::root()))?;
    std::fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))
}

/// Runs `trine run linux`; gives standard output.
fn machine(args: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(tools::trine()?)
        .args(["run", "--memory", "256M"])
        .args(args)
        .arg("linux")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, input.as_bytes()).map_err(|e| e.to_string())?;
    }
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() { Ok(text) } else { Err(format!("{}; it said:\n{text}", out.status)) }
}

fn boot_with(engine: &str) -> Result<(), String> {
    let text = machine(&["--engine", engine], "uname -m; echo $((6 * 7)); poweroff\n")?;
    for want in ["riscv64", "42", "reboot: Power down"] {
        if !text.contains(want) {
            return Err(format!("the {engine} engine's boot does not say '{want}':\n{text}"));
        }
    }
    Ok(())
}

fn boot() -> Result<(), String> {
    boot_with("baseline")?;
    boot_with("interp")
}

fn lockstep() -> Result<(), String> {
    machine(&["--lockstep", "--append", "trine.exec=/bin/true"], "").map(drop)
}

/// Runs a fuzz target from its seeds and reports its coverage.
fn fuzz(target: &str) -> Result<(), String> {
    let dir = tools::root().join("fuzz");
    std::fs::create_dir_all(dir.join("corpus").join(target)).map_err(|e| e.to_string())?;
    let status = Command::new(env!("CARGO"))
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
