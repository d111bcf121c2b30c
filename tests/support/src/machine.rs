//! Machines that tests run and talk to, and small programs for them.

use crate::command::{Said, end_of, tool};
use crate::scratch::Scratch;
use crate::{Checked, text, tools};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time limit for a machine's output, or its end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Start of RAM of the board `virt`: programs are linked to this address.
const RAM: &str = "0x80000000";

/// The directory of sockets in that of the machines.
const SOCKETS: &str = "run";

/// The format of a program of [`Machines::program`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An ELF file.
    Elf,
    /// Its bytes as in memory.
    Raw,
}

/// `trine run` for machines, and a directory for their files.
pub struct Machines {
    /// The directory.
    pub dir: Scratch,
    trine: PathBuf,
}

impl Machines {
    /// Builds `trine` and makes a directory of this name.
    ///
    /// # Errors
    /// Those of the build, and the host's.
    pub fn new(name: &str) -> Result<Machines, String> {
        let machines = Machines { dir: Scratch::new(name)?, trine: tools::trine()? };
        let run = machines.dir.join(SOCKETS);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run).map_err(text)?;
        Ok(machines)
    }

    /// Gives a command a store of its own in the directory: records, images, sockets.
    pub fn own(&self, mut command: Command) -> Command {
        command.env("XDG_DATA_HOME", self.dir.join("data")).env("XDG_RUNTIME_DIR", self.dir.join(SOCKETS));
        command
    }

    /// `trine WORD…` with that store.
    pub fn verb(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.trine);
        command.args(words);
        self.own(command)
    }

    /// What such a command without input says until its end.
    ///
    /// # Errors
    /// The host's.
    pub fn said(&self, words: &[impl AsRef<OsStr>]) -> Result<Said, String> {
        self.verb(words).stdin(Stdio::null()).output().map(Said::from).map_err(text)
    }

    /// `trine run WORD…`.
    pub fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.trine);
        command.arg("run").args(words);
        command
    }

    /// Runs a machine with this input to its end.
    ///
    /// # Errors
    /// The host's.
    pub fn whole(&self, words: &[&str], input: &str) -> Result<Said, String> {
        let mut command = self.run(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(text)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(text)?;
        }
        child.wait_with_output().map(Said::from).map_err(text)
    }

    /// Assembles and links lines for the start of RAM, where machine mode begins; returns the file's name.
    ///
    /// # Errors
    /// Those of the cross compiler, and the host's.
    pub fn program(&self, name: &str, lines: &str, form: Form) -> Result<String, String> {
        let (source, program) = (self.dir.join(name).with_extension("s"), self.dir.join(name));
        std::fs::write(&source, format!(".globl _start\n_start:\n{lines}\n")).map_err(text)?;
        let cross = tools::cross_gcc()?;
        let mut gcc = tools::gcc(&cross);
        gcc.args(["-nostdlib", "-static", "-Wl,--build-id=none"]).arg(format!("-Wl,-Ttext={RAM}"));
        tool(gcc.arg("-o").arg(&program).arg(&source))?;
        if form == Form::Raw {
            tool(tools::cross_tool(&cross, "objcopy").args(["-O", "binary"]).arg(&program))?;
        }
        Ok(program.display().to_string())
    }
}

/// A machine for a dialogue; killed when this is dropped.
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Talk {
    /// Starts a machine.
    ///
    /// # Errors
    /// The host's.
    pub fn start(mut command: Command) -> Result<Talk, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let (stdin, said) = (child.stdin.take(), Arc::new(Mutex::new(Vec::new())));
        let (mut out, to) = (child.stdout.take().ok_or("no output")?, said.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buf) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buf[..n]);
            }
        });
        Ok(Talk { child, stdin, said, seen: 0 })
    }

    /// A machine that was started in another way, and whose output is read elsewhere.
    pub fn unheard(mut child: Child) -> Talk {
        Talk { stdin: child.stdin.take(), child, said: Arc::default(), seen: 0 }
    }

    /// The process.
    pub fn process(&self) -> &Child {
        &self.child
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The host's.
    pub fn signal(&self, signal: rustix::process::Signal) -> Checked {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).map_err(text)
    }

    /// Waits for a text after the last one.
    ///
    /// # Errors
    /// Its output instead.
    pub fn hear(&mut self, wanted: &str) -> Checked {
        self.hear_within(wanted, PATIENCE)
    }

    /// The same with a time limit.
    ///
    /// # Errors
    /// Its output instead.
    pub fn hear_within(&mut self, wanted: &str, patience: Duration) -> Checked {
        self.hear_before(wanted, patience).map(drop)
    }

    /// The same; returns what it says before that text.
    ///
    /// # Errors
    /// Its output instead.
    pub fn hear_before(&mut self, wanted: &str, patience: Duration) -> Result<String, String> {
        let end = Instant::now() + patience;
        let mut ended = false;
        loop {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let rest = &said[self.seen..];
            if let Some(at) = rest.windows(wanted.len()).position(|w| w == wanted.as_bytes()) {
                self.seen += at + wanted.len();
                return Ok(String::from_utf8_lossy(&rest[..at]).into_owned());
            }
            let given_up = ended || Instant::now() > end;
            if given_up {
                return Err(format!("it does not say '{wanted}': {}", String::from_utf8_lossy(rest)));
            }
            drop(said);
            ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            // Also gives the reader time for the last words.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The whole lines that it has said since the last text that was heard.
    ///
    /// # Errors
    /// It has ended.
    pub fn news(&mut self) -> Result<String, String> {
        let ended = self.child.try_wait().map_err(text)?;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = &said[self.seen..];
        if let Some(status) = ended {
            return Err(format!("the machine has ended ({status}): {}", String::from_utf8_lossy(rest)));
        }
        let lines = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.seen += lines;
        Ok(String::from_utf8_lossy(&rest[..lines]).into_owned())
    }

    /// Types words.
    ///
    /// # Errors
    /// The host's.
    pub fn say(&mut self, words: &str) -> Checked {
        let stdin = self.stdin.as_mut().ok_or("its input is closed")?;
        stdin.write_all(words.as_bytes()).and_then(|()| stdin.flush()).map_err(text)
    }

    /// Waits for the end; returns the exit code, or −1 if a signal ended it.
    ///
    /// # Errors
    /// Its output, if it does not end.
    pub fn end(&mut self) -> Result<i32, String> {
        match end_of(&mut self.child, PATIENCE)? {
            Some(status) => Ok(status.code().unwrap_or(-1)),
            None => {
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                Err(format!("it does not end: {}", String::from_utf8_lossy(&said)))
            }
        }
    }
}
