//! riscv64 (RISC-V ELF psABI; Linux, arch/riscv).

use super::numbering::numbers;
use super::{
    AltStack, CloneArgs, CoreNote, GuestAbi, Handler, Info, Interrupted, Machine, Numbering, Raised,
    Registers, Structs, Vdso, generic,
};
use crate::call::{Context, get, put};
use crate::errno::Errno;
use crate::structs;
use crate::table::calls;
use trine_base::elf::Cpu;
use trine_base::target::Target;
use trine_base::{Trap, Vcpu};
use trine_isa_riscv::debug::{float_feature, integer_feature};
use trine_isa_riscv::extensions::{self, Told};
use trine_isa_riscv::state::{F, FFLAGS, FRM, X};
use trine_isa_riscv::{Config, Rv64, Start};

static CALLS: Numbering =
    Numbering::new(&[generic::NUMBERS, numbers! { 258 => riscv_hwprobe riscv_flush_icache; }], OWN_CALLS);

calls! {
    /// The calls that only this CPU has.
    pub const OWN_CALLS:
    riscv_hwprobe(Ptr, Size, Size, Ptr, Hex) => own(hwprobe) reaches Own tested "ids/riscv_hwprobe" partial "says the same of every CPU; not which CPUs have something (flags)";
    riscv_flush_icache(Ptr, Ptr, Hex) => own(flush_icache) reaches Own tested "memory/riscv_flush_icache";
}

/// riscv64 as system calls, executables and files of `/proc` show it.
pub static MACHINE: Machine = machine();

/// Makes a new value, which tests modify.
pub const fn machine() -> Machine {
    Machine {
        name: "riscv64",
        elf: Cpu::RISCV64,
        calls: &CALLS,
        // The single-letter extensions (arch/riscv/include/uapi/asm/hwcap.h).
        hwcap: extensions::letters(),
        platform: None,
        cpuinfo,
        vdso: Vdso {
            version: "LINUX_4.15",
            functions: &[
                ("__vdso_rt_sigreturn", "rt_sigreturn"),
                ("__vdso_gettimeofday", "gettimeofday"),
                ("__vdso_clock_gettime", "clock_gettime"),
                ("__vdso_clock_getres", "clock_getres"),
                ("__vdso_getcpu", "getcpu"),
                ("__vdso_flush_icache", "riscv_flush_icache"),
                ("__vdso_riscv_hwprobe", "riscv_hwprobe"),
            ],
            stub,
        },
        structs: Structs {
            put_stat: structs::put_generic_stat,
            epoll_packed: false,
            sem_padded: false,
            restorer: false,
        },
    }
}

/// `li a7, number; ecall`, and `ret` where the call returns.
fn stub(number: u32, returns: bool) -> Vec<u8> {
    let code = [number << 20 | 0x893, 0x73].into_iter().chain(returns.then_some(0x8067));
    code.flat_map(u32::to_le_bytes).collect()
}

/// `/proc/cpuinfo` with `cpus` CPUs.
fn cpuinfo(cpus: usize) -> String {
    let isa = extensions::isa_string(Told::Programs);
    let one = |n| {
        format!(
            "processor\t: {n}\nhart\t\t: {n}\nisa\t\t: {isa}\n\
             mmu\t\t: sv39\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\n\n"
        )
    };
    (0..cpus).map(one).collect()
}

/// Integer registers by their names in the psABI.
const RA: u16 = X + 1;
const SP: u16 = X + 2;
const TP: u16 = X + 4;
const A0: u16 = X + 10;
const A7: u16 = X + 17;

/// Bytes of `ecall`.
const ECALL: u64 = 4;

/// Exceptions (priv 3.1.15).
mod cause {
    pub const FETCH_MISALIGNED: u64 = 0;
    pub const FETCH_ACCESS: u64 = 1;
    pub const ILLEGAL: u64 = 2;
    pub const BREAKPOINT: u64 = 3;
    pub const LOAD_MISALIGNED: u64 = 4;
    pub const STORE_MISALIGNED: u64 = 6;
    pub const CALL: u64 = 8;
}

/// `si_code` of an illegal instruction.
const ILL_ILLOPC: i32 = 1;

/// `NT_FPREGSET` (include/uapi/linux/elf.h).
const NT_FPREGSET: u32 = 2;

/// `x1` to `x31`, `f0` to `f31`, and the parts of `fcsr`.
const STATE: [u16; 65] = {
    let mut slots = [FFLAGS; 65];
    let mut i = 0;
    while i < 63 {
        slots[i] = if i < 31 { X + 1 + i as u16 } else { F + i as u16 - 31 };
        i += 1;
    }
    slots[64] = FRM;
    slots
};

/// `struct rt_sigframe` (arch/riscv/kernel/signal.c): `siginfo_t`, then `struct ucontext`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Frame {
    info: Info,
    flags: u64,
    link: u64,
    stack: AltStack,
    mask: u64,
    /// Room for larger signal sets, and padding to a multiple of 16 bytes.
    unused: [u64; 16],
    /// `pc`, then `x1` to `x31`.
    integer: [u64; 32],
    float: [u64; 32],
    fcsr: u64,
    /// The rest of the room for quad-precision registers.
    quad: [u64; 33],
}

/// Size of `siginfo_t` in bytes, after which `struct ucontext` begins.
const INFO: u64 = size_of::<Info>() as u64;

const _: () = assert!(size_of::<Frame>() == INFO as usize + 960);

/// `pc`, then `x1` to `x31` (`struct user_regs_struct`).
fn integer(pc: u64, get: impl Fn(u16) -> u64) -> [u64; 32] {
    std::array::from_fn(|i| if i == 0 { pc } else { get(X + i as u16) })
}

/// `f0` to `f31`, and `fcsr` (`struct __riscv_d_ext_state`).
fn float(get: impl Fn(u16) -> u64) -> ([u64; 32], u64) {
    (std::array::from_fn(|i| get(F + i as u16)), get(FFLAGS) | get(FRM) << 5)
}

/// One key-value pair of `riscv_hwprobe` (Documentation/arch/riscv/hwprobe.rst).
#[derive(Clone, Copy)]
#[repr(C)]
struct Pair {
    key: i64,
    value: u64,
}

/// The value of a key of `riscv_hwprobe`.
fn probe(key: i64) -> Option<u64> {
    Some(match key {
        // Vendor, architecture and implementation IDs: 0.
        0..=2 => 0,
        // Base: I, M, A.
        3 => 1,
        4 => extensions::EXTENSIONS.iter().fold(0, |bits, e| bits | e.probe),
        // Misaligned accesses are fast.
        5 => 3,
        6 => extensions::CBOZ_BLOCK.into(),
        _ => return None,
    })
}

/// `riscv_hwprobe(pairs, count, cpu count, cpus, flags)`.
fn hwprobe(_: &Context, [pairs, count, size, cpus, flags, _]: [u64; 6]) -> Result<u64, Errno> {
    // The largest size of a CPU set in bytes.
    const SET: u64 = 128;
    if flags != 0 {
        return Err(Errno(libc::EINVAL));
    }
    if size != 0 || cpus != 0 {
        let set = (0..size.min(SET)).try_fold(0, |all, i| Ok(all | get::<u8>(cpus.wrapping_add(i))?))?;
        if set == 0 {
            return Err(Errno(libc::EINVAL));
        }
    }
    for i in 0..count {
        let at = pairs.wrapping_add(16 * i);
        let key = get::<Pair>(at)?.key;
        let answer = match probe(key) {
            Some(value) => Pair { key, value },
            None => Pair { key: -1, value: 0 },
        };
        put(at, &answer)?;
    }
    Ok(0)
}

/// `riscv_flush_icache(start, end, flags)`.
fn flush_icache(c: &Context, [start, end, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    if flags & !1 != 0 {
        return Err(Errno(libc::EINVAL));
    }
    c.guest.space.code_changed(start, end);
    Ok(0)
}

impl GuestAbi for Rv64 {
    const STACK: u16 = SP;
    const STATE: &'static [u16] = &STATE;
    const RED_ZONE: u64 = 0;
    const FRAME: u64 = size_of::<Frame>() as u64;
    const LEAST_STACK: u64 = 2048;

    fn machine() -> &'static Machine {
        &MACHINE
    }

    fn config() -> Config {
        Config { hart: 0, start: Start::User }
    }

    fn raised(&Trap { cause, value, .. }: &Trap, pc: u64) -> Raised {
        match cause {
            cause::CALL => Raised::Call,
            cause::BREAKPOINT => Raised::Breakpoint,
            cause::FETCH_ACCESS => Raised::Fetch(value),
            cause::ILLEGAL => Raised::Signal { signal: libc::SIGILL, code: ILL_ILLOPC, address: pc },
            cause::FETCH_MISALIGNED | cause::LOAD_MISALIGNED | cause::STORE_MISALIGNED => {
                Raised::Signal { signal: libc::SIGBUS, code: libc::BUS_ADRALN, address: value }
            }
            _ => Raised::Access(value),
        }
    }

    fn call(vcpu: &impl Vcpu) -> (u64, [u64; 6]) {
        (vcpu.get(A7), [0, 1, 2, 3, 4, 5].map(|i| vcpu.get(A0 + i)))
    }

    fn end_call(vcpu: &mut impl Vcpu, result: u64) {
        vcpu.set(A0, result);
        vcpu.set_pc(vcpu.pc() + ECALL);
    }

    // CONFIG_CLONE_BACKWARDS.
    fn clone_args([flags, stack, parent_tid, tls, child_tid, _]: [u64; 6]) -> CloneArgs {
        CloneArgs { flags, stack, parent_tid, child_tid, tls }
    }

    fn set_thread_pointer(vcpu: &mut impl Vcpu, to: u64) {
        vcpu.set(TP, to);
    }

    fn frame_at(top: u64) -> u64 {
        top.wrapping_sub(Self::FRAME) & !15
    }

    fn write_frame(vcpu: &impl Vcpu, at: u64, was: &Interrupted, _: &Trap) -> Result<(), Errno> {
        let &Interrupted { info, mask, stack } = was;
        let integer = integer(vcpu.pc(), |slot| vcpu.get(slot));
        let (float, fcsr) = float(|slot| vcpu.get(slot));
        let (flags, link, unused, quad) = (0, 0, [0; 16], [0; 33]);
        put(at, &Frame { info, flags, link, stack, mask, unused, integer, float, fcsr, quad })
    }

    fn enter_handler(vcpu: &mut impl Vcpu, frame: u64, handler: &Handler) {
        let context = frame.wrapping_add(INFO);
        let arguments = [(A0, handler.signal as u64), (A0 + 1, frame), (A0 + 2, context)];
        [(RA, handler.returns_to), (SP, frame)]
            .into_iter()
            .chain(arguments)
            .for_each(|(slot, value)| vcpu.set(slot, value));
        vcpu.set_pc(handler.address);
    }

    fn leave_handler(vcpu: &mut impl Vcpu) -> Result<Interrupted, Errno> {
        let Frame { info, stack, mask, integer, float, fcsr, .. } = get(vcpu.get(SP))?;
        (1..32).for_each(|i| vcpu.set(X + i, integer[i as usize]));
        (0..32).for_each(|i| vcpu.set(F + i, float[i as usize]));
        vcpu.set(FFLAGS, fcsr & 31);
        vcpu.set(FRM, fcsr >> 5 & 7);
        vcpu.set_pc(integer[0]);
        Ok(Interrupted { info, mask, stack })
    }

    fn core_registers(state: &Registers) -> Vec<u64> {
        integer(state.pc, |slot| state.get(slot)).to_vec()
    }

    /// `struct __riscv_d_ext_state`, padded to a multiple of 8 bytes.
    fn core_notes(state: &Registers) -> Vec<CoreNote> {
        let (float, fcsr) = float(|slot| state.get(slot));
        let bytes = float.iter().chain([&fcsr]).flat_map(|n| n.to_le_bytes()).collect();
        vec![CoreNote { kind: NT_FPREGSET, owner: "CORE", bytes }]
    }

    /// The integer registers and the PC, then the floating-point registers with `fflags`, `frm` and `fcsr`.
    fn target() -> Target {
        let features = vec![integer_feature(), float_feature()];
        Target { architecture: "riscv:rv64", features }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::{ALONE, page};
    use crate::space::{PAGE, Space};
    use std::sync::{Arc, PoisonError};
    use trine_base::target::Place;
    use trine_base::{HostClock, Mailbox};
    use trine_engine::{Direct, Engine, Tier, Translations};
    use trine_ir::Isa;

    fn vcpu(space: Arc<Space>) -> Engine<Rv64, Direct> {
        let (clock, mailbox) = (Arc::new(HostClock::new()), Arc::new(Mailbox::new()));
        let (translations, _) = Translations::new(Tier::Interp);
        Engine::program(Rv64::config(), space, clock, mailbox, translations)
    }

    #[test]
    fn a_handler_gives_back_every_register() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let space = Arc::new(Space::default());
        let stack = page(&space, libc::PROT_READ | libc::PROT_WRITE) + PAGE;
        let mut vcpu = vcpu(space.clone());
        for (i, &slot) in STATE.iter().enumerate() {
            vcpu.set(slot, if slot == FRM { 3 } else { 17 + i as u64 % 15 });
        }
        vcpu.set_pc(0x1_2344);
        let before = Registers::of::<Rv64>(&vcpu);
        let was = Interrupted { info: [7; 16], mask: 0xaa, stack: AltStack { size: 9, ..AltStack::NONE } };
        let frame = Rv64::frame_at(stack - 8);
        assert_eq!((frame % 16, frame + Rv64::FRAME <= stack - 8), (0, true));
        Rv64::write_frame(&vcpu, frame, &was, &Trap::default()).expect("mapped");
        let handler = Handler { signal: 11, address: 0x2000, returns_to: 0x3000 };
        Rv64::enter_handler(&mut vcpu, frame, &handler);
        let arguments = [RA, SP, A0, A0 + 1, A0 + 2].map(|slot| vcpu.get(slot));
        assert_eq!((vcpu.pc(), arguments), (0x2000, [0x3000, frame, 11, frame, frame + 128]));
        STATE.iter().filter(|&&slot| slot != SP).for_each(|&slot| vcpu.set(slot, 0));
        assert_eq!(Rv64::leave_handler(&mut vcpu), Ok(was));
        assert_eq!(Registers::of::<Rv64>(&vcpu), before);
        space.unmap(stack - PAGE, PAGE).expect("unmapped");
    }

    #[test]
    fn calls_have_their_registers() {
        let mut vcpu = vcpu(Arc::default());
        (0..8).for_each(|i| vcpu.set(A0 + i, u64::from(i)));
        vcpu.set_pc(0x1000);
        assert_eq!(Rv64::call(&vcpu), (7, [0, 1, 2, 3, 4, 5]));
        Rv64::end_call(&mut vcpu, 99);
        assert_eq!((vcpu.pc(), Rv64::call(&vcpu).1[0]), (0x1004, 99));
        Rv64::set_thread_pointer(&mut vcpu, 5);
        assert_eq!(vcpu.get(TP), 5);
        let asked = CloneArgs { flags: 1, stack: 2, parent_tid: 3, tls: 4, child_tid: 5 };
        assert_eq!(Rv64::clone_args([1, 2, 3, 4, 5, 6]), asked);
    }

    #[test]
    fn debuggers_have_the_cpus_own_names() {
        let names: Vec<(String, u16)> = Rv64::target()
            .features
            .into_iter()
            .flat_map(|feature| feature.registers)
            .filter_map(|r| if let Place::Slot(slot) = r.place { Some((r.name, slot)) } else { None })
            .collect();
        assert_eq!(names.len(), STATE.len());
        for (name, slot) in names {
            let own = Rv64::REGISTERS.iter().find(|r| r.slot == slot).map(|r| r.name);
            assert_eq!(own, Some(name.as_str()));
        }
    }

    #[test]
    fn numbers_are_those_of_gdb() {
        // riscv-tdep.h: x0 to x31, pc 32, f0 to f31 from 33; then by the description.
        let registers = Rv64::target().features.into_iter().flat_map(|feature| feature.registers);
        let names: Vec<String> = registers.map(|register| register.name).collect();
        let integer = [("zero", 0), ("sp", 2), ("a0", 10), ("t6", 31), ("pc", 32)];
        let float = [("ft0", 33), ("fa0", 43), ("ft11", 64), ("fflags", 65), ("fcsr", 67)];
        for (name, number) in integer.into_iter().chain(float) {
            assert_eq!(names.iter().position(|known| known == name), Some(number), "{name}");
        }
        assert_eq!(names.len(), 68);
    }

    #[test]
    fn every_slot_of_the_state_is_there_once() {
        let mut slots = STATE;
        slots.sort_unstable();
        let expected: Vec<u16> = (X + 1..X + 32).chain(F..F + 32).chain([FFLAGS, FRM]).collect();
        assert_eq!(slots.to_vec(), expected);
    }
}
