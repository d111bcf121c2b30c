//! The host's end of a guest's socket device: Unix sockets in place of the guest's ports.
//!
//! A process of the host connects to the socket PATH, writes `CONNECT <port>\n`, and is answered `OK <port of the host>\n`
//! when a program of the guest has accepted; what follows belongs to the connection. A connection that is closed without
//! that answer was refused. A program of the guest that connects to port P of the host (context ID 2) reaches the process
//! that listens on the socket `PATH_P`. Firecracker has the same protocol.
//!
//! One thread serves all connections. [`greeting`] reads the first line, [`client`] moves bytes between one socket and its
//! stream, [`server`] has all of them.

mod client;
mod greeting;
mod server;

use server::Server;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use trine_base::vsock::HostEnd;

/// The thread with the sockets. When this is dropped, the thread ends, and with it all connections.
pub struct VsockHost {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
}

impl VsockHost {
    /// Serves `end` by `listener`, which is bound to PATH already; `path` is PATH, by which the sockets `PATH_P` are found.
    ///
    /// # Errors
    /// The host has no thread or descriptor for it.
    pub fn new(listener: UnixListener, path: PathBuf, end: HostEnd) -> io::Result<VsockHost> {
        let mut server = Server::new(listener, path, end)?;
        let (waker, stop) = (server.waker(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let run = move || {
            crate::block_signals();
            while !stopped.load(Ordering::SeqCst) {
                server.turn();
            }
        };
        let thread = std::thread::Builder::new().name("vsock".into()).spawn(run)?;
        Ok(VsockHost { thread: Some(thread), stop, waker })
    }
}

impl Drop for VsockHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Fails only where the thread's descriptors are gone, and it with them.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
