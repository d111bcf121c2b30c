//! What the host's kernel shows of this process: `ps`, `/proc/N/cmdline` and `/proc/N/environ` show the
//! program's arguments and environment, and follow its changes, as servers make to their titles.

use std::ffi::CString;
use trine_base::process_stat::ProcessStat;
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

/// The first address of the strings in the list at `at`, and the end of the last one.
fn range(machine: &Machine, at: u64, list: &[CString]) -> Option<(u64, u64)> {
    let last = list.len().checked_sub(1)?;
    let start = machine.address(at).ok()?;
    let end = machine.address(at + (machine.words().address * last) as u64).ok()?
        + list[last].as_bytes_with_nul().len() as u64;
    (start < end).then_some((start, end))
}

/// Makes the kernel show the arguments and the environment on the initial stack, at `pointer`; returns
/// whether it does. No privilege is needed if the kernel was built with `CHECKPOINT_RESTORE`.
pub(crate) fn arguments(machine: &Machine, pointer: u64, args: &[CString], env: &[CString]) -> bool {
    show(machine, pointer, args, env).is_some()
}

fn show(machine: &Machine, pointer: u64, args: &[CString], env: &[CString]) -> Option<()> {
    let size = machine.words().address as u64;
    let (arg_start, arg_end) = range(machine, pointer + size, args)?;
    let behind = pointer + size * (args.len() as u64 + 2);
    let (env_start, env_end) = range(machine, behind, env).unwrap_or((arg_end, arg_end));
    let stat = ProcessStat::own()?;
    let field = |number| stat.number(number);
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
    let (option, size) = (libc::PR_SET_MM_MAP, size_of::<Map>());
    // SAFETY: a structure of ours; everything except what is shown is unchanged, and this process has one
    // thread.
    let result = unsafe { libc::prctl(libc::PR_SET_MM, option, &raw const map, size, 0) };
    (result == 0).then_some(())
}
