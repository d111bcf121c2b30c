//! Debian's kernel boots to a userland.

use trine_test_support::Checked;
use trine_test_support::command::check;
use trine_test_support::machine::Machines;

fn boot_with(machines: &Machines, engine: &str) -> Checked {
    let words = ["--memory", "256M", "--engine", engine, "linux"];
    let said = machines.whole(&words, "uname -m; echo $((6 * 7)); poweroff\n")?;
    let right = ["riscv64", "42", "reboot: Power down"].iter().all(|want| said.out.contains(want));
    check(said.code == 0 && right, &format!("a boot in the engine {engine}"), &said)
}

/// A boot in each engine.
pub fn boot() -> Checked {
    let machines = Machines::new("boot")?;
    boot_with(&machines, "baseline")?;
    boot_with(&machines, "interp")
}

/// Many boots, one after the other.
pub fn boots() -> Checked {
    let machines = Machines::new("boots")?;
    (0..20).try_for_each(|_| boot_with(&machines, "baseline"))
}

/// A boot in which both engines run side by side and are compared.
pub fn lockstep() -> Checked {
    let words = ["--memory", "256M", "--lockstep", "--append", "trine.exec=/bin/true", "linux"];
    let said = Machines::new("lockstep")?.whole(&words, "")?;
    check(said.code == 0, "a boot in lock-step", &said)
}
