//! The guest's output on its way to standard output, written in larger pieces by a thread of its
//! own, so that a slow terminal does not slow the guest's every byte.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Takes the guest's output.
pub type Output = Box<dyn FnMut(&[u8]) + Send>;

/// Output waiting beyond this makes the guest wait.
const MOST: usize = 1 << 20;

#[derive(Default)]
struct Shared {
    waiting: Vec<u8>,
    closed: bool,
    /// Nobody reads what is written.
    broken: bool,
    busy: bool,
}

/// The writing thread.
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

    /// A sink for the guest's console; `watch` sees everything that goes through.
    pub fn sink(&self, mut watch: impl FnMut(&[u8]) + Send + 'static) -> Output {
        let shared = self.shared.clone();
        Box::new(move |bytes| {
            watch(bytes);
            let (lock, changed) = &*shared;
            let mut s = lock.lock().unwrap_or_else(PoisonError::into_inner);
            while s.waiting.len() > MOST && !s.broken {
                s = changed.wait(s).unwrap_or_else(PoisonError::into_inner);
            }
            s.waiting.extend_from_slice(bytes);
            changed.notify_all();
        })
    }

    /// Waits until everything is written.
    pub fn finish(&self) {
        let (lock, changed) = &*self.shared;
        let mut s = lock.lock().unwrap_or_else(PoisonError::into_inner);
        s.closed = true;
        changed.notify_all();
        while (!s.waiting.is_empty() || s.busy) && !s.broken {
            s = changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
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
    /// Looks for `text`, which must not begin again inside itself.
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
