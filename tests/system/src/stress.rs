//! Signals, futexes, mappings, faults, code and children all at once (`crates/program/tests/stress.c`): no wrong result
//! and no hang.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trine_test_support::tools;

/// Seconds that a program gets to end after its time.
const PATIENCE: u64 = 60;

/// Runs it for so many seconds in each engine.
pub fn run(seconds: u64) -> Result<(), String> {
    let source = tools::root().join("crates/program/tests/stress.c");
    let program = tools::root().join("target/tools/stress-riscv64");
    let out = tools::gcc(&tools::cross_gcc()?)
        .args(["-O2", "-static", "-pthread", "-o"])
        .args([&program, &source])
        .output()
        .map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(format!("stress.c: {}", String::from_utf8_lossy(&out.stderr)));
    }
    let trine = tools::trine()?;
    for engine in ["baseline", "interp"] {
        let child = Command::new(&trine)
            .args(["run", "--engine", engine])
            .arg(&program)
            .arg(seconds.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        println!("{engine}: {}", ended(child, seconds + PATIENCE)?.trim_end());
    }
    Ok(())
}

/// The child's output, if it succeeds in time.
fn ended(mut child: Child, seconds: u64) -> Result<String, String> {
    let start = Instant::now();
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if start.elapsed() > Duration::from_secs(seconds) {
            drop(child.kill());
            drop(child.wait());
            return Err(format!("it hangs: it did not end within {seconds} s"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    match out.status.success() && text.starts_with("ok") {
        true => Ok(text),
        false => Err(format!("{}: {text}", out.status)),
    }
}
