//! The requests of one queue that other threads serve.

use super::super::Chain;
use super::serve_chain;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::{Waker, Workers};
use trine_memory::Ram;
use trine_share::Server;

/// What other threads need.
#[derive(Clone)]
pub struct Crew {
    pub workers: Arc<Workers>,
    pub ram: Arc<Ram>,
}

/// The requests of a queue.
#[derive(Default)]
pub struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chain>,
    running: usize,
    /// Chains that can be returned to the driver, and the bytes that were written for it.
    finished: Vec<(Chain, u32)>,
}

/// A request that a thread works on. When it is dropped, after a panic as well, the lane has one less, and the driver gets
/// its chain back.
struct Running<'a> {
    lane: &'a Lane,
    chain: Chain,
    written: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.running -= 1;
        state.finished.push((std::mem::take(&mut self.chain), self.written));
        drop(state);
        self.lane.changed.notify_all();
    }
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request served by another thread, which then wakes the device.
    pub fn submit(self: &Arc<Self>, crew: &Crew, server: &Arc<Server>, waker: &Waker, chain: Chain) {
        self.state().waiting.push_back(chain);
        let (lane, server, ram, waker) = (self.clone(), server.clone(), crew.ram.clone(), waker.clone());
        crew.workers.submit(move || lane.work(&server, &ram, &waker));
    }

    /// Serves the next request that waits, if it was not stopped.
    fn work(&self, server: &Server, ram: &Ram, waker: &Waker) {
        let mut state = self.state();
        let Some(chain) = state.waiting.pop_front() else { return };
        state.running += 1;
        drop(state);
        let mut running = Running { lane: self, chain, written: 0 };
        running.written = serve_chain(server, ram, &running.chain);
        drop(running);
        waker.wake();
    }

    /// Takes what is finished.
    pub fn finished(&self) -> Vec<(Chain, u32)> {
        std::mem::take(&mut self.state().finished)
    }

    /// Leaves what has not begun as if it had never come, and waits for what has: a request is never half done, nor done
    /// twice.
    pub fn stop(&self) {
        let mut state = self.state();
        state.waiting.clear();
        let wait = self.changed.wait_while(state, |state| state.running > 0);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}
