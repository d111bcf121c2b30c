//! A board: vCPUs, memory, devices and firmware, and the loops that run them.
//!
//! This module knows no CPU. Each board's own file says what is on it, where, and how it starts
//! ([`crate::virt`]).
//!
//! * `threads`: each vCPU on a thread of its own, in host time; `turns`: all on one thread, in counted
//!   instructions. `control`: how a pause or the end reaches them; `remote`: the handle that asks for those.
//! * `saved`: the saved state of a machine. `jobs`: work on the board while it stands still; `debugging`: what a debugger wants of it.

pub(crate) mod control;
mod debugging;
mod jobs;
mod remote;
mod saved;
mod threads;
mod turns;

pub use remote::Remote;

use crate::disk::DiskStatus;
use crate::firmware::{Firmware, Outcome};
use crate::{Console, End};
use control::Control;
use debugging::Debugging;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use trine_base::trace::Tracer;
use trine_base::{Bus, Clock, DeviceId, Exit, Mailbox, Stats, Vcpu};
use trine_devices::virtio::balloon::BalloonControl;
use trine_devices::virtio::console::TerminalSize;
use trine_gdb::Stop;
use trine_memory::Ram;
use turns::Turns;

/// The parts of a board.
pub struct Assembly {
    /// The board's name.
    pub name: &'static str,
    /// The vCPUs, by their number on the board; at least one.
    pub vcpus: Vec<Box<dyn Vcpu>>,
    /// Devices.
    pub bus: Arc<Bus>,
    /// Memory.
    pub ram: Arc<Ram>,
    /// The clock of the whole machine.
    pub clock: Arc<dyn Clock>,
    /// The guest's console.
    pub console: Console,
    /// The device that passes the console's input to the guest; `None` if the firmware does, which finds the
    /// input when it is polled.
    pub console_device: Option<DeviceId>,
    /// The firmware that serves the guest's calls.
    pub firmware: Box<dyn Firmware>,
    /// Why compiled code is not used although it was asked for; `None` where it is used or was not asked for.
    pub note: Option<String>,
    /// The disks, in their order.
    pub disks: Vec<DiskStatus>,
    /// The control of the memory balloon, if there is one.
    pub balloon: Option<Arc<BalloonControl>>,
    /// The size of the terminal, if the guest is told of it.
    pub terminal: Option<Arc<TerminalSize>>,
}

/// The parts that all threads of a machine share.
pub(crate) struct Parts {
    bus: Arc<Bus>,
    ram: Arc<Ram>,
    clock: Arc<dyn Clock>,
    console: Console,
    console_device: Option<DeviceId>,
    firmware: Box<dyn Firmware>,
    /// The vCPUs' mailboxes, by their numbers.
    mailboxes: Vec<Arc<Mailbox>>,
    disks: Vec<DiskStatus>,
    balloon: Option<Arc<BalloonControl>>,
    terminal: Option<Arc<TerminalSize>>,
    pub(crate) control: Control,
    pub(crate) debug: Debugging,
}

/// A machine.
pub struct Board {
    name: &'static str,
    vcpus: Vec<Box<dyn Vcpu>>,
    parts: Arc<Parts>,
    turns: Turns,
    /// Why compiled code is not used although it was asked for; `None` where it is used or was not asked for.
    pub note: Option<String>,
}

/// The outcome of running a vCPU for a while.
enum Stretch {
    /// The vCPU goes on.
    Go,
    /// The vCPU waits for an interrupt or for another vCPU; its own timer ends the wait at this clock time in
    /// nanoseconds.
    Rest(Option<u64>),
    /// The machine ends.
    End(End),
}

impl Parts {
    /// Runs vCPU `index` for at most `budget` instructions and handles the exit.
    fn stretch(&self, index: usize, vcpu: &mut dyn Vcpu, budget: u64) -> Stretch {
        let runs = self.firmware.enter(index, vcpu);
        let steps = runs && self.debug.steps(index);
        let exit = match steps {
            true => vcpu.debug_step().unwrap_or(Exit::Budget),
            // A stopped hart executes nothing, but still serves the requests of others.
            false => vcpu.run(if runs { budget } else { 0 }),
        };
        self.firmware.leave(index);
        let stepped = steps && matches!(exit, Exit::Budget | Exit::Firmware(_));
        let result = self.handle(index, vcpu, exit, runs);
        if stepped {
            self.debug_stop(Stop::Step(index + 1));
        }
        result
    }

    /// Handles a vCPU's exit; `runs` says that it was not stopped by the firmware.
    fn handle(&self, index: usize, vcpu: &mut dyn Vcpu, exit: Exit, runs: bool) -> Stretch {
        match exit {
            Exit::Budget if !runs => Stretch::Rest(None),
            Exit::Budget => self.firmware.poll().map_or(Stretch::Go, Stretch::End),
            Exit::Idle { deadline } => Stretch::Rest(deadline),
            Exit::Firmware(trap) => match self.firmware.call(index, vcpu, trap) {
                Outcome::Go => Stretch::Go,
                Outcome::Wait => match vcpu.wait() {
                    Some(Exit::Idle { deadline }) => Stretch::Rest(deadline),
                    _ => Stretch::Go,
                },
                Outcome::End(End::Dead(_)) if self.debug.is_attached() => self.stuck(index),
                Outcome::End(end) => Stretch::End(end),
            },
            Exit::Paused => Stretch::Go,
            Exit::Debugger(stop) => {
                self.debug_stop(debugging::stop_of(index, stop));
                Stretch::Go
            }
            Exit::Stopped(reason) => Stretch::End(reason.into()),
            Exit::Dead(_) if self.debug.is_attached() => self.stuck(index),
            Exit::Dead(why) => Stretch::End(End::Dead(why)),
        }
    }

    /// A vCPU cannot go on, and has changed nothing: a debugger looks at that before the machine ends.
    fn stuck(&self, index: usize) -> Stretch {
        self.debug_stop(Stop::Signal(index + 1, libc::SIGILL));
        Stretch::Go
    }

    /// Sleeps until something may have happened to vCPU `index`, for at most `most`.
    fn sleep(&self, index: usize, most: Option<Duration>) {
        self.mailboxes[index].park(most, is_wanted);
    }
}

/// Whether something was posted to a vCPU that it has not looked at yet.
fn is_wanted(mailbox: &Mailbox) -> bool {
    mailbox.requests.load(Ordering::SeqCst) != 0 || mailbox.limit.load(Ordering::SeqCst) == 0
}

impl Board {
    /// Creates a machine of these parts. Its vCPUs start with their next instructions.
    pub fn new(assembly: Assembly) -> Board {
        let Assembly { name, vcpus, bus, ram, clock, console, console_device, firmware, note, .. } = assembly;
        let Assembly { disks, balloon, terminal, .. } = assembly;
        let mailboxes: Vec<Arc<Mailbox>> = vcpus.iter().map(|vcpu| vcpu.mailbox()).collect();
        let control = Control::new(bus.clone(), mailboxes.clone());
        let (turns, debug) = (Turns::new(vcpus.len()), Debugging::new(vcpus.len()));
        let parts = Parts {
            bus,
            ram,
            clock,
            console,
            console_device,
            firmware,
            mailboxes,
            disks,
            balloon,
            terminal,
            control,
            debug,
        };
        Board { name, vcpus, parts: Arc::new(parts), turns, note }
    }

    /// A handle by which other threads reach the machine.
    pub fn remote(&self) -> Remote {
        Remote { parts: self.parts.clone() }
    }

    /// The sums of the counters of all vCPUs that translate; `None` where none does.
    pub fn stats(&self) -> Option<Stats> {
        self.vcpus.iter().filter_map(|vcpu| vcpu.stats()).reduce(|mut all, one| {
            all += one;
            all
        })
    }

    /// The vCPUs, by their number.
    pub fn vcpus(&mut self) -> &mut [Box<dyn Vcpu>] {
        &mut self.vcpus
    }

    /// Has a tracer told what the machine does from now on. Returns false where a vCPU cannot tell.
    pub fn set_tracer(&mut self, tracer: &Arc<dyn Tracer>) -> bool {
        if tracer.wants_accesses() {
            self.parts.bus.set_tracer(tracer.clone());
        }
        self.vcpus.iter_mut().enumerate().all(|(number, vcpu)| vcpu.set_tracer(tracer, number))
    }

    /// The disks, in their order.
    pub fn disks(&self) -> &[DiskStatus] {
        &self.parts.disks
    }

    /// The control of the memory balloon, if there is one.
    pub fn balloon(&self) -> Option<&BalloonControl> {
        self.parts.balloon.as_deref()
    }

    /// Whether the guest is told the size of the terminal.
    pub fn tells_terminal_size(&self) -> bool {
        self.parts.terminal.is_some()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Number of vCPUs.
    pub fn cpus(&self) -> u32 {
        self.vcpus.len() as u32
    }

    /// What serves the guest's calls.
    pub fn firmware_kind(&self) -> crate::firmware::FirmwareKind {
        self.parts.firmware.kind()
    }

    /// The memory.
    pub fn ram(&self) -> &Arc<Ram> {
        &self.parts.ram
    }

    /// Gives up a machine that has ended, in a process that is about to end: waits until its devices have nothing under
    /// way on other threads, but frees nothing. The process's end frees everything at once; to free each translation
    /// takes some 20 ms after a boot.
    pub fn leak(self) {
        // A disk's request that the end of the process cut off could leave half-written tables in its image.
        self.parts.bus.pause();
        std::mem::forget(self);
    }

    /// Runs until the machine ends.
    pub fn run(&mut self) -> End {
        loop {
            self.serve();
            if let Some(end) = self.run_until_interrupted() {
                self.parts.control.close();
                self.parts.report_end(&end);
                return end;
            }
        }
    }

    /// Runs until the machine ends, or, with `None`, until [`Remote::interrupt`].
    pub fn run_until_interrupted(&mut self) -> Option<End> {
        if !self.parts.clock.is_counted() {
            threads::run(&self.parts, &mut self.vcpus);
            self.parts.control.take_interruption();
            return self.parts.control.end();
        }
        let parts = self.parts.clone();
        let _running = parts.control.enter();
        loop {
            let end = self.step(parts.firmware.budget());
            if end.is_some() || parts.control.take_interruption() {
                return end;
            }
        }
    }
}
