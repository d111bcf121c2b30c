//! A proxy for a registry, with a given speed, which counts bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The proxy; it ends with its last connection.
pub struct Proxy {
    /// `127.0.0.1:PORT`.
    pub host: String,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

/// Copies until one side ends, with `pause` after each piece.
fn copy(mut from: TcpStream, mut to: TcpStream, pause: Duration, count: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        count.fetch_add(n as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

impl Proxy {
    /// Starts a proxy for this registry, with `pause` after each 64 KiB from it.
    pub fn before(registry: &str, pause: Duration) -> Result<Proxy, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(super::text)?;
        let host = listener.local_addr().map_err(super::text)?.to_string();
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end, registry) = (sent.clone(), ended.clone(), registry.to_string());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&registry)) else { break };
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { break };
                let count = count.clone();
                std::thread::spawn(move || copy(server2, client2, pause, &count));
                std::thread::spawn(move || copy(client, server, Duration::ZERO, &AtomicU64::new(0)));
            }
        });
        Ok(Proxy { host, sent, ended })
    }

    /// Bytes that the registry sent through it so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.host));
    }
}
