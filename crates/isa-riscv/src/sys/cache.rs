//! Instructions for caches: `sfence.vma`, `fence.i`, `cbo.zero`.

use super::trap;
use crate::state::*;
use trine_ir::{Flush, Hart, Helper, Leave, SlotSet, Trap};

/// Bytes of a cache block, as in the device tree (`riscv,cboz-block-size`).
pub const BLOCK: u64 = 64;

fn illegal(hart: &dyn Hart, encoding: u64) -> Leave {
    hart.raise(Trap::fault(trap::ILLEGAL_INSTRUCTION, encoding))
}

/// `sfence.vma` (priv 12.2.1): arguments are the address, bit 0 set if there is one (bit 1: an ASID), the
/// instruction's bytes.
pub static SFENCE_VMA: Helper = Helper {
    name: "sfence.vma",
    run: sfence_vma,
    reads: SlotSet::Only(&[PRIV, MSTATUS]),
    writes: SlotSet::NONE,
    leaves: true,
    flushes: true,
    fp: false,
};

fn sfence_vma(hart: &dyn Hart, [address, which, encoding]: [u64; 3]) -> Result<u64, Leave> {
    if hart.get(PRIV) == level::S && hart.get(MSTATUS) & mstatus::TVM != 0 {
        return Err(illegal(hart, encoding));
    }
    hart.flush(match which {
        0 => Flush::All,
        // Only an address space: not global pages.
        2 => Flush::Local,
        _ => Flush::Page(address),
    });
    Ok(0)
}

/// `fence.i` (unpriv 7).
pub static FENCE_I: Helper = Helper {
    name: "fence.i",
    run: fence_i,
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: false,
    flushes: true,
    fp: false,
};

fn fence_i(hart: &dyn Hart, _: [u64; 3]) -> Result<u64, Leave> {
    hart.sync_code();
    Ok(0)
}

/// `menvcfg.CBZE`, `senvcfg.CBZE` (priv 3.1.18, 12.1.10).
const CBZE: u64 = 1 << 7;

/// `cbo.zero` (unpriv 24.5.5): arguments are the address and the instruction's bytes.
pub static CBO_ZERO: Helper = Helper {
    name: "cbo.zero",
    run: cbo_zero,
    reads: SlotSet::Only(SYSTEM_SLOTS),
    writes: SlotSet::NONE,
    leaves: true,
    flushes: false,
    fp: false,
};

fn cbo_zero(hart: &dyn Hart, [address, encoding, _]: [u64; 3]) -> Result<u64, Leave> {
    let now = hart.get(PRIV);
    let by_machine = now == level::M || hart.get(MENVCFG) & CBZE != 0;
    let by_supervisor = now != level::U || hart.get(SENVCFG) & CBZE != 0;
    if !by_machine || !by_supervisor {
        return Err(illegal(hart, encoding));
    }
    hart.zero(address & !(BLOCK - 1), BLOCK)?;
    Ok(0)
}
