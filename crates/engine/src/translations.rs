//! The translations of one machine or program, shared by all its vCPUs.
//!
//! vCPUs look blocks up and run code without a lock. A thread that adds, compiles, links or retires a block
//! holds the one lock here. Decoding waits for it; compiling and linking do not: if it is taken, the block is
//! interpreted once more.
//!
//! Order of locks: this one, then what [`Pages`](crate::direct::Pages) locks, then [`Written`]'s.

use crate::block::{self, Block, CHAINS, Decode, Op, PAGE};
use crate::code_copies::CodeCopies;
use crate::core::Core;
use crate::epochs::Epochs;
use crate::host::{Code, Compile, Compiled, Compiler, GeneratedCode};
use crate::memory::GuestMemory;
use crate::page_index::PageIndex;
use crate::paged::Paged;
use crate::perf::PerfMap;
use crate::rest::{self, Rest};
use crate::table::Table;
use crate::written::{Changed, Member, Written};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use trine_ir::{Isa, Trap};

/// The engine for blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Only the interpreter.
    Interp,
    /// Interpreter for cold code, compiled code for the rest.
    Baseline,
}

/// Counts of events in the translations, by all vCPUs.
#[derive(Default, Debug)]
pub struct Counts {
    /// Blocks decoded.
    pub decoded: AtomicU64,
    /// Blocks compiled.
    pub compiled: AtomicU64,
    /// Blocks retired: their bytes or the breakpoints in them changed, their part of code memory was emptied, they stayed cold,
    /// or the machine rested.
    pub retired: AtomicU64,
    /// Retired blocks that were freed.
    pub freed: AtomicU64,
    /// Parts of code memory that were emptied to be filled again.
    pub emptied: AtomicU64,
    /// Times that all blocks without code were retired, for there were too many.
    pub cooled: AtomicU64,
    /// Times that everything was given up because the machine rested.
    pub rested: AtomicU64,
}

/// How much there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a part of code memory, a multiple of 4096.
    pub part: usize,
    /// Blocks without code.
    pub cold: usize,
    /// Bytes of all translations of a machine that rests.
    pub resting: usize,
}

/// Bytes that a block with its instructions takes, on average, without its code.
const BLOCK: usize = 400;

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { part: crate::code::PART, cold: 1 << 16, resting: 24 << 20 }
    }
}

impl Counts {
    fn add(count: &AtomicU64, by: usize) {
        count.fetch_add(by as u64, Ordering::Relaxed);
    }
}

/// State that is changed under the lock.
struct Inner<I: Isa, M: GuestMemory<I>> {
    pages: PageIndex<I, M>,
    copies: M::Copies,
    compiler: Compiler<I, M>,
    /// Memory for decoding.
    ops: Vec<Op<I, M>>,
    /// Blocks in the table that have no code.
    cold: usize,
    /// Blocks that were taken out, and the epoch in which that was.
    limbo: Vec<(u64, *mut Block<I, M>)>,
    /// The part of code memory that is being emptied, and the epoch in which its blocks were retired.
    emptying: Option<(usize, u64)>,
    /// All blocks were taken out to be given up, and their memory is not free yet.
    giving_up: bool,
}

// SAFETY: blocks in limbo are only followed by a thread that has this, and are `Send`.
unsafe impl<I: Isa, M: GuestMemory<I>> Send for Inner<I, M> {}

/// The translations.
pub struct Translations<I: Isa, M: GuestMemory<I> = Paged<I>> {
    code: Option<Code>,
    table: Table<Block<I, M>>,
    epochs: Epochs,
    written: Arc<Written>,
    inner: Mutex<Inner<I, M>>,
    perf: OnceLock<Arc<PerfMap>>,
    rest: Rest,
    counts: Counts,
    bounds: Bounds,
}

/// The result of an attempt to decode a block.
pub(crate) enum Translated<I: Isa, M: GuestMemory<I>> {
    /// It is in the table.
    Block(*mut Block<I, M>),
    /// This physical page must become code before.
    Unsettled(u64),
}

/// A copy of a parent's code for its child process: see [`Translations::fork`].
pub struct CodeCopy(Vec<(usize, Vec<u8>)>);

impl<I: Isa, M: GuestMemory<I>> Translations<I, M> {
    /// Empty translations. If the host cannot run compiled code, the interpreter runs everything and the
    /// reason is returned.
    pub fn new(tier: Tier) -> (Arc<Self>, Option<String>) {
        Self::with_bounds(tier, Bounds::default())
    }

    /// The same with other bounds; for tests that reach them.
    pub fn with_bounds(tier: Tier, bounds: Bounds) -> (Arc<Self>, Option<String>) {
        let made = match tier {
            Tier::Interp => Ok(None),
            Tier::Baseline => Code::new::<I, M>(bounds.part).map(Some),
        };
        let (code, why) = match made {
            Ok(code) => (code, None),
            Err(why) => (None, Some(why)),
        };
        // SAFETY: a null pointer is all zeros. The host provides such memory on first use.
        let heads = unsafe { Box::new_zeroed_slice(CHAINS).assume_init() };
        let inner = Inner {
            pages: PageIndex::default(),
            copies: M::Copies::default(),
            compiler: Compiler::default(),
            ops: Vec::new(),
            cold: 0,
            limbo: Vec::new(),
            emptying: None,
            giving_up: false,
        };
        let translations = Translations {
            code,
            table: Table::new(heads),
            epochs: Epochs::default(),
            written: Arc::default(),
            inner: Mutex::new(inner),
            perf: OnceLock::new(),
            rest: Rest::default(),
            counts: Counts::default(),
            bounds,
        };
        (Arc::new(translations), why)
    }

    /// Generated code, if the host can run it.
    pub fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// Where changes of code are noted.
    pub fn written(&self) -> &Arc<Written> {
        &self.written
    }

    /// Epochs for vCPUs' safepoints.
    pub(crate) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Records code that is made from now on in a map file of `perf`, unless there is one already.
    pub fn set_perf_map(&self, map: Arc<PerfMap>) {
        if let Some(code) = &self.code
            && self.perf.set(map.clone()).is_ok()
        {
            let (at, size) = code.thunks();
            map.add(at, size, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<I, M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Inner<I, M>>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The block at a physical address in the core's mode, whose second page is the one after `pc`'s. The
    /// core's vCPU is online; the block lives until its next safepoint.
    pub(crate) fn known(
        &self,
        core: &Core<I, M>,
        pc: u64,
        start: u64,
    ) -> Result<Option<*mut Block<I, M>>, Trap> {
        let mode = core.mode.get();
        let find = |second: Option<u64>| {
            let same = |b: &Block<I, M>| b.start == start && b.mode == mode;
            let wanted = |b: &Block<I, M>| same(b) && (second.is_none() || b.second == second);
            // SAFETY: blocks are freed after every vCPU has passed a safepoint after their removal.
            unsafe { self.table.find(Block::<I, M>::chain_of(start, mode), wanted) }
        };
        let Some(block) = find(None) else { return Ok(None) };
        // SAFETY: as above.
        if unsafe { &*block }.second.is_none() {
            return Ok(Some(block));
        }
        // The same bytes may continue in another page for another address space.
        let next = (pc & !(PAGE - 1)).wrapping_add(PAGE);
        Ok(find(Some(M::fetch_address(core, next)? & !(PAGE - 1))))
    }

    /// Decodes the block at `pc`, unless another vCPU has done so meanwhile.
    pub(crate) fn translate(&self, core: &Core<I, M>, pc: u64) -> Result<Translated<I, M>, Trap> {
        let mut inner = self.lock();
        // Checked again, under the lock: if the page still is code now, a thread that changes that notes it,
        // and the note is served after the lock is released.
        let start = M::fetch_address(core, pc)?;
        if let Some(block) = self.known(core, pc, start)? {
            return Ok(Translated::Block(block));
        }
        // First the protection, then the bytes: a write in between is noted.
        if !core.memory.is_settled(start) {
            return Ok(Translated::Unsettled(start));
        }
        self.keep_copies(&mut inner, core, start);
        let Inner { copies, ops, .. } = &mut *inner;
        let block = match block::decode(core, copies, pc, start, ops)? {
            Decode::Done(block) => block,
            Decode::Unsettled(page) => return Ok(Translated::Unsettled(page)),
        };
        if inner.cold >= self.bounds.cold {
            self.forget_cold(&mut inner);
        }
        inner.cold += 1;
        let block = Box::into_raw(Box::new(block));
        // SAFETY: made just now; it is freed after it was removed from both. Changes are under the lock.
        unsafe {
            inner.pages.add(block);
            self.table.insert(block);
        }
        Counts::add(&self.counts.decoded, 1);
        Ok(Translated::Block(block))
    }

    /// Copies those pages that a block at this address may be decoded from and that a program may change.
    fn keep_copies(&self, inner: &mut Inner<I, M>, core: &Core<I, M>, start: u64) {
        let mut changed = Vec::new();
        core.memory.keep_copies(&mut inner.copies, start, |start, end| changed.push((start, end)));
        self.forget_ranges(inner, changed);
    }

    /// Serves notes. A thread that noted something has kicked every vCPU: all come here, and those that find
    /// nothing have waited until the noted blocks are retired.
    pub(crate) fn update(&self) -> usize {
        let mut inner = self.lock();
        let (changed, compare) = self.written.take();
        let mut ranges = Vec::new();
        if compare {
            inner.copies.changes(|start, end| ranges.push((start, end)));
        }
        let Changed::Ranges(noted) = changed else {
            self.forget_all(&mut inner);
            return 1;
        };
        ranges.extend(noted);
        let count = ranges.len();
        self.forget_ranges(&mut inner, ranges);
        self.reclaim(&mut inner);
        count
    }

    /// Forgets every block without code: most of them are of code that runs a few times at start. What is still wanted is
    /// decoded again.
    fn forget_cold(&self, inner: &mut Inner<I, M>) {
        // SAFETY: under the lock; what is in the table is not freed.
        let cold: Vec<_> = unsafe { self.table.all().filter(|&b| (*b).code() == 0).collect() };
        self.retire(inner, &cold);
        self.reclaim(inner);
        Counts::add(&self.counts.cooled, 1);
    }

    /// Forgets every block that has an instruction at one of these offsets in its page: blocks begin or end there from now on,
    /// or do not any more.
    pub(crate) fn forget_at(&self, offsets: &[u16]) {
        if offsets.is_empty() {
            return;
        }
        let mut inner = self.lock();
        let concerned = |block: &Block<I, M>| {
            let first = (block.start & (PAGE - 1)) as u16;
            offsets.contains(&first) || block.ops.iter().any(|op| offsets.contains(&op.offset))
        };
        // SAFETY: under the lock; what is in the table is not freed.
        let blocks: Vec<_> = unsafe { self.table.all().filter(|&b| concerned(&*b)).collect() };
        self.retire(&mut inner, &blocks);
        self.reclaim(&mut inner);
    }

    /// What is there now, in words.
    pub(crate) fn describe(&self) -> String {
        let inner = self.lock();
        // SAFETY: under the lock, so that no block is freed.
        let (blocks, compiled) = unsafe { self.table.all() }.fold((0u64, 0u64), |(all, compiled), b| {
            // SAFETY: as above.
            (all + 1, compiled + u64::from(unsafe { &*b }.code() != 0))
        });
        let kind = if self.code.is_some() { "interpreter and compiler" } else { "interpreter only" };
        format!(
            "{kind}\n{blocks} blocks, {compiled} of them compiled with {} KiB of code, {} dropped and not yet freed\n\
             given up {} times while the machine rested",
            inner.compiler.size() >> 10,
            inner.limbo.len(),
            self.counts.rested.load(Ordering::Relaxed)
        )
    }

    fn forget_all(&self, inner: &mut Inner<I, M>) {
        // SAFETY: under the lock.
        let blocks: Vec<_> = unsafe { self.table.all() }.collect();
        self.retire(inner, &blocks);
        inner.copies.clear();
    }

    /// For a vCPU that has nothing to do, and is offline: gives translations up if the machine rests and has many.
    pub(crate) fn rest(&self) {
        if self.rest.is_found() && self.give_up(self.bounds.resting) {
            self.rest.is_used();
        }
    }

    /// Gives all translations up, and their memory but the table's heads, if they take more than so many bytes. Returns false,
    /// and should be called again later, if a vCPU is online.
    pub fn give_up(&self, most: usize) -> bool {
        let mut inner = self.lock();
        if !inner.giving_up && self.taken(&inner) <= most {
            return true;
        }
        if self.written.is_held(self.epochs.now()) {
            return false;
        }
        inner.giving_up = true;
        self.forget_all(&mut inner);
        self.reclaim(&mut inner);
        // A vCPU that came online meanwhile, perhaps because it was told, may hold what was dropped.
        if !inner.limbo.is_empty() {
            return false;
        }
        inner.giving_up = false;
        if let Some(code) = &self.code {
            // SAFETY: every block was retired and noted, and none is in limbo: no vCPU holds one. One that comes online takes
            // the notes first, and gets a new block only under the lock.
            unsafe { inner.compiler.release(code) };
            inner.emptying = None;
        }
        inner.limbo = Vec::new();
        inner.pages.release();
        drop(inner);
        rest::trim_heap();
        Counts::add(&self.counts.rested, 1);
        true
    }

    /// Bytes that translations take, roughly.
    fn taken(&self, inner: &Inner<I, M>) -> usize {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as usize;
        let blocks = count(&self.counts.decoded).saturating_sub(count(&self.counts.retired));
        inner.compiler.size() + blocks * BLOCK
    }

    /// Forgets blocks whose bytes in these ranges changed.
    fn forget_ranges(&self, inner: &mut Inner<I, M>, mut ranges: Vec<(u64, u64)>) {
        while let Some((start, end)) = ranges.pop() {
            let blocks = M::changed_blocks(&inner.pages, start, end);
            self.retire(inner, &blocks);
            inner.copies.forget_unused(start, end, |page| inner.pages.has(page / PAGE));
            // The copies become as new as the blocks that will be made; more changes may be found by that.
            let outside = |&(a, b): &(u64, u64)| a < start || b > end;
            inner.copies.renew(start, end, |a, b| ranges.extend([(a, b)].into_iter().filter(outside)));
        }
    }

    /// Takes blocks out: afterwards only vCPUs hold references to them, which are told. Returns the epoch.
    fn retire(&self, inner: &mut Inner<I, M>, blocks: &[*mut Block<I, M>]) -> u64 {
        if blocks.is_empty() {
            return self.epochs.now();
        }
        let mut starts = Vec::with_capacity(blocks.len());
        for &at in blocks {
            // SAFETY: under the lock, and in the table until now.
            let block = unsafe {
                self.table.remove(at);
                &*at
            };
            starts.push(block.start);
            inner.pages.remove(at);
            block.retire();
            inner.cold -= (block.code() == 0) as usize;
            if let Some(code) = &self.code {
                inner.compiler.unlink(code, block);
            }
        }
        // A machine's code is found by virtual addresses, which are not known here.
        self.written.tell(M::IDENTITY.then_some(&starts));
        // After the notes: a vCPU that reports the next epoch has taken them.
        let epoch = self.epochs.advance();
        inner.limbo.extend(blocks.iter().map(|&block| (epoch, block)));
        Counts::add(&self.counts.retired, blocks.len());
        epoch
    }

    /// Frees blocks that no vCPU can hold any more.
    fn reclaim(&self, inner: &mut Inner<I, M>) {
        let before = inner.limbo.len();
        let mut held = None;
        inner.limbo.retain(|&(epoch, block)| {
            // Epochs ascend: if one is held, so are all that follow.
            let stays = held.is_some_and(|since| epoch >= since) || self.written.is_held(epoch);
            if stays {
                held = held.or(Some(epoch));
            } else {
                // SAFETY: made by `translate`; every vCPU has passed a safepoint since it was taken out.
                drop(unsafe { Box::from_raw(block) });
            }
            stays
        });
        Counts::add(&self.counts.freed, before - inner.limbo.len());
    }

    /// Compiles a block, unless another vCPU has the lock or has done so. Returns the bytes of the code made.
    pub(crate) fn compile(&self, block: &Block<I, M>, pc: u64) -> Option<usize> {
        let code = self.code.as_ref()?;
        let mut inner = self.try_lock()?;
        if block.code() != 0 || block.is_retired() {
            return None;
        }
        loop {
            match inner.compiler.compile(code, block) {
                Compiled::Done(size) => {
                    inner.cold -= 1;
                    Counts::add(&self.counts.compiled, 1);
                    drop(inner);
                    if let Some(map) = self.perf.get() {
                        map.add(block.code(), size, Some(pc));
                    }
                    return Some(size);
                }
                Compiled::TooComplex => {
                    block.set_not_compilable();
                    return None;
                }
                Compiled::Full if self.next_part(&mut inner, code) => {}
                Compiled::Full => return None,
            }
        }
    }

    /// Continues with the next part of code memory, and begins to empty the one after it, so that it will be
    /// empty when this one is full. False if the next one is not empty yet.
    fn next_part(&self, inner: &mut Inner<I, M>, code: &Code) -> bool {
        if let Some((part, epoch)) = inner.emptying {
            if self.written.is_held(epoch) {
                return false;
            }
            // SAFETY: every vCPU has passed a safepoint since the part's last block was taken out.
            unsafe { inner.compiler.clear(code, part) };
            inner.emptying = None;
            Counts::add(&self.counts.emptied, 1);
            self.reclaim(inner);
        }
        if !inner.compiler.advance(code) {
            return false;
        }
        if let Some(part) = inner.compiler.to_empty() {
            // SAFETY: under the lock.
            let blocks = unsafe { self.table.all() };
            // SAFETY: blocks in the table are not freed.
            let inside = |&b: &*mut Block<I, M>| code.is_in_part(part, unsafe { &*b }.code());
            let blocks: Vec<_> = blocks.filter(inside).collect();
            let epoch = self.retire(inner, &blocks);
            inner.emptying = Some((part, epoch));
        }
        true
    }

    /// Makes the direct jump with this number lead to a block, which the vCPU has just found, unless another
    /// vCPU has the lock: then that is left for the next time.
    pub(crate) fn link(&self, site: u32, to: &Block<I, M>) {
        if let (Some(code), Some(mut inner)) = (&self.code, self.try_lock()) {
            inner.compiler.link(code, site, to);
        }
    }

    /// Calls `f` with the block at a physical address in a mode and its code.
    pub(crate) fn listing<T>(
        &self,
        start: u64,
        mode: u32,
        f: impl FnOnce(&Block<I, M>, Vec<u8>) -> T,
    ) -> Option<T> {
        let inner = self.lock();
        let wanted = |b: &Block<I, M>| b.start == start && b.mode == mode;
        // SAFETY: blocks in the table are not freed while the lock is held.
        let block = unsafe { &*self.table.find(Block::<I, M>::chain_of(start, mode), wanted)? };
        let code = self.code.as_ref().filter(|_| block.code() != 0);
        Some(f(block, code.map_or(Vec::new(), |code| inner.compiler.bytes(code, block.code()))))
    }

    /// Calls `fork`, which forks this process, while nobody changes translations. The child would share its
    /// parent's memory for code: the returned copy is for [`Translations::after_fork`] in the child.
    pub fn fork<T>(&self, fork: impl FnOnce() -> T) -> (T, CodeCopy) {
        let inner = self.lock();
        let copy = self.code.as_ref().map_or(Vec::new(), |code| inner.compiler.copy(code));
        (fork(), CodeCopy(copy))
    }

    /// In a forked child, which has only the vCPU `member`: replaces the memory for code.
    ///
    /// # Errors
    /// The host's error. The translations must not be used then.
    pub(crate) fn after_fork(&self, copy: &CodeCopy, member: &Arc<Member>) -> std::io::Result<()> {
        self.written.only(member);
        self.code.as_ref().map_or(Ok(()), |code| code.after_fork(&copy.0))
    }
}

impl<I: Isa, M: GuestMemory<I>> Drop for Translations<I, M> {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nobody else has the translations.
        let listed: Vec<_> = unsafe { self.table.all() }.collect();
        for block in listed.into_iter().chain(inner.limbo.drain(..).map(|(_, block)| block)) {
            // SAFETY: made by `translate`, and in one of the two.
            drop(unsafe { Box::from_raw(block) });
        }
    }
}
