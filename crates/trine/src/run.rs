//! `trine run` in the foreground: a machine on this terminal.

use crate::args::RunArgs;
use crate::front::Front;
use crate::guest::boot;
use crate::guest::confine;
use crate::guest::container::What;
use crate::guest::disk;
use crate::guest::flash;
use crate::guest::share;
use crate::guest::target::{self, Target};
use crate::guest::user_network::{self, Network};
use crate::output::Writer;
use crate::terminal::{self, AtEnd};
use crate::{Refusal, code, guest, machine_gdb, program};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use trine_base::Waker;
use trine_base::terminal::RawTerminal;
use trine_control::lockstep::User;
use trine_control::machine_link;
use trine_engine::perf::Start;
use trine_engine::{PerfMap, Tier};
use trine_machine::boards::{self, BoardKind};
use trine_machine::boot::Boot;
use trine_machine::snapshot::{Description, Snapshot};
use trine_machine::{
    BalloonControl, Board, Config, Console, Disk, End, FlashBank, Share, TerminalSize, TimeSource,
};

/// Shows the progress of long operations, on standard error if that is a terminal.
pub struct Display(ProgressBar);

impl Display {
    /// Shows nothing yet.
    pub fn new() -> Display {
        Display(ProgressBar::new(0))
    }

    /// Shows a text, and the progress where `of` is not 0.
    pub fn show(&mut self, text: &str, done: u64, of: u64) {
        self.show_as("{msg} [{bar:30}] {bytes}/{total_bytes}", text, done, of);
    }

    /// The same for a number of things that are not bytes.
    pub fn show_count(&mut self, text: &str, done: u64, of: u64) {
        self.show_as("{msg} [{bar:30}] {pos}/{len}", text, done, of);
    }

    fn show_as(&mut self, template: &str, text: &str, done: u64, of: u64) {
        let style = match of {
            0 => ProgressStyle::with_template("{spinner} {msg}"),
            _ => ProgressStyle::with_template(template),
        };
        if let Ok(style) = style {
            self.0.set_style(style);
        }
        self.0.set_length(of);
        self.0.set_message(text.to_string());
        self.0.set_position(done);
    }

    /// Removes it from the screen.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// A machine that is ready to be created.
#[derive(Clone)]
pub struct Prepared {
    /// The software that it starts with.
    pub boot: Boot,
    /// Its memory size in bytes.
    pub memory: u64,
    /// For a machine that runs an image: how it ends.
    pub image: Option<OfImage>,
}

/// How a machine that runs an image ends.
#[derive(Clone, Copy)]
pub struct OfImage {
    /// Whether its command ends on SIGTERM; an init does not.
    pub terminates: bool,
}

fn prepare(args: &RunArgs, target: &Target) -> Result<Prepared, Refusal> {
    match target {
        Target::ImageMachine(name) => guest::machine::prepare(args, name),
        _ => {
            let memory = boot::memory(args, target)?;
            Ok(Prepared { boot: boot::boot(args, target)?, memory, image: None })
        }
    }
}

/// The most CPUs of a machine for which no number is given.
const USUAL_CPUS: usize = 4;

/// How many CPUs the machine has. In counted time one if no number is given: such a run does not depend on the host.
pub fn cpus(args: &RunArgs) -> u32 {
    let counted = args.lockstep || args.count_time.is_some();
    let of_host = std::thread::available_parallelism().map_or(1, usize::from);
    args.cpus.unwrap_or(if counted { 1 } else { of_host.min(USUAL_CPUS) as u32 })
}

/// Everything that a machine has, besides what is made anew when the guest resets it.
pub struct Plan {
    /// What it starts with.
    pub start: Prepared,
    /// Its board.
    pub kind: &'static BoardKind,
    /// Number of CPUs.
    pub cpus: u32,
    /// Disks, opened once.
    pub disks: Vec<Disk>,
    /// Banks of flash, if it has flash.
    pub flash: Vec<FlashBank>,
    /// Its network, if it has one.
    pub net: Network,
    /// Folders of the host.
    pub shares: Vec<Share>,
    /// Whether it has a memory balloon.
    pub balloon: bool,
    /// Whether the guest is told the size of the terminal.
    pub terminal: bool,
    /// Where its time comes from.
    pub time: TimeSource,
    /// The sockets of its socket device, if it has one.
    pub sockets: Option<guest::vsock::Sockets>,
    /// The snapshot that it goes on from.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What a snapshot of it says.
    pub description: Description,
    /// For a machine from a snapshot: what it starts with after a reset; `None` where that is not known.
    pub after_reset: Option<Prepared>,
    /// What it does not share with other machines from the same snapshot.
    pub renewal: Option<guest::debian::prompt::Renewal>,
}

/// A machine with these disks, and with no other part of the host.
fn config(
    args: &RunArgs,
    start: &Prepared,
    disks: &[Disk],
    tier: Tier,
    time: TimeSource,
    seed: Option<u64>,
) -> Config {
    let disks = disks.to_vec();
    Config { disks, tier, time, seed, ..Config::new(start.memory, cpus(args), start.boot.clone()) }
}

/// Creates the map file of a machine; generated code has addresses only, no names.
fn perf_map() -> Result<Arc<PerfMap>, Refusal> {
    let made = PerfMap::create(Start::New, 0, Box::new(|pc| format!("[{pc:#x}]")));
    let error = |e| {
        let path = trine_engine::perf::path();
        Refusal::refused(format!("--perf-map: {}: {e}; remove what is there, or run without", path.display()))
    };
    made.map(Arc::new).map_err(error)
}

/// `trine run`: in the foreground, or as a guest with a record. `words` are those that follow the verb.
pub fn run(args: Box<RunArgs>, words: &[std::ffi::OsString]) -> Result<u8, Refusal> {
    match Target::resolve(&args)? {
        Target::Image(name) => guest::container::run(&args, What::Image(name)),
        Target::Bundle(path) => guest::container::run(&args, What::Bundle(path)),
        // A private network is joined by a monitor, as it is for containers.
        target if args.guest.is_wanted() || args.container.network.is_private() => {
            guest::run::run(&args, &target, words)
        }
        target => foreground(&args, target, false),
    }
}

/// Checks that a machine can be created; fetches what is missing.
pub fn check(args: &RunArgs, target: &Target) -> Result<(), Refusal> {
    if let Target::Restored(path) = target {
        return guest::restore::check(args, path);
    }
    share::open_all(args, target)?;
    match target {
        Target::ImageMachine(name) => guest::machine::check(args, name)?,
        _ => boot::memory(args, target).and_then(|_| boot::boot(args, target)).map(drop)?,
    }
    user_network::is_wanted(args, target)?;
    if let Target::Debian(debian) = target {
        guest::debian::prepare(args, debian)?;
        guest::debian::prompt::snapshot(args, debian)?;
    }
    flash::open_all(&args.flash, board_kind(args)?)?;
    disk::open_all(&args.disk).map(drop)
}

/// Opens the machine's disks: first that with its root file system, where it has one.
fn disks(args: &RunArgs, target: &Target) -> Result<Vec<Disk>, Refusal> {
    let root = match target {
        Target::Debian(debian) => Some(guest::debian::disk(args, debian)?),
        _ => None,
    };
    Ok(root.into_iter().chain(disk::open_all(&args.disk)?).collect())
}

/// Runs the guest of a record: a program or a machine. `monitored`: a monitor has started this process.
pub fn of_record(args: Box<RunArgs>, monitored: bool) -> Result<u8, Refusal> {
    let target = Target::resolve(&args)?;
    foreground(&args, target, monitored)
}

/// Runs a program, or a machine, in this process.
fn foreground(args: &RunArgs, target: Target, monitored: bool) -> Result<u8, Refusal> {
    match target {
        Target::Program { path, root } => program::run(args, path, root),
        // If a program's file has gone, its name may be that of an image.
        Target::Image(_) | Target::Bundle(_) => Err(target::unknown(args)),
        machine => run_machine(args, &machine, monitored),
    }
}

/// The board of a machine.
pub fn board_kind(args: &RunArgs) -> Result<&'static BoardKind, Refusal> {
    let cpu = args.arch.cpu();
    boards::find(cpu).ok_or_else(|| Refusal::refused(format!("there are no machines for {}", cpu.name())))
}

/// Two arenas for the C library's allocator, unless the user has said how many (mallopt(3)). By itself it makes one for
/// each thread, up to eight times the host's CPUs: what a vCPU's thread frees in its arena, no other one can use, a third
/// of all. Call it before there are threads.
fn few_arenas() {
    #[cfg(target_env = "gnu")]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: the call takes numbers; no other thread allocates yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

/// Runs the machine until it ends; a reset creates a new one.
fn run_machine(args: &RunArgs, target: &Target, monitored: bool) -> Result<u8, Refusal> {
    crate::be_a_command();
    disk::without_a_signal_of_limits();
    few_arenas();
    let front = Front::new(Writer::start());
    if let Some(link) = monitored.then(machine_link::inherited).flatten() {
        front.serve_monitor(link);
    }
    let plan = match target {
        Target::Restored(path) => guest::restore::plan(args, path, monitored)?,
        Target::Debian(debian) if let Some(plan) = guest::debian::prompt::plan(args, debian, monitored)? => {
            plan
        }
        _ => {
            // Before anything is fetched.
            let shares = share::open_all(args, target)?;
            let start = prepare(args, target)?;
            if args.lockstep {
                return lockstep(args, target, &start, &front);
            }
            plan(args, target, start, shares, monitored)?
        }
    };
    run_plan(args, target, plan, &front)
}

/// Opens everything that a machine has that starts.
fn plan(
    args: &RunArgs,
    target: &Target,
    start: Prepared,
    shares: Vec<Share>,
    monitored: bool,
) -> Result<Plan, Refusal> {
    let reads_end = target.is_debians() && args.initrd.is_none() || start.image.is_some();
    let mut plan = Plan {
        start,
        kind: board_kind(args)?,
        cpus: cpus(args),
        disks: disks(args, target)?,
        flash: flash::open_all(&args.flash, board_kind(args)?)?,
        net: Network::new(args, target, cpus(args))?,
        shares,
        balloon: boot::has_balloon(args, target),
        terminal: boot::knows_terminal(args, target),
        time: args.count_time.map_or(TimeSource::Host, TimeSource::Count),
        sockets: guest::vsock::Sockets::open(args, target, monitored)?,
        snapshot: None,
        description: Description::default(),
        after_reset: None,
        renewal: None,
    };
    plan.description = guest::restore::describe(&plan, reads_end)?;
    Ok(plan)
}

/// Runs a machine until it ends.
fn run_plan(args: &RunArgs, target: &Target, plan: Plan, front: &Front) -> Result<u8, Refusal> {
    let trace = guest::trace::open(args)?;
    let perf = args.perf_map.then(perf_map).transpose()?;
    let confined = confine::confine(args, &plan)?;
    let Plan { mut start, kind, cpus, disks, flash, net, shares, balloon, terminal, time, .. } = plan;
    let Plan { sockets, mut snapshot, description, after_reset, mut renewal, .. } = plan;
    let seed = matches!(time, TimeSource::Count(_)).then_some(1);
    if let (Some(sockets), Target::Debian(_) | Target::Restored(_)) = (&sockets, target) {
        let caller = sockets.caller();
        front.set_shut_down(move || caller.shut_down());
    }
    let reads_end = description.about.reads_end;
    front.set_description(net.unsaved().map_or(Ok(description), Err));
    let mut raw = None;
    // How many pages the balloon shall have, which outlives a reset.
    let mut pages = 0;
    loop {
        // Dropped with the machine: its connections do not outlive it.
        let (vsock, _host) = sockets.as_ref().map(|s| s.serve()).transpose()?.unzip();
        let console = Console::new(front.writer().sink(front.watch_for_panic()));
        let balloon = balloon.then(|| Arc::new(BalloonControl::new(Waker::new())));
        balloon.iter().for_each(|control| control.set_target(pages));
        let config = Config {
            perf: perf.clone(),
            flash: flash.clone(),
            net: net.devices(),
            shares: shares.clone(),
            balloon: balloon.clone(),
            terminal: terminal.then(|| Arc::new(TerminalSize::new(Waker::new()))),
            vsock,
            cpus,
            ..config(args, &start, &disks, args.engine.tier(), time, seed)
        };
        let mut board = (kind.assemble)(config, console).map_err(Refusal::refused)?;
        if let Some(from) = &snapshot
            && let Err(e) = from.load(&mut board)
        {
            let Some(boot) = &after_reset else { return Err(Refusal::refused(e)) };
            guest::debian::prompt::say_unusable(from, &e);
            (start, snapshot, renewal) = (boot.clone(), None, None);
            continue;
        }
        if let Some(note) = &board.note {
            eprintln!("trine: {note}; the interpreter runs everything");
        }
        trace.iter().try_for_each(|trace| trace.attach(&mut board))?;
        front.set(Some(Arc::new(board.remote())));
        machine_gdb::attach(args, &start.boot, &mut board, front)?;
        raw.get_or_insert_with(|| serve(args, target, &start, front, reads_end));
        if let (Some(renewal), Some(sockets)) = (renewal.take(), &sockets) {
            renewal.begin(sockets.caller(), front.writer())?;
        }
        let end = board.run();
        trace.iter().for_each(|trace| trace.flush());
        pages = balloon.map_or(0, |control| control.target());
        // The handle refers to the console, and the console's sink to the handle: this cycle would keep the
        // machine's memory and descriptors.
        front.set(None);
        if let (End::Reset, Some(boot), true) = (&end, &after_reset, front.goes_on()) {
            (start, snapshot) = (boot.clone(), None);
            continue;
        } else if end == End::Reset && snapshot.is_some() {
            eprint!(
                "trine: the guest has reset its machine, which ends: a snapshot does not have what it booted from\r\n"
            );
        } else if end == End::Reset && !matches!(start.boot, Boot::BareMetal(_)) && front.goes_on() {
            continue;
        }
        front.finish_saving();
        front.writer().finish();
        drop(raw.take());
        if args.stats {
            stats(kind, &mut board);
            eprintln!("{}", confined.describe());
        }
        board.leak();
        return Ok(exit_code(front, &end, start.image.is_some()));
    }
}

/// Starts the threads that serve the machine in the foreground: input, signals, and the end of its output's
/// reader. The terminal is raw until the result is dropped.
fn serve(args: &RunArgs, target: &Target, start: &Prepared, front: &Front, reads_end: bool) -> RawTerminal {
    terminal::serve_input(front.clone(), if reads_end { AtEnd::Said } else { AtEnd::Nothing });
    if start.image.is_some_and(|image| image.terminates) {
        front.set_terminates();
    }
    if let Err(e) = front.serve_signals() {
        eprintln!("trine: signals cannot be caught: {e}");
    }
    front.serve_output(!args.disk.is_empty() || matches!(target, Target::Debian(_)));
    if let Boot::Kernel(payload) = &start.boot
        && !payload.append.contains("earlycon")
    {
        let advice = "with --append 'earlycon …', a Linux kernel prints messages before its console is ready";
        terminal::serve_silence(front.clone(), advice);
    }
    RawTerminal::enter()
}

fn exit_code(front: &Front, end: &End, of_image: bool) -> u8 {
    if front.panicked() {
        eprintln!("trine: the guest's kernel panicked");
        return code::GUEST;
    }
    match (end, front.signal()) {
        (End::PowerOff | End::Reset, _) => code::OK,
        (End::Failure(n), _) if of_image => u8::try_from(*n).unwrap_or(code::GUEST),
        (End::Failure(n), _) => {
            eprintln!("trine: the guest reported failure {n}");
            code::GUEST
        }
        (End::Dead(why), _) => {
            eprintln!("trine: {why}");
            code::ENGINE
        }
        (End::Quit, Some(signal)) => 128 + signal as u8,
        (End::Quit, None) => code::QUIT,
    }
}

fn stats(kind: &BoardKind, board: &mut Board) {
    let count = board.vcpus().iter().map(|vcpu| vcpu.count()).sum();
    board.stats().iter().for_each(|stats| eprintln!("{}", stats.describe(count)));
    board.disks().iter().for_each(|disk| eprintln!("disk {disk}"));
    eprintln!("instructions that are helpers: {}", (kind.helper_rows)().join(", "));
}

fn lockstep(args: &RunArgs, target: &Target, start: &Prepared, front: &Front) -> Result<u8, Refusal> {
    if args.gdb.is_some() {
        return Err(Refusal::refused("--gdb is not possible with --lockstep, which runs two machines"));
    }
    // Each of the two machines would read what the other one writes.
    if let Some(disk) = args.disk.iter().find(|disk| disk.writes()) {
        let disk = disk.path().display();
        return Err(Refusal::refused(format!(
            "--lockstep runs two machines with the same disks: use --disk {disk},snapshot or {disk},ro"
        )));
    }
    if let Some(bank) = args.flash.iter().find(|bank| bank.writes()) {
        let file = bank.path().display();
        return Err(Refusal::refused(format!(
            "--lockstep runs two machines with the same flash: use --flash {file}, which keeps what they write apart"
        )));
    }
    if matches!(target, Target::Debian(_)) && !args.ephemeral {
        return Err(Refusal::refused(
            "--lockstep runs two machines with the same disk: use it with --ephemeral",
        ));
    }
    let time = TimeSource::Count(args.count_time.unwrap_or(1));
    let kind = board_kind(args)?;
    let make = |tier, out| {
        let config = Config {
            flash: flash::open_all(&args.flash, kind)?,
            ..config(args, start, &disks(args, target)?, tier, time, Some(1))
        };
        (kind.assemble)(config, Console::new(out)).map_err(Refusal::refused)
    };
    let mut compiled = make(Tier::Baseline, front.writer().sink(front.watch_for_panic()))?;
    let mut interpreted = make(Tier::Interp, Box::new(|_: &[u8]| {}))?;
    let confined = confine::confine_lockstep(args)?;
    let user = User::default();
    front.set(Some(Arc::new(user.clone())));
    let reads_end = target.is_debians() && args.initrd.is_none() || start.image.is_some();
    let raw = serve(args, target, start, front, reads_end);
    let result = trine_control::lockstep::run(&mut compiled, &mut interpreted, &user);
    front.writer().finish();
    drop(raw);
    match result {
        Ok(done) => {
            eprintln!("{} instructions, {} comparisons, no difference", done.instructions, done.comparisons);
            if args.stats {
                eprintln!("{}", confined.describe());
            }
            Ok(exit_code(front, &done.end, start.image.is_some()))
        }
        Err(difference) => Err(Refusal { code: code::ENGINE, message: difference }),
    }
}
