//! A thread of the process that watches over a guest, which waits for descriptors and is told to end by one.

use crate::error::Doing;
use crate::{Result, sys};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::JoinHandle;

/// The descriptor by which a thread is told to end: it is readable from then on.
#[derive(Debug)]
pub(crate) struct Stop(OwnedFd);

impl Stop {
    /// Makes one, and a copy for the thread.
    pub fn new() -> Result<(Stop, OwnedFd)> {
        let what = || "no thread can be started for the guest's network".to_owned();
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: takes no pointers.
        let stop = sys::owned(unsafe { libc::eventfd(0, flags) }).doing(what)?;
        let copy = stop.try_clone().doing(what)?;
        Ok((Stop(stop), copy))
    }
}

/// The thread. Dropping the value ends it and waits for its end.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that returns from `work` when the copy of `stop` is readable.
    pub fn start(name: &str, stop: Stop, work: impl FnOnce() + Send + 'static) -> Result<Worker> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        let thread = thread.doing(|| "no thread can be started for the guest's network".to_owned())?;
        Ok(Worker { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let one = 1u64;
        // SAFETY: writes eight bytes of ours.
        unsafe { libc::write(self.stop.0.as_raw_fd(), (&raw const one).cast(), 8) };
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_ends_the_thread() {
        let (stop, told) = Stop::new().unwrap();
        let (say, said) = std::sync::mpsc::channel();
        let worker = Worker::start("test", stop, move || {
            let mut poll = libc::pollfd { fd: told.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure of ours.
            say.send(unsafe { libc::poll(&raw mut poll, 1, 10_000) }).unwrap();
        });
        assert!(said.try_recv().is_err());
        drop(worker.unwrap());
        assert_eq!(said.try_recv(), Ok(1));
    }
}
