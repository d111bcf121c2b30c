//! `cargo xtask test verbs`: one lifecycle for machines and programs, through the commands that users call.

mod life;
mod storm;

use crate::check::{finish, same, until};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use trine_control::process;
use trine_test_support::{Checked, tools};

type Check = (&'static str, fn(&Place) -> Checked);

/// The checks, in this order.
const CHECKS: &[Check] = &[
    ("output, exit codes and records", life::output),
    ("names and ids", life::names),
    ("input by pipes", life::pipes),
    ("a terminal, detached and attached again", life::terminal),
    ("signals, stop and SIGKILL", life::stop),
    ("a paused guest uses no CPU", life::pause),
    ("commands beside a program", life::exec),
    ("restart policies", life::restart),
    ("health", life::health),
    ("events", life::events),
    ("a reader that reads nothing", life::slow_reader),
    ("a machine", life::machine),
    ("SIGKILL for a command", storm::command_killed),
    ("SIGKILL for a monitor", storm::monitor_killed),
    ("SIGKILL for a guest", storm::guest_killed),
    ("20 commands at once", storm::at_once),
    ("a storm of SIGKILLs", storm::storm),
];

/// Directories and the program of this run.
pub struct Place {
    dir: PathBuf,
    trine: PathBuf,
    guest: String,
}

/// Runs all of it, or those whose names contain the environment variable `TRINE_VERBS`.
pub fn run() -> Checked {
    let place = Place::new()?;
    let only = std::env::var("TRINE_VERBS").unwrap_or_default();
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(&only)) {
        let start = Instant::now();
        let result = check(&place).and_then(|()| place.is_clean());
        place.clear();
        result.map_err(|e| format!("{name}: {e}"))?;
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Place {
    fn new() -> Result<Place, String> {
        let trine = tools::trine()?;
        let dir = tools::root().join("target/verbs");
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(dir.join("run")).map_err(|e| e.to_string())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(dir.join("run"), mode).map_err(|e| e.to_string())?;
        let (source, guest) = (tools::root().join("crates/control/tests/guest.c"), dir.join("guest"));
        let mut gcc = tools::gcc(&tools::cross_gcc()?);
        let out =
            gcc.args(["-O1", "-static", "-o"]).args([&guest, &source]).output().map_err(|e| e.to_string())?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        Ok(Place { guest: guest.display().to_string(), trine, dir })
    }

    /// The command, with a store of its own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.trine);
        command.args(args).current_dir(&self.dir);
        command.env("XDG_DATA_HOME", self.dir.join("data")).env("XDG_RUNTIME_DIR", self.dir.join("run"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    fn output(&self, args: &[&str]) -> Result<Output, String> {
        finish(self.command(args).spawn().map_err(|e| e.to_string())?, args)
    }

    /// The output of a command that must succeed.
    fn good(&self, args: &[&str]) -> Result<String, String> {
        self.ends(args, 0)
    }

    /// The output of a command that must end with this code.
    fn ends(&self, args: &[&str], code: i32) -> Result<String, String> {
        let out = self.output(args)?;
        let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        match out.status.code() {
            Some(c) if c == code => Ok(text.trim_end().to_string()),
            _ => Err(format!("trine {}: {}, wanted {code}: {text}{errors}", args.join(" "), out.status)),
        }
    }

    /// The sentence with which a command refuses.
    fn refuses(&self, args: &[&str], part: &str) -> Checked {
        let out = self.output(args)?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        match out.status.code() == Some(2) && said.lines().count() == 1 && said.contains(part) {
            true => Ok(()),
            false => {
                Err(format!("trine {}: {}, wanted one with '{part}': {said}", args.join(" "), out.status))
            }
        }
    }

    /// Runs the test program as a guest in the background.
    fn start(&self, name: &str, options: &[&str], args: &[&str]) -> Result<String, String> {
        let line = [&["run", "-d", "--name", name], options, &[&self.guest], args].concat();
        self.good(&line)
    }

    /// A field of a guest's record.
    fn field(&self, guest: &str, path: &str) -> Result<Value, String> {
        let text = self.good(&["inspect", "--format", &format!("{{{{json .{path}}}}}"), guest])?;
        serde_json::from_str(&text).map_err(|e| format!("{guest}.{path} is {text}: {e}"))
    }

    fn pid(&self, guest: &str, path: &str) -> Result<i32, String> {
        let pid = self.field(guest, path)?.as_i64().ok_or_else(|| format!("{guest} has no {path}"))?;
        i32::try_from(pid).map_err(|e| e.to_string())
    }

    fn has_status(&self, guest: &str, status: &str) -> Checked {
        same(&format!("status of {guest}"), self.field(guest, "State.Status")?, status)
    }

    /// Waits until a guest's log has this text.
    fn logs_have(&self, guest: &str, text: &str) -> Checked {
        until(&format!("'{text}' in the log of {guest}"), || Ok(self.good(&["logs", guest])?.contains(text)))
    }

    /// Processes of guests and monitors of this run.
    fn processes(&self) -> Vec<i32> {
        let runs = format!("XDG_RUNTIME_DIR={}", self.dir.join("run").display());
        let ours = |pid: i32| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|&b| b == 0).any(|line| line == runs.as_bytes())
        };
        process::all().iter().filter(|s| !s.is_zombie() && ours(s.pid)).map(|s| s.pid).collect()
    }

    /// Checks that nothing is left after all guests are removed.
    fn is_clean(&self) -> Checked {
        let all = self.good(&["ps", "-aq"])?;
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            self.good(&[&["rm", "-f"][..], &ids].concat())?;
        }
        same("guests", self.good(&["ps", "-aq"])?, "")?;
        until("no process left", || Ok(self.processes().is_empty()))
            .map_err(|e| format!("{e}; there are {:?}", self.processes()))?;
        for left in ["data/trine/guests/names", "run/trine/guests"] {
            let entries = std::fs::read_dir(self.dir.join(left)).map_err(|e| format!("{left}: {e}"))?;
            let names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
            same(left, format!("{names:?}"), "[]")?;
        }
        Ok(())
    }

    /// Ends what a failed check has left.
    fn clear(&self) {
        self.processes().into_iter().for_each(process::kill);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
