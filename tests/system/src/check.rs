//! Shared by tests of commands: waiting with a time limit, comparing, a terminal.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};
use trine_control::process;
use trine_test_support::{Checked, command};

/// The time limit.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits for a command, with the time limit.
pub fn finish(mut child: Child, args: &[&str]) -> Result<Output, String> {
    let (pid, end) = (child.id() as i32, Instant::now() + LONGEST);
    drop(child.stdin.take());
    let waits = std::thread::spawn(move || child.wait_with_output());
    while !waits.is_finished() {
        if Instant::now() > end {
            process::kill(pid);
            return Err(format!("trine {} hangs", args.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    waits.join().map_err(|_| "the waiting thread failed".to_string())?.map_err(|e| e.to_string())
}

/// Waits until a condition holds.
pub fn until(what: &str, holds: impl Fn() -> Result<bool, String>) -> Checked {
    command::until(what, LONGEST, holds)
}

pub fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, got: A, want: B) -> Checked {
    if got == want { Ok(()) } else { Err(format!("{what}: {got:?}, wanted {want:?}")) }
}

/// A command on a terminal of its own.
pub struct OnTerminal {
    child: Child,
    terminal: std::fs::File,
    said: String,
}

impl OnTerminal {
    pub fn start(mut command: Command) -> Result<OnTerminal, String> {
        let (own, its) =
            trine_control::kinds::command::terminal(Some((24, 80))).map_err(|e| e.to_string())?;
        let fd = || its.try_clone().map_err(|e| e.to_string());
        command.stdin(fd()?).stdout(fd()?).stderr(fd()?);
        let control = || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).map_err(Into::into)
        };
        // SAFETY: two system calls between fork and exec.
        unsafe { command.pre_exec(control) };
        let child = command.spawn().map_err(|e| e.to_string())?;
        rustix::fs::fcntl_setfl(&own, rustix::fs::OFlags::NONBLOCK).map_err(|e| e.to_string())?;
        Ok(OnTerminal { child, terminal: own.into(), said: String::new() })
    }

    fn read(&mut self) {
        use std::io::Read;
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = self.terminal.read(&mut bytes) {
            self.said.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    pub fn says(&mut self, text: &str) -> Checked {
        let end = Instant::now() + LONGEST;
        while !self.said.contains(text) {
            self.read();
            if Instant::now() > end {
                return Err(format!("the terminal does not show '{text}', but {:?}", self.said));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn types(&mut self, keys: &[u8]) -> Checked {
        use std::io::Write;
        self.terminal.write_all(keys).map_err(|e| e.to_string())
    }

    /// The exit code.
    pub fn ends(mut self) -> Result<i32, String> {
        let end = Instant::now() + LONGEST;
        while Instant::now() < end {
            self.read();
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return status.code().ok_or_else(|| format!("{status}: {:?}", self.said));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        process::kill(self.child.id() as i32);
        drop(self.child.wait());
        Err(format!("the command on the terminal hangs: {:?}", self.said))
    }
}
