//! How a vCPU reaches the guest's memory: [`Paged`](crate::paged::Paged) and [`Direct`](crate::direct::Direct), between which everything that
//! depends on it chooses when Trine is compiled.

use crate::block::Block;
use crate::code_copies::CodeCopies;
use crate::core::{Core, Frame};
use crate::host::Tables;
use crate::page_index::PageIndex;
use crate::run::Engine;
use crate::tlb::Flushed;
use trine_base::{CachedPage, Width};
use trine_ir::{Access, Hints, Isa, Leave, Trap};
use trine_memory::Ram;

/// A vCPU's access to guest memory. Addresses of accesses are virtual; byte order and alignment are handled
/// by the callers.
pub trait GuestMemory<I: Isa>: Sized + 'static {
    /// What it is made from.
    type Source;
    /// Copies of the pages that blocks were decoded from, if they are needed to find changes.
    type Copies: CodeCopies;

    /// Offset of the TLB for generated code, from the start of this value. `None` if guest addresses are host
    /// addresses: generated code then accesses memory directly, and the host may refuse that.
    const TLB: Option<usize>;
    /// Whether the physical address of code is its virtual one.
    const IDENTITY: bool;

    /// Makes the value in place: it may be too large for the stack.
    ///
    /// # Safety
    /// `place` is properly aligned memory for it, all zeros, which nobody else uses. Afterwards it holds a value.
    unsafe fn init(place: *mut Self, source: Self::Source);

    /// The physical memory behind the addresses, if there is any.
    fn ram(&self) -> Option<&Ram> {
        None
    }

    /// The vCPU's bit for [`Ram::may_write`].
    fn set_writer(&self, _writer: u8) {}

    /// Withdraws the right to write to the page at a host address.
    fn protect(&self, _host: usize) {}

    /// Forgets the translation of one page.
    fn flush_page(&self, _address: u64) -> Flushed {
        Flushed::Page
    }

    /// Forgets the translations that are not the same in every address space.
    fn flush_local(&self) {}

    /// Forgets all translations.
    fn flush_all(&self) {}

    /// The cached translations; physical addresses of pages that are not code are still the host's.
    fn cached_pages(&self) -> Vec<CachedPage> {
        Vec::new()
    }

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

    /// Atomic update at any address, as one access even across the end of a page: `f` makes the new value from
    /// the old, or `None` to leave it. Returns the old.
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

    /// A load that missed the TLB in generated code.
    fn slow_load(core: &Core<I, Self>, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        Self::load(core, regime, width, address)
    }

    /// A store that missed the TLB in generated code.
    fn slow_store(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        Self::store(core, regime, width, address, value)
    }

    /// A load of a vector that missed the TLB in generated code.
    fn slow_load_vector(core: &Core<I, Self>, hints: Hints, address: u64) -> Result<u128, Leave> {
        Self::load_vector(core, hints, address)
    }

    /// A store of a vector that missed the TLB in generated code.
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

    /// Reads code bytes at a physical address, from the copies if they contain them.
    fn fetch(&self, copies: &Self::Copies, at: u64, width: Width) -> Option<u64>;

    /// Whether the page at a physical address is a code page, so that changes of it are noted; or needs no
    /// notes.
    fn is_settled(&self, _physical: u64) -> bool {
        true
    }

    /// Makes the page at a physical address a code page.
    fn settle(_engine: &Engine<I, Self>, _physical: u64) {}

    /// Where a debugger wants the vCPU to stop in the page at this virtual address.
    fn stops(&self, _page: u64) -> Vec<u64> {
        Vec::new()
    }

    /// Copies those pages that a block at this address may be decoded from and that may change without a
    /// note; `changed` is called with the differences from earlier copies.
    fn keep_copies(&self, _copies: &mut Self::Copies, _start: u64, _changed: impl FnMut(u64, u64)) {}

    /// Called when the guest asks that fetches see code it has written.
    fn sync_code(_core: &Core<I, Self>) {}

    /// The blocks that must be retired if the physical bytes from `start` up to `end` changed.
    fn changed_blocks(pages: &PageIndex<I, Self>, start: u64, end: u64) -> Vec<*mut Block<I, Self>>;

    /// Called before this thread runs generated code from this range of addresses.
    fn will_run(_code: (usize, usize), _tables: &Tables, _frame: &Frame) {}
}
