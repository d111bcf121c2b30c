//! The dispatcher: finds blocks, interprets or enters them, serves requests, takes interrupts.

use crate::block::{self, Block, Op, PAGE};
use crate::core::{Changed, Core, Time, Touched};
use crate::direct::Pages;
use crate::host::{Code, Compiled, Compiler, Left};
use crate::interp::Interp;
use crate::perf::PerfMap;
use crate::store::Store;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trine_base::{Acknowledge, Bus, Clock, Exit, Mailbox, RegisterInfo, StateError, Vcpu, VcpuState};
use trine_ir::{Hart, Isa, Leave, Trap};
use trine_memory::{CodeOwner, Ram};

/// Which engine runs blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Only the interpreter.
    Interp,
    /// Interpreter for cold code, compiled code for the rest.
    Baseline,
}

/// Runs of a block before it is compiled, unless set otherwise.
const WARM: u32 = 8;
/// Instructions between looks at the clock while the CPU's timer is armed.
const SLICE: u64 = 20_000;

/// Steps without an instruction done (a trap whose handler cannot be fetched) after which
/// [`Vcpu::run`] comes back, so that others can look at the machine.
const STUCK: u32 = 10_000;

/// Counts of what happened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Instructions interpreted.
    pub interpreted: u64,
    /// Blocks decoded.
    pub decoded: u64,
    /// Blocks compiled.
    pub compiled: u64,
    /// Guest instructions compiled.
    pub compiled_insns: u64,
    /// Bytes of code made.
    pub code_bytes: u64,
    /// Times that generated code was entered.
    pub entered: u64,
    /// Ranges of code forgotten because they were written.
    pub ranges_written: u64,
    /// Times that all code was dropped because the memory for it was full.
    pub dropped: u64,
}

impl Stats {
    /// The counts as text, for a vCPU that executed `count` instructions.
    pub fn describe(&self, count: u64) -> String {
        let generated = 100.0 * (1.0 - self.interpreted as f64 / count.max(1) as f64);
        format!(
            "instructions {count}, {generated:.2} % of them in generated code\n\
             blocks decoded {}, compiled {} ({} instructions, {} bytes of code)\n\
             entered {} times; code written {} times; all code dropped {} times",
            self.decoded,
            self.compiled,
            self.compiled_insns,
            self.code_bytes,
            self.entered,
            self.ranges_written,
            self.dropped
        )
    }
}

/// One vCPU with its translations.
pub struct Engine<I: Isa> {
    core: Box<Core<I>>,
    store: Store<I>,
    compiler: Option<(Box<Code>, Compiler<I>)>,
    stats: Stats,
    warm: u32,
    /// Instruction count at which [`Vcpu::run`] ends.
    target: u64,
    perf: Option<Arc<PerfMap>>,
}

// SAFETY: `Core` holds `Cell`s and raw addresses that only the thread that owns the engine uses;
// what other threads touch (mailbox, bus, RAM) is `Sync` behind `Arc`s.
unsafe impl<I: Isa> Send for Engine<I> {}

/// What an execution step led to.
enum Step {
    Go,
    Out(Exit),
}

impl<I: Isa> Engine<I> {
    /// A vCPU after reset. Where the host cannot run compiled code, `tier` is taken down to the
    /// interpreter and the reason is given.
    pub fn new(
        config: I::Config,
        ram: Arc<Ram>,
        bus: Arc<Bus>,
        time: Time,
        mailbox: Arc<Mailbox>,
        tier: Tier,
    ) -> (Engine<I>, Option<String>) {
        Self::on(Core::new(config, ram, None, bus, time, mailbox), tier)
    }

    /// A vCPU of a program, whose addresses are the host's.
    pub fn program(
        config: I::Config,
        pages: Arc<dyn Pages>,
        clock: Arc<dyn Clock>,
        mailbox: Arc<Mailbox>,
        tier: Tier,
    ) -> (Engine<I>, Option<String>) {
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let core = Core::new(config, Arc::new(Ram::none()), Some(pages), bus, Time::Host(clock), mailbox);
        Self::on(core, tier)
    }

    fn on(core: Box<Core<I>>, tier: Tier) -> (Engine<I>, Option<String>) {
        let made = match tier {
            Tier::Interp => Ok(None),
            Tier::Baseline => Code::new::<I>().map(|code| {
                let code = Box::new(code);
                code.adopt(&core);
                Some((code, Compiler::default()))
            }),
        };
        let (compiler, why) = match made {
            Ok(compiler) => (compiler, None),
            Err(why) => (None, Some(why)),
        };
        (
            Engine {
                core,
                store: Store::default(),
                compiler,
                stats: Stats::default(),
                warm: WARM,
                target: 0,
                perf: None,
            },
            why,
        )
    }

    /// Who is to be told of changes to pages that hold code.
    pub fn code_owner(&self) -> Arc<dyn CodeOwner> {
        self.core.written.clone()
    }

    /// Before a fork: what the child is to have instead of what it would share with its parent.
    pub fn before_fork(&self) -> Option<Vec<(usize, Vec<u8>)>> {
        self.compiler.as_ref().map(|(code, compiler)| compiler.copy(code))
    }

    /// In the process just forked: takes it.
    pub fn after_fork(&mut self, copy: Option<&[(usize, Vec<u8>)]>) -> std::io::Result<()> {
        match (&self.compiler, copy) {
            (Some((code, _)), Some(copy)) => code.after_fork(copy),
            _ => Ok(()),
        }
    }

    /// Notes code that is made from now on in a map file of `perf`.
    pub fn set_perf_map(&mut self, map: Arc<PerfMap>) {
        if let Some((code, size)) = self.compiler.as_ref().map(|(code, _)| code.thunks()) {
            map.add(code, size, None);
            self.perf = Some(map);
        }
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Gives the CPU an interrupt controller that it asks which interrupt to take.
    pub fn set_controller(&mut self, controller: Arc<dyn Acknowledge>) {
        self.core.controller = Some(controller);
    }

    /// Compiles a block at its `runs`-th run.
    pub fn set_warm(&mut self, runs: u32) {
        self.warm = runs;
    }

    /// The core, for tests and debuggers.
    pub fn core(&self) -> &Core<I> {
        &self.core
    }

    /// Instructions in the block at the PC; 1 where there is none.
    pub fn block_length(&mut self) -> u64 {
        match self.lookup() {
            // SAFETY: as in `step`.
            Ok(block) => (unsafe { &*block }.ops.len() as u64).max(1),
            Err(_) => 1,
        }
    }

    /// Interprets one instruction of a program, as a debugger's step. `None` where it was done; an exit otherwise,
    /// after which it was done only where the exit says so ([`Exit::Firmware`]: it raised that). What it accessed is
    /// added to `touched`.
    pub fn step_one(&mut self, touched: &mut Vec<Touched>) -> Option<Exit> {
        self.target = self.core.frame.count.get().saturating_add(1);
        if let Some(exit) = self.attend() {
            return Some(exit);
        }
        self.core.noting.set(true);
        let step = self.again();
        self.core.noting.set(false);
        touched.append(&mut self.core.noted.borrow_mut());
        match step {
            Step::Go => None,
            Step::Out(exit) => Some(exit),
        }
    }

    /// Interprets the instruction at the PC of a program though a debugger wants to stop before it
    /// ([`Pages::stops`]); for threads that the debugger does not debug.
    pub fn step_past(&mut self) -> Option<Exit> {
        let pc = self.core.frame.pc.get();
        self.target = self.core.frame.count.get().saturating_add(1);
        self.core.past.set(Some(pc));
        let block = self.core.fetch_address(pc).and_then(|start| block::decode(&self.core, pc, start));
        self.core.past.set(None);
        let step = match block {
            Ok(block) => self.interpret(&block, 1),
            Err(trap) => self.fault(trap),
        };
        match step {
            Step::Go => None,
            Step::Out(exit) => Some(exit),
        }
    }

    /// Count mode: lets clock time pass up to `at` nanoseconds, as if the CPU had waited so long.
    pub fn skip_to(&mut self, at: u64) {
        if let Time::Count(clock) = &self.core.time {
            let count = clock.count_at(at).max(self.core.frame.count.get());
            self.core.frame.count.set(count);
            self.core.frame.retired.set(count);
            clock.set_count(count);
        }
    }

    /// The code of the block at a physical address, in the current mode, for listings.
    pub fn code_at(&self, start: u64) -> Vec<u8> {
        let block = self.store.find(start, self.core.mode.get());
        let code = block.map_or(0, |b| b.code());
        self.compiler
            .as_ref()
            .filter(|_| code != 0)
            .map_or(Vec::new(), |(c, compiler)| compiler.bytes(c, code))
    }

    /// Every block, for listings.
    pub fn blocks(&self) -> &Store<I> {
        &self.store
    }

    /// Serves what was posted to the mailbox.
    fn requests(&mut self) -> Option<Exit> {
        let bits = self.core.mailbox.take_requests();
        if bits & Mailbox::CODE_WRITTEN != 0 {
            self.forget_written();
        }
        if bits & Mailbox::PAUSE != 0 {
            return Some(match self.core.bus.stopped() {
                Some(reason) => Exit::Stopped(reason),
                None => Exit::Paused,
            });
        }
        None
    }

    /// Forgets every block.
    fn forget_all(&mut self) {
        self.drop_code();
        self.store.clear();
        self.core.copies.clear();
    }

    fn forget_written(&mut self) {
        let Changed::Ranges(ranges) = self.core.written.take() else {
            return self.forget_all();
        };
        self.stats.ranges_written += ranges.len() as u64;
        if self.core.direct.is_some() {
            return self.forget_ranges(ranges);
        }
        let pages = ranges.into_iter().flat_map(|(start, end)| start / PAGE..end.div_ceil(PAGE));
        let (store, compiler) = (&mut self.store, &mut self.compiler);
        let mut unlink = |block: &Block<I>| {
            compiler.iter_mut().for_each(|(code, compiler)| compiler.unlink(code, block));
        };
        let dropped = pages.filter(|&page| store.forget_page(page, &mut unlink)).count();
        if dropped != 0 {
            self.core.new_generation();
        }
    }

    /// Forgets a program's blocks: its code is where its addresses say, so all that leads to them is known.
    fn forget_ranges(&mut self, mut ranges: Vec<(u64, u64)>) {
        while let Some((start, end)) = ranges.pop() {
            self.store.forget_range(start, end, |block| {
                self.core.jumps.forget(block.start);
                self.compiler.iter_mut().for_each(|(code, c)| c.unlink(code, block));
            });
            for page in (start & !(PAGE - 1)..end).step_by(PAGE as usize) {
                if !self.store.has_page(page / PAGE) {
                    self.core.copies.forget(page);
                }
            }
            // The copies become as new as the blocks that will be made; more may be found changed by that.
            let outside = |&(a, b): &(u64, u64)| a < start || b > end;
            self.core.copies.renew(start, end, |a, b| ranges.extend([(a, b)].into_iter().filter(outside)));
        }
    }

    /// Sets the limit for the next stretch, then looks at everything that may want attention.
    fn attend(&mut self) -> Option<Exit> {
        let count = self.core.frame.count.get();
        self.core.frame.retired.set(count);
        let limit = match (&self.core.time, self.core.timer.get()) {
            (Time::Host(_), Some(_)) => self.target.min(count + SLICE),
            // A time that has come changes nothing by passing on.
            (Time::Count(clock), Some(at)) if clock.count_at(at) > count => {
                self.target.min(clock.count_at(at))
            }
            _ => self.target,
        };
        // Stored before anything is looked at: a kick that comes later sets it to 0 again.
        self.core.mailbox.limit.store(limit, Ordering::SeqCst);
        if let Time::Count(clock) = &self.core.time {
            // The devices' timers are this thread's work: the clock only moves here.
            clock.set_count(count);
            self.core.bus.run_timers();
            if let Some(at) = self.core.bus.next_timer() {
                // Lowers it at most: a kick's 0 stays.
                self.core.mailbox.limit.fetch_min(clock.count_at(at).max(count + 1), Ordering::SeqCst);
            }
        }
        if let Some(exit) = self.requests() {
            return Some(exit);
        }
        if let Some(trap) = I::interrupt(&*self.core) {
            return self.take(trap);
        }
        None
    }

    /// Enters the handler of a trap at the current PC.
    fn take(&mut self, trap: Trap) -> Option<Exit> {
        match I::trap(&*self.core, trap, self.core.pc()) {
            Ok(handler) => {
                self.core.set_pc(handler);
                None
            }
            Err(Trap { cause, value, .. }) => Some(Exit::Firmware { cause, value }),
        }
    }

    /// The block at the current PC.
    fn lookup(&mut self) -> Result<*const Block<I>, Trap> {
        let pc = self.core.frame.pc.get();
        let stamp = self.core.frame.stamp.get();
        let entry = self.core.jumps.entry(pc);
        if entry.pc.get() == pc && entry.stamp.get() == stamp {
            return Ok(entry.block.get() as *const Block<I>);
        }
        let start = self.core.fetch_address(pc)?;
        let block = match self.known(pc, start)? {
            Some(block) => block,
            None => self.translate(pc, start)?,
        };
        let entry = self.core.jumps.fill(pc);
        entry.pc.set(pc);
        // Looking up may have started a new generation.
        entry.stamp.set(self.core.frame.stamp.get());
        entry.block.set(block as usize);
        // SAFETY: the block was just found in or added to the store.
        let code = unsafe { (*block).code() };
        entry.code.set(self.entry_code(code));
        Ok(block)
    }

    /// What the jump cache names as a block's code.
    fn entry_code(&self, code: usize) -> usize {
        match &self.compiler {
            Some((host, _)) if code == 0 => host.miss(),
            _ => code,
        }
    }

    /// A block that exists and whose second page is still where it was.
    fn known(&self, pc: u64, start: u64) -> Result<Option<*const Block<I>>, Trap> {
        let Some(block) = self.store.find(start, self.core.mode.get()) else { return Ok(None) };
        if let Some(second) = block.second {
            let next = (pc & !(PAGE - 1)).wrapping_add(PAGE);
            if self.core.fetch_address(next)? & !(PAGE - 1) != second {
                return Ok(None);
            }
        }
        Ok(Some(block))
    }

    fn translate(&mut self, pc: u64, start: u64) -> Result<*const Block<I>, Trap> {
        // First the protection, then the bytes: a write in between is noted.
        self.core.ram.mark_code(start);
        self.keep_copies(start);
        let block = block::decode(&self.core, pc, start)?;
        for page in [Some(start & !(PAGE - 1)), block.second].into_iter().flatten() {
            if !self.store.has_page(page / PAGE)
                && let Some(host) = self.core.ram.host_address(page)
            {
                self.core.tlb.protect(host);
            }
        }
        self.stats.decoded += 1;
        let (block, old) = self.store.insert(block);
        let block: *const Block<I> = block;
        if let Some(old) = old {
            self.compiler.iter_mut().for_each(|(code, c)| c.unlink(code, &old));
            self.core.new_generation();
        }
        Ok(block)
    }

    /// Copies what a program may change of the pages that a block at this address may be decoded from.
    fn keep_copies(&self, start: u64) {
        let Some(pages) = &self.core.direct else { return };
        let (first, last) = (start & !(PAGE - 1), (start + I::MAX_BYTES - 1) & !(PAGE - 1));
        for page in (first..=last).step_by(PAGE as usize).filter(|&p| pages.may_change(p)) {
            self.core.copies.keep(page, |start, end| self.core.written.code_changed(start, end));
        }
    }

    /// Raises `trap` at the current PC.
    fn fault(&mut self, trap: Trap) -> Step {
        match self.take(trap) {
            Some(exit) => Step::Out(exit),
            None => Step::Go,
        }
    }

    /// Runs at most `most` instructions of `block` with the interpreter.
    fn interpret(&mut self, block: &Block<I>, most: u64) -> Step {
        let core = &*self.core;
        let pc = core.frame.pc.get();
        core.frame.page.set(pc & !(PAGE - 1));
        let ops: &[Op<I>] = &block.ops[..block.ops.len().min(most as usize)];
        for op in ops {
            if let Err(leave) = Interp::execute(core, op) {
                return self.left(op, leave);
            }
        }
        let done = ops.len() as u64;
        let end = ops.last().map_or(pc & (PAGE - 1), |op| op.offset as u64 + op.bytes as u64);
        core.frame.count.set(core.frame.count.get() + done);
        core.run_on((pc & !(PAGE - 1)).wrapping_add(end));
        self.stats.interpreted += done;
        match block.illegal {
            Some(trap) if ops.len() == block.ops.len() && most > done => self.fault(trap),
            _ => Step::Go,
        }
    }

    /// An instruction of an interpreted block did not simply end.
    fn left(&mut self, op: &Op<I>, leave: Leave) -> Step {
        let frame = &self.core.frame;
        let before = frame.count.get() + op.index as u64;
        let here = frame.page.get().wrapping_add(op.offset as u64);
        let next = here.wrapping_add(op.bytes as u64);
        let done = self.core.is_done(leave) as u64;
        frame.count.set(before + done);
        self.stats.interpreted += op.index as u64 + done;
        self.finish(leave, here, next)
    }

    /// What follows when an instruction at `here` left with `leave`.
    fn finish(&mut self, leave: Leave, here: u64, next: u64) -> Step {
        let frame = &self.core.frame;
        match leave {
            Leave::Jump => Step::Go,
            Leave::Trap => {
                let trap = self.core.trap.get();
                if trap.after {
                    self.core.run_on(next)
                } else {
                    frame.pc.set(here)
                }
                self.fault(trap)
            }
            Leave::EndBlock => {
                self.core.run_on(next);
                Step::Go
            }
            Leave::Idle => {
                self.core.run_on(next);
                self.wait().map_or(Step::Go, Step::Out)
            }
            Leave::Stop => {
                self.core.run_on(next);
                self.core.recheck();
                Step::Go
            }
        }
    }

    /// Lets the CPU wait for an interrupt, as its own instruction for that does: [`Exit::Idle`], or `None` where one
    /// that ends the wait is pending already.
    pub fn wait(&mut self) -> Option<Exit> {
        self.core.frame.retired.set(self.core.frame.count.get());
        // Read before what pends is looked at: a time up to this one is no deadline, for it did not end the wait.
        let now = self.core.now();
        if I::wakes(&*self.core) {
            self.core.recheck();
            return None;
        }
        Some(Exit::Idle { deadline: self.core.timer.get().filter(|at| *at > now) })
    }

    /// One block, or what the limit leaves of it.
    fn step(&mut self) -> Step {
        if self.core.mailbox.limit.load(Ordering::SeqCst) <= self.core.frame.count.get()
            && let Some(exit) = self.attend()
        {
            return Step::Out(exit);
        }
        let block = match self.lookup() {
            Ok(block) => block,
            Err(trap) => return self.fault(trap),
        };
        // SAFETY: blocks leave the store only in `requests` and `translate`, not while one runs.
        let block = unsafe { &*block };
        let left = self.core.mailbox.limit.load(Ordering::SeqCst).saturating_sub(self.core.frame.count.get());
        if left == 0 {
            return Step::Go;
        }
        if left < block.ops.len() as u64 || self.compiler.is_none() {
            return self.interpret(block, left);
        }
        if block.code() == 0 {
            if block.count_run() < self.warm || !block.is_compilable() {
                return self.interpret(block, left);
            }
            self.compile(block);
            if block.code() == 0 {
                return self.interpret(block, left);
            }
        }
        self.enter(block)
    }

    fn compile(&mut self, block: &Block<I>) {
        let Some((code, compiler)) = &mut self.compiler else { return };
        match compiler.compile(code, block, self.core.direct.is_some()) {
            Compiled::Done(size) => {
                self.stats.compiled += 1;
                self.stats.compiled_insns += block.ops.len() as u64;
                self.stats.code_bytes += size as u64;
                let entry = self.core.jumps.entry(self.core.frame.pc.get());
                entry.code.set(block.code());
                if let Some(map) = &self.perf {
                    map.add(block.code(), size, Some(self.core.frame.pc.get()));
                }
            }
            Compiled::TooComplex => block.set_not_compilable(),
            // Start over.
            Compiled::Full => self.drop_code(),
        }
    }

    /// Forgets all compiled code.
    fn drop_code(&mut self) {
        self.stats.dropped += 1;
        self.compiler.iter_mut().for_each(|(code, compiler)| compiler.clear(code));
        self.store.each(Block::cool_down);
        self.core.new_generation();
    }

    /// Runs generated code until it leaves.
    fn enter(&mut self, block: &Block<I>) -> Step {
        let Some((code, _)) = &self.compiler else { return Step::Go };
        self.stats.entered += 1;
        self.core.frame.page.set(self.core.frame.pc.get() & !(PAGE - 1));
        match code.enter(&self.core, block.code()) {
            Left::Go => Step::Go,
            Left::Again => self.again(),
            Left::Link(site) => self.link(site),
            Left::Instruction { leave, next } => {
                let here = self.core.frame.pc.get();
                self.finish(leave, here, next)
            }
        }
    }

    /// Interprets the instruction at the PC.
    fn again(&mut self) -> Step {
        match self.lookup() {
            // SAFETY: as in `step`.
            Ok(block) => self.interpret(unsafe { &*block }, 1),
            Err(trap) => self.fault(trap),
        }
    }

    /// A direct jump that leads to a block for the first time: compiled code goes there by itself
    /// from now on.
    fn link(&mut self, site: u32) -> Step {
        let block = match self.lookup() {
            Ok(block) => block,
            Err(trap) => return self.fault(trap),
        };
        if let Some((code, compiler)) = &mut self.compiler {
            // SAFETY: as in `step`.
            compiler.link(code, site, unsafe { &*block });
        }
        Step::Go
    }
}

impl<I: Isa> Vcpu for Engine<I> {
    fn run(&mut self, budget: u64) -> Exit {
        self.target = self.core.frame.count.get().saturating_add(budget);
        if let Some(exit) = self.attend() {
            return exit;
        }
        let (mut last, mut idle) = (u64::MAX, 0);
        loop {
            let count = self.core.frame.count.get();
            idle = if count == last { idle + 1 } else { 0 };
            last = count;
            if count >= self.target || idle > STUCK {
                return Exit::Budget;
            }
            if let Step::Out(exit) = self.step() {
                return exit;
            }
        }
    }

    fn count(&self) -> u64 {
        self.core.frame.count.get()
    }

    fn registers(&self) -> &'static [RegisterInfo] {
        I::REGISTERS
    }

    fn get(&self, slot: u16) -> u64 {
        if slot == I::FP_FLAGS {
            self.core.harvest_fp();
        }
        Hart::get(&*self.core, slot)
    }

    fn set(&mut self, slot: u16, value: u64) {
        // What the host's FPU gathered would be lost when it is told the rounding direction.
        self.core.harvest_fp();
        Hart::set(&*self.core, slot, value);
        self.core.load_fp();
        self.core.mode_changed();
        // The register may be what the CPU's timer is compared with.
        self.core.timer.set(I::deadline(&*self.core));
    }

    fn pc(&self) -> u64 {
        self.core.pc()
    }

    fn set_pc(&mut self, pc: u64) {
        self.core.set_pc(pc);
    }

    fn fence(&mut self) {
        self.core.flush(trine_ir::Flush::All);
        self.core.sync_code();
    }

    fn mailbox(&self) -> Arc<Mailbox> {
        self.core.mailbox.clone()
    }

    fn save(&self) -> Vec<u8> {
        self.core.harvest_fp();
        let core = &*self.core;
        VcpuState::new(I::REGISTERS, |slot| Hart::get(core, slot), self.pc(), self.count(), core.timer.get())
            .save()
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let core = &*self.core;
        core.harvest_fp();
        let state = VcpuState::load(state, I::REGISTERS, |slot, value| Hart::set(core, slot, value))?;
        core.frame.count.set(state.count);
        core.frame.retired.set(state.count);
        core.load_fp();
        core.mode_changed();
        core.set_pc(state.pc);
        core.set_timer(state.timer);
        core.flush(trine_ir::Flush::All);
        // Memory is that of the other machine, however it came here.
        self.forget_all();
        Ok(())
    }
}
