//! How a vCPU reaches the guest's memory: [`Paged`](crate::paged::Paged) and [`Direct`](crate::direct::Direct), between which everything that
//! depends on it chooses when Trine is compiled.

use crate::block::Block;
use crate::code_copies::CodeCopies;
use crate::core::{Core, Frame};
use crate::host::Tables;
use crate::page_index::PageIndex;
use crate::run::Engine;
use crate::tlb::Flushed;
use trine_base::Width;
use trine_ir::{Access, Hints, Isa, Leave, Trap};
use trine_memory::Ram;

/// What a vCPU has of guest memory, and what it does to reach it. Addresses of accesses are virtual; what follows from the
/// order of bytes and from alignment is dealt with by the callers.
pub trait GuestMemory<I: Isa>: Sized + 'static {
    /// What it is made of.
    type Source;
    /// Copies of the pages that blocks were decoded from, where they are needed to see changes.
    type Copies: CodeCopies;

    /// Where generated code finds the TLB, from the start of this value. `None` where guest addresses are host addresses:
    /// generated code then accesses memory in place, and the host may refuse that.
    const TLB: Option<usize>;
    /// Whether the physical address of code is its virtual one.
    const IDENTITY: bool;

    /// Makes the value in place: it may be too large for the stack.
    ///
    /// # Safety
    /// `place` is properly aligned memory for it, all zeros, which nobody else uses. Afterwards it holds a value.
    unsafe fn init(place: *mut Self, source: Self::Source);

    /// The physical memory, where there is one behind the addresses.
    fn ram(&self) -> Option<&Ram> {
        None
    }

    /// The vCPU's bit for [`Ram::may_write`].
    fn set_writer(&self, _writer: u8) {}

    /// Takes back the right to write to the page at a host address.
    fn protect(&self, _host: usize) {}

    /// Forgets the translation of one page.
    fn flush_page(&self, _address: u64) -> Flushed {
        Flushed::Page
    }

    /// Forgets the translations that are not the same in every address space.
    fn flush_local(&self) {}

    /// Forgets all translations.
    fn flush_all(&self) {}

    /// Loads; the regime is one of [`Isa::data_regime`]'s.
    fn load(core: &Core<I, Self>, regime: usize, width: Width, address: u64) -> Result<u64, Leave>;

    /// Stores.
    fn store(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave>;

    /// Atomic update of an aligned address: `f` makes the new value from the old, or `None` to leave it. Gives the old.
    fn update(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave>;

    /// Loads 16 bytes, all or none of them.
    fn load_vector(core: &Core<I, Self>, hints: Hints, address: u64) -> Result<u128, Leave>;

    /// Stores 16 bytes, all or none of them.
    fn store_vector(core: &Core<I, Self>, hints: Hints, address: u64, value: u128) -> Result<(), Leave>;

    /// A load for which generated code has looked at the TLB in vain.
    fn slow_load(core: &Core<I, Self>, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        Self::load(core, regime, width, address)
    }

    /// A store for which generated code has looked at the TLB in vain.
    fn slow_store(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        Self::store(core, regime, width, address, value)
    }

    /// A load of a vector for which generated code has looked at the TLB in vain.
    fn slow_load_vector(core: &Core<I, Self>, hints: Hints, address: u64) -> Result<u128, Leave> {
        Self::load_vector(core, hints, address)
    }

    /// A store of a vector for which generated code has looked at the TLB in vain.
    fn slow_store_vector(core: &Core<I, Self>, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        Self::store_vector(core, hints, address, value)
    }

    /// Raises what an access to the byte at `address` would raise.
    fn probe(core: &Core<I, Self>, regime: usize, access: Access, address: u64) -> Result<(), Leave>;

    /// Stores zeros to an aligned range inside one page.
    fn zero(core: &Core<I, Self>, address: u64, len: u64) -> Result<(), Leave>;

    /// Translates `address` for a fetch: its physical address.
    fn fetch_address(core: &Core<I, Self>, address: u64) -> Result<u64, Trap>;

    /// The exception for a fetch that reaches no memory.
    fn fetch_error(address: u64) -> Trap;

    /// Reads code bytes at a physical address, from the copies where they have them.
    fn fetch(&self, copies: &Self::Copies, at: u64, width: Width) -> Option<u64>;

    /// Whether the page at a physical address is code, so that changes of it are noted; or needs no notes.
    fn is_settled(&self, _physical: u64) -> bool {
        true
    }

    /// Makes the page at a physical address code.
    fn settle(_engine: &Engine<I, Self>, _physical: u64) {}

    /// Where a debugger wants the vCPU to stop in the page at this virtual address.
    fn stops(&self, _page: u64) -> Vec<u64> {
        Vec::new()
    }

    /// Copies what may change unnoted of the pages that a block at this address may be decoded from; `changed` is called
    /// with what differs from earlier copies.
    fn keep_copies(&self, _copies: &mut Self::Copies, _start: u64, _changed: impl FnMut(u64, u64)) {}

    /// The guest says that code it has written is to be seen by fetches.
    fn sync_code(_core: &Core<I, Self>) {}

    /// The blocks that must be retired where the physical bytes from `start` up to `end` changed.
    fn changed_blocks(pages: &PageIndex<I, Self>, start: u64, end: u64) -> Vec<*mut Block<I, Self>>;

    /// This thread is about to run generated code from this range of addresses.
    fn will_run(_code: (usize, usize), _tables: &Tables, _frame: &Frame) {}
}
