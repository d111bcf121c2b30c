//! The guest's output on its way to standard output. A thread of its own writes it in larger pieces, so that
//! a slow terminal does not delay the guest at every byte.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A function that receives the guest's output.
pub type Output = Box<dyn FnMut(&[u8]) + Send>;

/// The most bytes of output that wait before the guest has to wait.
const MOST: usize = 1 << 20;

/// How long the remaining output may take to be read once the machine was told to end.
const LAST: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Shared {
    waiting: Vec<u8>,
    closed: bool,
    /// Whether nobody reads the output any more.
    broken: bool,
    busy: bool,
    /// Whether the machine is ending, so that it must not wait for a reader.
    hurried: bool,
    /// When the guest last wrote; `None` where it never did.
    last: Option<Instant>,
}

/// The writing thread.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl Writer {
    /// Starts the thread.
    pub fn start() -> Writer {
        let shared = Arc::new((Mutex::new(Shared::default()), Condvar::new()));
        let theirs = shared.clone();
        std::thread::spawn(move || write_all(&theirs));
        Writer { shared }
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A function that receives the output of the guest's console; `watch` is called with all of it.
    pub fn sink(&self, mut watch: impl FnMut(&[u8]) + Send + 'static) -> Output {
        let writer = self.clone();
        Box::new(move |bytes| {
            watch(bytes);
            let mut s = writer.state();
            s.last = Some(Instant::now());
            while s.waiting.len() > MOST && !s.broken && !s.hurried {
                s = writer.shared.1.wait(s).unwrap_or_else(PoisonError::into_inner);
            }
            if !s.broken && s.waiting.len() <= MOST {
                s.waiting.extend_from_slice(bytes);
            }
            writer.shared.1.notify_all();
        })
    }

    /// Time since the guest last wrote; `None` where it has not yet.
    pub fn silent(&self) -> Option<Duration> {
        self.state().last.map(|last| last.elapsed())
    }

    /// Tells that the machine is ending, even if nobody reads its output.
    pub fn hurry(&self) {
        self.state().hurried = true;
        self.shared.1.notify_all();
    }

    /// Waits until everything is written; not for long where the machine is ending.
    pub fn finish(&self) {
        let mut s = self.state();
        s.closed = true;
        self.shared.1.notify_all();
        let began = Instant::now();
        loop {
            let written = s.waiting.is_empty() && !s.busy;
            if written || s.broken || (s.hurried && began.elapsed() >= LAST) {
                return;
            }
            let waited = self.shared.1.wait_timeout(s, LAST).unwrap_or_else(PoisonError::into_inner);
            s = waited.0;
        }
    }
}

/// Waits until nobody reads standard output any more: the reading end of a pipe is closed, or the terminal is
/// gone. Writing would find that out, too, but a guest that waits for input does not write.
pub fn until_unread() {
    let mut fd = libc::pollfd { fd: 1, events: 0, revents: 0 };
    // SAFETY: the kernel fills the one structure that it is given.
    while unsafe { libc::poll(&mut fd, 1, -1) } <= 0 {
        // If it was interrupted, it waits again; other errors do not occur, and must not cause a busy loop.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn write_all((lock, changed): &(Mutex<Shared>, Condvar)) {
    loop {
        let mut s = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while s.waiting.is_empty() && !s.closed {
            s = changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        if s.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut s.waiting);
        s.busy = true;
        drop(s);
        let mut out = std::io::stdout().lock();
        let failed = out.write_all(&bytes).and_then(|()| out.flush()).is_err();
        let mut s = lock.lock().unwrap_or_else(PoisonError::into_inner);
        s.busy = false;
        s.broken |= failed;
        changed.notify_all();
        if failed {
            return;
        }
    }
}

/// Finds a text in a stream of bytes.
pub struct Finder {
    text: &'static [u8],
    matched: usize,
}

impl Finder {
    /// Searches for `text`, which must not contain a proper prefix of itself behind its start.
    pub const fn new(text: &'static [u8]) -> Finder {
        Finder { text, matched: 0 }
    }

    /// Whether the text ends in these bytes.
    pub fn see(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        for &b in bytes {
            self.matched = match b {
                b if b == self.text[self.matched] => self.matched + 1,
                b if b == self.text[0] => 1,
                _ => 0,
            };
            if self.matched == self.text.len() {
                self.matched = 0;
                found = true;
            }
        }
        found
    }
}
