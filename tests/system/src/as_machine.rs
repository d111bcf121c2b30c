//! `trine run --as machine`, with an image of Debian's static riscv64 BusyBox that `trine import` makes: the
//! command's surroundings and output, its exit code, its end by `trine stop`, an init of the image's own, and
//! refusals.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use trine_test_support::command::{check, tool};
use trine_test_support::machine::Machines;
use trine_test_support::{text, tools};

/// The image's own init: prints that it is one, and powers off.
const INIT: &str = "#!/bin/sh\necho init is $$\necho o > /proc/sysrq-trigger\nsleep 60\n";
/// BusyBox's names, each a hard link.
const NAMES: [&str; 7] = ["sh", "id", "cat", "sleep", "stat", "tty", "wc"];
/// Time limit for a machine's output.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the test has its store and its guests' records.
struct Place(Machines);

impl Drop for Place {
    fn drop(&mut self) {
        // A machine that a failed test left.
        drop(self.0.said(&["rm", "-f", "m"]));
    }
}

impl Place {
    fn new() -> Result<Place, String> {
        let place = Place(Machines::new("of-image")?);
        let root = place.0.dir.join("root");
        files(&root).map_err(text)?;
        let archive = place.0.dir.join("root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).args(["--owner=0", "--group=0", "-cf"]).arg(&archive).arg(".");
        tool(&mut tar)?;
        for (name, platform) in [("tiny", "linux/riscv64"), ("other", "linux/amd64")] {
            let from = archive.display().to_string();
            let said = place.0.said(&[
                "import",
                &from,
                name,
                "--platform",
                platform,
                "--cmd",
                r#"["/bin/sh", "-c", "echo its own $COLOR"]"#,
                "--env",
                "COLOR=blue",
                "--workdir",
                "/srv/made here",
            ])?;
            check(said.code == 0, "trine import", &said)?;
        }
        Ok(place)
    }

    /// Runs a machine, and checks its output and exit code.
    fn run(&self, words: &[&str], code: i32, wanted: &[&str]) -> Result<(), String> {
        let said = self.0.said(&[&["run", "--as", "machine"], words].concat())?;
        let right = said.code == code && wanted.iter().all(|w| said.out.contains(w));
        check(right, &format!("{words:?} should give code {code} and say {wanted:?}"), &said)
    }

    /// Refusals and their words; nothing is booted.
    fn refused(&self, words: &[&str], wanted: &str) -> Result<(), String> {
        let said = self.0.said(&[&["run", "--as", "machine"], words].concat())?;
        check(said.code == 2 && said.err.contains(wanted), &format!("{words:?} should be refused"), &said)
    }

    fn wait_for(&self, wanted: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = self.0.said(&["logs", "m"])?;
            if said.out.contains(wanted) {
                return Ok(());
            }
            check(Instant::now() < end, &format!("the machine should say '{wanted}'"), &said)?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The image's files.
fn files(root: &Path) -> std::io::Result<()> {
    let debian = tools::debian_root("riscv64", &["busybox-static"]).map_err(std::io::Error::other)?;
    for dir in ["bin", "sbin", "etc"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = root.join("bin/busybox");
    fs::copy(debian.join("usr/bin/busybox"), &busybox)?;
    NAMES.iter().try_for_each(|name| fs::hard_link(&busybox, root.join("bin").join(name)))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nstaff:x:50:web\n")?;
    symlink("passwd", root.join("etc/link"))?;
    fs::write(root.join("sbin/init"), INIT)?;
    fs::set_permissions(root.join("sbin/init"), fs::Permissions::from_mode(0o4755))
}

/// A folder of the host is there before the command runs.
fn shared(place: &Place) -> Result<(), String> {
    let folder = place.0.dir.join("shared");
    fs::create_dir(&folder).and_then(|()| fs::write(folder.join("given"), "from the host")).map_err(text)?;
    let share = format!("{}:/srv/in/there", folder.display());
    let script = "cat /srv/in/there/given; echo back > /srv/in/there/made";
    place.run(&["--share", &share, "tiny", "sh", "-c", script], 0, &["from the host"])?;
    match fs::read_to_string(folder.join("made")).map_err(text)? == "back\n" {
        true => Ok(()),
        false => Err("what the machine wrote to the folder is not there".into()),
    }
}

/// All of it.
pub fn run() -> Result<(), String> {
    let place = Place::new()?;
    place.run(&["tiny"], 0, &["its own blue"])?;
    shared(&place)?;
    let script = "id; pwd; stat -c '%a %h' /sbin/init /bin/sh; tty; cat /proc/sys/kernel/hostname; echo $COLOR $HOME; \
                  cat /proc/mounts | wc -l; ls -d /.trine; exit 42";
    let wanted = [
        "uid=33(web) gid=34 ",
        "50(staff)",
        "/srv/made here",
        "4755 1",
        "755 8",
        "/dev/ttyS0",
        "box",
        "red /srv",
    ];
    let options = ["--user", "web", "--hostname", "box", "--env", "COLOR=red"];
    place.run(&[&options[..], &["tiny", "sh", "-c", script]].concat(), 42, &wanted)?;
    place.run(&["tiny", "sh", "-c", "kill -9 $$"], 137, &[])?;
    place.run(&["tiny", "nothing-of-this-name"], 127, &["no command 'nothing-of-this-name'"])?;
    place.run(&["--entrypoint", "/sbin/init", "tiny"], 0, &["init is 1"])?;
    place.refused(&["--platform", "linux/amd64", "other"], "machines are linux/riscv64")?;
    place.refused(&["--pull", "never", "other"], "other")?;
    place.refused(&["-m", "64M", "tiny"], "leave -m out")?;
    place.refused(&["--volume", "/tmp:/x", "tiny"], "--volume is for containers")?;
    let script = "trap 'echo is asked; exit 7' TERM; echo is there; while :; do sleep 0.1; done";
    place.run(&["-d", "--name", "m", "tiny", "sh", "-c", script], 0, &[])?;
    place.wait_for("is there")?;
    let said = place.0.said(&["stop", "m"])?;
    check(said.code == 0, "trine stop", &said)?;
    place.wait_for("is asked")?;
    let said = place.0.said(&["inspect", "--format", "{{.State.ExitCode}}", "m"])?;
    check(said.out == "7\n", "the command's exit code is the machine's", &said)?;
    println!("an image as a machine: 7 boots");
    Ok(())
}
