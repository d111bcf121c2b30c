//! Two machines that should do the same, compared: all registers at every block's end, all memory
//! at intervals. Both run in count mode, so the same instructions see the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use trine_base::Vcpu;
use trine_machine::{Board, End};

/// Instructions between comparisons of memory.
const MEMORY_EVERY: u64 = 50_000_000;

/// A run without difference.
#[derive(Debug)]
pub struct Done {
    /// Instructions executed.
    pub instructions: u64,
    /// Times that all registers were compared.
    pub comparisons: u64,
    /// How both machines ended.
    pub end: End,
}

/// What a user does to both machines. It reaches them between two blocks, at the same instruction of each.
#[derive(Clone, Default)]
pub struct User {
    does: Arc<Mutex<Vec<Action>>>,
    quits: Arc<AtomicBool>,
}

enum Action {
    Input(Vec<u8>),
    SysRq(u8),
}

impl User {
    /// Types.
    pub fn input(&self, bytes: &[u8]) {
        self.add(Action::Input(bytes.into()));
    }

    /// Sends a SysRq command.
    pub fn sysrq(&self, command: u8) {
        self.add(Action::SysRq(command));
    }

    /// Ends both.
    pub fn quit(&self) {
        self.quits.store(true, Ordering::SeqCst);
    }

    fn add(&self, action: Action) {
        self.does.lock().unwrap_or_else(PoisonError::into_inner).push(action);
    }

    fn reaches(&self, machines: [&Board; 2]) {
        let does = std::mem::take(&mut *self.does.lock().unwrap_or_else(PoisonError::into_inner));
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

/// Runs both until they or the user end it. The error says where they first differ.
pub fn run(a: &mut Board, b: &mut Board, user: &User) -> Result<Done, String> {
    let (mut comparisons, mut next_memory) = (0, MEMORY_EVERY);
    loop {
        if user.quits.load(Ordering::SeqCst) {
            return Ok(Done { instructions: a.vcpu().count(), comparisons, end: End::Quit });
        }
        user.reaches([a, b]);
        let before = (a.vcpu().pc(), a.vcpu().count());
        let budget = a.vcpu().block_length();
        let (end_a, end_b) = (a.step(budget), b.step(budget));
        comparisons += 1;
        registers(a, b)
            .map_err(|d| format!("after the block at {:#x}, at instruction {}: {d}", before.0, before.1))?;
        if end_a != end_b {
            return Err(format!("one machine ends with {end_a:?}, the other with {end_b:?}"));
        }
        let count = a.vcpu().count();
        if count >= next_memory || end_a.is_some() {
            memory(a, b).map_err(|at| format!("memory differs at {at:#x} before instruction {count}"))?;
            next_memory = count + MEMORY_EVERY;
        }
        if let Some(end) = end_a {
            return Ok(Done { instructions: count, comparisons, end });
        }
    }
}

fn registers(a: &mut Board, b: &mut Board) -> Result<(), String> {
    let (a, b) = (a.vcpu(), b.vcpu());
    if (a.pc(), a.count()) != (b.pc(), b.count()) {
        return Err(format!("pc {:#x} and {:#x}, count {} and {}", a.pc(), b.pc(), a.count(), b.count()));
    }
    let differs = |r: &&trine_base::RegisterInfo| a.get(r.slot) != b.get(r.slot);
    match a.registers().iter().find(differs) {
        Some(r) => Err(format!("{} is {:#x} and {:#x}", r.name, a.get(r.slot), b.get(r.slot))),
        None => Ok(()),
    }
}

/// Bytes compared at a time.
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
