//! What all protocols use: the link, the poll set, who may be reached, the time.

use crate::config::Config;
use crate::link::Link;
use crate::name_servers::NameServers;
use crate::reach::Reach;
use mio::Registry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a turn of the network's thread may take before the clock stops counting it, in nanoseconds.
const PAUSE: u64 = 1_000_000_000;

/// The network's own time: monotonic, in nanoseconds, and without pauses of this process. A process that was stopped
/// for an hour finds its connections as they were, and not with every timeout passed.
pub(crate) struct Time {
    last: Instant,
    now: u64,
}

impl Time {
    pub fn new() -> Time {
        Time { last: Instant::now(), now: 0 }
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// Passes on, after a turn in which the thread meant to sleep no longer than `slept`, or until it was woken.
    pub fn pass(&mut self, slept: Option<Duration>) {
        let now = Instant::now();
        let passed = nanos(now.duration_since(self.last));
        let most = slept.map_or(u64::MAX, |s| nanos(s).saturating_add(PAUSE));
        (self.last, self.now) = (now, self.now.saturating_add(passed.min(most)));
    }
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What all protocols use.
pub(crate) struct Context {
    pub config: Arc<Config>,
    pub link: Link,
    pub registry: Registry,
    pub reach: Reach,
    pub names: NameServers,
    /// The time in nanoseconds.
    pub now: u64,
    /// The number of the next flow: never used twice, so a late event of the poll set finds nothing.
    next: u64,
}

impl Context {
    pub fn new(config: Arc<Config>, registry: Registry) -> Context {
        let (link, reach) = (Link::new(config.clone()), Reach::new(config.clone()));
        let names = NameServers::new(config.clone());
        Context { config, link, registry, reach, names, now: 0, next: 0 }
    }

    /// A number for a new flow.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// What a socket in the poll set belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Wakes the thread.
    Wake,
    /// A TCP connection.
    Tcp,
    /// A UDP flow.
    Udp,
    /// A question for a name.
    Dns,
    /// Echo requests.
    Ping,
    /// A listening socket.
    Listener,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Wake, Kind::Tcp, Kind::Udp, Kind::Dns, Kind::Ping, Kind::Listener];

    /// The poll set's word for a flow.
    pub fn token(self, number: u64) -> mio::Token {
        mio::Token((number << 3) as usize | self as usize)
    }

    /// What a word of the poll set stands for.
    pub fn of(token: mio::Token) -> Option<(Kind, u64)> {
        Some((*Kind::ALL.get(token.0 & 7)?, (token.0 >> 3) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_process_is_no_time() {
        let hour = Duration::from_secs(3600);
        let mut time = Time { last: Instant::now() - hour, now: 5 };
        time.pass(Some(Duration::from_millis(1)));
        assert!(time.now() <= 5 + PAUSE + 1_000_000, "{}", time.now());
        let mut time = Time { last: Instant::now() - hour, now: 5 };
        time.pass(Some(hour));
        assert!(time.now() >= nanos(hour), "sleep is time");
    }

    #[test]
    fn tokens_stand_for_what_they_were_made_of() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.token(1 << 40)), Some((kind, 1 << 40)));
        }
        assert_eq!(Kind::of(mio::Token(7)), None);
    }
}
