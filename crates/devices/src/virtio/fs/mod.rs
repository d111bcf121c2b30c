//! File system device (virtio 1.2, 5.11): a folder of the host. Requests are FUSE's, which [`trine_share`] serves. There is no
//! shared memory region (DAX), and no notification queue.

mod lane;

#[cfg(test)]
mod tests;

use super::queue::{Progress, Queue, Served, gather, scatter, total};
use super::{Broken, Chain, Virtio};
use lane::{Crew, Lane};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{StateError, Waker, Workers, state, versions};
use trine_memory::Ram;
use trine_share::{MOST_REQUEST, Server};

/// Bytes of the configuration's field for the tag.
pub const LONGEST_TAG: usize = 36;
/// Queues before those for requests: the one for what must not wait behind them.
const BEFORE_REQUESTS: usize = 1;
/// The most queues for requests.
pub const MOST_QUEUES: usize = 8;

thread_local! {
    /// A request and its reply, for each thread that serves.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    /// What the driver has read.
    tag: String,
    /// The session's own state.
    session: Vec<u8>,
}

versions!(Saved of "the file system device" { V1(V1) });

/// The device.
pub struct Fs {
    tag: String,
    server: Arc<Server>,
    /// For each queue.
    lanes: Vec<Arc<Lane>>,
    /// `None` where requests are served at once, by the thread that makes them.
    crew: Option<Crew>,
    waker: Waker,
}

impl Fs {
    /// Creates a device of this name, of which the guest sees the first 36 bytes, with one queue for requests. It serves requests
    /// at once, on the thread that makes them, which then loses capabilities: see [`Server::handle`]. That is for tests.
    pub fn new(tag: &str, server: Server) -> Fs {
        let end = (0..=LONGEST_TAG.min(tag.len())).rfind(|end| tag.is_char_boundary(*end)).unwrap_or(0);
        Fs {
            tag: tag[..end].into(),
            server: Arc::new(server),
            lanes: Vec::new(),
            crew: None,
            waker: Waker::new(),
        }
        .with_queues(1)
    }

    /// Has requests served by other threads, which must do nothing else; `ram` is where the guest's buffers are. The device must be
    /// woken by its [`Fs::waker`].
    pub fn with_workers(mut self, workers: Arc<Workers>, ram: Arc<Ram>) -> Fs {
        self.crew = Some(Crew { workers, ram });
        self
    }

    /// Gives it so many queues for requests, 1 to [`MOST_QUEUES`].
    pub fn with_queues(mut self, queues: usize) -> Fs {
        let all = BEFORE_REQUESTS + queues.clamp(1, MOST_QUEUES);
        self.lanes = (0..all).map(|_| Arc::default()).collect();
        self
    }

    /// What wakes the device when a request is finished: to be connected to the bus.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Returns what other threads have finished; whether that was anything.
    fn push_finished(&self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let Some(lane) = self.lanes.get(index) else { return Ok(false) };
        let finished: Vec<(u16, u32)> =
            lane.finished().iter().map(|(chain, written)| (chain.head, *written)).collect();
        if !finished.is_empty() {
            queue.push_all(ram, &finished)?;
        }
        Ok(!finished.is_empty())
    }

    /// Gives what the queue has to other threads.
    fn submit(&self, crew: &Crew, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let Some(lane) = self.lanes.get(index) else { return Ok(false) };
        for _ in 0..queue.size {
            let Some(chain) = queue.take(ram)? else { return Ok(false) };
            lane.submit(crew, &self.server, &self.waker, chain);
        }
        Ok(queue.waits(ram))
    }

    /// Waits for what other threads do for a queue, and forgets what they have done.
    fn forget(&self, index: usize) {
        if let Some(lane) = self.lanes.get(index) {
            lane.stop();
            lane.finished();
        }
    }
}

/// Serves the request in a chain; returns the number of bytes that were written for the driver.
fn serve_chain(server: &Server, ram: &Ram, chain: &Chain) -> u32 {
    BUFFERS.with_borrow_mut(|(request, reply)| {
        let len = total(&chain.readable).min(MOST_REQUEST as u64) as usize;
        if request.len() < len {
            request.resize(len, 0);
        }
        let len = gather(ram, &chain.readable, 0, &mut request[..len]);
        let room = usize::try_from(total(&chain.writable)).unwrap_or(usize::MAX);
        server.handle(&request[..len], room, reply);
        scatter(ram, &chain.writable, 0, reply) as u32
    })
}

/// Requests of this machine must not be served after those of the next one, which may have the same folder.
impl Drop for Fs {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| lane.stop());
    }
}

impl Virtio for Fs {
    fn id(&self) -> u32 {
        26
    }

    fn name(&self) -> &str {
        "virtio-fs"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        self.lanes.len()
    }

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; LONGEST_TAG];
        config[..self.tag.len()].copy_from_slice(self.tag.as_bytes());
        config.extend(((self.lanes.len() - BEFORE_REQUESTS) as u32).to_le_bytes());
        config
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        match &self.crew {
            None => queue.serve(ram, |chain, _, _| {
                let written = serve_chain(&self.server, ram, chain);
                Ok(Progress::Finished { moved: total(&chain.readable) + u64::from(written), written })
            }),
            Some(crew) => {
                let used = self.push_finished(index, queue, ram)?;
                let more = self.submit(crew, index, queue, ram)?;
                Ok(Served { used, more })
            }
        }
    }

    fn quiesce(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        if let Some(lane) = self.lanes.get(index) {
            lane.stop();
        }
        let used = self.push_finished(index, queue, ram)?;
        queue.take_again();
        Ok(used)
    }

    fn stopped(&mut self, index: usize) {
        self.forget(index);
    }

    fn reset(&mut self) {
        (0..self.lanes.len()).for_each(|index| self.forget(index));
        self.server.reset();
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(V1 { tag: self.tag.clone(), session: self.server.save() }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { tag, session }) = state::load(state)?;
        if tag != self.tag {
            return Err(Saved::mismatch(format!("its name is '{tag}', but here it is '{}'", self.tag)));
        }
        (0..self.lanes.len()).for_each(|index| self.forget(index));
        self.server.load(&session)
    }
}
