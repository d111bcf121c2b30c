//! The soak: a whole Debian of four harts under all loads at once, for hours in parts of half an hour. Each part goes on from the
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
use trine_test_support::{Checked, text};
use watch::Watch;

/// The loads, run by the guest's shell.
const LOADS: &str = include_str!("loads.sh");
/// Loads that need the disk with tools, and those that need nothing.
const WITH_TOOLS: &[&str] = &["stress", "jit", "net", "disk"];
const PLAIN: &[&str] = &["net", "disk"];
/// The record's name.
const NAME: &str = "soak";
/// How long a part takes.
const PART: Duration = Duration::from_secs(1800);
/// The last part.
const LAST: u32 = 4;
/// How long the machine is watched after its snapshot.
const AFTER: Duration = Duration::from_secs(20);
/// Bytes of the raw disk.
const DATA: u64 = 128 << 20;

/// A part of the four.
pub fn part(number: u32) -> Checked {
    let dir = debian::cache()?.join("soak");
    if number == 1 {
        drop(std::fs::remove_dir_all(&dir));
    }
    std::fs::create_dir_all(&dir).map_err(text)?;
    let soak = Soak::new(dir.clone(), WITH_TOOLS)?;
    soak.part(number, PART)?;
    if number == LAST {
        drop(std::fs::remove_dir_all(&dir));
    }
    Ok(())
}

/// Two short parts, which take three minutes; with all loads only if the disk with tools is there already.
pub fn short() -> Checked {
    let loads = if debian::has_tools() { WITH_TOOLS } else { PLAIN };
    println!("loads: {}", loads.join(", "));
    let machines = Machines::new("soak-short")?;
    let soak = Soak::new(machines.dir.to_path_buf(), loads)?;
    [1, 2].into_iter().try_for_each(|number| soak.part(number, Duration::from_secs(80)))
}

struct Soak {
    machines: Machines,
    /// Where the snapshots are.
    dir: PathBuf,
    loads: &'static [&'static str],
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
    fn new(dir: PathBuf, loads: &'static [&'static str]) -> Result<Soak, String> {
        let machines = Machines::new("soak")?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let port = listener.local_addr().map_err(text)?.port();
        std::thread::spawn(move || echo(listener));
        Ok(Soak { machines, dir, loads, port })
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
        let mut watch = Watch::new(self.loads);
        watch.runs(&mut shell, &format!("echo {} >/run/soak/port", self.port))?;
        watch.over(&mut shell, time)?;
        self.save(&self.snapshot(number))?;
        watch.over(&mut shell, AFTER)?;
        println!("part {number}: {}", watch.summary());
        self.ends(shell, &mut watch)
    }

    /// Boots a machine and starts the loads.
    fn boots(&self) -> Result<Shell, String> {
        let debian = match self.loads == WITH_TOOLS {
            true => Debian::with_tools(&self.machines)?,
            false => Debian::plain(&self.machines)?,
        };
        let root = debian.copy(&self.machines, "root.raw")?;
        let data = self.machines.dir.join("data.raw");
        std::fs::File::create(&data).and_then(|file| file.set_len(DATA)).map_err(text)?;
        let script = padded(&self.machines, "loads.sh", LOADS)?;
        let disks = [root, data, script].map(|disk| disk.display().to_string());
        let mut command = debian.ours(&self.machines, &disks, "user,host")?;
        command.args(["--name", NAME, "--rm"]);
        let mut shell = Shell::start(self.machines.own(command))?;
        let loads = self.loads.join(" ");
        let port = self.port;
        shell.run(
            &format!("mkdir -p /run/soak; echo {port} >/run/soak/port; sh /dev/vdc start {loads}"),
            debian::BOOT,
        )?;
        Ok(shell)
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
