//! One instruction at a time, and the contents of a block: for debuggers and listings.

use crate::block::Block;
use crate::direct::{Direct, Touched};
use crate::memory::GuestMemory;
use crate::run::{Engine, Step};
use trine_base::Exit;
use trine_ir::Isa;

impl<I: Isa> Engine<I, Direct> {
    /// Interprets one instruction of a program, as a debugger's step. `None` if it completed; otherwise an
    /// exit, after which it completed only if the exit implies it ([`Exit::Firmware`]: it raised that). Its
    /// accesses are added to `touched`.
    pub fn step_one(&mut self, touched: &mut Vec<Touched>) -> Option<Exit> {
        self.set_target(1);
        let step = self.online(|engine| match engine.attend() {
            Some(exit) => Step::Out(exit),
            None => {
                engine.core.memory.noting.set(true);
                let step = engine.single();
                engine.core.memory.noting.set(false);
                step
            }
        });
        touched.append(&mut self.core.memory.noted.borrow_mut());
        step.exit()
    }

    /// Interprets the instruction at the PC of a program even if a debugger wants to stop before it
    /// ([`crate::direct::Pages::stops`]); for threads that the debugger does not debug.
    pub fn step_past(&mut self) -> Option<Exit> {
        let pc = self.core.frame.pc.get();
        self.set_target(1);
        self.core.memory.past.set(Some(pc));
        let step = self.interpret_unkept();
        self.core.memory.past.set(None);
        step.exit()
    }
}

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    /// Calls `f` with the block at a physical address in the current mode and its code, for listings. `None`
    /// if there is no block.
    pub fn listing<T>(&self, start: u64, f: impl FnOnce(&Block<I, M>, Vec<u8>) -> T) -> Option<T> {
        self.translations.listing(start, self.core.mode.get(), f)
    }
}
