//! The life of containers, and processes in them.

use super::rare;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use trine_base::passed_fds;
use trine_test_support::bundle::Bundle;
use trine_test_support::command::{said, succeed};
use trine_test_support::{NOBODY, text};

/// Time limit.
const PATIENCE: Duration = Duration::from_secs(20);

type Part = (&'static str, fn(&Bundle) -> Result<(), String>);

const PARTS: &[Part] = &[
    ("life", life),
    ("exec", exec),
    ("exec by a file", exec_file),
    ("pause", pause),
    ("limits", limits),
    ("terminal", terminal),
    ("hooks", hooks),
    ("failing hook", failing_hook),
    ("last hooks", last_hooks),
    ("links as mount places", rare::links),
    ("descriptors", descriptors),
    ("joined namespaces", joined),
    ("killed maker", killed_maker),
    ("log", log),
    ("another CPU", other_cpu),
    ("listener of system calls", rare::listener),
    ("keyrings", rare::keys),
    ("group below", rare::group_below),
    ("hostile bundles", rare::hostile),
    ("no pivot_root", rare::no_pivot),
    ("nobody reaps", rare::nobody_reaps),
];

/// Runs all; returns the failures.
pub fn all(bundle: &Bundle) -> Vec<String> {
    let one = |(name, part): &Part| {
        let failed = part(bundle).err().map(|e| format!("{name}: {e}"));
        drop(bundle.trine(&["delete", "--force", "c"]));
        failed
    };
    PARTS.iter().filter_map(one).collect()
}

pub fn state(bundle: &Bundle) -> Result<Value, String> {
    serde_json::from_str(&bundle.good(&["state", "c"])?).map_err(text)
}

fn expect_status(bundle: &Bundle, want: &str) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let state = state(bundle)?;
        if state["status"] == want {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("its status is not {want}: {state}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn expect_refusal(out: Output, word: &str) -> Result<(), String> {
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    if out.status.code() == Some(1) && why.contains(word) {
        Ok(())
    } else {
        Err(format!("no '{word}': {}", said(&out)))
    }
}

pub fn expect(got: impl AsRef<str>, want: &str) -> Result<(), String> {
    let got = got.as_ref().trim();
    if got == want { Ok(()) } else { Err(format!("{got:?} and not {want:?}")) }
}

/// Starts a container in the background, without waiting for its output.
pub fn background(bundle: &Bundle, script: &str, changes: &[(&str, &str)]) -> Result<(), String> {
    bundle.script(script, changes)?;
    quiet(bundle, &["run", "--detach", "c"])
}

/// Runs a command that leaves a process behind, which keeps its standard output and error open: their end is
/// not waited for.
pub fn quiet(bundle: &Bundle, args: &[&str]) -> Result<(), String> {
    let path = bundle.dir.join("said");
    let file = fs::File::create(&path).map_err(text)?;
    let status = bundle.oci().args(args).stdout(Stdio::null()).stderr(file).status().map_err(text)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{status}: {}", fs::read_to_string(path).unwrap_or_default()))
    }
}

fn create(bundle: &Bundle) -> Result<(), String> {
    let mut command = bundle.oci();
    command.args(["create", "--pid-file", "pid", "c"]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().map_err(text)?;
    if status.success() { Ok(()) } else { Err(format!("create: {status}")) }
}

fn life(bundle: &Bundle) -> Result<(), String> {
    bundle.script(
        "trap 'exit 0' TERM; echo up > /dev/shm/up; while :; do sleep 0.05; done",
        &[("/annotations", r#"{"a.b":"c"}"#)],
    )?;
    create(bundle)?;
    let made = state(bundle)?;
    let pid = fs::read_to_string(bundle.dir.join("pid")).map_err(text)?;
    expect(made["pid"].to_string(), pid.trim())?;
    expect(made["status"].as_str().unwrap_or_default(), "created")?;
    expect(made["annotations"]["a.b"].as_str().unwrap_or_default(), "c")?;
    expect(made["bundle"].as_str().unwrap_or_default(), &bundle.dir.display().to_string())?;
    expect_refusal(bundle.trine(&["create", "c"])?, "already exists")?;
    bundle.good(&["start", "c"])?;
    expect_status(bundle, "running")?;
    expect_refusal(bundle.trine(&["start", "c"])?, "running")?;
    expect_refusal(bundle.trine(&["delete", "c"])?, "not stopped")?;
    let list = bundle.good(&["list", "--format", "json"])?;
    expect(serde_json::from_str::<Value>(&list).map_err(text)?[0]["id"].as_str().unwrap_or_default(), "c")?;
    bundle.good(&["kill", "c"])?;
    expect_status(bundle, "stopped")?;
    expect_refusal(bundle.trine(&["kill", "c", "KILL"])?, "container not running")?;
    bundle.good(&["delete", "c"])?;
    expect_refusal(bundle.trine(&["state", "c"])?, "does not exist")?;
    bundle.good(&["delete", "--force", "c"])?;
    // A container that never started.
    create(bundle)?;
    bundle.good(&["delete", "c"])?;
    expect_refusal(bundle.trine(&["state", "../c"])?, "ID format").map(drop)
}

fn exec(bundle: &Bundle) -> Result<(), String> {
    // A user without subordinate groups has no others.
    let groups = [("/process/user/additionalGids", "[7]")];
    background(bundle, "sleep 1000", if bundle.user.is_none() { &groups } else { &[] })?;
    let run = |args: &[&str]| bundle.oci().arg("exec").args(args).output().map_err(text);
    expect(succeed(run(&["c", "sh", "-c", "echo $$"])?)?, "2")?;
    expect(run(&["c", "sh", "-c", "exit 9"])?.status.code().unwrap_or(-1).to_string(), "9")?;
    let out = succeed(run(&["--env", "A=b", "--cwd", "/tmp", "c", "sh", "-c", "echo $A; pwd"])?)?;
    expect(out, "b\n/tmp")?;
    if bundle.user.is_none() {
        expect(succeed(run(&["--user", "3:4", "-g", "5", "c", "sh", "-c", "id -u; id -G"])?)?, "3\n4 5 7")?;
        let cap = "grep -E 'CapBnd' /proc/self/status | cut -f2";
        expect(succeed(run(&["--cap", "CAP_CHOWN", "c", "sh", "-c", cap])?)?, "0000000020000421")?;
    }
    // The executable that is used inside can neither be written to nor reopened for writing.
    let own = "for p in /proc/[0-9]*; do readlink $p/exe; done | sort -u";
    expect(succeed(run(&["c", "sh", "-c", own])?)?, "/bin/busybox")?;
    expect_refusal(run(&["c", "nothere"])?, "executable file not found in $PATH")?;
    expect_refusal(run(&["--cwd", "/proc/self/fd/9", "c", "true"])?, "process.cwd")?;
    quiet(bundle, &["exec", "--detach", "--pid-file", "second", "c", "sleep", "1000"])?;
    let second = fs::read_to_string(bundle.dir.join("second")).map_err(text)?;
    if bundle.user.is_none() {
        let listed = bundle.good(&["ps", "--format", "json", "c"])?;
        if !listed.contains(second.trim()) {
            return Err(format!("ps does not show {second}: {listed}"));
        }
        bundle.good(&["kill", "--all", "c", "KILL"])?;
    } else {
        bundle.good(&["kill", "c", "KILL"])?;
    }
    expect_status(bundle, "stopped")?;
    if std::path::Path::new("/proc").join(second.trim()).join("exe").exists() {
        return Err("the second process outlived the container".into());
    }
    expect_refusal(run(&["c", "true"])?, "stopped container")
}

fn exec_file(bundle: &Bundle) -> Result<(), String> {
    background(bundle, "sleep 1000", &[])?;
    let mut process = bundle.config["process"].clone();
    process["args"] = serde_json::json!(["sh", "-c", "echo $B; exit 4"]);
    process["env"] = serde_json::json!(["PATH=/bin", "B=from a file"]);
    fs::write(bundle.dir.join("process.json"), process.to_string()).map_err(text)?;
    let out = bundle.trine(&["exec", "--process", "process.json", "c"])?;
    expect(out.status.code().unwrap_or(-1).to_string(), "4")?;
    expect(String::from_utf8_lossy(&out.stdout), "from a file")
}

fn pause(bundle: &Bundle) -> Result<(), String> {
    if bundle.user.is_some() {
        return Ok(());
    }
    background(bundle, "while :; do sleep 0.01; done", &[])?;
    bundle.good(&["pause", "c"])?;
    expect_status(bundle, "paused")?;
    expect_refusal(bundle.trine(&["pause", "c"])?, "cannot be paused")?;
    expect_refusal(bundle.trine(&["exec", "c", "true"])?, "paused")?;
    bundle.good(&["resume", "c"])?;
    expect_status(bundle, "running")?;
    expect_refusal(bundle.trine(&["resume", "c"])?, "not paused")?;
    bundle.good(&["pause", "c"])?;
    bundle.good(&["delete", "--force", "c"]).map(drop)
}

fn limits(bundle: &Bundle) -> Result<(), String> {
    if bundle.user.is_some() {
        return Ok(());
    }
    background(bundle, "sleep 1000", &[])?;
    bundle.good(&["update", "--memory", "64M", "--pids-limit", "7", "c"])?;
    let read = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    expect(String::from_utf8_lossy(&bundle.trine(&["exec", "c", "sh", "-c", read])?.stdout), "7")?;
    let line = bundle.good(&["events", "--stats", "c"])?;
    let stats: Value = serde_json::from_str(&line).map_err(text)?;
    expect(stats["data"]["memory"]["usage"]["limit"].to_string(), &(64u64 << 20).to_string())?;
    expect(stats["data"]["pids"]["limit"].to_string(), "7")?;
    let mut update = bundle.oci();
    update.args(["update", "--resources", "-", "c"]).stdin(Stdio::piped());
    let mut child = update.spawn().map_err(text)?;
    child.stdin.take().ok_or("no input")?.write_all(br#"{"pids":{"limit":9}}"#).map_err(text)?;
    child.wait().map_err(text)?;
    expect(String::from_utf8_lossy(&bundle.trine(&["exec", "c", "sh", "-c", read])?.stdout), "9")?;
    expect_refusal(bundle.trine(&["update", "--memory", "much", "c"])?, "not a size")
}

/// Receives the terminal that a command sends to its socket.
fn receive(bundle: &Bundle, args: &[&str]) -> Result<OwnedFd, String> {
    let path = bundle.dir.join("console");
    drop(fs::remove_file(&path));
    let listener = UnixListener::bind(&path).map_err(text)?;
    if bundle.user.is_some() {
        std::os::unix::fs::chown(&path, Some(NOBODY), None).map_err(text)?;
    }
    let mut command = bundle.oci();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
    succeed(command.spawn().and_then(|c| c.wait_with_output()).map_err(text)?)?;
    let (stream, _) = listener.accept().map_err(text)?;
    let (_, mut fds) = passed_fds::receive(&stream, &mut [0; 256]).map_err(text)?;
    fds.pop().ok_or("no terminal came".into())
}

/// Reads from a terminal until a word comes.
fn until(terminal: &mut fs::File, word: &str) -> Result<(), String> {
    let (mut all, mut bytes) = (String::new(), [0; 1024]);
    while !all.contains(word) {
        match terminal.read(&mut bytes) {
            Ok(n) if n > 0 => all.push_str(&String::from_utf8_lossy(&bytes[..n])),
            _ => return Err(format!("the terminal ended without {word:?}: {all:?}")),
        }
    }
    Ok(())
}

fn terminal(bundle: &Bundle) -> Result<(), String> {
    let tty = [("/process/terminal", "true"), ("/process/consoleSize", r#"{"height":33,"width":99}"#)];
    bundle.script("stty size; tty; stat -c %t /dev/console; read line; echo got $line", &tty)?;
    expect_refusal(bundle.trine(&["create", "c"])?, "--console-socket")?;
    let mut terminal = fs::File::from(receive(bundle, &["create", "--console-socket", "console", "c"])?);
    bundle.good(&["start", "c"])?;
    until(&mut terminal, "33 99\r\n/dev/pts/0\r\n88\r\n")?;
    terminal.write_all(b"typed\n").map_err(text)?;
    until(&mut terminal, "got typed")?;
    expect_status(bundle, "stopped")?;
    bundle.good(&["delete", "c"])?;
    // In the foreground of this process, whose input is not a terminal.
    let mut run =
        bundle.oci().args(["run", "c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(text)?;
    run.stdin.take().ok_or("no input")?.write_all(b"piped\n").map_err(text)?;
    let out = run.wait_with_output().map_err(text)?;
    if !String::from_utf8_lossy(&out.stdout).contains("got piped") {
        return Err(said(&out));
    }
    background(bundle, "sleep 1000", &[])?;
    let args =
        ["exec", "--detach", "--tty", "--console-socket", "console", "c", "sh", "-c", "tty; read x; echo $x"];
    let mut terminal = fs::File::from(receive(bundle, &args)?);
    until(&mut terminal, "/dev/pts/")?;
    terminal.write_all(b"again\n").map_err(text)?;
    until(&mut terminal, "again\r\n")
}

fn hook(bundle: &Bundle, name: &str, script: &str) -> (String, String) {
    let script = script.replace("LOG", &bundle.dir.join("shared/log").display().to_string());
    let hook = serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 20 }]);
    (format!("/hooks/{name}"), hook.to_string())
}

fn hooks(bundle: &Bundle) -> Result<(), String> {
    let log = bundle.dir.join("shared/log");
    fs::write(&log, "").map_err(text)?;
    if let Some(user) = bundle.user {
        std::os::unix::fs::chown(&log, Some(user), None).map_err(text)?;
    }
    let outside = r#"echo NAME $(grep -o '"status":"[a-z]*"' | cut -d'"' -f4) >> LOG"#;
    let mut all = vec![("/hooks".to_string(), "{}".to_string())];
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        all.push(hook(bundle, name, &outside.replace("NAME", name)));
    }
    // Inside, in the container's own root.
    all.push(hook(
        bundle,
        "startContainer",
        &outside.replace("NAME", "startContainer").replace("LOG", "/b/log"),
    ));
    all.push((
        "/mounts/+".into(),
        r#"{"destination":"/b","type":"bind","source":"shared","options":["bind"]}"#.into(),
    ));
    let all: Vec<(&str, &str)> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    bundle.script("while ! grep -q poststart /b/log; do sleep 0.01; done; echo program >> /b/log", &all)?;
    bundle.good(&["run", "c"])?;
    let got = fs::read_to_string(&log).map_err(text)?;
    let want = "prestart creating\ncreateRuntime creating\ncreateContainer creating\nstartContainer created\n\
                poststart running\nprogram\npoststop stopped";
    expect(got, want)
}

fn failing_hook(bundle: &Bundle) -> Result<(), String> {
    let (at, value) = hook(bundle, "createRuntime", "echo because >&2; exit 1");
    bundle.script("true", &[("/hooks", "{}"), (&at, &value)])?;
    expect_refusal(bundle.trine(&["run", "c"])?, "createRuntime hook /bin/sh: exit status: 1: because")?;
    let (at, value) = hook(bundle, "createContainer", "sleep 60");
    let value = value.replace("20", "1");
    bundle.script("true", &[("/hooks", "{}"), (&at, &value)])?;
    expect_refusal(bundle.trine(&["run", "c"])?, "longer than 1 s")
}

/// After a failed hook the other hooks run, when the container is gone.
fn last_hooks(bundle: &Bundle) -> Result<(), String> {
    let log = bundle.dir.join("shared/log");
    fs::write(&log, "").map_err(text)?;
    if let Some(user) = bundle.user {
        std::os::unix::fs::chown(&log, Some(user), None).map_err(text)?;
    }
    let (at, fails) = hook(bundle, "poststop", "exit 1");
    let (_, second) = hook(bundle, "poststop", "echo second >> LOG");
    let list = format!("{},{}", fails.trim_end_matches(']'), second.trim_start_matches('['));
    bundle.script("true", &[("/hooks", "{}"), (&at, &list)])?;
    bundle.good(&["run", "c"])?;
    expect(fs::read_to_string(&log).map_err(text)?, "second")
}

fn descriptors(bundle: &Bundle) -> Result<(), String> {
    bundle.script("cat <&3; cat <&4 || echo none; ls /proc/self/fd | tr '\\n' ' '", &[])?;
    let line = format!(
        "exec 3<shared/file 4<shared/file 5<shared/file; exec '{}' oci --root state run --preserve-fds 1 c 2>/dev/null",
        bundle.dir.join("trine").display()
    );
    let out = bundle.command(std::path::Path::new("sh")).args(["-c", &line]).output().map_err(text)?;
    expect(String::from_utf8_lossy(&out.stdout), "shared\nnone\n0 1 2 3 4")?;
    bundle.script("echo $LISTEN_FDS $LISTEN_PID; cat <&3", &[])?;
    let line = line.replace("--preserve-fds 1 ", "").replace("exec '", "LISTEN_FDS=1 exec '");
    let out = bundle.command(std::path::Path::new("sh")).args(["-c", &line]).output().map_err(text)?;
    expect(String::from_utf8_lossy(&out.stdout), "1 1\nshared")
}

fn joined(bundle: &Bundle) -> Result<(), String> {
    background(bundle, "sleep 1000", &[])?;
    let pid = state(bundle)?["pid"].to_string();
    let own = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).map(|p| p.display().to_string());
    let mut list = vec![serde_json::json!({ "type": "mount" })];
    let mut kinds = vec![("pid", "pid"), ("ipc", "ipc"), ("uts", "uts")];
    kinds.extend(if bundle.user.is_some() { vec![("user", "user")] } else { vec![("network", "net")] });
    for (kind, file) in &kinds {
        list.push(serde_json::json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
    }
    let list = Value::from(list).to_string();
    let mut changes = vec![("/linux/namespaces", list.as_str())];
    if bundle.user.is_some() {
        changes.extend([("/linux/uidMappings", "null"), ("/linux/gidMappings", "null")]);
    }
    bundle.script("for n in pid ipc uts net user; do readlink /proc/self/ns/$n; done", &changes)?;
    let out = bundle.trine(&["run", "second"])?;
    let got = succeed(out)?;
    for (_, file) in &kinds {
        let want = own(file).map_err(text)?;
        if !got.contains(&want) {
            return Err(format!("it has not joined {want}: {got}"));
        }
    }
    Ok(())
}

/// `create` is killed while a hook runs: the process inside ends by itself, and `delete --force` cleans up.
fn killed_maker(bundle: &Bundle) -> Result<(), String> {
    let (at, value) = hook(bundle, "createRuntime", "sleep 2");
    bundle.script("sleep 1000", &[("/hooks", "{}"), (&at, &value)])?;
    let mut maker = bundle
        .oci()
        .args(["create", "c"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(text)?;
    let begin = Instant::now();
    let pid = loop {
        let pid = state(bundle).ok().and_then(|s| s["pid"].as_i64()).filter(|p| *p > 0);
        if let Some(pid) = pid {
            break pid;
        }
        if begin.elapsed() > PATIENCE {
            return Err("there is no process".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    maker.kill().and_then(|()| maker.wait()).map_err(text)?;
    let gone = || !fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains("__init"));
    while !gone() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    if !gone() {
        return Err(format!("process {pid} waits for ever"));
    }
    bundle.good(&["delete", "--force", "c"])?;
    expect_refusal(bundle.trine(&["state", "c"])?, "does not exist")
}

fn log(bundle: &Bundle) -> Result<(), String> {
    bundle.script("true", &[("/process/args", r#"["nothere"]"#)])?;
    let out = bundle.trine(&["--log", "log.json", "--log-format", "json", "create", "c"])?;
    expect_refusal(out, "not found")?;
    let line = fs::read_to_string(bundle.dir.join("log.json")).map_err(text)?;
    let entry: Value = serde_json::from_str(line.lines().last().unwrap_or_default()).map_err(text)?;
    expect(entry["level"].as_str().unwrap_or_default(), "error")?;
    expect(entry["msg"].as_str().unwrap_or_default(), "exec: \"nothere\": executable file not found in $PATH")
}

/// A riscv64 program as a container's own, as a script's interpreter, and in `exec`; its children, too.
fn other_cpu(bundle: &Bundle) -> Result<(), String> {
    let source = bundle.dir.join("hello.c");
    let program = r#"#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
#include <sys/utsname.h>
int main(int argc, char **argv) {
    struct utsname u; uname(&u); printf("%s %d %s\n", u.machine, getpid(), argv[argc - 1]); fflush(stdout);
    if (argc > 1 && argv[1][0] == 'a') { if (!fork()) execl("/bin/hello", "hello", "child", (char *)0); wait(0); }
    return 3; }
"#;
    fs::write(&source, program).map_err(text)?;
    let gcc = trine_test_support::tools::cross_gcc()?;
    let to = bundle.dir.join("rootfs/bin/hello");
    let compiled =
        trine_test_support::tools::gcc(&gcc).args(["-O1", "-static", "-o"]).arg(&to).arg(&source).status();
    if !compiled.is_ok_and(|s| s.success()) {
        return Err("the cross compiler failed".into());
    }
    fs::write(bundle.dir.join("rootfs/bin/script"), "#!/bin/hello b\n").map_err(text)?;
    let x = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.dir.join("rootfs/bin/script"), x).map_err(text)?;
    bundle.configure(&[("/process/args", r#"["hello","a"]"#)])?;
    let out = bundle.trine(&["run", "c"])?;
    expect(out.status.code().unwrap_or(-1).to_string(), "3").map_err(|e| format!("{e}: {}", said(&out)))?;
    expect(String::from_utf8_lossy(&out.stdout).replace(['2', '3'], "N"), "riscv64 1 a\nriscv64 N child")?;
    bundle.configure(&[("/process/args", r#"["script"]"#)])?;
    expect(String::from_utf8_lossy(&bundle.trine(&["run", "c"])?.stdout), "riscv64 1 /bin/script")?;
    background(bundle, "sleep 1000", &[])?;
    let out = bundle.trine(&["exec", "c", "hello", "x"])?;
    expect(out.status.code().unwrap_or(-1).to_string(), "3").map_err(|e| format!("{e}: {}", said(&out)))
}
