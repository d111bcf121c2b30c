//! What a machine under load says and costs: progress of each load, complaints of its kernel, memory of its monitor.

use std::time::{Duration, Instant};
use trine_test_support::Checked;
use trine_test_support::debian::Shell;
use trine_test_support::process::{cpu_time, memory_besides};

/// Without a line of any load for so long, the machine hangs.
const SILENCE: Duration = Duration::from_secs(60);
/// The same for each load, some of which wait for others, in CPU time of the monitor: a host that has other things to do makes
/// rounds longer, and while other loads come further this time passes.
const SILENCE_OF_ONE: Duration = Duration::from_secs(600);
/// How long loads get to end when they are told to, and small commands in the guest, which is busy.
const ENDING: Duration = Duration::from_secs(300);
/// Bytes of the guest's RAM.
const RAM: u64 = 1 << 30;
/// The most memory in bytes of the monitor besides the guest's RAM. The aim is 128 MiB, which code memory alone fills today; the
/// blocks and tables that belong to it take twice as much again (docs/performance.md, "Whole machines").
const MOST: u64 = 512 << 20;
/// For how long memory may go on growing as it did from a part's second to its last third without passing [`MOST`]. What is
/// translated and kept comes near to its bounds for half an hour and longer where the host has other things to do.
const AHEAD: Duration = Duration::from_secs(3600);
/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// The least number of looks by which growth is judged.
const LOOKS: usize = 60;

/// What a kernel says in trouble.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "Oops",
    "soft lockup",
    "rcu: INFO",
    "detected stall",
    "Kernel panic",
    "blocked for more than",
    "Unable to handle kernel",
    "EXT4-fs error",
    "I/O error",
];

/// A load, and when it was heard of last, also in CPU time of the monitor.
struct Load {
    name: &'static str,
    rounds: u64,
    heard: Instant,
    used: Duration,
    ended: bool,
}

/// Watches a machine.
pub struct Watch {
    loads: Vec<Load>,
    /// CPU time of the monitor.
    used: Duration,
    memory: Vec<u64>,
}

impl Watch {
    /// Of a machine with these loads.
    pub fn new(loads: &[&'static str]) -> Watch {
        let (heard, used) = (Instant::now(), Duration::ZERO);
        let load = |name: &&'static str| Load { name, rounds: 0, heard, used, ended: false };
        Watch { loads: loads.iter().map(load).collect(), used, memory: Vec::new() }
    }

    /// Watches for so long.
    ///
    /// # Errors
    /// What fails the soak; the end of the guest's log is printed.
    pub fn over(&mut self, shell: &mut Shell, time: Duration) -> Checked {
        self.goes_well(shell, time).inspect_err(|_| explain(shell))
    }

    fn goes_well(&mut self, shell: &mut Shell, time: Duration) -> Checked {
        let (end, mut next) = (Instant::now() + time, Instant::now());
        while Instant::now() < end {
            self.used = cpu_time(shell.talk.process().id());
            self.hears(&shell.talk.news()?)?;
            self.silence()?;
            if Instant::now() >= next {
                next += EVERY;
                self.memory.push(memory_besides(shell.talk.process().id(), RAM)?);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        self.memory_is_right()
    }

    /// Runs lines in the shell; what the loads say meanwhile counts.
    ///
    /// # Errors
    /// Those of [`Shell::run`], or what fails the soak.
    pub fn runs(&mut self, shell: &mut Shell, lines: &str) -> Checked {
        self.hears(&shell.run(lines, ENDING)?)
    }

    /// Waits until all loads have ended by themselves.
    ///
    /// # Errors
    /// One does not end, or what fails the soak.
    pub fn until_all_end(&mut self, shell: &mut Shell) -> Checked {
        let end = Instant::now() + ENDING;
        while let Some(load) = self.loads.iter().find(|load| !load.ended) {
            if Instant::now() > end {
                return Err(format!("the load '{}' does not end", load.name));
            }
            self.hears(&shell.talk.news()?)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Reads lines of the console.
    fn hears(&mut self, lines: &str) -> Checked {
        complaint(lines)?;
        for line in lines.lines() {
            let Some((_, what)) = line.split_once("soak: ") else { continue };
            let mut words = what.split_ascii_whitespace();
            let (name, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let Some(load) = self.loads.iter_mut().find(|load| load.name == name) else { continue };
            match verb {
                "ok" => load.rounds += 1,
                "ended" => load.ended = true,
                "FAILED:" => return Err(format!("a load's own check failed: {what}")),
                _ => continue,
            }
            (load.heard, load.used) = (Instant::now(), self.used);
        }
        Ok(())
    }

    fn silence(&self) -> Checked {
        if self.loads.iter().all(|load| load.heard.elapsed() > SILENCE) {
            return Err(format!("no load has come further for {} s: it hangs", SILENCE.as_secs()));
        }
        match self.loads.iter().find(|load| self.used.saturating_sub(load.used) > SILENCE_OF_ONE) {
            None => Ok(()),
            Some(load) => Err(format!(
                "the load '{}' has not come further for {} s of CPU time: it hangs",
                load.name,
                SILENCE_OF_ONE.as_secs()
            )),
        }
    }

    fn memory_is_right(&self) -> Checked {
        let mib = |bytes: u64| bytes >> 20;
        if let Some(most) = self.memory.iter().max().filter(|most| **most > MOST) {
            return Err(format!(
                "the monitor has {} MiB besides the guest's RAM, more than {}",
                mib(*most),
                mib(MOST)
            ));
        }
        match grows(&self.memory) {
            None => Ok(()),
            Some((before, after)) => Err(format!(
                "the monitor's memory besides the guest's RAM grows on: from {} to {} MiB in a third of this part",
                mib(before),
                mib(after)
            )),
        }
    }

    /// What was done, in a line.
    pub fn summary(&self) -> String {
        let loads: Vec<String> = self.loads.iter().map(|l| format!("{} {}", l.name, l.rounds)).collect();
        let most = self.memory.iter().max().copied().unwrap_or(0) >> 20;
        format!("rounds: {}; memory besides RAM at most {most} MiB", loads.join(", "))
    }
}

/// Fails on a line in which the kernel complains.
fn complaint(text: &str) -> Checked {
    match text.lines().find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint))) {
        None => Ok(()),
        Some(line) => Err(format!("the guest's kernel complains: {line}")),
    }
}

/// Prints the end of the kernel's log, which says more than the console: where its CPUs were. The guest may not answer any more.
fn explain(shell: &mut Shell) {
    match shell.run("dmesg | tail -n 200", ENDING) {
        Ok(log) => eprintln!("{log}"),
        Err(why) => eprintln!("the kernel's log cannot be had: {why}"),
    }
}

/// The medians of the second and the last third, if memory would pass its bound.
fn grows(looks: &[u64]) -> Option<(u64, u64)> {
    if looks.len() < LOOKS {
        return None;
    }
    let third = looks.len() / 3;
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let (before, after) = (median(&looks[third..2 * third]), median(&looks[2 * third..]));
    let thirds = AHEAD.as_secs() / (third as u64 * EVERY.as_secs());
    (after + after.saturating_sub(before) * thirds > MOST).then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_loads() {
        let mut watch = Watch::new(&["net", "disk"]);
        watch
            .hears("soak: net ok 1\n[ 3.0] noisesoak: net ok 2\nsoak: disk ended\nsoak: other ok 1\n")
            .unwrap();
        assert!(watch.loads[0].rounds == 2 && !watch.loads[0].ended && watch.loads[1].ended);
        assert!(watch.silence().is_ok());
        assert!(watch.hears("soak: disk FAILED: differ: byte 3\n").unwrap_err().contains("byte 3"));
        assert!(watch.hears("watchdog: BUG: soft lockup - CPU#1 stuck\n").is_err());
    }

    #[test]
    fn silence_is_a_hang() {
        let mut watch = Watch::new(&["net", "disk"]);
        watch.used = SILENCE_OF_ONE * 2;
        watch.loads[1].used = watch.used;
        assert!(watch.silence().unwrap_err().contains("'net'"));
        watch.loads[0].used = watch.used;
        watch.loads[0].heard -= SILENCE * 2;
        assert!(watch.silence().is_ok());
        watch.loads[1].heard -= SILENCE * 2;
        assert!(watch.silence().unwrap_err().contains("no load"));
    }

    #[test]
    fn memory_that_grows_on() {
        let steady: Vec<u64> = (0..90).map(|n| (50 + n % 3) << 20).collect();
        let once: Vec<u64> = (0..180).map(|n| if n < 60 { n << 20 } else { 460 << 20 }).collect();
        // In half an hour: 300 and 435, then nearly nothing; and 2 MiB a minute.
        let slower: Vec<u64> = (0..180).map(|n| (435 - 135 / (n / 20 + 1)) << 20).collect();
        let on: Vec<u64> = (0..180).map(|n| (400 + n / 3) << 20).collect();
        assert!(grows(&steady).is_none() && grows(&once).is_none() && grows(&on[..20]).is_none());
        assert_eq!((grows(&slower), grows(&on)), (None, Some((430 << 20, 450 << 20))));
        let watch = Watch { memory: vec![MOST + 1], ..Watch::new(&[]) };
        assert!(watch.memory_is_right().unwrap_err().contains("more than 512"));
    }
}
