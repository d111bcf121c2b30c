//! How long to wait for an acknowledgement (RFC 6298).

use std::cmp::Ordering;

const MILLISECOND: u64 = 1_000_000;
/// Bounds of the timeout. Nothing is under way for long on a cable in one computer, but the guest's processors may be busy.
const LEAST: u64 = 200 * MILLISECOND;
const MOST: u64 = 20_000 * MILLISECOND;

/// The retransmission timeout of a connection, in nanoseconds.
pub(super) struct Rtt {
    smooth: Option<u64>,
    variation: u64,
    timeout: u64,
    /// A sequence number whose acknowledgement is timed, and when it was sent.
    timing: Option<(u32, u64)>,
}

impl Rtt {
    pub fn new() -> Rtt {
        Rtt { smooth: None, variation: 0, timeout: 500 * MILLISECOND, timing: None }
    }

    pub fn timeout(&self) -> u64 {
        self.timeout
    }

    /// Something new up to `seq` is sent.
    pub fn sent(&mut self, seq: u32, now: u64) {
        self.timing.get_or_insert((seq, now));
    }

    /// Something is sent again: which one an acknowledgement is for cannot be told (Karn's algorithm).
    pub fn sent_again(&mut self) {
        self.timing = None;
    }

    /// Nothing was acknowledged in time.
    pub fn back_off(&mut self) {
        self.timeout = (self.timeout * 2).min(MOST);
    }

    /// Everything before `ack` is acknowledged.
    pub fn acknowledged(&mut self, ack: u32, now: u64) {
        if let Some((seq, at)) = self.timing
            && (ack.wrapping_sub(seq) as i32).cmp(&0) != Ordering::Less
        {
            self.timing = None;
            self.sample(now.saturating_sub(at).min(MOST));
        }
        if let Some(smooth) = self.smooth {
            self.timeout = (smooth + 4 * self.variation).clamp(LEAST, MOST);
        }
    }

    fn sample(&mut self, taken: u64) {
        let Some(smooth) = self.smooth else {
            (self.smooth, self.variation) = (Some(taken), taken / 2);
            return;
        };
        self.variation = (3 * self.variation + smooth.abs_diff(taken)) / 4;
        self.smooth = Some((7 * smooth + taken) / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_samples_and_backs_off() {
        let mut rtt = Rtt::new();
        rtt.sent(u32::MAX, 0);
        rtt.acknowledged(4, 400 * MILLISECOND);
        assert_eq!(rtt.timeout(), 1200 * MILLISECOND);
        for n in 0..50 {
            rtt.sent(n, 0);
            rtt.acknowledged(n, MILLISECOND);
        }
        assert_eq!(rtt.timeout(), LEAST);
        (0..20).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), MOST);
        rtt.sent(100, 0);
        rtt.sent_again();
        rtt.acknowledged(100, MOST);
        assert_eq!(rtt.timeout(), LEAST, "what was sent again is no sample");
    }
}
