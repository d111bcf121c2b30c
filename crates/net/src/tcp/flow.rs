//! One TCP connection: the guest's end is ours, and what it carries goes through a socket of the host.

use super::buffer::Pool;
use super::output::largest;
use super::receiver::Receiver;
use super::segment::{self, Ends, Segment};
use super::sender::{Answer, Sender, is_before};
use crate::context::Context;
use crate::icmp::{self, Unreachable};
use mio::net::TcpStream;
use smoltcp::wire::IpProtocol;
use std::time::Duration;

/// Reads from the host before other connections get their turn.
const READS: usize = 4;
/// How long a connection is remembered whose last acknowledgement the guest may have missed, in nanoseconds.
const LINGER: u64 = 5_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The guest's SYN waits for the host's connection.
    Connecting,
    /// Our SYN, which acknowledges the guest's, is sent.
    Answered,
    /// A connection from outside: our SYN is sent.
    Calling,
    Open,
    /// Both ends are closed; the guest may send its FIN again.
    Lingering,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides know.
    Done,
    /// The guest broke it off: the host is told by a reset.
    ByGuest,
    /// The host broke it off: the guest is told by a reset.
    ByHost,
    /// The host could not connect. The guest is told why.
    Refused(Option<Unreachable>),
}

pub(super) struct Flow {
    pub ends: Ends,
    pub phase: Phase,
    /// None while it lingers.
    pub(super) host: Option<TcpStream>,
    /// The socket may have something, or room: it was said so, and nothing since said otherwise.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end of what the socket has is near: a short read is no sign that there is nothing behind it.
    pub(super) ending: bool,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// The other end has reset the connection: the guest gets what came before, and then a reset.
    pub(super) broken: bool,
    /// The host's socket was told that the guest sends no more.
    pub(super) told: bool,
    /// Both sides are closed, the guest as the last.
    pub(super) linger_until: Option<u64>,
    /// It is in the list of those with work to do.
    pub queued: bool,
    /// When the table looks at the deadline.
    pub timer: Option<u64>,
}

impl Flow {
    fn new(ends: Ends, phase: Phase, host: TcpStream, start: u32) -> Flow {
        Flow {
            ends,
            phase,
            host: Some(host),
            readable: true,
            writable: false,
            ending: false,
            sender: Sender::new(start),
            receiver: Receiver::default(),
            broken: false,
            told: false,
            linger_until: None,
            queued: false,
            timer: None,
        }
    }

    /// A connection that the guest asks for by a SYN; the host's socket is being connected.
    pub fn connecting(
        ends: Ends,
        syn: &Segment,
        host: TcpStream,
        start: u32,
        config: &crate::Config,
    ) -> Flow {
        let mut flow = Flow::new(ends, Phase::Connecting, host, start);
        flow.sender.open(syn, largest(config, &ends));
        flow.receiver.open(syn.seq, syn.scale.is_some());
        flow
    }

    /// A connection from outside, which the guest is asked for.
    pub fn calling(ends: Ends, host: TcpStream, start: u32, cx: &mut Context) -> Flow {
        let mut flow = Flow::new(ends, Phase::Calling, host, start);
        flow.writable = true;
        flow.send_syn(cx);
        flow
    }

    /// The host's socket.
    pub fn host(&mut self) -> Option<&mut TcpStream> {
        self.host.as_mut()
    }

    /// The poll set says something about the host's socket.
    pub fn event(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.ending |= event.is_read_closed() || event.is_error();
        self.writable |= !self.broken && (event.is_writable() || event.is_write_closed() || event.is_error());
    }

    /// When [`Flow::time_out`] has something to do.
    pub fn deadline(&self) -> Option<u64> {
        self.linger_until.or(self.sender.deadline)
    }

    /// Gives the chunks back, and tells those who do not know yet how it ends.
    pub fn close(mut self, end: End, cx: &mut Context, pool: &mut Pool) {
        self.sender.buffer.clear(pool);
        self.receiver.buffer.clear(pool);
        self.receiver.early.clear(pool);
        match end {
            End::Done | End::ByGuest => {}
            End::ByHost => self.send_reset(&mut cx.link),
            End::Refused(None) => self.send_reset(&mut cx.link),
            End::Refused(Some(why)) => {
                let mut start = [0; 8];
                start[..2].copy_from_slice(&self.ends.guest.port().to_be_bytes());
                start[2..4].copy_from_slice(&self.ends.peer.port().to_be_bytes());
                start[4..].copy_from_slice(&self.receiver.next.wrapping_sub(1).to_be_bytes());
                icmp::unreachable(
                    &mut cx.link,
                    self.ends.guest,
                    self.ends.peer,
                    IpProtocol::Tcp,
                    &start,
                    why,
                );
            }
        }
        if let Some(mut host) = self.host {
            let _ = cx.registry.deregister(&mut host);
            if end != End::Done {
                // Closing then sends a reset, so that the other side takes nothing for the regular end of the stream.
                let _ = socket2::SockRef::from(&host).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// Takes a segment from the guest.
    pub fn segment(&mut self, segment: &Segment, cx: &mut Context, pool: &mut Pool) -> Result<(), End> {
        if segment.rst {
            return self.is_valid_reset(segment).then_some(()).map_or(Ok(()), |()| Err(End::ByGuest));
        }
        match (self.phase, segment.syn, segment.ack) {
            (Phase::Connecting, ..) => return Ok(()),
            (Phase::Answered, true, None) => {
                self.send_syn(cx);
                return Ok(());
            }
            (Phase::Calling, true, Some(ack)) if ack == self.sender.una => self.answered(segment, cx),
            (Phase::Calling, ..) => {
                segment::reset(&mut cx.link, &self.ends, segment);
                return Ok(());
            }
            (_, true, _) => {
                // A guest that has started again finds its old connection, and will reset it (RFC 5961, 4).
                self.send_acknowledgement(&mut cx.link);
                return Ok(());
            }
            (Phase::Answered, false, Some(ack)) if ack == self.sender.una => {
                (self.phase, self.sender.deadline) = (Phase::Open, None);
            }
            (Phase::Answered, false, _) => {
                segment::reset(&mut cx.link, &self.ends, segment);
                return Ok(());
            }
            _ => {}
        }
        if segment.syn {
            return Ok(());
        }
        let Some(ack) = segment.ack else { return Ok(()) };
        match self.sender.acknowledge(ack, segment, cx.now, pool) {
            Answer::Retransmit => self.retransmit(cx),
            Answer::Correct => self.send_acknowledgement(&mut cx.link),
            Answer::Nothing => {}
        }
        self.take(segment, cx, pool)
    }

    /// Whether a reset is the guest's answer to what was sent last (RFC 5961, 3), and not an old one.
    fn is_valid_reset(&self, segment: &Segment) -> bool {
        match self.phase {
            Phase::Connecting => segment.seq == self.receiver.next,
            Phase::Calling => segment.ack == Some(self.sender.una),
            _ => segment.seq.wrapping_sub(self.receiver.next) as usize <= self.receiver.allowed(),
        }
    }

    /// The guest has accepted a connection from outside.
    fn answered(&mut self, syn: &Segment, cx: &mut Context) {
        self.sender.open(syn, largest(&cx.config, &self.ends));
        self.receiver.open(syn.seq, syn.scale.is_some());
        (self.phase, self.sender.deadline, self.receiver.due) = (Phase::Open, None, true);
    }

    /// Takes the bytes of a segment, and its FIN.
    fn take(&mut self, segment: &Segment, cx: &mut Context, pool: &mut Pool) -> Result<(), End> {
        let receiver = &mut self.receiver;
        let skip = receiver.next.wrapping_sub(segment.seq) as usize;
        if segment.length() == 0 {
            // A segment before what is expected asks whether we are still there.
            receiver.due |= is_before(segment.seq, receiver.next);
            return Ok(());
        }
        let is_early = is_before(receiver.next, segment.seq);
        if receiver.ended || is_early || skip == segment.length() as usize || skip > segment.payload.len() {
            let within = segment.seq.wrapping_sub(receiver.next) as usize + segment.payload.len();
            if is_early && !receiver.ended && within <= receiver.allowed() {
                receiver.early.keep(segment.seq, segment.payload, segment.fin, pool);
            }
            // Each one is answered at once: three equal answers tell the guest that a segment is lost.
            self.send_acknowledgement(&mut cx.link);
            return Ok(());
        }
        self.accept(&segment.payload[skip..], segment.fin, pool)?;
        while let Some((seq, bytes, fin)) = self.receiver.early.take(self.receiver.next, pool) {
            let skip = self.receiver.next.wrapping_sub(seq) as usize;
            if let Some(rest) = bytes.get(skip..).filter(|r| !r.is_empty() || fin) {
                self.accept(rest, fin, pool)?;
            }
        }
        Ok(())
    }

    /// Takes the bytes that are expected now, as far as there is room, and FIN behind the last one.
    fn accept(&mut self, data: &[u8], fin: bool, pool: &mut Pool) -> Result<(), End> {
        if self.receiver.ended || self.broken {
            return Ok(());
        }
        let allowed = &data[..data.len().min(self.receiver.allowed())];
        let mut taken = 0;
        if self.receiver.buffer.is_empty() && self.writable {
            taken = self.write(allowed)?;
        }
        taken += self.receiver.buffer.push(&allowed[taken..], pool);
        self.receiver.next = self.receiver.next.wrapping_add(taken as u32);
        self.receiver.due = true;
        if fin && taken == data.len() {
            self.receiver.next = self.receiver.next.wrapping_add(1);
            self.receiver.ended = true;
        }
        Ok(())
    }

    /// Does all that can be done now. Returns whether it is to be called again soon, without another event.
    pub fn run(&mut self, cx: &mut Context, pool: &mut Pool) -> Result<bool, End> {
        match self.phase {
            Phase::Connecting => return self.connect(cx).map(|()| false),
            Phase::Open => {}
            _ => return Ok(false),
        }
        self.flush(pool)?;
        let mut again = false;
        for _ in 0..READS {
            again = self.read(pool)?;
            self.emit(cx);
            if !again || !cx.link.has_room() {
                break;
            }
        }
        if self.receiver.due || self.receiver.has_opened() {
            self.send_acknowledgement(&mut cx.link);
        }
        let stalled = !cx.link.has_room() && self.sender.has_more();
        if self.sender.has_more() && self.sender.deadline.is_none() {
            self.sender.deadline = Some(cx.now + self.sender.rtt.timeout());
        }
        self.finish(cx)?;
        Ok(again || stalled)
    }

    /// Looks whether both sides have closed.
    fn finish(&mut self, cx: &Context) -> Result<(), End> {
        if self.broken && self.sender.buffer.is_empty() && !self.readable {
            return Err(End::ByHost);
        }
        if !self.told || !self.sender.finished {
            return Ok(());
        }
        // The guest may have sent the last FIN and not see our acknowledgement of it.
        self.phase = Phase::Lingering;
        self.linger_until = Some(cx.now + LINGER);
        self.host = None;
        Ok(())
    }

    /// The deadline has passed.
    pub fn time_out(&mut self, cx: &mut Context, pool: &mut Pool) -> Result<(), End> {
        if self.phase == Phase::Lingering {
            return Err(End::Done);
        }
        let (drained, taken) = (cx.link.is_drained(), cx.link.taken);
        match self.sender.time_out(cx.now, drained, taken) {
            None => return Err(End::ByHost),
            Some(false) => return Ok(()),
            Some(true) => {}
        }
        match self.phase {
            Phase::Answered | Phase::Calling => self.send_syn(cx),
            Phase::Open if self.sender.is_shut() => self.send((0, 1, false), cx),
            _ => {}
        }
        self.run(cx, pool).map(drop)
    }
}
