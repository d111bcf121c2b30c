//! Docker: a daemon of the test's own, which changes nothing in the host's network.

use super::{Place, expect, nothing_left_but_daemon, possible, said, text, until};
use std::process::Command;

/// How many containers run at once.
const AT_ONCE: usize = 20;

/// Docker.
pub fn run() -> Result<(), String> {
    if !possible(&["dockerd", "docker", "containerd", "containerd-shim-runc-v2", "docker-init"]) {
        return Ok(());
    }
    // On a host that never had Docker, the daemon creates a directory for its key.
    let key = std::path::Path::new("/etc/docker/key.json");
    let new = !key.exists();
    let driven = drive();
    if new {
        drop(std::fs::remove_file(key));
        drop(std::fs::remove_dir("/etc/docker"));
    }
    driven
}

fn drive() -> Result<(), String> {
    let mut place = Place::new("docker")?;
    let group = Group(format!("trine-docker-{}", std::process::id()));
    let log = std::fs::File::create(place.path("log")).map_err(text)?;
    let mut daemon = Command::new("dockerd");
    daemon.args(["--data-root", &place.path("root"), "--exec-root", &place.path("exec")]);
    daemon.args(["--pidfile", &place.path("pid"), "--host", &format!("unix://{}", place.path("sock"))]);
    // The host's network and its rules stay as they are.
    daemon.args(["--bridge=none", "--iptables=false", "--ip-masq=false", "--storage-driver=vfs"]);
    daemon.args([
        "--add-runtime",
        &format!("trine={}", place.runtime().display()),
        "--default-runtime=trine",
    ]);
    daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", &group.0]);
    // As for Podman: limits stay as they are.
    daemon.args(["--default-ulimit", "nofile=1024:1024"]);
    place.daemon = Some(daemon.stdout(log.try_clone().map_err(text)?).stderr(log).spawn().map_err(text)?);
    let up = || said(&mut docker(&place, &["version"])).is_ok();
    let driven = until("Docker's daemon", up).and_then(|()| containers(&place));
    drop(said(Command::new("sh").arg("-c").arg("docker ps -aq | xargs -r docker rm -f").envs(env(&place))));
    // It ends its containerd only if it is asked to end.
    if let Some(daemon) = &mut place.daemon {
        drop(said(Command::new("kill").arg(daemon.id().to_string())));
        drop(daemon.wait());
    }
    driven.map_err(|e| format!("{e}\n{}", last_lines(&place)))?;
    nothing_left_but_daemon(&mut place)?;
    let below = super::groups(&group.0).into_iter().filter(|group| std::fs::remove_dir(group).is_err());
    match below.collect::<Vec<_>>() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("control groups are left below {left:?}")),
    }
}

/// The end of the daemon's log, which contains its errors.
fn last_lines(place: &Place) -> String {
    let log = std::fs::read_to_string(place.path("log")).unwrap_or_default();
    let bad: Vec<&str> = log.lines().filter(|l| l.contains("level=error")).collect();
    bad[bad.len().saturating_sub(10)..].join("\n")
}

/// The control group above those of the daemon's containers, which nothing else removes.
struct Group(String);

impl Drop for Group {
    fn drop(&mut self) {
        for group in super::groups(&self.0) {
            drop(std::fs::remove_dir(group));
        }
    }
}

fn env(place: &Place) -> [(&'static str, String); 2] {
    [("DOCKER_HOST", format!("unix://{}", place.path("sock"))), ("DOCKER_CONFIG", place.path("config"))]
}

fn docker(place: &Place, words: &[&str]) -> Command {
    let mut made = Command::new("docker");
    made.envs(env(place)).args(words);
    made
}

fn containers(place: &Place) -> Result<(), String> {
    said(Command::new("tar").args(["-C", &place.path("rootfs"), "-cf", &place.path("root.tar"), "."]))?;
    said(&mut docker(place, &["import", &place.path("root.tar"), "bb:1"]))?;
    let run = |more: &[&str], line: &[&str]| {
        let mut words = vec!["run", "--network", "none"];
        words.extend_from_slice(more);
        words.push("bb:1");
        words.extend_from_slice(line);
        docker(place, &words)
    };
    // Short programs have often ended before the client that started them looks again.
    for _ in 0..AT_ONCE {
        expect(&mut run(&["--rm"], &["id", "-u"]), "0")?;
    }
    for (more, line, want) in SEES {
        expect(&mut run(&[&["--rm"], *more].concat(), line), want)?;
    }
    let code = run(&["--rm"], &["sh", "-c", "exit 9"]).status().map_err(text)?;
    if code.code() != Some(9) {
        return Err(format!("Docker says that a container which ends with 9 ended with {code}"));
    }
    one(place, &run)?;
    memory(place, &run)?;
    health(place, &run)?;
    at_once(place, &run)
}

/// Options, a program, and its expected output.
const SEES: &[(&[&str], &[&str], &str)] = &[
    (&["--user", "7:8"], &["id"], "uid=7 gid=8"),
    (&["--read-only"], &["sh", "-c", "echo x > /etc/x || echo refused"], "refused"),
    (&["--init"], &["cat", "/proc/1/cmdline"], "docker-init"),
    (&["--hostname", "h"], &["hostname"], "h"),
    (&["--tmpfs", "/t", "--user", "7"], &["sh", "-c", "echo x > /t/x && echo written"], "written"),
    (&["--ulimit", "nofile=100:200"], &["sh", "-c", "ulimit -n"], "100"),
    (&["--sysctl", "net.ipv4.ip_forward=1"], &["cat", "/proc/sys/net/ipv4/ip_forward"], "1"),
    (&["--security-opt", "no-new-privileges"], &["grep", "NoNewPrivs", "/proc/self/status"], "1"),
    (&["--privileged"], &["sh", "-c", "test -e /dev/zero && echo devices"], "devices"),
];

type Run<'a> = &'a dyn Fn(&[&str], &[&str]) -> Command;

/// Operations on one container.
fn one(place: &Place, run: Run) -> Result<(), String> {
    let it = |words: &[&str]| docker(place, words);
    said(&mut run(&["-d", "--name", "one", "-m", "64m", "--pids-limit", "50"], &["sleep", "1000"]))?;
    expect(&mut it(&["exec", "one", "id", "-u"]), "0")?;
    expect(&mut it(&["exec", "-t", "one", "sh", "-c", "test -t 0 && echo terminal"]), "terminal")?;
    said(&mut it(&["exec", "-d", "one", "sleep", "999"]))?;
    expect(&mut it(&["stats", "--no-stream", "one"]), "64MiB")?;
    expect(&mut it(&["top", "one"]), "sleep 999")?;
    said(&mut it(&["pause", "one"]))?;
    expect(&mut it(&["ps"]), "Paused")?;
    said(&mut it(&["unpause", "one"]))?;
    let more = ["--memory", "96m", "--memory-swap", "96m", "--pids-limit", "77", "--cpus", "0.5"];
    said(&mut it(&[&["update"], &more[..], &["one"]].concat()))?;
    expect(&mut it(&["stats", "--no-stream", "one"]), "96MiB")?;
    said(&mut it(&["restart", "-t", "0", "one"]))?;
    expect(&mut it(&["exec", "one", "id", "-u"]), "0")?;
    said(&mut it(&["kill", "one"]))?;
    expect(&mut it(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"]), "exited 137")?;
    said(&mut it(&["start", "one"]))?;
    said(&mut it(&["stop", "-t", "0", "one"]))?;
    said(&mut it(&["rm", "one"])).map(drop)
}

fn memory(place: &Place, run: Run) -> Result<(), String> {
    let more = ["--name", "full", "-m", "16m", "--memory-swap", "16m"];
    drop(run(&more, &["tail", "/dev/zero"]).status());
    expect(
        &mut docker(place, &["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "full"]),
        "true 137",
    )
}

fn health(place: &Place, run: Run) -> Result<(), String> {
    for (name, check, want) in [("good", "true", "healthy"), ("bad", "false", "unhealthy")] {
        let more = ["--health-cmd", check, "--health-interval", "1s", "--health-retries", "1"];
        said(&mut run(&[&["-d", "--name", name], &more[..]].concat(), &["sleep", "1000"]))?;
        let state = || said(&mut docker(place, &["inspect", "-f", "{{.State.Health.Status}}", name]));
        until(&format!("a container that is {want}"), || state().is_ok_and(|s| s.trim() == want))?;
    }
    Ok(())
}

fn at_once(place: &Place, run: Run) -> Result<(), String> {
    let names: Vec<String> = (0..AT_ONCE).map(|i| format!("n{i}")).collect();
    let all = |make: &dyn Fn(&str) -> Command| {
        let begun: Result<Vec<_>, _> =
            names.iter().map(|n| make(n).stdout(std::process::Stdio::null()).spawn()).collect();
        let ended = begun.map_err(text)?.into_iter().map(|mut child| child.wait());
        let bad = ended.filter(|e| !e.as_ref().is_ok_and(|s| s.success())).count();
        if bad == 0 { Ok(()) } else { Err(format!("{bad} of {AT_ONCE} commands at once failed")) }
    };
    all(&|name| run(&["-d", "--name", name, "-m", "32m"], &["sleep", "1000"]))?;
    let running = said(&mut docker(place, &["ps", "-q", "--filter", "name=^n[0-9]"]))?.lines().count();
    if running != AT_ONCE {
        return Err(format!("{running} of {AT_ONCE} containers run"));
    }
    all(&|name| docker(place, &["exec", name, "id", "-u"]))?;
    all(&|name| docker(place, &["rm", "-f", name]))?;
    let left = said(&mut docker(place, &["ps", "-aq", "--filter", "name=^n[0-9]"]))?;
    if left.is_empty() { Ok(()) } else { Err(format!("after rm -f there is still: {left}")) }
}
