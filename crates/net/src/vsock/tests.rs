//! With real sockets: the test is the guest, by the end that the device has.

use super::*;
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use trine_base::vsock::{BUFFER, GuestEnd, MOST, Ports, StreamId, View, streams};

/// How long something may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    guest: GuestEnd,
    host: Option<VsockHost>,
    dir: PathBuf,
    /// The newest connection that [`Rig::connection`] has made.
    last: Cell<Option<StreamId>>,
}

impl Rig {
    fn new(test: &str) -> Rig {
        let dir = std::env::temp_dir().join(format!("trine-vsock-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let (guest, host) = streams();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        let host = VsockHost::new(Some((listener, dir.join("s"))), host).unwrap();
        Rig { guest, host: Some(host), dir, last: Cell::new(None) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// Connects a process, which sends `text`.
    fn process(&self, text: &str) -> UnixStream {
        connect(&self.path(), text)
    }

    /// Waits until the host's end has done something with a stream for which `done` holds.
    fn until(&self, mut done: impl FnMut(StreamId, &View) -> bool) -> (StreamId, View) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.guest.news() {
                Some((id, view)) if done(id, &view) => return (id, view),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        panic!("the host does nothing");
    }

    /// Connects this process, which sends `text`.
    fn dial(&self, text: &str) -> UnixStream {
        let mut own = self.host.as_ref().unwrap().dialer().connect().unwrap();
        own.set_read_timeout(Some(PATIENCE)).unwrap();
        own.write_all(text.as_bytes()).unwrap();
        own
    }

    /// A connection of a process with port 22 of the guest.
    fn connection(&self) -> (UnixStream, StreamId) {
        let mut process = self.process("CONNECT 22\n");
        // Others may have news, too.
        let (id, view) = self.until(|id, _| Some(id) > self.last.get());
        self.last.set(Some(id));
        self.guest.accept(id);
        assert_eq!(line(&mut process), format!("OK {}\n", view.ports.host));
        (process, id)
    }

    /// Receives `count` bytes as the guest.
    fn receive(&self, id: StreamId, count: usize) -> Vec<u8> {
        let (mut all, mut piece, end) = (Vec::new(), Vec::new(), Instant::now() + PATIENCE);
        while all.len() < count {
            assert!(Instant::now() < end, "{} of {count} bytes", all.len());
            self.guest.receive(id, count, &mut piece);
            all.append(&mut piece);
        }
        all
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.host.take());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn connect(path: &Path, text: &str) -> UnixStream {
    let mut process = UnixStream::connect(path).unwrap();
    process.set_read_timeout(Some(PATIENCE)).unwrap();
    process.write_all(text.as_bytes()).unwrap();
    process
}

fn line(process: &mut UnixStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.last() != Some(&b'\n') {
        process.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Whether the process reads the end.
fn is_closed(process: &mut UnixStream) -> bool {
    match process.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_process_reaches_a_port_of_the_guest() {
    let rig = Rig::new("reach");
    let mut process = rig.process("CONNECT 22\nat once");
    let (id, view) = rig.until(|_, view| view.by_host);
    assert_eq!((view.ports.guest, view.waiting), (22, 7));
    rig.guest.accept(id);
    assert_eq!(line(&mut process), format!("OK {}\n", view.ports.host));
    process.write_all(b", and later").unwrap();
    assert_eq!(rig.receive(id, 18), b"at once, and later");
    assert!(rig.guest.send(id, b"hello\n"));
    assert_eq!(line(&mut process), "hello\n");
    assert_eq!(rig.until(|_, view| view.taken == 6).1.taken, 6, "the answer of our own does not count");
    drop(process);
    let (_, view) = rig.until(|_, view| view.closed);
    assert!(view.ended && view.stopped);
}

#[test]
fn a_port_that_refuses_closes_the_socket() {
    let rig = Rig::new("refuse");
    let mut process = rig.process("CONNECT 23\n");
    let (id, _) = rig.until(|_, view| view.by_host);
    rig.guest.close(id);
    assert!(is_closed(&mut process));
    for wrong in ["CONNECT\n", "GET / HTTP/1.1\r\n\r\n", &"x".repeat(100)] {
        assert!(is_closed(&mut rig.process(wrong)), "{wrong:?}");
    }
    assert!(rig.guest.news().is_none_or(|(_, view)| view.closed));
}

#[test]
fn a_process_that_goes_before_the_guest_answers_is_forgotten() {
    let rig = Rig::new("goes");
    let process = rig.process("CONNECT 22\n");
    let (id, _) = rig.until(|_, view| view.by_host);
    drop(process);
    rig.until(|gone, view| gone == id && view.closed && !view.accepted);
}

#[test]
fn the_guest_reaches_a_process() {
    let rig = Rig::new("process");
    let listener = UnixListener::bind(rig.dir.join("s_700")).unwrap();
    let id = rig.guest.connect(Ports { host: 700, guest: 1 }).unwrap();
    let (_, view) = rig.until(|told, _| told == id);
    assert!(view.accepted && !view.closed);
    let (mut process, _) = listener.accept().unwrap();
    assert!(rig.guest.send(id, b"question\n"));
    assert_eq!(line(&mut process), "question\n");
    process.write_all(b"answer").unwrap();
    assert_eq!(rig.receive(id, 6), b"answer");
    let refused = rig.guest.connect(Ports { host: 701, guest: 1 }).unwrap();
    let (_, view) = rig.until(|told, view| told == refused && view.closed);
    assert!(!view.accepted, "nobody listens there");
}

#[test]
fn each_direction_ends_by_itself() {
    let rig = Rig::new("half");
    let (mut process, id) = rig.connection();
    process.write_all(b"all").unwrap();
    process.shutdown(Shutdown::Write).unwrap();
    let (_, view) = rig.until(|_, view| view.ended);
    assert!(!view.closed && !view.stopped);
    assert_eq!(rig.receive(id, 3), b"all");
    assert!(rig.guest.send(id, b"still\n"));
    assert_eq!(line(&mut process), "still\n");
    rig.guest.end(id);
    assert!(is_closed(&mut process));
    rig.until(|_, view| view.closed);
    // The other way round: the guest ends first.
    let (mut process, id) = rig.connection();
    rig.guest.end(id);
    assert!(is_closed(&mut process));
    process.write_all(b"late").unwrap();
    assert_eq!(rig.receive(id, 4), b"late");
    assert!(rig.guest.news().is_none_or(|(_, view)| !view.closed));
}

#[test]
fn a_process_notices_that_the_guest_does_not_read_any_more() {
    let rig = Rig::new("notice");
    let (mut process, id) = rig.connection();
    rig.guest.stop(id);
    let end = Instant::now() + PATIENCE;
    while process.write_all(b"x").is_ok() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(rig.guest.send(id, b"still\n"));
    assert_eq!(line(&mut process), "still\n");
}

#[test]
fn what_the_guest_sent_before_it_closed_is_read() {
    let rig = Rig::new("drain");
    let (mut process, id) = rig.connection();
    let sent: Vec<u8> = (0..BUFFER).map(|n| (n % 251) as u8).collect();
    assert!(rig.guest.send(id, &sent));
    rig.guest.close(id);
    let mut all = Vec::new();
    process.read_to_end(&mut all).unwrap();
    assert!(all == sent);
}

#[test]
fn a_side_that_does_not_read_stops_the_other_one() {
    let rig = Rig::new("stop");
    let (mut process, id) = rig.connection();
    // The process does not read: its socket and the stream fill up.
    let mut sent = 0u32;
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        sent += if rig.guest.send(id, &[1; 1024]) { 1024 } else { 0 };
        std::thread::yield_now();
    }
    assert!((BUFFER..8 << 20).contains(&sent), "{sent}");
    let mut all = vec![0; sent as usize];
    process.read_exact(&mut all).unwrap();
    rig.until(|_, view| view.taken == sent);
    // The guest does not read: the process cannot write any more.
    process.set_nonblocking(true).unwrap();
    let mut written = 0;
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        match process.write(&[2; 1024]) {
            Ok(count) => written += count,
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!((BUFFER as usize..8 << 20).contains(&written), "{written}");
    assert_eq!(rig.receive(id, written).len(), written);
}

#[test]
fn many_connections_at_once() {
    let rig = Rig::new("many");
    let all: Vec<_> = (0..MOST).map(|_| rig.connection()).collect();
    // It may be closed before it has written anything.
    assert!(is_closed(&mut rig.process("")), "one too many");
    for (n, (process, id)) in all.iter().enumerate() {
        assert!(rig.guest.send(*id, format!("{n}\n").as_bytes()));
        assert_eq!(line(&mut process.try_clone().unwrap()), format!("{n}\n"));
    }
    rig.guest.reset();
    for (mut process, _) in all {
        assert!(is_closed(&mut process));
    }
    let (_process, _) = rig.connection();
}

#[test]
fn without_its_thread_all_is_closed() {
    let mut rig = Rig::new("end");
    let (mut process, _) = rig.connection();
    drop(rig.host.take());
    assert!(is_closed(&mut process));
    rig.until(|_, view| view.closed);
}

#[test]
fn this_process_connects_without_a_name() {
    let mut rig = Rig::new("dial");
    let mut own = rig.dial("CONNECT 1022\n");
    let (id, view) = rig.until(|_, view| view.by_host);
    assert_eq!(view.ports.guest, 1022);
    rig.guest.accept(id);
    let mut answer = [0; 3];
    own.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"OK ");
    let dialer = rig.host.as_ref().unwrap().dialer();
    rig.host = None;
    // It ends with the thread, after which there is no other.
    while own.read(&mut [0]).is_ok_and(|n| n > 0) {}
    assert!(dialer.connect().is_err());
}
