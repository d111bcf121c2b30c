//! Confinement: limits and refusals that the host's kernel keeps, put up before any code of the program runs.
//!
//! A program's addresses are the monitor's, so a wild store may change the monitor. Therefore nothing here relies on
//! the monitor's own code afterwards: what holds, holds for the whole process and all that it starts, native
//! executables, too.
//!
//! * [`Limits`]: how much. [`Deny`]: what not at all.
//! * `keeper`: the process that removes the control groups (`trine-cgroup`) by which processes are counted together.
//! * `landlock`: files, and other processes. `seccomp`: system calls. `privilege`: what root would have more.

mod keeper;
mod landlock;
mod limits;
mod privilege;
mod seccomp;

pub use limits::Limits;

use crate::ProgramError;
use std::path::PathBuf;
use std::str::FromStr;

/// What the program may not do at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// No sockets, but connected pairs.
    pub net: bool,
    /// No file is changed, but through descriptors that are open already.
    pub write: bool,
    /// No file is read or executed, but below the program's root and its own directory.
    pub read: bool,
    /// No other executable.
    pub exec: bool,
    /// No other process.
    pub fork: bool,
}

impl FromStr for Deny {
    type Err = String;

    fn from_str(list: &str) -> Result<Deny, String> {
        let mut deny = Deny::default();
        for word in list.split(',') {
            match word {
                "net" => deny.net = true,
                "write" => deny.write = true,
                "read" => deny.read = true,
                "exec" => deny.exec = true,
                "fork" => deny.fork = true,
                "all" => deny = Deny { net: true, write: true, read: true, exec: true, fork: true },
                _ => {
                    return Err(format!(
                        "'{word}' cannot be denied: use net, write, read, exec, fork or all"
                    ));
                }
            }
        }
        Ok(deny)
    }
}

impl Deny {
    /// What either denies.
    pub fn or(self, other: Deny) -> Deny {
        Deny {
            net: self.net | other.net,
            write: self.write | other.write,
            read: self.read | other.read,
            exec: self.exec | other.exec,
            fork: self.fork | other.fork,
        }
    }
}

/// All that a program is confined by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confinement {
    /// How much it may use.
    pub limits: Limits,
    /// What it may not do.
    pub deny: Deny,
    /// What may be read under [`Deny::read`]: the program's root, its directory.
    pub readable: Vec<PathBuf>,
}

impl Confinement {
    /// Whether there is nothing to confine.
    pub fn is_empty(&self) -> bool {
        self.limits == Limits::default() && self.deny == Deny::default()
    }

    /// Confines this process and all that it will start, for good. The process has one thread. Gives sentences about
    /// what holds in another way than usual.
    ///
    /// # Errors
    /// A sentence where something asked for cannot be kept on this host; the program is then not to be run.
    pub fn apply(&self) -> Result<Vec<String>, ProgramError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        self.put_up().map_err(ProgramError::Confine)
    }

    fn put_up(&self) -> Result<Vec<String>, String> {
        let plan = self.limits.plan()?;
        let notes = plan.notes.clone();
        let guarded = plan.groups.guarded();
        plan.enter(self.deny)?;
        if self.deny.write {
            // The kernel would write it by itself.
            limits::no_core_files()?;
        }
        landlock::restrict(self, &guarded)?;
        seccomp::restrict(self.deny)?;
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_what_is_denied() {
        let two: Deny = "net,write".parse().unwrap();
        assert!(two.net && two.write && !two.read && !two.exec && !two.fork);
        assert_eq!(two.or("read,exec,fork".parse().unwrap()), "all".parse().unwrap());
        assert!("net,".parse::<Deny>().unwrap_err().contains("''"));
        assert!("nett".parse::<Deny>().unwrap_err().contains("nett"));
    }
}
