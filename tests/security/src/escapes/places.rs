//! Paths that lead out: links in images where something is mounted, including links that are replaced
//! meanwhile.

use super::given::Part;
use super::rows::{ROWS, writable};
use super::{Host, got, judge, said, succeed, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Runs all of them.
pub const PARTS: &[Part] = &[
    ("links at mounts' places", links),
    ("a link in place of /proc", proc_link),
    ("links that are exchanged", exchanged),
    ("trine run IMAGE", image),
];

/// How long containers start while links are exchanged.
const RACE: Duration = Duration::from_secs(4);

/// A directory of the host that links lead to.
fn outside(host: &Host) -> Result<PathBuf, String> {
    let dir = host.bundle.dir.join("outside");
    drop(fs::remove_dir_all(&dir));
    fs::create_dir(&dir).map_err(text)?;
    Ok(dir)
}

fn entries(dir: &Path) -> Result<Vec<String>, String> {
    let all = fs::read_dir(dir).map_err(text)?.flatten();
    Ok(all.map(|e| e.file_name().to_string_lossy().into_owned()).collect())
}

fn add(config: &mut Value, mount: Value) {
    if let Some(list) = config["mounts"].as_array_mut() {
        list.push(mount);
    }
}

/// Runs a function, and removes a name from the root afterwards.
fn with_link(
    host: &Host,
    name: &str,
    to: &str,
    run: &dyn Fn() -> Result<String, String>,
) -> Result<String, String> {
    let link = host.bundle.dir.join("rootfs").join(name);
    let kept = host.bundle.dir.join("kept");
    let moved = fs::rename(&link, &kept).is_ok();
    symlink(to, &link).map_err(text)?;
    let result = run();
    fs::remove_file(&link).map_err(text)?;
    if moved {
        fs::rename(&kept, &link).map_err(text)?;
    }
    result
}

/// Mounts on links that lead out: nothing on the host may change.
fn links(host: &Host) -> Result<usize, String> {
    let outside = outside(host)?;
    let far = format!("../../../../../../../..{}", outside.display());
    let naive = || {
        let line = "mkdir -p rootfs/data/a && mount -t tmpfs t rootfs/data/a && echo GOT out";
        let run = host.bundle.command(Path::new("unshare")).args(["-m", "sh", "-c", line]).output();
        succeed(run.map_err(text)?)
    };
    let off = with_link(host, "data", &outside.display().to_string(), &naive)?;
    if entries(&outside)? != ["a"] {
        return Err("the careless runtime does not go out".into());
    }
    fs::remove_dir(outside.join("a")).map_err(text)?;
    let mut count = 0;
    for to in [far.as_str(), &outside.display().to_string(), "/proc/self/root/..", "/proc/1/cwd"] {
        for (kind, source, at) in [
            ("tmpfs", "t", "/data/a"),
            ("tmpfs", "t", "/data"),
            ("bind", "shared", "/data/b"),
            ("bind", "shared/file", "/data/c"),
            ("bind", "shared/file", "/data/../data/d/../e"),
            ("cgroup", "cgroup", "/data/f"),
        ] {
            let options: &[&str] = if kind == "bind" { &["rbind"] } else { &[] };
            let mount = json!({ "destination": at, "type": kind, "source": source, "options": options });
            let run = || {
                let mut config = host.configured(&[]);
                add(&mut config, mount.clone());
                config["linux"]["devices"] =
                    json!([{ "path": "/data/null", "type": "c", "major": 1, "minor": 3 }]);
                config["process"]["cwd"] = json!("/data/made");
                host.script("echo inside", config)?;
                let out = host.bundle.trine(&["run", "c"])?;
                Ok(said(&out))
            };
            with_link(host, "data", to, &run)?;
            let new = entries(&outside)?;
            if !new.is_empty() {
                return Err(format!("ESCAPED: {mount} by a link to {to} has made {new:?} outside"));
            }
            count += 1;
        }
    }
    for (name, to) in [("dev", far.as_str()), ("sys", &far), ("tmp", &far)] {
        let run = || {
            host.script("echo inside", host.configured(&[]))?;
            Ok(said(&host.bundle.trine(&["run", "c"])?))
        };
        with_link(host, name, to, &run)?;
        let new = entries(&outside)?;
        if !new.is_empty() {
            return Err(format!("ESCAPED: /{name} by a link to {to} has made {new:?} outside"));
        }
        count += 1;
    }
    // Created inside, at the same path.
    let first = outside.components().nth(1).map(|c| host.bundle.dir.join("rootfs").join(c));
    if first.is_some_and(|dir| !dir.ends_with("tmp")) {
        drop(fs::remove_dir_all(
            host.bundle.dir.join("rootfs").join(outside.strip_prefix("/").unwrap_or(&outside)),
        ));
    }
    judge("links", &off, "").map(|_| count)
}

/// An image whose `/proc` is a link (CVE-2019-19921, CVE-2023-27561): masks must cover procfs and nothing
/// else.
fn proc_link(host: &Host) -> Result<usize, String> {
    let script = "attack same /proc/sys/kernel/core_pattern; attack same /fake/sys/kernel/core_pattern";
    let off = host.inside(script, &[writable])?;
    let run = || {
        host.script(script, host.configured(&[]))?;
        let out = host.bundle.trine(&["run", "c"])?;
        match out.status.success() {
            true => {
                Ok(format!("{}GOT a container whose /proc is a link\n", String::from_utf8_lossy(&out.stdout)))
            }
            false => Ok(said(&out)),
        }
    };
    fs::create_dir_all(host.bundle.dir.join("rootfs/fake")).map_err(text)?;
    let on =
        [with_link(host, "proc", "/fake", &run)?, with_link(host, "proc", "fake/../fake", &run)?].concat();
    judge("proc", &off, &on)
}

/// A process that is ended when this value is dropped.
struct Swapper(Child);

impl Drop for Swapper {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A directory and a link that leads out alternate under one name, as the owner of a shared volume can
/// arrange (CVE-2021-30465).
fn exchanged(host: &Host) -> Result<usize, String> {
    let (outside, rootfs) = (outside(host)?, host.bundle.dir.join("rootfs"));
    let turns = rootfs.join("turns");
    fs::create_dir_all(turns.join("d")).map_err(text)?;
    symlink(format!("../../../../../../../../..{}", outside.display()), turns.join("l")).map_err(text)?;
    let mut swap = host.bundle.command(&host.attack);
    swap.arg("swap").arg(turns.join("d")).arg(turns.join("l")).stdout(Stdio::null());
    let swapper = Swapper(swap.spawn().map_err(text)?);
    let [root, place] = [&rootfs, &turns.join("d")].map(|p| p.display().to_string());
    let off = succeed(host.host(&["naive-mount", &root, &place, "5"])?)?;
    drop(fs::remove_dir_all(&outside));
    fs::create_dir(&outside).map_err(text)?;
    let mut config = host.configured(&[]);
    for (kind, at) in [("tmpfs", "/turns/d/a"), ("bind", "/turns/d/b"), ("tmpfs", "/turns/d")] {
        let options: &[&str] = if kind == "bind" { &["rbind"] } else { &["size=4k"] };
        let source = if kind == "bind" { "shared" } else { "trine-turns" };
        add(&mut config, json!({ "destination": at, "type": kind, "source": source, "options": options }));
    }
    config["linux"]["maskedPaths"].as_array_mut().into_iter().for_each(|l| l.push(json!("/turns/d/a")));
    host.script("grep -c trine-turns /proc/self/mountinfo; grep -c /shared /proc/self/mountinfo", config)?;
    let (begin, mut runs) = (Instant::now(), 0);
    let mut started = 0;
    while begin.elapsed() < RACE {
        let out = host.bundle.trine(&["run", "c"])?;
        runs += 1;
        if out.status.success() {
            started += 1;
            let lines = String::from_utf8_lossy(&out.stdout).into_owned();
            if lines.split_whitespace().take(2).collect::<Vec<_>>() != ["2", "1"] {
                return Err(format!("ESCAPED: not all mounts are in the container: {lines}"));
            }
        }
        let new = entries(&outside)?;
        if !new.is_empty() {
            return Err(format!("ESCAPED: {new:?} were made outside"));
        }
    }
    drop(swapper);
    drop(fs::remove_dir_all(&turns));
    if started == 0 {
        return Err("no container has started".into());
    }
    eprintln!("links exchanged while {runs} containers were made; {started} of them started");
    judge("exchanged links", &off, "")
}

/// The attacks of all rows in a container that `trine run` creates from an image with its usual options.
fn image(host: &Host) -> Result<usize, String> {
    let trine = |line: &str| {
        let mut shell = host.bundle.command(Path::new("sh"));
        shell.args(["-c", line]).env("XDG_DATA_HOME", host.bundle.dir.join("data"));
        shell.env("XDG_RUNTIME_DIR", host.bundle.dir.join("run"));
        shell.output().map_err(text)
    };
    fs::create_dir_all(host.bundle.dir.join("run")).map_err(text)?;
    let x = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(host.bundle.dir.join("run"), x).map_err(text)?;
    trine("tar -C rootfs -c . | ./trine import --quiet --cmd /bin/sh - attacked").and_then(succeed)?;
    let env: Vec<String> =
        serde_json::from_value(host.bundle.config["process"]["env"].clone()).map_err(text)?;
    let env: String = env.iter().map(|line| format!("export '{line}'\n")).collect();
    let scripts = || ROWS.iter().filter(|r| r.both.is_empty()).map(|r| r.script);
    let scripts = scripts().chain(["attack fds"]).map(|s| format!("{{ {s}; }} 2>&1\n")).collect::<String>();
    fs::write(host.bundle.dir.join("all"), format!("{env}{scripts}echo tried\n")).map_err(text)?;
    let out = trine("exec 9</; exec ./trine run --rm -i attacked sh < all")?;
    let lines = succeed(out)?;
    match got(&lines).as_slice() {
        [] if lines.contains("tried") => Ok(0),
        out => Err(format!("ESCAPED: {out:?}; all it said: {lines}")),
    }
}
