//! Streams between a guest's socket device (virtio-vsock) and processes of the host.
//!
//! [`streams`] makes the two ends that share them: a [`GuestEnd`] for the device, and a [`HostEnd`] for the thread that has
//! the host's sockets. Everything waits in a buffer of the stream, at most [`BUFFER`] bytes in each direction, so that a side
//! which does not read stops the other one. No call waits: the lock is held while bytes are copied, and never during a
//! system call.

use crate::Waker;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of a stream that wait in one direction.
pub const BUFFER: u32 = 128 << 10;
/// The most streams, with those that only wait for one of the ends to let them go.
pub const MOST: usize = 256;
/// The ports of the host that connections from the host come from: from here on, as many again.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// A stream. The number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

/// The ports of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The host's.
    pub host: u32,
    /// The guest's.
    pub guest: u32,
}

/// What an end sees of a stream: what the other end has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Its ports.
    pub ports: Ports,
    /// Whether the host asked for it; otherwise the guest did.
    pub by_host: bool,
    /// Whether the side that was asked has accepted it.
    pub accepted: bool,
    /// Bytes from the other end that wait here.
    pub waiting: u32,
    /// All bytes that the other end's reader has taken, modulo 2³².
    pub taken: u32,
    /// Whether the other end sends nothing more besides what waits.
    pub ended: bool,
    /// Whether the other end takes nothing more.
    pub stopped: bool,
    /// Whether the other end has closed it.
    pub closed: bool,
}

/// One direction of a stream, with what its sender and its reader have done.
#[derive(Default)]
struct Direction {
    waiting: VecDeque<u8>,
    /// Bytes that were sent and that the reader has not taken yet. They may have left `waiting` already.
    pending: u32,
    /// All bytes that the reader has taken, modulo 2³².
    taken: u32,
    /// The sender sends nothing more.
    ended: bool,
    /// The reader takes nothing more.
    stopped: bool,
    /// The sender is not interested any more.
    closed: bool,
}

impl Direction {
    /// Adds bytes; returns false where there is no room for all of them. Bytes that nobody reads any more count as taken.
    fn send(&mut self, bytes: &[u8]) -> bool {
        let len = match u32::try_from(bytes.len()) {
            Ok(len) if len <= self.room() && !self.ended => len,
            _ => return false,
        };
        if self.stopped {
            self.taken = self.taken.wrapping_add(len);
        } else {
            self.waiting.extend(bytes);
            self.pending += len;
        }
        true
    }

    fn room(&self) -> u32 {
        BUFFER - self.pending
    }

    fn take(&mut self, count: u32) {
        let count = count.min(self.pending);
        self.pending -= count;
        self.taken = self.taken.wrapping_add(count);
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.waiting = VecDeque::new();
        self.take(self.pending);
    }

    fn close(&mut self) {
        (self.ended, self.closed) = (true, true);
    }
}

/// A stream: what the guest sends, and what the host sends.
struct Stream {
    ports: Ports,
    by_host: bool,
    accepted: bool,
    guest: Direction,
    host: Direction,
    /// Whether the guest's end, and the host's, has this stream among its news.
    news: [bool; 2],
}

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Guest = 0,
    Host = 1,
}

impl End {
    fn other(self) -> End {
        match self {
            End::Guest => End::Host,
            End::Host => End::Guest,
        }
    }
}

impl Stream {
    /// The direction in which an end sends.
    fn from(&mut self, end: End) -> &mut Direction {
        match end {
            End::Guest => &mut self.guest,
            End::Host => &mut self.host,
        }
    }

    /// What an end sees.
    fn view(&self, end: End) -> View {
        let (own, others) = match end {
            End::Guest => (&self.guest, &self.host),
            End::Host => (&self.host, &self.guest),
        };
        View {
            ports: self.ports,
            by_host: self.by_host,
            accepted: self.accepted,
            waiting: others.waiting.len() as u32,
            taken: own.taken,
            ended: others.ended,
            stopped: own.stopped,
            closed: others.closed,
        }
    }
}

/// What wakes the host's thread.
type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    streams: HashMap<StreamId, Stream>,
    last: u64,
    last_port: u32,
    /// The streams with changes that an end has not looked at, by [`End`].
    news: [VecDeque<StreamId>; 2],
    /// Which ends are to be woken, by [`End`].
    wakes: [bool; 2],
    device: Waker,
    host: Option<Wake>,
}

impl State {
    /// Tells an end that a stream has changed.
    fn tell(&mut self, end: End, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.news[end as usize], true) {
            return;
        }
        let news = &mut self.news[end as usize];
        news.push_back(id);
        // An end looks at all that is new, so it is awake already where this is not the first.
        self.wakes[end as usize] |= news.len() == 1;
    }

    fn open(&mut self, ports: Ports, by_host: bool) -> Option<StreamId> {
        if self.streams.len() >= MOST {
            return None;
        }
        self.last += 1;
        let id = StreamId(self.last);
        let (guest, host) = Default::default();
        let stream = Stream { ports, by_host, accepted: false, guest, host, news: [false; 2] };
        self.streams.insert(id, stream);
        self.tell(if by_host { End::Guest } else { End::Host }, id);
        Some(id)
    }

    /// A port of the host that no stream uses.
    fn free_port(&mut self) -> u32 {
        loop {
            self.last_port = (self.last_port + 1) % FIRST_HOST_PORT;
            let port = FIRST_HOST_PORT + self.last_port;
            // There are far more ports than streams.
            if self.streams.values().all(|stream| stream.ports.host != port) {
                return port;
            }
        }
    }

    fn next(&mut self, end: End) -> Option<(StreamId, View)> {
        while let Some(id) = self.news[end as usize].pop_front() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.news[end as usize] = false;
                return Some((id, stream.view(end)));
            }
        }
        None
    }

    /// Changes a stream as `end` wishes, and tells the other end.
    fn change<R: Default>(&mut self, end: End, id: StreamId, change: impl FnOnce(&mut Stream) -> R) -> R {
        let Some(stream) = self.streams.get_mut(&id) else { return R::default() };
        let result = change(stream);
        self.tell(end.other(), id);
        result
    }

    fn close(&mut self, end: End, id: StreamId) {
        self.change(end, id, |stream| {
            stream.from(end.other()).stop();
            stream.from(end).close();
        });
        if self.streams.get(&id).is_some_and(|stream| stream.guest.closed && stream.host.closed) {
            self.streams.remove(&id);
        }
    }

    fn close_all(&mut self, end: End) {
        let all: Vec<StreamId> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|id| self.close(end, id));
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// Has `act` look at the state or change it, then wakes whom that concerns. Nobody is woken under the lock: it may be this
    /// call that drops the last reference to a machine, and with it the other end.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let [device, host] = std::mem::take(&mut state.wakes);
        let device = device.then(|| state.device.clone());
        let host = if host { state.host.clone() } else { None };
        drop(state);
        device.iter().for_each(Waker::wake);
        host.iter().for_each(|wake| wake());
        result
    }
}

/// Makes both ends of the streams of one device.
pub fn streams() -> (GuestEnd, HostEnd) {
    let shared = Shared::default();
    (GuestEnd(shared.clone()), HostEnd(shared))
}

/// The end of a socket device. What is called for a stream that does not exist, or no longer, has no effect.
pub struct GuestEnd(Shared);

impl GuestEnd {
    /// Has the device woken when there is something for [`GuestEnd::news`].
    pub fn set_waker(&self, waker: Waker) {
        self.0.with(|state| state.device = waker);
    }

    /// The next stream that the host's end has changed, or has opened. Each is told once, as it is now.
    pub fn news(&self) -> Option<(StreamId, View)> {
        self.0.with(|state| state.next(End::Guest))
    }

    /// The guest asks for a connection; `None` where there are too many streams.
    pub fn connect(&self, ports: Ports) -> Option<StreamId> {
        self.0.with(|state| state.open(ports, false))
    }

    /// The guest has accepted a stream.
    pub fn accept(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Guest, id, |stream| stream.accepted = true));
    }

    /// Sends bytes to the host; returns false, and sends nothing, where they are more than there is room for, or come after
    /// the end.
    pub fn send(&self, id: StreamId, bytes: &[u8]) -> bool {
        self.0.with(|state| {
            let sent = state.change(End::Guest, id, |stream| stream.guest.send(bytes));
            // They count as taken, which this end is told as always.
            if state.streams.get(&id).is_some_and(|stream| stream.guest.stopped) {
                state.tell(End::Guest, id);
            }
            sent
        })
    }

    /// Takes up to `most` bytes that wait for the guest, in place of what `bytes` contains.
    pub fn receive(&self, id: StreamId, most: usize, bytes: &mut Vec<u8>) {
        bytes.clear();
        let take = |stream: &mut Stream| {
            let waiting = &mut stream.host.waiting;
            bytes.extend(waiting.drain(..most.min(waiting.len())));
            stream.host.take(bytes.len() as u32);
        };
        self.0.with(|state| state.change(End::Guest, id, take));
    }

    /// The guest sends nothing more.
    pub fn end(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Guest, id, |stream| stream.guest.ended = true));
    }

    /// The guest takes nothing more; what waits for it is dropped.
    pub fn stop(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Guest, id, |stream| stream.host.stop()));
    }

    /// The guest's side is gone. What it has sent still reaches the host.
    pub fn close(&self, id: StreamId) {
        self.0.with(|state| state.close(End::Guest, id));
    }

    /// Closes all streams: the guest does not know of them any more.
    pub fn reset(&self) {
        self.0.with(|state| state.close_all(End::Guest));
    }
}

/// Without its device, a stream is closed.
impl Drop for GuestEnd {
    fn drop(&mut self) {
        self.reset();
    }
}

/// The end of the thread with the host's sockets. What is called for a stream that does not exist, or no longer, has no effect.
pub struct HostEnd(Shared);

impl HostEnd {
    /// Has `wake` called when there is something for [`HostEnd::news`]. It must not wait.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.0.with(|state| state.host = Some(Arc::new(wake)));
    }

    /// The next stream that the guest's end has changed, or has opened. Each is told once, as it is now.
    pub fn news(&self) -> Option<(StreamId, View)> {
        self.0.with(|state| state.next(End::Host))
    }

    /// A process of the host asks for a connection to a port of the guest; `None` where there are too many streams. Also
    /// returns the port of the host.
    pub fn connect(&self, guest: u32) -> Option<(StreamId, u32)> {
        self.0.with(|state| {
            let host = state.free_port();
            state.open(Ports { host, guest }, true).map(|id| (id, host))
        })
    }

    /// A process of the host has accepted a stream.
    pub fn accept(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Host, id, |stream| stream.accepted = true));
    }

    /// How many bytes may be sent to the guest.
    pub fn room(&self, id: StreamId) -> u32 {
        self.0.with(|state| {
            let open = state.streams.get(&id).filter(|stream| !stream.host.stopped);
            open.map_or(0, |stream| stream.host.room())
        })
    }

    /// Sends bytes to the guest; returns false, and sends nothing, where they are more than there is room for, or come after
    /// the end.
    pub fn send(&self, id: StreamId, bytes: &[u8]) -> bool {
        self.0.with(|state| state.change(End::Host, id, |stream| stream.host.send(bytes)))
    }

    /// Takes out all bytes that wait for the host, in place of what `bytes` contains. They keep their room until
    /// [`HostEnd::taken`].
    pub fn receive(&self, id: StreamId, bytes: &mut VecDeque<u8>) {
        bytes.clear();
        self.0.with(|state| {
            if let Some(stream) = state.streams.get_mut(&id) {
                std::mem::swap(&mut stream.guest.waiting, bytes);
            }
        });
    }

    /// The host's process has got so many of the bytes that were received.
    pub fn taken(&self, id: StreamId, count: u32) {
        self.0.with(|state| state.change(End::Host, id, |stream| stream.guest.take(count)));
    }

    /// The host's process sends nothing more.
    pub fn end(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Host, id, |stream| stream.host.ended = true));
    }

    /// The host's process takes nothing more; what waits for it is dropped.
    pub fn stop(&self, id: StreamId) {
        self.0.with(|state| state.change(End::Host, id, |stream| stream.guest.stop()));
    }

    /// The host's side is gone. What it has sent still reaches the guest.
    pub fn close(&self, id: StreamId) {
        self.0.with(|state| state.close(End::Host, id));
    }
}

/// Without its thread, all streams are closed.
impl Drop for HostEnd {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.host = None;
            state.close_all(End::Host);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn open() -> (GuestEnd, HostEnd, StreamId) {
        let (guest, host) = streams();
        let id = guest.connect(Ports { host: 22, guest: 1000 }).unwrap();
        host.accept(id);
        (guest, host, id)
    }

    #[test]
    fn bytes_go_both_ways_and_each_side_is_told_once() {
        let (guest, host, id) = open();
        let view = guest.news().unwrap();
        assert_eq!((view.0, view.1.accepted, view.1.by_host), (id, true, false));
        assert!(guest.send(id, b"one") && guest.send(id, b"two"));
        let (_, view) = host.news().unwrap();
        assert_eq!((view.waiting, view.ports, host.news()), (6, Ports { host: 22, guest: 1000 }, None));
        let mut bytes = VecDeque::new();
        host.receive(id, &mut bytes);
        assert_eq!(bytes, b"onetwo");
        assert_eq!(guest.news(), None, "nothing is taken yet");
        host.taken(id, 4);
        assert_eq!(guest.news().unwrap().1.taken, 4);
        assert!(host.send(id, b"answer"));
        let mut got = Vec::new();
        guest.receive(id, 4, &mut got);
        assert_eq!((got.as_slice(), guest.news().unwrap().1.waiting), (b"answ".as_slice(), 2));
    }

    #[test]
    fn no_side_may_send_more_than_there_is_room_for() {
        let (guest, host, id) = open();
        assert!(guest.send(id, &vec![1; BUFFER as usize]));
        assert!(!guest.send(id, &[1]));
        let mut bytes = VecDeque::new();
        host.receive(id, &mut bytes);
        assert!(!guest.send(id, &[1]), "received is not taken");
        host.taken(id, u32::MAX);
        assert!(guest.send(id, &vec![1; BUFFER as usize]));
        assert_eq!(guest.news().unwrap().1.taken, BUFFER);
        assert!(host.send(id, &vec![1; BUFFER as usize]) && !host.send(id, &[1]));
        assert_eq!(host.room(id), 0);
        guest.receive(id, 10, &mut Vec::new());
        assert_eq!(host.room(id), 10);
    }

    #[test]
    fn what_was_sent_before_a_close_arrives() {
        let (guest, host, id) = open();
        assert!(guest.send(id, b"last") && host.send(id, b"lost"));
        guest.close(id);
        let (_, view) = host.news().unwrap();
        assert_eq!((view.closed, view.ended, view.stopped, view.waiting), (true, true, true, 4));
        assert!(host.send(id, b"x"), "nobody reads that");
        let mut bytes = VecDeque::new();
        host.receive(id, &mut bytes);
        host.close(id);
        assert_eq!((bytes.len(), host.news(), host.room(id)), (4, None, 0));
        assert!(!guest.send(id, b"x"), "it does not exist any more");
    }

    #[test]
    fn bytes_that_nobody_takes_count_as_taken() {
        let (guest, host, id) = open();
        assert!(guest.send(id, b"123"));
        host.stop(id);
        assert!(guest.send(id, b"45"));
        let (_, view) = guest.news().unwrap();
        assert_eq!((view.taken, view.stopped), (5, true));
        guest.end(id);
        assert!(!guest.send(id, b"6"), "behind its end");
    }

    #[test]
    fn there_are_so_many_streams_and_no_more() {
        let (guest, host) = streams();
        let all: Vec<_> = (0..MOST).map(|_| host.connect(7).unwrap()).collect();
        assert!(host.connect(7).is_none() && guest.connect(Ports { host: 1, guest: 1 }).is_none());
        assert_eq!((all[0].1, all[MOST - 1].1), (FIRST_HOST_PORT + 1, FIRST_HOST_PORT + MOST as u32));
        guest.reset();
        assert!(host.connect(7).is_none(), "the host has not let go of them");
        std::iter::from_fn(|| host.news()).for_each(|(id, view)| {
            assert!(view.closed && !view.accepted);
            host.close(id);
        });
        assert!(host.connect(7).is_some());
        drop(host);
        assert!(guest.news().unwrap().1.closed);
    }

    #[test]
    fn the_host_is_woken_when_there_is_news_again() {
        let (guest, host, id) = open();
        while host.news().is_some() {}
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        host.set_waker(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        (0..3).for_each(|_| assert!(guest.send(id, b"x")));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(host.news().is_some());
        assert!(guest.send(id, b"x"));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
