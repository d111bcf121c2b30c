//! File system device (virtio 1.2, 5.11): a folder of the host. Requests are FUSE's, which [`trine_share`] serves. There is no
//! shared memory region (DAX), and no notification queue.

#[cfg(test)]
mod tests;

use super::queue::{Progress, Queue, Served, gather, scatter, total};
use super::requests::{Handler, RequestQueues};
use super::{Broken, Chain, Virtio};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    requests: RequestQueues<Server>,
}

impl Fs {
    /// Creates a device of this name, of which the guest sees the first 36 bytes, with one queue for requests. It serves requests
    /// at once, on the thread that makes them, which then loses capabilities: see [`Server::handle`]. That is for tests.
    pub fn new(tag: &str, server: Server) -> Fs {
        let end = (0..=LONGEST_TAG.min(tag.len())).rfind(|end| tag.is_char_boundary(*end)).unwrap_or(0);
        Fs { tag: tag[..end].into(), requests: RequestQueues::new(server, BEFORE_REQUESTS + 1) }
    }

    /// Has requests served by other threads, which must do nothing else; `ram` is where the guest's buffers are. The device must be
    /// woken by its [`Fs::waker`].
    pub fn with_workers(mut self, workers: Arc<Workers>, ram: Arc<Ram>) -> Fs {
        self.requests.set_workers(workers, ram);
        self
    }

    /// Gives it so many queues for requests, 1 to [`MOST_QUEUES`].
    pub fn with_queues(mut self, queues: usize) -> Fs {
        self.requests.set_count(BEFORE_REQUESTS + queues.clamp(1, MOST_QUEUES));
        self
    }

    /// What wakes the device when a request is finished: to be connected to the bus.
    pub fn waker(&self) -> Waker {
        self.requests.waker.clone()
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

/// The guest's number of the error (Linux, include/uapi/asm-generic/errno-base.h).
const EIO: i32 = 5;

/// Answers a request with [`EIO`]: `fuse_out_header` (include/uapi/linux/fuse.h) has the length, the error and the request's number.
fn fail(ram: &Ram, chain: &Chain) -> u32 {
    let mut number = [0; 8];
    gather(ram, &chain.readable, 8, &mut number);
    let header = [&16_u32.to_le_bytes()[..], &(-EIO).to_le_bytes(), &number].concat();
    scatter(ram, &chain.writable, 0, &header) as u32
}

impl Handler for Server {
    type Work = ();
    /// The bytes that were written for the driver; `None` for a request whose thread panicked.
    type Outcome = Option<u32>;

    fn turn(&self, ram: &Ram, chain: &Chain, _done: u64, _most: u64) -> Result<Progress, Broken> {
        let written = serve_chain(self, ram, chain);
        Ok(Progress::Finished { moved: total(&chain.readable) + u64::from(written), written })
    }

    fn accept(&self, _ram: &Ram, _chain: &Chain) -> Result<(), Broken> {
        Ok(())
    }

    /// A request is never half done, nor done twice: none is stopped.
    fn perform(&self, ram: &Ram, chain: &Chain, _work: &(), _stop: &AtomicBool) -> Option<Option<u32>> {
        Some(Some(serve_chain(self, ram, chain)))
    }

    fn failed(&self) -> Option<u32> {
        None
    }

    fn end(&self, ram: &Ram, chain: &Chain, written: &Option<u32>) -> Result<u32, Broken> {
        Ok(written.unwrap_or_else(|| fail(ram, chain)))
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
        self.requests.count()
    }

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; LONGEST_TAG];
        config[..self.tag.len()].copy_from_slice(self.tag.as_bytes());
        config.extend(((self.requests.count() - BEFORE_REQUESTS) as u32).to_le_bytes());
        config
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        self.requests.serve(index, queue, ram)
    }

    fn quiesce(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        self.requests.quiesce(index, queue, ram)
    }

    fn stopped(&mut self, index: usize) {
        self.requests.forget(index);
    }

    fn reset(&mut self) {
        self.requests.forget_all();
        self.requests.handler.reset();
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(V1 { tag: self.tag.clone(), session: self.requests.handler.save() }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { tag, session }) = state::load(state)?;
        if tag != self.tag {
            return Err(Saved::mismatch(format!("its name is '{tag}', but here it is '{}'", self.tag)));
        }
        self.requests.forget_all();
        self.requests.handler.load(&session)
    }
}
