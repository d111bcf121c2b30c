//! How the dispatcher finds, makes and links blocks.

use crate::block::{self, Block, Decode};
use crate::host::GeneratedCode;
use crate::memory::GuestMemory;
use crate::run::{Engine, Step};
use crate::translations::Translated;
use crate::written::Stale;
use trine_ir::{Isa, Trap};

/// Attempts to make a page code, after which a vCPU does not wait for those that write there.
const ATTEMPTS: u32 = 16;

impl<I: Isa, M: GuestMemory<I>> Engine<I, M> {
    /// The block at the current PC, which lives until the vCPU's next safepoint. `None` if others write to its page so
    /// often that it does not stay code until it is translated: then [`Engine::interpret_unkept`] executes it.
    pub(crate) fn lookup(&mut self) -> Result<Option<*const Block<I, M>>, Trap> {
        let pc = self.core.frame.pc.get();
        let stamp = self.core.frame.stamp.get();
        let entry = self.core.jumps.entry(pc);
        if entry.pc.get() == pc && entry.stamp.get() == stamp {
            let block = entry.block.get() as *const Block<I, M>;
            // Another vCPU may have compiled it meanwhile.
            // SAFETY: entries of blocks that were retired were made stale at this vCPU's last safepoint.
            entry.code.set(self.entry_code(unsafe { &*block }));
            return Ok(Some(block));
        }
        let start = M::fetch_address(&self.core, pc)?;
        let block = match self.translations.known(&self.core, pc, start)? {
            Some(block) => block,
            None => match self.translate(pc)? {
                Some(block) => block,
                None => return Ok(None),
            },
        };
        let entry = self.core.jumps.fill(pc);
        entry.pc.set(pc);
        // The look-up may have started a new generation.
        entry.stamp.set(self.core.frame.stamp.get());
        entry.block.set(block as usize);
        // SAFETY: the block was just found in or added to the table.
        entry.code.set(self.entry_code(unsafe { &*block }));
        Ok(Some(block))
    }

    fn translate(&mut self, pc: u64) -> Result<Option<*mut Block<I, M>>, Trap> {
        for _ in 0..ATTEMPTS {
            let start = M::fetch_address(&self.core, pc)?;
            M::settle(self, start);
            match self.translations.translate(&self.core, pc)? {
                Translated::Block(block) => {
                    self.stats.decoded += 1;
                    return Ok(Some(block));
                }
                // After the first page if an instruction continues there; or either was written meanwhile.
                Translated::Unsettled(page) => M::settle(self, page),
            }
        }
        Ok(None)
    }

    /// Interprets the instruction at the PC from current memory, without keeping what was decoded.
    pub(crate) fn interpret_unkept(&mut self) -> Step {
        let pc = self.core.frame.pc.get();
        let none = M::Copies::default();
        let block = M::fetch_address(&self.core, pc)
            .and_then(|start| block::decode(&self.core, &none, pc, start, &mut Vec::new()));
        match block {
            Ok(Decode::Done(block)) => self.interpret(&block, 1),
            // Tried again: somebody wrote there meanwhile.
            Ok(Decode::Unsettled(_)) => Step::Go,
            Err(trap) => self.fault(trap),
        }
    }

    /// The address that the jump cache stores as a block's code.
    fn entry_code(&self, block: &Block<I, M>) -> usize {
        match (block.code(), self.translations.code()) {
            (0, Some(code)) => code.miss(),
            (code, _) => code,
        }
    }

    /// Makes entries of the jump cache stale whose blocks were retired. Only while the vCPU holds no block:
    /// one that it has found may be retired before it is entered into the jump cache, and the note must not
    /// be taken before that.
    pub(crate) fn forget_stale(&self) {
        match self.member.take_stale() {
            None => {}
            Some(Stale::Starts(starts)) => starts.into_iter().for_each(|at| self.core.jumps.forget(at)),
            Some(Stale::All) => self.core.new_generation(),
        }
    }

    /// Compiles a block that has run often enough.
    pub(crate) fn compile(&mut self, block: &Block<I, M>) {
        let pc = self.core.frame.pc.get();
        if let Some(size) = self.translations.compile(block, pc) {
            self.stats.compiled += 1;
            self.stats.compiled_insns += block.ops.len() as u64;
            self.stats.code_bytes += size as u64;
            self.core.jumps.entry(pc).code.set(block.code());
        }
    }

    /// Handles the first use of a direct jump: links it to its target, so that compiled code goes there
    /// directly from now on.
    pub(crate) fn link(&mut self, site: u32) -> Step {
        let block = match self.lookup() {
            Ok(Some(block)) => block,
            Ok(None) => return Step::Go,
            Err(trap) => return self.fault(trap),
        };
        // SAFETY: there was no safepoint since it was found.
        self.translations.link(site, unsafe { &*block });
        Step::Go
    }
}
