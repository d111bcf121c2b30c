//! The queues of a device whose requests wait for the host, a disk's or a folder's: they are done by other threads, or at once.

use super::queue::{Progress, Queue, Served};
use super::{Broken, Chain};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::{Waker, Workers};
use trine_memory::Ram;

/// What does the requests of a device.
pub trait Handler: Send + Sync + 'static {
    /// What a request asks for.
    type Work: Send;
    /// How a request went.
    type Outcome: Send;

    /// Does a part of a request at once: see [`Queue::serve`].
    fn turn(&self, ram: &Ram, chain: &Chain, done: u64, most: u64) -> Result<Progress, Broken>;

    /// Reads a request that another thread is to do.
    fn accept(&self, ram: &Ram, chain: &Chain) -> Result<Self::Work, Broken>;

    /// Does a request, on another thread. `None` if it was left unfinished because `stop` was set: then it is done anew
    /// later.
    fn perform(
        &self,
        ram: &Ram,
        chain: &Chain,
        work: &Self::Work,
        stop: &AtomicBool,
    ) -> Option<Self::Outcome>;

    /// The outcome of a request during which the thread has panicked.
    fn failed(&self) -> Self::Outcome;

    /// Ends a request that is returned to the driver, with the number of bytes that were written for it.
    fn end(&self, ram: &Ram, chain: &Chain, outcome: &Self::Outcome) -> Result<u32, Broken>;
}

/// Threads that do requests, and where the guest's buffers are.
struct Crew {
    workers: Arc<Workers>,
    ram: Arc<Ram>,
}

/// The queues of a device.
pub struct RequestQueues<H: Handler> {
    /// What does the requests.
    pub handler: Arc<H>,
    /// Wakes the device when a request is finished.
    pub waker: Waker,
    pending: Vec<Arc<Pending<H>>>,
    /// `None` where requests are done at once, by the thread that makes them.
    crew: Option<Crew>,
}

impl<H: Handler> RequestQueues<H> {
    /// So many queues, whose requests are done at once.
    pub fn new(handler: H, queues: usize) -> RequestQueues<H> {
        let (handler, waker) = (Arc::new(handler), Waker::new());
        let mut new = RequestQueues { handler, waker, pending: Vec::new(), crew: None };
        new.set_count(queues);
        new
    }

    /// Makes it so many queues.
    pub fn set_count(&mut self, queues: usize) {
        self.pending = (0..queues).map(|_| Arc::default()).collect();
    }

    /// Has requests done by other threads; `ram` is where the guest's buffers are.
    pub fn set_workers(&mut self, workers: Arc<Workers>, ram: Arc<Ram>) {
        self.crew = Some(Crew { workers, ram });
    }

    /// The number of queues.
    pub fn count(&self) -> usize {
        self.pending.len()
    }

    /// See [`super::Virtio::serve`].
    pub fn serve(&self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let Some(crew) = &self.crew else {
            return queue.serve(ram, |chain, done, most| self.handler.turn(ram, chain, done, most));
        };
        let used = self.push_finished(index, queue, ram)?;
        let more = self.submit(crew, index, queue, ram)?;
        Ok(Served { used, more })
    }

    /// Returns what other threads have finished; whether that was anything.
    fn push_finished(&self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let Some(pending) = self.pending.get(index) else { return Ok(false) };
        let end =
            |(chain, outcome): &(Chain, H::Outcome)| Ok((chain.head, self.handler.end(ram, chain, outcome)?));
        let finished = pending.finished().iter().map(end).collect::<Result<Vec<_>, Broken>>()?;
        if !finished.is_empty() {
            queue.push_all(ram, &finished)?;
        }
        Ok(!finished.is_empty())
    }

    /// Gives what the queue has to other threads; returns whether it has more.
    fn submit(&self, crew: &Crew, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let Some(pending) = self.pending.get(index) else { return Ok(false) };
        for _ in 0..queue.size {
            let Some(chain) = queue.take(ram)? else { return Ok(false) };
            let work = self.handler.accept(ram, &chain)?;
            pending.submit(crew, &self.handler, &self.waker, chain, work);
        }
        Ok(queue.waits(ram))
    }

    /// See [`super::Virtio::quiesce`].
    pub fn quiesce(&self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        if let Some(pending) = self.pending.get(index) {
            pending.stop();
        }
        let used = self.push_finished(index, queue, ram)?;
        queue.take_again();
        Ok(used)
    }

    /// Stops what other threads do for a queue, and forgets what they have done.
    pub fn forget(&self, index: usize) {
        if let Some(pending) = self.pending.get(index) {
            pending.stop();
            pending.finished();
        }
    }

    /// The same for all queues.
    pub fn forget_all(&self) {
        (0..self.pending.len()).for_each(|index| self.forget(index));
    }
}

/// Requests of this machine must not be done after those of the next one, which may have the same disk or folder.
impl<H: Handler> Drop for RequestQueues<H> {
    fn drop(&mut self) {
        self.pending.iter().for_each(|pending| pending.stop());
    }
}

/// The requests of a queue that were given to other threads.
struct Pending<H: Handler> {
    state: Mutex<State<H>>,
    changed: Condvar,
    /// Requests are to be left where they are.
    stop: AtomicBool,
}

struct State<H: Handler> {
    waiting: VecDeque<(Chain, H::Work)>,
    running: usize,
    /// What can be returned to the driver.
    finished: Vec<(Chain, H::Outcome)>,
}

/// A request that a thread works on. When it is dropped, the queue has one less, and the device is woken; after a panic it has
/// failed.
struct Running<'a, H: Handler> {
    pending: &'a Pending<H>,
    handler: &'a H,
    waker: &'a Waker,
    chain: Chain,
    /// `None` while the request is not finished.
    outcome: Option<H::Outcome>,
}

impl<H: Handler> Drop for Running<'_, H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.outcome = Some(self.handler.failed());
        }
        let mut state = self.pending.state();
        state.running -= 1;
        if let Some(outcome) = self.outcome.take() {
            state.finished.push((std::mem::take(&mut self.chain), outcome));
        }
        drop(state);
        self.pending.changed.notify_all();
        self.waker.wake();
    }
}

impl<H: Handler> Default for Pending<H> {
    fn default() -> Pending<H> {
        let state = State { waiting: VecDeque::new(), running: 0, finished: Vec::new() };
        Pending { state: Mutex::new(state), changed: Condvar::new(), stop: AtomicBool::new(false) }
    }
}

impl<H: Handler> Pending<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request done by another thread, which then wakes the device.
    fn submit(self: &Arc<Self>, crew: &Crew, handler: &Arc<H>, waker: &Waker, chain: Chain, work: H::Work) {
        self.state().waiting.push_back((chain, work));
        let (pending, handler, ram, waker) = (self.clone(), handler.clone(), crew.ram.clone(), waker.clone());
        crew.workers.submit(move || pending.work(&handler, &ram, &waker));
    }

    /// Does the next request that waits, if it was not stopped.
    fn work(&self, handler: &H, ram: &Ram, waker: &Waker) {
        let mut state = self.state();
        let Some((chain, work)) = state.waiting.pop_front() else { return };
        state.running += 1;
        drop(state);
        let mut running = Running { pending: self, handler, waker, chain, outcome: None };
        running.outcome = handler.perform(ram, &running.chain, &work, &self.stop);
    }

    /// Takes what is finished.
    fn finished(&self) -> Vec<(Chain, H::Outcome)> {
        std::mem::take(&mut self.state().finished)
    }

    /// Leaves what has not begun as if it had never come, and waits until no thread works on a request: each is finished,
    /// or stopped between two pieces.
    fn stop(&self) {
        let mut state = self.state();
        state.waiting.clear();
        self.stop.store(true, Ordering::Relaxed);
        let wait = self.changed.wait_while(state, |state| state.running > 0);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        self.stop.store(false, Ordering::Relaxed);
    }
}
