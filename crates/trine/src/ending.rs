//! The end of a machine that its user ends, whatever holds it up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time that a machine gets to come to its end by itself once it was told to.
const PATIENCE: Duration = Duration::from_millis(700);

static STARTED: AtomicBool = AtomicBool::new(false);

/// Ends the process with exit code `code()` after a while, unless it has ended by then. A vCPU leaves the guest's code
/// at once, and no device works long at one thing; but a device can wait for the host, and with it whoever needs
/// the device: output that nobody reads, a disk on a file system that does not answer, a flush.
/// `tidy` is called before, to give the terminal back.
pub fn soon(tidy: impl FnOnce() + Send + 'static, code: impl FnOnce() -> i32 + Send + 'static) {
    if STARTED.swap(true, Ordering::SeqCst) {
        return;
    }
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        tidy();
        let code = code();
        // SAFETY: `_exit` has no preconditions. Not `exit`: its handlers may wait for what this does not wait for.
        unsafe { libc::_exit(code) }
    });
}
