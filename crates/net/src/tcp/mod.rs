//! TCP: each connection of the guest ends here and is spliced to a socket of the host.
//!
//! Nothing is passed on but the bytes, in order: sequence numbers, windows, acknowledgements and retransmissions are
//! between the guest and us on one side, and between the host's kernel and the other end on the other side. Full
//! buffers on one side close the window on the other one.

mod buffer;
mod early;
mod flow;
mod output;
mod receiver;
mod rtt;
mod segment;
mod sender;
mod splice;

use crate::context::{Context, Kind};
use crate::icmp::Unreachable;
use buffer::Pool;
use flow::{End, Flow, Phase};
use mio::Interest;
use mio::net::TcpStream;
use segment::{Ends, Segment};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long the host's end may be silent before the kernel asks whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// All TCP connections of a network.
pub(crate) struct Tcp {
    flows: HashMap<u64, Flow>,
    numbers: HashMap<Ends, u64>,
    /// Connections that have something to do.
    work: VecDeque<u64>,
    /// When to look at deadlines, earliest first. A connection may have several entries, of which old ones do nothing.
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    /// Connections that are only remembered: the first ones make room for new ones.
    lingering: VecDeque<u64>,
    pool: Pool,
}

impl Tcp {
    /// No connections, with buffers of so many bytes in total.
    pub fn new(buffers: usize) -> Tcp {
        Tcp {
            flows: HashMap::new(),
            numbers: HashMap::new(),
            work: VecDeque::new(),
            timers: BinaryHeap::new(),
            lingering: VecDeque::new(),
            pool: Pool::new(buffers),
        }
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.flows.len()
    }

    /// Bytes of buffers in use.
    pub fn buffered(&self) -> usize {
        self.pool.used()
    }

    /// Whether [`Tcp::run`] has something to do.
    pub fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// When [`Tcp::expire`] has something to do.
    pub fn deadline(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// A packet from the guest. `whole`: its checksum is there, and is to be verified.
    pub fn input(&mut self, cx: &mut Context, source: IpAddr, target: IpAddr, bytes: &[u8], whole: bool) {
        let Some((ends, segment)) = Segment::parse(source, target, bytes, whole) else {
            cx.link.stats.malformed += 1;
            return;
        };
        let Some(&number) = self.numbers.get(&ends) else { return self.open(cx, ends, &segment) };
        let Some(flow) = self.flows.get_mut(&number) else { return };
        if flow.phase == Phase::Lingering && segment.syn {
            self.end(cx, number, End::Done);
            return self.open(cx, ends, &segment);
        }
        match flow.segment(&segment, cx, &mut self.pool) {
            Ok(()) => self.queue(number),
            Err(end) => self.end(cx, number, end),
        }
        self.arm(number);
    }

    /// A segment that belongs to no connection.
    fn open(&mut self, cx: &mut Context, ends: Ends, segment: &Segment) {
        if !segment.syn || segment.ack.is_some() {
            return segment::reset(&mut cx.link, &ends, segment);
        }
        let target = match cx.config.is_dns(ends.peer.ip()) {
            true => cx.names.tcp(ends.peer.port(), cx.now),
            false => cx.reach.target(ends.peer, cx.now),
        };
        let Some(target) = target.filter(|_| self.has_place(cx)) else {
            cx.link.stats.refused += 1;
            return segment::reset(&mut cx.link, &ends, segment);
        };
        let host = match TcpStream::connect(target) {
            Ok(host) => host,
            Err(e) => return refuse(cx, ends, segment, Unreachable::of(&e)),
        };
        let flow = Flow::connecting(ends, segment, host, initial(), &cx.config);
        self.insert(cx, ends, flow);
    }

    /// A connection from outside for a port of the guest, which sees it come from the gateway.
    pub fn accept(&mut self, cx: &mut Context, host: TcpStream, client: SocketAddr, guest: SocketAddr) {
        let gateway = match guest.ip() {
            IpAddr::V4(_) => IpAddr::V4(cx.config.gateway4),
            IpAddr::V6(_) => IpAddr::V6(cx.config.gateway6),
        };
        // The client's port, unless another client has the same one, or it is not one that a guest expects.
        let ports = std::iter::once(client.port()).chain((49_152..=65_535).rev());
        let mut ends = ports.filter(|&p| p != 0).map(|p| Ends { guest, peer: SocketAddr::new(gateway, p) });
        let free = ends.find(|e| !self.numbers.contains_key(e));
        let Some(ends) = free.filter(|_| self.has_place(cx)) else {
            let _ = socket2::SockRef::from(&host).set_linger(Some(Duration::ZERO));
            cx.link.stats.refused += 1;
            return;
        };
        let flow = Flow::calling(ends, host, initial(), cx);
        self.insert(cx, ends, flow);
    }

    /// Whether there is a place for another connection, if need be that of one that is only remembered.
    fn has_place(&mut self, cx: &mut Context) -> bool {
        while self.flows.len() >= cx.config.connections {
            let Some(oldest) = self.lingering.pop_front() else { return false };
            self.end(cx, oldest, End::Done);
        }
        true
    }

    fn insert(&mut self, cx: &mut Context, ends: Ends, mut flow: Flow) {
        let number = cx.number();
        if let Some(host) = flow.host() {
            let socket = socket2::SockRef::from(&*host);
            // Both are improvements only: a failure is no reason to refuse.
            let _ = socket.set_tcp_nodelay(true);
            let _ = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEP_ALIVE));
            let interest = Interest::READABLE | Interest::WRITABLE;
            if cx.registry.register(host, Kind::Tcp.token(number), interest).is_err() {
                return flow.close(End::ByHost, cx, &mut self.pool);
            }
        }
        cx.link.stats.tcp_opened += 1;
        self.numbers.insert(ends, number);
        self.flows.insert(number, flow);
        self.queue(number);
        self.arm(number);
    }

    /// An event of the poll set.
    pub fn event(&mut self, number: u64, event: &mio::event::Event) {
        if let Some(flow) = self.flows.get_mut(&number) {
            flow.event(event);
            self.queue(number);
        }
    }

    fn queue(&mut self, number: u64) {
        if let Some(flow) = self.flows.get_mut(&number)
            && !std::mem::replace(&mut flow.queued, true)
        {
            self.work.push_back(number);
        }
    }

    /// Has the deadline of a connection looked at when it comes. A deadline that moves back keeps its timer, which then
    /// finds it later: acknowledgements move deadlines all the time.
    fn arm(&mut self, number: u64) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        if let Some(at) = flow.deadline()
            && flow.timer.is_none_or(|timer| at < timer)
        {
            flow.timer = Some(at);
            self.timers.push(Reverse((at, number)));
        }
    }

    /// Lets each connection that has something to do go on, once.
    pub fn run(&mut self, cx: &mut Context) {
        for _ in 0..self.work.len() {
            let Some(number) = self.work.pop_front() else { return };
            let Some(flow) = self.flows.get_mut(&number) else { continue };
            flow.queued = false;
            let lingered = flow.phase == Phase::Lingering;
            match flow.run(cx, &mut self.pool) {
                Ok(again) => {
                    if flow.phase == Phase::Lingering && !lingered {
                        self.lingering.push_back(number);
                    }
                    if again {
                        self.queue(number);
                    }
                    self.arm(number);
                }
                Err(end) => self.end(cx, number, end),
            }
        }
    }

    /// Serves the deadlines that have passed.
    pub fn expire(&mut self, cx: &mut Context) {
        while let Some(&Reverse((at, number))) = self.timers.peek()
            && at <= cx.now
        {
            self.timers.pop();
            let Some(flow) = self.flows.get_mut(&number) else { continue };
            if flow.timer != Some(at) {
                continue;
            }
            flow.timer = None;
            let result = match flow.deadline() {
                Some(deadline) if deadline <= cx.now => flow.time_out(cx, &mut self.pool),
                _ => Ok(()),
            };
            match result {
                Ok(()) => self.queue(number),
                Err(end) => self.end(cx, number, end),
            }
            self.arm(number);
        }
    }

    fn end(&mut self, cx: &mut Context, number: u64, end: End) {
        if let Some(flow) = self.flows.remove(&number) {
            self.numbers.remove(&flow.ends);
            flow.close(end, cx, &mut self.pool);
        }
        // Those that ended in another way than by their place in it.
        if self.lingering.len() > 2 * self.flows.len() + 16 {
            self.lingering.retain(|n| self.flows.contains_key(n));
        }
    }

    /// Forgets all connections; those outside see a reset.
    pub fn clear(&mut self, cx: &mut Context) {
        for (_, flow) in self.flows.drain() {
            flow.close(End::ByGuest, cx, &mut self.pool);
        }
        self.numbers.clear();
        self.work.clear();
        self.timers.clear();
        self.lingering.clear();
    }
}

/// Tells the guest why there is no connection.
fn refuse(cx: &mut Context, ends: Ends, syn: &Segment, why: Option<Unreachable>) {
    let Some(why) = why else { return segment::reset(&mut cx.link, &ends, syn) };
    let mut start = [0; 8];
    start[..2].copy_from_slice(&ends.guest.port().to_be_bytes());
    start[2..4].copy_from_slice(&ends.peer.port().to_be_bytes());
    start[4..].copy_from_slice(&syn.seq.to_be_bytes());
    let protocol = smoltcp::wire::IpProtocol::Tcp;
    crate::icmp::unreachable(&mut cx.link, ends.guest, ends.peer, protocol, &start, why);
}

/// An initial sequence number that nobody can guess.
fn initial() -> u32 {
    let mut bytes = [0; 4];
    trine_base::random::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}
