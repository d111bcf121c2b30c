//! Memory balloon (virtio 1.2, 5.5): the guest gives pages to the host, as many as the host asks for, and reports pages
//! that it does not use. Statistics, hints of free pages and poison values are not offered.

use super::queue::{Chain, Progress, Queue, Served, gather, total};
use super::{Broken, Virtio};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use trine_base::{StateError, Waker, Width, state, versions};
use trine_memory::Ram;

/// Feature: the guest may take pages back when it has no others.
const F_DEFLATE_ON_OOM: u64 = 1 << 2;
/// Feature: the guest reports free pages.
const F_PAGE_REPORTING: u64 = 1 << 5;

/// Queues: pages for the host, pages that the guest takes back, reports. The last one is behind those of the features
/// that are offered before it, which are none.
const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const QUEUES: usize = 3;

/// log2 of the size of a balloon's pages, whatever the guest's own are.
const PAGE_BITS: u32 = 12;
/// Page numbers, or reported ranges, that are served at a time.
const PIECE: usize = 256;

/// log2 of the size in bytes of the pages that [`BalloonControl`] counts.
pub const BALLOON_PAGE_BITS: u32 = PAGE_BITS;

/// How many pages of 4 KiB the host wants, and how many it has.
#[derive(Default)]
pub struct BalloonControl {
    target: AtomicU32,
    actual: AtomicU32,
    reported: AtomicU64,
    waker: Waker,
}

impl BalloonControl {
    /// A control that wants no pages; `waker` is the device's.
    pub fn new(waker: Waker) -> BalloonControl {
        BalloonControl { waker, ..BalloonControl::default() }
    }

    /// The device's waker, for the board to connect.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Asks the guest for as many pages of 4 KiB. It gives them when its driver gets to it, if it has one.
    pub fn set_target(&self, pages: u32) {
        self.target.store(pages, Ordering::SeqCst);
        self.waker.wake();
    }

    /// How many pages the host wants.
    pub fn target(&self) -> u32 {
        self.target.load(Ordering::SeqCst)
    }

    /// How many bytes the guest has reported as free so far. It may have taken them into use again.
    pub fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// How many pages the guest says that it has given.
    pub fn actual(&self) -> u32 {
        self.actual.load(Ordering::SeqCst)
    }
}

/// The state that a guest has seen or set.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Registers {
    /// What the guest knows of the target.
    target: u32,
    actual: u32,
}

versions!(Saved of "the memory balloon" { V1(Registers) });

/// The device.
pub struct Balloon {
    control: Arc<BalloonControl>,
    registers: Registers,
}

impl Balloon {
    /// Creates a balloon that follows `control`.
    pub fn new(control: Arc<BalloonControl>) -> Balloon {
        Balloon { control, registers: Registers::default() }
    }

    fn set_actual(&mut self, actual: u32) {
        self.registers.actual = actual;
        self.control.actual.store(actual, Ordering::SeqCst);
    }
}

/// Gives some of a chain's pages, from byte `done` of its page numbers on, back to the host.
fn inflate(ram: &Ram, chain: &Chain, done: u64) -> Progress {
    let mut bytes = [0; 4 * PIECE];
    let len = gather(ram, &chain.readable, done, &mut bytes);
    let numbers = bytes[..len].chunks_exact(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]));
    // Neighbours go together: the host is asked once for a run of pages.
    let mut run: (u64, u64) = (0, 0);
    for page in numbers.map(u64::from) {
        if page == run.0 + run.1 {
            run.1 += 1;
            continue;
        }
        discard_run(ram, run);
        run = (page, 1);
    }
    discard_run(ram, run);
    let len = len as u64;
    match done + len < total(&chain.readable) && len > 0 {
        true => Progress::Moved(len),
        false => Progress::Finished { moved: len, written: 0 },
    }
}

/// Discards pages; what is not RAM is not the guest's to give, and is ignored.
fn discard_run(ram: &Ram, (page, count): (u64, u64)) {
    let _ = ram.discard(page << PAGE_BITS, count << PAGE_BITS);
}

/// Gives reported ranges back to the host, from range `done` of the chain on.
fn report(ram: &Ram, control: &BalloonControl, chain: &Chain, done: u64) -> Progress {
    let rest = usize::try_from(done).ok().and_then(|done| chain.writable.get(done..)).unwrap_or_default();
    let piece = &rest[..rest.len().min(PIECE)];
    for range in piece {
        if ram.discard(range.address, range.len.into()).is_some() {
            control.reported.fetch_add(range.len.into(), Ordering::Relaxed);
        }
    }
    let count = piece.len() as u64;
    match rest.len() > piece.len() {
        true => Progress::Moved(count),
        false => Progress::Finished { moved: count, written: 0 },
    }
}

impl Virtio for Balloon {
    fn id(&self) -> u32 {
        5
    }

    fn name(&self) -> &str {
        "virtio-balloon"
    }

    fn features(&self) -> u64 {
        F_DEFLATE_ON_OOM | F_PAGE_REPORTING
    }

    fn queues(&self) -> usize {
        QUEUES
    }

    fn config(&self) -> Vec<u8> {
        [self.registers.target, self.registers.actual].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn write_config(&mut self, offset: u64, width: Width, value: u64) {
        if (offset, width) == (4, Width::B4) {
            self.set_actual(value as u32);
        }
    }

    fn config_changed(&mut self) -> bool {
        let target = self.control.target.load(Ordering::SeqCst);
        std::mem::replace(&mut self.registers.target, target) != target
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let control = &self.control;
        queue.serve(ram, |chain, done, _| {
            Ok(match index {
                INFLATE => inflate(ram, chain, done),
                // Memory comes back when it is touched.
                DEFLATE => Progress::Finished { moved: 0, written: 0 },
                _ => report(ram, control, chain, done),
            })
        })
    }

    fn reset(&mut self) {
        self.set_actual(0);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        self.set_actual(registers.actual);
        // What the saved machine was asked for holds for the one that goes on.
        self.control.target.store(registers.target, Ordering::SeqCst);
        self.registers = registers;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::tests::{BASE, DATA, Driver, SIZE};

    const PAGE: u64 = 1 << PAGE_BITS;
    /// Pages that the tests give away.
    const FIRST: u64 = BASE + 0x80_0000;

    fn test() -> (Driver, Arc<BalloonControl>) {
        let control = Arc::new(BalloonControl::default());
        let d = Driver::new(Balloon::new(control.clone()));
        d.ram.write(FIRST, &[7; 8 * PAGE as usize]).unwrap();
        (d, control)
    }

    /// Which of the tests' pages are the guest's still.
    fn there(d: &Driver) -> Vec<bool> {
        (0..8).map(|i| d.bytes(FIRST + i * PAGE, PAGE as usize) == vec![7; PAGE as usize]).collect()
    }

    fn give(d: &mut Driver, pages: &[u64]) {
        let numbers: Vec<u8> = pages.iter().flat_map(|page| (*page as u32).to_le_bytes()).collect();
        d.ram.write(DATA, &numbers).unwrap();
        d.request(INFLATE, &[(DATA, numbers.len() as u32)], &[]);
    }

    #[test]
    fn the_guest_gives_pages_to_the_host() {
        let (mut d, _) = test();
        let first = FIRST / PAGE;
        give(&mut d, &[first + 1, first + 2, first + 5, u32::MAX as u64, 0, first + 6]);
        assert_eq!(there(&d), [true, false, false, true, true, false, false, true]);
        assert_eq!((d.used(INFLATE), d.last_used(INFLATE)), (1, (0, 0)));
        d.request(DEFLATE, &[(DATA, 4)], &[]);
        assert_eq!(d.used(DEFLATE), 1);
        // More than are served at a time.
        let many: Vec<u64> =
            (0..PIECE as u64 + 3).map(|i| if i == PIECE as u64 + 2 { first } else { 1 }).collect();
        give(&mut d, &many);
        assert_eq!((d.used(INFLATE), there(&d)[0]), (2, false));
    }

    #[test]
    fn the_guest_reports_what_it_does_not_use() {
        let (mut d, control) = test();
        d.request(2, &[], &[(FIRST + 1, 2 * PAGE as u32), (FIRST + 4 * PAGE, PAGE as u32)]);
        assert_eq!(there(&d), [true, false, true, true, false, true, true, true], "whole pages only");
        assert_eq!((d.used(2), control.reported()), (1, 3 * PAGE));
        d.request(2, &[], &[(BASE + SIZE - PAGE, 2 * PAGE as u32)]);
        assert!(d.needs_reset(), "outside memory");
    }

    #[test]
    fn the_host_asks_for_pages() {
        let (mut d, control) = test();
        control.set_target(1000);
        d.timer = Some(0);
        d.turn();
        assert_eq!((d.read(0x60), d.read(0x100), d.read(0x104)), (2, 1000, 0));
        d.write(0x104, 512);
        assert_eq!((control.actual(), d.read(0x104)), (512, 512));
        d.write(0x100, 1);
        assert_eq!((d.read(0x100), d.read(0x108)), (1000, 0), "the target is the host's");
        d.write(0x70, 0);
        assert_eq!(control.actual(), 0);
    }

    #[test]
    fn a_loaded_balloon_wants_what_the_saved_one_wanted() {
        let registers = Registers { target: 1000, actual: 512 };
        let control = Arc::new(BalloonControl::default());
        let mut balloon = Balloon::new(control.clone());
        balloon.load(&state::save(&Saved::V1(registers))).unwrap();
        assert_eq!((control.target(), control.actual()), (1000, 512));
        assert!(!balloon.config_changed(), "the guest knows that already");
    }

    #[test]
    fn anything_a_guest_may_do() {
        let (mut d, _) = test();
        for queue in 0..3 {
            for len in [0u32, 1, 3, 4, 4097, 1 << 20] {
                d.request(queue, &[(BASE, len)], &[(BASE, len), (FIRST, len)]);
                d.request(queue, &[], &[(FIRST, len)]);
                d.write(0x70, 0);
                d.negotiate();
            }
        }
        for offset in (0..0x200).step_by(4) {
            d.write(offset, 0xffff_ffff);
            d.read(offset);
        }
    }
}
