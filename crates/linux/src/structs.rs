//! Structures whose layout differs between the host and its guests, and the calls that take them.

use crate::call::{Context, get, put};
use crate::errno::Errno;
use crate::space::{programs, programs_or_number};
use crate::{files, proc};
use trine_engine::direct;

/// `struct stat` of the generic ABI (include/uapi/asm-generic/stat.h).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Stat {
    dev: u64,
    ino: u64,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u64,
    pad1: u64,
    size: i64,
    blksize: i32,
    pad2: i32,
    blocks: i64,
    atime: i64,
    atime_nsec: u64,
    mtime: i64,
    mtime_nsec: u64,
    ctime: i64,
    ctime_nsec: u64,
    unused: [u32; 2],
}

impl From<&libc::stat> for Stat {
    fn from(s: &libc::stat) -> Stat {
        Stat {
            dev: s.st_dev,
            ino: s.st_ino,
            mode: s.st_mode,
            nlink: s.st_nlink as u32,
            uid: s.st_uid,
            gid: s.st_gid,
            rdev: s.st_rdev,
            size: s.st_size,
            blksize: s.st_blksize as i32,
            blocks: s.st_blocks,
            atime: s.st_atime,
            atime_nsec: s.st_atime_nsec as u64,
            mtime: s.st_mtime,
            mtime_nsec: s.st_mtime_nsec as u64,
            ctime: s.st_ctime,
            ctime_nsec: s.st_ctime_nsec as u64,
            ..Stat::default()
        }
    }
}

/// Writes a `struct stat` of the generic ABI.
///
/// # Errors
/// `EFAULT`.
pub fn put_generic_stat(at: u64, stat: &libc::stat) -> Result<(), Errno> {
    put(at, &Stat::from(stat))
}

/// `newfstatat(dirfd, path, buf, flags)`.
pub fn newfstatat(c: &Context, [dir, path, buf, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: a structure of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let path = files::path_or_null(c, dir, path, flags)?;
    let at = path.as_ref().map_or(0, |p| p.as_ptr() as u64);
    c.host(libc::SYS_newfstatat, [dir, at, &raw mut stat as u64, flags, 0, 0])?;
    if proc::is_monitor(stat.st_dev, stat.st_ino)
        && let Some(own) = files::instead(c, dir, path.as_ref(), flags)
    {
        c.host(libc::SYS_newfstatat, [dir, own.as_ptr() as u64, &raw mut stat as u64, flags, 0, 0])?;
    }
    (c.guest.machine.structs.put_stat)(buf, &stat)?;
    Ok(0)
}

/// `fstat(fd, buf)`.
pub fn fstat(c: &Context, [fd, buf, ..]: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: a structure of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    c.host(libc::SYS_fstat, [fd, &raw mut stat as u64, 0, 0, 0, 0])?;
    (c.guest.machine.structs.put_stat)(buf, &stat)?;
    Ok(0)
}

/// The layout of `struct epoll_event` on a CPU: 32 bits of events, and 64 bits of user data.
#[derive(Clone, Copy)]
struct EpollLayout {
    /// Offset of the user data.
    data: usize,
}

impl EpollLayout {
    fn of(c: &Context) -> EpollLayout {
        EpollLayout { data: if c.guest.machine.structs.epoll_packed { 4 } else { 8 } }
    }

    fn size(self) -> usize {
        self.data + 8
    }

    fn get(self, at: u64) -> Result<libc::epoll_event, Errno> {
        Ok(libc::epoll_event { events: get(at)?, u64: get(at.wrapping_add(self.data as u64))? })
    }

    fn put(self, at: u64, event: libc::epoll_event) -> Result<(), Errno> {
        let mut bytes = [0; 16];
        let (events, data) = (event.events, event.u64);
        bytes[..4].copy_from_slice(&events.to_le_bytes());
        bytes[self.data..self.size()].copy_from_slice(&data.to_le_bytes());
        direct::write(at, &bytes[..self.size()]).ok_or(Errno(libc::EFAULT))
    }
}

/// `epoll_ctl(epfd, op, fd, event)`.
pub fn epoll_ctl(c: &Context, [epoll, op, fd, event, ..]: [u64; 6]) -> Result<u64, Errno> {
    let mut packed = libc::epoll_event { events: 0, u64: 0 };
    if event != 0 {
        packed = EpollLayout::of(c).get(event)?;
    }
    let at = if event == 0 { 0 } else { &raw mut packed as u64 };
    c.host(libc::SYS_epoll_ctl, [epoll, op, fd, at, 0, 0])
}

/// The most events requested at a time; a program that requests more gets them in several calls.
const MOST_EVENTS: u64 = 4096;

fn epoll_wait(c: &Context, number: i64, mut args: [u64; 6]) -> Result<u64, Errno> {
    let (at, most, layout) = (args[1], args[2] as i32, EpollLayout::of(c));
    // `EP_MAX_EVENTS`, computed with the size of the program's structure.
    if most <= 0 || most as usize > i32::MAX as usize / layout.size() {
        return Err(Errno(libc::EINVAL));
    }
    args[2] = (most as u64).min(MOST_EVENTS);
    (args[3], args[4]) = (programs_or_number(args[3]), programs(args[4]));
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; args[2] as usize];
    args[1] = events.as_mut_ptr() as u64;
    let n = c.host(number, args)?;
    for (i, &event) in events[..n as usize].iter().enumerate() {
        layout.put(at.wrapping_add((layout.size() * i) as u64), event)?;
    }
    Ok(n)
}

/// `epoll_pwait(epfd, events, maxevents, timeout, mask, size)`.
pub fn epoll_pwait(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    epoll_wait(c, libc::SYS_epoll_pwait, args)
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, mask, size)`.
pub fn epoll_pwait2(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    epoll_wait(c, libc::SYS_epoll_pwait2, args)
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy)]
#[repr(C)]
struct IpcPerm([u64; 6]);

/// `struct semid64_ds` of the generic ABI; the host's has padding after each time.
#[derive(Clone, Copy)]
#[repr(C)]
struct SemDs {
    perm: IpcPerm,
    otime: i64,
    ctime: i64,
    nsems: u64,
    unused: [u64; 2],
}

/// The host's `struct semid64_ds`.
#[derive(Clone, Copy)]
#[repr(C)]
struct HostSemDs {
    perm: IpcPerm,
    otime: i64,
    unused1: u64,
    ctime: i64,
    unused2: u64,
    nsems: u64,
    unused: [u64; 2],
}

/// `semctl(id, number, command, argument)`.
pub fn semctl(c: &Context, [id, number, command, argument, ..]: [u64; 6]) -> Result<u64, Errno> {
    const SEM_STAT: i32 = 18;
    const SEM_STAT_ANY: i32 = 20;
    // Bit 8 is `IPC_64`, which 64-bit systems ignore.
    let kind = command as i32 & !0x100;
    let call = |argument| c.host(libc::SYS_semctl, [id, number, command, argument, 0, 0]);
    match kind {
        _ if c.guest.machine.structs.sem_padded => call(programs_or_number(argument)),
        libc::IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            // SAFETY: a structure of integers.
            let mut host: HostSemDs = unsafe { std::mem::zeroed() };
            let result = call(&raw mut host as u64)?;
            let HostSemDs { perm, otime, ctime, nsems, .. } = host;
            put(argument, &SemDs { perm, otime, ctime, nsems, unused: [0; 2] })?;
            Ok(result)
        }
        libc::IPC_SET => {
            let SemDs { perm, otime, ctime, nsems, .. } = get(argument)?;
            let mut host = HostSemDs { perm, otime, unused1: 0, ctime, unused2: 0, nsems, unused: [0; 2] };
            call(&raw mut host as u64)
        }
        _ => call(programs_or_number(argument)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Space;
    use crate::space::tests::{ALONE, page};
    use std::sync::PoisonError;

    #[test]
    fn events_lie_as_the_cpu_has_them() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let space = Space::default();
        let at = page(&space, libc::PROT_READ | libc::PROT_WRITE);
        let event = libc::epoll_event { events: 0x0403_0201, u64: 0x0c0b_0a09_0807_0605 };
        for (data, bytes) in [
            (4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff, 0xff, 0xff, 0xff]),
            (8, [1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 9, 10, 11, 12]),
        ] {
            let layout = EpollLayout { data };
            put(at, &[0xffu8; 16]).expect("mapped");
            layout.put(at, event).expect("mapped");
            assert_eq!((layout.size(), get(at)), (data + 8, Ok::<[u8; 16], Errno>(bytes)));
            let back = layout.get(at).map(|e| (e.events, e.u64));
            assert_eq!(back, Ok((0x0403_0201, 0x0c0b_0a09_0807_0605)));
        }
        space.unmap(at, crate::space::PAGE).expect("unmapped");
    }
}
