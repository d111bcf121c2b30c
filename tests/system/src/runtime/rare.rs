//! Rarely used features of engines: listeners for system calls, keyrings, groups below a container's, hostile
//! bundles.

use super::life::{background, expect, expect_refusal, quiet, state};
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use trine_base::passed_fds;
use trine_test_support::bundle::Bundle;
use trine_test_support::command::{said, succeed};
use trine_test_support::{NOBODY, text};

/// A listener is notified of the first process and of those that `exec` adds; if it closes its descriptor,
/// the calls fail as if the kernel did not have them.
pub fn listener(bundle: &Bundle) -> Result<(), String> {
    let path = bundle.dir.join("listener");
    drop(fs::remove_file(&path));
    let socket = UnixListener::bind(&path).map_err(text)?;
    if bundle.user.is_some() {
        std::os::unix::fs::chown(&path, Some(NOBODY), None).map_err(text)?;
    }
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "about this",
        "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let told = || {
        let (stream, _) = socket.accept().map_err(text)?;
        let mut bytes = [0; 8192];
        let (length, fds) = passed_fds::receive(&stream, &mut bytes).map_err(text)?;
        expect(fds.len().to_string(), "1")?;
        let told: Value = serde_json::from_slice(&bytes[..length]).map_err(text)?;
        expect(told["fds"].to_string(), r#"["seccompFd"]"#)?;
        expect(told["metadata"].as_str().unwrap_or_default(), "about this")?;
        expect(told["state"]["id"].as_str().unwrap_or_default(), "c")?;
        Ok::<_, String>(told)
    };
    background(bundle, "hostname x; sleep 1000", &[("/linux/seccomp", &profile.to_string())])?;
    let first = state(bundle)?["pid"].to_string();
    let of_first = told()?;
    expect(of_first["pid"].to_string(), &first)?;
    expect(of_first["state"]["status"].as_str().unwrap_or_default(), "creating")?;
    let mut exec = bundle.oci();
    exec.args(["exec", "c", "sh", "-c", "hostname x 2>&1"]).stdout(Stdio::piped());
    let child = exec.spawn().map_err(text)?;
    let of_second = told()?;
    expect(of_second["state"]["status"].as_str().unwrap_or_default(), "running")?;
    expect(of_second["state"]["pid"].to_string(), &first)?;
    let second = of_second["pid"].to_string();
    if second == first {
        return Err(format!("a process that exec made is told of as the first: {of_second}"));
    }
    let out = child.wait_with_output().map_err(text)?;
    match String::from_utf8_lossy(&out.stdout).contains("Function not implemented") {
        true => Ok(()),
        false => Err(said(&out)),
    }
}

/// A process of `exec` has the first one's session keyring, not another one of the same name.
pub fn keys(bundle: &Bundle) -> Result<(), String> {
    background(bundle, "sleep 1000", &[("/linux/maskedPaths", "[]")])?;
    let mut count = String::new();
    // Keyrings of earlier containers disappear a little later than the containers.
    for _ in 0..50 {
        let line = ["exec", "c", "sh", "-c", "grep -c ' _ses.c:' /proc/keys"];
        count = String::from_utf8_lossy(&bundle.trine(&line)?.stdout).trim().to_owned();
        if count == "1" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("there are {count} session keyrings"))
}

/// `exec --cgroup`.
pub fn group_below(bundle: &Bundle) -> Result<(), String> {
    if bundle.user.is_some() {
        return Ok(());
    }
    background(bundle, "sleep 1000", &[])?;
    let first = Path::new("/sys/fs/cgroup/pids/trine/c");
    let (dir, word) = match first.is_dir() {
        true => (first, "pids:sub"),
        false => (Path::new("/sys/fs/cgroup/trine/c"), "sub"),
    };
    fs::create_dir(dir.join("sub")).map_err(text)?;
    let exec = |group: &str| bundle.trine(&["exec", "--cgroup", group, "c", "cat", "/proc/self/cgroup"]);
    let groups = exec(word).and_then(succeed)?;
    if !groups.lines().any(|line| line.ends_with(":/sub")) {
        return Err(format!("it is not in the group below: {groups}"));
    }
    expect_refusal(exec(&word.replace("sub", "../other"))?, "not below")?;
    expect_refusal(exec(&word.replace("sub", "nothere"))?, "does not exist")?;
    expect_refusal(exec("nocontroller:sub")?, "no hierarchy with 'nocontroller'")?;
    // A process is in the groups before it is in the container: one whose groups allow no more processes does
    // not start.
    bundle.good(&["delete", "--force", "c"])?;
    background(bundle, "exec sleep 1000", &[("/linux/resources/pids", r#"{"limit":1}"#)])?;
    expect_refusal(bundle.trine(&["exec", "c", "true"])?, "cannot make a process")
}

/// Malicious bundles.
pub fn hostile(bundle: &Bundle) -> Result<(), String> {
    let config = bundle.dir.join("config.json");
    let deep = "[".repeat(200_000);
    let nested = format!(r#"{{"ociVersion":"1.0.2","annotations":{deep}"#);
    let large = format!(r#"{{"ociVersion":"1.0.2","x":"{}"}}"#, "x".repeat(17 << 20));
    let all: [(&[u8], &str); 5] = [
        (deep.as_bytes(), "config.json"),
        (nested.as_bytes(), "config.json"),
        (large.as_bytes(), "16 MiB"),
        (b"{\"ociVersion\":\"1.0.2\xff\"}", "config.json"),
        (b"", "config.json"),
    ];
    for (bytes, word) in all {
        fs::write(&config, bytes).map_err(text)?;
        expect_refusal(bundle.trine(&["run", "c"])?, word)?;
    }
    fs::remove_file(&config).map_err(text)?;
    succeed(bundle.command(Path::new("mkfifo")).arg(&config).output().map_err(text)?)?;
    let refused = bundle.trine(&["run", "c"]).and_then(|out| expect_refusal(out, "it is not a regular file"));
    fs::remove_file(&config).map_err(text)?;
    refused
}

/// A root that is moved to instead of using `pivot_root(2)`.
pub fn no_pivot(bundle: &Bundle) -> Result<(), String> {
    bundle.script("ls -d /bin /etc/inside", &[])?;
    expect(bundle.good(&["run", "--no-pivot", "c"])?, "/bin\n/etc/inside")
}

/// A process of `exec` has ended and is not reaped, so the kernel does not let the first one end.
pub fn nobody_reaps(bundle: &Bundle) -> Result<(), String> {
    use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
    background(bundle, "sleep 1000", &[])?;
    set_child_subreaper(Some(getpid())).map_err(text)?;
    let begun = quiet(bundle, &["exec", "--detach", "--pid-file", "second", "c", "sleep", "1000"]);
    let second = fs::read_to_string(bundle.dir.join("second")).map_err(text)?;
    let deleted = begun.and_then(|()| bundle.good(&["delete", "--force", "c"]));
    let second = second.trim().parse().ok().and_then(Pid::from_raw);
    let _ = waitpid(second, WaitOptions::empty());
    set_child_subreaper(None).map_err(text)?;
    deleted?;
    expect_refusal(bundle.trine(&["state", "c"])?, "does not exist")?;
    let find = std::process::Command::new("find").args(["/sys/fs/cgroup", "-path", "*/trine/c"]).output();
    expect(String::from_utf8_lossy(&find.map_err(text)?.stdout), "")
}

/// Links of an image at mount points: through one to `/dev` nothing is created in what is mounted there, and
/// one to `/proc` does not hide it.
pub fn links(bundle: &Bundle) -> Result<(), String> {
    let dir = bundle.dir.join("shared");
    let names = || -> Result<String, String> {
        let mut all: Vec<_> = fs::read_dir(&dir).map_err(text)?.flatten().map(|e| e.file_name()).collect();
        all.sort();
        Ok(format!("{all:?}"))
    };
    let mount = |to: &str, how: &str| {
        serde_json::json!({"destination": to, "type": "bind", "source": "shared", "options": ["bind", how]})
            .to_string()
    };
    let before = names()?;
    for (to, how) in [("/to-dev", "rw"), ("/to-dev", "ro")] {
        bundle.script("cat /dev/file", &[("/mounts/+", &mount(to, how))])?;
        expect(bundle.good(&["run", "c"])?, "shared")?;
        expect(names()?, &before)?;
    }
    for to in ["/to-proc", "/to-proc/self", "/root-again"] {
        for how in ["ro", "rw"] {
            bundle.script("true", &[("/mounts/+", &mount(to, how))])?;
            expect_refusal(bundle.trine(&["run", "c"])?, "cannot be covered")?;
        }
        let memory = format!(r#"{{"destination":"{to}","type":"tmpfs","source":"tmpfs"}}"#);
        bundle.script("true", &[("/mounts/+", &memory)])?;
        expect_refusal(bundle.trine(&["run", "c"])?, "cannot be covered")?;
    }
    expect(names()?, &before)
}
