//! Lowering rules with a second allocator: one pass records what rules ask, a linear scan assigns places, a second pass
//! answers from them. It lowers blocks without branches, and they do what the interpreter does.

mod answer;
mod assign;
#[path = "../../../../tests/ir/blocks.rs"]
mod blocks;
#[path = "../../../../tests/ir/cases.rs"]
mod cases;
#[path = "../../../../tests/ir/harness.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod harness;
mod record;
mod walk;

use super::Lower;
use super::facts::Facts;
use crate::memory::GuestMemory;
use crate::x64::asm::{self, Asm};
use crate::x64::baseline::emit::Emitted;
use crate::x64::side::Side;
use crate::x64::thunks::Layout;
use crate::x64::{Code, Compiled, Compiler};
use crate::{Direct, Paged};
use answer::Answers;
use assign::{Place, assign};
use harness::{Given, Make, Model, compile, compile_by, difference, interpret};
use record::{Ask, Dummy, Record, Recorder};
use std::marker::PhantomData;
use trine_ir::inst::Block;
use trine_ir::{Isa, verify};
use trine_isa_riscv::{Config, Rv64, Start};
use walk::is_straight;

const MODELS: [Model; 2] = [Model::Paged, Model::Direct];

/// What lowering a block depends on.
struct Job<'a> {
    ir: &'a Block,
    facts: Facts,
    mode: u32,
    layout: Layout,
}

impl<'a> Job<'a> {
    fn new(ir: &'a Block, mode: u32, layout: Layout) -> Job<'a> {
        let mut facts = Facts::default();
        facts.find(&ir.insts, ir.insts.len());
        Job { ir, facts, mode, layout }
    }

    fn lower<'b, A>(
        &'b self,
        a: &'b mut Asm,
        side: &'b mut Side,
        accesses: &'b mut Vec<(asm::Place, u32)>,
        alloc: A,
    ) -> Lower<'b, Rv64, A> {
        Lower {
            a,
            side,
            l: self.layout,
            insts: &self.ir.insts,
            facts: &self.facts,
            at: 0,
            guest: self.ir.guest,
            begun: 0,
            offset: 0,
            bytes: 0,
            mode: self.mode,
            accesses,
            alloc,
            isa: PhantomData,
        }
    }

    /// What the rules ask.
    fn record(&self, dummy: Dummy) -> Record {
        let (mut asm, mut side) = (Asm::new(), Side::default());
        let recorder = Recorder::new(self.ir.insts.len(), dummy);
        let mut accesses = Vec::new();
        let mut lower = self.lower(&mut asm, &mut side, &mut accesses, recorder);
        lower.walk();
        lower.alloc.record
    }

    /// Emits the block with these places.
    fn emit(&self, a: &mut Asm, side: &mut Side, record: Record, places: Vec<Place>) -> Emitted {
        let mut accesses = Vec::new();
        self.lower(a, side, &mut accesses, Answers::new(record, places)).walk();
        Emitted { holes: Vec::new(), accesses }
    }
}

/// How many values got what kind of place in all blocks.
#[derive(Default, Debug)]
struct Seen {
    blocks: usize,
    registers: usize,
    /// In `rcx` or `rdx`.
    clobbered: usize,
    spills: usize,
}

impl Seen {
    fn add(&mut self, places: &[Place]) {
        self.blocks += 1;
        for place in places {
            match place {
                Place::Register(r) => {
                    self.registers += 1;
                    self.clobbered += (*r == 1 || *r == 2) as usize;
                }
                Place::Spill(_) => self.spills += 1,
                Place::Nowhere => {}
            }
        }
    }
}

/// Makes code of a block by the second allocator.
struct Second<'a> {
    ir: &'a Block,
    seen: &'a mut Seen,
    /// There were spill words enough.
    enough: &'a mut bool,
}

impl Make for Second<'_> {
    fn make<M: GuestMemory<Rv64>>(
        self,
        compiler: &mut Compiler<Rv64, M>,
        code: &Code,
        at: &crate::block::Block<Rv64, M>,
    ) -> Compiled {
        let job = Job::new(self.ir, at.place().mode, code.layout);
        let record = job.record(Dummy { first: 0, shares: false });
        let places = assign(&self.ir.insts, &record);
        *self.enough = places.is_some();
        compiler.add(code, at, |a, side, scratch, _| {
            let Some(places) = places else { return false };
            self.seen.add(&places);
            scratch.emitted = job.emit(a, side, record, places);
            true
        })
    }
}

/// Compiles a block by both allocators in both models; both do what the interpreter does. False where there are too few spill
/// words for it.
fn check(name: &str, ir: &Block, given: &Given, seen: &mut Seen) -> bool {
    assert_eq!(verify::verify(ir), Ok(()), "{name}");
    for model in MODELS {
        let wanted = interpret(model, ir, given);
        let mut enough = true;
        let compiled = compile_by(model, ir, given, Second { ir, seen, enough: &mut enough });
        if !enough {
            return false;
        }
        let (outcome, code) = compiled.unwrap_or_else(|why| panic!("{name}, {model:?}: {why}\nof\n{ir}"));
        let difference = difference(&outcome, &wanted);
        assert!(outcome == wanted, "{name}, {model:?}: {difference}of\n{ir}\n{code:02x?}");
        let baseline = compile(model, ir, given).unwrap_or_else(|why| panic!("{name}: {why}"));
        let difference = harness::difference(&baseline.0, &outcome);
        assert!(baseline.0 == outcome, "{name}, {model:?}: the baseline gives {difference}of\n{ir}");
    }
    true
}

/// The cases in files that a walk without branches can do once.
fn straight_cases() -> Vec<(String, Block, Given)> {
    let mut straight = Vec::new();
    for path in cases::cases() {
        let text = std::fs::read_to_string(&path).expect("a case is text");
        let sections = cases::sections(&text).1;
        let given = sections.iter().find(|s| s.0 == "given").map_or("", |s| s.1.as_str());
        let given = cases::given(given).expect("a case is complete");
        let ir = cases::block(&sections, &given).expect("a case is complete").2;
        if is_straight(&ir) && given.rounds <= 1 {
            straight.push((path.display().to_string(), ir, given));
        }
    }
    straight
}

#[test]
fn cases_do_the_same_with_a_second_allocator() {
    let (mut seen, cases) = (Seen::default(), straight_cases());
    for (name, ir, given) in &cases {
        assert!(check(name, ir, given, &mut seen), "{name}: too few spill words");
    }
    assert!(cases.len() > 100, "{} cases", cases.len());
}

#[test]
fn random_blocks_do_the_same_with_a_second_allocator() {
    let mut seen = Seen::default();
    let done = (1..=400).filter(|&seed| {
        let (ir, given) = blocks::case(seed, false);
        check(&format!("seed {seed}"), &ir, &given, &mut seen)
    });
    assert!(done.count() > 300, "most blocks have spill words enough");
    let all = [seen.registers, seen.clobbered, seen.spills];
    assert!(all.into_iter().all(|n| n > 100), "every kind of place is used: {seen:?}");
}

/// The questions of all blocks, by the instructions that have any.
fn questions(dummy: Dummy, model: Model) -> Vec<(String, Record)> {
    let layout = match model {
        Model::Paged => Layout::of::<Rv64, Paged<Rv64>>(),
        Model::Direct => Layout::of::<Rv64, Direct>(),
    };
    let config = Config { hart: 0, start: Start::User };
    let mode = Rv64::mode(Rv64::slots(&config).as_ref());
    let random = (1..=200).map(|seed| (format!("seed {seed}"), blocks::case(seed, false).0));
    let files = straight_cases().into_iter().map(|(name, ir, _)| (name, ir));
    random.chain(files).map(|(name, ir)| (name, Job::new(&ir, mode, layout).record(dummy))).collect()
}

#[test]
fn questions_do_not_depend_on_answers() {
    for model in MODELS {
        let once = questions(Dummy { first: 0, shares: false }, model);
        for (first, shares) in [(3, false), (0, true), (7, true)] {
            let again = questions(Dummy { first, shares }, model);
            for ((name, a), (_, b)) in once.iter().zip(&again) {
                for (at, (a, b)) in a.iter().zip(b).enumerate() {
                    assert_eq!(a, b, "{name}, instruction {at}");
                }
            }
        }
        let asks = || once.iter().flat_map(|(_, record)| record).flatten();
        assert!(asks().any(|ask| matches!(ask, Ask::GprOrMem(_))), "some operands may be in memory");
    }
}
