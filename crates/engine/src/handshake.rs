//! How a page becomes code while other vCPUs may be writing to it.
//!
//! A vCPU writes to a page through an entry of its TLB, without any check before. So before a page's bytes
//! are read to be translated, every vCPU that may have such an entry is asked to drop it, and must pass a
//! safepoint or be offline: its earlier writes are read then, and its later writes pass the write guard. A
//! thread that waits serves others' requests meanwhile, and holds no lock.

use crate::memory::GuestMemory;
use crate::paged::Paged;
use crate::run::Engine;
use std::time::Duration;
use trine_ir::Isa;
use trine_memory::Becoming;

/// Number of checks of a peer before the thread sleeps between checks: usually the peer is in generated code
/// and answers at once. If its host thread does not run, spinning would only keep it from running.
const LOOKS: u32 = 64;
/// Duration of a sleep.
const SLEEP: Duration = Duration::from_micros(20);

impl<I: Isa> Engine<I, Paged<I>> {
    /// Makes the page at a physical address a code page, which it is until somebody writes to it.
    pub(crate) fn make_code(&self, address: u64) {
        let page = address & !0xfff;
        let ram = &self.core.memory.ram;
        match ram.become_code(page) {
            Becoming::Done => {}
            // It may be data again afterwards: the caller looks.
            Becoming::Theirs => self.wait_while(|| !ram.is_settled(page) && ram.is_code(page)),
            Becoming::Mine(writers) => {
                self.take_writers(page, writers);
                ram.end_becoming(page);
            }
        }
    }

    /// Waits until none of these vCPUs can write to a page unnoticed.
    fn take_writers(&self, page: u64, writers: u8) {
        let Some(host) = self.core.memory.ram.host_address(page) else { return };
        if writers & self.member.writer != 0 {
            self.core.memory.tlb.protect(host);
        }
        let asked = self.translations.written().protect(host, writers, &self.member);
        if asked.is_empty() {
            return;
        }
        let epoch = self.translations.epochs().advance();
        self.wait_while(|| asked.iter().any(|m| m.writes.holds(epoch)));
    }

    fn wait_while(&self, wait: impl Fn() -> bool) {
        let mut looks = 0;
        while wait() {
            self.give_up_writes(self.translations.epochs().now());
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { std::thread::sleep(SLEEP) }
        }
    }
}

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    /// Drops write entries for pages that become code; `epoch` was read before.
    pub(crate) fn give_up_writes(&self, epoch: u64) {
        self.member.take_protect().into_iter().for_each(|host| self.core.memory.protect(host));
        self.member.writes.pass(epoch);
    }
}
