//! The machine in the foreground, and the requests that reach it: from the monitor that started this process,
//! by signals, by keys.

use crate::output::{self, Writer};
use crate::{ending, terminal};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use trine_control::lockstep::User;
use trine_control::machine_link::{self, Ask, Phase, Status};
use trine_control::wire::Size;
use trine_machine::Remote;
use trine_machine::snapshot::{self, Description};

/// The interface by which requests reach a machine.
pub trait Machine: Send + Sync + 'static {
    /// Types into its console; returns how many of the bytes there was room for.
    fn input(&self, bytes: &[u8]) -> usize;
    /// Sends a break and a SysRq command.
    fn sysrq(&self, command: u8);
    /// Whether a driver in the guest has read all console input so far.
    fn listens(&self) -> bool;
    /// Pauses it; returns false where that takes longer than `most`.
    fn pause(&self, most: Duration) -> bool;
    /// Lets it go on.
    fn resume(&self);
    /// Ends it at once.
    fn quit(&self);
    /// Tells the guest the size of the terminal that shows its console, where it can be told.
    fn set_terminal_size(&self, _size: Size) {}
    /// The handle for the monitor; `None` where there is no monitor.
    fn remote(&self) -> Option<Remote> {
        None
    }
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

    fn set_terminal_size(&self, size: Size) {
        Remote::set_terminal_size(self, size);
    }

    fn remote(&self) -> Option<Remote> {
        Some(self.clone())
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

/// How long a pause may take before it is reported as pending.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the command may take to end after SIGTERM, before the machine is asked to power off.
const TERM_GRACE: Duration = Duration::from_secs(4);
/// How long the guest may take to write back file systems before it is asked to power off.
const SYNC_GRACE: Duration = Duration::from_millis(500);
/// How long a guest may take to power off after it was asked.
const GRACE: Duration = Duration::from_secs(10);
/// How long a guest may take to shut down by itself after a service of its own has heard the request.
const SHUT_DOWN: Duration = Duration::from_secs(90);
/// How long a guest that listens to its console may take to read what was sent.
const HEARING: Duration = Duration::from_millis(250);

/// The state of the machine in the foreground.
#[derive(Default)]
struct State {
    machine: Option<Arc<dyn Machine>>,
    /// Whether the machine is paused, and so is one that follows after a reset.
    paused: bool,
    terminal_size: Option<Size>,
    /// What snapshots say of the machine besides what its board knows.
    description: Option<Result<Description, &'static str>>,
    /// The thread that makes a snapshot, or has made the last one.
    saving: Option<JoinHandle<Result<(), String>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether SIGTERM to all of the machine's processes makes it end.
    terminates: AtomicBool,
    /// Whether the user ends the machine, including one that follows after a reset.
    quits: AtomicBool,
    /// The signal that asked it to end; 0 for none.
    signal: AtomicI32,
    /// Whether the guest's kernel panicked.
    panicked: AtomicBool,
    /// Asks a service of the guest to shut it down; returns whether it was heard.
    shut_down: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// The machine in the foreground: the one that runs now; after a reset it is another one.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
    writer: Writer,
}

impl Front {
    /// Starts without a machine, with this console.
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

    /// Sets the machine that runs from now on. `None` releases the previous one's memory and disks.
    pub fn set(&self, machine: Option<Arc<dyn Machine>>) {
        let mut state = self.state();
        // It does not run yet, so this call does not wait while it holds the lock.
        if let Some(machine) = machine.as_ref().filter(|_| state.paused) {
            machine.pause(PAUSE);
        }
        if let (Some(machine), Some(size)) = (&machine, state.terminal_size) {
            machine.set_terminal_size(size);
        }
        state.machine = machine;
    }

    /// Sets the size of the terminal that shows the console, for this machine and one that follows after a reset.
    pub fn set_terminal_size(&self, size: Size) {
        let machine = {
            let mut state = self.state();
            state.terminal_size = Some(size);
            state.machine.clone()
        };
        machine.iter().for_each(|machine| machine.set_terminal_size(size));
    }

    /// The machine that runs now.
    pub fn get(&self) -> Option<Arc<dyn Machine>> {
        self.state().machine.clone()
    }

    /// From now on the machine's processes are sent SIGTERM before its kernel is asked to power off.
    pub fn set_terminates(&self) {
        self.shared.terminates.store(true, Ordering::SeqCst);
    }

    /// Sets how a service of the guest is asked to shut it down, which is tried before the kernel is asked to power off.
    pub fn set_shut_down(&self, ask: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.shared.shut_down.set(Box::new(ask));
    }

    /// Performs a request; returns the machine's status afterwards.
    pub fn perform(&self, ask: Ask) -> Status {
        match ask {
            Ask::PowerOff => self.power_off(libc::SIGTERM),
            Ask::Quit => self.quit(),
            Ask::Pause => return self.pause(),
            Ask::Resume => self.resume(),
            Ask::Status | Ask::Snapshot { .. } | Ask::Saved => {}
            Ask::TerminalSize(size) => self.set_terminal_size(size),
        }
        self.status(Phase::Paused)
    }

    /// Performs a request that may be refused.
    fn answer(&self, ask: Ask, files: Vec<OwnedFd>) -> Result<Status, String> {
        match ask {
            Ask::Snapshot { file } => self.snapshot(file.0.into(), files)?,
            Ask::Saved => self.saved()?,
            other => return Ok(self.perform(other)),
        }
        Ok(self.status(Phase::Paused))
    }

    /// From now on machines can be saved: they are what this says; or they cannot, and this says why.
    pub fn set_description(&self, description: Result<Description, &'static str>) {
        self.state().description = Some(description);
    }

    /// Begins to save the machine.
    fn snapshot(&self, file: PathBuf, files: Vec<OwnedFd>) -> Result<(), String> {
        let mut state = self.state();
        if state.saving.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err("the machine is being saved already: try again".into());
        }
        let description = state
            .description
            .clone()
            .ok_or("machines that run side by side (--lockstep) cannot be saved")??;
        let remote = state.machine.as_ref().and_then(|machine| machine.remote());
        let remote = remote.ok_or("the machine does not run yet: try again")?;
        let files = files.into_iter().map(File::from).collect();
        let work = move || snapshot::write(&remote, description, &file, files).map_err(|e| e.to_string());
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(work);
        state.saving = Some(thread.map_err(|e| format!("the host cannot create a thread: {e}"))?);
        Ok(())
    }

    /// How the last snapshot went, if it is complete.
    fn saved(&self) -> Result<(), String> {
        let thread = self.state().saving.take_if(|thread| thread.is_finished());
        thread
            .map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err("the snapshot has failed".into())))
    }

    /// Waits until a snapshot that is being made is complete, so that no half of it stays.
    pub fn finish_saving(&self) {
        while self.state().saving.as_ref().is_some_and(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
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

    /// The status; `paused` says how far the pause of a paused machine is.
    fn status(&self, paused: Phase) -> Status {
        let state = self.state();
        let phase = match (&state.machine, state.paused) {
            (_, true) => paused,
            (None, false) => Phase::Starting,
            (Some(_), false) => Phase::Running,
        };
        // Its result has been told, or is still to be told.
        let saving = state.saving.is_some();
        let remote = state.machine.as_ref().and_then(|machine| machine.remote());
        let copied_disks =
            remote.map_or(0, |r| snapshot::copied_disks(&r).iter().fold(0, |all, place| all | 1 << place));
        Status { phase, ending: !self.goes_on(), terminal_size: state.terminal_size, saving, copied_disks }
    }

    /// Ends the machine for good; ends the process if that takes long.
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

    /// Asks the guest to power off because of this signal; the second time, ends it at once.
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

    /// Asks a service of the guest, if there is one that hears it. Otherwise by SysRq on the serial console: sends SIGTERM to all processes except the first, if that ends the
    /// machine and `processes` is set; then writes back file systems and powers off. After a while the
    /// machine is ended; at once where the guest does not read what comes over the line.
    fn ask_guest(&self, processes: bool) {
        let terminates = processes && self.shared.terminates.load(Ordering::SeqCst);
        let front = self.clone();
        std::thread::spawn(move || {
            if front.shared.shut_down.get().is_some_and(|ask| ask()) {
                std::thread::sleep(SHUT_DOWN);
                return front.quit();
            }
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

    /// Whether a reset starts another machine, because nobody asked this one to end.
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
            // The line is still incomplete; an early console writes byte by byte.
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
            // A monitor that has gone takes this process with it; one that violates the protocol gets no
            // answer.
            let _ = machine_link::serve(link, |ask, files| front.answer(ask, files));
        });
    }

    /// Asks the guest to power off on SIGTERM, SIGHUP and (where input is not a terminal) SIGINT; ends the
    /// machine if it does not, or on a second signal. Tells the guest the terminal's size, now and on SIGWINCH.
    pub fn serve_signals(&self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT, SIGWINCH])?;
        let front = self.clone();
        std::thread::spawn(move || {
            // First, as a change before now sent no signal that anybody saw.
            front.follow_terminal();
            signals.forever().for_each(|signal| match signal {
                SIGWINCH => front.follow_terminal(),
                signal => front.power_off(signal),
            });
        });
        Ok(())
    }

    /// Takes over the size of the terminal at standard input, if that is one.
    fn follow_terminal(&self) {
        terminal::size().into_iter().for_each(|size| self.set_terminal_size(size));
    }

    /// Ends the machine when nobody reads its output any more, as `SIGPIPE` ends a command; a machine that
    /// may have written to disks is asked to power off.
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
