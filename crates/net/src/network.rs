//! The network's thread: takes the guest's frames, serves sockets and timers, and gives frames to the device.

use crate::context::{Context, Kind, Time};
use crate::dns::Dns;
use crate::forward::{Forwards, Listener};
use crate::fragments::{Fragment, Fragments, Key};
use crate::icmp::{self, Ping};
use crate::link::ETHERNET;
use crate::queue::{Frame, Queue};
use crate::tcp::Tcp;
use crate::udp::{Datagram, Udp};
use crate::{Config, dhcp, name_servers, ndp};
use mio::{Events, Poll};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6Packet,
};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use trine_base::Partial;

/// Frames from the guest that are served before sockets get their turn.
const TURN: usize = 128;
/// How often idle flows are looked for, in nanoseconds.
const TICK: u64 = 1_000_000_000;
/// The longest datagram.
const DATAGRAM: usize = 65_536;

/// All that belongs to one network.
pub(crate) struct Network {
    poll: Poll,
    events: Events,
    queue: Arc<Queue>,
    time: Time,
    cx: Context,
    tcp: Tcp,
    udp: Udp,
    dns: Dns,
    ping: Ping,
    forwards: Forwards,
    fragments: Fragments,
    frames: Vec<Frame>,
    buffer: Vec<u8>,
    ticked: u64,
    /// When the router advertises itself again, once it was solicited.
    advertise: Option<u64>,
}

impl Network {
    /// A network, and the queue by which the device reaches it.
    pub fn new(config: Config, listeners: Vec<Listener>) -> io::Result<(Network, Arc<Queue>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Kind::Wake.token(0))?;
        let queue = Arc::new(Queue::new(waker));
        let config = Arc::new(config);
        let mut cx = Context::new(config.clone(), poll.registry().try_clone()?);
        let mut forwards = Forwards::default();
        for listener in listeners {
            forwards.add(&mut cx, listener)?;
        }
        let network = Network {
            poll,
            events: Events::with_capacity(256),
            queue: queue.clone(),
            time: Time::new(),
            cx,
            tcp: Tcp::new(config.buffers),
            udp: Udp::default(),
            dns: Dns::default(),
            ping: Ping::default(),
            forwards,
            fragments: Fragments::default(),
            frames: Vec::new(),
            buffer: vec![0; DATAGRAM],
            ticked: 0,
            advertise: None,
        };
        Ok((network, queue))
    }

    /// One turn: waits for something to do, if it may, and does a bounded amount of it. Returns whether to go on.
    pub fn turn(&mut self, may_wait: bool) -> bool {
        let wait = self.sleep(may_wait);
        // Interrupted by a signal, it finds no events, which does no harm.
        if self.poll.poll(&mut self.events, wait).is_err() {
            self.events.clear();
        }
        self.time.pass(wait);
        self.cx.now = self.time.now();
        if !self.collect() {
            return false;
        }
        let mut frames = std::mem::take(&mut self.frames);
        for (frame, partial) in &frames {
            self.frame(frame, *partial);
        }
        self.serve_events();
        self.tcp.run(&mut self.cx);
        self.tcp.expire(&mut self.cx);
        self.tick();
        self.deliver(&mut frames);
        self.frames = frames;
        true
    }

    /// Decides how long to sleep, and says so in the queue. `None`: until woken.
    fn sleep(&mut self, may_wait: bool) -> Option<Duration> {
        let now = Some(Duration::ZERO);
        let has_room = self.cx.link.has_room();
        if !may_wait || (self.tcp.has_work() && has_room) {
            return now;
        }
        let mut state = self.queue.lock();
        if state.from_guest.len() > 0 || state.reset || state.stop || !state.listeners.is_empty() {
            return now;
        }
        if self.tcp.has_work() {
            if !state.to_guest.is_full() {
                return now;
            }
            state.wants_room = true;
        }
        state.asleep = true;
        drop(state);
        let idle = self.udp.count() == 0
            && self.dns.is_empty()
            && self.ping.is_empty()
            && self.fragments.is_empty()
            && !self.forwards.wants_retry();
        let tick = (!idle).then_some(self.ticked + TICK);
        let next = [tick, self.tcp.deadline(), self.advertise].into_iter().flatten().min()?;
        // A little late rather than a little early, which would be a turn for nothing.
        Some(Duration::from_nanos(next.saturating_sub(self.cx.now)) + Duration::from_micros(50))
    }

    /// Takes what the device's side has left. Returns whether to go on.
    fn collect(&mut self) -> bool {
        let mut state = self.queue.lock();
        state.asleep = false;
        if state.stop {
            return false;
        }
        let reset = std::mem::take(&mut state.reset);
        while self.frames.len() < TURN
            && let Some(frame) = state.from_guest.pop()
        {
            self.frames.push(frame);
        }
        let link = &mut self.cx.link;
        link.gives = state.gives;
        link.waits((state.to_guest.bytes(), state.to_guest.len()), state.taken);
        std::mem::swap(&mut link.spare, &mut state.spare);
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        if reset {
            self.reset();
        }
        for listener in listeners {
            // Fails if the host is out of memory; the port then does not answer.
            let _ = self.forwards.add(&mut self.cx, listener);
        }
        true
    }

    fn reset(&mut self) {
        self.tcp.clear(&mut self.cx);
        self.udp.clear();
        self.dns.clear();
        self.ping.clear();
        self.fragments.clear();
        self.cx.link.clear();
    }

    /// Gives frames to the device, and the buffers of served ones back.
    fn deliver(&mut self, served: &mut Vec<Frame>) {
        let stats = &mut self.cx.link.stats;
        stats.tcp_now = self.tcp.count();
        stats.tcp_buffered = self.tcp.buffered();
        stats.udp_now = self.udp.count();
        let mut state = self.queue.lock();
        state.stats = *stats;
        std::mem::swap(&mut self.cx.link.spare, &mut state.spare);
        served.drain(..).for_each(|(frame, _)| state.spare.recycle(frame));
        if state.reset {
            self.cx.link.out.clear();
        }
        let any = !self.cx.link.out.is_empty();
        self.cx.link.out.drain(..).for_each(|frame| state.to_guest.push(frame));
        let waker = (any && std::mem::take(&mut state.device_waits)).then(|| state.waker.clone());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn serve_events(&mut self) {
        let (cx, buffer) = (&mut self.cx, &mut self.buffer[..]);
        for event in &self.events {
            match Kind::of(event.token()) {
                Some((Kind::Tcp, n)) => self.tcp.event(n, event),
                Some((Kind::Udp, n)) => self.udp.event(cx, n, buffer),
                Some((Kind::Dns, n)) => self.dns.event(cx, n, buffer),
                Some((Kind::Ping, n)) => self.ping.event(cx, n, buffer),
                Some((Kind::Listener, n)) => {
                    self.forwards.event(cx, n, &mut self.tcp, &mut self.udp, buffer);
                }
                Some((Kind::Wake, _)) | None => {}
            }
        }
    }

    fn tick(&mut self) {
        let now = self.cx.now;
        if self.advertise.is_some_and(|at| at <= now) {
            self.advertise = Some(now + ndp::AGAIN);
            ndp::advertise_router(&mut self.cx.link);
        }
        if now - self.ticked < TICK {
            return;
        }
        self.ticked = now;
        self.udp.expire(&mut self.cx);
        self.dns.expire(&mut self.cx);
        self.ping.expire(&mut self.cx);
        self.fragments.expire(now);
        self.forwards.retry(&self.cx);
    }

    /// A frame from the guest: anything.
    fn frame(&mut self, bytes: &[u8], partial: Partial) {
        let link = &mut self.cx.link;
        link.stats.frames_from_guest += 1;
        link.stats.bytes_from_guest += bytes.len() as u64;
        let Ok(frame) = EthernetFrame::new_checked(bytes) else { return self.malformed() };
        let (mac, to) = (frame.src_addr(), frame.dst_addr());
        let is_ours = to == link.config.mac || to.is_broadcast() || to.is_multicast();
        let too_long = bytes.len() > ETHERNET + usize::from(link.config.mtu) && partial.segments.is_none();
        if !is_ours || !mac.is_unicast() || too_long {
            return self.malformed();
        }
        let payload = &bytes[ETHERNET..];
        match frame.ethertype() {
            EthernetProtocol::Arp => link.arp(payload),
            EthernetProtocol::Ipv4 => self.ipv4(mac, payload, partial),
            EthernetProtocol::Ipv6 if link.config.ipv6 => self.ipv6(mac, payload, partial),
            _ => {}
        }
    }

    fn malformed(&mut self) {
        self.cx.link.stats.malformed += 1;
    }

    /// Whether a packet may have this source: the guest's address, which is learned, or none. Others are counted.
    fn admits(&mut self, mac: EthernetAddress, source: IpAddr) -> bool {
        let is_own = self.cx.config.is_guest(source);
        if is_own {
            self.cx.link.learn(mac, source);
        }
        let admitted = is_own || source.is_unspecified();
        self.cx.link.stats.spoofed += u64::from(!admitted);
        admitted
    }

    fn ipv4(&mut self, mac: EthernetAddress, bytes: &[u8], partial: Partial) {
        let Some(ip) =
            Ipv4Packet::new_checked(bytes).ok().filter(|p| p.version() == 4 && p.verify_checksum())
        else {
            return self.malformed();
        };
        let (source, target): (IpAddr, IpAddr) = (ip.src_addr().into(), ip.dst_addr().into());
        if !self.admits(mac, source) {
            return;
        }
        let whole = is_whole(partial);
        let packet = Packet { source, target, protocol: ip.next_header(), hop_limit: ip.hop_limit(), whole };
        if !ip.more_frags() && ip.frag_offset() == 0 {
            return self.packet(&packet, ip.payload());
        }
        let key = Key { source, target, protocol: packet.protocol.into(), ident: ip.ident().into() };
        let fragment =
            Fragment { offset: ip.frag_offset().into(), more: ip.more_frags(), payload: ip.payload() };
        if let Some(all) = self.fragments.input(key, &fragment, self.cx.now) {
            self.packet(&Packet { whole: true, ..packet }, &all);
        }
    }

    fn ipv6(&mut self, mac: EthernetAddress, bytes: &[u8], partial: Partial) {
        let Some(ip) = Ipv6Packet::new_checked(bytes).ok().filter(|p| p.version() == 6) else {
            return self.malformed();
        };
        let (source, target): (IpAddr, IpAddr) = (ip.src_addr().into(), ip.dst_addr().into());
        if !self.admits(mac, source) {
            return;
        }
        let whole = is_whole(partial);
        let packet = Packet { source, target, protocol: ip.next_header(), hop_limit: ip.hop_limit(), whole };
        if packet.protocol != IpProtocol::Ipv6Frag {
            return self.packet(&packet, ip.payload());
        }
        let payload = ip.payload();
        let (Ok(header), Some(rest)) =
            (Ipv6FragmentHeader::new_checked(payload.get(2..).unwrap_or_default()), payload.get(8..))
        else {
            return self.malformed();
        };
        let protocol = payload[0];
        let key = Key { source, target, protocol, ident: header.ident() };
        // In units of eight bytes.
        let offset = usize::from(header.frag_offset()) * 8;
        let fragment = Fragment { offset, more: header.more_frags(), payload: rest };
        if let Some(all) = self.fragments.input(key, &fragment, self.cx.now) {
            self.packet(&Packet { whole: true, protocol: protocol.into(), ..packet }, &all);
        }
    }

    /// An IP packet from the guest's address, or from none.
    fn packet(&mut self, packet: &Packet, bytes: &[u8]) {
        let (source, target) = (packet.source, packet.target);
        let from_nobody = source.is_unspecified();
        match packet.protocol {
            IpProtocol::Tcp if !from_nobody => {
                self.tcp.input(&mut self.cx, source, target, bytes, packet.whole)
            }
            IpProtocol::Udp => self.datagram(packet, bytes),
            IpProtocol::Icmp if source.is_ipv4() && !from_nobody && icmp::is_whole(source, target, bytes) => {
                self.ping.input(&mut self.cx, source, target, bytes);
            }
            IpProtocol::Icmpv6 if source.is_ipv6() && icmp::is_whole(source, target, bytes) => {
                self.icmp6(packet, bytes);
            }
            _ => self.malformed(),
        }
    }

    fn icmp6(&mut self, packet: &Packet, bytes: &[u8]) {
        let IpAddr::V6(source) = packet.source else { return };
        if ndp::serve(&mut self.cx.link, source, packet.hop_limit, bytes) {
            self.advertise.get_or_insert(self.cx.now + ndp::AGAIN);
        } else if source != Ipv6Addr::UNSPECIFIED {
            self.ping.input(&mut self.cx, packet.source, packet.target, bytes);
        }
    }

    fn datagram(&mut self, packet: &Packet, bytes: &[u8]) {
        let Some(datagram) = Datagram::parse(packet.source, packet.target, bytes, packet.whole) else {
            return self.malformed();
        };
        let (source, target) = (packet.source, packet.target);
        if dhcp::is_for_server(&datagram) {
            let is_server = target == IpAddr::V4(self.cx.config.gateway4);
            if is_server || matches!(target, IpAddr::V4(a) if a.is_broadcast()) {
                dhcp::serve(&mut self.cx.link, datagram.payload);
            }
        } else if source.is_unspecified() {
            self.cx.link.stats.spoofed += 1;
        } else if target.is_multicast() || matches!(target, IpAddr::V4(a) if a.is_broadcast()) {
            // Nobody else is here, and errors about these are not sent (RFC 1122, 3.2.2).
            self.cx.link.stats.refused += 1;
        } else if self.cx.config.is_dns(target) && datagram.peer.port() == name_servers::PORT {
            self.dns.input(&mut self.cx, &datagram);
        } else {
            self.udp.input(&mut self.cx, &datagram, &self.forwards);
        }
    }
}

/// The header of an IP packet.
struct Packet {
    source: IpAddr,
    target: IpAddr,
    protocol: IpProtocol,
    hop_limit: u8,
    /// Its checksum is there, and is to be verified.
    whole: bool,
}

/// Whether a frame has the checksum of its TCP or UDP, and it was not verified.
fn is_whole(partial: Partial) -> bool {
    partial.checksum.is_none() && !partial.verified
}
