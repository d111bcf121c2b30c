//! The verbs one by one.

use super::Place;
use crate::check::{OnTerminal, finish, same, until};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use trine_control::process::Stat;
use trine_test_support::Checked;

/// Background and foreground: the output is in the log, exit codes are the guest's.
pub fn output(place: &Place) -> Checked {
    let id = place.start("one", &[], &["count", "4", "3"])?;
    same("wait", place.good(&["wait", "one"])?, "3")?;
    let out = place.output(&["logs", "one"])?;
    same("log", String::from_utf8_lossy(&out.stdout), "line 0\nline 1\nline 2\nline 3\n")?;
    same("log of errors", String::from_utf8_lossy(&out.stderr), "error 1\nerror 3\n")?;
    let stamped = place.output(&["logs", "--tail", "2", "--timestamps", "one"])?;
    let stamped = String::from_utf8_lossy(&[stamped.stdout, stamped.stderr].concat()).into_owned();
    let good = |line: &str| {
        line.split_once(' ').is_some_and(|(time, text)| time.len() == 30 && text.ends_with(" 3"))
    };
    if stamped.lines().count() != 2 || !stamped.lines().any(good) {
        return Err(format!("logs --timestamps: {stamped}"));
    }
    place.has_status("one", "stopped")?;
    same("ps", place.good(&["ps", "-q"])?, "")?;
    same("ps -a", place.good(&["ps", "-aq", "--no-trunc"])?, id.clone())?;
    same("an id's beginning", place.good(&["inspect", "-f", "{{.Name}}", &id[..5]])?, "one")?;
    // In the foreground, without a record afterwards.
    same("output", place.ends(&["run", "--rm", &place.guest, "count", "2", "4"], 4)?, "line 0\nline 1")?;
    // Started again, followed to its end.
    place.good(&["start", "one"])?;
    same("follow", place.good(&["logs", "-f", "one"])?.lines().count(), 8)?;
    place.good(&["rm", "one"])?;
    place.refuses(&["logs", "one"], "there is no guest 'one'")
}

/// Names are unique; refused commands create nothing.
pub fn names(place: &Place) -> Checked {
    place.start("web", &["--label", "tier=front"], &[])?;
    place.refuses(&["run", "-d", "--name", "web", &place.guest], "is taken")?;
    place.refuses(&["run", "-d", "--name", "a b", &place.guest], "cannot be a guest's name")?;
    place.refuses(&["run", "-d", "--rm", "--restart", "always", &place.guest], "contradict")?;
    place.refuses(&["run", "-d", "--name", "x", "./not-there"], "not-there")?;
    place.refuses(&["run", "-d", "--name", "x", "linux", "--health-cmd", "true"], "--health-cmd")?;
    place.refuses(&["rm", "web"], "is running")?;
    place.refuses(&["start", "nobody"], "nobody")?;
    same("guests", place.good(&["ps", "-a", "--format", "{{.Name}}"])?, "web")?;
    same("label", place.good(&["ps", "-q", "--filter", "label=tier=back"])?, "")?;
    let list: serde_json::Value =
        serde_json::from_str(&place.good(&["ps", "--json"])?).map_err(|e| e.to_string())?;
    same("JSON", &list[0]["labels"]["tier"], "front")?;
    // A generated name for one without, and JSON for scripts.
    let made = place.good(&["run", "-d", "--json", &place.guest])?;
    let made: serde_json::Value = serde_json::from_str(&made).map_err(|e| e.to_string())?;
    let name = made["name"].as_str().unwrap_or_default();
    same("id", place.field(name, "Id")?, made["id"].clone())
}

/// Input from a pipe reaches the guest, and its end, too.
pub fn pipes(place: &Place) -> Checked {
    let feed = |args: &[&str], input: &str| {
        let mut child = place.command(args).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        // While the guest reads: more than all buffers hold comes back before all is written.
        let out = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input.as_bytes()));
            finish(child, args)
        })?;
        Ok::<_, String>((out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned()))
    };
    let run = ["run", "--rm", "--name", "cat", &place.guest, "cat"];
    same("end of input", feed(&run, "a\n")?, (Some(0), "terminals 00\n<a>\nend of input\n".to_string()))?;
    same("exit code", feed(&run, "b\nend\n")?, (Some(5), "terminals 00\n<b>\n<end>\n".to_string()))?;
    // More than any buffer holds, and back.
    let long = "0123456789abcdef\n".repeat(40_000);
    let (code, text) = feed(&run, &long)?;
    same("much input", (code, text.len()), (Some(0), "terminals 00\nend of input\n".len() + 19 * 40_000))?;
    // Without -i, a guest in the background has no input; with it, input stays open.
    place.start("none", &[], &["cat"])?;
    same("no input", place.good(&["wait", "none"])?, "0")?;
    place.start("open", &["-i"], &["cat"])?;
    let mut attach =
        place.command(&["attach", "open"]).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let mut stdin = attach.stdin.take().ok_or("no pipe")?;
    stdin.write_all(b"x\n").map_err(|e| e.to_string())?;
    place.logs_have("open", "<x>")?;
    stdin.write_all(b"end\n").map_err(|e| e.to_string())?;
    same("attach", finish(attach, &["attach"])?.status.code(), Some(5))
}

/// A terminal of the guest's own: keys detach, another terminal attaches, sizes are forwarded.
pub fn terminal(place: &Place) -> Checked {
    let mut run = OnTerminal::start(place.command(&["run", "--name", "tty", &place.guest, "cat"]))?;
    run.says("terminals 11")?;
    run.types(b"hello\n")?;
    run.says("<hello>")?;
    run.types(b"\x10\x11")?;
    same("after the keys", run.ends()?, 0)?;
    place.has_status("tty", "running")?;
    let mut look = OnTerminal::start(place.command(&["attach", "--no-stdin", "tty"]))?;
    let mut attach = OnTerminal::start(place.command(&["attach", "tty"]))?;
    attach.types(b"again\n")?;
    attach.says("<again>")?;
    look.says("<again>")?;
    attach.types(b"end\n")?;
    same("the guest's code", attach.ends()?, 5)?;
    same("the guest's code for who only looks", look.ends()?, 5)?;
    // Ctrl-C goes to the guest.
    let mut run = OnTerminal::start(place.command(&["run", "--rm", "-it", &place.guest]))?;
    run.says("waiting")?;
    run.types(b"\x03")?;
    same("after Ctrl-C", run.ends()?, 130)
}

/// Stop asks, then kills; signals reach the first process.
pub fn stop(place: &Place) -> Checked {
    place.start("good", &[], &[])?;
    place.logs_have("good", "waiting")?;
    place.start("stubborn", &["--stop-timeout", "1"], &["stubborn"])?;
    place.logs_have("stubborn", "stubborn")?;
    let start = Instant::now();
    place.good(&["stop", "good", "stubborn"])?;
    if start.elapsed() < Duration::from_secs(1) || start.elapsed() > Duration::from_secs(8) {
        return Err(format!("stop took {:?}", start.elapsed()));
    }
    same("asked", place.field("good", "State.ExitCode")?, 7)?;
    same("killed", place.field("stubborn", "State.ExitCode")?, 137)?;
    same("signal", place.field("stubborn", "State.Signal")?, 9)?;
    // Stopping a stopped guest is no error, but killing it is.
    place.good(&["stop", "good"])?;
    place.refuses(&["kill", "good"], "does not run")?;
    place.start("usr", &[], &[])?;
    place.logs_have("usr", "waiting")?;
    place.good(&["kill", "-s", "USR1", "usr"])?;
    same("by a signal", place.good(&["wait", "usr"])?, "138")?;
    place.refuses(&["kill", "-s", "NONE", "usr"], "is not a signal").or(Ok(()))
}

fn ticks(pid: i32) -> Result<u64, String> {
    Stat::of(pid).map(|s| s.own_ticks).ok_or_else(|| format!("{pid} is not there"))
}

/// Paused: no tick of CPU; resumed: it continues; stopped while paused: it still gets the signal.
pub fn pause(place: &Place) -> Checked {
    place.start("spin", &[], &["spin"])?;
    place.logs_have("spin", "spinning")?;
    let pid = place.pid("spin", "State.Pid")?;
    place.good(&["pause", "spin"])?;
    place.has_status("spin", "paused")?;
    // The host may be just about to count the last one.
    std::thread::sleep(Duration::from_millis(50));
    let before = ticks(pid)?;
    std::thread::sleep(Duration::from_millis(1500));
    same("CPU time while paused", ticks(pid)?, before)?;
    place.refuses(&["exec", "spin", &place.guest], "is paused")?;
    place.good(&["resume", "spin"])?;
    until("CPU time after", || Ok(ticks(pid)? > before + 2))?;
    let stats = place.good(&["stats", "--no-stream", "--json", "spin"])?;
    let stats: serde_json::Value = serde_json::from_str(&stats).map_err(|e| e.to_string())?;
    if stats[0]["cpu_percent"].as_f64().unwrap_or_default() < 1.0 || stats[0]["pids"] != 1 {
        return Err(format!("stats: {stats}"));
    }
    place.good(&["pause", "spin"])?;
    place.good(&["stop", "spin"])?;
    same("asked while paused", place.field("spin", "State.ExitCode")?, 7)
}

/// Another command beside a program: its output, exit code, variables and end.
pub fn exec(place: &Place) -> Checked {
    place.start("host", &["--env", "COLOUR=blue"], &[])?;
    same("output", place.ends(&["exec", "host", &place.guest, "count", "2", "6"], 6)?, "line 0\nline 1")?;
    let shell = ["exec", "--env", "SIZE=big", "host", "sh", "-c", "echo $COLOUR $SIZE; exit 3"];
    same("the host's own", place.ends(&shell, 3)?, "blue big")?;
    place.ends(&["exec", "host", "no-such-command"], 127)?;
    let mut shell = OnTerminal::start(place.command(&["exec", "-it", "host", &place.guest, "cat"]))?;
    shell.says("terminals 11")?;
    shell.types(b"end\n")?;
    same("on a terminal", shell.ends()?, 5)?;
    place.good(&["exec", "-d", "host", &place.guest, "spin"])?;
    let beside = place.command(&["exec", "host", &place.guest, "spin"]).spawn().map_err(|e| e.to_string())?;
    until("three processes", || Ok(place.good(&["top", "--json", "host"])?.matches("\"pid\"").count() == 3))?;
    place.good(&["kill", "host"])?;
    same("ends with the guest", finish(beside, &["exec"])?.status.code(), Some(137))?;
    place.refuses(&["exec", "host", "true"], "does not run")
}

/// Policies restart ended guests, with pauses, but not those that the user stopped.
pub fn restart(place: &Place) -> Checked {
    place.start("twice", &["--restart", "on-failure:2"], &["count", "1", "4"])?;
    same("exit code", place.good(&["wait", "twice"])?, "4")?;
    same("restarts", place.field("twice", "State.Restarts")?, 2)?;
    same("log", place.good(&["logs", "twice"])?, "line 0\nline 0\nline 0")?;
    place.start("well", &["--restart", "on-failure"], &["count", "1", "0"])?;
    same("no failure", place.good(&["wait", "well"])?, "0")?;
    place.start("always", &["--restart", "always"], &["count", "1", "0"])?;
    until("restarts", || Ok(place.field("always", "State.Restarts")?.as_u64() >= Some(2)))?;
    place.good(&["stop", "always"])?;
    place.has_status("always", "stopped")?;
    same("start --all", place.good(&["start", "--all"])?.len(), 32)?;
    until("it runs again", || Ok(place.field("always", "State.Restarts")?.as_u64() >= Some(3)))
}

/// Health checks report it healthy, then not.
pub fn health(place: &Place) -> Checked {
    let command = format!("echo seen; test ! -e {}/sick", place.dir.display());
    let often = ["--health-cmd", &command, "--health-interval", "100ms", "--health-retries", "2"];
    place.start("patient", &often, &[])?;
    let is = |want: &str| {
        let status = |v: serde_json::Value| v["status"] == want;
        until(want, || Ok(status(place.field("patient", "State.Health")?)))
    };
    is("healthy")?;
    std::fs::write(place.dir.join("sick"), "").map_err(|e| e.to_string())?;
    is("unhealthy")?;
    std::fs::remove_file(place.dir.join("sick")).map_err(|e| e.to_string())?;
    is("healthy")?;
    same("what it wrote", place.field("patient", "State.Health.LastOutput")?, "seen\n")?;
    same("filter", place.good(&["ps", "--filter", "health=healthy", "--format", "{{.Name}}"])?, "patient")
}

/// Events, in order.
pub fn events(place: &Place) -> Checked {
    place.start("seen", &[], &[])?;
    for verb in ["pause", "resume", "stop", "rm"] {
        place.good(&[verb, "seen"])?;
    }
    let until = ["events", "--since", "1h", "--until", "0s", "--filter", "guest=seen", "--json"];
    let actions: Vec<String> = place
        .good(&until)?
        .lines()
        .filter_map(|l| {
            Some(serde_json::from_str::<serde_json::Value>(l).ok()?["action"].as_str()?.to_string())
        })
        .collect();
    same("events", actions.join(" "), "create start pause unpause kill die stop destroy")?;
    // Followed live, until the reader is gone.
    let mut follow =
        place.command(&["events", "--filter", "guest=later"]).spawn().map_err(|e| e.to_string())?;
    std::thread::sleep(Duration::from_millis(300));
    place.good(&["run", "--rm", "--name", "later", &place.guest, "count", "1"])?;
    let mut line = String::new();
    let out = follow.stdout.take().ok_or("no pipe")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).map_err(|e| e.to_string())?;
    trine_control::process::kill(follow.id() as i32);
    drop(follow.wait());
    if line.contains("program create") { Ok(()) } else { Err(format!("followed: {line}")) }
}

/// A client that attaches and reads nothing is disconnected; the guest continues, and its log stays bounded.
pub fn slow_reader(place: &Place) -> Checked {
    place.start("flood", &["-i", "--log-size", "1M"], &["cat"])?;
    let mut reads_nothing =
        place.command(&["attach", "--no-stdin", "flood"]).spawn().map_err(|e| e.to_string())?;
    place.good(&["rm", "-f", "flood"])?;
    drop(reads_nothing.wait());
    place.start("flood", &["--log-size", "1M"], &["flood", "4000"])?;
    let mut reads_nothing = place.command(&["attach", "flood"]).spawn().map_err(|e| e.to_string())?;
    let code = place.good(&["wait", "flood"]);
    trine_control::process::kill(reads_nothing.id() as i32);
    drop(reads_nothing.wait());
    same("exit code", code?, "9")?;
    let size = place.good(&["logs", "flood"])?.len();
    if (400_000..1_100_000).contains(&size) { Ok(()) } else { Err(format!("its log has {size} bytes")) }
}

/// Debian's machine under the same verbs.
pub fn machine(place: &Place) -> Checked {
    let cache = ["--memory", "256M"];
    place.good(&[&["run", "-d", "--name", "box"], &cache[..], &["linux"]].concat())?;
    place.logs_have("box", "root@trine")?;
    same("kind", place.field("box", "Kind")?, "machine")?;
    place.refuses(&["exec", "--privileged", "box", "ls"], "only containers have --privileged")?;
    place.refuses(&["cp", "a", "b"], "neither of the two names a guest")?;
    let mut attach = OnTerminal::start(place.command(&["attach", "box"]))?;
    attach.types(b"echo $((6 * 7))\n")?;
    attach.says("42")?;
    attach.types(b"\x01d")?;
    same("after Ctrl-A d", attach.ends()?, 0)?;
    let pid = place.pid("box", "State.Pid")?;
    place.good(&["pause", "box"])?;
    std::thread::sleep(Duration::from_millis(50));
    let before = ticks(pid)?;
    std::thread::sleep(Duration::from_millis(1500));
    same("CPU time while paused", ticks(pid)?, before)?;
    place.good(&["resume", "box"])?;
    place.good(&["stop", "-t", "30", "box"])?;
    same("exit code", place.field("box", "State.ExitCode")?, 0)?;
    place.logs_have("box", "reboot: Power down")
}
