//! Address translation: bare, Sv32, Sv39, Sv48 (priv 12.3 to 12.5) with Svade or Svadu.

use super::{pmp, trap};
use crate::state::*;
use trine_base::Width;
use trine_ir::{Access, Hart, Mapping, Trap};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 16;
const G: u64 = 32;
const A: u64 = 64;
const D: u64 = 128;
/// Bits 63 to 54 must be zero: no Svnapot, no Svpbmt.
const RESERVED: u64 = 0x3ff << 54;

/// A paging scheme.
#[derive(Clone, Copy)]
struct Scheme {
    levels: u32,
    /// Bits of a page number that one level resolves.
    bits: u32,
    /// Bytes of a page-table entry.
    width: Width,
    /// Page number of the root table.
    root: u64,
}

/// The paging scheme of a `satp`; `None` is Bare.
fn scheme(satp: u64, rv32: bool) -> Option<Scheme> {
    if rv32 {
        let root = satp & 0x3f_ffff;
        return (satp >> 31 & 1 != 0).then_some(Scheme { levels: 2, bits: 10, width: Width::B4, root });
    }
    let levels = match satp >> 60 {
        8 => 3,
        9 => 4,
        _ => return None,
    };
    Some(Scheme { levels, bits: 9, width: Width::B8, root: satp & 0xfff_ffff_ffff })
}

/// Whether `satp` may hold `value`: other modes leave it unchanged (priv 12.1.11).
pub fn satp_valid(value: u64, rv32: bool) -> bool {
    rv32 || matches!(value >> 60, 0 | 8 | 9)
}

/// Translates `address` in `regime`.
pub fn walk(hart: &dyn Hart, regime: usize, address: u64, access: Access) -> Result<Mapping, Trap> {
    let at = match regime {
        mode::REGIME_U => level::U,
        mode::REGIME_M => level::M,
        _ => level::S,
    };
    let rv32 = hart.get(MISA) >> 63 == 0;
    let found = match scheme(hart.get(SATP), rv32) {
        Some(scheme) if at != level::M => {
            Walk { hart, scheme, address, access, at, sum: regime == mode::REGIME_SUM }.run()?
        }
        _ => {
            Mapping { page: address & !0xfff, read: true, write: true, execute: true, global: true, size: 12 }
        }
    };
    let (r, w, x) = pmp::permissions(hart, at, found.page);
    let allowed = match access {
        Access::Read => r,
        Access::Write => w,
        Access::Execute => x,
    };
    if !allowed || found.page >> 56 != 0 {
        return Err(Trap::fault(trap::access_fault(access), address));
    }
    Ok(Mapping { read: found.read && r, write: found.write && w, execute: found.execute && x, ..found })
}

struct Walk<'a> {
    hart: &'a dyn Hart,
    scheme: Scheme,
    address: u64,
    access: Access,
    at: u64,
    sum: bool,
}

impl Walk<'_> {
    fn page_fault(&self) -> Trap {
        Trap::fault(trap::page_fault(self.access), self.address)
    }

    fn access_fault(&self) -> Trap {
        Trap::fault(trap::access_fault(self.access), self.address)
    }

    /// The algorithm of priv 12.3.2.
    fn run(&self) -> Result<Mapping, Trap> {
        loop {
            if let Some(mapping) = self.attempt()? {
                return Ok(mapping);
            }
        }
    }

    fn canonical(&self) -> bool {
        if self.scheme.width == Width::B4 {
            return true;
        }
        let unused = 64 - (12 + self.scheme.levels * self.scheme.bits);
        ((self.address << unused) as i64 >> unused) as u64 == self.address
    }

    /// One descent; `None` if an entry changed meanwhile and all must be read again.
    fn attempt(&self) -> Result<Option<Mapping>, Trap> {
        let Scheme { levels, bits, width, root } = self.scheme;
        if !self.canonical() {
            return Err(self.page_fault());
        }
        let mut table = root << 12;
        let mut global = 0;
        for i in (0..levels).rev() {
            let index = self.address >> (12 + i * bits) & ((1 << bits) - 1);
            let at = table + index * width.bytes();
            if !pmp::allows(self.hart, level::S, at & !0xfff, Access::Read) {
                return Err(self.access_fault());
            }
            let entry = self.hart.phys_load(at, width).ok_or_else(|| self.access_fault())?;
            if entry & V == 0 || entry & (R | W) == W {
                return Err(self.page_fault());
            }
            if width == Width::B8 && entry & RESERVED != 0 {
                return Err(self.page_fault());
            }
            global |= entry & G;
            let number = if width == Width::B8 { entry >> 10 & 0xfff_ffff_ffff } else { entry >> 10 };
            if entry & (R | X) != 0 {
                return self.leaf(at, entry, number, i * bits, global != 0);
            }
            if entry & (A | D | U) != 0 {
                return Err(self.page_fault());
            }
            table = number << 12;
        }
        Err(self.page_fault())
    }

    /// A leaf that maps `2^low` pages.
    fn leaf(
        &self,
        at: u64,
        entry: u64,
        number: u64,
        low: u32,
        global: bool,
    ) -> Result<Option<Mapping>, Trap> {
        let user = entry & U != 0;
        let status = self.hart.get(MSTATUS);
        let execute = entry & X != 0 && user == (self.at == level::U);
        let data = if self.at == level::U { user } else { !user || self.sum };
        let readable = entry & R != 0 || (status & mstatus::MXR != 0 && entry & X != 0);
        let allowed = match self.access {
            Access::Execute => execute,
            Access::Read => data && readable,
            Access::Write => data && entry & W != 0,
        };
        let pages = (1u64 << low) - 1;
        if !allowed || number & pages != 0 {
            return Err(self.page_fault());
        }
        let wanted = A | if self.access == Access::Write { D } else { 0 };
        if entry & wanted != wanted {
            return self.update(at, entry, wanted);
        }
        Ok(Some(Mapping {
            page: (number | (self.address >> 12 & pages)) << 12,
            read: data && readable,
            write: data && entry & W != 0 && entry & D != 0,
            execute,
            global,
            size: 12 + low as u8,
        }))
    }

    /// Sets A and D bits in the table (Svadu) or faults (Svade).
    fn update(&self, at: u64, entry: u64, wanted: u64) -> Result<Option<Mapping>, Trap> {
        if self.hart.get(MENVCFG) & trap::ADUE == 0 {
            return Err(self.page_fault());
        }
        if !pmp::allows(self.hart, level::S, at & !0xfff, Access::Write) {
            return Err(self.access_fault());
        }
        let width = self.scheme.width;
        self.hart.phys_exchange(at, width, entry, entry | wanted).ok_or_else(|| self.access_fault())?;
        Ok(None)
    }
}
