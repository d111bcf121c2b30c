//! The name server's address: questions over UDP are answered from a file of names, or asked of the host's name servers in
//! turn.

use crate::context::{Context, Kind};
use crate::hosts;
use crate::udp::{self, Datagram};
use mio::Interest;
use mio::net::UdpSocket;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Questions at once; further ones replace the oldest.
const QUESTIONS: usize = 128;
/// How long a name server has to answer, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;
/// Wrong answers after which a name server is not listened to any more.
const FORGED: usize = 32;
/// The length of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

struct Question {
    guest: SocketAddr,
    peer: SocketAddr,
    message: Vec<u8>,
    /// A socket for each question: its random port makes answers hard to forge (RFC 5452).
    socket: Option<UdpSocket>,
    /// The next name server to ask.
    next: usize,
    since: u64,
}

/// The questions that wait for an answer.
#[derive(Default)]
pub(crate) struct Dns {
    questions: HashMap<u64, Question>,
}

impl Dns {
    /// A question from the guest.
    pub fn input(&mut self, cx: &mut Context, datagram: &Datagram) {
        // A response is no question.
        if datagram.payload.len() < HEADER || datagram.payload[2] & 0x80 != 0 {
            cx.link.stats.malformed += 1;
            return;
        }
        if self.asked(datagram) {
            return;
        }
        cx.link.stats.dns_questions += 1;
        if let Some(file) = &cx.config.hosts
            && let Some(answer) = hosts::answer(&hosts::read(file), &cx.config.domain, datagram.payload)
        {
            return udp::send(&mut cx.link, datagram.peer, datagram.guest, &answer);
        }
        if self.questions.len() >= QUESTIONS
            && let Some(oldest) = self.questions.iter().min_by_key(|(_, q)| q.since).map(|(&n, _)| n)
        {
            self.questions.remove(&oldest);
        }
        let question = Question {
            guest: datagram.guest,
            peer: datagram.peer,
            message: datagram.payload.to_vec(),
            socket: None,
            next: 0,
            since: cx.now,
        };
        self.ask(cx, question);
    }

    /// Whether the same question is being asked: the guest has only become impatient.
    fn asked(&self, datagram: &Datagram) -> bool {
        let same = |q: &Question| {
            q.guest == datagram.guest && q.peer == datagram.peer && q.message == datagram.payload
        };
        self.questions.values().any(same)
    }

    /// Asks the next name server that can be asked; without one, the answer is SERVFAIL.
    fn ask(&mut self, cx: &mut Context, mut question: Question) {
        let servers = cx.names.list(cx.now).to_vec();
        while let Some(&server) = servers.get(question.next) {
            question.next += 1;
            question.since = cx.now;
            if let Some(mut socket) = connect(server)
                && socket.send(&question.message).is_ok()
            {
                let number = cx.number();
                let token = Kind::Dns.token(number);
                if cx.registry.register(&mut socket, token, Interest::READABLE).is_ok() {
                    question.socket = Some(socket);
                    self.questions.insert(number, question);
                    return;
                }
            }
        }
        cx.link.stats.dns_failed += 1;
        let answer = failure(&question.message);
        udp::send(&mut cx.link, question.peer, question.guest, &answer);
    }

    /// A name server has answered, or cannot be reached.
    pub fn event(&mut self, cx: &mut Context, number: u64, buffer: &mut [u8]) {
        let Some(question) = self.questions.get(&number) else { return };
        let Some(socket) = &question.socket else { return };
        for _ in 0..FORGED {
            match socket.recv(buffer) {
                Ok(count) => {
                    let answer = buffer.get(..count).unwrap_or_default();
                    // The identifier is all that tells a late or forged answer apart here.
                    if answer.len() >= HEADER && answer[..2] == question.message[..2] {
                        udp::send(&mut cx.link, question.peer, question.guest, answer);
                        self.questions.remove(&number);
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if let Some(question) = self.questions.remove(&number) {
            self.ask(cx, question);
        }
    }

    /// Whether [`Dns::expire`] may have something to do.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Asks the next name server where one did not answer.
    pub fn expire(&mut self, cx: &mut Context) {
        let late = |(&n, q): (&u64, &Question)| (cx.now.saturating_sub(q.since) > PATIENCE).then_some(n);
        let late: Vec<u64> = self.questions.iter().filter_map(late).collect();
        for number in late {
            if let Some(question) = self.questions.remove(&number) {
                self.ask(cx, question);
            }
        }
    }

    /// Forgets all questions.
    pub fn clear(&mut self) {
        self.questions.clear();
    }
}

fn connect(server: SocketAddr) -> Option<UdpSocket> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket)
}

/// The answer that the name server has failed: the question's header and questions, as a response with the code 2.
fn failure(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[3] = answer[3] & 0x70 | 0x80 | 2;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_question_with_a_code() {
        let question = [1, 2, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c', 0, 0, 1, 0, 1];
        let answer = failure(&question);
        assert_eq!(answer[..4], [1, 2, 0x81, 0xa2]);
        assert_eq!(answer[4..], question[4..]);
    }
}
