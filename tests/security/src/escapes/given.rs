//! What a container gets from its caller and from the runtime: executables, descriptors, keys, terminals.

use super::rows::{capable, unfiltered, users};
use super::{Change, Host, judge, said, succeed, text};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// A part: its name and its function, which returns how many escapes succeeded without protection.
pub type Part = (&'static str, fn(&Host) -> Result<usize, String>);

/// The parts for root.
pub const PARTS: &[Part] = &[
    ("the runtime's executable", |host| executable(host, &[])),
    ("the runtime's executable, with all capabilities", |host| executable(host, &[capable, unfiltered])),
    ("the runtime's executable, in a user namespace", |host| executable(host, &[capable, unfiltered, users])),
    ("the runtime's executable as the container's own", own_executable),
    ("open files of the caller", descriptors),
    ("directories by descriptors", directory),
    ("keys", keys),
    ("the caller's terminal", terminal),
];

/// The parts for an ordinary user.
pub const USERS: &[Part] = &[
    ("the runtime's executable", |host| executable(host, &[])),
    ("the runtime's executable, with all capabilities", |host| executable(host, &[capable])),
    ("a runtime's executable that is gone from its place", gone),
];

/// For how many seconds processes are started in the container: longer where nothing was seen, as on a host that has other
/// things to do.
const SECONDS: [f64; 3] = [1.5, 6.0, 24.0];

/// Watches until the runtime's executable was found, and refused because of what it is, not because it was busy.
fn watch(
    host: &Host,
    changes: &[Change],
    into: &mut dyn FnMut(i32) -> Result<(), String>,
) -> Result<String, String> {
    let refused = |line: &str| line.starts_with("no executable") && !line.contains("busy");
    let mut said = String::new();
    for seconds in SECONDS {
        said = watch_for(host, changes, seconds, into)?;
        // What was not refused is for the caller to judge.
        if said.contains("GOT") || said.lines().any(refused) {
            return Ok(said);
        }
    }
    Err(format!("the runtime's executable was never seen inside, so nothing is proven: {said}"))
}

/// The container's first process waits for others; it writes its results to a file of its root.
fn watch_for(
    host: &Host,
    changes: &[Change],
    seconds: f64,
    into: &mut dyn FnMut(i32) -> Result<(), String>,
) -> Result<String, String> {
    let found = host.bundle.dir.join("rootfs/found");
    fs::write(&found, "").map_err(text)?;
    // For root inside.
    fs::set_permissions(&found, fs::Permissions::from_mode(0o666)).map_err(text)?;
    let line = format!("exec attack watch {seconds} {} > /found", host.secret.display());
    host.script(&line, host.configured(changes))?;
    start(host)?;
    let state = succeed(host.bundle.trine(&["state", "c"])?)?;
    let state: serde_json::Value = serde_json::from_str(&state).map_err(text)?;
    let pid = state["pid"].as_i64().ok_or("no pid")? as i32;
    let begin = Instant::now();
    let read = || fs::read_to_string(&found).unwrap_or_default();
    while begin.elapsed().as_secs_f64() < seconds {
        into(pid)?;
    }
    while !read().contains("watched") {
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(format!("it watches for ever: {}", read()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(host.bundle.trine(&["delete", "--force", "c"]));
    Ok(read())
}

/// Starts the configured container in the background.
fn start(host: &Host) -> Result<(), String> {
    let path = host.bundle.dir.join("said");
    let file = fs::File::create(&path).map_err(text)?;
    let mut run = host.bundle.oci();
    let status =
        run.args(["run", "--detach", "c"]).stdout(Stdio::null()).stderr(file).status().map_err(text)?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{status}: {}", fs::read_to_string(path).unwrap_or_default())),
    }
}

/// A script whose interpreter is the process that executes it.
fn evil(host: &Host) -> Result<(), String> {
    let path = host.bundle.dir.join("rootfs/bin/evil");
    fs::write(&path, "#!/proc/self/exe\n").map_err(text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(text)
}

/// A file open for writing cannot be executed (ETXTBSY), nor one that was overwritten (ENOEXEC): not failures
/// here.
fn silent(out: std::io::Result<Output>) -> Result<(), String> {
    match out {
        Err(e) if !matches!(e.raw_os_error(), Some(26 | 8)) => Err(text(e)),
        _ => Ok(()),
    }
}

/// Processes are put into a hostile container (CVE-2019-5736, CVE-2016-9962).
fn executable(host: &Host, changes: &[Change]) -> Result<usize, String> {
    evil(host)?;
    let naive = host.bundle.dir.join("naive");
    fs::copy(&host.attack, &naive).map_err(text)?;
    let off = match host.bundle.user {
        // Only root can join namespaces that it did not create.
        Some(_) => "GOT by a careless runtime of root\n".to_string(),
        None => watch(host, &[capable, unfiltered], &mut |pid| {
            silent(host.bundle.command(&naive).args(["naive-exec", &pid.to_string(), "/bin/true"]).output())
        })?,
    };
    if host.bundle.user.is_none() && !fs::read(&naive).map_err(text)?.starts_with(b"overwritten") {
        return Err(format!("the careless runtime was not overwritten: {off}"));
    }
    let trine = host.bundle.dir.join("trine");
    let before = fs::read(&trine).map_err(text)?;
    let mut programs = ["/bin/evil", "/bin/true"].iter().cycle();
    let on = watch(host, changes, &mut |_| {
        let program = programs.next().unwrap_or(&"/bin/evil");
        silent(host.bundle.oci().args(["exec", "c", program]).output())
    })?;
    if fs::read(&trine).map_err(text)? != before {
        fs::write(&trine, &before).map_err(text)?;
        return Err(format!("ESCAPED: the runtime was overwritten: {on}"));
    }
    judge("the runtime's executable", &off, &on)
}

/// The image's own first program is the runtime, by its interpreter's name; this is allowed, as a read-only
/// copy.
fn own_executable(host: &Host) -> Result<usize, String> {
    evil(host)?;
    let mut config = host.configured(&[]);
    config["process"]["args"] = json!(["/bin/evil"]);
    host.write(&config)?;
    let out = host.bundle.trine(&["run", "c"])?;
    match out.status.code() {
        Some(0) => Err(said(&out)),
        _ => Ok(1),
    }
}

/// A runtime that was deleted while it runs cannot be opened by its name: it is copied into memory.
fn gone(host: &Host) -> Result<usize, String> {
    evil(host)?;
    let copy = host.bundle.dir.join("gone");
    let mut programs = ["/bin/evil", "/bin/true"].iter().cycle();
    let on = watch(host, &[capable], &mut |_| {
        fs::copy(host.bundle.dir.join("trine"), &copy).map_err(text)?;
        let line = "exec 9<gone; rm gone; exec /proc/self/fd/9 oci --root state exec c $0";
        let program = programs.next().unwrap_or(&"/bin/evil");
        silent(host.bundle.command(Path::new("sh")).args(["-c", line, program]).output())
    })?;
    if !on.contains("memfd:trine") {
        return Err(format!("it was not copied into memory: {on}"));
    }
    let line = "exec 9<gone; rm gone; exec /proc/self/fd/9 oci --root state run c";
    fs::copy(host.bundle.dir.join("trine"), &copy).map_err(text)?;
    host.script("readlink /proc/1/exe", host.configured(&[]))?;
    let out = host.bundle.command(Path::new("sh")).args(["-c", line]).output().map_err(text)?;
    if !succeed(out)?.contains("/bin/busybox") {
        return Err("it does not run".into());
    }
    judge("the runtime's executable", "GOT by a careless runtime of root", &on)
}

/// The caller has directories of the host open (CVE-2024-21626).
fn descriptors(host: &Host) -> Result<usize, String> {
    let shell = |line: &str| host.bundle.command(Path::new("sh")).args(["-c", line]).output().map_err(text);
    let open = "exec 5</ 7<secret 9<rootfs;";
    let off = succeed(shell(&format!("{open} exec chroot rootfs /bin/attack fds"))?)?;
    host.script("attack fds; ls -l /proc/1/fd", host.configured(&[]))?;
    let mut on = succeed(shell(&format!("{open} exec ./trine oci --root state run c"))?)?;
    host.script("sleep 100", host.configured(&[]))?;
    start(host)?;
    on += &succeed(shell(&format!("{open} exec ./trine oci --root state exec c attack fds"))?)?;
    judge("descriptors", &off, &on)
}

/// The program's directory is one of the runtime's descriptors (CVE-2024-21626).
fn directory(host: &Host) -> Result<usize, String> {
    let secret = host.secret.display().to_string();
    let off = succeed(host.host(&[
        "naive-cwd",
        &host.bundle.dir.join("rootfs").display().to_string(),
        &secret,
    ])?)?;
    let place =
        |n: i32| [format!("/proc/self/fd/{n}"), format!("/proc/1/fd/{n}"), format!("/proc/self/fd/{n}/..")];
    let mut config = host.configured(&[]);
    let mut on = String::new();
    for cwd in (3..24).flat_map(place) {
        config["process"]["cwd"] = json!(cwd);
        config["process"]["args"] = json!(["sh", "-c", "pwd; echo GOT into it"]);
        host.write(&config)?;
        let out = host.bundle.trine(&["run", "c"])?;
        on += &String::from_utf8_lossy(&out.stdout);
    }
    host.script("sleep 100", host.configured(&[]))?;
    start(host)?;
    for cwd in (3..24).flat_map(place) {
        let out = host.bundle.trine(&["exec", "--cwd", &cwd, "c", "sh", "-c", "pwd; echo GOT into it"])?;
        on += &String::from_utf8_lossy(&out.stdout);
    }
    judge("directories", &off, &on)
}

/// A key in the caller's session keyring.
fn keys(host: &Host) -> Result<usize, String> {
    let name = format!("trine-escape-{}", super::id());
    let run = |options: &[&str], changes: &[Change]| {
        host.script(&format!("attack key {name}"), host.configured(changes))?;
        let mut command = host.bundle.command(&host.attack);
        command.args(["with-key", &name]).arg(host.bundle.dir.join("trine"));
        command.args(["oci", "--root", "state", "run"]).args(options).arg("c");
        succeed(command.output().map_err(text)?)
    };
    let off = run(&["--no-new-keyring"], &[unfiltered])?;
    let on = [run(&[], &[unfiltered])?, run(&["--no-new-keyring"], &[])?, run(&[], &[])?].concat();
    judge("keys", &off, &on)
}

/// Typing into the terminal that the caller sits at.
fn terminal(host: &Host) -> Result<usize, String> {
    let attack = host.attack.display().to_string();
    let off = succeed(host.host(&["with-terminal", &attack, "type"])?)?;
    let on = |changes: &[Change]| {
        host.script("attack type", host.configured(changes))?;
        let trine = host.bundle.dir.join("trine").display().to_string();
        succeed(host.host(&["with-terminal", &trine, "oci", "--root", "state", "run", "c"])?)
    };
    let on = [on(&[])?, on(&[unfiltered])?].concat();
    if !on.contains("no terminal") {
        return Err(format!("nothing was typed: {on}"));
    }
    judge("terminal", &off, &on)
}
