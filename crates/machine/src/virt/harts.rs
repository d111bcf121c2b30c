//! Requests that harts make of each other through the firmware: to start, to be interrupted, to drop
//! translations.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::state::{self, StateError, Versioned};
use trine_base::{Fence, Mailbox, Vcpu};
use trine_isa_riscv::state::{MIP, X};

/// Supervisor software interrupt in `mip`.
const SSIP: u64 = 2;

/// The state of a hart (SBI 2.0, section 9: the numbers of `sbi_hart_get_status`).
pub mod status {
    /// It executes instructions.
    pub const STARTED: u8 = 0;
    /// It waits to be started.
    pub const STOPPED: u8 = 1;
    /// It was asked to start.
    pub const START_PENDING: u8 = 2;
    /// It waits for an interrupt and keeps its state.
    pub const SUSPENDED: u8 = 4;
}

/// One hart as the other harts see it.
struct Hart {
    mailbox: Arc<Mailbox>,
    status: AtomicU8,
    /// Its start address and the value of `a1`; written by the hart that starts it.
    start: [AtomicU64; 2],
    /// Whether another hart sent it an interrupt.
    interrupt: AtomicBool,
    /// Number of fences asked of it, and number of fences that it has done.
    asked: AtomicU64,
    done: AtomicU64,
    /// Those not done yet.
    fences: Mutex<Fences>,
    /// Whether it executes instructions right now. A hart that does not will serve all requests before it
    /// does.
    online: AtomicBool,
}

/// Fences that a hart still has to do.
#[derive(Default)]
struct Fences(Vec<Fence>);

impl Fences {
    /// More than so many are one of everything.
    const MOST: usize = 16;

    fn add(&mut self, fence: Fence) {
        match self.0.len() < Fences::MOST {
            true if self.0.contains(&fence) => {}
            true => self.0.push(fence),
            false => self.0 = vec![Fence::All],
        }
    }
}

/// The saved state of a hart.
#[derive(Serialize, Deserialize)]
struct SavedHart {
    status: u8,
    start: [u64; 2],
    interrupt: bool,
    /// Whether it still has to do a fence.
    fence: bool,
}

trine_base::versions!(Saved of "the firmware" { V1(Vec<SavedHart>) });

impl Hart {
    fn fences(&self) -> MutexGuard<'_, Fences> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All harts of a board.
pub struct Harts {
    harts: Vec<Hart>,
    /// Number of harts that wait for another hart's fence.
    waiting: AtomicUsize,
    turn: Mutex<()>,
    passed: Condvar,
}

impl Harts {
    /// Creates the state at power-on: hart 0 runs, the others are stopped.
    pub fn new(mailboxes: Vec<Arc<Mailbox>>) -> Harts {
        let hart = |(index, mailbox)| Hart {
            mailbox,
            status: AtomicU8::new(if index == 0 { status::STARTED } else { status::STOPPED }),
            start: [const { AtomicU64::new(0) }; 2],
            interrupt: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            fences: Mutex::default(),
            online: AtomicBool::new(false),
        };
        let harts = mailboxes.into_iter().enumerate().map(hart).collect();
        Harts { harts, waiting: AtomicUsize::new(0), turn: Mutex::new(()), passed: Condvar::new() }
    }

    /// The harts in `mask`, whose lowest bit stands for hart `first`; all harts where `first` is -1. `None`
    /// where it names a hart that does not exist.
    pub fn named(&self, mask: u64, first: u64) -> Option<Vec<usize>> {
        if first == u64::MAX {
            return Some((0..self.harts.len()).collect());
        }
        let bits = (0..64).filter(|bit| mask >> bit & 1 != 0);
        let index =
            |bit: u64| usize::try_from(first.checked_add(bit)?).ok().filter(|i| *i < self.harts.len());
        bits.map(index).collect()
    }

    /// The state of a hart; `None` where it does not exist.
    pub fn status(&self, hart: u64) -> Option<u8> {
        let hart = self.harts.get(usize::try_from(hart).ok()?)?;
        Some(hart.status.load(Ordering::SeqCst))
    }

    /// Asks a stopped hart to start at `address` with `argument` in `a1`; returns false where it is not
    /// stopped.
    pub fn start(&self, hart: usize, address: u64, argument: u64) -> bool {
        let hart = &self.harts[hart];
        // Held while the two values are written, so that only one of several requests succeeds.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if hart.status.load(Ordering::SeqCst) != status::STOPPED {
            return false;
        }
        hart.start[0].store(address, Ordering::SeqCst);
        hart.start[1].store(argument, Ordering::SeqCst);
        hart.status.store(status::START_PENDING, Ordering::SeqCst);
        hart.mailbox.request(Mailbox::PAUSE);
        true
    }

    /// Stops the calling hart; returns false where it is the last running one, because the machine would then
    /// stop for ever.
    pub fn stop(&self, own: usize) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = |(index, hart): (usize, &Hart)| {
            index != own && hart.status.load(Ordering::SeqCst) != status::STOPPED
        };
        let others = self.harts.iter().enumerate().any(runs);
        if others {
            self.harts[own].status.store(status::STOPPED, Ordering::SeqCst);
        }
        others
    }

    /// Suspends the calling hart until it runs again.
    pub fn suspend(&self, own: usize) {
        self.harts[own].status.store(status::SUSPENDED, Ordering::SeqCst);
    }

    /// Sends a software interrupt to `targets`; `vcpu` is the calling hart `own`.
    pub fn interrupt(&self, own: usize, vcpu: &mut dyn Vcpu, targets: &[usize]) {
        for &target in targets {
            if target == own {
                vcpu.set(MIP, vcpu.get(MIP) | SSIP);
            } else {
                let hart = &self.harts[target];
                hart.interrupt.store(true, Ordering::SeqCst);
                hart.mailbox.request(Mailbox::PAUSE);
            }
        }
    }

    /// Makes `targets` do a fence and returns when they have done so. `vcpu` is the calling hart `own`, which does not
    /// run meanwhile, so two harts that wait for each other both go on.
    pub fn fence(&self, own: usize, vcpu: &mut dyn Vcpu, targets: &[usize], what: Fence) {
        let mut asked = Vec::new();
        for &target in targets {
            if target == own {
                vcpu.fence(what);
                continue;
            }
            let hart = &self.harts[target];
            // Added before it is counted: who has done so many has done this one.
            hart.fences().add(what);
            let ticket = hart.asked.fetch_add(1, Ordering::SeqCst) + 1;
            // A hart that comes online after this check sees the request.
            if hart.online.load(Ordering::SeqCst) {
                hart.mailbox.request(Mailbox::PAUSE);
                asked.push((hart, ticket));
            }
        }
        for (hart, ticket) in asked {
            self.wait_for(hart, ticket);
        }
    }

    fn wait_for(&self, hart: &Hart, ticket: u64) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while hart.online.load(Ordering::SeqCst) && hart.done.load(Ordering::SeqCst) < ticket {
            turn = self.passed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        drop(turn);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Hart `own` is about to run: serves the requests made of it. Returns false while it is stopped.
    pub fn enter(&self, own: usize, vcpu: &mut dyn Vcpu) -> bool {
        let hart = &self.harts[own];
        // Set before the requests are read: a hart that makes one after that waits until it has been served.
        hart.online.store(true, Ordering::SeqCst);
        // Read once: a hart that starts this one right afterwards makes it enter once more.
        match hart.status.load(Ordering::SeqCst) {
            status::START_PENDING => {
                vcpu.reset();
                let [address, argument] = [0, 1].map(|n| hart.start[n].load(Ordering::SeqCst));
                vcpu.set_pc(address);
                vcpu.set(X + 10, own as u64);
                vcpu.set(X + 11, argument);
                hart.status.store(status::STARTED, Ordering::SeqCst);
            }
            status::SUSPENDED => hart.status.store(status::STARTED, Ordering::SeqCst),
            _ => {}
        }
        if hart.interrupt.swap(false, Ordering::SeqCst) {
            vcpu.set(MIP, vcpu.get(MIP) | SSIP);
        }
        let asked = hart.asked.load(Ordering::SeqCst);
        if asked != hart.done.load(Ordering::Relaxed) {
            let fences = std::mem::take(&mut *hart.fences());
            fences.0.into_iter().for_each(|fence| vcpu.fence(fence));
            hart.done.store(asked, Ordering::SeqCst);
        }
        hart.status.load(Ordering::SeqCst) == status::STARTED
    }

    /// Saves the state of the harts and the requests not served yet; no hart may run.
    pub fn save(&self) -> Vec<u8> {
        let saved = self.harts.iter().map(|hart| SavedHart {
            status: hart.status.load(Ordering::SeqCst),
            start: [0, 1].map(|n| hart.start[n].load(Ordering::SeqCst)),
            interrupt: hart.interrupt.load(Ordering::SeqCst),
            fence: hart.asked.load(Ordering::SeqCst) != hart.done.load(Ordering::SeqCst),
        });
        state::save(&Saved::V1(saved.collect()))
    }

    /// Loads the state of the same number of harts; no hart may run.
    ///
    /// # Errors
    /// The state is damaged, or has another number of harts.
    pub fn load(&self, bytes: &[u8]) -> Result<(), StateError> {
        let Saved::V1(saved) = state::load(bytes)?;
        if saved.len() != self.harts.len() {
            let (there, here) = (saved.len(), self.harts.len());
            return Err(Saved::mismatch(format!("it has {there} harts, but this machine has {here}")));
        }
        let known = [status::STARTED, status::STOPPED, status::START_PENDING, status::SUSPENDED];
        if let Some(hart) = saved.iter().find(|hart| !known.contains(&hart.status)) {
            return Err(Saved::damaged(format!("a hart has the status {}", hart.status)));
        }
        for (hart, saved) in self.harts.iter().zip(saved) {
            hart.status.store(saved.status, Ordering::SeqCst);
            hart.start.iter().zip(saved.start).for_each(|(to, value)| to.store(value, Ordering::SeqCst));
            hart.interrupt.store(saved.interrupt, Ordering::SeqCst);
            let done = hart.done.load(Ordering::SeqCst);
            *hart.fences() = Fences(if saved.fence { vec![Fence::All] } else { Vec::new() });
            hart.asked.store(done + u64::from(saved.fence), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Hart `own` has stopped running.
    pub fn leave(&self, own: usize) {
        self.harts[own].online.store(false, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Locked, so that this cannot fall between a waiting hart's check and its sleep.
            drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
            self.passed.notify_all();
        }
    }
}
