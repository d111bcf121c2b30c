//! gdb's requests to a program. Called by gdb's thread.

use super::{Debug, Doing, WAKE, Watchpoint};
use crate::process::Process;
use crate::signal::send;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trine_engine::direct;
use trine_gdb::{Debuggee, Go, Layout, Stop, Watch};
use trine_linux::abi::GuestAbi;
use trine_linux::space::PAGE;

/// A program with a debugger, as gdb's thread sees it.
pub struct Program<A: GuestAbi>(pub Arc<Process<A>>);

impl<A: GuestAbi> Program<A> {
    fn debug(&self) -> &Debug {
        match &self.0.debug {
            Some(debug) => debug,
            None => unreachable!("gdb's thread is started only with a debugger"),
        }
    }

    /// The host's path of a file that gdb names.
    fn path(&self, name: &[u8]) -> Result<PathBuf> {
        let name = CString::new(name).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        let host = self.0.guest.names.host_path_at(libc::AT_FDCWD, name, true);
        Ok(PathBuf::from(std::ffi::OsString::from_vec(host.into_bytes())))
    }
}

impl<A: GuestAbi> Debuggee for Program<A> {
    fn layout(&self) -> &Layout {
        &self.debug().layout
    }

    fn threads(&self) -> Vec<usize> {
        let state = self.debug().lock();
        let mut all: Vec<i32> = state.threads.keys().copied().collect();
        all.sort_by_key(|&t| t != state.current);
        all.into_iter().map(|t| t as usize).collect()
    }

    fn thread_name(&self, thread: usize) -> String {
        let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
        name.map_or(String::new(), |n| n.trim_end().into())
    }

    fn registers(&self, thread: usize) -> Option<Vec<u128>> {
        let state = self.debug().lock();
        let seen = state.threads.get(&(thread as i32))?;
        let mut values = seen.values.clone();
        for (&register, &value) in &seen.written {
            values[register] = value;
        }
        Some(values)
    }

    fn set_register(&self, thread: usize, register: usize, value: u128) -> bool {
        let mut state = self.debug().lock();
        let seen = state.threads.get_mut(&(thread as i32)).filter(|s| register < s.values.len());
        // The thread takes the new value over when it continues.
        seen.map(|s| s.written.insert(register, value)).is_some()
    }

    fn read(&self, _: usize, address: u64, to: &mut [u8]) -> usize {
        let mut done = 0;
        while done < to.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let part = (to.len() - done).min((PAGE - at % PAGE) as usize);
            if direct::read(at, &mut to[done..done + part]).is_none() {
                break;
            }
            done += part;
        }
        done
    }

    fn write(&self, _: usize, address: u64, bytes: &[u8]) -> bool {
        self.0.guest.space.poke(address, bytes)
    }

    fn set_breakpoint(&self, address: u64, wanted: bool) -> bool {
        self.0.guest.space.set_stop(address, wanted)
    }

    fn set_watchpoint(&self, at: u64, bytes: u64, kind: Watch, wanted: bool) -> bool {
        let mut state = self.debug().lock();
        let (watches, new) = (Arc::make_mut(&mut state.watches), Watchpoint { at, bytes, kind });
        watches.retain(|w| *w != new);
        if wanted {
            watches.push(new);
        }
        bytes != 0
    }

    fn resume(&self, named: &[(usize, Go, i32)], rest: Go) {
        let debug = self.debug();
        let mut state = debug.lock();
        for (&tid, seen) in &mut state.threads {
            // The first action that names a thread counts.
            let (go, signal) =
                named.iter().find(|n| n.0 == tid as usize).map_or((rest, 0), |&(_, go, signal)| (go, signal));
            (seen.go, seen.signal, seen.fresh) = (go, signal, true);
            if seen.doing != Doing::Call || go == Go::Hold {
                continue;
            }
            if signal != 0 {
                // The signal is delivered without asking gdb again.
                (seen.signal, seen.passed) = (0, signal);
                send(tid, signal);
            } else if !seen.written.is_empty() {
                seen.woken = true;
                send(tid, WAKE);
            }
        }
        state.hold_new = rest == Go::Hold;
        state.stopped = false;
        state.event = None;
        if state.stop_if_stuck() {
            debug.bell.ring();
        }
        debug.turn.notify_all();
    }

    fn interrupt(&self) {
        let debug = self.debug();
        let mut state = debug.lock();
        if !state.stopped {
            let current = state.current;
            state.stop(Stop::Signal(current as usize, libc::SIGINT));
            debug.bell.ring();
        }
    }

    fn stopped(&self) -> Option<Stop> {
        let debug = self.debug();
        let mut state = debug.lock();
        let event = state.event.take()?;
        while !state.is_quiet() {
            state = debug.wait(state);
        }
        Some(event)
    }

    fn end_reported(&self) {
        let debug = self.debug();
        debug.lock().end_reported = true;
        debug.turn.notify_all();
    }

    fn detached(&self) {
        let debug = self.debug();
        self.0.actions().catch(false);
        self.0.guest.space.clear_stops();
        let mut state = debug.lock();
        debug.active.store(false, Ordering::SeqCst);
        state.watches = Arc::default();
        state.stopped = false;
        debug.turn.notify_all();
    }

    fn kill(&self) {
        // SAFETY: ends this process, which is the program's.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }

    fn auxv(&self) -> Vec<u8> {
        self.0.guest.names.auxv.clone()
    }

    fn executable(&self) -> PathBuf {
        self.0.guest.names.exe.clone()
    }

    fn open(&self, name: &[u8]) -> Result<File> {
        // A pipe must not make gdb wait.
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(self.path(name)?)
    }

    fn read_link(&self, name: &[u8]) -> Result<PathBuf> {
        std::fs::read_link(self.path(name)?)
    }
}
