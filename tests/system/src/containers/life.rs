//! A container's life.

use super::Place;
use crate::check::{OnTerminal, same, until};
use trine_test_support::command::check;
use trine_test_support::{Checked, text};

/// From the registry to a process, and beside it.
pub fn first(place: &Place) -> Checked {
    let image = &place.image;
    place.refuses(&["run", "--pull", "never", image], "trine pull")?;
    same("fetched and run", place.line(&["--insecure"], "echo $GIVEN $0")?, "yes sh")?;
    let said = place.say(&[
        "run",
        "--rm",
        "--pull",
        "never",
        image,
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ])?;
    check(said.code == 7 && said.out == "out\n" && said.err == "err\n", "streams and the code", &said)?;
    place.start("web", &[], "echo started; exec sleep 1000")?;
    place.logs_have("web", "started")?;
    same(
        "executed",
        place.well(&["exec", "web", "sh", "-c", "echo $GIVEN; cat /proc/1/comm"])?,
        "yes\nsleep",
    )?;
    same("code of exec", place.say(&["exec", "web", "sh", "-c", "exit 9"])?.code, 9)?;
    same("user of exec", place.well(&["exec", "--user", "ann", "web", "id", "-un"])?, "ann")?;
    let home = place.well(&["exec", "--user", "ann", "web", "sh", "-c", "echo $HOME"])?;
    same("home of exec's user", home, "/home/ann")?;
    place.fails(&["exec", "web", "not-there"], 127, "not-there")?;
    place.fails(&["exec", "web", "/odd/text"], 126, "permission denied")?;
    place.fails(&["exec", "--user", "4294967295", "web", "id"], 125, "4294967295")?;
    place.fails(&["exec", "--user", "evil", "web", "id"], 125, "evil")?;
    same("image in use", place.say(&["rmi", image])?.code, 2)?;
    let listed = place.well(&["ps", "--format", "{{.Name}} {{.Kind}} {{.Status}}"])?;
    same("ps", listed, "web container running")?;
    let top = place.well(&["top", "web"])?;
    check(top.contains("sleep 1000"), "top", &place.say(&["top", "web"])?)?;
    place.well(&["pause", "web"])?;
    same("paused", place.field("web", "State.Status")?, "paused")?;
    place.well(&["resume", "web"])?;
    place.well(&["kill", "web"])?;
    same("killed", place.well(&["wait", "web"])?, "137")?;
    place.well(&["rm", "web"]).map(drop)
}

/// Command, environment, directory, user, name, capabilities.
pub fn process(place: &Place) -> Checked {
    same("the image's own command", place.well(&["run", "--rm", &place.image])?, "")?;
    let options = ["-e", "A=1", "-w", "/srv", "--user", "ann", "--hostname", "box"];
    let line = "echo $A $GIVEN $HOME; pwd; id -un; hostname; cat index.html";
    same("given", place.line(&options, line)?, "1 yes /home/ann\n/srv\nann\nbox\nfrom the image")?;
    let entry = ["run", "--rm", "--entrypoint", "/bin/echo", &place.image, "a", "b"];
    same("entry point", place.well(&entry)?, "a b")?;
    // Words after the image belong to the command.
    let entry = ["run", "--rm", "--entrypoint", "/bin/ls", &place.image, "-d", "/etc"];
    same("options behind the image", place.well(&entry)?, "/etc")?;
    let none = ["run", "--rm", "--entrypoint", "", &place.image, "echo", "-n", "--rm", "--", "x"];
    same("no entry point", place.well(&none)?, "--rm -- x")?;
    place.refuses(&none[..5], "no command")?;
    // Numbers are used as they are, and names of unknown users are refused.
    same("a number", place.line(&["--user", "1000"], "id -u; echo $HOME")?, "1000\n/home/ann")?;
    for user in ["4294967295", "0:4294967295", "2147483648", "evil", "+0"] {
        place.refuses(&["run", "--rm", "--user", user, &place.image, "id"], user.trim_start_matches("0:"))?;
    }
    same("an empty home", place.line(&["-e", "HOME="], "echo $HOME; env | grep -c ^HOME")?, "/root\n1")?;
    let closed = place.line(&["-w", "/odd/closed", "--user", "ann"], "pwd");
    same("a directory that only root may enter", closed?, "/odd/closed")?;
    for (word, code, part) in [
        ("not-there", 127, "not-there"),
        ("/not/there", 127, "no such file"),
        ("/odd/text", 126, "permission denied"),
        ("/odd", 126, "permission denied"),
    ] {
        place.fails(&["run", "--rm", &place.image, word], code, part)?;
        place.fails(&["run", "--rm", "-d", &place.image, word], code, part)?;
    }
    let status = |options: &[&str], key: &str| {
        place.line(options, &format!("grep {key}: /proc/self/status | cut -f2"))
    };
    same("usual capabilities", status(&[], "CapEff")?, "00000000a80425fb")?;
    same("none", status(&["--cap-drop", "all"], "CapEff")?, "0000000000000000")?;
    let added = status(&["--cap-drop", "ALL", "--cap-add", "net_admin"], "CapBnd")?;
    same("one", added, "0000000000001000")?;
    same("an ordinary user has none", status(&["--user", "ann"], "CapEff")?, "0000000000000000")?;
    same("filter", status(&[], "Seccomp")?, "2")?;
    same("no filter", status(&["--seccomp", "unconfined"], "Seccomp")?, "0")?;
    same("no new privileges", status(&["--no-new-privileges"], "NoNewPrivs")?, "1")?;
    let denied = place.line(&[], "mount -t tmpfs x /tmp 2>&1 || unshare -m true 2>&1 || echo neither")?;
    if !denied.ends_with("neither") {
        return Err(format!("mount or unshare work: {denied}"));
    }
    same("ulimit", place.line(&["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn")?, "100\n200")?;
    same(
        "processes of its own",
        place.line(&[], "ls /proc | grep -c '^[0-9]'; echo $$")?.lines().last(),
        Some("1"),
    )?;
    same("masked", place.line(&[], "wc -c < /proc/interrupts; ls /sys/firmware | wc -l; echo x 2>/dev/null > /proc/sysrq-trigger || echo no")?, "0\n0\nno")?;
    let set = place.line(
        &["--sysctl", "net.ipv4.ip_unprivileged_port_start=0"],
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    same("sysctl", set?, "0")
}

/// A pseudo-terminal with its size, job control and keys that detach.
pub fn terminal(place: &Place) -> Checked {
    let mut run = OnTerminal::start(place.command(&["run", "-it", "--name", "tty", &place.image]))?;
    run.types(b"stty size; tty; echo $((6*7))\n")?;
    run.says("24 80\r\n/dev/pts/0\r\n42\r\n")?;
    run.types(b"sleep 1000\n")?;
    until("it sleeps", || Ok(place.well(&["top", "tty"])?.contains("sleep 1000")))?;
    run.types(b"\x03")?;
    run.types(b"echo back-$((1+1))\n")?;
    run.says("back-2\r\n")?;
    run.types(b"\x10\x11")?;
    same("after the keys", run.ends()?, 0)?;
    same("still there", place.field("tty", "State.Status")?, "running")?;
    // The size is set at the first instruction, and so is TERM.
    for _ in 0..5 {
        let mut first =
            OnTerminal::start(place.command(&["run", "-it", "--rm", &place.image, "stty", "size"]))?;
        first.says("24 80\r\n")?;
        same("size", first.ends()?, 0)?;
        let line = ["exec", "-it", "tty", "sh", "-c", "stty size; echo $TERM"];
        let mut second = OnTerminal::start(place.command(&line))?;
        second.says("24 80\r\nxterm\r\n")?;
        same("size in exec", second.ends()?, 0)?;
    }
    let mut shell = OnTerminal::start(place.command(&["exec", "-it", "tty", "sh"]))?;
    shell.types(b"tty; exit 3\n")?;
    shell.says("/dev/pts/1\r\n")?;
    same("exec's code", shell.ends()?, 3)?;
    let mut again = OnTerminal::start(place.command(&["attach", "tty"]))?;
    again.types(b"exit 5\n")?;
    same("the container's code", again.ends()?, 5)
}

/// The riscv64 variant, translated, without any set-up.
pub fn foreign(place: &Place) -> Checked {
    let rv = ["--platform", "linux/riscv64"];
    place.well(&["pull", "--insecure", "--platform", "linux/riscv64", &place.image])?;
    same("its CPU", place.line(&rv, "uname -m; ls /srv; echo $(seq 5)")?, "riscv64\nindex.html\n1 2 3 4 5")?;
    place.start("rv", &rv, "echo started; exec sleep 1000")?;
    place.logs_have("rv", "started")?;
    same("executed in it", place.well(&["exec", "rv", "uname", "-m"])?, "riscv64")?;
    let code =
        place.say(&["run", "--rm", "--platform", "linux/riscv64", &place.image, "sh", "-c", "exit 4"])?.code;
    same("its code", code, 4)?;
    place.refuses(&["run", "--insecure", "--platform", "linux/s390x", &place.image], "s390x")
}

/// Health, restart policies, the image's stop signal, labels.
pub fn kept(place: &Place) -> Checked {
    let often = ["--health-interval", "100ms", "--health-retries", "2"];
    let check = [&often[..], &["--health-cmd", "test -e /tmp/well"]].concat();
    place.start("ill", &check, "exec sleep 1000")?;
    let health = |want: &'static str| until(want, || Ok(place.field("ill", "State.Health.Status")? == want));
    health("unhealthy")?;
    place.well(&["exec", "ill", "touch", "/tmp/well"])?;
    health("healthy")?;
    place.start("again", &["--restart", "on-failure:2"], "date >> /tmp/starts; exit 1")?;
    until("two restarts", || {
        Ok(place.field("again", "State.Status")? == "stopped"
            && place.field("again", "State.Restarts")? == "2")
    })?;
    place.start("deaf", &["--stop-timeout", "1"], "trap '' TERM; echo up; while :; do sleep 1; done")?;
    place.start(
        "polite",
        &["--stop-signal", "USR1"],
        "trap 'exit 6' USR1; echo up; while :; do sleep 0.1; done",
    )?;
    place.logs_have("deaf", "up")?;
    place.logs_have("polite", "up")?;
    place.well(&["stop", "deaf", "polite"])?;
    same("killed", place.field("deaf", "State.ExitCode")?, "137")?;
    same("asked", place.field("polite", "State.ExitCode")?, "6")?;
    // Its files are there when it starts again.
    place.start("keeps", &[], "cat /srv/kept 2>/dev/null || echo new > /srv/kept")?;
    place.well(&["wait", "keeps"])?;
    place.well(&["start", "keeps"])?;
    place.well(&["wait", "keeps"])?;
    same("written before", place.well(&["logs", "keeps"])?, "new")?;
    same("not in the image", place.line(&[], "ls /srv")?, "index.html")
}

/// Impossible requests are refused before anything is created.
pub fn refused(place: &Place) -> Checked {
    let run = |options: &[&'static str], part: &str| {
        place.refuses(&[&["run"], options, &[place.image.as_str(), "true"]].concat(), part)
    };
    run(&["--user", "nobody-here"], "nobody-here")?;
    run(&["--cap-add", "fly"], "fly")?;
    run(&["--network", "a/b"], "a/b")?;
    run(&["--network", "host", "-p", "80"], "--network host")?;
    run(&["-p", "80:"], "-p 80:")?;
    run(&["--network-alias", "x"], "--network NAME")?;
    run(&["--volume", "/not/there:/x"], "/not/there")?;
    run(&["--workdir", "srv"], "'srv'")?;
    run(&["--ulimit", "wings=2"], "WINGS")?;
    run(&["--device", "/etc/passwd"], "not a device")?;
    run(&["--seccomp", "/etc/passwd"], "/etc/passwd")?;
    run(&["--kernel", "/x"], "--kernel")?;
    run(&["--strace"], "--strace")?;
    run(&["--engine", "interp"], "--engine")?;
    run(&["--device-read-bps", "/proc:1M"], "block device")?;
    run(&["--no-such-option"], "--no-such-option")?;
    run(&["--rm", "-v", "/tmp:/to-proc"], "leads to /proc")?;
    // Of a machine: the codes of machines.
    place.fails(&["run", "--cap-add", "ALL", "linux"], 2, "--cap-add is for containers")?;
    let bundle = place.dir.join("home/bundle");
    std::fs::create_dir_all(&bundle)
        .and_then(|()| std::fs::write(bundle.join("config.json"), "{}"))
        .map_err(text)?;
    let bundle = bundle.display().to_string();
    place.refuses(&["run", "-v", "/tmp:/x", &bundle], "--volume is for containers of images")?;
    place.refuses(&["run", "-e", "A=1", &bundle], "containers of images")?;
    place.refuses(&["run", &bundle, "true"], "takes no arguments")?;
    // A guest that failed only at its start is removed by --rm.
    until("nothing is left", || Ok(place.well(&["ps", "-aq"])?.is_empty()))
}

/// Each of the processes of a container in a network with a port is killed; the next command cleans up.
pub fn killed(place: &Place) -> Checked {
    for who in ["Traces.Monitor.Pid", "State.Pid"] {
        place.start(
            "lost",
            &["--network", "n", "-p", "0:80", "-v", "/data"],
            "sleep 1000 & exec sleep 1000",
        )?;
        place.start("stays", &["--network", "n"], "exec sleep 1000")?;
        let pid: i32 = place.field("lost", who)?.parse().map_err(|e| format!("{who}: {e}"))?;
        trine_control::process::kill(pid);
        let over = || Ok(["dead", "stopped"].contains(&&*place.field("lost", "State.Status")?));
        until("it is over", over)?;
        same("others stay", place.field("stays", "State.Status")?, "running")?;
        same(
            "others have their network",
            place.well(&["exec", "stays", "cat", "/sys/class/net/eth0/operstate"])?,
            "up",
        )?;
        let hosts = place.well(&["exec", "stays", "cat", "/etc/hosts"])?;
        if hosts.contains("lost") {
            return Err(format!("the dead member has its name yet: {hosts}"));
        }
        place.well(&["start", "lost"])?;
        same("again", place.field("lost", "State.Status")?, "running")?;
        place.is_clean()?;
    }
    // The command in the foreground: the container continues.
    let options = ["run", "--name", "on", "--network", "n", &place.image, "sleep", "1000"];
    let mut run = place.command(&options).spawn().map_err(|e| e.to_string())?;
    until("it runs", || Ok(place.well(&["ps", "-q"])?.len() == 12))?;
    trine_control::process::kill(run.id() as i32);
    drop(run.wait());
    same("it goes on", place.field("on", "State.Status")?, "running")
}
