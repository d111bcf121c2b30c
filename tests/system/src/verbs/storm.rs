//! SIGKILL for any process at any moment, and many commands at once.

use super::Place;
use crate::check::{finish, same, until};
use std::process::Child;
use std::time::{Duration, Instant};
use trine_control::process::{self, Mark};
use trine_test_support::Checked;

/// The command in the foreground is killed: the guest continues in the background.
pub fn command_killed(place: &Place) -> Checked {
    let run = place.command(&["run", "--name", "goes-on", &place.guest]).spawn();
    let mut run = run.map_err(|e| e.to_string())?;
    until("it runs", || Ok(place.good(&["ps", "-q"])?.len() == 12))?;
    place.logs_have("goes-on", "waiting")?;
    process::kill(run.id() as i32);
    drop(run.wait());
    place.has_status("goes-on", "running")?;
    place.good(&["stop", "goes-on"])?;
    same("exit code", place.field("goes-on", "State.ExitCode")?, 7)
}

/// The monitor is killed: the guest, with its daemons, does not outlive it, and the next command reports it.
pub fn monitor_killed(place: &Place) -> Checked {
    let id = place.start("lost", &[], &["children"])?;
    place.logs_have("lost", "children")?;
    // Its own, two children, a daemon, and the monitor.
    same("processes", Mark::of(&id).bearers().len(), 5)?;
    process::kill(place.pid("lost", "Traces.Monitor.Pid")?);
    until("dead", || Ok(place.field("lost", "State.Status")? == "dead"))?;
    until("nothing left", || Ok(Mark::of(&id).bearers().is_empty()))?;
    same("wait", place.good(&["wait", "lost"])?, "137")?;
    // It can be started again.
    place.good(&["start", "lost"])?;
    place.has_status("lost", "running")?;
    // One with --rm is removed by the next command that finds it.
    let id = place.start("gone", &["--rm"], &["children"])?;
    place.logs_have("gone", "children")?;
    process::kill(place.pid("gone", "Traces.Monitor.Pid")?);
    until("removed", || Ok(!place.good(&["ps", "-aq", "--no-trunc"])?.contains(&id)))?;
    until("nothing left", || Ok(Mark::of(&id).bearers().is_empty()))
}

/// The guest's first process is killed: its children end with it.
pub fn guest_killed(place: &Place) -> Checked {
    let id = place.start("first", &[], &["children"])?;
    place.logs_have("first", "children")?;
    process::kill(place.pid("first", "State.Pid")?);
    same("wait", place.good(&["wait", "first"])?, "137")?;
    until("nothing left", || Ok(Mark::of(&id).bearers().is_empty()))
}

fn all_at_once(place: &Place, lines: &[Vec<&str>]) -> Result<Vec<(Option<i32>, String)>, String> {
    let start = |line: &Vec<&str>| place.command(line).spawn().map_err(|e| e.to_string());
    let children: Vec<Child> = lines.iter().map(start).collect::<Result<_, _>>()?;
    let ended = children.into_iter().zip(lines).map(|(child, line)| {
        let out = finish(child, line)?;
        Ok((out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned()))
    });
    ended.collect()
}

/// 20 commands at once: only one gets a name, all others succeed and nothing is lost.
pub fn at_once(place: &Place) -> Checked {
    let only = vec![vec!["run", "-d", "--name", "only", &place.guest]; 20];
    let codes = all_at_once(place, &only)?;
    same("who got the name", codes.iter().filter(|(c, _)| *c == Some(0)).count(), 1)?;
    same("who was refused", codes.iter().filter(|(c, _)| *c == Some(2)).count(), 19)?;
    let many = vec![vec!["run", "-d", "--label", "many", &place.guest]; 20];
    same("started", all_at_once(place, &many)?.iter().filter(|(c, _)| *c == Some(0)).count(), 20)?;
    let ids = place.good(&["ps", "-q", "--filter", "label=many"])?;
    same("there", ids.lines().count(), 20)?;
    // All kinds of commands about the same guest.
    let verbs = ["pause", "resume", "logs", "inspect", "top", "resume"];
    let mut mixed: Vec<Vec<&str>> = (0..18).map(|n| vec![verbs[n % verbs.len()], "only"]).collect();
    mixed.extend([vec!["ps", "-a"], vec!["stats", "--no-stream"]]);
    for (line, (code, said)) in mixed.iter().zip(all_at_once(place, &mixed)?) {
        same(&format!("trine {} ({said})", line.join(" ")), code, Some(0))?;
    }
    // Each is stopped, waited for and removed by several commands.
    let lines: Vec<Vec<&str>> = ids.lines().flat_map(|id| [vec!["stop", id], vec!["wait", id]]).collect();
    for (line, (code, said)) in lines.iter().zip(all_at_once(place, &lines)?) {
        same(&format!("trine {} ({said})", line.join(" ")), code, Some(0))?;
    }
    let lines = ids.lines().flat_map(|id| [vec!["rm", "-f", id], vec!["rm", "-f", id]]);
    for (code, said) in all_at_once(place, &lines.collect::<Vec<_>>())? {
        same(&said, code, Some(0))?;
    }
    same("left", place.good(&["ps", "-a", "--format", "{{.Name}}"])?, "only")
}

/// Guests are started, stopped and removed while commands, monitors and guests are killed at random moments.
/// Afterwards every guest is in a valid state, and can be removed.
pub fn storm(place: &Place) -> Checked {
    let end = Instant::now() + Duration::from_secs(10);
    let (mut state, mut kills) = (0x2545_f491_4f6c_dd1d_u64, 0);
    let mut random = move |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as usize
    };
    let mut children: Vec<Child> = Vec::new();
    let names = ["a", "b", "c", "d"];
    while Instant::now() < end {
        let name = names[random(names.len())];
        let line = match random(8) {
            0..3 => vec!["run", "-d", "--name", name, &place.guest, "children"],
            3 => vec!["run", "--rm", "--name", name, &place.guest, "count", "3"],
            4 => vec!["stop", "-t", "0", name],
            5 => vec!["rm", "-f", name],
            6 => vec!["start", name],
            _ => vec!["ps", "-a"],
        };
        children.push(place.command(&line).spawn().map_err(|e| e.to_string())?);
        std::thread::sleep(Duration::from_millis(random(30) as u64));
        let processes = place.processes();
        if random(2) == 0 && !processes.is_empty() {
            process::kill(processes[random(processes.len())]);
            kills += 1;
        }
        if children.len() > 20 {
            // Killed or not: its output does not matter here, only that it ends.
            finish(children.remove(0), &["in the storm"])?;
        }
    }
    for child in children {
        finish(child, &["in the storm"])?;
    }
    println!("  {kills} processes killed");
    for name in place.good(&["ps", "-a", "--format", "{{.Name}}"])?.lines() {
        let status = place.field(name, "State.Status")?;
        let pid = place.field(name, "State.Pid")?;
        let possible = match status.as_str() {
            Some("running") => pid.is_i64(),
            Some("created" | "stopped" | "dead") => pid.is_null(),
            _ => false,
        };
        if !possible {
            return Err(format!("{name} is {status} and has process {pid}"));
        }
    }
    Ok(())
}
