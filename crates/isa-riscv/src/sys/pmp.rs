//! Physical memory protection (priv 3.7). The grain is a page: 4 KiB (G = 10).

use crate::state::{PMP_ENTRIES, PMPADDR, PMPCFG0, PMPCFG2, level};
use trine_ir::{Access, Hart};

/// Bits of a configuration byte.
const R: u8 = 1;
const W: u8 = 2;
const X: u8 = 4;
const L: u8 = 0x80;
/// `pmpaddr` holds address bits 55:2.
pub const ADDR_MASK: u64 = (1 << 54) - 1;
/// log2 of the grain in units of `pmpaddr` (4 bytes).
pub const GRAIN: u32 = 10;

/// The configuration byte of entry `i`.
pub fn config(hart: &dyn Hart, i: u16) -> u8 {
    let slot = if i < 8 { PMPCFG0 } else { PMPCFG2 };
    (hart.get(slot) >> (8 * (i & 7))) as u8
}

/// Whether entry `i` is locked.
pub fn locked(hart: &dyn Hart, i: u16) -> bool {
    config(hart, i) & L != 0
}

/// The addresses that entry `i` matches, as `[first, last]`.
fn range(hart: &dyn Hart, i: u16, cfg: u8) -> Option<(u64, u64)> {
    let address = hart.get(PMPADDR + i);
    match cfg >> 3 & 3 {
        1 => {
            let low = if i == 0 { 0 } else { hart.get(PMPADDR + i - 1) };
            let (low, high) = (low >> GRAIN << (GRAIN + 2), address >> GRAIN << (GRAIN + 2));
            (low < high).then(|| (low, high - 1))
        }
        3 => {
            let ones = (address | ((1 << (GRAIN - 1)) - 1)).trailing_ones();
            let size = 1u64 << (ones + 3).min(56);
            let base = (address << 2) & !(size - 1) & ((1 << 56) - 1);
            Some((base, base + (size - 1)))
        }
        _ => None,
    }
}

/// Permissions for the page at `page` at privilege level `at`: read, write, execute.
pub fn permissions(hart: &dyn Hart, at: u64, page: u64) -> (bool, bool, bool) {
    for i in 0..PMP_ENTRIES {
        let cfg = config(hart, i);
        let Some((first, last)) = range(hart, i, cfg) else { continue };
        if page < first || page > last {
            continue;
        }
        if at == level::M && cfg & L == 0 {
            return (true, true, true);
        }
        return (cfg & R != 0, cfg & W != 0, cfg & X != 0);
    }
    let open = at == level::M;
    (open, open, open)
}

/// Whether an access to the page is allowed.
pub fn allows(hart: &dyn Hart, at: u64, page: u64, access: Access) -> bool {
    let (r, w, x) = permissions(hart, at, page);
    match access {
        Access::Read => r,
        Access::Write => w,
        Access::Execute => x,
    }
}
