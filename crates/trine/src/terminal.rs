//! The user's terminal as the guest's console: raw while the machine runs, as it was afterwards,
//! however that comes about.

use crate::front::{Front, Machine};
use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trine_control::machine_link::Ask;

const STDIN: i32 = 0;
/// Ctrl-A.
const ESCAPE: u8 = 1;
/// Ctrl-D: to who reads a terminal, the end of the input.
const END: u8 = 4;
/// Time after which a machine that says nothing may need help.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a guest is silent before it is told again that the input has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);

static SAVED: Mutex<Option<libc::termios>> = Mutex::new(None);

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

/// Gives the terminal back as it was.
pub fn restore() {
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

/// Says what can be done where a machine has said nothing for long after its start.
pub fn serve_silence(front: Front, advice: &'static str) {
    std::thread::spawn(move || {
        std::thread::sleep(SILENCE);
        if front.writer().silent().is_none() && front.goes_on() {
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
                    let Some(machine) = front.get() else { continue };
                    if keys {
                        typed(&buf[..n], &mut escaped, &*machine, &front);
                    } else {
                        last = buf[n - 1];
                        machine.input(&buf[..n]);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

/// The input has ended. A Ctrl-D is lost on a shell that is not there yet, and one that waits behind a command needs one
/// of its own: so it is said when the guest is silent, and again as long as it stays so, less and less often.
fn ended(front: &Front, at_end: AtEnd, last: u8) {
    if at_end == AtEnd::Nothing {
        std::thread::sleep(SILENCE);
        if front.goes_on() {
            eprint!("trine: the input has ended, and the machine goes on: Ctrl-C or SIGTERM ends it\r\n");
        }
        return;
    }
    let say = |bytes: &[u8]| front.get().iter().for_each(|machine| machine.input(bytes));
    // An unfinished line is a line, as a shell reads it from a pipe.
    if last != b'\n' {
        say(b"\n");
    }
    let (mut pause, mut said) = (FIRST_PAUSE, Instant::now());
    loop {
        std::thread::sleep(FIRST_PAUSE / 2);
        let Some(silent) = front.writer().silent() else { continue };
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
                front.perform(Ask::Quit);
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
    if !plain.is_empty() {
        machine.input(&plain);
    }
}
