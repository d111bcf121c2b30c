//! What a debugger asks of a machine's vCPU, in both engines.
//!
//! * **Breakpoints** are not written into memory. Every block ends before an address with the page offset of a
//!   breakpoint, in every page and mode, and a block that begins there is never compiled: so the dispatcher sees each PC
//!   with that offset and compares it. Translations are shared by all address spaces and found by physical addresses, so
//!   nothing else would do for a breakpoint at a virtual address, which need not even be mapped yet.
//! * **Watchpoints**: a page with one has no TLB entry. The slow path of an access to watched bytes leaves the instruction
//!   with [`Leave::Alone`] before anything is done; the dispatcher then stops, or interprets it alone and stops behind it,
//!   as the CPU's debuggers expect ([`Isa::WATCH_STOPS_BEFORE`]).
//!
//! Without a debugger generated code is the same as ever, and nothing more is executed in it.

use crate::core::Core;
use crate::memory::GuestMemory;
use crate::run::{Engine, Step};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use trine_base::{CachedPage, DebugStop, Exit, Stops, Width};
use trine_ir::{Access, Bytes, DecodeError, Flush, Hart, Isa, Leave, Trap};

/// What a debugger has asked of this vCPU.
#[derive(Default)]
pub(crate) struct Debugging {
    stops: RefCell<Arc<Stops>>,
    /// Whether there are breakpoints or watchpoints.
    active: Cell<bool>,
    /// Whether there are watchpoints.
    watches: Cell<bool>,
    /// The watchpoint that an instruction has hit: one that is executed alone, or that has left for it.
    hit: Cell<Option<DebugStop>>,
}

impl Debugging {
    /// Whether there are breakpoints or watchpoints.
    #[inline(always)]
    pub fn is_active(&self) -> bool {
        self.active.get()
    }

    /// Whether translated code must be left before this offset in every page.
    pub fn cuts(&self, offset: u64) -> bool {
        self.stops.borrow().cuts.contains(&(offset as u16))
    }

    /// Whether the page at a virtual address may have no TLB entry.
    #[inline(always)]
    pub fn is_watched(&self, address: u64) -> bool {
        self.watches.get() && self.stops.borrow().watchpoints.iter().any(|w| w.is_in_page(address))
    }

    /// No instruction has hit a watchpoint.
    pub fn forget_hit(&self) {
        self.hit.set(None);
    }
}

impl<I: Isa, M: GuestMemory<I>> Core<I, M> {
    /// Before an access on the slow path that is allowed: leaves if it is watched and its instruction is not executed alone
    /// yet, or the stop is to be before it.
    #[inline(always)]
    pub(crate) fn watch(&self, access: Access, address: u64, bytes: u64) -> Result<(), Leave> {
        if self.debug.watches.get() { self.watch_access(access, address, bytes) } else { Ok(()) }
    }

    #[cold]
    fn watch_access(&self, access: Access, address: u64, bytes: u64) -> Result<(), Leave> {
        let found = self.debug.stops.borrow().watched(address, bytes, access == Access::Write);
        let Some((point, address)) = found else { return Ok(()) };
        if !I::WATCH_STOPS_BEFORE && !self.alone.get() {
            return Err(Leave::Alone);
        }
        // The first one counts, as it is the first access of the instruction.
        if self.debug.hit.get().is_none() {
            self.debug.hit.set(Some(DebugStop::Watch { point, address }));
        }
        if I::WATCH_STOPS_BEFORE { Err(Leave::Alone) } else { Ok(()) }
    }

    /// Before an atomic update on the slow path.
    #[inline(always)]
    pub(crate) fn watch_update(&self, address: u64, bytes: u64) -> Result<(), Leave> {
        self.watch(Access::Write, address, bytes)?;
        self.watch(Access::Read, address, bytes)
    }

    /// The physical address of a virtual one, without side effects; `None` if nothing is mapped there.
    fn look_up(&self, address: u64) -> Option<u64> {
        let peek = Peek { hart: self, written: Cell::default() };
        let mode = self.mode.get();
        let regimes = (0..).map_while(|n| I::debug_regime(mode, n));
        let found = regimes.flat_map(|regime| [(regime, Access::Read), (regime, Access::Execute)]);
        let mut found = found.filter_map(|(regime, access)| I::walk(&peek, regime, address, access).ok());
        found.next().map(|mapping| mapping.page | address & 0xfff)
    }
}

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    /// What a debugger wants before the next block: to stop, or the instruction executed alone.
    #[cold]
    pub(crate) fn debugged(&mut self) -> Option<Step> {
        let pc = self.core.frame.pc.get();
        if self.core.debug.stops.borrow().breakpoints.contains(&pc) {
            return Some(Step::Out(Exit::Debugger(DebugStop::Breakpoint)));
        }
        if !self.core.alone.get() {
            return None;
        }
        match self.core.debug.hit.take() {
            Some(stop) => {
                self.core.alone.set(false);
                Some(Step::Out(Exit::Debugger(stop)))
            }
            None => Some(self.single()),
        }
    }

    /// What follows an instruction that was executed alone, from the count `before`.
    pub(crate) fn after_alone(&self, before: u64, step: Step) -> Step {
        // One that faulted has accessed nothing yet; one that left for the stop has done nothing.
        let done = self.core.frame.count.get() != before;
        match (self.core.debug.hit.take().filter(|_| done != I::WATCH_STOPS_BEFORE), step) {
            (Some(stop), Step::Go) => Step::Out(Exit::Debugger(stop)),
            (_, step) => step,
        }
    }

    pub(crate) fn change_stops(&mut self, stops: &Arc<Stops>) {
        let debug = &self.core.debug;
        let old = debug.stops.replace(stops.clone());
        debug.active.set(!stops.breakpoints.is_empty() || !stops.watchpoints.is_empty());
        debug.watches.set(!stops.watchpoints.is_empty());
        // What was about to be executed alone leaves once more where that is still wanted.
        self.core.alone.set(false);
        debug.forget_hit();
        let changed: Vec<u16> = old.cuts.symmetric_difference(&stops.cuts).copied().collect();
        self.translations.forget_at(&changed);
        if old.watchpoints != stops.watchpoints {
            self.core.flush(Flush::All);
        }
    }

    /// One instruction for a debugger: see [`trine_base::Vcpu::debug_step`].
    pub(crate) fn step_for_debugger(&mut self) -> Option<Exit> {
        self.set_target(1);
        let step = self.online(|engine| match engine.attend_to(false) {
            Some(exit) => Step::Out(exit),
            None => {
                // It may access what is watched, and change code, at once.
                engine.core.alone.set(true);
                engine.single()
            }
        });
        // A wait that an interrupt would end is over: that interrupt is taken when the vCPU continues.
        step.exit().filter(|exit| !matches!(exit, Exit::Idle { .. }))
    }

    pub(crate) fn look_up(&self, address: u64) -> Option<u64> {
        match self.core.memory.ram() {
            Some(_) => self.core.look_up(address),
            None => Some(address),
        }
    }

    pub(crate) fn disassembled(&self, bytes: &[u8]) -> Option<(String, usize)> {
        let have = bytes.len().min(I::MAX_BYTES as usize);
        let mut padded = Bytes::default();
        padded[..have].copy_from_slice(&bytes[..have]);
        let mode = self.core.mode.get();
        let length = match I::decode(&self.core.config, mode, &padded, have) {
            Ok(decoded) => usize::from(decoded.bytes),
            Err(DecodeError::More | DecodeError::Illegal) => return None,
        };
        Some((I::disassemble(mode, &padded)?, length))
    }

    pub(crate) fn pages_cached(&self) -> Vec<CachedPage> {
        let Some(ram) = self.core.memory.ram() else { return Vec::new() };
        let host = ram.host_address(ram.base()).unwrap_or_default() as u64;
        let mut pages = self.core.memory.cached_pages();
        // So far the addresses are the host's, except those of code.
        pages.iter_mut().filter(|p| !p.execute).for_each(|p| {
            p.physical = p.physical.wrapping_sub(host).wrapping_add(ram.base());
        });
        pages
    }
}

/// A hart for page walks without side effects: what the walk writes is seen by the walk only.
struct Peek<'a> {
    hart: &'a dyn Hart,
    /// The page-table entry that the walk wanted to change: address and new value.
    written: Cell<Option<(u64, u64)>>,
}

impl Hart for Peek<'_> {
    fn slots(&self) -> &[Cell<u64>] {
        self.hart.slots()
    }
    fn pc(&self) -> u64 {
        self.hart.pc()
    }
    fn set_pc(&self, _: u64) {}
    fn raise(&self, _: Trap) -> Leave {
        Leave::Trap
    }
    fn now(&self) -> u64 {
        0
    }
    fn count(&self) -> u64 {
        self.hart.count()
    }
    fn lines(&self) -> u32 {
        self.hart.lines()
    }
    fn edges(&self) -> u32 {
        self.hart.edges()
    }
    fn take_edge(&self, _: u32) -> bool {
        false
    }
    fn acknowledge(&self) -> Option<u32> {
        None
    }
    fn set_timer(&self, _: Option<u64>) {}
    fn recheck(&self) {}
    fn flush(&self, _: Flush) {}
    fn sync_code(&self) {}
    fn load(&self, _: usize, _: Width, _: u64) -> Result<u64, Leave> {
        Err(Leave::Trap)
    }
    fn store(&self, _: usize, _: Width, _: u64, _: u64) -> Result<(), Leave> {
        Err(Leave::Trap)
    }
    fn probe(&self, _: usize, _: Access, _: u64, _: u64) -> Result<(), Leave> {
        Err(Leave::Trap)
    }
    fn phys_load(&self, address: u64, width: Width) -> Option<u64> {
        match self.written.get() {
            Some((at, value)) if at == address => Some(value & width.mask()),
            _ => self.hart.phys_load(address, width),
        }
    }
    fn phys_store(&self, address: u64, _: Width, value: u64) -> Option<()> {
        self.written.set(Some((address, value)));
        Some(())
    }
    fn port_in(&self, _: u16, width: Width) -> u64 {
        width.mask()
    }
    fn port_out(&self, _: u16, _: Width, _: u64) {}
    fn phys_exchange(&self, address: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
        let found = self.phys_load(address, width)?;
        if found == expect {
            self.written.set(Some((address, new)));
        }
        Some(found)
    }
    fn zero(&self, _: u64, _: u64) -> Result<(), Leave> {
        Err(Leave::Trap)
    }
    fn harvest_fp(&self) {}
    fn load_fp(&self) {}
    fn mode_changed(&self) {}
}
