//! Devices by which machine and host tell each other something: free memory, the size of the terminal, packets; and the trace of a
//! machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use trine_test_support::command::{check, tool};
use trine_test_support::machine::{Form, Machines, Talk};
use trine_test_support::{Checked, text, tools};

/// How long a guest may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// MiB of a file in the guest's memory.
const FILE: u64 = 256;

/// Sends the letter A to the serial port, calls the handler and ends the machine there.
const TRACED: &str = "la t0, handler
    csrw mtvec, t0
    lui a0, 0x10000
    li a1, 65
    sb a1, 0(a0)
    ecall
    .balign 4
handler:
    lui t0, 0x100
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b
";

/// Runs all of them.
pub fn run() -> Checked {
    let machines = Machines::new("devices")?;
    trace(&machines)?;
    memory(&machines)?;
    terminal(&machines)?;
    crate::link::links(&machines)?;
    println!(
        "free memory is the host's, terminals' sizes are the guest's, a link survives, and a trace says what happened"
    );
    Ok(())
}

/// MiB of memory that a process has.
fn resident(process: u32) -> Result<u64, String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).map_err(text)?;
    let kib =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or("no VmRSS")? >> 10)
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, String>) -> Checked {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > end {
            return Err(what.into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// What a guest frees is the host's again, without anybody's asking.
fn memory(machines: &Machines) -> Checked {
    let mut talk = Talk::start(machines.run(&["linux", "-m", "640M"]))?;
    talk.hear("# ")?;
    let process = talk.process().id();
    let before = resident(process)?;
    talk.say(&format!("dd if=/dev/zero of=/large bs=1M count={FILE} && echo fil''led\n"))?;
    talk.hear("filled")?;
    let full = resident(process)?;
    if full < before + FILE * 3 / 4 {
        return Err(format!("a file of {FILE} MiB in memory makes {before} MiB {full} MiB"));
    }
    talk.say("rm /large\n")?;
    until(
        &format!(
            "of {full} MiB the machine had {before} before a file; it keeps them when the file has gone"
        ),
        || Ok(resident(process)? < full - FILE * 3 / 4),
    )?;
    talk.say("poweroff\n")?;
    talk.end().map(drop)
}

/// A tmux of the test's own.
struct Tmux(PathBuf);

impl Tmux {
    fn do_it(&self, words: &[&str]) -> Result<String, String> {
        tool(Command::new("tmux").arg("-S").arg(&self.0).args(["-f", "/dev/null"]).args(words))
    }

    /// Waits for a line of the screen.
    fn shows(&self, line: &str) -> Checked {
        let mut screen = String::new();
        until(line, || {
            screen = self.do_it(&["capture-pane", "-p"])?;
            Ok(screen.lines().any(|found| found.trim_end() == line))
        })
        .map_err(|line| format!("the terminal does not show '{line}': {screen}"))
    }

    /// Waits until a command that is typed again and again makes the screen show a line.
    fn shows_after(&self, typed: &str, line: &str) -> Checked {
        until(&format!("'{typed}' does not show '{line}'"), || {
            self.do_it(&["send-keys", typed, "Enter"])?;
            std::thread::sleep(Duration::from_millis(500));
            let screen = self.do_it(&["capture-pane", "-p"])?;
            Ok(screen.lines().any(|found| found.trim_end() == line))
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The machine ends with its terminal.
        drop(self.do_it(&["kill-server"]));
    }
}

/// The guest has the size of the user's terminal, and learns of its changes.
fn terminal(machines: &Machines) -> Checked {
    if !tools::has(&["tmux"]) {
        return Ok(());
    }
    let tmux = Tmux(machines.dir.join("tmux"));
    let command = machines.run(&["linux"]);
    let command = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = command.map(|word| word.to_string_lossy().into_owned()).collect();
    let mut start = vec!["new-session", "-d", "-x", "91", "-y", "27"];
    start.extend(words.iter().map(String::as_str));
    tmux.do_it(&start)?;
    tmux.shows("root@trine:~#")?;
    // The first size comes a moment after the shell, perhaps.
    tmux.shows_after("stty size", "27 91")?;
    // What is in front is sent the signal, too: the shell itself, as long as it starts no program.
    let waits = r#"trap 'c=changed' WINCH; echo trapped; until [ "$c" ]; do :; done; echo $c"#;
    tmux.do_it(&["send-keys", waits, "Enter"])?;
    tmux.shows("trapped")?;
    tmux.do_it(&["resize-window", "-x", "104", "-y", "33"])?;
    tmux.shows("changed")?;
    tmux.shows_after("stty size", "33 104")?;
    tmux.do_it(&["send-keys", "poweroff", "Enter"]).map(drop)
}

/// A trace has what was executed, what was raised and what devices were asked, the same with both engines.
fn trace(machines: &Machines) -> Checked {
    let program = machines.program("traced", TRACED, Form::Elf)?;
    let file = machines.dir.join("trace");
    let traced = |engine: &str, what: &str| {
        let option = format!("{}{what}", file.display());
        let words =
            ["--firmware", "none", "--count-time", "1", "--engine", engine, "--trace", &option, &program];
        let said = machines.whole(&words, "")?;
        check(said.code == 0 && said.out.contains('A'), "a program with a trace ends", &said)?;
        fs::read_to_string(&file).map_err(text)
    };
    let whole = traced("baseline", "")?;
    if whole != traced("interp", "")? {
        return Err("the engines have different traces".into());
    }
    let wanted = [
        "sb a1, 0(a0)",
        "mmio uart0+0x0 write 1 0x41",
        "ecall",
        "environment call from M (cause 0xb, value 0x0)",
        "sw t1, 0(t0)",
        "mmio finisher+0x0 write 4 0x5555",
    ];
    let mut lines = whole.lines();
    for wanted in wanted {
        if !lines.any(|line| line.ends_with(wanted)) {
            return Err(format!("'{wanted}' is missing, or not behind the others: {whole}"));
        }
    }
    let some = traced("baseline", ",exceptions")?;
    if some.lines().count() != 1 || !some.starts_with("trap cpu0") {
        return Err(format!("one exception is wanted: {some}"));
    }
    let first = traced("baseline", ",exec,pc=0x80000000-0x80000003")?;
    match first.lines().count() {
        1 => Ok(()),
        _ => Err(format!("one instruction is wanted: {first}")),
    }
}
