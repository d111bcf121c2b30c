//! The soak: a Debian of four harts under all loads at once, for hours in parts of half an hour. Each part goes on from the
//! snapshot that the one before left. What fails it: a load's own check, a load that comes to a stop, a complaint of the kernel,
//! or memory of the monitor that is too much or grows on.

mod watch;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_test_support::command::check;
use trine_test_support::debian::{self, Debian, Shell, padded};
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text, tools};
use watch::Watch;

/// The loads, run by the guest's shell.
const LOADS: &str = include_str!("loads.sh");
/// Their names.
const NAMES: &[&str] = &["stress", "jit", "net", "disk"];
/// Prepares a guest without a disk of Debian's for them, whose programs are in these packages.
const CHROOT: &str = include_str!("chroot.sh");
const PACKAGES: &[&str] = &["bash", "coreutils", "dash", "diffutils", "e2fsprogs", "nodejs", "stress-ng"];
/// The record's name.
const NAME: &str = "soak";
/// How long a part takes.
const PART: Duration = Duration::from_secs(1800);
/// The last part.
const LAST: u32 = 4;
/// How long the machine is watched after its snapshot.
const AFTER: Duration = Duration::from_secs(20);
/// Bytes of the raw disk, and of the other one of a guest without a disk of Debian's.
const DATA: u64 = 128 << 20;

/// A part of the four.
pub fn part(number: u32) -> Checked {
    let dir = debian::cache()?.join("soak");
    if number == 1 {
        drop(std::fs::remove_dir_all(&dir));
    }
    std::fs::create_dir_all(&dir).map_err(text)?;
    let soak = Soak::new(dir.clone(), Guest::WholeDebian)?;
    soak.part(number, PART)?;
    if number == LAST {
        drop(std::fs::remove_dir_all(&dir));
    }
    Ok(())
}

/// Two short parts, which take three minutes.
pub fn short() -> Checked {
    let machines = Machines::new("soak-short")?;
    let soak = Soak::new(machines.dir.to_path_buf(), Guest::Programs)?;
    [1, 2].into_iter().try_for_each(|number| soak.part(number, Duration::from_secs(80)))
}

/// What the loads run in.
enum Guest {
    /// A whole Debian on a disk with tools, whose making takes long.
    WholeDebian,
    /// BusyBox and a shared folder with Debian's programs.
    Programs,
}

struct Soak {
    machines: Machines,
    /// Where the snapshots are.
    dir: PathBuf,
    guest: Guest,
    /// Where the host sends back what it gets.
    port: u16,
}

/// A machine with a record goes on when its client is killed: one that a failed part left is removed.
impl Drop for Soak {
    fn drop(&mut self) {
        drop(self.machines.said(&["rm", "-f", NAME]));
    }
}

/// Sends everything back, on a thread for each connection.
fn echo(listener: TcpListener) {
    fn one(mut stream: TcpStream) {
        let mut buf = [0; 1 << 16];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            if stream.write_all(&buf[..n]).is_err() {
                return;
            }
        }
    }
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || one(stream));
    }
}

impl Soak {
    fn new(dir: PathBuf, guest: Guest) -> Result<Soak, String> {
        let machines = Machines::new("soak")?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let port = listener.local_addr().map_err(text)?.port();
        std::thread::spawn(move || echo(listener));
        Ok(Soak { machines, dir, guest, port })
    }

    fn snapshot(&self, number: u32) -> PathBuf {
        self.dir.join(format!("soak-{number}.snap"))
    }

    /// One part: the machine from the snapshot before, or from its boot, and a snapshot at the end.
    fn part(&self, number: u32, time: Duration) -> Checked {
        let before = self.snapshot(number.saturating_sub(1));
        let mut shell = match before.is_file() {
            true => self.goes_on(&before)?,
            false => {
                if number > 1 {
                    println!("{} is not there: this part begins with a boot", before.display());
                }
                self.boots()?
            }
        };
        let mut watch = Watch::new(NAMES);
        watch.runs(&mut shell, &format!("echo {} >/run/soak/port", self.port))?;
        watch.over(&mut shell, time)?;
        self.save(&self.snapshot(number))?;
        watch.over(&mut shell, AFTER)?;
        println!("part {number}: {}", watch.summary());
        self.ends(shell, &mut watch)
    }

    /// Boots a machine and starts the loads.
    fn boots(&self) -> Result<Shell, String> {
        let (mut shell, run) = match self.guest {
            Guest::WholeDebian => (self.whole_debian()?, ""),
            Guest::Programs => (self.programs()?, "chroot /r"),
        };
        let (loads, port) = (NAMES.join(" "), self.port);
        shell
            .run(&format!("{run} sh /dev/vdc start {loads} && echo {port} >/run/soak/port"), debian::BOOT)?;
        Ok(shell)
    }

    fn whole_debian(&self) -> Result<Shell, String> {
        let debian = Debian::with_tools(&self.machines)?;
        let disks = self.disks(debian.copy(&self.machines, "root.raw")?)?;
        let mut command = debian.ours(&self.machines, &disks, "user,host")?;
        command.args(["--name", NAME, "--rm"]);
        Shell::start(self.machines.own(command), debian::PROMPT)
    }

    fn programs(&self) -> Result<Shell, String> {
        let root = tools::debian_root("riscv64", PACKAGES)?;
        let share = format!("{}:/debian,ro", root.display());
        let mut command = self.machines.verb(&["run", "--name", NAME, "--rm", "--share", &share]);
        command.args(["--cpus", debian::HARTS, "-m", debian::MEMORY, "--network", "user,host"]);
        let disks = self.disks(self.blank("files.raw")?)?;
        command.args(disks.iter().flat_map(|disk| ["--disk", disk.as_str()])).arg("linux");
        let mut shell = Shell::start(command, "root@trine:~# ")?;
        shell.run(&format!("(\n{CHROOT})"), debian::BOOT)?;
        Ok(shell)
    }

    /// The machine's disks: this one, one for the loads, and their script.
    fn disks(&self, first: PathBuf) -> Result<[String; 3], String> {
        let script = padded(&self.machines, "loads.sh", LOADS)?;
        Ok([first, self.blank("data.raw")?, script].map(|disk| disk.display().to_string()))
    }

    fn blank(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.machines.dir.join(name);
        std::fs::File::create(&path).and_then(|file| file.set_len(DATA)).map_err(text)?;
        Ok(path)
    }

    /// Goes on from a snapshot, in which the loads are at work and the shell waits.
    fn goes_on(&self, from: &Path) -> Result<Shell, String> {
        let file = from.display().to_string();
        let command = self.machines.run(&["--name", NAME, "--rm", "--restore", &file]);
        Ok(Shell { talk: Talk::start(self.machines.own(command))? })
    }

    fn save(&self, to: &Path) -> Checked {
        let words = ["snapshot", "--force", NAME].map(OsStr::new);
        let said = self.machines.said(&[&words, &[to.as_os_str()][..]].concat())?;
        check(said.code == 0, "snapshot", &said)
    }

    /// Stops the loads; the kernel must not have complained, and the machine powers off.
    fn ends(&self, mut shell: Shell, watch: &mut Watch) -> Checked {
        watch.runs(&mut shell, "touch /run/soak/stop")?;
        watch.until_all_end(&mut shell)?;
        watch.runs(&mut shell, "dmesg")?;
        shell.power_off()
    }
}
