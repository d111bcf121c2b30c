//! What reaches the threads of a board from outside: pause, resume, interruption, end.

use crate::End;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine_base::{Bus, Mailbox};

/// The state that all threads of a board share.
///
/// A wish is written down and every thread told to look; the thread that wishes then waits until all have acknowledged
/// it. No thread holds a lock while it waits for another one's acknowledgement.
pub(super) struct Control {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether threads have to look at the state: it is to pause, or has ended.
    attention: AtomicBool,
    bus: Arc<Bus>,
    vcpus: Vec<Arc<Mailbox>>,
}

#[derive(Default)]
struct State {
    paused: bool,
    /// Whether who runs the board wants it back.
    interrupted: bool,
    end: Option<End>,
    /// Threads that run vCPUs or timers.
    running: usize,
    /// Those of them that stand still because the machine is paused.
    standing: usize,
    /// Whether clock and devices stand still with them.
    still: bool,
}

impl State {
    /// Whether threads of the machine are to stand still.
    fn stands(&self) -> bool {
        self.paused && !self.interrupted && self.end.is_none()
    }

    /// Whether they are to go on.
    fn goes_on(&self) -> bool {
        !self.paused && !self.interrupted && self.end.is_none()
    }
}

/// A thread that runs a part of the machine, from [`Control::enter`] on.
pub(super) struct Running<'a>(&'a Control);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.changed.notify_all();
        if std::thread::panicking() {
            // The others would run on without it for ever.
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

    /// For threads that have entered: stands still while the machine is paused; false once it has ended or is interrupted.
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

    /// Lets clock and devices stand still where all threads do: then nobody reads the one or is served by the others.
    fn settle(&self, state: &mut State) {
        if state.stands() && state.standing == state.running && !state.still {
            self.bus.pause();
            state.still = true;
        }
    }

    /// Whether clock and devices stand still.
    pub fn is_still(&self) -> bool {
        self.lock().still
    }

    /// What the thread that runs timers waits for besides them.
    pub fn attention(&self) -> &AtomicBool {
        &self.attention
    }

    /// How the machine ended, if it did.
    pub fn end(&self) -> Option<End> {
        self.lock().end.clone()
    }

    /// Whether it is paused.
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

    /// Ends the machine: the first end counts. Does not wait.
    pub fn finish(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        self.tell(state);
    }

    /// Pauses it. Comes back when nothing of it runs any more, or, with false, after `most`: a device may wait for the
    /// host, and the vCPU that needs it stands still when that is over.
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

    /// Lets it go on.
    pub fn resume(&self) {
        let mut state = self.lock();
        state.paused = false;
        if std::mem::take(&mut state.still) {
            self.bus.resume();
        }
        self.tell(state);
    }

    /// Has whoever runs the board get it back. Does not wait.
    pub fn interrupt(&self) {
        let mut state = self.lock();
        state.interrupted = true;
        self.tell(state);
    }

    /// For whoever runs the board: takes back an interruption; whether there was one.
    pub fn take_interruption(&self) -> bool {
        if !self.attention.load(Ordering::SeqCst) {
            return false;
        }
        let mut state = self.lock();
        let was = std::mem::take(&mut state.interrupted);
        self.tell(state);
        was
    }
}
