//! Notifications that the memory of a group was used up.

use crate::{Error, Manager, Result, file};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Notifies when the kernel kills processes of a group because its memory is used up.
pub struct OomEvents {
    news: OwnedFd,
    /// The file with the counter, and the key in it.
    counter: (PathBuf, &'static str),
    seen: u64,
}

impl Manager {
    /// Watches the group from now on.
    ///
    /// # Errors
    /// There is no group with the memory controller, or the kernel refused.
    pub fn oom_events(&self) -> Result<OomEvents> {
        let (news, file) = match self.place("memory", "the notification of used-up memory")? {
            crate::manager::Place::First(dir) => {
                let control = dir.join("memory.oom_control");
                let watched = file::open(&control, libc::O_RDONLY)
                    .map_err(|e| Error::file(&control, "opened", "", e))?;
                // SAFETY: only makes a descriptor.
                let news = descriptor(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
                // cgroup-v1/memory.rst, "OOM Control".
                let pair = format!("{} {}", news.as_raw_fd(), watched.as_raw_fd());
                file::write(&dir.join("cgroup.event_control"), &pair)?;
                (news, control)
            }
            crate::manager::Place::Second(dir) => {
                let events = dir.join("memory.events");
                // SAFETY: only makes a descriptor.
                let news = descriptor(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
                let path = CString::new(events.as_os_str().as_bytes()).unwrap_or_default();
                // SAFETY: reads a string of ours.
                if unsafe { libc::inotify_add_watch(news.as_raw_fd(), path.as_ptr(), libc::IN_MODIFY) } < 0 {
                    return Err(Error::file(&events, "watched", "", io::Error::last_os_error()));
                }
                (news, events)
            }
        };
        let mut events = OomEvents { news, counter: (file, "oom_kill"), seen: 0 };
        events.seen = events.count().unwrap_or(0);
        Ok(events)
    }
}

fn descriptor(fd: i32) -> Result<OwnedFd> {
    match fd {
        ..0 => Err(Error::last("cannot watch the memory")),
        // SAFETY: made just now, for us.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

impl OomEvents {
    fn count(&self) -> Option<u64> {
        file::value(&file::read(&self.counter.0).ok()?, self.counter.1)
    }

    /// How many processes were killed since the last call; `None` once the group is gone. Does not wait: its
    /// descriptor ([`AsFd`]) is readable when there may be a notification.
    pub fn take(&mut self) -> Option<u64> {
        let mut news = [0u8; 4096];
        // SAFETY: writes into a buffer of ours; the descriptor does not block.
        unsafe { libc::read(self.news.as_raw_fd(), news.as_mut_ptr().cast(), news.len()) };
        let count = self.count()?;
        let new = count.saturating_sub(self.seen);
        self.seen = count;
        Some(new)
    }
}

impl AsFd for OomEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}
