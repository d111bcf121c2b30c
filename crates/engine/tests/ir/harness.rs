//! Blocks of IR in both engines and both memory models, for tests: the interpreter runs them instruction by
//! instruction, the compiler compiles them.
//!
//! Code is at [`BASE`], data in the last two pages of memory, after which there is none.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use trine_base::{Bus, CountClock, HostClock, Mailbox};
use trine_engine::block::{self, Decode, Op};
use trine_engine::code::PART;
use trine_engine::core::{Core, Frame, Time};
use trine_engine::direct::{self, Pages};
use trine_engine::host::{Code, Compile, Compiled, Compiler, GeneratedCode, Left};
use trine_engine::interp::Interp;
use trine_engine::memory::GuestMemory;
use trine_engine::{Direct, Paged};
use trine_ir::replay::replay;
use trine_ir::{Builder, Decoded, Hart, Isa, Leave, Trap, verify};
use trine_isa_riscv::{Config, Rv64, Start};
use trine_memory::Ram;

/// Where memory begins, and the code.
pub const BASE: u64 = 0x8000_0000;
/// Bytes of memory.
const SIZE: u64 = 0x1_0000;
/// Where data begins.
pub const DATA: u64 = BASE + SIZE - 0x2000;
/// How guest memory is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// Through the software TLB.
    Paged,
    /// Guest addresses are host addresses.
    Direct,
}

/// The start state of a block.
#[derive(Clone, Default, Debug)]
pub struct Given {
    /// Slots that are not zero.
    pub slots: Vec<(u16, u64)>,
    /// Bytes of memory that are not zero: address, value.
    pub memory: Vec<(u64, Vec<u8>)>,
    /// How often a block that jumps to its own start may run.
    pub rounds: u64,
}

/// How a block was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Continues at this address.
    Jump(u64),
    /// The instruction at this address raised an exception.
    Raised(Trap, u64),
}

/// The result of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The first [`GENERAL`] slots.
    pub slots: Vec<u64>,
    /// The two pages of data.
    pub data: Vec<u8>,
    /// How it was left.
    pub way: Way,
}

/// The same place in every process for programs' memory; one test at a time uses it.
static DIRECT: Mutex<()> = Mutex::new(());

/// A vCPU with its memory.
struct Machine<M: InModel> {
    core: Box<Core<Rv64, M>>,
    _place: Option<MutexGuard<'static, ()>>,
}

/// A memory model, with what tests need from it.
trait InModel: GuestMemory<Rv64> {
    fn machine() -> Machine<Self>;
    fn write(&self, at: u64, bytes: &[u8]) -> Option<()>;
    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()>;
}

impl InModel for Paged<Rv64> {
    fn machine() -> Machine<Self> {
        let mailbox = Arc::new(Mailbox::new());
        let clock = Arc::new(CountClock::new(1, 0));
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let ram = Arc::new(Ram::new(BASE, SIZE).expect("memory"));
        let config = Config { hart: 0, start: Start::Machine };
        let core = Core::new(config, ram, bus, Time::Count(clock), mailbox, Arc::default());
        Machine { core, _place: None }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Option<()> {
        self.ram.write(at, bytes)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
        self.ram.read(at, bytes)
    }
}

impl InModel for Direct {
    fn machine() -> Machine<Self> {
        let place = DIRECT.lock().unwrap_or_else(PoisonError::into_inner);
        prepare_direct();
        let mailbox = Arc::new(Mailbox::new());
        let clock = Arc::new(HostClock::new());
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let config = Config { hart: 0, start: Start::User };
        let pages: Arc<dyn Pages> = Arc::new(AllPages);
        let core = Core::new(config, pages, bus, Time::Host(clock), mailbox, Arc::default());
        Machine { core, _place: Some(place) }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Option<()> {
        direct::write(at, bytes)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
        direct::read(at, bytes)
    }
}

struct AllPages;

impl Pages for AllPages {
    fn fetch(&self, _: u64) -> bool {
        true
    }
    fn may_change(&self, _: u64) -> bool {
        true
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: as the kernel gave them to this handler.
    if !unsafe { direct::on_fault(signal, info, context.cast()) } {
        std::process::abort();
    }
}

/// Makes the memory of programs and the handler of refused accesses.
fn prepare_direct() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address where nothing is, or none.
        let at = unsafe { libc::mmap(BASE as *mut _, SIZE as usize, protection, flags, -1, 0) };
        assert_eq!(at as u64, BASE, "the place of the guest's memory is free");
        // SAFETY: the kernel places a test's executable and what it maps without a wish far above these addresses.
        unsafe { direct::claim_addresses() };
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
        // SAFETY: all zeros are a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is complete, and the handler does what a handler may.
        assert_eq!(unsafe { libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) }, 0);
    });
}

impl<M: InModel> Machine<M> {
    fn new(given: &Given) -> Machine<M> {
        let machine = M::machine();
        machine.write(DATA, &[0; 0x2000]);
        given.memory.iter().for_each(|(at, bytes)| machine.write(*at, bytes));
        given.slots.iter().for_each(|&(slot, value)| machine.core.set(slot, value));
        machine.core.frame.page.set(BASE);
        machine.core.frame.pc.set(BASE);
        machine
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        assert!(self.core.memory.write(at, bytes).is_some(), "{at:#x} is not in memory");
    }

    fn outcome(&self, leave: Option<Leave>) -> Outcome {
        self.core.harvest_fp();
        let mut data = vec![0; 0x2000];
        self.core.memory.read(DATA, &mut data).expect("data");
        let pc = self.core.frame.pc.get();
        let way = match leave {
            None | Some(Leave::Jump) => Way::Jump(pc),
            Some(Leave::Trap) => Way::Raised(self.core.trap.get(), pc),
            Some(other) => panic!("left by {other:?}"),
        };
        // Slots above these are the CPU's own system state, which differs between the models.
        let slots = self.core.slots().iter().take(GENERAL).map(|s| s.get()).collect();
        Outcome { slots, data, way }
    }
}

thread_local! {
    /// The block that the interpreted instruction runs.
    static PERFORMED: RefCell<trine_ir::Block> = RefCell::default();
}

/// A body that runs [`PERFORMED`].
fn perform<M: InModel>(s: Interp<Rv64, M>, _: &<Rv64 as Isa>::Operands) -> Result<(), Leave> {
    PERFORMED.with_borrow(|ir| replay(ir, &mut |_, _| (s, first(ir).0)))
}

/// Offset and length of a block's first instruction.
fn first(ir: &trine_ir::Block) -> (i64, u8) {
    match ir.insts.first() {
        Some(&trine_ir::Inst::Begin(offset, bytes)) => (offset, bytes),
        other => panic!("a block does not start with {other:?}"),
    }
}

fn nop() -> Decoded<Rv64> {
    let mut bytes = trine_ir::Bytes::default();
    bytes[0] = 0x13;
    let config = Config { hart: 0, start: Start::User };
    Rv64::decode(&config, 0, &bytes, 4).unwrap_or_else(|e| panic!("no instruction: {e:?}"))
}

/// Runs the block once in the interpreter.
fn interpret_once<M: InModel>(core: &Core<Rv64, M>, ir: &trine_ir::Block) -> Leave {
    let (decoded, (offset, bytes)) = (nop(), first(ir));
    let op = Op {
        run: perform,
        operands: decoded.operands,
        offset: offset as u16,
        index: 0,
        bytes,
        row: decoded.row,
    };
    PERFORMED.set(ir.clone());
    match Interp::execute(core, &op) {
        Err(leave) => leave,
        Ok(()) => panic!("a block ends in an exit"),
    }
}

/// The outcome of the block in the interpreter.
pub fn interpret(model: Model, ir: &trine_ir::Block, given: &Given) -> Outcome {
    match model {
        Model::Paged => interpret_in::<Paged<Rv64>>(ir, given),
        Model::Direct => interpret_in::<Direct>(ir, given),
    }
}

fn interpret_in<M: InModel>(ir: &trine_ir::Block, given: &Given) -> Outcome {
    let machine = Machine::<M>::new(given);
    let entry = BASE + first(ir).0 as u64;
    let mut leave = Leave::Jump;
    for _ in 0..given.rounds.max(1) {
        leave = interpret_once(&machine.core, ir);
        if leave != Leave::Jump || machine.core.frame.pc.get() != entry {
            break;
        }
    }
    machine.outcome(Some(leave))
}

/// What makes code of a block.
pub trait Make {
    /// Makes the block's code.
    fn make<M: GuestMemory<Rv64>>(
        self,
        compiler: &mut Compiler<Rv64, M>,
        code: &Code,
        block: &block::Block<Rv64, M>,
    ) -> Compiled;
}

/// The baseline.
struct Baseline<'a>(&'a trine_ir::Block);

impl Make for Baseline<'_> {
    fn make<M: GuestMemory<Rv64>>(
        self,
        compiler: &mut Compiler<Rv64, M>,
        code: &Code,
        block: &block::Block<Rv64, M>,
    ) -> Compiled {
        compiler.compile_ir(code, block, self.0.clone())
    }
}

/// The baseline's code of the block, and what it does; the error says why there is none.
pub fn compile(model: Model, ir: &trine_ir::Block, given: &Given) -> Result<(Outcome, Vec<u8>), String> {
    compile_by(model, ir, given, Baseline(ir))
}

/// The same, where `make` makes the code.
pub fn compile_by(
    model: Model,
    ir: &trine_ir::Block,
    given: &Given,
    make: impl Make,
) -> Result<(Outcome, Vec<u8>), String> {
    verify::verify(ir)?;
    match model {
        Model::Paged => compile_in::<Paged<Rv64>>(ir, given, make),
        Model::Direct => compile_in::<Direct>(ir, given, make),
    }
}

fn compile_in<M: InModel>(
    ir: &trine_ir::Block,
    given: &Given,
    make: impl Make,
) -> Result<(Outcome, Vec<u8>), String> {
    let machine = Machine::<M>::new(given);
    let core = &machine.core;
    let entry = BASE + first(ir).0 as u64;
    let Ok(Decode::Done(block)) = block::decode(core, &M::Copies::default(), entry, entry, &mut Vec::new())
    else {
        return Err("not decoded".into());
    };
    let code_memory = Code::new::<Rv64, M>(PART)?;
    code_memory.adopt(core);
    let mut compiler = Compiler::default();
    let Compiled::Done(size) = make.make(&mut compiler, &code_memory, &block) else {
        return Err("it is too complex".into());
    };
    let mut code = compiler.bytes(&code_memory, block.code());
    code.truncate(size);
    let limit = given.rounds.max(1) * ir.guest as u64;
    core.mailbox.limit.store(limit, std::sync::atomic::Ordering::SeqCst);
    let outcome = match code_memory.enter(core, block.code()) {
        Left::Go | Left::Link(_) => machine.outcome(None),
        Left::Again => {
            // The dispatcher would have the interpreter repeat the instruction, to learn why the access was
            // refused. A block here may have written before it, and would find other values: the interpreter
            // runs all of it anew.
            let stopped = machine.outcome(None);
            drop(machine);
            let way = interpret_in::<M>(ir, given).way;
            match way {
                Way::Raised(..) => Outcome { way, ..stopped },
                Way::Jump(_) => return Err("compiled code was refused an access".into()),
            }
        }
        Left::Instruction { leave, .. } => machine.outcome(Some(leave)),
    };
    Ok((outcome, code))
}

/// The block that the builder makes from the same instructions.
pub fn rebuild(ir: &trine_ir::Block) -> trine_ir::Block {
    let builder = Builder::<Rv64>::new(0);
    let done = replay(ir, &mut |offset, bytes| {
        builder.begin(offset, bytes, Default::default());
        (&builder, offset)
    });
    assert!(done.is_err(), "a block ends in an exit");
    builder.finish()
}

/// Runs the block in every way: as it is and rebuilt, in both engines and both models. Returns the outcome,
/// in which all agree, and the code in both models.
pub fn everywhere(ir: &trine_ir::Block, given: &Given) -> Result<(Outcome, [Vec<u8>; 2]), String> {
    verify::verify(ir)?;
    let rebuilt = rebuild(ir);
    verify::verify(&rebuilt).map_err(|e| format!("rebuilt: {e}\n{rebuilt}"))?;
    let check = |how: &str, wanted: &Outcome, got: &Outcome| {
        if wanted == got {
            return Ok(());
        }
        let (a, b) = (difference(wanted, got), difference(got, wanted));
        Err(format!("{how} gives\n{b}instead of\n{a}for\n{rebuilt}"))
    };
    let in_model = |model| {
        let wanted = interpret(model, ir, given);
        let (compiled, code) = compile(model, ir, given)?;
        check("compiled", &wanted, &compiled)?;
        check("rebuilt, interpreted", &wanted, &interpret(model, &rebuilt, given))?;
        check("rebuilt, compiled", &wanted, &compile(model, &rebuilt, given)?.0)?;
        Ok::<_, String>((wanted, code))
    };
    let (paged, code) = in_model(Model::Paged)?;
    let (mut direct, direct_code) = in_model(Model::Direct).map_err(|e| format!("direct memory: {e}"))?;
    if let (Way::Raised(a, _), Way::Raised(b, _)) = (paged.way, &mut direct.way) {
        // The host reports the page that it refused, the TLB's slow path the address of the access.
        b.value = a.value;
    }
    check("direct memory", &paged, &direct)?;
    Ok((paged, [code, direct_code]))
}

/// Slots that blocks of tests use.
pub const GENERAL: usize = 64;

/// The differences of `of` from `from`, as text.
pub fn difference(of: &Outcome, from: &Outcome) -> String {
    let mut text = String::new();
    for (slot, value) in of.slots.iter().enumerate() {
        if from.slots[slot] != *value {
            text += &format!("s{slot} = {value:#x}\n");
        }
    }
    let changed: Vec<usize> = (0..of.data.len()).filter(|&i| of.data[i] != from.data[i]).collect();
    for run in changed.chunk_by(|a, b| a + 1 == *b) {
        let bytes: String = run.iter().map(|&i| format!("{:02x}", of.data[i])).collect();
        text += &format!("memory {:#x} = {bytes}\n", DATA + run[0] as u64);
    }
    if of.way != from.way {
        text += &match of.way {
            Way::Jump(pc) => format!("jumps to {pc:#x}\n"),
            Way::Raised(t, pc) if t.code == 0 => format!("raises {}, {:#x} at {pc:#x}\n", t.cause, t.value),
            Way::Raised(t, pc) => format!("raises {}/{:#x}, {:#x} at {pc:#x}\n", t.cause, t.code, t.value),
        };
    }
    text
}

/// The state before anything ran, in the form of an outcome.
pub fn before(given: &Given) -> Outcome {
    let mut before = Outcome { slots: vec![0; GENERAL], data: vec![0; 0x2000], way: Way::Jump(0) };
    let general = given.slots.iter().filter(|given| (given.0 as usize) < GENERAL);
    general.for_each(|&(slot, value)| before.slots[slot as usize] = value);
    for (at, bytes) in &given.memory {
        let at = (at - DATA) as usize;
        before.data[at..at + bytes.len()].copy_from_slice(bytes);
    }
    before
}

/// The name of what generated code finds at this displacement from its base register.
pub fn place_name(displacement: i64) -> Option<String> {
    thread_local!(static MACHINE: Machine<Paged<Rv64>> = Machine::new(&Given::default()));
    MACHINE.with(|machine| {
        let core = &machine.core;
        let at = trine_engine::x64::thunks::state_of(core) as i64 + displacement;
        let inside = |start: usize, size: usize| {
            let offset = at - start as i64;
            (0..size as i64).contains(&offset).then_some(offset as usize)
        };
        if let Some(offset) = inside(core.slots().as_ptr() as usize, size_of_val(core.slots())) {
            return Some(format!("s{}{}", offset / 8, if offset % 8 == 0 { "" } else { "+4" }));
        }
        if let Some(offset) = inside(&raw const core.frame as usize, size_of_val(&core.frame)) {
            return FIELDS.iter().rev().find(|f| f.1 <= offset).map(|(name, from)| match offset - from {
                0 => (*name).to_owned(),
                n => format!("{name}+{n}"),
            });
        }
        let tlb = inside(&raw const core.memory.tlb as usize, size_of_val(&core.memory.tlb));
        tlb.map(|offset| format!("tlb+{offset}"))
    })
}

macro_rules! fields {
    ($($field:ident)*) => {&[$((stringify!($field), std::mem::offset_of!(Frame, $field))),*]};
}

/// The frame's fields that generated code uses, in their order.
const FIELDS: &[(&str, usize)] = fields! {
    count pc page stamp retired args guest_fp_control host_fp_control upper_ones fp_live fp_flag_numbers functions thunks limit stack
    stack_end calls_stale tables save save_fp spill
};
