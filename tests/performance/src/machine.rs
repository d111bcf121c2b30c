//! Boots, and loads inside the machine.

use crate::loads;
use crate::measured::{Measured, USUAL, print};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use trine_test_support::tools;

/// Kernel command line of the boots.
const APPEND: &str = "console=ttyS0 quiet loglevel=4";
/// The first output of the userland.
const FIRST: &str = "This is Linux";

/// Seconds until the child writes `FIRST`.
fn until_first(mut command: Command) -> Result<f64, String> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let time = watch(&mut child, start).map_err(|e| format!("{command:?}: {e}"));
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

/// A machine with kernel, initramfs and command line: Trine's, and QEMU's.
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

/// An initramfs with the loads.
fn with_loads() -> Result<PathBuf, String> {
    let program = std::fs::read(loads::guest()?).map_err(|e| e.to_string())?;
    let initrd = tools::root().join("target/tools/loads.cpio");
    std::fs::write(&initrd, tools::initrd_with("loads", &program)?).map_err(|e| e.to_string())?;
    Ok(initrd)
}

/// The loads inside the machines.
pub fn cpu(runs: usize, json: bool) -> Result<(), String> {
    let (initrd, native) = (with_loads()?, loads::native()?);
    let append = format!("{APPEND} trine.exec=/loads");
    let mut all = Vec::new();
    for run in 0..runs {
        let [mut ours, mut theirs] = machines(&initrd, &append)?;
        loads::round(&mut all, [&mut ours, &mut theirs, &mut Command::new(&native)])?;
        eprintln!("run {} of {runs} done", run + 1);
    }
    print(&mut all, USUAL, json);
    loads::print_means(&mut all, json);
    Ok(())
}

/// Start to the first output of the userland.
pub fn boot(runs: usize, json: bool) -> Result<(), String> {
    let guest = tools::guest()?;
    let mut boot = Measured::new("boot");
    for run in 0..runs {
        let [ours, theirs] = machines(&guest.initrd, APPEND)?;
        let (a, b) = (until_first(ours)?, until_first(theirs)?);
        boot.add([Some(a), Some(b), None]);
        eprintln!("run {}: trine {a:.2} s, QEMU {b:.2} s", run + 1);
    }
    print(&mut [boot], USUAL, json);
    Ok(())
}
