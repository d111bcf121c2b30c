//! What the host's kernel shows of this process: `ps`, `/proc/N/cmdline` and `/proc/N/environ` are the program's, and follow
//! what it writes there, as titles of servers do.

use std::ffi::CString;
use trine_linux::abi::Machine;

/// `struct prctl_mm_map` (include/uapi/linux/prctl.h).
#[repr(C)]
struct Map {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// First address of the strings that a list at `at` points to, and the end of the last one.
fn range(machine: &Machine, at: u64, list: &[CString]) -> Option<(u64, u64)> {
    let last = list.len().checked_sub(1)?;
    let start = machine.address(at).ok()?;
    let end = machine.address(at + (machine.words().address * last) as u64).ok()?
        + list[last].as_bytes_with_nul().len() as u64;
    (start < end).then_some((start, end))
}

/// Shows the arguments and the environment on the first stack, at `pointer`; gives whether they are shown. The kernel
/// does it for everybody, where it was built with `CHECKPOINT_RESTORE`.
pub(crate) fn arguments(machine: &Machine, pointer: u64, args: &[CString], env: &[CString]) -> bool {
    show(machine, pointer, args, env).is_some()
}

fn show(machine: &Machine, pointer: u64, args: &[CString], env: &[CString]) -> Option<()> {
    let size = machine.words().address as u64;
    let (arg_start, arg_end) = range(machine, pointer + size, args)?;
    let behind = pointer + size * (args.len() as u64 + 2);
    let (env_start, env_end) = range(machine, behind, env).unwrap_or((arg_end, arg_end));
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything, the third field is the first one (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    let map = Map {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        // SAFETY: only asks where the data ends.
        brk: unsafe { libc::sbrk(0) } as u64,
        start_stack: field(28)?,
        arg_start,
        arg_end,
        env_start,
        env_end,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: a structure of ours; all but what is shown stays as it is, and this process has one thread.
    let result =
        unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of::<Map>(), 0) };
    (result == 0).then_some(())
}
