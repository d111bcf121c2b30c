//! `cargo xtask bench`: us and QEMU in turn, on the same work, in the same run.

use crate::tools;
use clap::ValueEnum;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use trine_image::archive::{self, Entry};

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Start to the first output of the userland.
    Boot,
    /// Integer and floating-point loads inside the machine.
    Cpu,
}

/// Kernel command line of the boots.
const APPEND: &str = "console=ttyS0 quiet loglevel=4";
/// What the userland says first.
const FIRST: &str = "This is Linux";

/// Runs a benchmark and prints its table.
pub fn run(what: What, runs: usize, json: bool) -> Result<(), String> {
    match what {
        What::Boot => boot(runs, json),
        What::Cpu => cpu(runs, json),
    }
}

/// Seconds until the child says `FIRST`.
fn until_first(mut command: Command) -> Result<f64, String> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let time = watch(&mut child, start);
    drop(child.kill());
    drop(child.wait());
    time
}

fn watch(child: &mut Child, start: Instant) -> Result<f64, String> {
    let mut out = child.stdout.take().ok_or("no output")?;
    let mut seen = Vec::new();
    let mut buf = [0; 4096];
    loop {
        let n = out.read(&mut buf).map_err(|e| e.to_string())?;
        if n == 0 {
            return Err(format!("it ended without '{FIRST}':\n{}", String::from_utf8_lossy(&seen)));
        }
        seen.extend_from_slice(&buf[..n]);
        if seen.windows(FIRST.len()).any(|w| w == FIRST.as_bytes()) {
            return Ok(start.elapsed().as_secs_f64());
        }
    }
}

/// A machine with kernel, initramfs and command line: ours, and QEMU's.
fn machines(initrd: &Path, append: &str) -> Result<[Command; 2], String> {
    let (guest, trine) = (tools::guest()?, tools::trine()?);
    let (qemu, before) = tools::qemu_system()?;
    let mut ours = Command::new(&trine);
    ours.args(["run", "--memory", "512M", "--append", append]);
    ours.arg("--kernel").arg(&guest.kernel).arg("--initrd").arg(initrd);
    let mut theirs = Command::new(&qemu);
    theirs.args(&before).args(["-M", "virt", "-m", "512M", "-nographic", "-no-reboot", "-append", append]);
    theirs.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(initrd);
    Ok([ours, theirs])
}

/// Compiles the loads for the guest and for the host; gives an initramfs with the former, and the
/// latter.
fn compile() -> Result<(PathBuf, PathBuf), String> {
    let source = tools::root().join("xtask/loads/cpu.c");
    let dir = tools::root().join("target/tools");
    let flags = ["-O2", "-fno-tree-vectorize", "-fno-math-errno", "-static", "-o"];
    let native = dir.join("loads-native");
    check(Command::new("cc").args(flags).arg(&native).arg(&source))?;
    let gcc = tools::cross_gcc()?;
    let guest = dir.join("loads-riscv64");
    check(tools::gcc(&gcc).args(flags).arg(&guest).arg(&source))?;
    let program = std::fs::read(&guest).map_err(|e| e.to_string())?;
    let extra = archive::write(&[Entry::file("loads", 0o755, &program)]).map_err(|e| e.to_string())?;
    let mut all = std::fs::read(tools::guest()?.initrd).map_err(|e| e.to_string())?;
    // The kernel unpacks archives one after the other; each starts at a multiple of 4.
    all.resize(all.len().next_multiple_of(4), 0);
    all.extend(extra);
    let initrd = dir.join("loads.cpio");
    std::fs::write(&initrd, all).map_err(|e| e.to_string())?;
    Ok((initrd, native))
}

fn check(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

/// Runs the loads once: nanoseconds and checksum of each.
fn loads(command: &mut Command) -> Result<Vec<(String, f64, String)>, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = |l: &str| {
        let (name, rest) = l.trim().strip_prefix("LOAD ")?.split_once(": ")?;
        let (nanos, sum) = rest.split_once(' ')?;
        Some((name.to_string(), nanos.parse().ok()?, sum.to_string()))
    };
    let found: Vec<_> = text.lines().filter_map(line).collect();
    if found.is_empty() { Err(format!("no load ran; it said:\n{text}")) } else { Ok(found) }
}

fn cpu(runs: usize, json: bool) -> Result<(), String> {
    let (initrd, native) = compile()?;
    let append = format!("{APPEND} trine.exec=/loads");
    // By load: times of trine, QEMU, native.
    let mut names: Vec<String> = Vec::new();
    let mut times: Vec<[Vec<f64>; 3]> = Vec::new();
    for run in 0..runs {
        let [mut ours, mut theirs] = machines(&initrd, &append)?;
        let results = [loads(&mut ours)?, loads(&mut theirs)?, loads(&mut Command::new(&native))?];
        for (who, result) in results.iter().enumerate() {
            for (i, (name, nanos, sum)) in result.iter().enumerate() {
                if names.len() <= i {
                    names.push(name.clone());
                    times.push(Default::default());
                }
                // The host's compiler may contract expressions differently: only guests must agree.
                if who < 2 && *sum != results[1][i].2 {
                    return Err(format!("{name}: the results differ: {sum} and {}", results[1][i].2));
                }
                times[i][who].push(nanos / 1e6);
            }
        }
        eprintln!("run {} of {runs} done", run + 1);
    }
    if !json {
        println!("| load | trine (ms) | QEMU (ms) | native (ms) | of QEMU | of native |");
        println!("| --- | --- | --- | --- | --- | --- |");
    }
    let mut logs = [(0.0, 0), (0.0, 0)];
    for (name, [a, b, c]) in names.iter().zip(&mut times) {
        let ((a, a0, a1), (b, b0, b1), (c, ..)) = (spread(a), spread(b), spread(c));
        let log = &mut logs[name.starts_with("fp") as usize];
        *log = (log.0 + (a / b).ln(), log.1 + 1);
        if json {
            println!(
                "{}",
                serde_json::json!({ "load": name, "trine": { "median": a, "min": a0, "max": a1 },
                "qemu": { "median": b, "min": b0, "max": b1 }, "native": c, "ratio": a / b })
            );
        } else {
            println!(
                "| {name} | {a:.0} ({a0:.0}–{a1:.0}) | {b:.0} ({b0:.0}–{b1:.0}) | {c:.0} | {:.2} | {:.1} |",
                a / b,
                a / c
            );
        }
    }
    let mean = |(log, n): (f64, i32)| (log / n.max(1) as f64).exp();
    println!(
        "geometric mean of QEMU's time: integer {:.2}, floating point {:.2}",
        mean(logs[0]),
        mean(logs[1])
    );
    Ok(())
}

fn boot(runs: usize, json: bool) -> Result<(), String> {
    let guest = tools::guest()?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let [ours, theirs] = machines(&guest.initrd, APPEND)?;
        a.push(until_first(ours)?);
        b.push(until_first(theirs)?);
        eprintln!("run {}: trine {:.2} s, QEMU {:.2} s", run + 1, a[run], b[run]);
    }
    report("boot", &mut a, &mut b, json)
}

/// Median, smallest and largest.
fn spread(times: &mut [f64]) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    (times[times.len() / 2], times[0], times[last])
}

fn report(name: &str, ours: &mut [f64], theirs: &mut [f64], json: bool) -> Result<(), String> {
    let ((a, a0, a1), (b, b0, b1)) = (spread(ours), spread(theirs));
    let mut out = std::io::stdout().lock();
    let done = if json {
        writeln!(
            out,
            "{}",
            serde_json::json!({ "load": name, "trine": { "median": a, "min": a0, "max": a1 },
                "qemu": { "median": b, "min": b0, "max": b1 }, "ratio": a / b })
        )
    } else {
        writeln!(
            out,
            "| load | trine (s) | QEMU (s) | ratio |\n| --- | --- | --- | --- |\n\
             | {name} | {a:.2} ({a0:.2}–{a1:.2}) | {b:.2} ({b0:.2}–{b1:.2}) | {:.2} |",
            a / b
        )
    };
    done.map_err(|e| e.to_string())
}
