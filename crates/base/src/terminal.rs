//! Terminals of the host: raw mode for standard input, and sizes (termios(3), ioctl_tty(2)).

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, Once, PoisonError};

const STDIN: RawFd = 0;

/// The settings of standard input's terminal before it became raw.
static BEFORE: Mutex<Option<libc::termios>> = Mutex::new(None);

/// While this lives, the terminal that is standard input is raw: every key comes through, and nothing is echoed.
#[must_use]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw; does nothing where standard input is not one. A panic restores it before the message is
    /// printed.
    pub fn enter() -> RawTerminal {
        static HOOK: Once = Once::new();
        if let Some(before) = make_raw(STDIN) {
            BEFORE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
            HOOK.call_once(|| {
                let before = std::panic::take_hook();
                std::panic::set_hook(Box::new(move |info| {
                    restore();
                    before(info);
                }));
            });
        }
        RawTerminal(())
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal as it was before [`RawTerminal::enter`]; for exits that run no destructors.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // SAFETY: a valid pointer to what `tcgetattr` gave.
        unsafe { libc::tcsetattr(STDIN, libc::TCSANOW, &raw const before) };
    }
}

/// Makes a terminal raw; returns its settings before, or `None` where this is not a terminal.
fn make_raw(terminal: RawFd) -> Option<libc::termios> {
    // SAFETY: plain data, for which zero is a value; `tcgetattr` fills it, and its result is checked.
    let mut before: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer.
    if unsafe { libc::tcgetattr(terminal, &raw mut before) } != 0 {
        return None;
    }
    let mut now = before;
    // SAFETY: valid pointers to what `tcgetattr` gave.
    unsafe {
        libc::cfmakeraw(&raw mut now);
        libc::tcsetattr(terminal, libc::TCSANOW, &raw const now);
    }
    Some(before)
}

fn get_size(terminal: &impl AsRawFd) -> Option<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills the structure; the result is checked.
    let known = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) } == 0;
    known.then_some(size)
}

fn put_size(terminal: &impl AsRawFd, size: &libc::winsize) {
    // SAFETY: the kernel reads the structure.
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const *size) };
}

/// Rows and columns of a terminal; `None` where they are not known or this is not a terminal.
pub fn size(terminal: &impl AsRawFd) -> Option<(u16, u16)> {
    let size = get_size(terminal).filter(|size| size.ws_row > 0 && size.ws_col > 0)?;
    Some((size.ws_row, size.ws_col))
}

/// Sets rows and columns of a terminal; does nothing where this is not one.
pub fn set_size(terminal: &impl AsRawFd, (ws_row, ws_col): (u16, u16)) {
    put_size(terminal, &libc::winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
}

/// Copies one terminal's size, in characters and in pixels, to another; does nothing where either is not a terminal.
pub fn copy_size(from: &impl AsRawFd, to: &impl AsRawFd) {
    if let Some(size) = get_size(from) {
        put_size(to, &size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn terminal() -> File {
        File::options().read(true).write(true).open("/dev/ptmx").unwrap()
    }

    #[test]
    fn a_terminal_knows_its_size_when_it_was_set() {
        let (one, other) = (terminal(), terminal());
        assert_eq!(size(&one), None);
        set_size(&one, (24, 80));
        copy_size(&one, &other);
        assert_eq!((size(&one), size(&other)), (Some((24, 80)), Some((24, 80))));
        assert_eq!(size(&File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn a_raw_terminal_does_not_echo() {
        let terminal = terminal();
        let before = make_raw(terminal.as_raw_fd()).unwrap();
        assert_ne!(before.c_lflag & libc::ECHO, 0);
        let raw = make_raw(terminal.as_raw_fd()).unwrap();
        assert_eq!(raw.c_lflag & (libc::ECHO | libc::ICANON | libc::ISIG), 0);
        assert!(make_raw(File::open("/dev/null").unwrap().as_raw_fd()).is_none());
    }
}
