//! What a thread that serves a guest gives up, and whom it acts for.
//!
//! Only the thread changes: the rest of the process keeps its umask and capabilities.

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, set_capabilities, unshare_unsafe,
};
use std::cell::Cell;
use std::io;

/// What is left of root's capabilities: those over files, and the two by which a thread acts for another user. Without
/// `CAP_FSETID` the kernel itself takes the set-user-ID bit off a file that is written; without `CAP_MKNOD` there are no new device nodes.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);
/// What a thread keeps that acts for another user: the guest's kernel has checked permissions, and knows groups that
/// are not known here.
const KEPT_FOR_OTHERS: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);

thread_local! {
    static PREPARED: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread a umask of its own, which is 0, as the guest has applied its own already; and takes all
/// capabilities from it but those that it needs.
pub fn prepare() -> Result<(), Errno> {
    if PREPARED.get() {
        return Ok(());
    }
    // SAFETY: descriptors stay shared; what this thread has of its own afterwards is the umask, the working directory and the root.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    rustix::process::umask(Mode::empty());
    let kept = capabilities(None)?.permitted & KEPT;
    limit(kept, kept)?;
    PREPARED.set(true);
    Ok(())
}

fn limit(permitted: CapabilitySet, effective: CapabilitySet) -> Result<(), Errno> {
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })
}

/// Whether this process may give files to other users.
pub fn is_privileged() -> bool {
    let wanted = CapabilitySet::CHOWN | CapabilitySet::SETUID | CapabilitySet::SETGID;
    rustix::process::geteuid().is_root()
        && capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// The thread acts for another user until this is dropped: what it creates belongs to them from the first moment.
pub struct ActingFor {
    permitted: CapabilitySet,
}

impl ActingFor {
    /// Acts for this user and group.
    pub fn user(uid: u32, gid: u32) -> Result<ActingFor, Errno> {
        let permitted = capabilities(None)?.permitted;
        let acting = ActingFor { permitted };
        set_ids(uid, gid)?;
        // The change has taken the capabilities over files.
        limit(permitted, permitted & KEPT_FOR_OTHERS)?;
        Ok(acting)
    }

    /// Stays who it is, but belongs to this group: whoever does not cannot make a directory set-group-ID.
    pub fn group(gid: u32) -> Result<ActingFor, Errno> {
        let acting = ActingFor { permitted: capabilities(None)?.permitted };
        set_ids(0, gid)?;
        Ok(acting)
    }
}

impl Drop for ActingFor {
    fn drop(&mut self) {
        // Neither can fail: IDs of the process's own and capabilities that are permitted.
        let _ = set_ids(0, 0);
        let _ = limit(self.permitted, self.permitted);
    }
}

/// Sets the IDs of this thread that count for files. The calls do not report errors: asking again does.
fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: both change two numbers of the calling thread; -1 changes nothing and returns what there is.
    let (group, user) = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX))
    };
    if (user as u32, group as u32) == (uid, gid) { Ok(()) } else { Err(Errno::PERM) }
}

/// The host's reason as an error of the standard library.
pub fn host(error: Errno) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error())
}
