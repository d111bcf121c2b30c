//! The state that the threads of a program share, and the start of its first thread.

use crate::core::ThreadRendezvous;
use crate::debug::Debug;
use crate::elf::{self, Image};
use crate::error::ProgramError;
use crate::guests;
use crate::pending::Pending;
use crate::shown;
use crate::signal::{self, Actions};
use crate::stack;
use crate::symbols::Symbols;
use crate::thread::Thread;
use crate::vdso;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use trine_base::{Clock, HostClock};
use trine_engine::{Direct, PerfMap, Tier, Translations, perf};
use trine_gdb::{Address, GdbListener, Layout};
use trine_linux::abi::{GuestAbi, Machine};
use trine_linux::files::Names;
use trine_linux::proc::Executable;
use trine_linux::space::{Mapping, PAGE, Space};
use trine_linux::{Guest, own};

/// How to run a program.
#[derive(Clone, Debug)]
pub struct ProgramOptions {
    /// The host's path of the executable.
    pub path: PathBuf,
    /// The executable's descriptor, if the kernel or a program opened it: it may have no path here, or one
    /// that this process may execute but not read.
    pub opened: Option<Arc<OwnedFd>>,
    /// Whether the host's kernel started it (`trine binfmt`), and would start others.
    pub by_kernel: bool,
    /// Its arguments, beginning with argument 0.
    pub args: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
    /// The root directory in which libraries and other absolute paths are looked up first.
    pub sysroot: Option<PathBuf>,
    /// How instructions are executed.
    pub tier: Tier,
    /// Whether to print system calls to standard error.
    pub strace: bool,
    /// Whether to print statistics of the engine to standard error when a thread ends.
    pub stats: bool,
    /// Whether to record generated code in a map file for `perf`.
    pub perf_map: Option<perf::Start>,
    /// Where to wait for gdb.
    pub gdb: Option<Address>,
}

/// A program for the CPU `A`.
pub struct Process<A: GuestAbi> {
    /// The state for system calls.
    pub guest: Guest,
    /// The actions of signals; a child may share them (`CLONE_SIGHAND`).
    pub actions: Arc<Mutex<Actions>>,
    /// Signals that are kept pending here and not on the host.
    pub pending: Pending,
    /// Number of threads that have not ended.
    pub threads: AtomicUsize,
    /// The translations of its code, for all threads, and for processes that share its memory.
    pub translations: Arc<Translations<A, Direct>>,
    /// Whether its memory also belongs to another process.
    pub borrows: bool,
    /// Address of the code that returns from a signal handler.
    pub trampoline: u64,
    /// The program's clock.
    pub clock: Arc<dyn Clock>,
    /// The rendezvous of its threads when it dies.
    pub rendezvous: ThreadRendezvous,
    /// Where its generated code is recorded.
    pub perf: Option<Arc<PerfMap>>,
    /// The debugger.
    pub debug: Option<Arc<Debug>>,
    /// How it is run.
    pub options: ProgramOptions,
}

/// Maps the vDSO; returns its address and that of the code that returns from signal handlers (0 if there is
/// none).
fn map_vdso(machine: &Machine, space: &Space) -> Result<(u64, u64), ProgramError> {
    let vdso = vdso::build(machine);
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32;
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    let page = Mapping { at: 0, size: PAGE, protection, flags, fd: -1, offset: 0 };
    let refused = |e: trine_linux::Errno| {
        ProgramError::Other(format!("cannot map memory for the program (error {})", e.0))
    };
    let at = space.map(&page).map_err(refused)?;
    let _ = trine_engine::direct::write(at, &vdso.bytes);
    space.protect(at, PAGE, (libc::PROT_READ | libc::PROT_EXEC) as u32).map_err(refused)?;
    space.name(at, "[vdso]");
    Ok((at, vdso.sigreturn.map_or(0, |offset| at + offset)))
}

fn open(address: &Address) -> Result<GdbListener, ProgramError> {
    GdbListener::open(address).map_err(|error| ProgramError::Gdb { address: address.clone(), error })
}

/// Creates the map file of the program in `space`.
fn perf_map(start: perf::Start, space: &Arc<Space>) -> Result<PerfMap, ProgramError> {
    let mut symbols = Symbols::new(space.clone());
    PerfMap::create(start, own::LOWEST, Box::new(move |pc| symbols.name(pc)))
        .map_err(|error| ProgramError::PerfMap { path: perf::path(), error })
}

/// Runs a program to its end, which is also the end of this process.
pub fn run(options: ProgramOptions) -> Result<Infallible, ProgramError> {
    let image = Image::open(&options.path, options.opened.as_deref())?;
    match guests::find(image.cpu()) {
        Some(guest) => (guest.run)(options, image),
        // Its headers were checked for that.
        None => Err(ProgramError::Other(format!(
            "{}: this executable is for another CPU",
            options.path.display()
        ))),
    }
}

/// Runs a program for the CPU `A`.
pub(crate) fn run_for<A: GuestAbi>(
    mut options: ProgramOptions,
    image: Image,
) -> Result<Infallible, ProgramError> {
    let listener = options.gdb.as_ref().map(open).transpose()?;
    let debug = listener.as_ref().map(|d| Debug::new(Layout::new(A::target()), d)).transpose();
    let debug = debug.map_err(|e| ProgramError::Other(format!("cannot start the debugger: {e}")))?;
    let (actions, machine) = (signal::install(), A::machine());
    let mut names =
        Names { sysroot: options.sysroot.clone(), args: options.args.clone(), ..Names::default() };
    // The kernel's link shows the file itself, whatever links led to it, and whether or not its path may be
    // opened.
    let opened = options.opened.take();
    let by_link = opened.as_ref().map(|fd| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())));
    names.kept = Executable::keep(by_link.as_deref().unwrap_or(&options.path));
    let link = by_link.and_then(|link| fs::read_link(link).ok());
    names.exe = link.or_else(|| fs::canonicalize(&options.path).ok()).unwrap_or(options.path.clone());
    let space = Arc::new(Space::default());
    let perf = options.perf_map.map(|start| perf_map(start, &space).map(Arc::new)).transpose()?;
    let find = |name: &Path| {
        let text = CString::new(name.as_os_str().as_bytes()).unwrap_or_default();
        PathBuf::from(std::ffi::OsStr::from_bytes(names.host_path(text).as_bytes()))
    };
    let loaded = elf::load(&space, &image, find)?;
    // The program must find those descriptor numbers free that it expects.
    drop((opened, image));
    close_own(&options.path);
    space.set_brk(loaded.end);
    let (vdso, trampoline) = map_vdso(machine, &space)?;
    let name = CString::new(options.path.as_os_str().as_bytes()).unwrap_or_default();
    let first = stack::build(machine, &space, &loaded, vdso, &name, &options.args, &options.env)?;
    names.auxv = first.auxv;
    names.shown = shown::arguments(machine, first.pointer, &options.args, &options.env);
    name_process(&options.path);
    let (translations, note) = Translations::new(options.tier);
    perf.iter().for_each(|map| translations.set_perf_map(map.clone()));
    let process = Arc::new(Process {
        guest: Guest { machine, space, names },
        actions: Arc::new(Mutex::new(actions)),
        pending: Pending::default(),
        threads: AtomicUsize::new(1),
        translations,
        borrows: false,
        trampoline,
        clock: Arc::new(HostClock::new()),
        rendezvous: ThreadRendezvous::default(),
        perf,
        debug,
        options,
    });
    if let Some(listener) = listener {
        Debug::serve(&process, listener)
            .map_err(|e| ProgramError::Other(format!("cannot start a thread for gdb: {e}")))?;
    }
    let mut thread = Thread::<A>::first(process);
    thread.process.actions().catch_dumps();
    if let Some(note) = note {
        trine_linux::host::say(&format!("trine: {note}; the interpreter runs everything"));
    }
    thread.start(loaded.start, first.pointer);
    thread.run();
    unreachable!("the first thread does not come back")
}

/// Takes a descriptor that was opened for this process and that the program must not see.
pub fn take_opened(fd: RawFd) -> Option<Arc<OwnedFd>> {
    // SAFETY: makes a copy of a descriptor, which fails where it is not open.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, own::LOWEST) };
    // SAFETY: who started this process opened it for this, and nobody else here uses it.
    unsafe { libc::close(fd) };
    // SAFETY: just made; nobody else owns it.
    (copy >= 0).then(|| Arc::new(unsafe { OwnedFd::from_raw_fd(copy) }))
}

/// Closes the descriptor that `execve` kept open for an executable without a path.
fn close_own(path: &Path) {
    let fd = ["/proc/self/fd", "/dev/fd"]
        .iter()
        .find_map(|dir| path.strip_prefix(dir).ok())
        .and_then(|n| n.to_str()?.parse::<i32>().ok());
    if let Some(fd) = fd.filter(|&fd| fd >= own::LOWEST) {
        // SAFETY: a descriptor that was made for this process to read its executable, which it has.
        unsafe { libc::close(fd) };
    }
}

/// Sets the process's name to the program's, as `ps` shows it.
fn name_process(path: &Path) {
    let name = path.file_name().and_then(|n| CString::new(n.as_bytes()).ok()).unwrap_or_default();
    // SAFETY: reads a string of ours.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}
