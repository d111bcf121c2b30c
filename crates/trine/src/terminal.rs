//! The user's terminal as the guest's console: raw while the machine runs, as it was afterwards,
//! however that comes about.

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trine_machine::virt::Remote;

const STDIN: i32 = 0;
/// Ctrl-A.
const ESCAPE: u8 = 1;
/// Time that a command gets to end after it was asked, before the machine is.
const TERM_GRACE: Duration = Duration::from_secs(4);
/// Time that file systems get to be written back before the guest is asked to power off.
const SYNC_GRACE: Duration = Duration::from_millis(500);
/// Time that a guest gets to power off after it was asked.
const GRACE: Duration = Duration::from_secs(10);

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
pub fn watch_for_panic(remote: std::sync::Arc<std::sync::OnceLock<Remote>>) -> impl FnMut(&[u8]) + Send {
    let mut finder = crate::output::Finder::new(b"---[ end Kernel panic");
    move |bytes| {
        if finder.see(bytes)
            && let Some(remote) = remote.get()
        {
            PANICKED.store(true, Ordering::SeqCst);
            remote.quit();
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
pub fn serve_signals(
    remote: impl Fn() -> Option<Remote> + Send + 'static,
    terminates: bool,
) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let second = SIGNAL.swap(signal, Ordering::SeqCst) != 0;
            match remote() {
                Some(r) if !second && signal != SIGINT => ask(r, terminates),
                Some(r) => end(&r),
                None => {
                    restore();
                    std::process::exit(128 + signal);
                }
            }
        }
    });
    Ok(())
}

/// Ends the machine, and the process where that takes long.
fn end(remote: &Remote) {
    remote.quit();
    crate::ending::soon(restore, || signal().map_or(crate::code::QUIT.into(), |signal| 128 + signal));
}

/// SysRq on the serial console: SIGTERM to all but the first process, where that ends the machine; write file systems
/// back, then power off. After a while, the plug; at once where nothing in the machine takes what comes over the line.
fn ask(remote: Remote, terminates: bool) {
    std::thread::spawn(move || {
        let steps = [(b'e', TERM_GRACE), (b's', SYNC_GRACE), (b'o', GRACE)];
        for (command, grace) in steps.into_iter().skip(!terminates as usize) {
            remote.sysrq(command);
            std::thread::sleep(HEARING);
            if !remote.listens() {
                break;
            }
            std::thread::sleep(grace - HEARING);
        }
        end(&remote);
    });
}

/// Brings what is typed to the guest; serves the Ctrl-A keys.
pub fn serve_input(remote: impl Fn() -> Option<Remote> + Send + 'static) {
    std::thread::spawn(move || {
        // SAFETY: asks about a descriptor.
        let keys = unsafe { libc::isatty(STDIN) } == 1;
        let mut buf = [0; 4096];
        let mut escaped = false;
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buf) {
                // End of file: the guest goes on without input.
                Ok(0) => return,
                Ok(n) => {
                    let Some(remote) = remote() else { continue };
                    if keys {
                        typed(&buf[..n], &mut escaped, &remote);
                    } else {
                        remote.input(&buf[..n]);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

fn typed(bytes: &[u8], escaped: &mut bool, remote: &Remote) {
    let mut plain = Vec::new();
    for &b in bytes {
        match (std::mem::take(escaped), b) {
            (false, ESCAPE) => *escaped = true,
            (false, b) => plain.push(b),
            (true, b'x' | b'X') => {
                // First of all: standard error may be what nobody reads.
                end(remote);
                eprint!("\r\n");
            }
            (true, b'b') => {
                remote.input(&std::mem::take(&mut plain));
                remote.sysrq(0);
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
        remote.input(&plain);
    }
}
