//! Ending a machine at the user's request, even if something blocks it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a machine may take to end by itself after it was told to.
const PATIENCE: Duration = Duration::from_millis(700);

static STARTED: AtomicBool = AtomicBool::new(false);

/// Ends the process with exit code `code()` after a while, unless it has ended by then. A vCPU leaves guest
/// code at once, and no device works long at one request; but a device can wait for the host, and with it
/// every vCPU that needs the device: for a reader of its output, for a file system that does not answer, for
/// a flush. `tidy` is called before, to restore the terminal.
pub fn soon(tidy: impl FnOnce() + Send + 'static, code: impl FnOnce() -> i32 + Send + 'static) {
    if STARTED.swap(true, Ordering::SeqCst) {
        return;
    }
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        tidy();
        let code = code();
        // SAFETY: `_exit` has no preconditions. `exit` would run handlers, which could wait for the same
        // things.
        unsafe { libc::_exit(code) }
    });
}
