//! Programs: guest addresses are host addresses. There is no TLB; an access that the host's MMU refuses
//! arrives as a signal.
//!
//! In generated code the signal's handler finds the access in the side table and continues at a thunk that
//! restores the instruction's start; the interpreter then repeats the instruction and raises the exception.
//! The interpreter accesses guest memory only through the few routines here, which report a fault as a
//! result.

use crate::block::{Block, PAGE};
use crate::code_copies::Copies;
use crate::core::{Core, Frame};
use crate::host::{BackEnd, GuestAccess, Host, Tables};
use crate::memory::GuestMemory;
use crate::page_index::PageIndex;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trine_base::Width;
use trine_ir::{Access, Hart, Hints, Isa, Leave, Trap};

/// What a program's vCPU asks about its address space.
pub trait Pages: Send + Sync {
    /// Whether code may be fetched from the page at this address. From then on, changes of the page or its
    /// mapping are reported to the vCPUs ([`trine_memory::CodeOwner`]).
    fn fetch(&self, page: u64) -> bool;

    /// Whether the program may write to the page at this address without a report.
    fn may_change(&self, page: u64) -> bool;

    /// Where a debugger wants the vCPUs to stop in the page at this address, before the instruction there.
    /// Changes are reported to the vCPUs like changes of the page.
    fn stops(&self, _page: u64) -> Vec<u64> {
        Vec::new()
    }
}

/// The latest refused access of this thread, as reported by the host.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// `SIGSEGV` or `SIGBUS`.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// The address.
    pub address: u64,
}

/// Generated code of the vCPU that this thread runs.
#[derive(Clone, Copy)]
struct Running {
    code: usize,
    end: usize,
    tables: *const Tables,
    frame: *const Frame,
}

thread_local! {
    static REFUSED: Cell<Refused> = const { Cell::new(Refused { signal: 0, code: 0, address: 0 }) };
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// The latest refused access of this thread, as reported by the host.
pub fn refused() -> Refused {
    REFUSED.get()
}

/// First address that no program can have: the monitor lies above, and the host may allow access to parts of
/// it.
pub const END: u64 = 1 << 38;

/// The same, or 0 until [`claim_addresses`] was called.
static REACHABLE: AtomicU64 = AtomicU64::new(0);

/// Gives the addresses below [`END`] to programs. Before that, every access to a program's memory is refused.
///
/// # Safety
/// No object of this process is below [`END`], now or later: neither its executable, heap and stacks nor its
/// own mappings. Memory there is changed by guests, at any address and at any time.
pub unsafe fn claim_addresses() {
    REACHABLE.store(END, Ordering::Relaxed);
}

/// `si_code` of an address that is not mapped.
const SEGV_MAPERR: i32 = 1;

/// Whether `bytes` at `at` may belong to a program; if not, the address is noted.
fn reachable(at: u64, bytes: u64) -> bool {
    let end = REACHABLE.load(Ordering::Relaxed);
    let ok = at < end && bytes <= end - at;
    if !ok {
        REFUSED.set(Refused { signal: libc::SIGSEGV, code: SEGV_MAPERR, address: at });
    }
    ok
}

/// Loads from a program's memory; `None` if the host refuses ([`refused`] tells why).
#[inline]
pub fn load(at: u64, width: Width) -> Option<u64> {
    // SAFETY: what is reachable is the program's own.
    if reachable(at, width.bytes()) { unsafe { Host::load(at, width) } } else { None }
}

/// Stores to a program's memory; `None` if the host refuses.
#[inline]
pub fn store(at: u64, width: Width, value: u64) -> Option<()> {
    // SAFETY: as in `load`.
    if reachable(at, width.bytes()) { unsafe { Host::store(at, width, value) } } else { None }
}

/// Bytes of a vector.
const VECTOR: u64 = 16;

/// Loads a vector from a program's memory; `None` if the host refuses.
fn load_vector(at: u64) -> Option<u128> {
    // SAFETY: as in `load`.
    if reachable(at, VECTOR) { unsafe { Host::load_vector(at) } } else { None }
}

/// Stores a vector to a program's memory, completely or not at all; `None` if the host refuses.
fn store_vector(at: u64, value: u128) -> Option<()> {
    // SAFETY: as in `load`.
    if reachable(at, VECTOR) { unsafe { Host::store_vector(at, value) } } else { None }
}

/// Compare-and-exchange at any address: the value found.
fn exchange(at: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
    // SAFETY: as in `load`.
    if reachable(at, width.bytes()) { unsafe { Host::exchange(at, width, expect, new) } } else { None }
}

/// Copies from a program's memory; `None` if the host refuses some of it.
pub fn read(from: u64, to: &mut [u8]) -> Option<()> {
    if !reachable(from, to.len() as u64) {
        return None;
    }
    // SAFETY: as in `load`; `to` is as long as it says.
    unsafe { Host::copy(to.as_mut_ptr() as u64, from, to.len() as u64) }
}

/// Copies to a program's memory; `None` if the host refuses some of it (bytes before it may have been
/// written).
pub fn write(to: u64, from: &[u8]) -> Option<()> {
    if !reachable(to, from.len() as u64) {
        return None;
    }
    // SAFETY: as in `read`.
    unsafe { Host::copy(to, from.as_ptr() as u64, from.len() as u64) }
}

/// For the handler of `SIGSEGV` and `SIGBUS`: returns whether the fault was an access to a program's memory;
/// if so, the context was changed to handle it.
///
/// # Safety
/// `info` and `context` are what the kernel gave to the handler of this signal, in this thread.
pub unsafe fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) -> bool {
    // SAFETY: by the caller.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    // SAFETY: by the caller.
    let at = unsafe { Host::interrupted_at(context) };
    if let Some(refuse) = Host::refused_at(at) {
        REFUSED.set(Refused { signal, code, address });
        // SAFETY: by the caller; a routine that may be refused expects to go on there.
        unsafe { Host::go_on_at(context, refuse) };
        return true;
    }
    let Some(running) = RUNNING.get().filter(|r| (r.code..r.end).contains(&at)) else { return false };
    // SAFETY: `will_run` noted tables and frame of the vCPU that this thread runs. Generated code, which was interrupted,
    // changes neither; other threads only add to the tables.
    let (tables, frame) = unsafe { (&*running.tables, &*running.frame) };
    let Some(refused) = Host::refused_in_code(tables, frame, at) else { return false };
    // SAFETY: by the caller; what is there expects what generated code leaves at such an access.
    unsafe { Host::go_on_at(context, refused) };
    true
}

/// An access to a program's memory, for a debugger's watchpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched {
    /// [`Access::Read`] or [`Access::Write`].
    pub access: Access,
    /// The address.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The memory of a program: guest addresses are host addresses.
pub struct Direct {
    /// The address space.
    pages: Arc<dyn Pages>,
    /// A breakpoint to ignore: see [`crate::Engine::step_past`].
    pub(crate) past: Cell<Option<u64>>,
    /// Whether the interpreter notes which memory it accesses.
    pub(crate) noting: Cell<bool>,
    /// The accesses that it noted.
    pub(crate) noted: RefCell<Vec<Touched>>,
}

impl Direct {
    /// Notes an access that was made, if asked to.
    #[inline(always)]
    fn note(&self, access: Access, address: u64, bytes: u64) {
        if self.noting.get() {
            self.noted.borrow_mut().push(Touched { access, address, bytes });
        }
    }
}

impl<I: Isa> Core<I, Direct> {
    #[cold]
    fn refused(&self, access: Access, address: u64) -> Leave {
        let refused = REFUSED.get().address;
        self.raise(I::refused(access, if refused == 0 { address } else { refused }))
    }
}

impl<I: Isa> GuestMemory<I> for Direct {
    type Source = Arc<dyn Pages>;
    type Copies = Copies;
    const TLB: Option<usize> = None;
    const IDENTITY: bool = true;

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn init(place: *mut Self, pages: Arc<dyn Pages>) {
        let direct =
            Direct { pages, past: Cell::new(None), noting: Cell::new(false), noted: RefCell::default() };
        // SAFETY: by the caller.
        unsafe { place.write(direct) };
    }

    #[inline(always)]
    fn load(core: &Core<I, Self>, _regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        let value = load(address, width).ok_or_else(|| core.refused(Access::Read, address))?;
        core.memory.note(Access::Read, address, width.bytes());
        Ok(value)
    }

    #[inline(always)]
    fn store(
        core: &Core<I, Self>,
        _regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        store(address, width, value).ok_or_else(|| core.refused(Access::Write, address))?;
        core.memory.note(Access::Write, address, width.bytes());
        Ok(())
    }

    fn update(
        core: &Core<I, Self>,
        _regime: usize,
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        let refused = || core.refused(Access::Write, address);
        // An unaligned load could see a part of another thread's write.
        let now = if width.aligned(address) { load(address, width) } else { exchange(address, width, 0, 0) };
        let mut old = now.ok_or_else(refused)?;
        core.memory.note(Access::Read, address, width.bytes());
        loop {
            let Some(new) = f(old) else { return Ok(old) };
            match exchange(address, width, old, new).ok_or_else(refused)? {
                found if found == old => {
                    core.memory.note(Access::Write, address, width.bytes());
                    return Ok(old);
                }
                found => old = found,
            }
        }
    }

    fn load_vector(core: &Core<I, Self>, _hints: Hints, address: u64) -> Result<u128, Leave> {
        let value = load_vector(address).ok_or_else(|| core.refused(Access::Read, address))?;
        core.memory.note(Access::Read, address, VECTOR);
        Ok(value)
    }

    fn store_vector(core: &Core<I, Self>, _hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        store_vector(address, value).ok_or_else(|| core.refused(Access::Write, address))?;
        core.memory.note(Access::Write, address, VECTOR);
        Ok(())
    }

    fn probe(core: &Core<I, Self>, _regime: usize, access: Access, address: u64) -> Result<(), Leave> {
        let allowed = match access {
            Access::Read => load(address, Width::B1).is_some(),
            // A compare-and-exchange needs write permission even if it leaves the value unchanged.
            Access::Write => exchange(address & !3, Width::B4, 0, 0).is_some(),
            Access::Execute => core.memory.pages.fetch(address & !(PAGE - 1)),
        };
        if allowed { Ok(()) } else { Err(core.raise(I::refused(access, address))) }
    }

    fn zero(core: &Core<I, Self>, address: u64, len: u64) -> Result<(), Leave> {
        (0..len).step_by(8).try_for_each(|offset| Self::store(core, 0, Width::B8, address + offset, 0))
    }

    fn fetch_address(core: &Core<I, Self>, address: u64) -> Result<u64, Trap> {
        let allowed = core.memory.pages.fetch(address & !(PAGE - 1));
        allowed.then_some(address).ok_or(I::refused(Access::Execute, address))
    }

    fn fetch_error(address: u64) -> Trap {
        I::refused(Access::Execute, address)
    }

    fn fetch(&self, copies: &Copies, at: u64, width: Width) -> Option<u64> {
        copies.load(at, width).or_else(|| load(at, width))
    }

    fn stops(&self, page: u64) -> Vec<u64> {
        let mut stops = self.pages.stops(page);
        stops.retain(|&stop| self.past.get() != Some(stop));
        stops
    }

    fn keep_copies(&self, copies: &mut Copies, start: u64, mut changed: impl FnMut(u64, u64)) {
        let (first, last) = (start & !(PAGE - 1), (start + I::MAX_BYTES - 1) & !(PAGE - 1));
        for page in (first..=last).step_by(PAGE as usize).filter(|&page| self.pages.may_change(page)) {
            copies.keep(page, &mut changed);
        }
    }

    fn sync_code(core: &Core<I, Self>) {
        core.written.compare(&core.mailbox);
    }

    fn changed_blocks(pages: &PageIndex<I, Self>, start: u64, end: u64) -> Vec<*mut Block<I, Self>> {
        pages.of_bytes(start, end)
    }

    fn will_run((code, end): (usize, usize), tables: &Tables, frame: &Frame) {
        RUNNING.set(Some(Running { code, end, tables, frame }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_reached_before_the_addresses_are_claimed_nor_above_them() {
        let own = 7u64;
        let at = &raw const own as u64;
        let reads = |at| read(at, &mut [0; 8]).is_some() || load(at, Width::B8).is_some();
        assert!(!reads(at) && !reads(0x1000) && store(at, Width::B8, 9).is_none());
        // SAFETY: nothing below is accessed, and the kernel places a test's executable far above.
        unsafe { claim_addresses() };
        assert!(!reads(at) && store(at, Width::B8, 9).is_none() && write(at, &[1]).is_none());
        assert!(!reads(END) && !reads(END - 7) && !reads(u64::MAX));
        assert_eq!((refused().address, refused().signal, own), (u64::MAX, libc::SIGSEGV, 7));
    }
}
