//! Calls whose structures contain further addresses: lists of ranges, and messages. The structures are copied
//! for the kernel, so that no other thread of the program can change them meanwhile, and addresses above the
//! program's (the monitor's) are replaced by one that no process has.

use crate::call::{Context, get, put};
use crate::errno::Errno;
use crate::space::{NOWHERE, programs, programs_range};

/// The most ranges, and the most messages, in one call (`UIO_MAXIOV`).
const MOST: u64 = 1024;

/// `struct iovec`: address and size.
type Range = [u64; 2];

/// A copy of a list, and the arguments for the kernel.
struct Copied<T> {
    _list: Vec<T>,
    at: u64,
}

impl<T> Copied<T> {
    fn of(list: Vec<T>) -> Copied<T> {
        let at = list.as_ptr() as u64;
        Copied { _list: list, at }
    }
}

/// Copies a list of the program's ranges. The kernel reports a list that is too long or cannot be read.
fn ranges(at: u64, count: u64) -> Copied<Range> {
    let checked =
        |i| get::<Range>(at.wrapping_add(16 * i)).map(|[start, size]| [programs_range(start, size), size]);
    match (0..count.min(MOST + 1)).map(checked).collect::<Result<Vec<_>, _>>() {
        Ok(list) if count <= MOST => Copied::of(list),
        _ => Copied { _list: Vec::new(), at: NOWHERE },
    }
}

/// Makes a call whose second and third arguments are a list of ranges.
fn with_ranges(c: &Context, number: i64, mut args: [u64; 6]) -> Result<u64, Errno> {
    let list = ranges(args[1], args[2]);
    args[1] = list.at;
    c.host(number, args)
}

/// `readv(fd, ranges, count)`.
pub fn readv(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_readv, args)
}

/// `writev(fd, ranges, count)`.
pub fn writev(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_writev, args)
}

/// `preadv(fd, ranges, count, offset, 0)`.
pub fn preadv(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_preadv, args)
}

/// `pwritev(fd, ranges, count, offset, 0)`.
pub fn pwritev(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_pwritev, args)
}

/// `preadv2(fd, ranges, count, offset, 0, flags)`.
pub fn preadv2(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_preadv2, args)
}

/// `pwritev2(fd, ranges, count, offset, 0, flags)`.
pub fn pwritev2(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_pwritev2, args)
}

/// `vmsplice(fd, ranges, count, flags)`.
pub fn vmsplice(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    with_ranges(c, libc::SYS_vmsplice, args)
}

/// Whether this is the ID of one of this process's threads.
fn is_own(pid: u64) -> bool {
    // SAFETY: sends nothing, only asks.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), pid as i32, 0) == 0 }
}

/// `process_vm_readv` and `process_vm_writev(pid, local, count, remote, count, flags)`. The host's kernel
/// knows the addresses of other processes.
fn process_vm(
    c: &Context,
    number: i64,
    [pid, at, count, remote, remotes, flags]: [u64; 6],
) -> Result<u64, Errno> {
    let local = ranges(at, count);
    let others = is_own(pid).then(|| ranges(remote, remotes));
    let remote = others.as_ref().map_or(programs(remote), |list| list.at);
    c.host(number, [pid, local.at, count, remote, remotes, flags])
}

/// `process_vm_readv(pid, local, count, remote, count, flags)`.
pub fn process_vm_readv(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    process_vm(c, libc::SYS_process_vm_readv, args)
}

/// `process_vm_writev(pid, local, count, remote, count, flags)`.
pub fn process_vm_writev(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    process_vm(c, libc::SYS_process_vm_writev, args)
}

/// `struct user_msghdr` (include/linux/socket.h).
#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    name: u64,
    /// Including the padding behind it.
    name_size: u64,
    ranges: u64,
    count: u64,
    control: u64,
    control_size: u64,
    flags: u64,
}

/// `struct mmsghdr`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Numbered {
    message: Message,
    /// Number of bytes sent or received, including the padding behind it.
    size: u64,
}

impl Message {
    /// The copy for the kernel, and the ranges in it.
    fn copied(self) -> (Message, Copied<Range>) {
        let list = ranges(self.ranges, self.count);
        let (name, control) = (programs(self.name), programs(self.control));
        (Message { name, control, ranges: list.at, ..self }, list)
    }

    /// Copies what the kernel wrote back to the program.
    fn tell(&self, at: u64) -> Result<(), Errno> {
        put(at + 8, &(self.name_size as u32))?;
        put(at + 40, &self.control_size)?;
        put(at + 48, &(self.flags as u32))
    }
}

/// Makes a call about one message; returns its copy.
fn message(c: &Context, number: i64, [fd, at, flags, ..]: [u64; 6]) -> (Result<u64, Errno>, Option<Message>) {
    match get::<Message>(at) {
        Ok(given) => {
            let (mut copy, _list) = given.copied();
            (c.host(number, [fd, &raw mut copy as u64, flags, 0, 0, 0]), Some(copy))
        }
        Err(_) => (c.host(number, [fd, NOWHERE, flags, 0, 0, 0]), None),
    }
}

/// `sendmsg(fd, message, flags)`.
pub fn sendmsg(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    message(c, libc::SYS_sendmsg, args).0
}

/// `recvmsg(fd, message, flags)`.
pub fn recvmsg(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    let (result, copy) = message(c, libc::SYS_recvmsg, args);
    if let (Ok(_), Some(copy)) = (result, copy) {
        copy.tell(args[1])?;
    }
    result
}

/// Makes a call about several messages; returns their copies. Messages after one that cannot be read are not
/// sent.
fn messages(c: &Context, number: i64, args: [u64; 6]) -> (Result<u64, Errno>, Vec<Numbered>) {
    let [fd, at, count, flags, time, _] = args;
    let count = (count as u32 as u64).min(MOST);
    let given = |i| get::<Numbered>(at.wrapping_add(64 * i));
    let (mut list, parts): (Vec<_>, Vec<_>) = (0..count)
        .map_while(|i| given(i).ok())
        .map(|one| {
            let (message, ranges) = one.message.copied();
            (Numbered { message, ..one }, ranges)
        })
        .unzip();
    let (at, there) =
        if list.is_empty() { (NOWHERE, count) } else { (list.as_mut_ptr() as u64, list.len() as u64) };
    let result = c.host(number, [fd, at, there, flags, programs(time), 0]);
    drop(parts);
    list.truncate(result.unwrap_or(0) as usize);
    (result, list)
}

/// `sendmmsg(fd, messages, count, flags)`.
pub fn sendmmsg(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    let (result, list) = messages(c, libc::SYS_sendmmsg, args);
    for (one, at) in list.iter().zip((args[1]..).step_by(64)) {
        put(at + 56, &(one.size as u32))?;
    }
    result
}

/// `recvmmsg(fd, messages, count, flags, time)`.
pub fn recvmmsg(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    let (result, list) = messages(c, libc::SYS_recvmmsg, args);
    for (one, at) in list.iter().zip((args[1]..).step_by(64)) {
        one.message.tell(at)?;
        put(at + 56, &(one.size as u32))?;
    }
    result
}

/// `getsockopt(fd, level, name, value, size)`: refuses options whose values contain further addresses.
pub fn getsockopt(c: &Context, [fd, level, name, value, size, _]: [u64; 6]) -> Result<u64, Errno> {
    const TCP_ZEROCOPY_RECEIVE: i32 = 35;
    if (level as i32, name as i32) == (libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE) {
        return Err(Errno(libc::ENOPROTOOPT));
    }
    c.host(libc::SYS_getsockopt, [fd, level, name, programs(value), programs(size), 0])
}

/// `struct futex_waitv`: value, address, flags.
type Wait = [u64; 3];

/// Copies a list of futexes. The kernel reports one that cannot be read.
fn waits(at: u64, count: u64) -> Copied<Wait> {
    let checked =
        |i| get::<Wait>(at.wrapping_add(24 * i)).map(|[value, at, flags]| [value, programs(at), flags]);
    match (0..count).map(checked).collect() {
        Ok(list) => Copied::of(list),
        Err(_) => Copied { _list: Vec::new(), at: NOWHERE },
    }
}

/// `futex_waitv(futexes, count, flags, time, clock)`.
pub fn futex_waitv(c: &Context, [at, count, flags, time, clock, _]: [u64; 6]) -> Result<u64, Errno> {
    // `FUTEX_WAITV_MAX`; the kernel reports a longer list or none at all.
    let list = waits(at, if at == 0 { 0 } else { (count as u32 as u64).min(128) });
    let at = if at == 0 || count as u32 == 0 { programs(at) } else { list.at };
    c.host(libc::SYS_futex_waitv, [at, count, flags, programs(time), clock, 0])
}

/// `futex_requeue(futexes, flags, wake, requeue)`: of two futexes.
pub fn futex_requeue(c: &Context, [at, flags, wake, requeue, ..]: [u64; 6]) -> Result<u64, Errno> {
    const NUMBER: i64 = 456;
    let list = if at == 0 { Copied { _list: Vec::new(), at: 0 } } else { waits(at, 2) };
    c.host(NUMBER, [list.at, flags, wake, requeue, 0, 0])
}
