//! Accesses to a program's memory, outside of generated code, and changes to the interrupted thread's context
//! by the handler of refused accesses.

use super::X64;
use crate::host::GuestAccess;
use trine_base::Width;

/// Value, and whether the access was refused.
#[repr(C)]
struct Outcome {
    value: u64,
    refused: u64,
}

// Each routine accesses guest memory in one instruction and uses no stack: wherever it is interrupted,
// `trine_guest_refused` can take its place.
std::arch::global_asm!(
    // What calls them may be compiled into another object.
    ".irp name, begin, load1, load2, load4, load8, store1, store2, store4, store8, exchange1, exchange2, exchange4, exchange8, load16, store16, copy, end, refused",
    ".globl trine_guest_\\name",
    ".hidden trine_guest_\\name",
    ".endr",
    "trine_guest_begin:",
    "trine_guest_load1: movzx eax, byte ptr [rdi]",
    "xor edx, edx",
    "ret",
    "trine_guest_load2: movzx eax, word ptr [rdi]",
    "xor edx, edx",
    "ret",
    "trine_guest_load4: mov eax, [rdi]",
    "xor edx, edx",
    "ret",
    "trine_guest_load8: mov rax, [rdi]",
    "xor edx, edx",
    "ret",
    "trine_guest_store1: mov [rdi], sil",
    "xor edx, edx",
    "ret",
    "trine_guest_store2: mov [rdi], si",
    "xor edx, edx",
    "ret",
    "trine_guest_store4: mov [rdi], esi",
    "xor edx, edx",
    "ret",
    "trine_guest_store8: mov [rdi], rsi",
    "xor edx, edx",
    "ret",
    "trine_guest_exchange1: mov eax, esi",
    "lock cmpxchg [rdi], dl",
    "xor edx, edx",
    "ret",
    "trine_guest_exchange2: mov eax, esi",
    "lock cmpxchg [rdi], dx",
    "xor edx, edx",
    "ret",
    "trine_guest_exchange4: mov eax, esi",
    "lock cmpxchg [rdi], edx",
    "xor edx, edx",
    "ret",
    "trine_guest_exchange8: mov rax, rsi",
    "lock cmpxchg [rdi], rdx",
    "xor edx, edx",
    "ret",
    "trine_guest_load16: movups xmm0, [rdi]",
    "movups [rsi], xmm0",
    "xor edx, edx",
    "ret",
    "trine_guest_store16: movups xmm0, [rsi]",
    "movups [rdi], xmm0",
    "xor edx, edx",
    "ret",
    "trine_guest_copy: mov rcx, rdx",
    "rep movsb",
    "xor edx, edx",
    "ret",
    "trine_guest_end:",
    "trine_guest_refused: mov edx, 1",
    "ret",
);

// SAFETY: the assembly above defines each of them, with these arguments and this result.
unsafe extern "sysv64" {
    static trine_guest_begin: u8;
    static trine_guest_end: u8;
    static trine_guest_refused: u8;
    fn trine_guest_load1(at: u64) -> Outcome;
    fn trine_guest_load2(at: u64) -> Outcome;
    fn trine_guest_load4(at: u64) -> Outcome;
    fn trine_guest_load8(at: u64) -> Outcome;
    fn trine_guest_store1(at: u64, value: u64) -> Outcome;
    fn trine_guest_store2(at: u64, value: u64) -> Outcome;
    fn trine_guest_store4(at: u64, value: u64) -> Outcome;
    fn trine_guest_store8(at: u64, value: u64) -> Outcome;
    fn trine_guest_exchange1(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_guest_exchange2(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_guest_exchange4(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_guest_exchange8(at: u64, expect: u64, new: u64) -> Outcome;
    fn trine_guest_load16(at: u64, to: *mut u128) -> Outcome;
    fn trine_guest_store16(at: u64, from: *const u128) -> Outcome;
    fn trine_guest_copy(to: u64, from: u64, bytes: u64) -> Outcome;
}

impl Outcome {
    fn value(self) -> Option<u64> {
        (self.refused == 0).then_some(self.value)
    }
}

impl GuestAccess for X64 {
    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn load(at: u64, width: Width) -> Option<u64> {
        // SAFETY: by the caller; a refused access ends the routine.
        unsafe {
            match width {
                Width::B1 => trine_guest_load1(at),
                Width::B2 => trine_guest_load2(at),
                Width::B4 => trine_guest_load4(at),
                Width::B8 => trine_guest_load8(at),
            }
        }
        .value()
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn store(at: u64, width: Width, value: u64) -> Option<()> {
        // SAFETY: by the caller.
        unsafe {
            match width {
                Width::B1 => trine_guest_store1(at, value),
                Width::B2 => trine_guest_store2(at, value),
                Width::B4 => trine_guest_store4(at, value),
                Width::B8 => trine_guest_store8(at, value),
            }
        }
        .value()
        .map(drop)
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn exchange(at: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
        // SAFETY: by the caller.
        unsafe {
            match width {
                Width::B1 => trine_guest_exchange1(at, expect, new),
                Width::B2 => trine_guest_exchange2(at, expect, new),
                Width::B4 => trine_guest_exchange4(at, expect, new),
                Width::B8 => trine_guest_exchange8(at, expect, new),
            }
        }
        .value()
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn load_vector(at: u64) -> Option<u128> {
        let mut value = 0;
        // SAFETY: by the caller; `value` is as large as what is written to it.
        unsafe { trine_guest_load16(at, &mut value) }.value().map(|_| value)
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn store_vector(at: u64, value: u128) -> Option<()> {
        // SAFETY: by the caller; `value` is as large as what is read of it.
        unsafe { trine_guest_store16(at, &value) }.value().map(drop)
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn copy(to: u64, from: u64, bytes: u64) -> Option<()> {
        // SAFETY: by the caller.
        unsafe { trine_guest_copy(to, from, bytes) }.value().map(drop)
    }

    fn refused_at(at: usize) -> Option<usize> {
        let [begin, end, refused] =
            [&raw const trine_guest_begin, &raw const trine_guest_end, &raw const trine_guest_refused];
        (begin as usize..end as usize).contains(&at).then_some(refused as usize)
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn interrupted_at(context: *const libc::ucontext_t) -> usize {
        // SAFETY: by the caller.
        unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] as usize }
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn go_on_at(context: *mut libc::ucontext_t, at: usize) {
        // SAFETY: by the caller.
        unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] = at as i64 };
    }
}
