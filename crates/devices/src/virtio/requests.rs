//! The requests of one queue that are done by other threads.

use super::super::Chain;
use super::request::{S_IOERR, Target, Work};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::{Waker, Workers};
use trine_memory::Ram;

/// What other threads need besides the disk.
#[derive(Clone)]
pub struct Crew {
    pub workers: Arc<Workers>,
    pub ram: Arc<Ram>,
}

/// A request that can be returned to the driver.
pub struct Finished {
    pub chain: Chain,
    pub status: u8,
    /// Bytes that were written for the driver, without the status.
    pub written: u32,
}

/// The requests of a queue.
#[derive(Default)]
pub struct Lane {
    state: Mutex<State>,
    changed: Condvar,
    /// Requests are to be left where they are.
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Chain, Work)>,
    running: usize,
    finished: Vec<Finished>,
}

/// A request that a thread works on. When it is dropped, the lane has one less; where there is no outcome by then (a
/// panic), it has failed.
struct Running<'a> {
    lane: &'a Lane,
    chain: Chain,
    /// `None` where the request was stopped.
    outcome: Option<(u8, u32)>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.running -= 1;
        if let Some((status, written)) = self.outcome {
            state.finished.push(Finished { chain: std::mem::take(&mut self.chain), status, written });
        }
        drop(state);
        self.lane.changed.notify_all();
    }
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request done by another thread, which then wakes the device.
    pub fn submit(
        self: &Arc<Self>,
        crew: &Crew,
        target: &Arc<Target>,
        waker: &Waker,
        chain: Chain,
        work: Work,
    ) {
        self.state().waiting.push_back((chain, work));
        let (lane, target, ram, waker) = (self.clone(), target.clone(), crew.ram.clone(), waker.clone());
        crew.workers.submit(move || lane.work(&target, &ram, &waker));
    }

    /// Does the next request that waits, if it was not stopped.
    fn work(&self, target: &Target, ram: &Ram, waker: &Waker) {
        let mut state = self.state();
        let Some((chain, work)) = state.waiting.pop_front() else { return };
        state.running += 1;
        drop(state);
        let mut running = Running { lane: self, chain, outcome: Some((S_IOERR, 0)) };
        let result = work.perform(target, ram, &running.chain, (0, u64::MAX), &self.stop);
        running.outcome = match result {
            Ok(moved) if moved < work.len() => None,
            result => Some(work.outcome(target, &running.chain, result)),
        };
        drop(running);
        waker.wake();
    }

    /// Takes what is finished.
    pub fn finished(&self) -> Vec<Finished> {
        std::mem::take(&mut self.state().finished)
    }

    /// Stops all requests that are not finished, as if they had never come, and waits until no thread works on one:
    /// at most for a piece of each.
    pub fn stop(&self) {
        let mut state = self.state();
        state.waiting.clear();
        self.stop.store(true, Ordering::Relaxed);
        let wait = self.changed.wait_while(state, |state| state.running > 0);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        self.stop.store(false, Ordering::Relaxed);
    }
}
