//! What a connection exchanges with the host's socket.

use super::buffer::Pool;
use super::flow::{End, Flow, Phase};
use crate::context::Context;
use crate::icmp::Unreachable;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

/// Bytes from the host that may wait for the guest.
const WINDOW: usize = 512 << 10;

impl Flow {
    /// Writes to the host what it takes at once.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<usize, End> {
        let Some(host) = &mut self.host else { return Err(End::ByHost) };
        let mut written = 0;
        while written < data.len() {
            match host.write(&data[written..]) {
                Ok(count) => written += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.break_off();
                    break;
                }
            }
        }
        Ok(written)
    }

    /// The other end has reset the connection. What it sent before is still for the guest, as it would be in the guest's
    /// own buffers.
    fn break_off(&mut self) {
        (self.broken, self.writable) = (true, false);
    }

    /// Looks whether the host's socket is connected.
    pub(super) fn connect(&mut self, cx: &mut Context) -> Result<(), End> {
        let (true, Some(host)) = (self.writable, &self.host) else { return Ok(()) };
        let error = match host.take_error() {
            Ok(None) => match host.peer_addr() {
                Ok(_) => {
                    self.phase = Phase::Answered;
                    self.send_syn(cx);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::NotConnected => {
                    self.writable = false;
                    return Ok(());
                }
                Err(e) => e,
            },
            Ok(Some(e)) | Err(e) => e,
        };
        Err(End::Refused(Unreachable::of(&error)))
    }

    /// Writes to the host what waits for it.
    pub(super) fn flush(&mut self, pool: &mut Pool) -> Result<(), End> {
        while self.writable && !self.receiver.buffer.is_empty() {
            let Some(host) = &mut self.host else { return Err(End::ByHost) };
            let (parts, count) = self.receiver.buffer.parts();
            match host.write_vectored(&parts[..count]) {
                Ok(count) => self.receiver.buffer.consume(count, pool),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.break_off(),
            }
        }
        if self.receiver.ended && !self.told && self.receiver.buffer.is_empty() {
            self.told = true;
            if let Some(host) = &self.host {
                // Fails if the other side has closed, too, which reading will tell.
                let _ = host.shutdown(Shutdown::Write);
            }
        }
        Ok(())
    }

    /// Reads from the host once. Returns whether there may be more, and room for it.
    pub(super) fn read(&mut self, pool: &mut Pool) -> Result<bool, End> {
        if !self.readable || self.sender.ended || self.sender.buffer.len() >= WINDOW {
            return Ok(false);
        }
        let Some(host) = &mut self.host else { return Ok(false) };
        let room = self.sender.buffer.room(pool);
        if room.is_empty() {
            // The pool is used up: the guest's acknowledgements make room here.
            return Ok(false);
        }
        let (result, size) = (host.read(room), room.len());
        match result {
            // A write has heard of a reset already: for reads, that then looks like a regular end.
            Ok(0) => (self.sender.ended, self.readable) = (!self.broken, false),
            Ok(count) => {
                self.sender.buffer.commit(count);
                // What comes after a short read is announced by another event, if it was not announced before.
                self.readable = count == size || self.ending;
                return Ok(self.readable);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(_) => {
                self.break_off();
                self.readable = false;
            }
        }
        Ok(false)
    }
}
