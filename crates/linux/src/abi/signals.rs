//! The CPU-independent contents of signal frames and handler calls.

/// A `siginfo_t`, whose layout is the same on the host.
pub type Info = [u64; 16];

/// `SS_AUTODISARM`.
pub const AUTODISARM: i32 = 1 << 31;

/// `stack_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct AltStack {
    /// Lowest address.
    pub sp: u64,
    /// `SS_*`.
    pub flags: i32,
    /// Not used.
    pub pad: i32,
    /// Bytes.
    pub size: u64,
}

impl AltStack {
    /// No alternate stack.
    pub const NONE: AltStack = AltStack { sp: 0, flags: libc::SS_DISABLE, pad: 0, size: 0 };

    /// Whether the stack pointer is on it (`on_sig_stack`: the top address counts, the lowest does not).
    pub fn holds(&self, sp: u64) -> bool {
        let usable = self.flags & (libc::SS_DISABLE | AUTODISARM) == 0;
        usable && sp > self.sp && sp - self.sp <= self.size
    }
}

/// The contents of a signal frame besides the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// The signal's information.
    pub info: Info,
    /// The signals that the thread blocked.
    pub mask: u64,
    /// Its alternate stack.
    pub stack: AltStack,
}

/// A call of a signal's handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// The signal.
    pub signal: i32,
    /// Address of the function.
    pub address: u64,
    /// Its return address: code that makes the call `rt_sigreturn`.
    pub returns_to: u64,
}
