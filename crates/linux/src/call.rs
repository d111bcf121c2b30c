//! Making system calls.

use crate::abi::Machine;
use crate::errno::Errno;
use crate::files::Names;
use crate::space::{self, Space};
use crate::table::{Arg, Call, How, ThreadCall};
use crate::{host, proc};
use std::ffi::CString;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use trine_base::Width;
use trine_engine::direct;

/// The state for system calls that all threads of a program share.
pub struct Guest {
    /// Its CPU.
    pub machine: &'static Machine,
    /// Its address space.
    pub space: Arc<Space>,
    /// Its view of files.
    pub names: Names,
}

/// A function that wraps a call of the host.
pub type Around<'a> = dyn Fn(&mut dyn FnMut() -> Result<u64, Errno>) -> Result<u64, Errno> + 'a;

/// The thread that makes a call.
pub struct Context<'a> {
    /// Its program.
    pub guest: &'a Guest,
    /// Not 0 while a signal waits for the thread: blocking calls are then not made.
    pub stop: &'a AtomicU32,
    /// Wraps calls of the host. Only the kernel may access pages of the program meanwhile.
    pub around: Option<&'a Around<'a>>,
}

/// The outcome of a call.
pub enum Done {
    /// The result of a completed call.
    Result(Result<u64, Errno>),
    /// A call about the calling thread itself, which must execute it.
    Thread(ThreadCall),
}

/// The most bytes of a path (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Reads a zero-terminated string of the program; fails with `EFAULT`, or `ENAMETOOLONG`.
pub fn string(at: u64) -> Result<CString, Errno> {
    string_within(at, PATH_MAX, Errno(libc::ENAMETOOLONG))
}

/// Reads a string of the program that has, with its 0, fewer than about `most` bytes (up to 255 more); fails
/// with `EFAULT`, or `longer`.
pub fn string_within(at: u64, most: usize, longer: Errno) -> Result<CString, Errno> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        // Read page by page: the page behind the string need not exist.
        let here = at.wrapping_add(bytes.len() as u64);
        let mut part = vec![0; (256 - (here & 255)) as usize];
        direct::read(here, &mut part).ok_or(Errno(libc::EFAULT))?;
        match part.iter().position(|&b| b == 0) {
            Some(end) => {
                bytes.extend_from_slice(&part[..end]);
                return CString::new(bytes).map_err(|_| Errno(libc::EFAULT));
            }
            None => bytes.extend_from_slice(&part),
        }
    }
    Err(longer)
}

impl Context<'_> {
    /// Makes the call of this row; `ENOSYS` if the number has none.
    pub fn call(&self, call: Option<&Call>, args: [u64; 6]) -> Done {
        let Some(call) = call else { return Done::Result(Err(Errno(libc::ENOSYS))) };
        match call.how {
            How::Same(host) => Done::Result(self.same(call, host, args)),
            How::Range(host, drops) => Done::Result(self.range(call, host, drops(&args), args)),
            How::Own(run) => Done::Result(run(self, args)),
            How::Thread(what) => Done::Thread(what),
            How::Refused(errno) => Done::Result(Err(Errno(errno))),
        }
    }

    /// Makes the host's call about a range of addresses. Addresses above the program's are the monitor's; to
    /// the program they look unmapped.
    fn range(&self, call: &Call, host: i64, drops: bool, args: [u64; 6]) -> Result<u64, Errno> {
        let [start, size, ..] = args;
        if !space::is_programs(start, size) {
            return Err(Errno(libc::ENOMEM));
        }
        let result = self.same(call, host, args);
        if drops {
            self.guest.space.code_changed(start, start + size);
        }
        result
    }

    /// Makes the host's call, with the program's paths translated.
    fn same(&self, call: &Call, host: i64, mut args: [u64; 6]) -> Result<u64, Errno> {
        let (mut paths, mut dir, given) = (Vec::new(), libc::AT_FDCWD, args);
        for (arg, value) in call.args.iter().zip(&mut args) {
            *value = match arg {
                Arg::Ptr | Arg::Path | Arg::Text => space::programs(*value),
                Arg::Either => space::programs_or_number(*value),
                _ => *value,
            };
            if *arg == Arg::At {
                dir = *value as RawFd;
            }
            // The host's kernel reports paths that cannot be read.
            if *arg == Arg::Path && direct::load(*value, Width::B1).is_some() {
                let follow = proc::follows(call, &given);
                let path = self.guest.names.host_path_at(dir, string(*value)?, follow);
                *value = path.as_ptr() as u64;
                paths.push(path);
            }
        }
        self.host(host, args)
    }

    /// Makes a call of the host.
    pub fn host(&self, number: i64, args: [u64; 6]) -> Result<u64, Errno> {
        // SAFETY: pointers are the program's own, which the host's kernel checks, or made by the rows from
        // memory of theirs.
        let mut call = || unsafe { host::interruptible(number, args, self.stop) };
        match self.around {
            None => call(),
            Some(around) => around(&mut call),
        }
    }
}

/// Reads a structure from the program's memory.
pub fn get<T: Copy>(at: u64) -> Result<T, Errno> {
    let mut value = std::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the bytes of a place for a `T`; `read` fills all of them or the value is not used.
    let bytes = unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    direct::read(at, bytes).ok_or(Errno(libc::EFAULT))?;
    // SAFETY: filled just now; used with structures of integers, which take any bytes.
    Ok(unsafe { value.assume_init() })
}

/// Writes a structure to the program's memory.
pub fn put<T: Copy>(at: u64, value: &T) -> Result<(), Errno> {
    // SAFETY: the bytes of a value; structures here have no padding that was not written.
    let bytes = unsafe { std::slice::from_raw_parts((value as *const T).cast::<u8>(), size_of::<T>()) };
    direct::write(at, bytes).ok_or(Errno(libc::EFAULT))
}
