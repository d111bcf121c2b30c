//! Names and numbers of system calls, for each ABI that a kernel supports.

use oci_spec::runtime::Arch;
use std::collections::HashMap;

/// Set in every number of the x32 ABI (`__X32_SYSCALL_BIT`, arch/x86/include/uapi/asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A system call ABI: numbers and width of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abi {
    /// x86-64.
    X86_64,
    /// 32-bit programs on x86.
    X86,
    /// x86-64 with 32-bit pointers.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI).
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Abi {
    /// The ABI of this executable; `None` on a host whose numbers are not known here.
    pub fn native() -> Option<Abi> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Abi::X86_64),
            "aarch64" => Some(Abi::Aarch64),
            "riscv64" => Some(Abi::Riscv64),
            _ => None,
        }
    }

    /// The ABI that an entry of `architectures` names, on a host with this native ABI; `None` if its kernel
    /// never supports it.
    pub(super) fn of(arch: Arch, native: Abi) -> Option<Abi> {
        let abi = match arch {
            Arch::ScmpArchNative => native,
            Arch::ScmpArchX86_64 => Abi::X86_64,
            Arch::ScmpArchX86 => Abi::X86,
            Arch::ScmpArchX32 => Abi::X32,
            Arch::ScmpArchAarch64 => Abi::Aarch64,
            Arch::ScmpArchArm => Abi::Arm,
            Arch::ScmpArchRiscv64 => Abi::Riscv64,
            _ => return None,
        };
        let served: &[Abi] = match native {
            Abi::X86_64 => &[Abi::X86_64, Abi::X86, Abi::X32],
            Abi::Aarch64 => &[Abi::Aarch64, Abi::Arm],
            _ => &[native],
        };
        served.contains(&abi).then_some(abi)
    }

    /// The `arch` that a filter sees (`AUDIT_ARCH_*`, include/uapi/linux/audit.h); x32 shares that of x86-64.
    pub(super) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
            Abi::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether arguments have 32 bits, so that the upper halves must be ignored.
    pub(super) fn narrow(self) -> bool {
        matches!(self, Abi::X86 | Abi::X32 | Abi::Arm)
    }
}

/// Calls that have numbers of their own in x32 (arch/x86/entry/syscalls/syscall_64.tbl, from 512 on).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls of x86-64 that x32 does not have (ABI `64` in the same table, without a number above).
const X32_NOT: [&str; 11] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
];

/// Calls newer than the library's tables; since 5.1 they have the same number everywhere
/// (scripts/syscall.tbl).
const NEWER: [(&str, u32); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// Calls of 32-bit Arm only (arch/arm/include/uapi/asm/unistd.h).
const ARM_OWN: [(&str, u32); 6] = [
    ("breakpoint", 0xf_0001),
    ("cacheflush", 0xf_0002),
    ("usr26", 0xf_0003),
    ("usr32", 0xf_0004),
    ("set_tls", 0xf_0005),
    ("get_tls", 0xf_0006),
];

/// The numbers of one ABI by name.
pub(super) struct Numbers(HashMap<&'static str, u32>);

impl Numbers {
    /// All calls of an ABI.
    pub(super) fn of(abi: Abi) -> Numbers {
        let mut all: HashMap<&'static str, u32> = HashMap::with_capacity(512);
        macro_rules! table {
            ($arch:ident) => {
                all.extend(syscalls::$arch::Sysno::iter().map(|call| (call.name(), call.id() as u32)))
            };
        }
        match abi {
            Abi::X86_64 | Abi::X32 => table!(x86_64),
            Abi::X86 => table!(x86),
            Abi::Aarch64 => table!(aarch64),
            Abi::Arm => table!(arm),
            Abi::Riscv64 => table!(riscv64),
        };
        all.extend(NEWER);
        match abi {
            Abi::X86_64 => all.extend([("uprobe", 336)]),
            Abi::X32 => {
                all.retain(|name, _| !X32_NOT.contains(name));
                all.extend((512..).zip(X32_OWN).map(|(number, name)| (name, number)));
                all.values_mut().for_each(|number| *number |= X32_BIT);
            }
            Abi::Arm => all.extend(ARM_OWN),
            // The name in the kernel's headers and in all profiles.
            Abi::Aarch64 => all.extend([("newfstatat", 79)]),
            Abi::X86 | Abi::Riscv64 => {}
        }
        Numbers(all)
    }

    /// The number of a call; `None` if this ABI has no call of that name.
    pub(super) fn get(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }
}

/// Calls that 32-bit x86 also has through `socketcall` (include/uapi/linux/net.h), in the order of their
/// codes from 1 on.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// Calls that 32-bit x86 also has through `ipc` (include/uapi/linux/ipc.h).
const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The multiplexing call of 32-bit x86 through which a call can also be made, and the value of its first
/// argument.
pub(super) fn second_door(name: &str) -> Option<(&'static str, u32)> {
    let socket = || SOCKETCALL.iter().position(|n| *n == name).map(|at| ("socketcall", at as u32 + 1));
    let ipc = || IPC.iter().find(|(n, _)| *n == name).map(|(_, code)| ("ipc", *code));
    socket().or_else(ipc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let of = |abi, name| Numbers::of(abi).get(name);
        assert_eq!(
            of(Abi::X86_64, "execve"),
            Some(libc::SYS_execve as u32).filter(|_| cfg!(target_arch = "x86_64"))
        );
        assert_eq!((of(Abi::X86_64, "openat"), of(Abi::X86, "openat")), (Some(257), Some(295)));
        assert_eq!(
            (of(Abi::X32, "openat"), of(Abi::X32, "execve")),
            (Some(X32_BIT | 257), Some(X32_BIT | 520))
        );
        assert_eq!((of(Abi::X32, "pwritev2"), of(Abi::X32, "uselib")), (Some(X32_BIT | 547), None));
        assert_eq!((of(Abi::Aarch64, "newfstatat"), of(Abi::Riscv64, "newfstatat")), (Some(79), Some(79)));
        assert_eq!((of(Abi::Arm, "set_tls"), of(Abi::Arm, "openat")), (Some(0xf_0005), Some(322)));
        assert_eq!(of(Abi::X86_64, "socketcall"), None);
        assert_eq!(of(Abi::Riscv64, "riscv_flush_icache"), Some(259));
    }

    #[test]
    fn second_doors() {
        assert_eq!(second_door("socket"), Some(("socketcall", 1)));
        assert_eq!(second_door("sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(second_door("shmctl"), Some(("ipc", 24)));
        assert_eq!(second_door("read"), None);
    }
}
