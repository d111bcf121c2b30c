//! The user's terminal as the guest's console: what is typed there, and what its size is.

use crate::front::{Front, Machine};
use crate::monitor::{Key, Prompt};
use std::io::{IsTerminal, Read};
use std::time::{Duration, Instant};
use trine_control::machine_link::Ask;

const STDIN: i32 = 0;
/// Ctrl-A.
const ESCAPE: u8 = 1;
/// Ctrl-D: the end of the input for programs that read a terminal.
const END: u8 = 4;
/// Time without output after the start, after which the user is given advice.
const SILENCE: Duration = Duration::from_secs(20);
/// Time without output after which a guest is first told again that the input has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The rows and columns of the user's terminal, if standard input is one and knows them.
pub fn size() -> Option<(u16, u16)> {
    trine_base::terminal::size(&STDIN)
}

/// Prints advice if a machine has written nothing for long after its start.
pub fn serve_silence(front: Front, advice: &'static str) {
    std::thread::spawn(move || {
        std::thread::sleep(SILENCE);
        if front.writer().silent().is_none() && front.goes_on() {
            eprint!("trine: the machine has said nothing yet; {advice}\r\n");
        }
    });
}

/// How the guest is told that an input which is not a terminal has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// By Ctrl-D, as a command at a terminal is told.
    Said,
    /// Not at all, because it is unknown what reads the console.
    Nothing,
}

/// Forwards typed input to the guest; serves the Ctrl-A keys.
pub fn serve_input(front: Front, at_end: AtEnd) {
    std::thread::spawn(move || {
        let keys = std::io::stdin().is_terminal();
        let mut buf = [0; 4096];
        let (mut keyboard, mut last) = (Keyboard::default(), b'\n');
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
                        keyboard.typed(&buf[..n], &*machine, &front);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

/// Time between two attempts to send a machine input for which it has no room.
const FULL: Duration = Duration::from_millis(20);

/// Sends all of `bytes` to the machine in the foreground, however long that takes: no more is read meanwhile,
/// so the writer of the input waits. Without a machine the bytes are dropped.
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

/// The input has ended. A Ctrl-D is lost if the shell has not started yet, and a shell that waits for a
/// command needs another one: so it is sent when the guest is silent, and again while it stays silent, less
/// and less often.
fn ended(front: &Front, at_end: AtEnd, last: u8) {
    if at_end == AtEnd::Nothing {
        std::thread::sleep(SILENCE);
        if front.goes_on() {
            eprint!("trine: the input has ended, and the machine goes on: Ctrl-C or SIGTERM ends it\r\n");
        }
        return;
    }
    let say = |bytes: &[u8]| {
        if let Some(machine) = front.get() {
            machine.input(bytes);
        }
    };
    // An incomplete line counts as a line, as for a shell that reads from a pipe.
    if last != b'\n' {
        say(b"\n");
    }
    let (mut pause, mut said) = (FIRST_PAUSE, Instant::now());
    loop {
        std::thread::sleep(FIRST_PAUSE / 2);
        let Some(silent) = front.writer().silent() else { continue };
        // Output of the guest since then starts the schedule again.
        if silent < said.elapsed() {
            pause = FIRST_PAUSE;
        }
        if silent.min(said.elapsed()) >= pause {
            say(&[END]);
            (pause, said) = ((pause * 2).min(LAST_PAUSE), Instant::now());
        }
    }
}

/// The keys after Ctrl-A.
const KEYS: &str = "\r\nCtrl-A x  end the machine\r\nCtrl-A c  the monitor, and back to the console\r\n\
                    Ctrl-A b  send a break\r\nCtrl-A a  send Ctrl-A\r\nCtrl-A h  this help\r\n";

/// What was typed before.
#[derive(Default)]
struct Keyboard {
    /// Whether the last key was Ctrl-A.
    escaped: bool,
    /// The monitor's prompt, where that gets what is typed in place of the guest.
    prompt: Option<Prompt>,
}

impl Keyboard {
    fn typed(&mut self, bytes: &[u8], machine: &dyn Machine, front: &Front) {
        let mut plain = Vec::new();
        for &b in bytes {
            match (std::mem::take(&mut self.escaped), b) {
                (false, ESCAPE) => self.escaped = true,
                (false, b) => self.plain(b, &mut plain),
                (true, b'x' | b'X') => {
                    // First of all, because standard error may be the output that nobody reads.
                    front.perform(Ask::Quit);
                    eprint!("\r\n");
                }
                (true, b'c') => match self.prompt.take() {
                    Some(prompt) => prompt.end(),
                    None => {
                        give(&std::mem::take(&mut plain), machine);
                        self.prompt = Some(Prompt::begin(front.clone()));
                    }
                },
                (true, b'b') => {
                    machine.input(&std::mem::take(&mut plain));
                    machine.sysrq(0);
                }
                (true, b'h' | b'?') => eprint!("{KEYS}"),
                (true, ESCAPE | b'a') => self.plain(ESCAPE, &mut plain),
                (true, b) => self.plain(b, &mut plain),
            }
        }
        give(&plain, machine);
    }

    /// A key without a meaning of its own.
    fn plain(&mut self, key: u8, plain: &mut Vec<u8>) {
        match &mut self.prompt {
            None => plain.push(key),
            Some(prompt) => {
                if prompt.key(key) == Key::Leaves
                    && let Some(prompt) = self.prompt.take()
                {
                    prompt.end();
                }
            }
        }
    }
}

/// Gives the guest what was typed. Does not wait: the keys that end the machine come this way, too. The terminal's bell rings
/// when input is dropped.
fn give(plain: &[u8], machine: &dyn Machine) {
    if !plain.is_empty() && machine.input(plain) < plain.len() {
        eprint!("\x07");
    }
}
