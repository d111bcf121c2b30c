//! The connection with gdb.

use crate::address::{Stream, aside};
use crate::target::Target;
use crate::{Debuggee, Stop, Watch, signals};
use gdbstub::common::{Signal, Tid};
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine as Machine;
use gdbstub::stub::{DisconnectReason, GdbStubBuilder, MultiThreadStopReason};
use gdbstub::target::ext::breakpoints::WatchKind;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Rung by the debuggee when [`Debuggee::stopped`] may have something to report; may be rung from any thread.
pub struct Bell(OwnedFd);

impl Bell {
    /// Creates a bell that has not rung.
    pub fn new() -> Result<Bell> {
        // SAFETY: makes a descriptor; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: just made, and nobody else owns it.
        Ok(Bell(aside(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Rings the bell.
    pub fn ring(&self) {
        let one = 1u64;
        // SAFETY: writes 8 bytes of ours; a bell that has rung already may refuse.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: reads 8 bytes into a word of ours; there may be nothing to read.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// How many bytes of an answer are kept before they are sent. Whoever connects may ask for all of a machine's memory at once.
const KEPT: usize = 1 << 18;

/// A buffered stream to gdb that sends a packet at a time, or what it has of a long one.
struct Buffered<'a> {
    stream: &'a Stream,
    out: Vec<u8>,
}

impl Connection for Buffered<'_> {
    type Error = Error;

    fn write(&mut self, byte: u8) -> Result<()> {
        self.write_all(&[byte])
    }
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.extend_from_slice(bytes);
        if self.out.len() < KEPT { Ok(()) } else { self.flush() }
    }
    fn flush(&mut self) -> Result<()> {
        let all = std::mem::take(&mut self.out);
        (&mut &*self.stream).write_all(&all)
    }
}

/// Waits for gdb or the bell; returns true if gdb has sent something.
fn wait(stream: i32, bell: i32) -> Result<bool> {
    let mut fds = [stream, bell].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: an array of ours.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
    match n {
        ..0 if Error::last_os_error().kind() != ErrorKind::Interrupted => Err(Error::last_os_error()),
        ..0 => Ok(false),
        _ => Ok(fds[0].revents != 0),
    }
}

fn thread(tid: usize) -> Tid {
    NonZeroUsize::new(tid).unwrap_or(NonZeroUsize::MIN)
}

/// Converts a stop to `gdbstub`'s type.
fn reason(stop: Stop) -> MultiThreadStopReason<u64> {
    let signal = |tid, signal| MultiThreadStopReason::SignalWithThread { tid: thread(tid), signal };
    match stop {
        Stop::Step(tid) => signal(tid, Signal::SIGTRAP),
        Stop::Breakpoint(tid) => MultiThreadStopReason::SwBreak(thread(tid)),
        Stop::Signal(tid, number) => signal(tid, signals::to_gdb(number)),
        Stop::Exited(code) => MultiThreadStopReason::Exited(code),
        Stop::Killed(number) => MultiThreadStopReason::Terminated(signals::to_gdb(number)),
        Stop::Watch(tid, kind, addr) => {
            let kind = match kind {
                Watch::Write => WatchKind::Write,
                Watch::Read => WatchKind::Read,
                Watch::Access => WatchKind::ReadWrite,
            };
            MultiThreadStopReason::Watch { tid: thread(tid), kind, addr }
        }
    }
}

/// How a connection ended.
enum End {
    /// The program's end was reported.
    Over,
    /// gdb detached.
    Left,
    /// gdb wants the program to be killed.
    Kill,
}

/// Serves gdb until it disconnects or the program ends. The debuggee must be stopped when this is called. At
/// the end it is told what gdb did ([`Debuggee::end_reported`], [`Debuggee::detached`] or
/// [`Debuggee::kill`]); an error means that the connection failed, which counts as detached.
pub fn serve(stream: &Stream, debuggee: &dyn Debuggee, bell: &Bell) -> std::result::Result<(), String> {
    match talk(stream, debuggee, bell) {
        Ok(End::Over) => debuggee.end_reported(),
        Ok(End::Left) => debuggee.detached(),
        Ok(End::Kill) => {
            // `vKill` must be answered; `gdbstub` leaves that to us. For `k` the answer does no harm.
            let _ = (&mut &*stream).write_all(b"$OK#9a");
            debuggee.kill();
        }
        Err(why) => {
            debuggee.detached();
            return Err(why);
        }
    }
    Ok(())
}

/// Input from gdb that was not processed yet.
struct Input<'a> {
    stream: &'a Stream,
    bytes: Vec<u8>,
    next: usize,
}

impl Input<'_> {
    fn is_empty(&self) -> bool {
        self.next == self.bytes.len()
    }

    /// Waits for more input from gdb; an error if it has disconnected.
    fn fill(&mut self) -> Result<()> {
        self.bytes.resize(4096, 0);
        self.next = 0;
        let n = loop {
            match (&mut &*self.stream).read(&mut self.bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                n => break n,
            }
        };
        self.bytes.truncate(*n.as_ref().unwrap_or(&0));
        match n? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "it closed the connection")),
            _ => Ok(()),
        }
    }

    /// Waits for more input from gdb, or for the bell.
    fn fill_or_bell(&mut self, bell: &Bell) -> Result<()> {
        match wait(self.stream.as_raw_fd(), bell.as_raw_fd())? {
            true => self.fill(),
            false => Ok(()),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        if self.is_empty() {
            self.fill()?;
        }
        self.next += 1;
        Ok(self.bytes[self.next - 1])
    }
}

fn talk(stream: &Stream, debuggee: &dyn Debuggee, bell: &Bell) -> std::result::Result<End, String> {
    let failed = |e: Error| e.to_string();
    let connection = Buffered { stream, out: Vec::new() };
    let builder = GdbStubBuilder::new(connection).packet_buffer_size(1 << 16);
    let stub = builder.build().map_err(|e| e.to_string())?;
    let mut target = Target::new(debuggee);
    let mut machine = stub.run_state_machine(&mut target).map_err(|e| e.to_string())?;
    let mut input = Input { stream, bytes: Vec::new(), next: 0 };
    loop {
        let step = match machine {
            Machine::Disconnected(d) => {
                return Ok(match d.get_reason() {
                    DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => End::Over,
                    DisconnectReason::Disconnect => End::Left,
                    DisconnectReason::Kill => End::Kill,
                });
            }
            Machine::CtrlCInterrupt(m) => {
                debuggee.interrupt();
                m.interrupt_handled(&mut target, None::<MultiThreadStopReason<u64>>)
            }
            Machine::Running(m) if input.is_empty() => {
                bell.clear();
                match debuggee.stopped() {
                    Some(stop) => m.report_stop(&mut target, reason(stop)),
                    None => {
                        input.fill_or_bell(bell).map_err(failed)?;
                        Ok(m.into())
                    }
                }
            }
            Machine::Running(m) => m.incoming_data(&mut target, input.byte().map_err(failed)?),
            Machine::Idle(m) => m.incoming_data(&mut target, input.byte().map_err(failed)?),
        };
        machine = step.map_err(|e| e.to_string())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_long_answer_is_sent_while_it_is_made() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let reader = std::thread::spawn(move || std::io::copy(&mut theirs, &mut std::io::sink()));
        let stream = Stream::Unix(ours);
        let mut out = Buffered { stream: &stream, out: Vec::new() };
        for _ in 0..4 * KEPT {
            out.write(b'0').expect("sent");
            assert!(out.out.len() < KEPT);
        }
        out.write_all(b"#00").and_then(|()| out.flush()).expect("sent");
        drop(stream);
        assert_eq!(reader.join().expect("no panic").expect("read"), 4 * KEPT as u64 + 3);
    }
}
