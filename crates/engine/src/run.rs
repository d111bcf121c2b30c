//! The dispatcher: finds blocks, interprets or enters them, serves requests, takes interrupts.

use crate::block::{Block, Op, PAGE};
use crate::core::{Core, Time};
use crate::direct::{Direct, Pages};
use crate::host::{GeneratedCode, Left};
use crate::interp::Interp;
use crate::memory::GuestMemory;
use crate::paged::Paged;
use crate::trace::Trace;
use crate::translations::{CodeCopy, Tier, Translations};
use crate::written::Member;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trine_base::trace::Tracer;
use trine_base::{
    Bus, CachedPage, Clock, Exit, Fence, Mailbox, RegisterInfo, Stats, Stops, Vcpu, target::Target,
};
use trine_ir::fp::MXCSR;
use trine_ir::{Flush, FpRules, Hart, Isa, Leave, Trap};
use trine_memory::{CodeOwner, Ram};

/// Runs of a block before it is compiled, by default.
const WARM: u32 = 8;
/// Instructions between checks of the clock while the CPU's timer is armed.
const SLICE: u64 = 20_000;

/// Steps without a completed instruction (a trap whose handler cannot be fetched) after which [`Vcpu::run`]
/// returns, so that others can check the machine.
const STUCK: u32 = 10_000;

/// The most pages whose translations are dropped one by one.
const FENCED_ONE_BY_ONE: u64 = 64;

/// Steps without a completed instruction after which a vCPU that is kicked again and again executes one. A few are
/// usual while others write code; and who goes on inside a block decodes what is left of it once more.
const STARVED: u32 = 100;
const _: () = assert!(STARVED < STUCK);

/// One vCPU.
pub struct Engine<I: Isa, M: GuestMemory<I> = Paged<I>> {
    pub(crate) core: Box<Core<I, M>>,
    pub(crate) translations: Arc<Translations<I, M>>,
    /// This vCPU as a member of its translations.
    pub(crate) member: Arc<Member>,
    pub(crate) stats: Stats,
    warm: u32,
    /// Instruction count at which [`Vcpu::run`] ends.
    target: u64,
    /// Who is told what it does.
    pub(crate) trace: Option<Trace>,
}

// SAFETY: `Core` holds `Cell`s and raw addresses that only the thread that owns the engine uses; what other
// threads access (mailbox, bus, RAM) is `Sync` behind `Arc`s.
unsafe impl<I: Isa, M: GuestMemory<I>> Send for Engine<I, M> {}

/// The outcome of an execution step.
pub(crate) enum Step {
    Go,
    Out(Exit),
}

impl Step {
    pub(crate) fn exit(self) -> Option<Exit> {
        match self {
            Step::Go => None,
            Step::Out(exit) => Some(exit),
        }
    }
}

impl<I: Isa> Engine<I, Paged<I>> {
    /// The only vCPU of a machine, after reset. If the host cannot run compiled code, the interpreter runs
    /// everything and the reason is returned.
    pub fn new(
        config: I::Config,
        ram: Arc<Ram>,
        bus: Arc<Bus>,
        time: Time,
        mailbox: Arc<Mailbox>,
        tier: Tier,
    ) -> (Self, Option<String>) {
        let (translations, why) = Translations::new(tier);
        ram.add_code_owner(translations.written().clone());
        (Self::of_machine(config, ram, bus, time, mailbox, translations), why)
    }

    /// One of several vCPUs of a machine, after reset. All have the same RAM and translations, whose notes
    /// ([`Translations::written`]) the RAM uses; their configuration is the same except for the number of the
    /// hart.
    pub fn of_machine(
        config: I::Config,
        ram: Arc<Ram>,
        bus: Arc<Bus>,
        time: Time,
        mailbox: Arc<Mailbox>,
        translations: Arc<Translations<I>>,
    ) -> Self {
        let written = translations.written().clone();
        let core = Core::new(config, ram, bus, time, mailbox, written);
        Self::on(core, translations)
    }
}

impl<I: Isa> Engine<I, Direct> {
    /// A vCPU of a program, whose addresses are the host's. All vCPUs of an address space share translations;
    /// their configuration is the same except for the number of the hart.
    pub fn program(
        config: I::Config,
        pages: Arc<dyn Pages>,
        clock: Arc<dyn Clock>,
        mailbox: Arc<Mailbox>,
        translations: Arc<Translations<I, Direct>>,
    ) -> Self {
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let written = translations.written().clone();
        let core = Core::new(config, pages, bus, Time::Host(clock), mailbox, written);
        Self::on(core, translations)
    }
}

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    fn on(core: Box<Core<I, M>>, translations: Arc<Translations<I, M>>) -> Engine<I, M> {
        if let Some(code) = translations.code() {
            code.adopt(&core);
        }
        let member = translations.written().join(core.mailbox.clone());
        core.memory.set_writer(member.writer);
        Engine { core, translations, member, stats: Stats::default(), warm: WARM, target: 0, trace: None }
    }

    /// The receiver of reports about changes to pages that hold code.
    pub fn code_owner(&self) -> Arc<dyn CodeOwner> {
        self.core.written.clone()
    }

    /// The translations that it runs.
    pub fn translations(&self) -> &Arc<Translations<I, M>> {
        &self.translations
    }

    /// In a forked child, whose only vCPU this is: takes the copy of code that [`Translations::fork`] made.
    ///
    /// # Errors
    /// The host's error. The vCPU must not run then.
    pub fn after_fork(&mut self, copy: &CodeCopy) -> std::io::Result<()> {
        self.translations.after_fork(copy, &self.member)
    }

    /// Declares that the vCPU will not run any more, though it is not dropped: its thread was killed.
    pub fn abandon(&self) {
        self.translations.written().leave(&self.member);
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Ends [`Vcpu::run`] after so many more instructions.
    pub(crate) fn set_target(&mut self, budget: u64) {
        self.target = self.core.frame.count.get().saturating_add(budget);
    }

    /// Has a block compiled at its `runs`-th run.
    pub fn set_warm(&mut self, runs: u32) {
        self.warm = runs;
    }

    /// The core, for tests and debuggers.
    pub fn core(&self) -> &Core<I, M> {
        &self.core
    }

    /// Serves what was posted to the mailbox.
    fn requests(&mut self) -> Option<Exit> {
        let bits = self.core.mailbox.take_requests();
        if bits & Mailbox::CODE_WRITTEN != 0 {
            self.stats.ranges_written += self.translations.update() as u64;
        }
        self.forget_stale();
        if bits & Mailbox::PAUSE != 0 {
            return Some(match self.core.bus.stopped() {
                Some(reason) => Exit::Stopped(reason),
                None => Exit::Paused,
            });
        }
        None
    }

    /// Sets the limit for the next stretch, then handles everything that may need attention.
    ///
    /// This is the vCPU's safepoint: it holds no block.
    pub(crate) fn attend(&mut self) -> Option<Exit> {
        self.attend_to(true)
    }

    /// The same; `interrupts` says whether they are taken.
    pub(crate) fn attend_to(&mut self, interrupts: bool) -> Option<Exit> {
        // Read before stale entries are looked for.
        let epoch = self.translations.epochs().now();
        let exit = self.look(interrupts);
        self.give_up_writes(epoch);
        self.member.seen.pass(epoch);
        exit
    }

    fn look(&mut self, interrupts: bool) -> Option<Exit> {
        let count = self.core.frame.count.get();
        self.core.frame.retired.set(count);
        let limit = match (&self.core.time, self.core.timer.get()) {
            (Time::Host(_), Some(_)) => self.target.min(count + SLICE),
            // The deadline has passed already; more time changes nothing.
            (Time::Count(clock), Some(at)) if clock.count_at(at) > count => {
                self.target.min(clock.count_at(at))
            }
            _ => self.target,
        };
        // Stored before any check: a later kick sets it to 0 again.
        self.core.mailbox.limit.store(limit, Ordering::SeqCst);
        if let Time::Count(clock) = &self.core.time {
            // This thread runs the devices' timers: the clock only advances here.
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
        // A CPU that waits by its state executes nothing before an interrupt.
        if interrupts || I::waits(self.core.slots()) { self.interrupts() } else { None }
    }

    /// Takes an interrupt, or goes on waiting where the CPU waits.
    fn interrupts(&mut self) -> Option<Exit> {
        let waits = I::waits(self.core.slots());
        // Read before the check for interrupts, as in `wait`.
        let now = if waits { self.core.now() } else { 0 };
        // No interrupt is taken between an instruction that is executed alone and the one before it.
        if (waits || !I::stepping(self.core.slots()))
            && let Some(trap) = I::interrupt(&*self.core)
        {
            // What has left for a watchpoint is executed later, and leaves again.
            self.core.debug.forget_hit();
            return self.take(trap);
        }
        // An event that has no handler may have started the CPU.
        (waits && I::waits(self.core.slots())).then(|| self.idle(now))
    }

    /// The exit of a CPU that waits, and found at `now` that nothing ends the wait.
    fn idle(&self, now: u64) -> Exit {
        // A time up to `now` is no deadline, as it did not end the wait.
        Exit::Idle { deadline: self.core.timer.get().filter(|at| *at > now) }
    }

    /// Enters the handler of a trap at the current PC.
    fn take(&mut self, trap: Trap) -> Option<Exit> {
        let place = self.trap_place();
        let handler = I::trap(&*self.core, trap, self.core.pc());
        if let Some(place) = place {
            self.trace_trap(place, trap, handler.ok());
        }
        match handler {
            Ok(handler) => {
                self.core.set_pc(handler);
                None
            }
            Err(trap) => Some(Exit::Firmware(trap)),
        }
    }

    /// Calls `f` while the vCPU may hold blocks.
    pub(crate) fn online<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let epochs = self.translations.epochs();
        self.member.seen.online(epochs);
        self.member.writes.online(epochs);
        // Handles code that was freed, and pages that became code, while it was offline.
        self.forget_stale();
        self.give_up_writes(epochs.now());
        let result = f(self);
        self.member.seen.offline();
        self.member.writes.offline();
        result
    }

    fn run_online(&mut self) -> Exit {
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
            if let Step::Out(exit) = self.step(idle) {
                return exit;
            }
        }
    }

    /// Raises `trap` at the current PC.
    pub(crate) fn fault(&mut self, trap: Trap) -> Step {
        match self.take(trap) {
            Some(exit) => Step::Out(exit),
            None => Step::Go,
        }
    }

    /// Runs at most `most` instructions of `block` with the interpreter.
    pub(crate) fn interpret(&mut self, block: &Block<I, M>, most: u64) -> Step {
        let core = &*self.core;
        let pc = core.frame.pc.get();
        core.frame.page.set(pc & !(PAGE - 1));
        let ops: &[Op<I, M>] = &block.ops[..block.ops.len().min(most as usize)];
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
        match block.illegal.as_deref() {
            Some(&trap) if ops.len() == block.ops.len() && most > done => self.fault(trap),
            _ => Step::Go,
        }
    }

    /// Handles an interpreted block's instruction that left with `leave`.
    fn left(&mut self, op: &Op<I, M>, leave: Leave) -> Step {
        let frame = &self.core.frame;
        let before = frame.count.get() + op.index as u64;
        let here = frame.page.get().wrapping_add(op.offset as u64);
        let next = here.wrapping_add(op.bytes as u64);
        let done = self.core.is_done(leave) as u64;
        frame.count.set(before + done);
        self.stats.interpreted += op.index as u64 + done;
        self.finish(leave, here, next)
    }

    /// The next step after an instruction at `here` left with `leave`.
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
            Leave::Alone => {
                frame.pc.set(here);
                self.core.alone.set(true);
                Step::Go
            }
        }
    }

    /// Runs one block, or as much of it as the limit allows, after so many steps in which nothing was executed.
    fn step(&mut self, idle: u32) -> Step {
        if self.core.mailbox.limit.load(Ordering::SeqCst) <= self.core.frame.count.get()
            && let Some(exit) = self.attend()
        {
            return Step::Out(exit);
        }
        if self.core.debug.is_active()
            && let Some(step) = self.debugged()
        {
            return step;
        }
        if self.traces_instructions() {
            // What is watched or changes code does not leave, to be executed once more.
            self.core.alone.set(true);
            return self.single();
        }
        if I::CODE_COHERENT && self.core.alone.get() || I::stepping(self.core.slots()) {
            return self.single();
        }
        let block = match self.lookup() {
            Ok(Some(block)) => block,
            Ok(None) => return self.interpret_unkept(),
            Err(trap) => return self.fault(trap),
        };
        // SAFETY: a block that was found is not freed before this vCPU's next safepoint.
        let block = unsafe { &*block };
        let left = self.core.mailbox.limit.load(Ordering::SeqCst).saturating_sub(self.core.frame.count.get());
        if left == 0 {
            return self.kicked(block, idle);
        }
        if left < block.ops.len() as u64 || self.translations.code().is_none() {
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

    /// A step that was kicked after its safepoint. A vCPU that others kick again and again still goes on: at last one
    /// instruction is executed. It was fetched when its block was found, which is before what the kick is about; that is
    /// seen by the next one, even if this instruction reads what the kicking thread wrote afterwards.
    fn kicked(&mut self, block: &Block<I, M>, idle: u32) -> Step {
        // In counted time the limit may be that of a timer, and nobody else runs.
        let exact = matches!(self.core.time, Time::Count(_));
        if exact || idle < STARVED || self.core.frame.count.get() >= self.target {
            return Step::Go;
        }
        self.interpret(block, 1)
    }

    /// Runs generated code until it leaves.
    fn enter(&mut self, block: &Block<I, M>) -> Step {
        let Some(code) = self.translations.code() else { return Step::Go };
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

    /// Interprets the instruction at the PC alone, with the consequences: a single step's exception,
    /// interrupts that were delayed. Code that it changed is forgotten before the next instruction: the note
    /// about it set the limit to 0.
    pub(crate) fn single(&mut self) -> Step {
        let stepping = I::stepping(self.core.slots());
        let before = self.core.frame.count.get();
        if self.traces_instructions() {
            self.trace_instruction();
        }
        let step = self.again();
        self.core.alone.set(false);
        let step = self.after_alone(before, step);
        if !stepping || matches!(step, Step::Out(ref exit) if !matches!(exit, Exit::Idle { .. })) {
            return step;
        }
        let count = self.core.frame.count.get();
        self.core.frame.retired.set(count);
        match I::after(&*self.core, count != before).or_else(|| I::interrupt(&*self.core)) {
            Some(trap) => self.fault(trap),
            None => step,
        }
    }

    /// Interprets the instruction at the PC.
    fn again(&mut self) -> Step {
        match self.lookup() {
            // SAFETY: as in `step`.
            Ok(Some(block)) => self.interpret(unsafe { &*block }, 1),
            Ok(None) => self.interpret_unkept(),
            Err(trap) => self.fault(trap),
        }
    }
}

impl<I: Isa, M: GuestMemory<I>> Vcpu for Engine<I, M> {
    fn run(&mut self, budget: u64) -> Exit {
        self.set_target(budget);
        self.online(Self::run_online)
    }

    fn rests(&mut self) {
        self.translations.rest();
    }

    fn count(&self) -> u64 {
        self.core.frame.count.get()
    }

    fn set_count(&mut self, count: u64) {
        self.core.frame.count.set(count);
        self.core.frame.retired.set(count);
    }

    fn registers(&self) -> &'static [RegisterInfo] {
        I::REGISTERS
    }

    fn get(&self, slot: u16) -> u64 {
        if slot == I::Fp::FLAGS {
            self.core.harvest_fp();
        }
        Hart::get(&*self.core, slot)
    }

    fn set(&mut self, slot: u16, value: u64) {
        // Otherwise the flags gathered by the host's FPU would be lost when its rounding direction is set.
        self.core.harvest_fp();
        Hart::set(&*self.core, slot, value);
        self.core.load_fp();
        self.core.mode_changed();
        // The register may be the one that the CPU's timer is compared with.
        self.core.timer.set(I::deadline(&*self.core));
    }

    fn views(&self) -> &'static [RegisterInfo] {
        I::VIEWS
    }

    fn view(&self, number: u16) -> u128 {
        match I::VIEWS.iter().any(|view| view.slot == number) {
            true => I::view(number, &|slot| Vcpu::get(self, slot)),
            false => Vcpu::get(self, number).into(),
        }
    }

    fn set_view(&mut self, number: u16, value: u128) {
        match I::VIEWS.iter().any(|view| view.slot == number) {
            true => I::set_view(number, value, &mut |slot, value| Vcpu::set(self, slot, value)),
            false => Vcpu::set(self, number, value as u64),
        }
    }

    fn pc(&self) -> u64 {
        self.core.pc()
    }

    fn set_pc(&mut self, pc: u64) {
        self.core.set_pc(pc);
    }

    fn reset(&mut self) {
        let power_on = I::slots(&self.core.config);
        for (slot, value) in self.core.slots.as_ref().iter().zip(power_on.as_ref()) {
            slot.set(value.get());
        }
        self.core.alone.set(false);
        self.core.mailbox.edges.store(0, Ordering::SeqCst);
        // What is not in the slots follows from them: rounding and flags of the host's FPU, the timer, the mode.
        self.core.frame.guest_fp_control.set(MXCSR);
        self.core.load_fp();
        self.core.mode_changed();
        self.core.timer.set(I::deadline(&*self.core));
        self.core.set_pc(0);
        self.fence(Fence::All);
    }

    fn skip_to(&mut self, at: u64) {
        if let Time::Count(clock) = &self.core.time {
            let clock = clock.clone();
            let count = clock.count_at(at).max(self.core.frame.count.get());
            self.set_count(count);
            clock.set_count(count);
        }
    }

    fn wait(&mut self) -> Option<Exit> {
        self.core.frame.retired.set(self.core.frame.count.get());
        // Read before pending interrupts are checked: an interrupt whose time comes in between is not missed.
        let now = self.core.now();
        if I::wakes(&*self.core) {
            self.core.recheck();
            return None;
        }
        Some(self.idle(now))
    }

    fn block_length(&mut self) -> u64 {
        self.online(|engine| match engine.lookup() {
            // SAFETY: there was no safepoint since it was found.
            Ok(Some(block)) => (unsafe { &*block }.ops.len() as u64).max(1),
            Ok(None) | Err(_) => 1,
        })
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.stats)
    }

    fn target(&self) -> Option<Target> {
        I::debug_target()
    }

    fn system_register(&self, number: u16) -> Option<u64> {
        self.core.frame.retired.set(self.core.frame.count.get());
        I::system_register(&*self.core, number)
    }

    fn set_system_register(&mut self, number: u16, value: u64) -> bool {
        self.core.frame.retired.set(self.core.frame.count.get());
        let there = I::set_system_register(&*self.core, number, value);
        self.core.load_fp();
        self.core.mode_changed();
        self.core.timer.set(I::deadline(&*self.core));
        there
    }

    fn set_stops(&mut self, stops: &Arc<Stops>) -> bool {
        self.change_stops(stops);
        true
    }

    fn set_tracer(&mut self, tracer: &Arc<dyn Tracer>, number: usize) -> bool {
        let instructions = tracer.wants_instructions();
        self.trace = Some(Trace { tracer: tracer.clone(), cpu: number, instructions });
        true
    }

    fn debug_step(&mut self) -> Option<Exit> {
        self.step_for_debugger()
    }

    fn debug_translate(&self, address: u64) -> Option<u64> {
        self.look_up(address)
    }

    fn disassemble(&self, bytes: &[u8]) -> Option<(String, usize)> {
        self.disassembled(bytes)
    }

    fn cached_pages(&self) -> Vec<CachedPage> {
        self.pages_cached()
    }

    fn describe_code(&self) -> Option<String> {
        Some(self.translations.describe())
    }

    fn fence(&mut self, what: Fence) {
        match what {
            Fence::Pages { start, size } if size <= FENCED_ONE_BY_ONE * PAGE => {
                let last = start.saturating_add(size.saturating_sub(1)) & !(PAGE - 1);
                (start & !(PAGE - 1)..=last)
                    .step_by(PAGE as usize)
                    .for_each(|page| self.core.flush(Flush::Page(page)));
            }
            Fence::All | Fence::Translations | Fence::Pages { .. } => self.core.flush(Flush::All),
            Fence::Code => {}
        }
        if matches!(what, Fence::All | Fence::Code) {
            self.core.sync_code();
        }
    }

    fn mailbox(&self) -> Arc<Mailbox> {
        self.core.mailbox.clone()
    }
}

impl<I: Isa, M: GuestMemory<I>> Drop for Engine<I, M> {
    fn drop(&mut self) {
        self.translations.written().leave(&self.member);
    }
}

#[cfg(test)]
mod tests;
