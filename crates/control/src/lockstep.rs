//! Compares two machines that should do the same: all registers at the end of every block, all memory at
//! intervals. Both count time by instructions, so that the same instructions see the same time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine_base::Vcpu;
use trine_machine::{Board, End};

/// Instructions between comparisons of memory.
const MEMORY_EVERY: u64 = 50_000_000;

/// The result of a run without a difference.
#[derive(Debug)]
pub struct Done {
    /// Instructions executed.
    pub instructions: u64,
    /// Number of times that all registers were compared.
    pub comparisons: u64,
    /// How both machines ended.
    pub end: End,
}

/// A user's actions on both machines. They take effect between two blocks, at the same instruction of each.
#[derive(Clone, Default)]
pub struct User {
    shared: Arc<(Mutex<Wishes>, Condvar)>,
}

#[derive(Default)]
struct Wishes {
    does: Vec<Action>,
    quits: bool,
    paused: bool,
    /// Whether the machines run, and whether they are paused.
    runs: bool,
    stands: bool,
}

enum Action {
    Input(Vec<u8>),
    SysRq(u8),
}

impl User {
    /// Types into both consoles.
    pub fn input(&self, bytes: &[u8]) {
        self.wish(|wishes| wishes.does.push(Action::Input(bytes.into())));
    }

    /// Sends a SysRq command to both.
    pub fn sysrq(&self, command: u8) {
        self.wish(|wishes| wishes.does.push(Action::SysRq(command)));
    }

    /// Ends both.
    pub fn quit(&self) {
        self.wish(|wishes| wishes.quits = true);
    }

    /// Pauses both; returns false where they still run after `most`.
    pub fn pause(&self, most: Duration) -> bool {
        self.wish(|wishes| wishes.paused = true);
        let moves = |wishes: &mut Wishes| wishes.paused && wishes.runs && !wishes.stands;
        let waited = self.shared.1.wait_timeout_while(self.lock(), most, moves);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lets both go on.
    pub fn resume(&self) {
        self.wish(|wishes| wishes.paused = false);
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.lock());
        self.shared.1.notify_all();
    }

    /// Whether the machines go on to the next block; waits while they are paused.
    fn goes_on(&self) -> bool {
        let mut wishes = self.lock();
        if wishes.paused && !wishes.quits {
            wishes.stands = true;
            self.shared.1.notify_all();
            let paused = |wishes: &mut Wishes| wishes.paused && !wishes.quits;
            wishes = self.shared.1.wait_while(wishes, paused).unwrap_or_else(PoisonError::into_inner);
            wishes.stands = false;
        }
        !wishes.quits
    }

    fn reaches(&self, machines: [&Board; 2]) {
        let does = std::mem::take(&mut self.lock().does);
        if does.is_empty() {
            return;
        }
        for remote in machines.map(Board::remote) {
            for action in &does {
                match action {
                    Action::Input(bytes) => {
                        remote.input(bytes);
                    }
                    Action::SysRq(command) => remote.sysrq(*command),
                }
            }
        }
    }
}

/// Runs both until they end or the user ends them. The error says where they first differ.
pub fn run(a: &mut Board, b: &mut Board, user: &User) -> Result<Done, String> {
    user.wish(|wishes| wishes.runs = true);
    let result = compare(a, b, user);
    user.wish(|wishes| wishes.runs = false);
    result
}

fn compare(a: &mut Board, b: &mut Board, user: &User) -> Result<Done, String> {
    let (mut comparisons, mut next_memory) = (0, MEMORY_EVERY);
    loop {
        if !user.goes_on() {
            return Ok(Done { instructions: count(a), comparisons, end: End::Quit });
        }
        user.reaches([a, b]);
        let next = a.next_vcpu();
        let vcpu = &mut a.vcpus()[next];
        let (before, budget) = ((vcpu.pc(), vcpu.count()), vcpu.block_length());
        let (end_a, end_b) = (a.step(budget), b.step(budget));
        comparisons += 1;
        registers(a, b)
            .map_err(|d| format!("after the block at {:#x}, at instruction {}: {d}", before.0, before.1))?;
        if end_a != end_b {
            return Err(format!("one machine ends with {end_a:?}, the other with {end_b:?}"));
        }
        let count = count(a);
        if count >= next_memory || end_a.is_some() {
            memory(a, b).map_err(|at| format!("memory differs at {at:#x} before instruction {count}"))?;
            next_memory = count + MEMORY_EVERY;
        }
        if let Some(end) = end_a {
            return Ok(Done { instructions: count, comparisons, end });
        }
    }
}

/// Instructions executed by the vCPU that is furthest on; all vCPUs have the same clock.
fn count(board: &mut Board) -> u64 {
    board.vcpus().iter().map(|vcpu| vcpu.count()).max().unwrap_or(0)
}

/// Compares all registers of the vCPUs.
fn registers(a: &mut Board, b: &mut Board) -> Result<(), String> {
    a.vcpus().iter().zip(b.vcpus().iter()).try_for_each(|(a, b)| same_state(&**a, &**b))
}

fn same_state(a: &dyn Vcpu, b: &dyn Vcpu) -> Result<(), String> {
    if (a.pc(), a.count()) != (b.pc(), b.count()) {
        return Err(format!("pc {:#x} and {:#x}, count {} and {}", a.pc(), b.pc(), a.count(), b.count()));
    }
    let differs = |r: &&trine_base::RegisterInfo| a.get(r.slot) != b.get(r.slot);
    match a.registers().iter().find(differs) {
        Some(r) => Err(format!("{} is {:#x} and {:#x}", r.name, a.get(r.slot), b.get(r.slot))),
        None => Ok(()),
    }
}

/// Bytes of memory that are compared at a time.
const PIECE: u64 = 1 << 16;

fn memory(a: &Board, b: &Board) -> Result<(), u64> {
    let (ram, other) = (a.ram(), b.ram());
    let (mut x, mut y) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    for at in (ram.base()..ram.base() + ram.size()).step_by(PIECE as usize) {
        let n = PIECE.min(ram.base() + ram.size() - at) as usize;
        if ram.read(at, &mut x[..n]) != other.read(at, &mut y[..n]) || x[..n] != y[..n] {
            return Err(at);
        }
    }
    Ok(())
}
