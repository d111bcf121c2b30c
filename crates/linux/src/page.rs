//! docs/system-calls.md, generated from the tables (`cargo xtask docs`).

use crate::abi::riscv64;
use crate::ioctl::{REQUESTS, Way};
use crate::table::{CALLS, Call, Reach, State};
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

fn row(call: &Call) -> String {
    let args: Vec<String> = call.args.iter().map(|a| format!("{a:?}").to_lowercase()).collect();
    let (state, note, args) = (word(call.state), call.note, args.join(", "));
    let reach: Vec<String> = call.reach.iter().map(|r| format!("{r:?}").to_lowercase()).collect();
    let reach = reach.join(", ");
    let number = riscv64::MACHINE.calls.number(call.name).map_or_else(String::new, |n| n.to_string());
    format!("| {number} | `{}` | {args} | {state} | {reach} | {note} | {} |", call.name, call.test)
}

/// The text of the page.
pub fn system_calls() -> String {
    let count = |state| CALLS.iter().filter(|c| c.state == state).count();
    let [complete, partial, refused] = [State::Complete, State::Partial, State::Refused].map(count);
    let mut text = format!(
        "{HEAD}\n{} calls: {complete} complete, {partial} partial, {refused} refused.\n\n",
        CALLS.len()
    );
    text += "| number | call | arguments | how far | reaches | note | check |\n| ---: | --- | --- | --- | --- | --- | --- |\n";
    for call in CALLS {
        let _ = writeln!(text, "{}", row(call));
    }
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
