//! Debian's kernel boots to a userland.

use trine_test_support::Checked;
use trine_test_support::command::check;
use trine_test_support::machine::Machines;

fn boot_with(machines: &Machines, engine: &str, cpus: u32) -> Checked {
    let number = cpus.to_string();
    let words = ["--stats", "--memory", "256M", "--engine", engine, "--cpus", &number, "linux"];
    let said =
        machines.whole(&words, "uname -m; echo harts $(grep -c ^processor /proc/cpuinfo); poweroff\n")?;
    let harts = format!("harts {cpus}\r\n");
    let right = ["riscv64", &harts, "reboot: Power down"].iter().all(|want| said.out.contains(want));
    // The list of what a machine's own process calls is complete.
    let confined = said.err.contains("confinement: ") && !said.err.contains("refused calls");
    check(
        said.code == 0 && right && confined,
        &format!("a boot with {cpus} CPUs in the engine {engine}"),
        &said,
    )
}

/// A boot in each engine.
pub fn boot() -> Checked {
    let machines = Machines::new("boot")?;
    [1, 2, 4].into_iter().try_for_each(|cpus| boot_with(&machines, "baseline", cpus))?;
    boot_with(&machines, "interp", 2)
}

/// Many boots, one after the other.
pub fn boots() -> Checked {
    let machines = Machines::new("boots")?;
    (0..20).try_for_each(|_| boot_with(&machines, "baseline", 4))
}

/// Boots in which both engines run side by side and are compared, with one hart and with two that take turns.
pub fn lockstep() -> Checked {
    let machines = Machines::new("lockstep")?;
    for cpus in ["1", "2"] {
        let words =
            ["--memory", "256M", "--lockstep", "--cpus", cpus, "--append", "trine.exec=/bin/true", "linux"];
        let said = machines.whole(&words, "")?;
        check(said.code == 0, &format!("a boot in lock-step with {cpus} CPUs"), &said)?;
    }
    Ok(())
}
