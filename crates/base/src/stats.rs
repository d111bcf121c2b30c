//! Counters of a vCPU that translates guest code.

use std::ops::AddAssign;

/// What a translating vCPU has done since power-on.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Guest instructions interpreted.
    pub interpreted: u64,
    /// Blocks decoded.
    pub decoded: u64,
    /// Blocks compiled.
    pub compiled: u64,
    /// Guest instructions compiled.
    pub compiled_insns: u64,
    /// Bytes of host code generated.
    pub code_bytes: u64,
    /// Number of times that generated code was entered.
    pub entered: u64,
    /// Code ranges whose translations were dropped because the guest wrote to them.
    pub ranges_written: u64,
    /// Number of times that all code was dropped because the code memory was full.
    pub dropped: u64,
}

impl Stats {
    /// The counters as text, for a vCPU that has executed `count` instructions.
    pub fn describe(&self, count: u64) -> String {
        let generated = 100.0 * (1.0 - self.interpreted as f64 / count.max(1) as f64);
        format!(
            "instructions {count}, {generated:.2} % of them in generated code\n\
             blocks decoded {}, compiled {} ({} instructions, {} bytes of code)\n\
             entered {} times; code written {} times; all code dropped {} times",
            self.decoded,
            self.compiled,
            self.compiled_insns,
            self.code_bytes,
            self.entered,
            self.ranges_written,
            self.dropped
        )
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.interpreted += other.interpreted;
        self.decoded += other.decoded;
        self.compiled += other.compiled;
        self.compiled_insns += other.compiled_insns;
        self.code_bytes += other.code_bytes;
        self.entered += other.entered;
        self.ranges_written += other.ranges_written;
        self.dropped += other.dropped;
    }
}
