//! Starting a monitor.

use super::{Monitor, Phase, SIGNALS, health, repair, run};
use crate::error::ControlError;
use crate::kinds;
use crate::kinds::command::OWN;
use crate::process;
use crate::record::Status;
use crate::signals::Signals;
use crate::store::{Place, Store};
use crate::{log, names};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trine_base::process_stat::ProcessIdentity;
use trine_base::replace_file::Durability;

/// The hidden verb that is a guest's monitor.
pub const MONITOR_VERB: &str = "__monitor";
/// How long an earlier monitor of the guest may take to end.
const EARLIER: Duration = Duration::from_secs(10);

/// Starts a monitor for a guest that has none, and waits until clients can connect to it.
///
/// # Errors
/// Fails where there is a monitor already, or the host cannot start it.
pub fn launch(place: &Place) -> Result<(), ControlError> {
    let mut command = Command::new(OWN);
    command.arg0("trine").arg(MONITOR_VERB).arg(&place.id);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // In a session of its own, so that no terminal's signals reach it.
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
    let failed = |e| ControlError::host("a monitor cannot be started", e);
    let mut child = command.spawn().map_err(failed)?;
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said).map_err(failed)?;
    }
    match said.strip_prefix("ok") {
        Some(_) => Ok(()),
        None if said.is_empty() => {
            Err(ControlError::Failed("the guest's monitor ended before it began".into()))
        }
        None => Err(ControlError::Failed(said)),
    }
}

/// The hidden verb: runs the monitor of a guest.
pub fn main(id: &str) -> u8 {
    let mut ready = |result: Result<(), ControlError>| {
        let said = result.map_or_else(|e| e.to_string(), |()| "ok".into());
        let _ = std::io::stdout().write_all(said.as_bytes());
        let _ = std::io::stdout().flush();
        // The process that waits for the end of this output goes on.
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(null);
        }
    };
    if !(id.len() == 32 && names::is_id_start(id)) {
        ready(Err(ControlError::Unknown(id.into())));
        return 2;
    }
    match Store::open() {
        Ok(store) => {
            let place = store.place(id);
            run(store, place, &mut ready);
            0
        }
        Err(e) => {
            ready(Err(e));
            1
        }
    }
}

/// Calls `go` with a form of a socket's path that is short enough for `bind` and `connect` (108 bytes,
/// unix(7)), however long the directory's path is.
fn in_directory<T>(dir: &Path, go: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let dir = File::open(dir)?;
    go(Path::new(&format!("/proc/self/fd/{}/ctl.sock", dir.as_fd().as_raw_fd())))
}

/// Connects to the monitor of the guest with this runtime directory.
///
/// # Errors
/// Fails where there is none.
pub fn connect(dir: &Path) -> std::io::Result<UnixStream> {
    in_directory(dir, |path| UnixStream::connect(path))
}

fn listen(dir: &Path) -> Result<UnixListener, ControlError> {
    let go = || {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let _ = std::fs::remove_file(dir.join("ctl.sock"));
        let listener = in_directory(dir, |path| UnixListener::bind(path))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    go().map_err(|e: std::io::Error| ControlError::at(&dir.join("ctl.sock"), e))
}

/// Creates the monitor, which holds the guest's lock from now on.
pub(super) fn prepare(store: Store, place: Place) -> Result<Monitor, ControlError> {
    let Some(lock) = place.lock_within(EARLIER)? else {
        return Err(ControlError::Refused("the guest is already running".into()));
    };
    let mut record = place.read()?;
    repair::settle(&store, &place, &mut record);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| ControlError::host("the guest's orphans cannot be adopted", e))?;
    // Inherited by all processes that it starts, so that they can be found if the monitor is killed.
    process::Mark::of(&record.id).put();
    let signals = Signals::take(SIGNALS)?;
    let kind = kinds::of(&record)?;
    let directory = store.running(&place.id);
    let listener = listen(&directory)?;
    let log = log::Writer::open(&place.dir.join("log"), record.options.log_bytes)?;
    record.traces.monitor = ProcessIdentity::of(std::process::id() as i32);
    record.traces.boot = process::boot();
    record.traces.directory = Some(directory);
    record.traces.guest = None;
    record.state.status =
        if record.state.status == Status::Created { Status::Created } else { Status::Stopped };
    place.write(&record, Durability::Volatile)?;
    // The monitor must not keep the command's directory from being unmounted.
    let _ = std::env::set_current_dir("/");
    Ok(Monitor {
        store,
        place,
        lock,
        kind,
        listener,
        signals,
        log: Some(log),
        sessions: BTreeMap::new(),
        main: 0,
        next: 0,
        clients: Vec::new(),
        phase: Phase::New(Instant::now()),
        kill_at: None,
        ending: false,
        backoff: Duration::ZERO,
        size: None,
        health: health::Checker::new(record.options.health.clone()),
        look_at_snapshot: None,
        record,
    })
}
