//! `trine binfmt`, in a user namespace of the test's own (Linux 6.7).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use trine_test_support::command::tool;
use trine_test_support::tools;

/// Runs in the namespace: a registration; riscv64 programs started by the kernel, in this root and in one
/// that has nothing else, also programs without a name there; libraries of a configured root; and the end of
/// the registration. Exit code 99: there is no such namespace here.
const SCRIPT: &str = "\
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || exit 99
mount -t tmpfs tmpfs /etc || exit 99
set -e
\"$0\" binfmt status
\"$0\" binfmt install
\"$0\" binfmt status
\"$1/one\" a 'b c'
chroot \"$1\" /one a 'b c'
chroot \"$1\" /one nameless /one
chroot \"$1\" /native nameless /one
! \"$1/dynamic\" who 2>/dev/null
\"$0\" binfmt install --sysroot \"$2\"
\"$0\" binfmt status
\"$1/dynamic\" who
\"$0\" binfmt remove
! \"$1/one\" 2>/dev/null
test ! -e /etc/trine/sysroot
";

/// Runs with other users, too: programs that give rights, and one that may be executed but not read.
const USERS: &str = "\
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || exit 99
mount -t tmpfs -o mode=755 tmpfs /mnt || exit 99
set -e
cp \"$1/one\" /mnt/plain
cp \"$1/one\" /mnt/rights
chmod 4755 /mnt/rights
cp \"$1/one\" /mnt/unreadable
chmod 711 /mnt/unreadable
\"$0\" binfmt install >/dev/null
export VARIABLE=1
cd /mnt
as=\"setpriv --reuid 1000 --regid 1000 --clear-groups\"
$as /mnt/plain who
$as /mnt/rights who
$as /mnt/unreadable who
$as /mnt/plain start /mnt/rights
$as /mnt/plain start /mnt/unreadable
/mnt/rights who
";

/// The output of [`USERS`].
const OF_USERS: &str = "\
/mnt/plain: secure 0, variable 1, user 1000, free 3
/mnt/rights: secure 1, variable 0, user 0, free 3
/mnt/unreadable: secure 0, variable 1, user 1000, free 3
started: secure 1, variable 0, user 0, free 3
started: secure 0, variable 1, user 1000, free 3
/mnt/rights: secure 0, variable 1, user 0, free 3
";

/// The programs, and a root with the libraries of the dynamic one.
fn programs() -> Result<(PathBuf, PathBuf), String> {
    let dir = tools::root().join("target/tools/binfmt");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let source = tools::root().join("tests/system/src/binfmt.c");
    let gcc = tools::cross_gcc()?;
    let compile = |mut compiler: Command, options: &[&str], name: &str| {
        tool(compiler.args(["-w", "-o"]).arg(dir.join(name)).args(options).arg(&source))
    };
    compile(tools::gcc(&gcc), &["-static"], "one")?;
    // The linker's own script names the libraries relative to the directory where they were unpacked.
    compile(tools::gcc(&gcc), &[&format!("-Wl,--sysroot={}", gcc.display())], "dynamic")?;
    compile(Command::new("cc"), &["-static"], "native")?;
    Ok((dir, gcc.join("usr/riscv64-linux-gnu")))
}

/// A namespace with the host's users; only root can create one.
fn with_users(script: &str, words: &[&Path]) -> Result<Option<Output>, String> {
    // The shell loses its rights while it is nobody, and has them as root.
    let wait = "read go; script=$1; shift; exec sh -c \"$script\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--mount", "sh", "-c", wait, "sh", script]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("unshare: {e}"))?;
    let place = format!("/proc/{}", child.id());
    let namespace = |of: &str| std::fs::read_link(format!("{of}/ns/user")).ok();
    let start = Instant::now();
    while namespace(&place) == namespace("/proc/self") && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let map = |file| std::fs::write(format!("{place}/{file}"), "0 0 65536\n");
    let mapped = map("uid_map").and_then(|()| map("gid_map"));
    if let Some(mut stdin) = child.stdin.take().filter(|_| mapped.is_ok()) {
        drop(stdin.write_all(b"go\n"));
    }
    if mapped.is_err() {
        drop(child.kill());
    }
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    Ok(Some(out).filter(|_| mapped.is_ok()))
}

fn failed(out: &Output) -> String {
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    format!("{}\n{text}\n{errors}", out.status)
}

/// Registers with the kernel and starts programs.
pub fn run() -> Result<(), String> {
    let (dir, libraries) = programs()?;
    let trine = tools::trine()?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    let out = command.arg(&trine).arg(&dir).arg(&libraries).output().map_err(|e| format!("unshare: {e}"))?;
    if out.status.code() == Some(99) || !out.status.success() && out.stdout.is_empty() {
        println!("skipped: a binfmt_misc of one's own in a user namespace is not here (Linux 6.7)");
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let runs = text.matches("[0][a][b c]\n[0][again]\n").count();
    let nameless = text.matches("copy: secure 0, variable 0, user 0, free").count();
    let said = [
        "trine-riscv64: not registered",
        "trine-riscv64: started by",
        "/dynamic: secure 0",
        "  libraries: /",
        "trine-riscv64: removed",
    ];
    if !out.status.success() || (runs, nameless) != (2, 2) || !said.iter().all(|s| text.contains(s)) {
        return Err(failed(&out));
    }
    match with_users(USERS, &[&trine, &dir])? {
        None => println!("skipped: set-user-ID programs: only root can make a namespace with more users"),
        Some(out) if out.status.success() && out.stdout == OF_USERS.as_bytes() => {}
        Some(out) => return Err(failed(&out)),
    }
    Ok(())
}
