//! What a connection sends to the guest.

use super::flow::{Flow, Phase};
use super::receiver::SCALE;
use super::segment::{self, Ends, HEADER, Header};
use crate::Config;
use crate::context::Context;
use crate::link::{ETHERNET, Link, ip_header};
use smoltcp::wire::TcpControl;
use trine_base::net::MAX_FRAME;

impl Flow {
    pub(super) fn send_reset(&mut self, link: &mut Link) {
        let header = Header {
            seq: self.sender.nxt,
            ack: (self.phase != Phase::Calling).then_some(self.receiver.next),
            control: TcpControl::Rst,
            window: 0,
            options: None,
        };
        segment::send(link, &self.ends, header, (0, 0), |_| ());
    }

    pub(super) fn send_syn(&mut self, cx: &mut Context) {
        let answers = self.phase == Phase::Answered;
        let scale = if answers { self.receiver.offered() } else { Some(SCALE) };
        let header = Header {
            seq: self.sender.una.wrapping_sub(1),
            ack: answers.then_some(self.receiver.next),
            control: TcpControl::Syn,
            window: if answers { self.receiver.window(true) } else { 0xffff },
            options: Some((largest(&cx.config, &self.ends), scale)),
        };
        self.sender.deadline = Some(cx.now + self.sender.rtt.timeout());
        segment::send(&mut cx.link, &self.ends, header, (0, 0), |_| ());
    }

    pub(super) fn send_acknowledgement(&mut self, link: &mut Link) {
        self.receiver.due = false;
        let header = Header {
            seq: self.sender.nxt,
            ack: Some(self.receiver.next),
            control: TcpControl::None,
            window: self.receiver.window(false),
            options: None,
        };
        segment::send(link, &self.ends, header, (0, 0), |_| ());
    }

    /// Sends bytes of the buffer, and FIN behind them.
    pub(super) fn send(&mut self, (offset, count, fin): (usize, usize, bool), cx: &mut Context) {
        let last = offset + count == self.sender.buffer.len();
        let header = Header {
            seq: self.sender.una.wrapping_add(offset as u32),
            ack: Some(self.receiver.next),
            control: match (fin, last) {
                (true, _) => TcpControl::Fin,
                (false, true) => TcpControl::Psh,
                _ => TcpControl::None,
            },
            window: self.receiver.window(false),
            options: None,
        };
        self.receiver.due = false;
        if self.sender.sent(offset, count, fin, cx.now) {
            cx.link.stats.tcp_retransmitted += 1;
        }
        let buffer = &self.sender.buffer;
        segment::send(&mut cx.link, &self.ends, header, (count, self.sender.mss), |frame| {
            buffer.copy(offset, count, frame);
        });
    }

    /// Sends the first bytes that are not acknowledged again.
    pub(super) fn retransmit(&mut self, cx: &mut Context) {
        let count = self.sender.buffer.len().min(self.frame_size(&cx.link));
        let fin = self.sender.ended && count == self.sender.buffer.len();
        self.send((0, count, fin), cx);
    }

    /// How many bytes a frame may have: a whole number of segments, if the guest's driver takes several in one.
    pub(super) fn frame_size(&self, link: &Link) -> usize {
        let mss = usize::from(self.sender.mss);
        let v4 = self.ends.guest.is_ipv4();
        let takes = if v4 { link.gives.tcp4 } else { link.gives.tcp6 };
        if !takes || !link.gives.checksum {
            return mss;
        }
        let most = MAX_FRAME - ETHERNET - ip_header(self.ends.guest.ip()) - HEADER;
        (most / mss).max(1) * mss
    }

    /// Sends what the guest takes.
    pub(super) fn emit(&mut self, cx: &mut Context) {
        let size = self.frame_size(&cx.link);
        while cx.link.has_room()
            && let Some(next) = self.sender.next(size)
        {
            self.send(next, cx);
        }
    }
}

/// The largest TCP segment that the link carries, in bytes after the header.
pub(super) fn largest(config: &Config, ends: &Ends) -> u16 {
    config.mtu - (ip_header(ends.guest.ip()) + HEADER) as u16
}
