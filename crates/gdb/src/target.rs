//! Translates `gdbstub`'s requests for the debuggee.

use crate::files::Files;
use crate::{Debuggee, Go, Watch, signals};
use gdbstub::common::{Pid, Signal, Tid};
use gdbstub::target::ext::auxv::{Auxv, AuxvOps};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::*;
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::*;
use gdbstub::target::ext::exec_file::{ExecFile, ExecFileOps};
use gdbstub::target::ext::host_io::HostIoOps;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps, outputln};
use gdbstub::target::ext::target_description_xml_override::*;
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{TargetError, TargetResult};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;

/// A CPU of which only the debuggee's [`crate::Layout`] knows the registers.
pub enum Any {}

/// Values of all registers in the wire format: little-endian, each as long as [`crate::Layout::bytes`] says.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Values(Vec<u8>);

/// The number of a register.
#[derive(Debug)]
pub struct Number(usize);

impl gdbstub::arch::RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Number, Option<NonZeroUsize>)> {
        Some((Number(id), None))
    }
    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

impl gdbstub::arch::Registers for Values {
    type ProgramCounter = u64;

    /// Never called: breakpoints leave the PC where it must be.
    fn pc(&self) -> u64 {
        0
    }
    fn gdb_serialize(&self, write_byte: impl FnMut(Option<u8>)) {
        self.0.iter().copied().map(Some).for_each(write_byte);
    }
    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = bytes.to_vec();
        Ok(())
    }
}

impl gdbstub::arch::Arch for Any {
    type Usize = u64;
    type Registers = Values;
    type BreakpointKind = usize;
    type RegId = Number;
}

/// The target that `gdbstub` works on.
pub struct Target<'a> {
    /// The debuggee.
    pub debuggee: &'a dyn Debuggee,
    /// The files that gdb has open.
    pub files: Files,
    actions: Vec<(usize, Go, i32)>,
    rest: Go,
}

impl Target<'_> {
    /// Creates a target for a new connection.
    pub fn new(debuggee: &dyn Debuggee) -> Target<'_> {
        Target { debuggee, files: Files::default(), actions: Vec::new(), rest: Go::Continue }
    }
}

/// The number that these bytes are, the least significant one first.
fn value_of(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u128::from(byte))
}

/// Copies the part that gdb asks for.
fn part(whole: &[u8], offset: u64, length: usize, to: &mut [u8]) -> usize {
    let rest = whole.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let n = rest.len().min(length).min(to.len());
    to[..n].copy_from_slice(&rest[..n]);
    n
}

/// The number of a signal for a thread that continues.
fn number(signal: Option<Signal>) -> i32 {
    signal.map_or(0, signals::to_linux)
}

impl gdbstub::target::Target for Target<'_> {
    type Arch = Any;
    type Error = String;

    fn base_ops(&mut self) -> BaseOps<'_, Any, String> {
        BaseOps::MultiThread(self)
    }
    fn use_lldb_register_info(&self) -> bool {
        false
    }
    // Children run without a debugger: gdb is not told of them.
    fn use_fork_stop_reason(&self) -> bool {
        false
    }
    fn use_vfork_stop_reason(&self) -> bool {
        false
    }
    fn use_vforkdone_stop_reason(&self) -> bool {
        false
    }
    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        if self.debuggee.has_files() { Some(self) } else { None }
    }
    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        if self.debuggee.has_files() { Some(self) } else { None }
    }
    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
    fn support_auxv(&mut self) -> Option<AuxvOps<'_, Self>> {
        if self.debuggee.has_files() { Some(self) } else { None }
    }
}

impl MultiThreadBase for Target<'_> {
    fn read_registers(&mut self, values: &mut Values, tid: Tid) -> TargetResult<(), Self> {
        let list = self.debuggee.registers(tid.get()).ok_or(())?;
        let layout = self.debuggee.layout();
        for (register, value) in list.iter().enumerate() {
            values.0.extend(&value.to_le_bytes()[..layout.bytes(register).ok_or(())?]);
        }
        Ok(())
    }

    fn write_registers(&mut self, values: &Values, tid: Tid) -> TargetResult<(), Self> {
        let (layout, mut rest) = (self.debuggee.layout(), &values.0[..]);
        for register in 0.. {
            if rest.is_empty() {
                break;
            }
            let bytes = layout.bytes(register).ok_or(())?;
            let (value, behind) = rest.split_at_checked(bytes).ok_or(())?;
            if !self.debuggee.set_register(tid.get(), register, value_of(value)) {
                return Err(TargetError::NonFatal);
            }
            rest = behind;
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, at: u64, to: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.debuggee.read(tid.get(), at, to) {
            0 if !to.is_empty() => Err(TargetError::NonFatal),
            n => Ok(n),
        }
    }

    fn write_addrs(&mut self, at: u64, bytes: &[u8], tid: Tid) -> TargetResult<(), Self> {
        if self.debuggee.write(tid.get(), at, bytes) { Ok(()) } else { Err(TargetError::NonFatal) }
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(Tid)) -> Result<(), String> {
        self.debuggee.threads().into_iter().filter_map(NonZeroUsize::new).for_each(each);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Target<'_> {
    fn read_register(&mut self, tid: Tid, register: Number, to: &mut [u8]) -> TargetResult<usize, Self> {
        let values = self.debuggee.registers(tid.get()).ok_or(())?;
        let value = values.get(register.0).ok_or(())?;
        let bytes = self.debuggee.layout().bytes(register.0).ok_or(())?;
        Ok(part(&value.to_le_bytes(), 0, bytes, to))
    }

    fn write_register(&mut self, tid: Tid, register: Number, bytes: &[u8]) -> TargetResult<(), Self> {
        let known = self.debuggee.layout().bytes(register.0).ok_or(())?;
        let value = value_of(&bytes[..bytes.len().min(known)]);
        let done = self.debuggee.set_register(tid.get(), register.0, value);
        if done { Ok(()) } else { Err(TargetError::NonFatal) }
    }
}

impl MultiThreadResume for Target<'_> {
    fn clear_resume_actions(&mut self) -> Result<(), String> {
        self.actions.clear();
        self.rest = Go::Continue;
        Ok(())
    }

    fn set_resume_action_continue(&mut self, tid: Tid, signal: Option<Signal>) -> Result<(), String> {
        self.actions.push((tid.get(), Go::Continue, number(signal)));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), String> {
        self.debuggee.resume(&self.actions, self.rest);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Target<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, signal: Option<Signal>) -> Result<(), String> {
        self.actions.push((tid.get(), Go::Step, number(signal)));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Target<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), String> {
        self.rest = Go::Hold;
        Ok(())
    }
}

impl Breakpoints for Target<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }
    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Target<'_> {
    fn add_sw_breakpoint(&mut self, at: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_breakpoint(at, true))
    }
    fn remove_sw_breakpoint(&mut self, at: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_breakpoint(at, false))
    }
}

impl HwBreakpoint for Target<'_> {
    fn add_hw_breakpoint(&mut self, at: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_breakpoint(at, true))
    }
    fn remove_hw_breakpoint(&mut self, at: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_breakpoint(at, false))
    }
}

fn watch(kind: WatchKind) -> Watch {
    match kind {
        WatchKind::Write => Watch::Write,
        WatchKind::Read => Watch::Read,
        WatchKind::ReadWrite => Watch::Access,
    }
}

impl HwWatchpoint for Target<'_> {
    fn add_hw_watchpoint(&mut self, at: u64, bytes: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_watchpoint(at, bytes, watch(kind), true))
    }
    fn remove_hw_watchpoint(&mut self, at: u64, bytes: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        Ok(self.debuggee.set_watchpoint(at, bytes, watch(kind), false))
    }
}

impl TargetDescriptionXmlOverride for Target<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        to: &mut [u8],
    ) -> TargetResult<usize, Self> {
        match annex {
            b"target.xml" => Ok(part(self.debuggee.layout().xml().as_bytes(), offset, length, to)),
            _ => Err(TargetError::NonFatal),
        }
    }
}

impl Auxv for Target<'_> {
    fn get_auxv(&self, offset: u64, length: usize, to: &mut [u8]) -> TargetResult<usize, Self> {
        Ok(part(&self.debuggee.auxv(), offset, length, to))
    }
}

impl ExecFile for Target<'_> {
    fn get_exec_file(
        &self,
        _: Option<Pid>,
        offset: u64,
        length: usize,
        to: &mut [u8],
    ) -> TargetResult<usize, Self> {
        Ok(part(self.debuggee.executable().as_os_str().as_bytes(), offset, length, to))
    }
}

impl ThreadExtraInfo for Target<'_> {
    fn thread_extra_info(&self, tid: Tid, to: &mut [u8]) -> Result<usize, String> {
        Ok(part(self.debuggee.thread_name(tid.get()).as_bytes(), 0, usize::MAX, to))
    }
}

impl MonitorCmd for Target<'_> {
    fn handle_monitor_cmd(&mut self, line: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), String> {
        match self.debuggee.monitor(&String::from_utf8_lossy(line)) {
            Some(text) => out.write_raw(text.as_bytes()),
            None => outputln!(out, "a program has no monitor commands"),
        }
        Ok(())
    }
}
