//! `cargo xtask bench`: us and QEMU in turn, on the same work, in the same run.

use crate::tools;
use clap::ValueEnum;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Start to the first output of the userland.
    Boot,
}

/// Kernel command line of the boots.
const APPEND: &str = "console=ttyS0 quiet loglevel=4";
/// What the userland says first.
const FIRST: &str = "This is Linux";

/// Runs a benchmark and prints its table.
pub fn run(what: What, runs: usize, json: bool) -> Result<(), String> {
    match what {
        What::Boot => boot(runs, json),
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

fn boot(runs: usize, json: bool) -> Result<(), String> {
    let (guest, trine) = (tools::guest()?, tools::trine()?);
    let (qemu, before) = tools::qemu_system()?;
    let ours = || {
        let mut c = Command::new(&trine);
        c.args(["run", "--memory", "512M", "--append", APPEND]);
        c.arg("--kernel").arg(&guest.kernel).arg("--initrd").arg(&guest.initrd);
        c
    };
    let theirs = || {
        let mut c = Command::new(&qemu);
        c.args(&before).args(["-M", "virt", "-m", "512M", "-nographic", "-no-reboot", "-append", APPEND]);
        c.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initrd);
        c
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for run in 0..runs {
        a.push(until_first(ours())?);
        b.push(until_first(theirs())?);
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
