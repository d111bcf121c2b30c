//! The thread that waits until a descriptor has something for a network device, which then reads it itself.

use crate::block_signals;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use trine_base::Waker;

/// The numbers of the descriptors in the `epoll` set.
const READ: u64 = 0;
const STOP: u64 = 1;
const WRITTEN: u64 = 2;

struct Shared {
    poll: OwnedFd,
    waker: Mutex<Waker>,
    up: AtomicBool,
}

/// Wakes a device once each time that its descriptor can be read after [`Watch::arm`]. Dropping it ends the thread.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// The same descriptor, armed for itself: a device that does not read for a while must not keep back what is written.
    written: Arc<OwnedFd>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for this call; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

impl Watch {
    /// Starts the thread for `fd`, which is not armed yet. Where the descriptor can be written again, the thread calls
    /// `flush`, which returns whether there is more to write.
    ///
    /// # Errors
    /// The host has no thread or descriptor for it.
    pub fn start(
        fd: &OwnedFd,
        name: &str,
        mut flush: impl FnMut() -> bool + Send + 'static,
    ) -> io::Result<Watch> {
        let written = Arc::new(fd.try_clone()?);
        // SAFETY: takes no pointers.
        let poll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: takes no pointers.
        let stop = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        control(&poll, libc::EPOLL_CTL_ADD, &stop, libc::EPOLLIN, STOP)?;
        control(&poll, libc::EPOLL_CTL_ADD, fd, libc::EPOLLONESHOT, READ)?;
        control(&poll, libc::EPOLL_CTL_ADD, &written, libc::EPOLLONESHOT, WRITTEN)?;
        let shared = Arc::new(Shared { poll, waker: Mutex::default(), up: AtomicBool::new(true) });
        let (theirs, again) = (shared.clone(), written.clone());
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            block_signals();
            theirs.serve(&again, &mut flush);
        })?;
        Ok(Watch { shared, written, stop, thread: Some(thread) })
    }

    /// Sets which device is woken.
    pub fn set_waker(&self, waker: Waker) {
        *self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }

    /// Has the device woken once, as soon as `fd` can be read.
    pub fn arm(&self, fd: &OwnedFd) {
        if self.is_up() {
            self.shared.arm(fd, libc::EPOLLIN, READ);
        }
    }

    /// Has `flush` called once, as soon as the descriptor can be written.
    pub fn arm_written(&self) {
        self.shared.arm(&self.written, libc::EPOLLOUT, WRITTEN);
    }

    /// Whether the other side is there.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Relaxed)
    }

    /// The other side has gone, for good: says so to the device.
    pub fn went_down(&self) {
        if self.shared.up.swap(false, Ordering::Relaxed) {
            self.shared.wake();
        }
    }
}

fn control(poll: &OwnedFd, how: i32, fd: &OwnedFd, events: i32, number: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: number };
    // SAFETY: points at a structure of ours.
    match unsafe { libc::epoll_ctl(poll.as_raw_fd(), how, fd.as_raw_fd(), &raw mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Shared {
    fn arm(&self, fd: &OwnedFd, events: i32, number: u64) {
        // Fails only where the descriptor is bad, which it is not.
        let _ = control(&self.poll, libc::EPOLL_CTL_MOD, fd, events | libc::EPOLLONESHOT, number);
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }

    /// The thread: waits without a limit of time, so a stopped process or a changed clock ends nothing.
    fn serve(&self, written: &OwnedFd, flush: &mut impl FnMut() -> bool) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 3];
        loop {
            // SAFETY: writes at most three structures of ours.
            let count = unsafe { libc::epoll_wait(self.poll.as_raw_fd(), events.as_mut_ptr(), 3, -1) };
            let Ok(count) = usize::try_from(count) else {
                match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => continue,
                    _ => return,
                }
            };
            for event in &events[..count] {
                let (number, bits) = (event.u64, event.events as i32);
                if number == STOP {
                    return;
                }
                if number == WRITTEN && bits & (libc::EPOLLERR | libc::EPOLLHUP) == 0 {
                    if flush() {
                        self.arm(written, libc::EPOLLOUT, WRITTEN);
                    }
                    continue;
                }
                // What the other side has left is still read; reading finds its end.
                if bits & libc::EPOLLERR != 0 {
                    self.up.store(false, Ordering::Relaxed);
                }
                self.wake();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let one = 1u64;
        // SAFETY: writes eight bytes of ours.
        unsafe { libc::write(self.stop.as_raw_fd(), (&raw const one).cast(), 8) };
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
