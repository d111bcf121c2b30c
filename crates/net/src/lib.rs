//! A machine's user-mode network: the guest reaches the outside through ordinary sockets of this process, without any
//! privilege.
//!
//! The guest sees a router with DHCP, DNS and IPv6 router advertisements on an Ethernet segment of its own. Its TCP
//! connections end here and are spliced to sockets of the host; its datagrams and echo requests go through sockets, too.
//! [`UserNetwork`] is the end of the cable for the network device. One thread serves everything else.
//!
//! [`TapNetwork`] and [`StreamNetwork`] are other networks for the same device: a port of a private network of the host's, and
//! another program.

mod checksum;
mod config;
mod context;
mod dhcp;
mod dns;
mod forward;
mod fragments;
mod hosts;
mod icmp;
mod link;
mod name_servers;
mod ndp;
mod network;
mod queue;
mod reach;
mod stats;
mod stream;
mod tap;
mod tcp;
mod udp;
pub mod vsock;
mod watch;

pub use config::{Config, Resolvers};
pub use forward::{Forward, Protocol};
pub use smoltcp::wire::EthernetAddress;
pub use stats::Stats;
pub use stream::StreamNetwork;
pub use tap::TapNetwork;

use forward::Listener;
use network::Network;
use queue::Queue;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use trine_base::{NetBackend, Offloads, Partial, Waker};

/// Why there is no network, or no port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("the network cannot be made: {0}")]
    Config(String),
    /// A port of the host is taken, or may not be listened on.
    #[error("cannot listen on {protocol} {address}: {source}")]
    Listen {
        /// The protocol.
        protocol: Protocol,
        /// The address and port.
        address: SocketAddr,
        /// The host's reason.
        source: io::Error,
    },
    /// The host has no thread or descriptor for it.
    #[error("cannot start the network: {0}")]
    Start(io::Error),
}

/// Reaches a network that a device owns: for a monitor.
#[derive(Clone)]
pub struct Handle {
    queue: Arc<Queue>,
    forwards: Arc<Mutex<Vec<Forward>>>,
}

impl Handle {
    /// What the network has done, and what is there now.
    pub fn stats(&self) -> Stats {
        let state = self.queue.lock();
        Stats { overrun_from_guest: state.overrun, ..state.stats }
    }

    /// The ports that lead to the guest, with those numbers that the host chose.
    pub fn forwards(&self) -> Vec<Forward> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a port that leads to the guest, and returns it with its number.
    pub fn forward(&self, forward: Forward) -> Result<Forward, Error> {
        let listener = Listener::open(forward)?;
        let forward = listener.forward;
        let mut state = self.queue.lock();
        state.listeners.push(listener);
        self.queue.wake(state);
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).push(forward);
        Ok(forward)
    }
}

/// Who does the work.
enum Worker {
    Thread(Option<JoinHandle<()>>),
    /// The caller: see [`UserNetwork::without_thread`].
    Caller(Box<Network>),
}

/// A user-mode network, as its device sees it.
pub struct UserNetwork {
    worker: Worker,
    handle: Handle,
    mtu: u16,
}

impl UserNetwork {
    /// Makes a network and its thread. All ports are listened on when this returns.
    pub fn new(config: Config) -> Result<UserNetwork, Error> {
        let mtu = config.mtu;
        let (mut network, handle) = open(config)?;
        let thread = std::thread::Builder::new()
            .name("user-network".into())
            .spawn(move || {
                block_signals();
                while network.turn(true) {}
            })
            .map_err(Error::Start)?;
        Ok(UserNetwork { worker: Worker::Thread(Some(thread)), handle, mtu })
    }

    /// Makes a network that works only while [`NetBackend::send`] and [`NetBackend::receive`] run, so that the same calls
    /// have the same effects. For fuzzing and tests.
    pub fn without_thread(config: Config) -> Result<UserNetwork, Error> {
        let mtu = config.mtu;
        let (network, handle) = open(config)?;
        Ok(UserNetwork { worker: Worker::Caller(Box::new(network)), handle, mtu })
    }

    /// A handle for a monitor.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn work(&mut self) {
        if let Worker::Caller(network) = &mut self.worker {
            network.turn(false);
        }
    }
}

/// Leaves signals to other threads: their handlers are not made for this one. SIGSYS is not another thread's: with it the
/// kernel refuses a system call of this one, and would end the process where it is blocked.
fn block_signals() {
    // SAFETY: changes this thread's mask, from a set that is made full first.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigdelset(&raw mut all, libc::SIGSYS);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

fn open(config: Config) -> Result<(Network, Handle), Error> {
    config.check()?;
    let listeners: Vec<Listener> =
        config.forwards.iter().map(|&f| Listener::open(f)).collect::<Result<_, _>>()?;
    let forwards = listeners.iter().map(|l| l.forward).collect();
    let (network, queue) = Network::new(config, listeners).map_err(Error::Start)?;
    queue.lock().device_waits = true;
    Ok((network, Handle { queue, forwards: Arc::new(Mutex::new(forwards)) }))
}

impl NetBackend for UserNetwork {
    fn set_waker(&mut self, waker: Waker) {
        let mut state = self.handle.queue.lock();
        state.waker = waker;
        state.device_waits = true;
    }

    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: true }
    }

    fn set_gives(&mut self, gives: Offloads) {
        self.handle.queue.lock().gives = gives;
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn is_up(&self) -> bool {
        true
    }

    fn send(&mut self, frame: &[u8], partial: Partial) {
        self.handle.queue.send(frame, partial);
        self.work();
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        self.work();
        self.handle.queue.receive(frame)
    }

    fn reset(&mut self) {
        let mut state = self.handle.queue.lock();
        state.reset = true;
        state.from_guest = Default::default();
        state.to_guest = Default::default();
        self.handle.queue.wake(state);
        self.work();
    }
}

impl Drop for UserNetwork {
    fn drop(&mut self) {
        let mut state = self.handle.queue.lock();
        state.stop = true;
        self.handle.queue.wake(state);
        if let Worker::Thread(thread) = &mut self.worker
            && let Some(thread) = thread.take()
        {
            // A turn is bounded, so this is soon; afterwards no port is listened on.
            let _ = thread.join();
        }
    }
}
