//! Confinement: limits and restrictions that the host's kernel enforces, set before any code of the program
//! runs.
//!
//! A program's addresses are the monitor's, so a wild store may change the monitor. Therefore nothing here
//! relies on the monitor's code afterwards: every restriction applies to the whole process and everything it
//! starts, including native executables.
//!
//! * [`Limits`]: how much it may use. [`Deny`]: what it may not do at all.
//! * `keeper`: the process that removes the control groups (`trine-cgroup`) by which processes are counted
//!   together.
//! * `landlock`: files, and other processes. `seccomp`: system calls. `privilege`: capabilities of root.

mod keeper;
mod landlock;
mod limits;
mod privilege;
mod seccomp;

pub use limits::Limits;

use crate::ProgramError;
use std::path::PathBuf;
use std::str::FromStr;

/// Actions that are forbidden to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// No sockets except connected pairs.
    pub net: bool,
    /// No changes to files except through descriptors that are open already.
    pub write: bool,
    /// No reading or executing of files except below the program's root and its own directory.
    pub read: bool,
    /// No execution of other executables.
    pub exec: bool,
    /// No creation of processes.
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
    /// Combines two sets of forbidden actions.
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

/// The confinement of a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confinement {
    /// How much it may use.
    pub limits: Limits,
    /// What it may not do.
    pub deny: Deny,
    /// What may be read under [`Deny::read`]: the program's root and its directory.
    pub readable: Vec<PathBuf>,
}

impl Confinement {
    /// Whether there are no limits and no restrictions.
    pub fn is_empty(&self) -> bool {
        self.limits == Limits::default() && self.deny == Deny::default()
    }

    /// Confines this process and everything it starts, for good. The process must have one thread. Returns
    /// sentences about what is enforced in another way than usual.
    ///
    /// # Errors
    /// A sentence if this host cannot enforce something; the program must not be run then.
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
            // The kernel would write the core file by itself.
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
