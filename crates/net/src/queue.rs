//! The frames between the device's thread and the network's.

use crate::Stats;
use crate::forward::Listener;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use trine_base::{Offloads, Partial, Waker};

/// A frame with what its sender has left undone.
pub(crate) type Frame = (Vec<u8>, Partial);

/// How many bytes of frames may wait in one direction: the windows of some connections, of 16 long frames.
pub(crate) const BYTES: usize = 1 << 20;
/// How many frames may wait in one direction.
pub(crate) const FRAMES: usize = 1024;
/// How many empty buffers for long frames are kept, and from which length on.
const SPARE: usize = 32;
const LONG: usize = 4096;

/// Frames that wait, first come, first served.
#[derive(Default)]
pub(crate) struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Waiting {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= BYTES || self.frames.len() >= FRAMES
    }

    pub fn push(&mut self, frame: Frame) {
        // What it occupies: memory is what is to be bounded.
        self.bytes += frame.0.capacity();
        self.frames.push_back(frame);
    }

    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.0.capacity();
        Some(frame)
    }
}

/// What both threads see. The lock is held for a few instructions only, so that the device never waits.
#[derive(Default)]
pub(crate) struct State {
    pub from_guest: Waiting,
    pub to_guest: Waiting,
    pub spare: Spare,
    pub gives: Offloads,
    pub waker: Waker,
    /// The device has found no frame and wants to be woken.
    pub device_waits: bool,
    /// The network's thread sleeps until it is woken, or until a socket has something.
    pub asleep: bool,
    /// The network has frames for which there was no room.
    pub wants_room: bool,
    pub reset: bool,
    pub stop: bool,
    /// Listening sockets that were added while the network runs.
    pub listeners: Vec<Listener>,
    /// Frames that the device has taken in total.
    pub taken: u64,
    /// Frames from the guest that found no room.
    pub overrun: u64,
    pub stats: Stats,
}

/// Empty buffers for long frames. Short ones are not kept, so that none occupies a long one's memory.
#[derive(Default)]
pub(crate) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// An empty buffer for a frame of that length.
    pub fn buffer(&mut self, length: usize) -> Vec<u8> {
        let kept = if length > LONG { self.0.pop() } else { None };
        let mut buffer = kept.unwrap_or_default();
        buffer.reserve(length);
        buffer
    }

    /// Keeps a buffer for later.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARE && buffer.capacity() > LONG {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// The queues, and how to wake the network's thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    waker: mio::Waker,
}

impl Queue {
    pub fn new(waker: mio::Waker) -> Queue {
        Queue { state: Mutex::default(), waker }
    }

    /// The state. A thread that panicked while it held the lock left it whole: it only pushes and pops.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the network's thread, if it sleeps.
    pub fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.asleep) {
            drop(state);
            // Fails only if the descriptor is bad, which it is not.
            let _ = self.waker.wake();
        }
    }

    /// A frame from the device. Without room it is lost, as on a wire.
    pub fn send(&self, frame: &[u8], partial: Partial) {
        let mut state = self.lock();
        if state.from_guest.is_full() {
            state.overrun += 1;
            return;
        }
        let mut buffer = state.spare.buffer(frame.len());
        buffer.extend_from_slice(frame);
        state.from_guest.push((buffer, partial));
        self.wake(state);
    }

    /// A frame for the device.
    pub fn receive(&self, frame: &mut Vec<u8>) -> Option<Partial> {
        let mut state = self.lock();
        let Some((mut next, partial)) = state.to_guest.pop() else {
            state.device_waits = true;
            return None;
        };
        state.taken += 1;
        std::mem::swap(frame, &mut next);
        state.spare.recycle(next);
        if state.wants_room && state.to_guest.bytes() < BYTES / 2 && state.to_guest.len() < FRAMES / 2 {
            state.wants_room = false;
            self.wake(state);
        }
        Some(partial)
    }
}
