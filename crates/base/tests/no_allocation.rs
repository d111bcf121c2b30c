//! Once a board is warm, an access to a device allocates no memory, even where it raises an interrupt and
//! arms a timer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use trine_base::{Action, Actions, Bus, CountClock, Device, Mailbox, StateError, Width};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Raises and lowers a line of the controller, and arms and disarms its timer, at each write. As the controller, it passes each
/// level on to a CPU.
struct Busy;

impl Device for Busy {
    fn name(&self) -> &str {
        "busy"
    }
    fn read(&mut self, _: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        0
    }
    fn write(&mut self, _: u64, _: Width, value: u64, now: u64, out: &mut Actions) {
        out.push(Action::Timer { at: (value & 1 != 0).then_some(now + 10) });
        out.irq(3, true);
        out.irq(3, false);
    }
    fn input(&mut self, line: u32, level: bool, out: &mut Actions) {
        out.push(Action::Cpu { vcpu: 0, line, level });
    }
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

#[test]
fn a_warm_access_allocates_nothing() {
    let mailbox = Arc::new(Mailbox::new());
    let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), vec![mailbox]);
    bus.add(0x1000, 8, Box::new(Busy)).unwrap();
    let controller = bus.add(0x2000, 8, Box::new(Busy)).unwrap();
    bus.set_controller(controller);
    let access = |value| {
        assert!(bus.write(0x1000, Width::B4, value).is_some() && bus.read(0x1000, Width::B4).is_some());
        bus.run_timers();
    };
    let before = ALLOCATIONS.get();
    access(0);
    access(1);
    assert_ne!(ALLOCATIONS.get(), before, "the counter counts");
    let before = ALLOCATIONS.get();
    (0..1000).for_each(access);
    assert_eq!(ALLOCATIONS.get(), before);
}
