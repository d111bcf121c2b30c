//! The process inside, from Trine's second `exec` to that of the container's program.
//!
//! It has one thread, its channel to the runtime, and Trine's own executable. Both descriptors close with the
//! `exec` of the container's program, as does everything else it opens.

use crate::channel::{Channel, Frame, Kind};
use crate::error::{Context, Error, Result};
use crate::plan::{Plan, Task};
use crate::process::caps::Sets;
use crate::process::execute::Program;
use crate::process::labels::{self, Labels};
use crate::process::tty::Terminal;
use crate::process::{attributes, user};
use crate::rootfs::paths::{Make, Root};
use crate::rootfs::{Place, devices, masks, mounts, pivot};
use crate::seccomp::{self, Filter};
use crate::state::Status;
use crate::{hooks, sys};
use oci_spec::runtime::{Linux, Process, Spec};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Everything that is ready before the program starts.
struct Prepared {
    plan: Plan,
    process: Process,
    program: Program,
    labels: Labels,
    filter: Option<Filter>,
    /// The capabilities to be set, and those that this process has.
    capabilities: (Sets, Sets),
    trine: OwnedFd,
}

/// The hidden verb [`crate::launch::VERB`]: its arguments are descriptor numbers. Returns only if something
/// failed, with an exit code; the runtime has been told the reason.
pub fn run(arguments: &[String]) -> i32 {
    let [channel, trine, rest @ ..] = arguments else { return 2 };
    let (Some(channel), Some(trine)) = (adopt(channel), adopt(trine)) else { return 2 };
    if let [rest] = rest {
        // This process is not inside yet.
        crate::launch::join(&channel, trine, rest);
        return 2;
    }
    let mut channel = Channel::from_fd(channel);
    begin();
    let Err(error) = steps(&mut channel, trine);
    if channel.fail(&error).is_err() {
        eprintln!("trine: {error}");
    }
    1
}

/// A descriptor that was inherited.
fn adopt(number: &str) -> Option<OwnedFd> {
    number.parse::<RawFd>().ok().and_then(|fd| sys::adopt(fd).ok())
}

/// Resets the signal state that the runtime changed; no process inside may inspect this one.
fn begin() {
    // SAFETY: changes this process; the set is ours.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        // Signals that the caller ignored are reset, too (a shell's background jobs ignore Ctrl-C, Trine
        // itself SIGPIPE). For signals that cannot be changed this fails, and there is nothing to do.
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // A container has a session of its own; otherwise it could type into the caller's terminal.
        libc::setsid();
    }
}

fn steps(channel: &mut Channel, trine: OwnedFd) -> Result<std::convert::Infallible> {
    let Frame { bytes, mut fds, .. } = channel.expect(Kind::Plan)?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(Error::refused)?;
    let listener = plan.listens.then(|| if fds.is_empty() { None } else { Some(fds.remove(0)) }).flatten();
    let prepared = match plan.task {
        Task::Create => create(plan, channel, fds, trine)?,
        Task::Exec => exec(plan, channel, trine)?,
    };
    channel.expect(Kind::Go)?;
    match listener {
        None => prepared.start(channel),
        Some(listener) => {
            let mut starter = wait_for_start(listener)?;
            match prepared.start(&mut starter) {
                Ok(never) => match never {},
                Err(error) => {
                    drop(starter.fail(&error));
                    Err(error)
                }
            }
        }
    }
}

/// Builds the container.
fn create(plan: Plan, channel: &mut Channel, trees: Vec<OwnedFd>, trine: OwnedFd) -> Result<Prepared> {
    let empty = Linux::default();
    let linux = plan.spec.linux().as_ref().unwrap_or(&empty);
    let process = process(&plan.spec)?;
    if plan.keyring {
        keyring(&plan.state.id, process)?;
    }
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let own_groups = crate::namespaces::all(namespaces)? & libc::CLONE_NEWCGROUP != 0;
    if own_groups
        && crate::namespaces::path(namespaces, oci_spec::runtime::LinuxNamespaceType::Cgroup).is_none()
    {
        // Only now: this process is in the groups that are to be the root of its cgroup namespace.
        // SAFETY: changes this process's namespaces.
        sys::check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into())
            .context("cannot make a namespace of control groups")?;
    }
    let labels = Labels::open(process)?;
    names(&plan.spec)?;
    if plan.new & libc::CLONE_NEWNET != 0 {
        loopback()?;
    }
    settings(linux)?;
    if let Some(adjust) = process.oom_score_adj() {
        oom(adjust, plan.users)?;
    }
    let asked = pivot::propagation(linux.rootfs_propagation().as_deref())?;
    let made = plan.new & libc::CLONE_NEWNS != 0;
    let root = match made {
        true => Root::new(pivot::begin(&plan, asked, channel)?),
        false => Root::new(sys::open("/", libc::O_PATH | libc::O_DIRECTORY).context("cannot open the root")?),
    };
    let place = Place {
        root,
        bundle: &plan.state.bundle,
        label: linux.mount_label().as_deref().filter(|l| !l.is_empty()),
        new: plan.new,
        users: plan.users,
        own_groups,
        hierarchies: &plan.hierarchies,
    };
    let hosts_dev = made && furnish(&plan, &place, linux, trees)?;
    if plan.hooks {
        channel.send(Kind::Hooks, &[], &[])?;
        channel.expect(Kind::Go)?;
    }
    if let Some(h) = plan.spec.hooks() {
        hooks::run("createContainer", h.create_container(), &plan.state, Status::Creating)?;
    }
    let terminal = terminal(&place, process, made, hosts_dev)?;
    match place.root.make(process.cwd(), Make::Directory) {
        // A directory that only the user may search counts as existing.
        Err(Error::System { error, .. }) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        made => drop(made?),
    }
    if made {
        masks::read_only(&place, linux.readonly_paths().as_deref().unwrap_or_default())?;
        masks::hide(&place, linux.masked_paths().as_deref().unwrap_or_default())?;
        if plan.spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true)) {
            masks::root(&place)?;
        }
        pivot::finish(place.root.fd(), asked, plan.pivot)?;
    }
    let program = Program::find(&place.root, process)?;
    prepared(channel, terminal, process.clone(), plan, program, labels, trine)
}

/// Makes mounts and devices; returns whether `/dev` is the host's.
fn furnish(plan: &Plan, place: &Place, linux: &Linux, trees: Vec<OwnedFd>) -> Result<bool> {
    std::env::set_current_dir(&plan.state.bundle).context("cannot enter the bundle")?;
    let mut trees = plan.trees.iter().copied().zip(trees).peekable();
    // The kernel is asked after each mount: because of an image's links, a mount of any name may be there.
    let dev = || mounts::mount_at(place, Path::new("/dev"));
    let (mut before, mut hosts) = (dev(), false);
    for (i, mount) in plan.spec.mounts().iter().flatten().enumerate() {
        let tree = trees.next_if(|t| t.0 == i).map(|t| t.1);
        let bind =
            tree.is_some() || mounts::parse(mount)?.is_bind() || mount.typ().as_deref() == Some("bind");
        mounts::make(place, mount, tree)?;
        let now = dev();
        if now != before {
            (before, hosts) = (now, bind);
        }
    }
    // If `/dev` is the host's, so are its devices, and nothing is created in it.
    if !hosts {
        devices::make(place, linux.devices().as_deref().unwrap_or_default())?;
    }
    Ok(hosts)
}

/// Enters a container whose namespaces this process has joined.
fn exec(plan: Plan, channel: &mut Channel, trine: OwnedFd) -> Result<Prepared> {
    let process = process(&plan.spec)?;
    if plan.keyring {
        keyring(&plan.state.id, process)?;
    }
    let labels = Labels::open(process)?;
    if let Some(adjust) = process.oom_score_adj() {
        oom(adjust, plan.users)?;
    }
    let root = Root::new(sys::open("/", libc::O_PATH | libc::O_DIRECTORY).context("cannot open the root")?);
    let terminal = match process.terminal() {
        Some(true) => Some(Terminal::open(&root, process)?),
        _ => None,
    };
    let program = Program::find(&root, process)?;
    prepared(channel, terminal, process.clone(), plan, program, labels, trine)
}

fn process(spec: &Spec) -> Result<&Process> {
    spec.process().as_ref().ok_or_else(|| Error::refused("the section 'process' is missing"))
}

/// Creates a session keyring: the caller's keys must not be accessible in the container.
fn keyring(id: &str, process: &Process) -> Result<()> {
    if let Some(label) = process.selinux_label().as_ref().filter(|l| !l.is_empty()) {
        let mut file = labels::writable(&labels::procfs()?, "self/attr/keycreate")?;
        file.write_all(label.as_bytes()).context("process.selinuxLabel: the session's keyring")?;
    }
    let name = CString::new(format!("_ses.{id}")).unwrap_or_default();
    // SAFETY: reads a string of ours.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    match sys::check(joined) {
        // A kernel without keys, or under a filter around this runtime, has none to inherit.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => {
            let ring =
                other.context("cannot make a session keyring (--no-new-keyring keeps the caller's)")?;
            share(ring as i32);
            Ok(())
        }
    }
}

/// Lets processes of the same user join a keyring by its name: processes from `exec` share the first
/// process's keyring.
fn share(ring: i32) {
    // The permissions of a new keyring (security/keys/process_keys.c), plus search permission for its user
    // (keyctl_setperm(3)).
    let rights: u32 = 0x3f13_0000 | 0x0008_0000;
    // An existing keyring has them already, and may belong to another user.
    // SAFETY: changes a keyring's rights.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, ring, rights) };
}

/// Brings up the loopback interface of a new network namespace, as runc does: programs inside do not expect
/// to do it.
fn loopback() -> Result<()> {
    let what = "cannot bring the loopback of the container's network up";
    // SAFETY: makes a descriptor.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let socket = match sys::check(socket.into()) {
        // A kernel without this protocol does not need it.
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(()),
        other => sys::adopt(other.context(what)? as RawFd).context(what)?,
    };
    // SAFETY: a structure of integers, which the calls read and write.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        sys::check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request).into())
            .context(what)?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        sys::check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request).into())
            .map(drop)
            .context(what)
    }
}

/// Sets host and domain name.
fn names(spec: &Spec) -> Result<()> {
    if let Some(name) = spec.hostname().as_ref().filter(|n| !n.is_empty()) {
        // SAFETY: reads a string of ours, of this length.
        let set = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
        sys::check(set.into()).with(|| format!("hostname '{name}'"))?;
    }
    if let Some(name) = spec.domainname().as_ref().filter(|n| !n.is_empty()) {
        // SAFETY: as above.
        let set = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
        sys::check(set.into()).with(|| format!("domainname '{name}'"))?;
    }
    Ok(())
}

/// Sets kernel parameters of this process's namespaces, through the host's procfs.
fn settings(linux: &Linux) -> Result<()> {
    let Some(list) = linux.sysctl().as_ref().filter(|l| !l.is_empty()) else { return Ok(()) };
    let proc = labels::procfs()?;
    for (name, value) in list {
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        let mut file = labels::writable(&proc, &format!("sys/{path}"))?;
        file.write_all(value.as_bytes()).with(|| format!("linux.sysctl: {name} = '{value}'"))?;
    }
    Ok(())
}

fn oom(adjust: i32, users: bool) -> Result<()> {
    let mut file = labels::writable(&labels::procfs()?, "self/oom_score_adj")?;
    match file.write_all(adjust.to_string().as_bytes()) {
        // A process without privileges cannot make itself less likely to be killed.
        Err(e) if users && e.raw_os_error() == Some(libc::EACCES) => Ok(()),
        other => other.with(|| format!("process.oomScoreAdj {adjust}")),
    }
}

fn terminal(place: &Place, process: &Process, made: bool, hosts_dev: bool) -> Result<Option<Terminal>> {
    if process.terminal() != Some(true) {
        return Ok(None);
    }
    let terminal = Terminal::open(&place.root, process)?;
    if made {
        masks::console(place, &terminal.slave, hosts_dev)?;
    }
    Ok(Some(terminal))
}

/// Determines the program's identity and capabilities, and reports that everything is ready. Sends the
/// terminal's other end to the runtime, and remarks about settings that were left out.
fn prepared(
    channel: &mut Channel,
    terminal: Option<Terminal>,
    process: Process,
    plan: Plan,
    program: Program,
    labels: Labels,
    trine: OwnedFd,
) -> Result<Prepared> {
    let held = Sets::current().context("cannot read this process's capabilities")?;
    // A process without capabilities gets none.
    let (sets, notes) = match process.capabilities() {
        Some(asked) => Sets::new(asked, &held),
        None => Default::default(),
    };
    let profile = plan.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let filter = profile.map(seccomp::compile).transpose()?;
    let notes = serde_json::to_vec(&notes).map_err(Error::refused)?;
    match &terminal {
        Some(terminal) => {
            terminal.become_stdio()?;
            channel.send(Kind::Ready, &notes, &[terminal.master.as_raw_fd()])?;
        }
        None => channel.send(Kind::Ready, &notes, &[])?,
    }
    Ok(Prepared { plan, process, program, labels, filter, capabilities: (sets, held), trine })
}

/// Installs the filter; the other side of the channel passes the descriptor to the listener.
fn filter(filter: &Option<Filter>, channel: &mut Channel) -> Result<()> {
    let Some(filter) = filter else { return Ok(()) };
    let listener = seccomp::load(filter).context("linux.seccomp")?;
    if let Some(listener) = listener {
        channel.send_plain(Kind::Notify, &listener.as_raw_fd().to_le_bytes())?;
        channel.expect(Kind::Go)?;
    }
    Ok(())
}

/// Waits until a command starts the program; returns the connection to that command.
fn wait_for_start(listener: OwnedFd) -> Result<Channel> {
    loop {
        let (none, size) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: makes a descriptor; nothing is written.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), none, size, libc::SOCK_CLOEXEC) };
        let Ok(fd) = sys::check(fd.into()) else {
            let error = std::io::Error::last_os_error();
            if error.kind() == std::io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error).context("cannot wait for the start");
        };
        // SAFETY: just made; nobody else owns it.
        let mut channel = Channel::from_fd(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        // A connection that ends without a message only checked whether this process waits.
        let asked = channel.receive().is_ok_and(|f| f.is_some_and(|f| f.kind == Kind::Go));
        if asked && channel.send(Kind::Ready, &[], &[]).is_ok() {
            return Ok(channel);
        }
    }
}

impl Prepared {
    /// Gives up all privileges that the program may not have, and executes it.
    fn start(self, channel: &mut Channel) -> Result<std::convert::Infallible> {
        let Prepared { plan, process, program, labels, filter: profile, capabilities, trine } = self;
        if let Some(h) = plan.spec.hooks().as_ref().filter(|_| plan.task == Task::Create) {
            hooks::run("startContainer", h.start_container(), &plan.state, Status::Created)?;
        }
        let personality = plan.spec.linux().as_ref().and_then(|l| l.personality().clone());
        let own =
            process.env().iter().flatten().any(|e| e.strip_prefix("HOME=").is_some_and(|h| !h.is_empty()));
        let home =
            if own { None } else { Some([b"HOME=", user::home(process.user().uid()).as_bytes()].concat()) };
        let home = home.and_then(|h| CString::new(h).ok());
        attributes::queues(&process, &personality)?;
        labels.apply()?;
        user::own_stdio(process.user().uid());
        let entered = enter_as_root(&process)?;
        // From here on there may be little memory and no free descriptor.
        attributes::limits(process.rlimits().as_deref().unwrap_or_default())?;
        let no_new = process.no_new_privileges() == Some(true);
        if !no_new {
            // This needs CAP_SYS_ADMIN, which will be dropped.
            filter(&profile, channel)?;
        }
        let (sets, held) = capabilities;
        sets.before_ids(&held).context("process.capabilities.bounding")?;
        user::become_user(process.user(), plan.may_set_groups)?;
        sets.after_ids().context("process.capabilities")?;
        if !entered {
            // Root may not enter a directory that the user may, as on a network file system.
            enter(process.cwd())?;
        }
        close_others(plan.preserve);
        if no_new {
            // SAFETY: changes this process.
            sys::check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
                .context("process.noNewPrivileges")?;
            // The last call but one, so that the filter needs to allow only what the program itself needs.
            filter(&profile, channel)?;
        }
        Err(program.execute(&process, &trine, home))
    }
}

/// Changes to the program's working directory, which is opened inside the root and nowhere else
/// (CVE-2024-21626).
fn enter(path: &Path) -> Result<()> {
    let what = || format!("process.cwd {}", path.display());
    let root = sys::open("/", libc::O_PATH | libc::O_DIRECTORY).with(what)?;
    let name = sys::text(path).with(what)?;
    let fd = sys::open_in_root(root.as_raw_fd(), &name, libc::O_PATH | libc::O_DIRECTORY).with(what)?;
    // SAFETY: changes this process's directory.
    sys::check(unsafe { libc::fchdir(fd.as_raw_fd()) }.into()).map(drop).with(what)
}

/// Changes to the directory with the permissions of the runtime, which may enter directories that the user
/// may not; returns whether that worked. If it did not, the user's permissions are tried, as with runc.
fn enter_as_root(process: &Process) -> Result<bool> {
    match enter(process.cwd()) {
        Ok(()) => Ok(true),
        Err(Error::System { error, .. }) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(false),
        Err(other) => Err(other),
    }
}

/// Makes all descriptors that are not for the program close with the `exec`.
fn close_others(preserve: u32) {
    // SAFETY: changes descriptors' flags.
    unsafe { libc::syscall(libc::SYS_close_range, 3 + preserve, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}
