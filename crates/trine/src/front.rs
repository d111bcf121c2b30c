//! The machine in front, and what is asked of it: by the monitor that started this process, by signals, by keys.

use crate::ending;
use crate::output::{self, Writer};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine_control::lockstep::User;
use trine_control::machine_link::{self, Ask, Phase, Status};
use trine_control::wire::Size;
use trine_machine::Remote;

/// A machine as its user reaches it.
pub trait Machine: Send + Sync + 'static {
    /// Types into its console; gives how many of the bytes there was room for.
    fn input(&self, bytes: &[u8]) -> usize;
    /// Sends a break and a SysRq command.
    fn sysrq(&self, command: u8);
    /// Whether something in it takes what its console gets.
    fn listens(&self) -> bool;
    /// Lets it use no CPU; false where that takes longer than `most`.
    fn pause(&self, most: Duration) -> bool;
    /// Lets it go on.
    fn resume(&self);
    /// Ends it at once.
    fn quit(&self);
}

impl Machine for Remote {
    fn input(&self, bytes: &[u8]) -> usize {
        Remote::input(self, bytes)
    }

    fn sysrq(&self, command: u8) {
        Remote::sysrq(self, command);
    }

    fn listens(&self) -> bool {
        Remote::listens(self)
    }

    fn pause(&self, most: Duration) -> bool {
        Remote::pause(self, most)
    }

    fn resume(&self) {
        Remote::resume(self);
    }

    fn quit(&self) {
        Remote::quit(self);
    }
}

impl Machine for User {
    fn input(&self, bytes: &[u8]) -> usize {
        User::input(self, bytes);
        bytes.len()
    }

    fn sysrq(&self, command: u8) {
        User::sysrq(self, command);
    }

    fn listens(&self) -> bool {
        true
    }

    fn pause(&self, most: Duration) -> bool {
        User::pause(self, most)
    }

    fn resume(&self) {
        User::resume(self);
    }

    fn quit(&self) {
        User::quit(self);
    }
}

/// Time that a pause may take before it is said that it is on its way.
const PAUSE: Duration = Duration::from_millis(500);
/// Time that a command gets to end after it was asked, before the machine is.
const TERM_GRACE: Duration = Duration::from_secs(4);
/// Time that file systems get to be written back before the guest is asked to power off.
const SYNC_GRACE: Duration = Duration::from_millis(500);
/// Time that a guest gets to power off after it was asked.
const GRACE: Duration = Duration::from_secs(10);
/// Time after which a guest that listens to its console has taken what was sent.
const HEARING: Duration = Duration::from_millis(250);

/// What is known of the machine in front.
#[derive(Default)]
struct State {
    machine: Option<Arc<dyn Machine>>,
    /// Whether the machine, also one that follows after a reset, uses no CPU.
    paused: bool,
    terminal_size: Option<Size>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether SIGTERM for all of its processes ends it.
    terminates: AtomicBool,
    /// The user ends the machine, whichever it is.
    quits: AtomicBool,
    /// The signal that asked it to end, 0 for none.
    signal: AtomicI32,
    /// Whether the guest's kernel panicked.
    panicked: AtomicBool,
}

/// The machine in front: the one that runs now; after a reset it is another one.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
    writer: Writer,
}

impl Front {
    /// None yet, with this console.
    pub fn new(writer: Writer) -> Front {
        Front { shared: Arc::default(), writer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's console.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// From now on it is this one. `None` lets go of what it holds, its memory and disks.
    pub fn set(&self, machine: Option<Arc<dyn Machine>>) {
        let mut state = self.state();
        // It does not run yet, so nothing is waited for with the lock held.
        if let Some(machine) = machine.as_ref().filter(|_| state.paused) {
            machine.pause(PAUSE);
        }
        state.machine = machine;
    }

    /// The one that runs now.
    pub fn get(&self) -> Option<Arc<dyn Machine>> {
        self.state().machine.clone()
    }

    /// SIGTERM for all its processes ends the machine: they are asked before its kernel is.
    pub fn set_terminates(&self) {
        self.shared.terminates.store(true, Ordering::SeqCst);
    }

    /// Does what is asked; gives what the machine is doing then.
    pub fn perform(&self, ask: Ask) -> Status {
        match ask {
            Ask::PowerOff => self.power_off(libc::SIGTERM),
            Ask::Quit => self.quit(),
            Ask::Pause => return self.pause(),
            Ask::Resume => self.resume(),
            Ask::Status => {}
            Ask::TerminalSize(size) => self.state().terminal_size = Some(size),
        }
        self.status(Phase::Paused)
    }

    fn pause(&self) -> Status {
        let machine = {
            let mut state = self.state();
            state.paused = true;
            state.machine.clone()
        };
        let stands = machine.is_none_or(|machine| machine.pause(PAUSE));
        self.status(if stands { Phase::Paused } else { Phase::Pausing })
    }

    fn resume(&self) {
        let machine = {
            let mut state = self.state();
            state.paused = false;
            state.machine.clone()
        };
        machine.iter().for_each(|machine| machine.resume());
    }

    /// `paused`: how far the pause of a paused one is.
    fn status(&self, paused: Phase) -> Status {
        let state = self.state();
        let phase = match (&state.machine, state.paused) {
            (_, true) => paused,
            (None, false) => Phase::Starting,
            (Some(_), false) => Phase::Running,
        };
        Status { phase, ending: !self.goes_on(), terminal_size: state.terminal_size }
    }

    /// Ends it, and lets none come after it; and the process, where that takes long.
    pub fn quit(&self) {
        self.shared.quits.store(true, Ordering::SeqCst);
        self.writer.hurry();
        if let Some(machine) = self.get() {
            machine.quit();
        }
        let front = self.clone();
        ending::soon(trine_base::terminal::restore, move || {
            front.signal().map_or(crate::code::QUIT.into(), |signal| 128 + signal)
        });
    }

    /// Asks the guest to power off, for the sake of this signal; a second time ends it at once.
    fn power_off(&self, signal: i32) {
        let second = self.shared.signal.swap(signal, Ordering::SeqCst) != 0;
        match self.get() {
            Some(_) if !second && signal != libc::SIGINT => self.ask_guest(true),
            Some(_) => self.quit(),
            None => {
                trine_base::terminal::restore();
                std::process::exit(128 + signal);
            }
        }
    }

    /// SysRq on the serial console: SIGTERM to all but the first process, where that ends the machine and `processes` are
    /// to be asked; write file systems back, then power off. After a while, the plug; at once where nothing in the machine
    /// takes what comes over the line.
    fn ask_guest(&self, processes: bool) {
        let terminates = processes && self.shared.terminates.load(Ordering::SeqCst);
        let front = self.clone();
        std::thread::spawn(move || {
            let steps = [(b'e', TERM_GRACE), (b's', SYNC_GRACE), (b'o', GRACE)];
            for (command, grace) in steps.into_iter().skip(!terminates as usize) {
                front.get().iter().for_each(|machine| machine.sysrq(command));
                std::thread::sleep(HEARING);
                if !front.get().is_none_or(|machine| machine.listens()) {
                    break;
                }
                std::thread::sleep(grace - HEARING);
            }
            front.quit();
        });
    }

    /// Whether a reset makes another machine: nobody asked this one to end.
    pub fn goes_on(&self) -> bool {
        !self.shared.quits.load(Ordering::SeqCst) && self.signal().is_none()
    }

    /// The signal that ended the machine, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.shared.signal.load(Ordering::SeqCst)).filter(|s| *s != 0)
    }

    /// Whether the guest's kernel panicked.
    pub fn panicked(&self) -> bool {
        self.shared.panicked.load(Ordering::SeqCst)
    }

    /// Watches the guest's output for the end of a Linux kernel panic.
    pub fn watch_for_panic(&self) -> impl FnMut(&[u8]) + Send + 'static {
        let front = self.clone();
        let mut finder = output::Finder::new(b"---[ end Kernel panic");
        let mut seen = false;
        move |bytes| {
            seen |= finder.see(bytes);
            // The line is still to end; an early console writes byte by byte.
            if seen
                && bytes.ends_with(b"\n")
                && let Some(machine) = front.get()
            {
                front.shared.panicked.store(true, Ordering::SeqCst);
                machine.quit();
            }
        }
    }

    /// Serves the monitor that started this process.
    pub fn serve_monitor(&self, link: UnixStream) {
        let front = self.clone();
        std::thread::spawn(move || {
            // A monitor that has gone takes this process with it; one that talks nonsense is not answered.
            let _ = machine_link::serve(link, |ask| Ok(front.perform(ask)));
        });
    }

    /// Asks the guest to power off on SIGTERM, SIGHUP and (where input is no terminal) SIGINT; ends the machine when it
    /// does not, or when a second signal comes.
    pub fn serve_signals(&self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT])?;
        let front = self.clone();
        std::thread::spawn(move || signals.forever().for_each(|signal| front.power_off(signal)));
        Ok(())
    }

    /// Ends the machine when nobody reads its output any more, as `SIGPIPE` ends a command; one that may have written to
    /// disks is asked to power off.
    pub fn serve_output(&self, has_disks: bool) {
        let front = self.clone();
        std::thread::spawn(move || {
            output::until_unread();
            let signal = &front.shared.signal;
            let _ = signal.compare_exchange(0, libc::SIGPIPE, Ordering::SeqCst, Ordering::SeqCst);
            if has_disks { front.ask_guest(false) } else { front.quit() }
        });
    }
}
