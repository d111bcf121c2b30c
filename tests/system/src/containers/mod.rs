//! `cargo xtask test containers`: `trine run IMAGE` as users call it, with a registry on a loopback port, as
//! root and as an ordinary user, in a network namespace of the test's own.

mod files;
mod groups;
mod life;
mod limits;
mod network;

use crate::check::{finish, same, until};
use rustix::thread::UnshareFlags;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use trine_test_support::command::{Said, check, tool, words};
use trine_test_support::registry::{self, Registry};
use trine_test_support::{Checked, NOBODY, is_root, text, tools};

/// Users and groups that the ordinary user may give to containers.
const IDS: &str = "nobody:200000:65536\n";

type Check = (&'static str, fn(&Place) -> Checked);

/// The checks for each user, in this order.
const CHECKS: &[Check] = &[
    ("pulled, run, executed in", life::first),
    ("what the process starts with", life::process),
    ("a terminal", life::terminal),
    ("another CPU's image", life::foreign),
    ("health, restarts, stop", life::kept),
    ("options that cannot be", life::refused),
    ("volumes, memory as files, read-only roots", files::all),
    ("layers by fuse-overlayfs", files::fuse),
    ("networks and names", network::groups),
    ("ports", network::ports),
    ("machines in networks", network::machines),
    ("limits", limits::all),
    ("SIGKILL leaves nothing", life::killed),
];

/// The directories of one user's run.
pub struct Place {
    dir: PathBuf,
    trine: PathBuf,
    /// Whether this is the ordinary user.
    rootless: bool,
    /// The shell's lines that move the user into the control groups.
    enter: String,
    /// The image's name.
    image: String,
    /// Network links that exist before: some hosts give each namespace more than `lo`.
    links: Vec<String>,
}

/// Names of this thread's network links.
fn links() -> Result<Vec<String>, String> {
    let all = fs::read_to_string("/proc/thread-self/net/dev").map_err(text)?;
    Ok(all.lines().skip(2).filter_map(|l| Some(l.split_once(':')?.0.trim().to_string())).collect())
}

/// All of it, for both users.
pub fn run() -> Checked {
    if !tools::has(&["docker-registry", "skopeo", "umoci", "newuidmap", "nft"]) {
        return Ok(());
    }
    if !is_root() {
        println!("  skipped: only root makes a network namespace for the test and becomes another user");
        return Ok(());
    }
    let parts = Parts {
        trine: tools::trine()?,
        busybox: tools::busybox()?,
        foreign: tools::debian_root("riscv64", &["busybox-static"])?.join("bin/busybox"),
    };
    // Machines boot it; the test's own namespace does not reach where it comes from.
    tools::guest()?;
    // Only this thread enters: its children are in there, too.
    std::thread::spawn(move || inside(&parts)).join().map_err(|_| "the test's thread failed".to_string())?
}

/// Everything fetched and built before.
struct Parts {
    trine: PathBuf,
    /// Of the host's CPU.
    busybox: PathBuf,
    /// Of riscv64.
    foreign: PathBuf,
}

fn inside(parts: &Parts) -> Checked {
    let apart = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: changes namespaces of this thread alone, which shares nothing in them with others.
    unsafe { rustix::thread::unshare_unsafe(apart) }.map_err(text)?;
    tool(&mut words("mount --make-rprivate /"))?;
    tool(Command::new(&parts.busybox).args(["ip", "link", "set", "lo", "up"]))?;
    let dir = std::env::temp_dir().join(format!("trine-containers-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(text)?;
    let _gone = Gone(dir.clone());
    // For everybody: another user executes it.
    let own = dir.join("trine");
    fs::copy(&parts.trine, &own).map_err(text)?;
    let registry = Registry::start(&dir.join("registry"), false)?;
    let image = images(&dir, &registry, parts)?;
    let delegated = groups::Delegated::new()?;
    for rootless in [false, true] {
        let name = if rootless { "user" } else { "root" };
        let enter = delegated.enter();
        let (dir, trine, image) = (dir.join(name), own.clone(), image.clone());
        let place = Place { dir, trine, rootless, enter, image, links: links()? };
        place.make()?;
        for (what, check) in CHECKS {
            let start = Instant::now();
            let done = check(&place).and_then(|()| place.is_clean());
            done.map_err(|e| format!("{what}, as {name}: {e}"))?;
            println!("  {what}, as {name}: {:.1} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A small system around a BusyBox.
fn tree(root: &Path, busybox: &Path, host: &Path) -> std::io::Result<()> {
    for dir in ["bin", "etc", "tmp", "home/ann", "srv"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    // The same programs in both.
    let list = Command::new(host).arg("--list").output()?.stdout;
    for name in String::from_utf8_lossy(&list).lines().filter(|n| *n != "busybox") {
        symlink("busybox", root.join("bin").join(name))?;
    }
    // Two users that would be root: one with a number as name, and one with an invalid number.
    let odd = "1000:x:0:0::/root:/bin/sh\nevil:x:4294967295:0::/:/bin/sh\n";
    let users = format!("root:x:0:0::/root:/bin/sh\n{odd}ann:x:1000:1000::/home/ann:/bin/sh\n");
    fs::write(root.join("etc/passwd"), users)?;
    fs::write(root.join("etc/group"), "root:x:0:\nann:x:1000:\n")?;
    // As in hostile images: links at the mount points of volumes.
    symlink("/dev", root.join("to-dev"))?;
    symlink("/proc", root.join("to-proc"))?;
    fs::create_dir_all(root.join("odd/closed"))?;
    fs::set_permissions(root.join("odd/closed"), PermissionsExt::from_mode(0o700))?;
    fs::write(root.join("odd/text"), "no program\n")?;
    fs::write(root.join("srv/index.html"), "from the image\n")?;
    chown(root.join("home/ann"), Some(1000), Some(1000))?;
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777))
}

/// An image by umoci for the host's CPU and for riscv64, under one name of the registry.
fn images(dir: &Path, registry: &Registry, parts: &Parts) -> Result<String, String> {
    for (tag, binary, arch) in
        [("own", &parts.busybox, registry::host_architecture()), ("rv", &parts.foreign, "riscv64")]
    {
        let (layout, bundle) = (dir.join(format!("layout-{tag}")), dir.join(format!("bundle-{tag}")));
        let (layout, bundle) = (layout.display(), bundle.display());
        let umoci = |line: &str| tool(&mut words(&format!("umoci {line}"))).map(drop);
        umoci(&format!("init --layout {layout}"))?;
        umoci(&format!("new --image {layout}:1"))?;
        umoci(&format!("unpack --image {layout}:1 {bundle}"))?;
        tree(&dir.join(format!("bundle-{tag}/rootfs")), binary, &parts.busybox).map_err(text)?;
        umoci(&format!("repack --image {layout}:1 {bundle}"))?;
        umoci(&format!(
            "config --image {layout}:1 --architecture {arch} --config.cmd /bin/sh --config.env GIVEN=yes"
        ))?;
        let to = format!("docker://{}/team/box:{tag}", registry.host);
        tool(&mut words(&format!("skopeo copy -q --dest-tls-verify=false oci:{layout}:1 {to}")))?;
    }
    registry.join_platforms("team/box", ["own", "rv"], "1")?;
    Ok(format!("{}/team/box:1", registry.host))
}

impl Place {
    fn make(&self) -> Checked {
        for dir in ["", "home", "data", "run"] {
            let dir = self.dir.join(dir);
            fs::create_dir_all(&dir).map_err(text)?;
            fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).map_err(text)?;
            if self.rootless {
                chown(&dir, Some(NOBODY), Some(NOBODY)).map_err(text)?;
            }
        }
        fs::write(self.dir.join("ids"), IDS).map_err(text)
    }

    /// `trine` with these arguments as this place's user.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.rootless {
            false => Command::new(&self.trine),
            true => {
                let mounts = "touch /etc/subuid /etc/subgid; mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid";
                let user = format!("exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
                let mut command = Command::new("unshare");
                command.args([
                    "--mount",
                    "sh",
                    "-c",
                    &format!("{mounts} && {} && {user} \"$@\"", self.enter),
                ]);
                command.arg(self.dir.join("ids")).arg(&self.trine);
                command
            }
        };
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/");
        command.env("HOME", self.dir.join("home")).env("XDG_DATA_HOME", self.dir.join("data"));
        command.env("XDG_CACHE_HOME", self.dir.join("data")).env("XDG_RUNTIME_DIR", self.dir.join("run"));
        command.env("XDG_CONFIG_HOME", self.dir.join("home"));
        command
    }

    /// The output of a command, and its exit code.
    pub fn say(&self, args: &[&str]) -> Result<Said, String> {
        Ok(finish(self.command(args).spawn().map_err(text)?, args)?.into())
    }

    /// The output of a command that must succeed.
    pub fn well(&self, args: &[&str]) -> Result<String, String> {
        let said = self.say(args)?;
        check(said.code == 0, &format!("trine {}", args.join(" ")), &said)?;
        Ok(said.out.trim_end().into())
    }

    /// The output of a shell's line in a new container.
    pub fn line(&self, options: &[&str], line: &str) -> Result<String, String> {
        self.well(&[&["run", "--rm"], options, &[&self.image, "sh", "-c", line]].concat())
    }

    /// A container in the background.
    pub fn start(&self, name: &str, options: &[&str], line: &str) -> Checked {
        self.well(&[&["run", "-d", "--name", name], options, &[&self.image, "sh", "-c", line]].concat())
            .map(drop)
    }

    /// Waits until a container's log has this text.
    pub fn logs_have(&self, name: &str, text: &str) -> Checked {
        until(&format!("'{text}' in the log of {name}"), || Ok(self.well(&["logs", name])?.contains(text)))
    }

    /// A field of a container's record.
    pub fn field(&self, name: &str, path: &str) -> Result<String, String> {
        self.well(&["inspect", "--format", &format!("{{{{.{path}}}}}"), name])
    }

    /// Fails to run for a reason other than the command: with the exit code of other engines, and a sentence
    /// that contains this.
    pub fn refuses(&self, args: &[&str], part: &str) -> Checked {
        self.fails(args, 125, part)
    }

    /// Ends with this code and a sentence that contains this.
    pub fn fails(&self, args: &[&str], code: i32, part: &str) -> Checked {
        let said = self.say(args)?;
        let right = said.code == code && said.err.contains(part) && said.out.is_empty();
        check(right, &format!("trine {} is to fail with {code} and '{part}'", args.join(" ")), &said)
    }

    /// Everything that is left after all guests are removed: mounts, control groups, namespaces, files,
    /// processes.
    fn is_clean(&self) -> Checked {
        let all = self.well(&["ps", "-aq"])?;
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            self.well(&[&["rm", "-f"][..], &ids].concat())?;
        }
        let dir = self.dir.display().to_string();
        until("no process left", || Ok(self.processes().is_empty()))
            .map_err(|e| format!("{e}; there are {:?}", self.processes()))?;
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").map_err(text)?;
        same("mounts", mounts.lines().filter(|l| l.contains(&dir)).collect::<Vec<_>>(), Vec::<&str>::new())?;
        same("links", links()?, self.links.clone())?;
        for left in ["data/trine/guests/names", "run/trine/guests", "run/trine/oci"] {
            let entries = fs::read_dir(self.dir.join(left)).into_iter().flatten();
            let names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
            same(left, format!("{names:?}"), "[]")?;
        }
        Ok(())
    }

    /// Processes of this run.
    pub fn processes(&self) -> Vec<String> {
        let runs = format!("XDG_RUNTIME_DIR={}", self.dir.join("run").display());
        let ours = |pid: i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|&b| b == 0).any(|line| line == runs.as_bytes())
        };
        let all = trine_control::process::all();
        all.iter()
            .filter(|s| !s.is_zombie() && ours(s.pid))
            .map(|s| format!("{} {}", s.pid, s.name))
            .collect()
    }
}
