//! Running a machine in counted instructions: its vCPUs take turns on one thread, so that the same run gives
//! the same result.
//!
//! There is one clock: it counts the instructions of all vCPUs, and the time during which all of them waited.
//! When a vCPU's turn begins, it first lets the time pass that the others used, as if it had waited so long.

use super::{Board, Stretch, is_wanted};
use crate::End;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use trine_base::StateError;

/// Instructions per turn, where there are several vCPUs.
const TURN: u64 = 10_000;
/// The longest sleep of a machine that has no timer armed.
const LONGEST: Duration = Duration::from_millis(100);

/// The latest time in nanoseconds that a waiting machine skips to: counting on from there does not overflow
/// for days. A guest may wait for a later one, centuries away, which never comes.
const LATEST: u64 = u64::MAX - (1 << 48);

/// Whose turn it is, and which vCPUs wait.
pub(super) struct Turns {
    /// The vCPU whose turn it is.
    now: usize,
    /// Instructions that are left of its turn.
    left: u64,
    /// For each vCPU that waits, the clock time in nanoseconds at which its own timer ends the wait.
    resting: Vec<Option<Rest>>,
}

/// The saved state of [`Turns`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedTurns {
    now: u64,
    left: u64,
    resting: Vec<Option<Rest>>,
}

/// How long a vCPU waits: until a clock time in nanoseconds, or, with `None`, until something is posted to
/// it.
type Rest = Option<u64>;

impl Turns {
    pub(super) fn new(vcpus: usize) -> Turns {
        Turns { now: 0, left: TURN, resting: vec![None; vcpus] }
    }

    pub(super) fn save(&self) -> SavedTurns {
        SavedTurns { now: self.now as u64, left: self.left, resting: self.resting.clone() }
    }

    /// Loads the turns of the same number of vCPUs.
    pub(super) fn load(&mut self, saved: SavedTurns) -> Result<(), StateError> {
        let now = usize::try_from(saved.now).ok().filter(|now| *now < self.resting.len());
        let Some(now) = now.filter(|_| saved.resting.len() == self.resting.len()) else {
            let why = "it is the turn of a vCPU that does not exist".into();
            return Err(StateError::Damaged { what: "the machine", why });
        };
        let soon_enough = |rest: Option<Rest>| rest.map(|until| until.map(|at| at.min(LATEST)));
        let resting = saved.resting.into_iter().map(soon_enough).collect();
        *self = Turns { now, left: saved.left.min(TURN), resting };
        Ok(())
    }

    fn pass(&mut self) {
        self.now = (self.now + 1) % self.resting.len();
        self.left = TURN;
    }
}

impl Board {
    /// The vCPU that [`Board::step`] will run next.
    pub fn next_vcpu(&mut self) -> usize {
        let waits = |board: &Board| {
            if board.parts.debug.holds(board.turns.now) {
                return true;
            }
            let Some(rest) = board.turns.resting[board.turns.now] else { return false };
            let is_over = rest.is_some_and(|at| at <= board.parts.clock.now());
            !is_over && !is_wanted(&board.parts.mailboxes[board.turns.now])
        };
        for _ in 0..self.vcpus.len() {
            if !waits(self) {
                break;
            }
            self.turns.pass();
        }
        self.turns.now
    }

    /// In counted time: runs one vCPU for at most `budget` instructions, and lets time pass where all vCPUs
    /// wait. Returns the machine's end, if it ended.
    pub fn step(&mut self, budget: u64) -> Option<End> {
        if !self.parts.control.goes_on() {
            return self.parts.control.end();
        }
        let (index, several) = (self.next_vcpu(), self.vcpus.len() > 1);
        if self.parts.debug.holds(index) {
            // The others wait, and this one would for ever.
            self.turns.resting.fill_with(|| Some(None));
            self.let_time_pass();
            return None;
        }
        self.turns.resting[index] = None;
        let vcpu = &mut self.vcpus[index];
        let budget = if several { budget.min(self.turns.left) } else { budget };
        if several {
            vcpu.skip_to(self.parts.clock.now());
        }
        let before = vcpu.count();
        let end = match self.parts.stretch(index, &mut **vcpu, budget) {
            Stretch::Go => None,
            Stretch::Rest(until) => {
                self.turns.resting[index] = Some(until);
                None
            }
            Stretch::End(end) => Some(end),
        };
        self.turns.left = self.turns.left.saturating_sub(vcpu.count() - before);
        if self.turns.resting.iter().all(Option::is_some) {
            self.let_time_pass();
        } else if several && (self.turns.left == 0 || self.turns.resting[index].is_some()) {
            self.turns.pass();
        }
        if let Some(end) = &end {
            self.parts.control.finish(end.clone());
        }
        end
    }

    /// All vCPUs wait, so no instructions are counted: moves the clock to the next event at once.
    fn let_time_pass(&mut self) {
        let own = self.turns.resting.iter().filter_map(|rest| rest.flatten());
        let next = own.chain(self.parts.bus.next_timer()).filter(|at| *at <= LATEST).min();
        match next {
            Some(at) => self.vcpus[self.turns.now].skip_to(at),
            None => self.parts.sleep(self.turns.now, Some(LONGEST)),
        }
        // A vCPU that still has nothing to do waits again; the one that runs first runs the devices' timers.
        self.turns.resting.fill(None);
    }
}
