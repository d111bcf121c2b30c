//! The direction from the host to the guest: what is sent, acknowledged and sent again.

use super::buffer::{Buffer, Pool};
use super::rtt::Rtt;
use super::segment::Segment;

/// How often something is sent without any answer before the connection is given up: some two minutes.
const TRIES: u8 = 12;

/// What an acknowledgement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing.
    Nothing,
    /// The first segment that is not acknowledged is to be sent again.
    Retransmit,
    /// It acknowledges what was never sent; the guest is to be told what was.
    Correct,
}

/// Bytes and the end of the stream on their way to the guest, by sequence number.
pub(super) struct Sender {
    /// All bytes from `una` on.
    pub buffer: Buffer,
    /// The first number that is not acknowledged.
    pub una: u32,
    /// The next number to be sent: it goes back when something is lost.
    pub nxt: u32,
    /// The highest number that was ever sent.
    max: u32,
    /// How many bytes the guest takes from `una` on.
    window: u32,
    /// The shift of the guest's windows.
    pub scale: u8,
    /// The longest segment that the guest takes, in bytes after the header.
    pub mss: u16,
    /// The host sends no more: after the bytes comes FIN.
    pub ended: bool,
    /// FIN is acknowledged.
    pub finished: bool,
    pub rtt: Rtt,
    /// When something is sent again, if nothing is acknowledged until then.
    pub deadline: Option<u64>,
    duplicates: u8,
    /// Recovery from a loss lasts until this is acknowledged (RFC 6582).
    recover: Option<u32>,
    tries: u8,
    /// How many frames the guest had taken at the last timeout.
    taken: u64,
}

impl Sender {
    /// Nothing has been sent but SYN, whose number is before `start`.
    pub fn new(start: u32) -> Sender {
        Sender {
            buffer: Buffer::default(),
            una: start,
            nxt: start,
            max: start,
            window: 0,
            scale: 0,
            mss: 536,
            ended: false,
            finished: false,
            rtt: Rtt::new(),
            deadline: None,
            duplicates: 0,
            recover: None,
            tries: 0,
            taken: 0,
        }
    }

    /// Takes the options and the window of the guest's SYN. Without the option for it, its windows are not scaled.
    pub fn open(&mut self, syn: &Segment, largest: u16) {
        // RFC 9293, 3.7.1: 536 without the option. No real link has less than 64, and segments without end cost time.
        self.mss = syn.mss.unwrap_or(536).clamp(64, largest);
        self.scale = syn.scale.unwrap_or(0);
        self.window = u32::from(syn.window);
    }

    /// What to send next, in a frame of at most `size` bytes: offset in the buffer, length, whether FIN follows.
    pub fn next(&self, size: usize) -> Option<(usize, usize, bool)> {
        let sent = self.nxt.wrapping_sub(self.una) as usize;
        let unsent = self.buffer.len().checked_sub(sent)?;
        let count = unsent.min((self.window as usize).saturating_sub(sent)).min(size);
        let fin = self.ended && !self.finished && count == unsent;
        // A small piece of a large amount waits until the window opens (RFC 9293, 3.8.6.2.1).
        let silly = count < unsent && count < usize::from(self.mss) && sent > 0;
        ((count > 0 && !silly) || fin).then_some((sent, count, fin))
    }

    /// Notes what is being sent from `offset` on, and returns whether it was sent before.
    pub fn sent(&mut self, offset: usize, count: usize, fin: bool, now: u64) -> bool {
        let end = self.una.wrapping_add((offset + count) as u32 + u32::from(fin));
        if is_before(self.nxt, end) {
            self.nxt = end;
        }
        self.deadline.get_or_insert(now + self.rtt.timeout());
        if is_before(self.max, end) {
            self.max = end;
            self.rtt.sent(end, now);
            return false;
        }
        self.rtt.sent_again();
        true
    }

    /// Whether anything waits for the guest: to be sent, or to be acknowledged.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty() || (self.ended && !self.finished)
    }

    /// Takes an acknowledgement.
    pub fn acknowledge(&mut self, ack: u32, segment: &Segment, now: u64, pool: &mut Pool) -> Answer {
        let (flight, acked) = (self.max.wrapping_sub(self.una), ack.wrapping_sub(self.una));
        if acked > flight {
            return if is_before(self.max, ack) { Answer::Correct } else { Answer::Nothing };
        }
        self.tries = 0;
        let before = std::mem::replace(&mut self.window, u32::from(segment.window) << self.scale);
        if acked > 0 {
            return self.advance(ack, acked as usize, now, pool);
        }
        if flight > 0 && segment.length() == 0 && self.window == before {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 && self.recover.is_none() {
                self.recover = Some(self.max);
                return Answer::Retransmit;
            }
        }
        Answer::Nothing
    }

    fn advance(&mut self, ack: u32, acked: usize, now: u64, pool: &mut Pool) -> Answer {
        self.finished |= acked > self.buffer.len();
        self.buffer.consume(acked, pool);
        self.una = ack;
        if is_before(self.nxt, ack) {
            self.nxt = ack;
        }
        self.rtt.acknowledged(ack, now);
        self.duplicates = 0;
        self.deadline = (self.una != self.max).then(|| now + self.rtt.timeout());
        match self.recover {
            // The next loss of the same flight: it is sent again without another timeout.
            Some(until) if is_before(ack, until) => Answer::Retransmit,
            _ => {
                self.recover = None;
                Answer::Nothing
            }
        }
    }

    /// Nothing was acknowledged in time: goes back to what is not. `None` if that was too often. While the guest takes
    /// no frames (it may be paused), that does not count, and nothing needs to be sent again: it all waits already.
    pub fn time_out(&mut self, now: u64, drained: bool, taken: u64) -> Option<bool> {
        let stands_still = !drained && taken == self.taken;
        self.taken = taken;
        if stands_still {
            self.deadline = Some(now + self.rtt.timeout());
            return Some(false);
        }
        self.tries += 1;
        self.rtt.back_off();
        self.rtt.sent_again();
        self.deadline = Some(now + self.rtt.timeout());
        (self.nxt, self.duplicates, self.recover) = (self.una, 0, None);
        (self.tries <= TRIES).then_some(true)
    }

    /// Whether the guest's window is closed though there is something to send: then a byte is sent once in a while, as
    /// the segment that opens the window may be lost (RFC 9293, 3.8.6.1).
    pub fn is_shut(&self) -> bool {
        self.window == 0 && !self.buffer.is_empty()
    }
}

/// Whether one sequence number is before another, modulo 2³².
pub(super) fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = u32::MAX - 1000;

    fn segment(window: u16) -> Segment<'static> {
        let payload = &[];
        Segment {
            seq: 0,
            ack: None,
            window,
            scale: None,
            mss: None,
            syn: false,
            fin: false,
            rst: false,
            payload,
        }
    }

    /// A sender with so many bytes, and a guest with a window for 20,000.
    fn sender(bytes: usize, pool: &mut Pool) -> Sender {
        let mut sender = Sender::new(START);
        sender.open(&Segment { mss: Some(1000), syn: true, ..segment(20_000) }, 1460);
        assert_eq!(sender.buffer.push(&vec![1; bytes], pool), bytes);
        sender
    }

    /// Sends what can be sent, and returns how much that was.
    fn send(sender: &mut Sender) -> usize {
        let mut all = 0;
        while let Some((offset, count, fin)) = sender.next(1000) {
            sender.sent(offset, count, fin, 0);
            all += count;
        }
        all
    }

    #[test]
    fn a_window_is_filled_and_goes_on_with_acknowledgements_over_the_end_of_numbers() {
        let mut pool = Pool::new(1 << 20);
        let mut sender = sender(50_000, &mut pool);
        sender.ended = true;
        assert_eq!(send(&mut sender), 20_000);
        let mut acked = START;
        for count in [5000, 15_000, 20_000, 10_000] {
            acked = acked.wrapping_add(count);
            assert_eq!(sender.acknowledge(acked, &segment(20_000), 0, &mut pool), Answer::Nothing);
            send(&mut sender);
        }
        assert!(sender.buffer.is_empty() && !sender.finished);
        assert_eq!(sender.acknowledge(acked.wrapping_add(2), &segment(9), 0, &mut pool), Answer::Correct);
        assert_eq!(sender.acknowledge(acked.wrapping_add(1), &segment(9), 0, &mut pool), Answer::Nothing);
        assert!(sender.finished && sender.deadline.is_none() && !sender.has_more());
        assert_eq!(send(&mut sender), 0);
    }

    #[test]
    fn three_equal_acknowledgements_and_each_partial_one_ask_for_a_segment_again() {
        let mut pool = Pool::new(1 << 20);
        let mut sender = sender(10_000, &mut pool);
        send(&mut sender);
        let mut acknowledge = |n| sender.acknowledge(START.wrapping_add(n), &segment(20_000), 0, &mut pool);
        let answers: Vec<Answer> = [1000, 1000, 1000, 1000, 1000, 3000, 10_000].map(&mut acknowledge).into();
        use Answer::{Nothing, Retransmit};
        assert_eq!(answers, [Nothing, Nothing, Nothing, Retransmit, Nothing, Retransmit, Nothing]);
    }

    #[test]
    fn nothing_is_given_up_while_the_guest_takes_no_frames() {
        let mut pool = Pool::new(1 << 20);
        let mut sender = sender(1000, &mut pool);
        send(&mut sender);
        for n in 0..1000 {
            assert_eq!(sender.time_out(n, false, 0), Some(false));
        }
        let tries = (0..100).take_while(|&n| sender.time_out(n, true, 0) == Some(true)).count();
        assert_eq!(tries, usize::from(TRIES));
        sender.buffer.clear(&mut pool);
    }

    #[test]
    fn a_closed_window_stops_all_but_a_probe() {
        let mut pool = Pool::new(1 << 20);
        let mut sender = sender(30_000, &mut pool);
        send(&mut sender);
        sender.acknowledge(START.wrapping_add(20_000), &segment(0), 0, &mut pool);
        assert!(sender.is_shut() && sender.next(1000).is_none());
        sender.sent(0, 1, false, 0);
        sender.acknowledge(START.wrapping_add(20_001), &segment(500), 0, &mut pool);
        assert_eq!(sender.next(1000), Some((0, 500, false)));
        sender.buffer.clear(&mut pool);
    }
}
