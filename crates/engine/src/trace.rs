//! A machine's trace ([`trine_base::trace`]): what a vCPU tells of its instructions and traps. Traps of both engines are taken by the
//! dispatcher. Where instructions are wanted, it interprets them one at a time: generated code stays as it is.

use crate::memory::GuestMemory;
use crate::run::Engine;
use std::sync::Arc;
use trine_base::Width;
use trine_base::trace::{Place, TakenTrap, Tracer};
use trine_ir::{Bytes, Hart, Isa, Trap};

/// Who is told, and of which vCPU.
pub(crate) struct Trace {
    pub tracer: Arc<dyn Tracer>,
    pub cpu: usize,
    /// Whether instructions are wanted.
    pub instructions: bool,
}

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    /// Whether the dispatcher executes instructions one at a time because they are traced.
    #[inline(always)]
    pub(crate) fn traces_instructions(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.instructions)
    }

    fn place(&self, trace: &Trace) -> Place {
        let (pc, count) = (self.core.pc(), self.core.frame.count.get());
        Place { cpu: trace.cpu, count, pc, privilege: I::privilege(self.core.mode.get()) }
    }

    /// Tells of the instruction at the PC. One that cannot be fetched is not executed: its trap follows.
    pub(crate) fn trace_instruction(&self) {
        let Some(trace) = &self.trace else { return };
        let place = self.place(trace);
        if !trace.tracer.wants(place.pc) {
            return;
        }
        let Some((bytes, have)) = self.fetched(place.pc) else { return };
        let text = self.disassembled(&bytes[..have]);
        trace.tracer.instruction(place, text.as_ref().map_or("", |(text, _)| text));
    }

    /// The bytes at an address from which an instruction is decoded, and how many of them are there, at least one.
    fn fetched(&self, pc: u64) -> Option<(Bytes, usize)> {
        let (mut bytes, mut have) = (Bytes::default(), 0);
        for byte in bytes.iter_mut().take(I::MAX_BYTES as usize) {
            let at = pc.wrapping_add(have as u64);
            let Some(value) = self.look_up(at).and_then(|at| self.core.memory.ram()?.load_any(at, Width::B1))
            else {
                break;
            };
            *byte = value as u8;
            have += 1;
        }
        (have > 0).then_some((bytes, have))
    }

    /// Where a trap is taken, if anybody is to be told of it.
    pub(crate) fn trap_place(&self) -> Option<Place> {
        let trace = self.trace.as_ref().filter(|trace| trace.tracer.wants_traps())?;
        Some(self.place(trace)).filter(|place| trace.tracer.wants(place.pc))
    }

    /// Tells of a trap that was taken at a place.
    pub(crate) fn trace_trap(&self, place: Place, trap: Trap, handler: Option<u64>) {
        let Some(trace) = &self.trace else { return };
        let (interrupt, name) = I::describe_trap(&trap);
        trace.tracer.trap(place, TakenTrap { trap, interrupt, name, handler });
    }
}
