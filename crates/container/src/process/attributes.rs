//! Resource limits and scheduling attributes.

use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::{
    IOPriorityClass, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    PosixRlimit, PosixRlimitType, Process, Scheduler,
};

/// The number of a resource limit.
fn resource(kind: PosixRlimitType) -> u32 {
    use PosixRlimitType::*;
    let all = [
        (RlimitCpu, libc::RLIMIT_CPU),
        (RlimitFsize, libc::RLIMIT_FSIZE),
        (RlimitData, libc::RLIMIT_DATA),
        (RlimitStack, libc::RLIMIT_STACK),
        (RlimitCore, libc::RLIMIT_CORE),
        (RlimitRss, libc::RLIMIT_RSS),
        (RlimitNproc, libc::RLIMIT_NPROC),
        (RlimitNofile, libc::RLIMIT_NOFILE),
        (RlimitMemlock, libc::RLIMIT_MEMLOCK),
        (RlimitAs, libc::RLIMIT_AS),
        (RlimitLocks, libc::RLIMIT_LOCKS),
        (RlimitSigpending, libc::RLIMIT_SIGPENDING),
        (RlimitMsgqueue, libc::RLIMIT_MSGQUEUE),
        (RlimitNice, libc::RLIMIT_NICE),
        (RlimitRtprio, libc::RLIMIT_RTPRIO),
        (RlimitRttime, libc::RLIMIT_RTTIME),
    ];
    all.into_iter().find(|(k, _)| *k == kind).map_or(u32::MAX, |(_, number)| number)
}

/// Sets resource limits.
///
/// # Errors
/// The host does not allow them.
pub fn limits(limits: &[PosixRlimit]) -> Result<()> {
    limits.iter().try_for_each(|limit| {
        let value = libc::rlimit64 { rlim_cur: limit.soft(), rlim_max: limit.hard() };
        // SAFETY: reads a structure of ours.
        let set = unsafe { libc::setrlimit64(resource(limit.typ()) as _, &value) };
        sys::check(set.into()).map(drop).with(|| format!("process.rlimits {}", limit.typ()))
    })
}

/// Sets CPU and I/O priorities, and the personality.
///
/// # Errors
/// The host does not allow them.
pub fn queues(process: &Process, personality: &Option<LinuxPersonality>) -> Result<()> {
    if let Some(io) = process.io_priority() {
        let class = match io.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let level = u32::try_from(io.priority()).ok().filter(|n| *n < 8);
        let level = level.ok_or_else(|| Error::refused("process.ioPriority.priority has to be 0 to 7"))?;
        // `IOPRIO_WHO_PROCESS`, this one; the class in the bits above 13 (linux/ioprio.h).
        // SAFETY: only changes this process.
        let set = unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, class << 13 | level) };
        sys::check(set).context("process.ioPriority")?;
    }
    if let Some(scheduler) = process.scheduler() {
        schedule(scheduler)?;
    }
    if let Some(personality) = personality {
        let domain = match personality.domain() {
            // linux/personality.h.
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        };
        // SAFETY: only changes this process.
        sys::check(unsafe { libc::personality(domain) }.into()).context("linux.personality")?;
    }
    Ok(())
}

fn schedule(scheduler: &Scheduler) -> Result<()> {
    use LinuxSchedulerPolicy::*;
    let policy = match scheduler.policy() {
        SchedOther => libc::SCHED_OTHER,
        SchedFifo => libc::SCHED_FIFO,
        SchedRr => libc::SCHED_RR,
        SchedBatch => libc::SCHED_BATCH,
        // linux/sched.h; the C library has no name for it.
        SchedIso => 4,
        SchedIdle => libc::SCHED_IDLE,
        SchedDeadline => libc::SCHED_DEADLINE,
    };
    let flag = |f: &LinuxSchedulerFlag| match f {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    /// The first version of `struct sched_attr` (linux/sched/types.h).
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: policy as u32,
        flags: scheduler.flags().iter().flatten().map(flag).fold(0, |a, b| a | b),
        nice: scheduler.nice().unwrap_or(0),
        priority: scheduler.priority().and_then(|p| u32::try_from(p).ok()).unwrap_or(0),
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    };
    // SAFETY: reads a structure of ours, whose size is in it.
    sys::check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attributes, 0) })
        .context("process.scheduler")?;
    Ok(())
}
