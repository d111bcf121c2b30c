//! The machine monitor: commands about the machine in front, typed after Ctrl-A c or with gdb's `monitor`.
//!
//! * this file: the table of commands. [`info`]: what `info` shows; [`examine`]: memory and code; [`prompt`]: the line that is
//!   typed.

mod examine;
mod info;
mod prompt;

pub use prompt::{Key, Prompt};

use crate::front::Front;
use std::fmt::Write;
use std::time::Duration;
use trine_base::size::{self, Unit};
use trine_control::machine_link::{Ask, Phase};
use trine_machine::{BALLOON_PAGE_BITS, Board, Remote};

/// How long a machine may take to answer: a device may be waiting for the host, which may never answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most instructions of one `step`.
const MOST_STEPS: u64 = 10_000;

/// Executes commands on the machine in front.
pub struct Monitor {
    front: Front,
    /// The vCPU that commands are about.
    cpu: usize,
}

/// The output of a command, or why it is not possible.
type Answer = Result<String, String>;

/// A command.
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Monitor, &[&str]) -> Answer,
}

/// All commands.
const COMMANDS: &[Command] = &[
    Command { name: "help", arguments: "", help: "list the commands", run: |_, _| Ok(help()) },
    Command {
        name: "info",
        arguments: "registers|tlb|mem|devices|jit|stats|net|block|balloon",
        help: "show something of the machine",
        run: Monitor::info,
    },
    Command {
        name: "x",
        arguments: "[/COUNT FORMAT SIZE] ADDRESS",
        help: "show memory at a virtual address: x d u o t c i, of b h w g",
        run: |m, words| m.examine(words, false),
    },
    Command {
        name: "xp",
        arguments: "[/COUNT FORMAT SIZE] ADDRESS",
        help: "show memory at a physical address",
        run: |m, words| m.examine(words, true),
    },
    Command {
        name: "disassemble",
        arguments: "[ADDRESS [COUNT]]",
        help: "show instructions, at the PC if no address is given",
        run: Monitor::disassemble,
    },
    Command {
        name: "cpu",
        arguments: "[N]",
        help: "choose the CPU that commands are about",
        run: Monitor::choose,
    },
    Command {
        name: "balloon",
        arguments: "SIZE",
        help: "ask the guest to use SIZE of its memory only, and to give the rest to the host",
        run: Monitor::balloon,
    },
    Command { name: "stop", arguments: "", help: "pause the machine", run: Monitor::stop },
    Command { name: "cont", arguments: "", help: "let the machine go on", run: Monitor::cont },
    Command {
        name: "step",
        arguments: "[COUNT]",
        help: "execute instructions of the CPU, without interrupts, while the machine is paused",
        run: Monitor::step,
    },
    Command { name: "quit", arguments: "", help: "end the machine", run: Monitor::quit },
];

fn help() -> String {
    let mut text = String::new();
    for Command { name, arguments, help, .. } in COMMANDS {
        let call = format!("{name} {arguments}");
        let _ = writeln!(text, "{:<56} {help}", call.trim_end());
    }
    text
}

/// Finds one of several names by the name or an unambiguous beginning of it.
fn find<'a, T>(all: &'a [T], name: fn(&T) -> &str, typed: &str) -> Result<&'a T, String> {
    if let Some(exact) = all.iter().find(|one| name(one) == typed) {
        return Ok(exact);
    }
    let mut found = all.iter().filter(|one| name(one).starts_with(typed));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(format!("'{typed}' may be '{}' or '{}'", name(one), name(other))),
        (None, _) => {
            let names: Vec<&str> = all.iter().map(name).collect();
            Err(format!("'{typed}' is unknown; there are: {}", names.join(", ")))
        }
    }
}

/// A number: decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("'{text}' is not a number: use 1234 or 0x4d2"))
}

impl Monitor {
    /// A monitor of the machine in front.
    pub fn new(front: Front) -> Monitor {
        Monitor { front, cpu: 0 }
    }

    /// Executes a line; returns the text to print, which ends with a line feed where it is not empty.
    pub fn execute(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((name, arguments)) = words.split_first() else { return String::new() };
        // `x/4i` is a command and its format.
        let (name, format) = name.find('/').map_or((*name, None), |at| (&name[..at], Some(&name[at..])));
        let arguments: Vec<&str> = format.into_iter().chain(arguments.iter().copied()).collect();
        let answer = find(COMMANDS, |c| c.name, name).and_then(|command| (command.run)(self, &arguments));
        let mut text = answer.unwrap_or_else(|why| format!("{why}\n"));
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    fn remote(&self) -> Result<Remote, String> {
        let machine = self.front.get().ok_or("no machine runs now")?;
        machine.remote().ok_or_else(|| "machines in lockstep have no monitor".into())
    }

    /// Has the machine's own thread call `f`, between two instructions.
    fn ask<T: Send + 'static>(&self, f: impl FnOnce(&mut Board) -> T + Send + 'static) -> Result<T, String> {
        let asked = self.remote()?.ask_within(PATIENCE, f);
        asked.ok_or_else(|| "the machine does not answer: it has ended, or one of its devices waits".into())
    }

    fn choose(&mut self, words: &[&str]) -> Answer {
        let count = self.ask(|board| board.vcpus().len())?;
        if let Some(word) = words.first() {
            let cpu = number(word)?;
            if cpu >= count as u64 {
                return Err(format!("there is no CPU {cpu}: the machine has {count}, from 0 on"));
            }
            self.cpu = cpu as usize;
        }
        Ok(format!("CPU {} of {count}", self.cpu))
    }

    fn stop(&mut self, _: &[&str]) -> Answer {
        match self.front.perform(Ask::Pause).phase {
            Phase::Pausing => {
                Ok("the machine pauses once a device that waits for the host has its answer".into())
            }
            _ => self.place(),
        }
    }

    fn cont(&mut self, _: &[&str]) -> Answer {
        self.front.perform(Ask::Resume);
        match self.remote()?.is_held() {
            true => Ok("gdb has stopped the machine: it goes on when gdb continues".into()),
            false => Ok(String::new()),
        }
    }

    fn step(&mut self, words: &[&str]) -> Answer {
        let count = words.first().map_or(Ok(1), |word| number(word))?;
        if !(1..=MOST_STEPS).contains(&count) {
            return Err(format!("the number of steps is 1 to {MOST_STEPS}"));
        }
        let remote = self.remote()?;
        if !remote.is_paused() && !remote.is_held() {
            return Err("the machine runs: use 'stop' first".into());
        }
        let cpu = self.cpu;
        match self.ask(move |board| (0..count).all(|_| board.step_vcpu(cpu)))? {
            true => self.place(),
            false => Err(format!("the firmware has stopped CPU {cpu}: it executes nothing")),
        }
    }

    /// The instruction at the PC.
    fn place(&mut self) -> Answer {
        self.disassemble(&["", "1"])
    }

    fn balloon(&mut self, words: &[&str]) -> Answer {
        let [word] = words else {
            return Err("how much memory shall the guest use? balloon SIZE, such as balloon 256M".into());
        };
        let size = size::parse_in(word, Unit::MiB)?;
        self.ask(move |board| {
            let memory = board.ram().size();
            let control = board.balloon().ok_or(info::NO_BALLOON)?;
            let pages = balloon_pages(memory, size)?;
            control.set_target(pages);
            Ok(info::balloon(board, 0))
        })?
    }

    fn quit(&mut self, _: &[&str]) -> Answer {
        self.front.perform(Ask::Quit);
        Ok(String::new())
    }
}

/// How many pages a balloon must have that leaves `size` bytes of `memory` bytes to the guest.
fn balloon_pages(memory: u64, size: u64) -> Result<u32, String> {
    let rest = memory.checked_sub(size).ok_or_else(|| {
        format!("the machine has {} MiB of memory: a balloon cannot make that more", memory >> 20)
    })?;
    u32::try_from(rest >> BALLOON_PAGE_BITS).map_err(|_| "a balloon has at most 16 TiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_a_beginning_that_is_theirs_alone() {
        let name = |typed| find(COMMANDS, |c| c.name, typed).map(|c| c.name);
        assert_eq!(name("x"), Ok("x"), "although xp begins with it");
        assert_eq!((name("dis"), name("i"), name("ste")), (Ok("disassemble"), Ok("info"), Ok("step")));
        assert_eq!(name("st"), Err("'st' may be 'stop' or 'step'".into()));
        assert!(
            name("sendkey")
                .is_err_and(|why| why.starts_with("'sendkey' is unknown; there are: help, info, x"))
        );
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!((number("10"), number("0x10")), (Ok(10), Ok(16)));
        for bad in ["", "0x", "x", "-1", "0x1_0", "18446744073709551616"] {
            assert!(number(bad).is_err_and(|why| why.contains(bad)), "{bad}");
        }
    }

    #[test]
    fn a_balloon_has_what_the_guest_shall_not_use() {
        assert_eq!(balloon_pages(512 << 20, 512 << 20), Ok(0));
        assert_eq!(balloon_pages(512 << 20, (256 << 20) + 1), Ok((256 << 8) - 1));
        let why = balloon_pages(512 << 20, (512 << 20) + 1).unwrap_err();
        assert!(why.contains("512 MiB"), "{why}");
        assert!(balloon_pages(1 << 45, 1).is_err());
    }

    #[test]
    fn help_has_a_line_for_each_command() {
        assert_eq!(help().lines().count(), COMMANDS.len());
    }
}
