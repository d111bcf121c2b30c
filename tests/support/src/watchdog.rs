//! A time limit for what may hang: it is named and fails, instead of using up the time of all that would come after it.

use crate::Checked;
use crate::process::family;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often the processes are looked for that are to end.
const PERIOD: Duration = Duration::from_millis(200);

/// Does something by other processes, all of which are killed if it takes longer than that.
///
/// # Errors
/// Its own; or it took longer, with the commands that ran then.
pub fn within(limit: Duration, run: impl FnOnce() -> Checked) -> Checked {
    let (ended, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || watch(limit, &end));
        let result = run();
        drop(ended);
        match watch.join().unwrap_or_default() {
            None => result,
            Some(commands) => Err(format!(
                "not done after {} s; these were running and were killed:\n{}",
                limit.as_secs(),
                commands.join("\n")
            )),
        }
    })
}

/// Kills this process's descendants from then on until the end; returns their commands if there were any.
fn watch(limit: Duration, end: &Receiver<()>) -> Option<Vec<String>> {
    let mut commands = None;
    let mut patience = limit;
    while end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
        let descendants: Vec<i32> = family(std::process::id()).into_iter().skip(1).collect();
        commands.get_or_insert_with(|| descendants.iter().filter_map(command).collect());
        for pid in descendants.into_iter().filter_map(Pid::from_raw) {
            // One that has ended by itself is not there any more.
            let _ = kill_process(pid, Signal::KILL);
        }
        patience = PERIOD;
    }
    commands
}

/// The command line of a process, with spaces between its words.
fn command(pid: &i32) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|words| !words.is_empty())?;
    Some(String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " "))
}
