//! Calls of a CPU's helpers. Debug builds check a helper's declarations: generated code keeps slots in
//! registers across a call that is declared not to use them, and a wrong declaration would cause a wrong
//! result much later.

use crate::core::Core;
use crate::memory::GuestMemory;
use std::cell::Cell;
use trine_ir::{Helper, Isa, Leave};

impl<I: Isa, M: GuestMemory<I>> Core<I, M> {
    /// Calls a helper for the current instruction.
    #[inline(always)]
    pub(crate) fn call(&self, helper: &'static Helper, args: [u64; 3]) -> Result<u64, Leave> {
        if cfg!(debug_assertions) { self.call_checked(helper, args) } else { (helper.run)(self, args) }
    }

    /// Whether an instruction that left with `leave` completed, and counts.
    pub(crate) fn is_done(&self, leave: Leave) -> bool {
        match leave {
            Leave::Trap => self.trap.get().after,
            Leave::Alone => false,
            _ => true,
        }
    }

    fn call_checked(&self, helper: &'static Helper, args: [u64; 3]) -> Result<u64, Leave> {
        let name = helper.name;
        let slots = || self.slots.as_ref().iter().map(Cell::get);
        let before: Vec<u64> = slots().collect();
        let stamp = self.frame.stamp.get();
        self.helping.set(Some(helper));
        let result = (helper.run)(self, args);
        self.helping.set(None);
        let changed = before.iter().zip(slots()).zip(0..).filter(|((old, new), _)| **old != *new);
        for (_, slot) in changed {
            assert!(helper.writes.has(slot), "helper {name} wrote slot {slot}, which it does not list");
        }
        assert!(helper.leaves || result.is_ok(), "helper {name} left, which it does not say");
        let same = self.frame.stamp.get() == stamp;
        assert!(helper.flushes || same, "helper {name} flushed, which it does not say");
        result
    }

    /// In debug builds, checks that the running helper, if any, declares that it reads this slot.
    #[inline(always)]
    pub(crate) fn check_read(&self, slot: u16) {
        if cfg!(debug_assertions)
            && let Some(helper) = self.helping.get()
        {
            let listed = helper.reads.has(slot) || helper.writes.has(slot);
            assert!(listed, "helper {} read slot {slot}, which it does not list", helper.name);
        }
    }

    /// In debug builds, checks that the running helper, if any, declares that it uses the floating-point
    /// environment.
    #[inline(always)]
    pub(crate) fn check_fp(&self) {
        if cfg!(debug_assertions)
            && let Some(helper) = self.helping.get()
        {
            assert!(helper.fp, "helper {} used the floating-point environment unsaid", helper.name);
        }
    }
}

// Only debug builds check this.
#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use trine_ir::{Flush, Hart, SlotSet};
    use trine_isa_riscv::state::{FRM, MSTATUS, SATP};

    type Run = fn(&dyn Hart, [u64; 3]) -> Result<u64, Leave>;

    /// Calls a helper that declares that it reads `mstatus`, writes `satp`, and nothing else.
    fn call(run: Run) -> Result<u64, Leave> {
        let core = crate::core::without_memory();
        let helper = Helper {
            name: "test",
            run,
            reads: SlotSet::Only(&[MSTATUS]),
            writes: SlotSet::Only(&[SATP]),
            leaves: false,
            flushes: false,
            fp: false,
        };
        core.call(Box::leak(Box::new(helper)), [0; 3])
    }

    #[test]
    fn a_helper_does_what_it_says() {
        let done = call(|hart, _| {
            hart.set(SATP, hart.get(MSTATUS) | 5);
            Ok(hart.get(SATP) & 7)
        });
        assert_eq!(done, Ok(5));
    }

    #[test]
    fn a_helper_that_does_more_is_found_out() {
        let more: [(Run, &str); 5] = [
            (|hart, _| Ok(hart.get(FRM)), "read slot 65"),
            (
                |hart, _| {
                    hart.set(FRM, 1);
                    Ok(0)
                },
                "wrote slot 65",
            ),
            (|_, _| Err(Leave::Idle), "left"),
            (
                |hart, _| {
                    hart.flush(Flush::All);
                    Ok(0)
                },
                "flushed",
            ),
            (
                |hart, _| {
                    hart.load_fp();
                    Ok(0)
                },
                "used the floating-point environment",
            ),
        ];
        for (run, what) in more {
            let panic = std::panic::catch_unwind(|| call(run)).expect_err(what);
            let message = panic.downcast_ref::<String>().expect("a message");
            assert!(message.contains(what), "{message}");
        }
    }
}
