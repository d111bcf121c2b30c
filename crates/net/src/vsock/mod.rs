//! The host's end of a guest's socket device: Unix sockets in place of the guest's ports.
//!
//! A process of the host connects to the socket PATH, writes `CONNECT <port>\n`, and is answered `OK <port of the host>\n`
//! when a program of the guest has accepted; what follows belongs to the connection. A connection that is closed without
//! that answer was refused. A program of the guest that connects to port P of the host (context ID 2) reaches the process
//! that listens on the socket `PATH_P`. Firecracker has the same protocol.
//!
//! This process itself connects without a name, by a [`Dialer`].
//!
//! One thread serves all connections. [`greeting`] reads the first line, [`client`] moves bytes between one socket and its
//! stream, [`server`] has all of them.

mod client;
mod greeting;
mod server;

use server::Server;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use trine_base::vsock::HostEnd;

/// Makes connections of this process.
#[derive(Clone)]
pub struct Dialer {
    /// The other ends of connections that the thread does not know yet; `None` when it has ended.
    queue: Arc<Mutex<Option<Vec<UnixStream>>>>,
    waker: Arc<mio::Waker>,
}

impl Dialer {
    /// A connection, which begins with `CONNECT`, as one by the socket PATH does.
    ///
    /// # Errors
    /// The host has no descriptor for it, or the thread has ended.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (own, theirs) = UnixStream::pair()?;
        self.queue().as_mut().ok_or(io::ErrorKind::NotConnected)?.push(theirs);
        self.waker.wake()?;
        Ok(own)
    }

    fn queue(&self) -> MutexGuard<'_, Option<Vec<UnixStream>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<UnixStream> {
        self.queue().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// The thread with the sockets. When this is dropped, the thread ends, and with it all connections.
pub struct VsockHost {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    dialer: Dialer,
}

impl VsockHost {
    /// Serves `end` by a listener that is bound to PATH already, and PATH, by which the sockets `PATH_P` are found. Without,
    /// only this process reaches the guest, and the guest nobody.
    ///
    /// # Errors
    /// The host has no thread or descriptor for it.
    pub fn new(at: Option<(UnixListener, PathBuf)>, end: HostEnd) -> io::Result<VsockHost> {
        let mut server = Server::new(at, end)?;
        let (dialer, stop) = (server.dialer(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let run = move || {
            crate::block_signals();
            while !stopped.load(Ordering::SeqCst) {
                server.turn();
            }
        };
        let thread = std::thread::Builder::new().name("vsock".into()).spawn(run)?;
        Ok(VsockHost { thread: Some(thread), stop, dialer })
    }

    /// What makes connections of this process.
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }
}

impl Drop for VsockHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Fails only where the thread's descriptors are gone, and it with them.
        let _ = self.dialer.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        *self.dialer.queue() = None;
    }
}

#[cfg(test)]
mod tests;
