//! Traps, special registers, waiting.

use super::{R, Toy};
use crate::state::*;
use trine_ir::{Flush, Hart, Helper, Leave, Res, SlotSet, isa::RAISE_AFTER};

/// The special registers that `mts` and `mfs` reach, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// Handler of traps.
    Vec,
    /// Program counter before the trap.
    Epc,
    /// Number of the trap.
    Cause,
    /// Status before the trap.
    Status,
    /// Table of user pages, in units of 256 bytes.
    Table,
    /// Interrupts taken.
    Interrupts,
    /// Base of data, in units of 256 bytes.
    DataBase,
    /// Code base before the trap, in units of 256 bytes.
    CodeBase,
}

impl Special {
    /// Their names, by number.
    pub const NAMES: [&str; 8] = ["vec", "epc", "cause", "estatus", "pt", "ie", "db", "ecb"];

    /// Its slot, and how far its value lies shifted in there.
    fn place(self) -> (u16, i64) {
        match self {
            Special::Vec => (VEC, 0),
            Special::Epc => (EPC, 0),
            Special::Cause => (CAUSE, 0),
            Special::Status => (ESTATUS, 0),
            Special::Table => (PT, 8),
            Special::Interrupts => (IE, 0),
            Special::DataBase => (DB, 8),
            Special::CodeBase => (ECB, 8),
        }
    }

    /// Whether a translation ends behind a write of it.
    pub fn ends_block(self) -> bool {
        self == Special::Interrupts
    }
}

impl From<u8> for Special {
    fn from(n: u8) -> Special {
        use Special::*;
        [Vec, Epc, Cause, Status, Table, Interrupts, DataBase, CodeBase][n as usize & 7]
    }
}

/// Every slot that taking a trap or an interrupt looks at.
const LOOKED_AT: &[u16] = &[CB, VEC, EPC, ECB, USER, ESTATUS, IE, HOSTED, STEP];

/// Interrupts are on, or off: one may be waiting.
static SET_INTERRUPTS: Helper = Helper {
    name: "set_interrupts",
    run: |hart, [value, ..]| {
        hart.set(IE, value & 1);
        hart.recheck();
        Err(Leave::EndBlock)
    },
    reads: SlotSet::Only(LOOKED_AT),
    writes: SlotSet::Only(&[IE]),
    leaves: true,
    flushes: false,
    fp: false,
};

/// Return from a trap.
static RTI: Helper = Helper {
    name: "rti",
    run: return_from_trap,
    reads: SlotSet::Only(LOOKED_AT),
    writes: SlotSet::Only(&[USER, IE, STEP, CB]),
    leaves: true,
    flushes: true,
    fp: false,
};

fn return_from_trap(hart: &dyn Hart, _: [u64; 3]) -> Result<u64, Leave> {
    let status = hart.get(ESTATUS);
    hart.set(USER, status & 1);
    hart.set(IE, status >> 1 & 1);
    hart.set(STEP, status >> 2 & 1);
    hart.set(CB, hart.get(ECB));
    hart.mode_changed();
    hart.recheck();
    hart.set_pc(hart.get(EPC));
    Err(Leave::Jump)
}

/// Wait for an interrupt. The CPU is halted until it takes one, whatever else happens to the vCPU meanwhile.
static WAIT: Helper = Helper {
    name: "wait",
    run: |hart, _| {
        hart.set(HALT, 1);
        Err(Leave::Idle)
    },
    reads: SlotSet::NONE,
    writes: SlotSet::Only(&[HALT]),
    leaves: true,
    flushes: false,
    fp: false,
};

/// Forget the translations of addresses.
static FLUSH: Helper = Helper {
    name: "flush",
    run: |hart, _| {
        hart.flush(Flush::All);
        Err(Leave::EndBlock)
    },
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: true,
    flushes: true,
    fp: false,
};

/// Do nothing.
pub fn nop<S: Toy>(_: S) -> Res<S> {
    Ok(())
}

/// Trap to system mode. The handler is told of the next instruction.
pub fn trap<S: Toy>(s: S, number: u8) -> Res<S> {
    s.call(&RAISE_AFTER, [s.k((cause::TRAP + number as u64) as i64), s.k(0), s.k(0)])?;
    Ok(())
}

/// Calls a helper that only system mode may call.
fn system<S: Toy>(s: S, helper: &'static Helper, arg: R) -> Res<S> {
    s.privileged()?;
    let arg = s.r(arg).zext();
    s.call(helper, [arg, s.k(0), s.k(0)])?;
    Ok(())
}

/// Return from a trap.
pub fn rti<S: Toy>(s: S) -> Res<S> {
    system(s, &RTI, R(0))
}

/// Wait for an interrupt.
pub fn wait<S: Toy>(s: S) -> Res<S> {
    system(s, &WAIT, R(0))
}

/// Forget the translations of addresses.
pub fn flush<S: Toy>(s: S) -> Res<S> {
    system(s, &FLUSH, R(0))
}

/// Write a special register.
pub fn mts<S: Toy>(s: S, sr: u8, rs: R) -> Res<S> {
    let special = Special::from(sr);
    if special == Special::Interrupts {
        return system(s, &SET_INTERRUPTS, rs);
    }
    s.privileged()?;
    let (slot, shift) = special.place();
    s.set(slot, s.r(rs).zext::<u64>() << shift);
    Ok(())
}

/// Read a special register.
pub fn mfs<S: Toy>(s: S, rd: R, sr: u8) -> Res<S> {
    s.privileged()?;
    let (slot, shift) = Special::from(sr).place();
    s.set_r(rd, (s.get::<u64>(slot) >> shift).low());
    Ok(())
}
