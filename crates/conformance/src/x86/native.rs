//! Runs cases on the host's CPU, in a child process. All happens in its signal handler: it writes the state before an
//! instruction to the interrupted context, and the next signal, from the instruction or from the breakpoint behind it, finds the
//! state after.

use super::case::{
    CODE_BYTES, Case, DATA, DATA_BYTES, FX_XMM, HANGS, Outcome, Registers, TAIL, WATCHED, fill,
};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// Cases that are run at once.
pub const SLOTS: usize = 2048;
/// Address of the code of the first case.
pub const CODE: u64 = 0x4000_0000;
/// Bytes between the code of one case and that of the next.
pub const CODE_STRIDE: usize = 64;

/// What parent and child share.
#[repr(C)]
struct Shared {
    count: AtomicU32,
    cases: [Case; SLOTS],
    outcomes: [Outcome; SLOTS],
}

/// The child process.
pub struct Native {
    child: libc::pid_t,
    /// Commands to the child, one byte each, and its answers.
    to: i32,
    from: i32,
    shared: *mut Shared,
}

/// Maps shared memory.
///
/// # Panics
/// If the host has none.
fn map(at: u64, bytes: usize, protection: i32) -> u64 {
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | fixed;
    // SAFETY: a new mapping, at an address where nothing is.
    let found = unsafe { libc::mmap(at as *mut libc::c_void, bytes, protection, flags, -1, 0) };
    assert_ne!(found, libc::MAP_FAILED, "memory at {at:#x}: {}", std::io::Error::last_os_error());
    found as u64
}

/// The data as the bytes of a process that has them.
fn data() -> &'static mut [u8; DATA_BYTES] {
    // SAFETY: `Native::new` mapped them, for ever. Parent and child do not use them at the same time, and each has one thread
    // that does.
    unsafe { &mut *(DATA as *mut [u8; DATA_BYTES]) }
}

/// Writes a case's data to memory.
pub fn prepare(case: &Case) {
    fill(case, data());
}

/// The parts of the data that are compared.
pub fn observe(outcome: &mut Outcome) {
    outcome.watched.copy_from_slice(&data()[WATCHED]);
    outcome.tail.copy_from_slice(&data()[TAIL]);
}

/// The address of a case's code.
pub fn code_of(slot: usize) -> u64 {
    CODE + (slot * CODE_STRIDE) as u64
}

impl Native {
    /// Starts the child. There can be only one at a time.
    ///
    /// # Panics
    /// If the host has no memory or no more processes.
    pub fn new() -> Native {
        let all = libc::PROT_READ | libc::PROT_WRITE;
        map(CODE, SLOTS * CODE_STRIDE, all | libc::PROT_EXEC);
        map(DATA, DATA_BYTES, all);
        let shared = map(0, size_of::<Shared>(), all) as *mut Shared;
        let (mut down, mut up) = ([0; 2], [0; 2]);
        // SAFETY: both arrays have room for two descriptors.
        let made = unsafe { libc::pipe(down.as_mut_ptr()) | libc::pipe(up.as_mut_ptr()) };
        assert_eq!(made, 0, "pipes");
        // SAFETY: the child has one thread, and calls nothing that other threads of the parent may hold a lock of.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no process: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: as above; the descriptors are this process's.
            unsafe {
                libc::close(down[1]);
                libc::close(up[0]);
                serve(shared, down[0], up[1])
            }
        }
        // SAFETY: the descriptors are not used any more.
        unsafe {
            libc::close(down[0]);
            libc::close(up[1]);
        }
        Native { child, to: down[1], from: up[0], shared }
    }

    /// Places the cases' code, at [`code_of`] each, without running it.
    pub fn place(&mut self, cases: &[Case]) {
        for (slot, case) in cases.iter().enumerate() {
            // SAFETY: mapped by `new`, and a slot has room for the code.
            let to = unsafe { &mut *(code_of(slot) as *mut [u8; CODE_STRIDE]) };
            to.fill(0xcc);
            to[..CODE_BYTES].copy_from_slice(&case.code);
        }
    }

    /// Runs at most [`SLOTS`] cases.
    ///
    /// # Panics
    /// If the child is gone.
    pub fn run(&mut self, cases: &[Case]) -> &[Outcome] {
        self.place(cases);
        // SAFETY: the child waits for a command, so that nobody else uses the memory.
        let shared = unsafe { &mut *self.shared };
        shared.cases[..cases.len()].copy_from_slice(cases);
        shared.count.store(cases.len() as u32, Ordering::SeqCst);
        let mut byte = 0u8;
        // SAFETY: one byte each way.
        let done = unsafe {
            libc::write(self.to, (&raw const byte).cast(), 1) == 1
                && libc::read(self.from, (&raw mut byte).cast(), 1) == 1
        };
        assert!(done, "the child that runs instructions is gone");
        &shared.outcomes[..cases.len()]
    }
}

impl Default for Native {
    fn default() -> Native {
        Native::new()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: this process's own child, descriptors and mappings, which nothing uses any more.
        unsafe {
            libc::kill(self.child, libc::SIGKILL);
            libc::waitpid(self.child, std::ptr::null_mut(), 0);
            libc::close(self.to);
            libc::close(self.from);
            libc::munmap(self.shared.cast(), size_of::<Shared>());
            libc::munmap(CODE as *mut libc::c_void, SLOTS * CODE_STRIDE);
            libc::munmap(DATA as *mut libc::c_void, DATA_BYTES);
        }
    }
}

/// The case that runs in the child: -1 before the first one.
static CURRENT: AtomicI64 = AtomicI64::new(-1);
/// Ticks of the timer since the case began.
static TICKS: AtomicU32 = AtomicU32::new(0);
/// Where the child's cases are.
static SHARED: std::sync::atomic::AtomicPtr<Shared> = std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());

/// Registers and floating-point state of the child itself.
struct Home {
    gregs: [i64; 23],
    fx: [u8; XSAVE],
}

/// Legacy area, header, upper parts of YMM registers.
const XSAVE: usize = 512 + 64 + 256;

/// Stack of the handler.
const STACK: usize = 1 << 16;

/// The child: runs cases whenever it is told to.
///
/// # Safety
/// Called in a process of its own, with its descriptors and what its parent mapped.
unsafe fn serve(shared: *mut Shared, from: i32, to: i32) -> ! {
    SHARED.store(shared, Ordering::SeqCst);
    // SAFETY: by the caller; the structures are complete, and the handler keeps to what a handler may do: the state that it
    // interrupts is its own.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let stack = libc::mmap(
            std::ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let alternate = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK };
        libc::sigaltstack(&alternate, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigfillset(&mut action.sa_mask);
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGVTALRM,
            libc::SIGUSR1,
        ] {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let tick = libc::timeval { tv_sec: 0, tv_usec: 10_000 };
        let timer = libc::itimerval { it_interval: tick, it_value: tick };
        let mut byte = 0u8;
        // 32-bit code needs a segment for its data; 64-bit code does not look at it.
        std::arch::asm!("mov ds, {0:x}", "mov es, {0:x}", in(reg) 0x2b);
        loop {
            if libc::read(from, (&raw mut byte).cast(), 1) != 1 {
                libc::_exit(0);
            }
            CURRENT.store(-1, Ordering::SeqCst);
            libc::setitimer(libc::ITIMER_VIRTUAL, &timer, std::ptr::null_mut());
            libc::raise(libc::SIGUSR1);
            libc::setitimer(libc::ITIMER_VIRTUAL, &std::mem::zeroed(), std::ptr::null_mut());
            if libc::write(to, (&raw const byte).cast(), 1) != 1 {
                libc::_exit(0);
            }
        }
    }
}

/// The numbers of RAX, RCX … in a context's registers.
const ORDER: [usize; 16] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
    libc::REG_R8 as usize,
    libc::REG_R9 as usize,
    libc::REG_R10 as usize,
    libc::REG_R11 as usize,
    libc::REG_R12 as usize,
    libc::REG_R13 as usize,
    libc::REG_R14 as usize,
    libc::REG_R15 as usize,
];

static mut HOME: Home = Home { gregs: [0; 23], fx: [0; XSAVE] };

/// Saves what became of the current case, and goes on with the next one.
extern "C" fn on_signal(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives this handler its context, with an XSAVE area as on every host of today, which lies on this
    // handler's stack; `serve` set the pointer, and the parent waits.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let shared = &mut *SHARED.load(Ordering::Relaxed);
        let gregs = &mut context.uc_mcontext.gregs;
        let fx = context.uc_mcontext.fpregs.cast::<[u8; XSAVE]>();
        let current = CURRENT.load(Ordering::Relaxed);
        if signal == libc::SIGVTALRM {
            // Between two cases, or the first tick: perhaps the case has just begun.
            let inside = current >= 0 && current < shared.count.load(Ordering::Relaxed) as i64;
            if !inside || TICKS.fetch_add(1, Ordering::Relaxed) == 0 {
                return;
            }
        }
        let home = &raw mut HOME;
        if current < 0 {
            (*home).gregs = *gregs;
            (*home).fx = *fx;
        } else {
            let outcome = &mut shared.outcomes[current as usize];
            outcome.registers = save(gregs, &*fx);
            let hangs = signal == libc::SIGVTALRM;
            outcome.vector = if hangs { HANGS } else { gregs[libc::REG_TRAPNO as usize] as u64 };
            outcome.error = gregs[libc::REG_ERR as usize] as u64;
            outcome.address = gregs[libc::REG_CR2 as usize] as u64;
            observe(outcome);
        }
        let next = (current + 1) as usize;
        CURRENT.store(next as i64, Ordering::Relaxed);
        TICKS.store(0, Ordering::Relaxed);
        if next == shared.count.load(Ordering::Relaxed) as usize {
            *gregs = (*home).gregs;
            *fx = (*home).fx;
            return;
        }
        let case = &shared.cases[next];
        prepare(case);
        load(case, gregs, &mut *fx);
    }
}

/// The registers in a context.
fn save(gregs: &[i64; 23], fx: &[u8; XSAVE]) -> Registers {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| fx[at + n]));
    Registers {
        gpr: ORDER.map(|n| gregs[n] as u64),
        rip: gregs[libc::REG_RIP as usize] as u64,
        eflags: gregs[libc::REG_EFL as usize] as u64,
        fx: std::array::from_fn(|n| word(8 * n)),
        ymm_high: std::array::from_fn(|n| [word(576 + 16 * n), word(584 + 16 * n)]),
    }
}

/// Writes a case's registers to a context.
fn load(case: &Case, gregs: &mut [i64; 23], fx: &mut [u8; XSAVE]) {
    let r = &case.registers;
    for (n, &to) in ORDER.iter().enumerate() {
        gregs[to] = r.gpr[n] as i64;
    }
    gregs[libc::REG_RIP as usize] = r.rip as i64;
    gregs[libc::REG_EFL as usize] = r.eflags as i64;
    // CS, GS, FS, SS of 16 bits each.
    let (code, stack) = if case.long { (0x33, 0x2b) } else { (0x23, 0x2b) };
    let segments = gregs[libc::REG_CSGSFS as usize] & 0x0000_ffff_ffff_0000;
    gregs[libc::REG_CSGSFS as usize] = segments | code | stack << 48;
    let mut put = |at: usize, v: u64| fx[at..at + 8].copy_from_slice(&v.to_le_bytes());
    // The rest of the legacy area, behind XMM15, is the kernel's own.
    (0..FX_XMM + 32).for_each(|n| put(8 * n, r.fx[n]));
    for (n, high) in r.ymm_high.iter().enumerate() {
        put(576 + 16 * n, high[0]);
        put(584 + 16 * n, high[1]);
    }
    // The header: x87, SSE and AVX state are there.
    put(512, 7);
}
