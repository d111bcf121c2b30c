//! Core dumps of programs that a signal kills (signal(7), core(5)).
//!
//! The thread that dies summons all other threads ([`ThreadRendezvous`]): each interrupts what it does, stores its
//! registers and stays; a system call that it waits in is interrupted, and the thread counts as standing at
//! its `ecall`. Then the file is written as Linux would ([`notes`], [`parts`], [`name`]), and the host ends
//! the process without a core dump of the monitor.

mod name;
mod notes;
mod parts;
mod thread_rendezvous;

pub use notes::Stopped;
pub use thread_rendezvous::ThreadRendezvous;

use crate::thread::Thread;
use name::Facts;
use notes::{About, Notes};
use parts::{Memory, Part};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};
use trine_base::elf::{self, Segment};
use trine_linux::abi::{GuestAbi, Info, Machine};
use trine_linux::space::PAGE;

/// Whether a signal dumps core by default (signal(7)).
pub fn leaves_one(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGQUIT
            | libc::SIGILL
            | libc::SIGTRAP
            | libc::SIGABRT
            | libc::SIGBUS
            | libc::SIGFPE
            | libc::SIGSEGV
            | libc::SIGXCPU
            | libc::SIGXFSZ
            | libc::SIGSYS
    )
}

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a structure of ours.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) };
    limit
}

/// Disables the host's core dump of this process: it would be the monitor's.
pub fn none_by_host() {
    let mut limit = limit();
    // 1 means no core dump to Linux, even where a program receives the dumps. It is used if the memory, and
    // with it `PR_SET_DUMPABLE`, belongs to the parent (`vfork`).
    limit.rlim_cur = limit.rlim_max.min(1);
    // SAFETY: a structure of ours, and numbers.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &limit);
        if limit.rlim_max == 0 {
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
        }
    }
}

/// A sparse file, in which only non-zero contents are written, up to a limit.
struct Sparse {
    file: File,
    at: u64,
    left: u64,
}

impl Sparse {
    /// Writes bytes; returns false if the limit or the host leaves no room for them.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return false };
        if self.file.write_all_at(bytes, self.at).is_err() {
            return false;
        }
        self.left = left;
        self.at += bytes.len() as u64;
        true
    }
}

/// Converts `PROT_*` to `PF_*`: the same bits in reverse order.
fn segment_flags(protection: u32) -> u32 {
    [(libc::PROT_READ, 4), (libc::PROT_WRITE, 2), (libc::PROT_EXEC, 1)]
        .iter()
        .map(|&(from, to)| if protection & from as u32 != 0 { to } else { 0 })
        .sum()
}

/// The headers and notes, up to where memory begins.
fn head(machine: &Machine, parts: &[Part], notes: &[u8]) -> Vec<u8> {
    let count = parts.len() + 1;
    let notes_at = (elf::HEADER + count * elf::PROGRAM_HEADER) as u64;
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    let file_size = notes.len() as u64;
    let of_notes =
        Segment { kind: elf::segment::NOTE, offset: notes_at, file_size, align: 4, ..Segment::default() };
    let mut segments = vec![of_notes];
    for p in parts {
        segments.push(Segment {
            kind: elf::segment::LOAD,
            flags: segment_flags(p.view.protection),
            offset: at,
            address: p.view.start,
            physical: 0,
            file_size: p.kept,
            size: p.view.end - p.view.start,
            align: PAGE,
        });
        at += p.kept;
    }
    // Without flags, as Linux writes them.
    let mut b = elf::headers(machine.elf, elf::kind::CORE, 0, &segments);
    b.extend(notes);
    b.resize(b.len().next_multiple_of(PAGE as usize), 0);
    b
}

/// Writes everything; returns false if it was cut off.
fn write(out: &mut Sparse, machine: &Machine, memory: &Memory, parts: &[Part], notes: &[u8]) -> bool {
    if !out.put(&head(machine, parts, notes)) {
        return false;
    }
    let mut page = [0; PAGE as usize];
    for part in parts {
        let begin = out.at;
        let done = memory.pages(part, &mut |at| {
            let is_zero = !memory.read(at, &mut page) || page.iter().all(|&b| b == 0);
            out.at = begin + (at - part.view.start);
            is_zero || out.put(&page)
        });
        if !done {
            return false;
        }
        out.at = begin + part.kept;
    }
    // Zeros at the end are not written as bytes.
    out.file.set_len(out.at).is_ok()
}

fn times() -> [[u64; 2]; 4] {
    let of = |who| {
        // SAFETY: a structure of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes a structure of ours.
        unsafe { libc::getrusage(who, &mut usage) };
        [usage.ru_utime, usage.ru_stime].map(|t| [t.tv_sec as u64, t.tv_usec as u64])
    };
    let ([user, system], [childs_user, childs_system]) = (of(libc::RUSAGE_SELF), of(libc::RUSAGE_CHILDREN));
    [user, system, childs_user, childs_system]
}

/// The name of the calling thread.
fn thread_name() -> Vec<u8> {
    let mut name = [0u8; 16];
    // SAFETY: writes up to 16 bytes of ours.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.split(|&b| b == 0).next().unwrap_or_default().to_vec()
}

fn about<A: GuestAbi>(thread: &Thread<A>) -> About {
    // SAFETY: these only return numbers.
    let (ids, owner, nice) = unsafe {
        (
            [libc::getpid(), libc::getppid(), libc::getpgid(0), libc::getsid(0)],
            [libc::getuid(), libc::getgid()],
            libc::getpriority(libc::PRIO_PROCESS, 0),
        )
    };
    let name = std::fs::read("/proc/self/comm").map_or(thread_name(), |n| n.trim_ascii_end().to_vec());
    let args: Vec<&[u8]> = thread.process.guest.names.args.iter().map(|a| a.as_bytes()).collect();
    About { ids, owner, nice: nice as i8, name, args: args.join(&b' '), times: times() }
}

fn host_name() -> Vec<u8> {
    // SAFETY: a structure of bytes.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: writes a structure of ours.
    unsafe { libc::uname(&mut name) };
    name.nodename.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect()
}

/// Writes the core dump of a program that `signal` kills in `thread`, if one is wanted. Failures to write are
/// silent, as on Linux.
pub fn dump<A: GuestAbi>(thread: &Thread<A>, signal: i32, info: &Info) {
    let limit = limit().rlim_cur;
    // SAFETY: only returns a number.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } == 1;
    if limit == 0 || !dumpable {
        return;
    }
    let threads = thread.process.rendezvous.call(thread);
    let about = about(thread);
    let facts = Facts {
        pid: about.ids[0],
        tid: thread.tid,
        owner: about.owner,
        signal,
        time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        host: host_name(),
        name: thread_name(),
        path: thread.process.guest.names.exe.as_os_str().as_bytes().to_vec(),
        limit,
    };
    let memory = Memory::open();
    let parts = memory.parts(&thread.process.guest.space);
    let notes = Notes::of::<A>(&about, &threads, (signal, info), &thread.process.guest.names.auxv, &parts);
    if let Some(file) = name::by_host(&facts).and_then(|path| name::open(&path)) {
        write(&mut Sparse { file, at: 0, left: limit }, A::machine(), &memory, &parts, &notes.bytes);
    }
}
