//! The user's terminal as the guest's console: raw while the machine runs, as it was afterwards,
//! however that comes about.

use crate::output::{self, Writer};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use trine_control::lockstep::User;
use trine_machine::virt::Remote;

/// A machine as its user reaches it.
pub trait Machine: Send + Sync + 'static {
    /// Types into its console; gives how many of the bytes there was room for.
    fn input(&self, bytes: &[u8]) -> usize;
    /// Sends a break and a SysRq command.
    fn sysrq(&self, command: u8);
    /// Whether something in it takes what its console gets.
    fn listens(&self) -> bool;
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

    fn quit(&self) {
        User::quit(self);
    }
}

/// The machine in front: the one that runs now; after a reset it is another one.
#[derive(Clone)]
pub struct Front {
    now: Arc<Mutex<Option<Arc<dyn Machine>>>>,
    writer: Writer,
}

impl Front {
    /// None yet, with this console.
    pub fn new(writer: Writer) -> Front {
        Front { now: Arc::default(), writer }
    }

    /// From now on it is this one. `None` lets go of what it holds, its memory and disks.
    pub fn set(&self, machine: Option<Arc<dyn Machine>>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = machine;
    }

    fn get(&self) -> Option<Arc<dyn Machine>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and lets none come after it; and the process, where that takes long.
    fn quit(&self) {
        QUITS.store(true, Ordering::SeqCst);
        self.writer.hurry();
        if let Some(machine) = self.get() {
            machine.quit();
        }
        crate::ending::soon(restore, || signal().map_or(crate::code::QUIT.into(), |signal| 128 + signal));
    }
}

/// The user ends the machine, whichever it is.
static QUITS: AtomicBool = AtomicBool::new(false);

/// Whether a reset makes another machine: nobody asked this one to end.
pub fn goes_on() -> bool {
    !QUITS.load(Ordering::SeqCst) && signal().is_none()
}

const STDIN: i32 = 0;
/// Ctrl-A.
const ESCAPE: u8 = 1;
/// Ctrl-D: to who reads a terminal, the end of the input.
const END: u8 = 4;
/// Time that a command gets to end after it was asked, before the machine is.
const TERM_GRACE: Duration = Duration::from_secs(4);
/// Time that file systems get to be written back before the guest is asked to power off.
const SYNC_GRACE: Duration = Duration::from_millis(500);
/// Time that a guest gets to power off after it was asked.
const GRACE: Duration = Duration::from_secs(10);
/// Time after which a machine that says nothing may need help.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a guest is silent before it is told again that the input has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Time after which a guest that listens to its console has taken what was sent.
const HEARING: Duration = Duration::from_millis(250);

static SAVED: Mutex<Option<libc::termios>> = Mutex::new(None);
/// The signal that ended the machine, if one did.
static SIGNAL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Puts the terminal back when it is dropped.
pub struct Raw(());

impl Raw {
    /// Makes the terminal raw, where standard input is one.
    pub fn enter() -> Raw {
        // SAFETY: `termios` is plain data that `tcgetattr` fills; its result is checked.
        let mut now: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: a valid pointer to a `termios`.
        if unsafe { libc::isatty(STDIN) } == 1 && unsafe { libc::tcgetattr(STDIN, &mut now) } == 0 {
            *SAVED.lock().unwrap_or_else(|e| e.into_inner()) = Some(now);
            let mut raw = now;
            // SAFETY: valid pointers; the descriptor is a terminal.
            unsafe {
                libc::cfmakeraw(&mut raw);
                libc::tcsetattr(STDIN, libc::TCSANOW, &raw);
            }
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        }
        Raw(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(saved) = SAVED.lock().unwrap_or_else(|e| e.into_inner()).take() {
        // SAFETY: a valid pointer to what `tcgetattr` gave.
        unsafe { libc::tcsetattr(STDIN, libc::TCSANOW, &saved) };
    }
}

/// The rows and columns of the user's terminal, where standard input is one that knows them.
pub fn size() -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills the structure; the result is checked.
    let known = unsafe { libc::ioctl(STDIN, libc::TIOCGWINSZ, &mut size) } == 0;
    (known && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Watches the guest's output for the end of a Linux kernel panic.
pub fn watch_for_panic(front: Front) -> impl FnMut(&[u8]) + Send {
    let mut finder = crate::output::Finder::new(b"---[ end Kernel panic");
    let mut seen = false;
    move |bytes| {
        seen |= finder.see(bytes);
        // The line is still to end; an early console writes byte by byte.
        if seen
            && bytes.ends_with(b"\n")
            && let Some(machine) = front.get()
        {
            PANICKED.store(true, Ordering::SeqCst);
            machine.quit();
        }
    }
}

/// Whether the guest's kernel panicked.
pub fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

/// The signal that ended the machine, if one did.
pub fn signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|s| *s != 0)
}

/// Asks the guest to power off on SIGTERM, SIGHUP and (where input is no terminal) SIGINT; ends the
/// machine when it does not, or when a second signal comes. Where `terminates`, its processes are asked first.
pub fn serve_signals(front: Front, terminates: bool) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let second = SIGNAL.swap(signal, Ordering::SeqCst) != 0;
            match front.get() {
                Some(_) if !second && signal != SIGINT => ask(front.clone(), terminates),
                Some(_) => front.quit(),
                None => {
                    restore();
                    std::process::exit(128 + signal);
                }
            }
        }
    });
    Ok(())
}

/// SysRq on the serial console: SIGTERM to all but the first process, where that ends the machine; write file systems
/// back, then power off. After a while, the plug; at once where nothing in the machine takes what comes over the line.
fn ask(front: Front, terminates: bool) {
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

/// Ends the machine when nobody reads its output any more, as `SIGPIPE` ends a command; one that may have written to
/// disks is asked to power off.
pub fn serve_output(front: Front, has_disks: bool) {
    std::thread::spawn(move || {
        output::until_unread();
        let _ = SIGNAL.compare_exchange(0, libc::SIGPIPE, Ordering::SeqCst, Ordering::SeqCst);
        if has_disks { ask(front, false) } else { front.quit() }
    });
}

/// Says what can be done where a machine has said nothing for long after its start.
pub fn serve_silence(front: Front, advice: &'static str) {
    std::thread::spawn(move || {
        std::thread::sleep(SILENCE);
        if front.writer.silent().is_none() && goes_on() {
            eprint!("trine: the machine has said nothing yet; {advice}\r\n");
        }
    });
}

/// What the end of an input that is no terminal's means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// The same as to a command: who reads the console is told by Ctrl-D.
    Said,
    /// Nothing to what reads the console, of which nothing is known.
    Nothing,
}

/// Brings what is typed to the guest; serves the Ctrl-A keys.
pub fn serve_input(front: Front, at_end: AtEnd) {
    std::thread::spawn(move || {
        // SAFETY: asks about a descriptor.
        let keys = unsafe { libc::isatty(STDIN) } == 1;
        let mut buf = [0; 4096];
        let (mut escaped, mut last) = (false, b'\n');
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buf) {
                Ok(0) if keys => return,
                Ok(0) => return ended(&front, at_end, last),
                Ok(n) => {
                    if !keys {
                        last = buf[n - 1];
                        pour(&buf[..n], &front);
                    } else if let Some(machine) = front.get() {
                        typed(&buf[..n], &mut escaped, &*machine, &front);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

/// Time between two attempts to give a machine input for which it has no room.
const FULL: Duration = Duration::from_millis(20);

/// Gives the machine in front all of `bytes`, however long it takes to read them: nothing more is read meanwhile, so whoever
/// writes them waits. Without a machine they are dropped.
fn pour(bytes: &[u8], front: &Front) {
    let mut rest = bytes;
    while let (false, Some(machine)) = (rest.is_empty(), front.get()) {
        let taken = machine.input(rest);
        rest = &rest[taken.min(rest.len())..];
        if !rest.is_empty() {
            std::thread::sleep(FULL);
        }
    }
}

/// The input has ended. A Ctrl-D is lost on a shell that is not there yet, and one that waits behind a command needs one
/// of its own: so it is said when the guest is silent, and again as long as it stays so, less and less often.
fn ended(front: &Front, at_end: AtEnd, last: u8) {
    if at_end == AtEnd::Nothing {
        std::thread::sleep(SILENCE);
        if goes_on() {
            eprint!("trine: the input has ended, and the machine goes on: Ctrl-C or SIGTERM ends it\r\n");
        }
        return;
    }
    let say = |bytes: &[u8]| {
        if let Some(machine) = front.get() {
            machine.input(bytes);
        }
    };
    // An unfinished line is a line, as a shell reads it from a pipe.
    if last != b'\n' {
        say(b"\n");
    }
    let (mut pause, mut said) = (FIRST_PAUSE, Instant::now());
    loop {
        std::thread::sleep(FIRST_PAUSE / 2);
        let Some(silent) = front.writer.silent() else { continue };
        // What the guest does since then is something else.
        if silent < said.elapsed() {
            pause = FIRST_PAUSE;
        }
        if silent.min(said.elapsed()) >= pause {
            say(&[END]);
            (pause, said) = ((pause * 2).min(LAST_PAUSE), Instant::now());
        }
    }
}

fn typed(bytes: &[u8], escaped: &mut bool, machine: &dyn Machine, front: &Front) {
    let mut plain = Vec::new();
    for &b in bytes {
        match (std::mem::take(escaped), b) {
            (false, ESCAPE) => *escaped = true,
            (false, b) => plain.push(b),
            (true, b'x' | b'X') => {
                // First of all: standard error may be what nobody reads.
                front.quit();
                eprint!("\r\n");
            }
            (true, b'b') => {
                machine.input(&std::mem::take(&mut plain));
                machine.sysrq(0);
            }
            (true, b'h' | b'?') => eprint!(
                "\r\nCtrl-A x  end the machine\r\nCtrl-A b  send a break\r\nCtrl-A a  send Ctrl-A\r\n\
                 Ctrl-A h  this help\r\n"
            ),
            (true, ESCAPE | b'a') => plain.push(ESCAPE),
            (true, b) => plain.push(b),
        }
    }
    // Not waited for: the keys that end the machine come this way, too. A terminal rings where it drops what is typed.
    if !plain.is_empty() && machine.input(&plain) < plain.len() {
        eprint!("\x07");
    }
}
