//! Atomic updates of unaligned addresses, behind an MMU.
//!
//! Generated code does those inside a page by a locked instruction of the host, which is atomic at any address; here are
//! those that missed the TLB or cross into another page. Where the two pages are not neighbours in RAM, they are
//! mapped side by side for the one access. So no other vCPU has to stop for it. Memory that was mapped from a snapshot
//! cannot be mapped twice: there, a lock makes such updates atomic for each other only.

use crate::core::Core;
use crate::host::{GuestAccess, Host};
use crate::paged::Paged;
use std::sync::atomic::{Ordering, fence};
use trine_base::Width;
use trine_ir::{Access, Isa, Leave};

/// Part of an access: physical address and bytes.
type Part = (u64, u64);

impl<I: Isa> Core<I, Paged<I>> {
    /// Atomic update of an unaligned address: see [`crate::memory::GuestMemory::update`].
    #[cold]
    pub(crate) fn update_unaligned(
        &self,
        regime: usize,
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        let here = (0x1000 - (address & 0xfff)).min(width.bytes());
        let first = (self.translate(regime, address, Access::Write)?, here);
        let rest = width.bytes() - here;
        if rest == 0 {
            return self.update_parts(&[first], width, address, f);
        }
        let second = (self.translate(regime, address.wrapping_add(here), Access::Write)?, rest);
        self.update_parts(&[first, second], width, address, f)
    }

    fn update_parts(
        &self,
        parts: &[Part],
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        let ram = &self.memory.ram;
        parts.iter().try_for_each(|&(at, _)| self.leave_code_alone(at))?;
        let guard = || parts.iter().for_each(|&(at, len)| ram.guard(at, len));
        guard();
        let found = self.update_in_ram(parts, width, f);
        // Pairs with the fence in `become_code`, as for every write.
        fence(Ordering::SeqCst);
        guard();
        found.map_or_else(|| self.read_nothing(width, Access::Write, address), Ok)
    }

    /// Updates the value; gives the old one, or `None` unless all of it is in RAM.
    fn update_in_ram(&self, parts: &[Part], width: Width, f: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let ram = &self.memory.ram;
        if !parts.iter().all(|&(at, len)| ram.contains(at, len)) {
            return None;
        }
        let &(at, len) = parts.first()?;
        match parts.get(1) {
            Some(&(second, rest)) if second != at + len => {
                let Some(window) = ram.side_by_side(at, second) else {
                    return ram.update_apart([(at, len), (second, rest)], f);
                };
                let offset = at as usize & 0xfff;
                // SAFETY: the value begins in the window's first page and ends in its second one.
                unsafe { update_at(window.host() + offset, width, f) }
            }
            // SAFETY: all bytes are in RAM, whose addresses ascend with the host's.
            _ => unsafe { update_at(ram.host_address(at)?, width, f) },
        }
    }
}

/// Updates a value in guest RAM by the host's locked instruction.
///
/// # Safety
/// `host .. host + width` lies inside the mapping of a live [`trine_memory::Ram`] or a window of it.
unsafe fn update_at(host: usize, width: Width, f: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    // SAFETY: by the caller. The instruction is atomic at any address.
    let exchange = |expect, new| unsafe { Host::exchange(host as u64, width, expect, new) };
    // An unaligned load could see a part of another thread's write; this one stores what it has found.
    let mut old = exchange(0, 0)?;
    while let Some(new) = f(old) {
        let found = exchange(old, new)?;
        if found == old {
            break;
        }
        old = found;
    }
    Some(old)
}
