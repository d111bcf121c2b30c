//! Commands and their output.

use crate::{Checked, text};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The output of a command.
pub struct Said {
    /// Its exit code; −1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(o: Output) -> Said {
        let [out, err] = [o.stdout, o.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        Said { code: o.status.code().unwrap_or(-1), out, err }
    }
}

/// Runs a tool that must succeed; returns its standard output.
///
/// # Errors
/// Fails with all its output, if it fails or cannot be started.
pub fn tool(command: &mut Command) -> Result<String, String> {
    let said = Said::from(command.output().map_err(|e| format!("{command:?}: {e}"))?);
    match said.code {
        0 => Ok(said.out),
        code => Err(format!("{command:?}: code {code}: {}{}", said.out, said.err)),
    }
}

/// The words of a line, separated by blanks, as a command without input.
pub fn words(line: &str) -> Command {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

/// Fails with a sentence and a command's output, unless a condition holds.
///
/// # Errors
/// That sentence.
pub fn check(right: bool, what: &str, said: &Said) -> Checked {
    match right {
        true => Ok(()),
        false => Err(format!("{what}: code {}, output {:?}, errors {:?}", said.code, said.out, said.err)),
    }
}

/// Standard output of a command that succeeded.
///
/// # Errors
/// Its exit and its standard error, if it failed.
pub fn succeed(out: Output) -> Result<String, String> {
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(said)
    } else {
        Err(format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// The exit of a command, and its output.
pub fn said(out: &Output) -> String {
    format!(
        "{}; it said:\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Waits for a process, but not for longer than `most`; `None` if it still runs then.
///
/// # Errors
/// The host's.
pub fn end_of(child: &mut Child, most: Duration) -> Result<Option<ExitStatus>, String> {
    let end = Instant::now() + most;
    loop {
        if let Some(status) = child.try_wait().map_err(text)? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that is ended when this is dropped, unless it has ended.
pub struct Running(pub Child);

impl Running {
    /// Starts a command without input, whose output and errors go to a file.
    ///
    /// # Errors
    /// The host's.
    pub fn start(command: &mut Command, out: &Path) -> Result<Running, String> {
        let file = File::create(out).map_err(|e| format!("{}: {e}", out.display()))?;
        let other = file.try_clone().map_err(text)?;
        command.stdin(Stdio::null()).stdout(file).stderr(other).spawn().map(Running).map_err(text)
    }

    /// Waits for its end; `None` if that takes longer than `most`.
    ///
    /// # Errors
    /// The host's.
    pub fn end(&mut self, most: Duration) -> Result<Option<ExitStatus>, String> {
        end_of(&mut self.0, most)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until a condition holds.
///
/// # Errors
/// The error of `holds`, or a sentence with `what` if it does not hold within `most`.
pub fn until(what: &str, most: Duration, mut holds: impl FnMut() -> Result<bool, String>) -> Checked {
    let end = Instant::now() + most;
    while !holds()? {
        if Instant::now() > end {
            return Err(format!("it did not come to this within {} s: {what}", most.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
