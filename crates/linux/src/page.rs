//! docs/system-calls.md, generated from the tables (`cargo xtask docs`).

use crate::abi::{MACHINES, Machine};
use crate::ioctl::{REQUESTS, Way};
use crate::table::{Call, Reach, State};
use std::fmt::Write;

const HEAD: &str = "\
# System calls of programs

Made from the tables in `crates/linux/src` by `cargo xtask docs`; do not edit it here.

Programs run on the host's kernel (`trine run PROGRAM`). A call is *complete* where a check of
`crates/linux/tests/calls` has the same result under Debian's `qemu-riscv64` 10 or, where that falls short
(`exempt.txt` beside the checks says how), natively. *Partial* calls say what is missing, *refused* ones why they always
fail, and with what. A number that is not here gives `ENOSYS`.
";

/// The word for how complete a call is.
fn word(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Partial => "partial",
        State::Refused => "refused",
    }
}

/// The calls of these CPUs: those of the first in the order of its numbers, then those that only later ones have.
fn calls(machines: &[&'static Machine]) -> Vec<&'static Call> {
    let mut calls: Vec<&Call> = Vec::new();
    for machine in machines {
        let mut numbers: Vec<u64> = machine.calls.names().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        for call in numbers.into_iter().filter_map(|number| machine.calls.find(number)) {
            // Two CPUs may have a row each for a call of the same name.
            if !calls.iter().any(|known| std::ptr::eq(*known, call)) {
                calls.push(call);
            }
        }
    }
    calls
}

/// The number of a call on a CPU; empty if the CPU does not have this row.
fn number(machine: &Machine, call: &Call) -> String {
    let number = machine.calls.number(call.name);
    let number = number.filter(|n| machine.calls.find(*n).is_some_and(|row| std::ptr::eq(row, call)));
    number.map_or_else(String::new, |n| n.to_string())
}

fn row(machines: &[&'static Machine], call: &Call) -> String {
    let args: Vec<String> = call.args.iter().map(|a| format!("{a:?}").to_lowercase()).collect();
    let (state, note, args) = (word(call.state), call.note, args.join(", "));
    let reach: Vec<String> = call.reach.iter().map(|r| format!("{r:?}").to_lowercase()).collect();
    let reach = reach.join(", ");
    let numbers: Vec<String> = machines.iter().map(|machine| number(machine, call)).collect();
    let numbers = numbers.join(" | ");
    format!("| {numbers} | `{}` | {args} | {state} | {reach} | {note} | {} |", call.name, call.test)
}

/// The table of calls, with a column of numbers for each CPU.
fn table(machines: &[&'static Machine]) -> String {
    let calls = calls(machines);
    let count = |state| calls.iter().filter(|c| c.state == state).count();
    let [complete, partial, refused] = [State::Complete, State::Partial, State::Refused].map(count);
    let columns: Vec<String> = match machines {
        [_] => vec!["number".into()],
        several => several.iter().map(|machine| format!("number on {}", machine.name)).collect(),
    };
    let mut text = format!(
        "\n{} calls: {complete} complete, {partial} partial, {refused} refused.\n\n\
         | {} | call | arguments | how far | reaches | note | check |\n\
         | {}--- | --- | --- | --- | --- | --- |\n",
        calls.len(),
        columns.join(" | "),
        "---: | ".repeat(machines.len()),
    );
    for call in calls {
        let _ = writeln!(text, "{}", row(machines, call));
    }
    text
}

/// The text of the page.
pub fn system_calls() -> String {
    let mut text = format!("{HEAD}{}", table(MACHINES));
    text += "\n## What a call reaches\n\nOutside the process that makes it; and by what `--limit` and `--deny` keep a program from there (confinement.md).\n\n";
    text += "| reaches | |\n| --- | --- |\n";
    for (reach, meaning) in Reach::ALL {
        let name = format!("{reach:?}").to_lowercase();
        let _ = writeln!(text, "| {name} | {meaning} |");
    }
    text += "\n## Requests of `ioctl`\n\nThe host's kernel takes them as they are; `--strace` shows their names.\n\n";
    text += "| number | request | bytes | way | meaning |\n| ---: | --- | ---: | --- | --- |\n";
    for r in REQUESTS {
        let way = match r.way {
            Way::None => "",
            Way::Value => "a number",
            Way::In => "in",
            Way::Out => "out",
            Way::InOut => "in, out",
        };
        let _ = writeln!(text, "| {:#x} | `{}` | {} | {way} | {} |", r.number, r.name, r.size, r.meaning);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Numbering, numbers, riscv64};
    use crate::table::calls;

    calls! {
        pub const OWN:
        arch_prctl(Int, Either) => thread(Own) reaches Own tested "none";
    }

    static CALLS: Numbering = Numbering::new(&[numbers! { 0 => read write; 158 => arch_prctl; }], OWN);
    static OTHER: Machine = Machine { name: "other", calls: &CALLS, ..riscv64::machine() };

    #[test]
    fn every_cpu_has_its_column_and_its_own_rows() {
        let text = table(&[&riscv64::MACHINE, &OTHER]);
        let row = |name: &str| text.lines().find(|line| line.contains(&format!("`{name}`")));
        assert!(text.contains("\n| number on riscv64 | number on other | call |"), "{text}");
        assert!(text.contains("\n| ---: | ---: | --- |"), "{text}");
        for (name, numbers) in
            [("read", "| 63 | 0 |"), ("riscv_hwprobe", "| 258 |  |"), ("arch_prctl", "|  | 158 |")]
        {
            assert!(row(name).is_some_and(|row| row.starts_with(numbers)), "{name}: {:?}", row(name));
        }
    }
}
