//! The parts of the tests by name, and in which crate each of them is.

use crate::Checked;
use std::process::ExitCode;

/// The function that runs a part.
pub type Run = fn() -> Checked;

/// Where a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// A task of `xtask`: it runs cargo, or a crate's own tests.
    Task,
    /// `tests/system`.
    System,
    /// `tests/security`.
    Security,
    /// `tests/interop`.
    Interop,
}

impl Home {
    /// The package whose executable runs the parts; `None` for tasks.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Home::Task => None,
            Home::System => Some("trine-tests-system"),
            Home::Security => Some("trine-tests-security"),
            Home::Interop => Some("trine-tests-interop"),
        }
    }
}

/// A part of the tests.
pub struct Part {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it tests.
    pub what: &'static str,
    /// Where it is.
    pub home: Home,
    /// Whether it runs only with `--all` or by its name.
    pub slow: bool,
}

const fn quick(home: Home, name: &'static str, what: &'static str) -> Part {
    Part { name, what, home, slow: false }
}

const fn slow(home: Home, name: &'static str, what: &'static str) -> Part {
    Part { name, what, home, slow: true }
}

/// All parts in the order in which they run: those of CI, then the slow ones.
pub const PARTS: &[Part] = &[
    quick(Home::Task, "fmt", "formatting"),
    quick(Home::Task, "clippy", "lints, warnings as errors"),
    quick(Home::Task, "floors", "crates import downwards only"),
    quick(Home::Task, "unit", "unit and integration tests"),
    quick(Home::Task, "fuzz-check", "the fuzz targets compile, without warnings"),
    quick(Home::System, "boot", "Debian's kernel boots to a userland, in both engines"),
    quick(Home::System, "litmus", "what four harts see of each other's stores, 100,000 rounds of each test"),
    quick(Home::Interop, "firmware", "OpenSBI, U-Boot and EDK2 below and in machines"),
    quick(Home::System, "ends", "machines end, begin again, and have disks"),
    quick(
        Home::System,
        "devices",
        "a guest gives free memory to the host and follows the terminal's size; its link survives; what a trace has",
    ),
    quick(Home::System, "shares", "a folder of the host in a machine, changed from both sides"),
    quick(Home::System, "as-machine", "an image boots as a machine's root under Debian's kernel"),
    quick(
        Home::Interop,
        "gdb",
        "gdb-multiarch debugs a program with threads and a machine, and reads core dumps, in both engines",
    ),
    quick(Home::Interop, "perf-map", "perf finds names for generated code"),
    quick(Home::Interop, "calls", "system calls of programs, each as under QEMU's user mode"),
    quick(Home::System, "binfmt", "the kernel starts riscv64 programs under trine"),
    quick(
        Home::Interop,
        "images",
        "images from and to a real registry, killed, in parallel, as skopeo and umoci see them",
    ),
    quick(Home::System, "runtime", "containers from OCI bundles, as root and as an ordinary user"),
    quick(
        Home::System,
        "containers",
        "images as containers, from a registry: limits, networks, volumes, as root and as an ordinary user",
    ),
    quick(
        Home::System,
        "verbs",
        "run -d, ps, attach, logs, stop… and SIGKILL for anything, at machines and programs",
    ),
    quick(
        Home::System,
        "snapshots-short",
        "5 snapshots of a machine under disk and network load, each restored twice",
    ),
    quick(Home::System, "soak-short", "a Debian under all loads at once, and on from a snapshot, 3 minutes"),
    quick(
        Home::Security,
        "escapes",
        "ways out of containers: each goes where its protection is off, and is refused where it is on",
    ),
    quick(
        Home::System,
        "stress-short",
        "signals, futexes, mappings, code and children at once, a few seconds",
    ),
    quick(Home::Task, "differential", "random programs against QEMU, 200,000 instructions and more"),
    quick(Home::Task, "x86", "random x86 instructions against the host's own CPU, 200,000"),
    quick(
        Home::Task,
        "privileged",
        "random programs for M, S and U mode against QEMU's machine, 6,000 steps",
    ),
    quick(Home::Interop, "containerd", "real containerd drives our runtime: 50 containers"),
    quick(Home::Interop, "podman", "real Podman drives our runtime: 50 containers"),
    quick(Home::Interop, "docker", "real Docker drives our runtime: 20 containers at once"),
    slow(
        Home::System,
        "lockstep",
        "interpreter and compiler side by side over whole boots, of one hart and of two",
    ),
    slow(
        Home::System,
        "litmus-long",
        "what four harts see of each other's stores, a million rounds of each test",
    ),
    slow(Home::System, "boots", "20 boots in a row, of four harts"),
    slow(
        Home::System,
        "whole-debian",
        "a whole Debian: packages, gcc, python, git, shares, exec, reboot, stop",
    ),
    slow(Home::System, "debian-boots", "20 boots of a whole Debian with four harts"),
    slow(Home::Interop, "torture-O0", "GCC's c-torture/execute inside the machine, -O0"),
    slow(Home::Interop, "torture-O2", "GCC's c-torture/execute inside the machine, -O2"),
    slow(Home::Interop, "debian", "Debian's riscv64 programs write what they write under QEMU"),
    slow(
        Home::System,
        "stress",
        "signals, futexes, mappings, code and children at once, 10 minutes in each engine",
    ),
    slow(Home::Task, "fuzz-decode", FUZZ),
    slow(Home::Task, "fuzz-walk", FUZZ),
    slow(Home::Task, "fuzz-virtio", FUZZ),
    slow(Home::Task, "fuzz-pci", FUZZ),
    slow(Home::Task, "fuzz-state", FUZZ),
    slow(Home::Task, "fuzz-load", FUZZ),
    slow(Home::Task, "fuzz-archive", FUZZ),
    slow(Home::Task, "fuzz-ports", FUZZ),
    slow(Home::Task, "fuzz-qcow2", FUZZ),
    slow(Home::Task, "fuzz-elf", FUZZ),
    slow(
        Home::Task,
        "network",
        "private networks and ports of containers and machines, in network namespaces of the tests' own",
    ),
    slow(Home::System, "leaks", "SIGKILL for any process of containers at any moment leaves nothing"),
    slow(Home::Task, "fuzz-bundle", FUZZ),
    slow(Home::Security, "hostile", "programs that try to get out and to use everything up"),
    slow(Home::Task, "fuzz-tree", FUZZ),
    slow(Home::Task, "fuzz-image", FUZZ),
    slow(Home::Task, "fuzz-layer", FUZZ),
    slow(Home::Task, "fuzz-saved", FUZZ),
    slow(Home::Task, "fuzz-nat", FUZZ),
    slow(Home::Task, "fuzz-flash", FUZZ),
    slow(Home::Task, "fuzz-vsock", FUZZ),
    slow(Home::Task, "fuzz-fuse", FUZZ),
    slow(Home::Task, "fuzz-gdb", FUZZ),
    slow(Home::Task, "fuzz-snapshot", FUZZ),
    slow(
        Home::System,
        "snapshots",
        "200 snapshots of a machine under disk and network load, each restored twice",
    ),
    slow(Home::System, "soak-1", SOAK),
    slow(Home::System, "soak-2", SOAK_ON),
    slow(Home::System, "soak-3", SOAK_ON),
    slow(Home::System, "soak-4", SOAK_ON),
    slow(Home::Task, "code-races", "code rewritten under vCPUs that run it, ten minutes, programs and harts"),
    slow(Home::Task, "differential-long", "random programs against QEMU, 10 million instructions"),
    slow(Home::Task, "x86-long", "random x86 instructions against the host's own CPU, 10 million"),
    slow(
        Home::Task,
        "privileged-long",
        "random programs for M, S and U mode against QEMU's machine, 450,000 steps",
    ),
];

const SOAK: &str = "a whole Debian under all loads at once, 30 minutes, and a snapshot";
const SOAK_ON: &str = "30 minutes more, on from the snapshot of the part before";
const FUZZ: &str = "10 minutes of fuzzing";

/// Resets signals of the terminal to their defaults, even if this is a shell's background job, which ignores
/// them: tests type Ctrl-C into terminals of their own, and send SIGQUIT.
pub fn heed_the_terminal() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: no thread of this process handles either.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The `main` of a crate of tests: runs the part named by the first argument.
pub fn main(parts: &[(&str, Run)]) -> ExitCode {
    heed_the_terminal();
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, run)) = parts.iter().find(|p| p.0 == name) else {
        let names: Vec<&str> = parts.iter().map(|p| p.0).collect();
        eprintln!("there is no part '{name}' here, but {}", names.join(", "));
        return ExitCode::from(2);
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The differences between the parts that [`PARTS`] lists for a crate and those of the crate; `None` if there
/// are none.
pub fn difference(home: Home, parts: &[(&str, Run)]) -> Option<String> {
    let there: Vec<&str> = parts.iter().map(|p| p.0).collect();
    let wanted: Vec<&str> = PARTS.iter().filter(|p| p.home == home).map(|p| p.name).collect();
    let missing: Vec<_> = wanted.iter().filter(|n| !there.contains(n)).collect();
    let unknown: Vec<_> = there.iter().filter(|n| !wanted.contains(n)).collect();
    let same = missing.is_empty() && unknown.is_empty();
    (!same).then(|| format!("{home:?}: {missing:?} are missing, and {unknown:?} are not in the table"))
}

/// Makes the table `PARTS` of a crate of tests, from the crate's home and pairs of a name and a function; and
/// a test that these are the parts which the table of all parts lists for it.
#[macro_export]
macro_rules! parts {
    ($home:ident: $($name:literal => $run:expr,)*) => {
        const PARTS: &[(&str, $crate::parts::Run)] = &[$(($name, $run)),*];

        #[cfg(test)]
        mod parts_of_the_table {
            #[test]
            fn are_here() {
                let difference = $crate::parts::difference($crate::parts::Home::$home, super::PARTS);
                assert_eq!(difference, None);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_there_once() {
        let names: std::collections::BTreeSet<&str> = PARTS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PARTS.len());
    }

    #[test]
    fn what_is_missing_or_unknown_is_told() {
        let told = difference(Home::Security, &[("escapes", || Ok(())), ("other", || Ok(()))]).unwrap();
        assert!(told.contains("hostile") && told.contains("other") && !told.contains("escapes"), "{told}");
    }
}
