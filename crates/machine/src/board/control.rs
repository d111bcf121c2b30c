//! How pause, resume, interruption and the end of a machine reach the threads of its board.

use super::Board;
use crate::End;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine_base::{Bus, Mailbox};

/// Work on the board itself, for the thread that runs it.
pub(crate) type Job = Box<dyn FnOnce(&mut Board) + Send>;

/// The state that all threads of a board share.
///
/// A request is stored, and every thread is told to look at it; the requesting thread then waits until all
/// have acknowledged it. No thread holds a lock while it waits for another one's acknowledgement.
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether threads have to look at the state: the machine is to pause or to be interrupted, or has ended.
    attention: AtomicBool,
    bus: Arc<Bus>,
    vcpus: Vec<Arc<Mailbox>>,
}

#[derive(Default)]
struct State {
    paused: bool,
    /// Whether the caller of `run_until_interrupted` wants the board back.
    interrupted: bool,
    /// Whether the debugger has stopped the machine.
    held: bool,
    /// Whether the owner of the board is doing jobs.
    served: bool,
    /// What the owner of the board is to do while no vCPU runs.
    jobs: VecDeque<Job>,
    /// Whether no job is done any more.
    closed: bool,
    end: Option<End>,
    /// Number of threads that run vCPUs or timers.
    running: usize,
    /// How many of those stand still because the machine is paused.
    standing: usize,
    /// Whether the clock and the devices are paused as well.
    still: bool,
}

impl State {
    /// Whether the threads of the machine are to stand still.
    fn stands(&self) -> bool {
        self.paused && !self.is_left()
    }

    /// Whether they are to leave the board to its owner.
    fn is_left(&self) -> bool {
        self.interrupted || self.held || self.end.is_some()
    }

    /// Whether they are to go on.
    fn goes_on(&self) -> bool {
        !self.paused && !self.is_left()
    }
}

/// A thread that runs a part of the machine, from [`Control::enter`] until it is dropped.
pub(crate) struct Running<'a>(&'a Control);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.changed.notify_all();
        if std::thread::panicking() {
            // Without this, the other threads would run on for ever.
            self.0.finish(End::Dead("a thread of the machine has failed".into()));
        }
    }
}

impl Control {
    pub fn new(bus: Arc<Bus>, vcpus: Vec<Arc<Mailbox>>) -> Control {
        let (state, changed, attention) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        Control { state, changed, attention, bus, vcpus }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the calling thread among those that run the machine, until the result is dropped.
    pub fn enter(&self) -> Running<'_> {
        self.lock().running += 1;
        Running(self)
    }

    /// Called by threads that have entered: waits while the machine is paused; returns false once it has
    /// ended or is interrupted.
    pub fn goes_on(&self) -> bool {
        if !self.attention.load(Ordering::SeqCst) {
            return true;
        }
        let mut state = self.lock();
        while state.stands() {
            state.standing += 1;
            self.settle(&mut state);
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.stands())
                .unwrap_or_else(PoisonError::into_inner);
            state.standing -= 1;
        }
        state.goes_on()
    }

    /// Pauses the clock and the devices once all threads stand still: then no thread reads the clock or calls
    /// a device.
    fn settle(&self, state: &mut State) {
        if state.stands() && state.standing == state.running && !state.still {
            self.bus.pause();
            state.still = true;
        }
    }

    /// Lets the clock and the devices go on, unless something still holds them.
    fn stir(&self, state: &mut State) {
        if !state.paused && !state.held && !state.served && std::mem::take(&mut state.still) {
            self.bus.resume();
        }
    }

    /// Whether the clock and the devices are paused.
    pub fn is_still(&self) -> bool {
        self.lock().still
    }

    /// Set when the thread that runs timers must look at the state.
    pub fn attention(&self) -> &AtomicBool {
        &self.attention
    }

    /// How the machine ended; `None` where it has not ended.
    pub fn end(&self) -> Option<End> {
        self.lock().end.clone()
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    fn tell(&self, state: MutexGuard<State>) {
        self.attention.store(!state.goes_on(), Ordering::SeqCst);
        drop(state);
        self.changed.notify_all();
        self.vcpus.iter().for_each(|mailbox| mailbox.request(Mailbox::PAUSE));
        self.bus.wake_timers();
    }

    /// Ends the machine; the first end counts. Does not wait.
    pub fn finish(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        self.tell(state);
    }

    /// Pauses the machine. Returns true when no part of it runs any more, or false after `most`: a device may
    /// be waiting for the host, and the vCPU that uses it stops when that wait is over.
    pub fn pause(&self, most: Duration) -> bool {
        let mut state = self.lock();
        state.paused = true;
        self.tell(state);
        let moves = |state: &mut State| state.stands() && state.standing < state.running;
        let waited = self.changed.wait_timeout_while(self.lock(), most, moves);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        self.settle(&mut state);
        !waited.timed_out()
    }

    /// Lets the machine go on.
    pub fn resume(&self) {
        let mut state = self.lock();
        state.paused = false;
        self.stir(&mut state);
        self.tell(state);
    }

    /// Makes `run_until_interrupted` return. Does not wait.
    pub fn interrupt(&self) {
        let mut state = self.lock();
        state.interrupted = true;
        self.tell(state);
    }

    /// Stops the machine for the debugger. Does not wait.
    pub fn hold(&self) {
        let mut state = self.lock();
        state.held = true;
        self.tell(state);
    }

    /// Lets a machine go on that the debugger has stopped.
    pub fn release(&self) {
        let mut state = self.lock();
        state.held = false;
        self.stir(&mut state);
        self.tell(state);
    }

    /// Whether the debugger has stopped the machine.
    pub fn is_held(&self) -> bool {
        self.lock().held
    }

    /// Has the owner of the board do a job while no vCPU runs. Returns false if it does none any more.
    pub fn post(&self, job: Job) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.jobs.push_back(job);
        state.interrupted = true;
        self.tell(state);
        true
    }

    /// The owner of the board begins to do jobs, while no thread runs a part of the machine: clock and devices stand
    /// still. Returns false if there is nothing to do.
    pub fn serve(&self) -> bool {
        let mut state = self.lock();
        if state.end.is_some() || state.jobs.is_empty() && !state.held {
            return false;
        }
        state.served = true;
        if !std::mem::replace(&mut state.still, true) {
            self.bus.pause();
        }
        true
    }

    /// The next job; waits for one while the debugger holds the machine. `None` once the machine is to go on.
    pub fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.end.is_none()
                && let Some(job) = state.jobs.pop_front()
            {
                return Some(job);
            }
            if state.end.is_some() || !state.held {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (state.served, state.interrupted) = (false, false);
        self.stir(&mut state);
        self.tell(state);
        None
    }

    /// Waits until the threads of the machine have to look at the state.
    pub fn wait_while_going(&self) {
        let waited = self.changed.wait_while(self.lock(), |state| state.goes_on());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The machine has ended, and no job is done any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Whoever waits for one learns that it was dropped.
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }

    /// Clears a request for interruption and returns whether there was one, or the debugger has stopped the machine.
    pub fn take_interruption(&self) -> bool {
        if !self.attention.load(Ordering::SeqCst) {
            return false;
        }
        let mut state = self.lock();
        let was = std::mem::take(&mut state.interrupted) || state.held;
        self.tell(state);
        was
    }
}
