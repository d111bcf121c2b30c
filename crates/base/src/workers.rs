//! Threads for work that may wait for the host.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads, which are created when there is work for them. When it is dropped, its threads do what they were
/// given and end; nobody waits for them.
pub struct Workers(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    name: &'static str,
    most: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// How many of them wait for a job.
    idle: usize,
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        let wait = self.changed.wait_while(state, |state| state.jobs.is_empty() && !state.over);
        state = wait.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.jobs.pop_front()
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // Whoever gave the job learns of a panic by what the job drops; the next one has nothing to do with it.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
    }
}

impl Workers {
    /// A pool of at most `most` threads (at least 1) of this name.
    pub fn new(name: &'static str, most: usize) -> Workers {
        let (state, changed) = Default::default();
        Workers(Arc::new(Shared { state, changed, name, most: most.max(1) }))
    }

    /// Has a job done soon; jobs are begun in the order in which they came. Does not wait, unless the host cannot
    /// create a single thread: then the caller does the job.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state();
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() || state.threads == self.0.most {
            drop(state);
            return self.0.changed.notify_one();
        }
        let shared = self.0.clone();
        match Builder::new().name(self.0.name.into()).spawn(move || shared.work()) {
            Ok(_) => state.threads += 1,
            Err(_) if state.threads == 0 => {
                let job = state.jobs.pop_front();
                drop(state);
                job.into_iter().for_each(|job| job());
            }
            // The others will come to it.
            Err(_) => {}
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn jobs_run_at_once_but_on_no_more_threads_than_allowed() {
        let workers = Workers::new("test", 3);
        assert_eq!(workers.0.state().threads, 0, "none is created before there is work");
        let (begun, seen) = channel();
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        for n in 0..5 {
            let (begun, gate) = (begun.clone(), gate.clone());
            workers.submit(move || {
                begun.send(n).unwrap();
                drop(gate.lock());
            });
        }
        let mut first: Vec<i32> = (0..3).map(|_| seen.recv().unwrap()).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
        assert!(seen.recv_timeout(Duration::from_millis(50)).is_err(), "all threads are busy");
        drop(closed);
        assert_eq!(seen.iter().take(2).count(), 2);
        assert_eq!(workers.0.state().threads, 3);
    }

    #[test]
    fn a_job_that_panics_ends_no_thread_and_all_jobs_are_done_at_the_end() {
        let workers = Workers::new("test", 1);
        let (done, seen) = channel();
        for n in 0..4 {
            let done = done.clone();
            workers.submit(move || {
                assert!(n != 1, "this panic is a part of the test");
                done.send(n).unwrap();
            });
        }
        drop((workers, done));
        assert_eq!(seen.iter().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
