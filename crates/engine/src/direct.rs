//! Programs: guest addresses are host addresses. There is no TLB; an access that the host's MMU refuses
//! arrives as a signal.
//!
//! In generated code the signal's handler finds the access in the side table and sends control to a thunk
//! that restores the instruction's start; the interpreter then does it again and raises the exception. The
//! interpreter touches guest memory only through the few routines here, which report a fault as a result.

use crate::block::{Block, PAGE};
use crate::code_copies::Copies;
use crate::core::{Core, Frame};
use crate::host::{Tables, Thunk};
use crate::memory::GuestMemory;
use crate::page_index::PageIndex;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use trine_base::Width;
use trine_ir::{Access, Hart, Hints, Isa, Leave, Trap};

/// What a vCPU of a program asks about its address space.
pub trait Pages: Send + Sync {
    /// Whether code may be fetched from the page at this address. From then on whoever changes the page
    /// or its mapping tells the vCPUs ([`trine_memory::CodeOwner`]).
    fn fetch(&self, page: u64) -> bool;

    /// Whether the program may write to the page at this address without telling anyone.
    fn may_change(&self, page: u64) -> bool;

    /// Where a debugger wants the vCPUs to stop in the page at this address, before the instruction there. Who
    /// changes it tells the vCPUs as of a change of the page.
    fn stops(&self, _page: u64) -> Vec<u64> {
        Vec::new()
    }
}

/// What the host said of the latest refused access of this thread.
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

/// What the host said of the latest refused access of this thread.
pub fn refused() -> Refused {
    REFUSED.get()
}

/// First address that no program can have: above lies the monitor, whatever of it the host lets one touch.
const END: u64 = 1 << 38;

/// `si_code` of an address that is not mapped.
const SEGV_MAPERR: i32 = 1;

/// Value, and whether the access was refused.
#[repr(C)]
struct Outcome {
    value: u64,
    refused: u64,
}

// Each routine touches guest memory in one instruction and uses no stack: wherever it is
// interrupted, `trine_direct_refused` can take its place.
std::arch::global_asm!(
    "trine_direct_begin:",
    "trine_direct_load1: movzx eax, byte ptr [rdi]",
    "xor edx, edx",
    "ret",
    "trine_direct_load2: movzx eax, word ptr [rdi]",
    "xor edx, edx",
    "ret",
    "trine_direct_load4: mov eax, [rdi]",
    "xor edx, edx",
    "ret",
    "trine_direct_load8: mov rax, [rdi]",
    "xor edx, edx",
    "ret",
    "trine_direct_store1: mov [rdi], sil",
    "xor edx, edx",
    "ret",
    "trine_direct_store2: mov [rdi], si",
    "xor edx, edx",
    "ret",
    "trine_direct_store4: mov [rdi], esi",
    "xor edx, edx",
    "ret",
    "trine_direct_store8: mov [rdi], rsi",
    "xor edx, edx",
    "ret",
    "trine_direct_exchange1: mov eax, esi",
    "lock cmpxchg [rdi], dl",
    "xor edx, edx",
    "ret",
    "trine_direct_exchange2: mov eax, esi",
    "lock cmpxchg [rdi], dx",
    "xor edx, edx",
    "ret",
    "trine_direct_exchange4: mov eax, esi",
    "lock cmpxchg [rdi], edx",
    "xor edx, edx",
    "ret",
    "trine_direct_exchange8: mov rax, rsi",
    "lock cmpxchg [rdi], rdx",
    "xor edx, edx",
    "ret",
    "trine_direct_load16: movups xmm0, [rdi]",
    "movups [rsi], xmm0",
    "xor edx, edx",
    "ret",
    "trine_direct_store16: movups xmm0, [rsi]",
    "movups [rdi], xmm0",
    "xor edx, edx",
    "ret",
    "trine_direct_copy: mov rcx, rdx",
    "rep movsb",
    "xor edx, edx",
    "ret",
    "trine_direct_end:",
    "trine_direct_refused: mov edx, 1",
    "ret",
);

// SAFETY: the assembly above defines each of them, with these arguments and this result.
unsafe extern "sysv64" {
    static trine_direct_begin: u8;
    static trine_direct_end: u8;
    static trine_direct_refused: u8;
    fn trine_direct_load1(at: u64) -> Outcome;
    fn trine_direct_load2(at: u64) -> Outcome;
    fn trine_direct_load4(at: u64) -> Outcome;
    fn trine_direct_load8(at: u64) -> Outcome;
    fn trine_direct_store1(at: u64, value: u64) -> Outcome;
    fn trine_direct_store2(at: u64, value: u64) -> Outcome;
    fn trine_direct_store4(at: u64, value: u64) -> Outcome;
    fn trine_direct_store8(at: u64, value: u64) -> Outcome;
    fn trine_direct_exchange1(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_direct_exchange2(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_direct_exchange4(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_direct_exchange8(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_direct_load16(at: u64, to: *mut u128) -> Outcome;
    fn trine_direct_store16(at: u64, from: *const u128) -> Outcome;
    fn trine_direct_copy(to: u64, from: u64, bytes: u64) -> Outcome;
}

impl Outcome {
    fn value(self) -> Option<u64> {
        (self.refused == 0).then_some(self.value)
    }
}

/// Whether `bytes` at `at` may be a program's; the address is noted where not.
fn reachable(at: u64, bytes: u64) -> bool {
    let ok = at < END && bytes <= END - at;
    if !ok {
        REFUSED.set(Refused { signal: libc::SIGSEGV, code: SEGV_MAPERR, address: at });
    }
    ok
}

/// Loads from a program's memory; `None` where the host refuses ([`refused`] says why).
pub fn load(at: u64, width: Width) -> Option<u64> {
    if !reachable(at, width.bytes()) {
        return None;
    }
    // SAFETY: a refused access ends the routine, and what it reads is the program's own.
    unsafe {
        match width {
            Width::B1 => trine_direct_load1(at),
            Width::B2 => trine_direct_load2(at),
            Width::B4 => trine_direct_load4(at),
            Width::B8 => trine_direct_load8(at),
        }
    }
    .value()
}

/// Stores to a program's memory; `None` where the host refuses.
pub fn store(at: u64, width: Width, value: u64) -> Option<()> {
    if !reachable(at, width.bytes()) {
        return None;
    }
    // SAFETY: as in `load`; a wild store may end this process, which is the program's own.
    unsafe {
        match width {
            Width::B1 => trine_direct_store1(at, value),
            Width::B2 => trine_direct_store2(at, value),
            Width::B4 => trine_direct_store4(at, value),
            Width::B8 => trine_direct_store8(at, value),
        }
    }
    .value()
    .map(drop)
}

/// Bytes of a vector.
const VECTOR: u64 = 16;

/// Loads a vector from a program's memory; `None` where the host refuses.
fn load_vector(at: u64) -> Option<u128> {
    let mut value = 0;
    if !reachable(at, VECTOR) {
        return None;
    }
    // SAFETY: as in `load`; `value` is as large as what is written to it.
    unsafe { trine_direct_load16(at, &mut value) }.value().map(|_| value)
}

/// Stores a vector to a program's memory, all of it or nothing; `None` where the host refuses.
fn store_vector(at: u64, value: u128) -> Option<()> {
    if !reachable(at, VECTOR) {
        return None;
    }
    // SAFETY: as in `store`.
    unsafe { trine_direct_store16(at, &value) }.value().map(drop)
}

/// Compare-and-exchange of an aligned value: the value found.
fn exchange(at: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
    if !reachable(at, width.bytes()) {
        return None;
    }
    // SAFETY: as in `store`.
    unsafe {
        match width {
            Width::B1 => trine_direct_exchange1(at, expect, new),
            Width::B2 => trine_direct_exchange2(at, expect, new),
            Width::B4 => trine_direct_exchange4(at, expect, new),
            Width::B8 => trine_direct_exchange8(at, expect, new),
        }
    }
    .value()
}

/// Copies from a program's memory; `None` where the host refuses some of it.
pub fn read(from: u64, to: &mut [u8]) -> Option<()> {
    if !reachable(from, to.len() as u64) {
        return None;
    }
    // SAFETY: as in `load`; `to` is as long as it says.
    unsafe { trine_direct_copy(to.as_mut_ptr() as u64, from, to.len() as u64) }.value().map(drop)
}

/// Copies to a program's memory; `None` where the host refuses some of it (what comes before may have been
/// written).
pub fn write(to: u64, from: &[u8]) -> Option<()> {
    if !reachable(to, from.len() as u64) {
        return None;
    }
    // SAFETY: as in `store`.
    unsafe { trine_direct_copy(to, from.as_ptr() as u64, from.len() as u64) }.value().map(drop)
}

/// For the handler of `SIGSEGV` and `SIGBUS`: whether the fault was an access to a program's memory; then the
/// context is changed so that it is dealt with.
///
/// # Safety
/// `info` and `context` are what the kernel gave to the handler of this signal, in this thread.
pub unsafe fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) -> bool {
    // SAFETY: by the caller.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    // SAFETY: by the caller.
    let rip = unsafe { &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    let at = *rip as usize;
    let [begin, end, refuse] =
        [&raw const trine_direct_begin, &raw const trine_direct_end, &raw const trine_direct_refused];
    if (begin as usize..end as usize).contains(&at) {
        REFUSED.set(Refused { signal, code, address });
        *rip = refuse as i64;
        return true;
    }
    let Some(running) = RUNNING.get().filter(|r| (r.code..r.end).contains(&at)) else { return false };
    // SAFETY: `enter` noted tables and frame of the vCPU that this thread runs. Generated code, which was interrupted,
    // changes neither; other threads only add to the tables.
    let (tables, frame) = unsafe { (&*running.tables, &*running.frame) };
    let Some(row) = tables.access_at(at) else { return false };
    frame.args[3].set(row);
    *rip = frame.thunks[Thunk::Refused as usize].get() as i64;
    true
}

/// An access to a program's memory, as a debugger's watchpoints see it.
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
    /// A breakpoint that does not count: see [`crate::Engine::step_past`].
    pub(crate) past: Cell<Option<u64>>,
    /// Whether the interpreter notes which memory it accesses.
    pub(crate) noting: Cell<bool>,
    /// What it noted.
    pub(crate) noted: RefCell<Vec<Touched>>,
}

impl Direct {
    /// Notes an access that was made, where that is wanted.
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
        let mut old = load(address, width).ok_or_else(refused)?;
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
            // A compare-and-exchange needs the right to write also where it leaves the value as it is.
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
