//! A whole Debian for tests and benchmarks that give the same kernel, initial RAM disk and disk to Trine and to QEMU: with
//! compilers and load generators, installed once from the host's mirrors.

use crate::machine::{Machines, Talk};
use crate::{text, tools};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trine_base::{file_lock, xdg};
use trine_control::initramfs::{self, Module};
use trine_image::debian::{Lock, disk};
use trine_image::{linux, modules};

/// Must be increased when `install.sh` changes.
const EDITION: u32 = 1;
/// Installs the tools inside the machine.
const INSTALL: &str = include_str!("debian/install.sh");
/// Its last line if all went well.
const INSTALLED: &str = "trine: the tools are installed";
/// Root's prompt on the console.
pub const PROMPT: &str = "root@debian:~# ";
/// Time limit for making the disk.
const MAKING: Duration = Duration::from_secs(1800);
/// Time limit for a boot to the prompt.
pub const BOOT: Duration = Duration::from_secs(900);
/// Harts of the machines.
pub const HARTS: &str = "4";
/// Memory of the machines, as Trine and QEMU take it.
pub const MEMORY: &str = "1G";

/// What a machine boots.
pub struct Debian {
    kernel: PathBuf,
    initrd: PathBuf,
    /// The disk that others are copies of.
    base: PathBuf,
}

/// Directory for what the tests keep in the user's cache.
///
/// # Errors
/// The host's.
pub fn cache() -> Result<PathBuf, String> {
    let dir = xdg::cache().map_err(text)?.join("tests");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}

/// The disk of `trine run debian`.
fn plain(cache: &Path) -> PathBuf {
    disk::base(cache, linux::SUITE, "riscv64")
}

/// The disk with tools that belongs to it.
fn with_tools(plain: &Path) -> Result<PathBuf, String> {
    let name = plain.file_stem().unwrap_or_default().to_string_lossy();
    Ok(cache()?.join(format!("{name}-tools-{EDITION}.raw")))
}

impl Debian {
    /// Debian as `trine run debian` boots it.
    fn plain(machines: &Machines) -> Result<Debian, String> {
        let cache = xdg::cache().map_err(text)?;
        let base = plain(&cache);
        if !base.is_file() {
            eprintln!("making the disk of Debian");
            let mut talk = Talk::start(machines.run(&["--ephemeral", "--cpus", HARTS, "debian"]))?;
            talk.hear_within(PROMPT, MAKING)?;
        }
        let lock = Lock::load(&tools::root().join("guests.lock")).map_err(text)?;
        let guest = linux::prepare(&cache, &lock, &mut |_, _, _| {}).map_err(text)?;
        let with = modules::for_disks(&cache, &guest, &mut |_, _, _| {}).map_err(text)?;
        let mut all = std::fs::read(&guest.initrd).map_err(text)?;
        // The kernel unpacks archives one after the other; each starts at a multiple of 4.
        all.resize(all.len().next_multiple_of(4), 0);
        initramfs::modules(&Module::read(&with.modules).map_err(text)?, &[], &mut all).map_err(text)?;
        let initrd = machines.dir.join("initramfs.cpio");
        std::fs::write(&initrd, all).map_err(text)?;
        Ok(Debian { kernel: with.kernel, initrd, base })
    }

    /// Debian as `trine run debian` boots it, with a disk on which the tools of `install.sh` are installed.
    ///
    /// # Errors
    /// What is missing could not be fetched, made or installed.
    pub fn with_tools(machines: &Machines) -> Result<Debian, String> {
        let mut debian = Debian::plain(machines)?;
        let wanted = with_tools(&debian.base)?;
        let lock = wanted.with_extension("lock");
        let _held = file_lock::take(&lock, MAKING).map_err(text)?.ok_or("another test makes this disk")?;
        if !wanted.is_file() {
            eprintln!("installing tools in a copy of the disk of Debian (once; it takes minutes)");
            let unfinished = wanted.with_extension("unfinished");
            copy(&debian.base, &unfinished)?;
            let script = padded(machines, "install.sh", INSTALL)?;
            let words = [&unfinished, &script].map(|disk| disk.display().to_string());
            let made = debian.ours(machines, &words, "user").and_then(install);
            if let Err(why) = made {
                drop(std::fs::remove_file(&unfinished));
                return Err(format!("installing tools: {why}"));
            }
            std::fs::rename(&unfinished, &wanted).map_err(text)?;
        }
        debian.base = wanted;
        Ok(debian)
    }

    /// Copies the disk for one machine, and returns the copy's path.
    ///
    /// # Errors
    /// The host's.
    pub fn copy(&self, machines: &Machines, name: &str) -> Result<PathBuf, String> {
        let to = machines.dir.join(name);
        copy(&self.base, &to)?;
        Ok(to)
    }

    /// The kernel's command line. On a busy host it may take longer than systemd's 90 seconds until the console is there, and
    /// without it there is no prompt.
    fn append(&self) -> String {
        let patience = "systemd.default_device_timeout_sec=600";
        format!(
            "earlycon console=ttyS0 quiet loglevel=4 {}/dev/vda systemd.hostname=debian {patience}",
            linux::ROOT
        )
    }

    /// Trine's command for a machine with these disks, the root's first, and a network.
    ///
    /// # Errors
    /// Never at present.
    pub fn ours(&self, machines: &Machines, disks: &[String], network: &str) -> Result<Command, String> {
        let mut command = machines.run(&["--cpus", HARTS, "-m", MEMORY, "--network", network]);
        command.args(disks.iter().flat_map(|disk| ["--disk", disk.as_str()]));
        command.arg("--kernel").arg(&self.kernel).arg("--initrd").arg(&self.initrd);
        command.args(["--append", &self.append()]);
        Ok(command)
    }

    /// QEMU's command for the same machine: virtio over MMIO, as Trine's, and `-netdev` with this value and `id=net`.
    ///
    /// # Errors
    /// QEMU could not be fetched.
    pub fn theirs(&self, disks: &[String], network: &str) -> Result<Command, String> {
        let (qemu, before) = tools::qemu_system()?;
        let mut command = Command::new(qemu);
        command.args(before).args(["-M", "virt", "-smp", HARTS, "-m", MEMORY, "-nographic", "-no-reboot"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd);
        command.args(["-append", &self.append()]);
        // As other machines have it, and Trine: not the protocol from before version 1.
        command.args(["-global", "virtio-mmio.force-legacy=false"]);
        for (n, disk) in disks.iter().enumerate() {
            let drive = format!("file={disk},format=raw,if=none,id=disk{n}");
            command.args(["-drive", &drive, "-device", &format!("virtio-blk-device,drive=disk{n}")]);
        }
        command.args(["-netdev", &format!("{network},id=net"), "-device", "virtio-net-device,netdev=net"]);
        Ok(command)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    trine_image::disk::copy::sparse(from, to).map_err(text)
}

/// A script as a raw disk: a whole number of sectors, filled up with empty lines, so that `sh /dev/vdb` runs it.
///
/// # Errors
/// The host's.
pub fn padded(machines: &Machines, name: &str, script: &str) -> Result<PathBuf, String> {
    let path = machines.dir.join(name);
    let mut all = script.as_bytes().to_vec();
    all.resize(all.len().next_multiple_of(4096), b'\n');
    std::fs::File::create(&path).and_then(|mut file| file.write_all(&all)).map_err(text)?;
    Ok(path)
}

/// Installs the tools in the machine of this command, whose second disk has the script.
fn install(command: Command) -> Result<(), String> {
    let mut shell = Shell::start(command, PROMPT)?;
    let said = shell.run("sh /dev/vdb", MAKING)?;
    if !said.lines().any(|line| line.trim_end() == INSTALLED) {
        return Err(said);
    }
    shell.power_off()
}

/// A shell on the console of a Debian, to which commands are given one after the other.
pub struct Shell {
    /// The machine.
    pub talk: Talk,
}

impl Shell {
    /// Boots a machine to this prompt of its shell.
    ///
    /// # Errors
    /// It does not come to its prompt in time.
    pub fn start(command: Command, prompt: &str) -> Result<Shell, String> {
        let mut talk = Talk::start(command)?;
        talk.hear_within(prompt, BOOT)?;
        Shell::at_prompt(talk)
    }

    /// Takes over a machine that has shown its prompt: from now on it shows none, and no echo.
    ///
    /// # Errors
    /// It does not answer.
    pub fn at_prompt(mut talk: Talk) -> Result<Shell, String> {
        talk.say("exec sh\n")?;
        talk.say("PS1=; PS2=; stty -echo -onlcr; printf 'rea''dy\\n'\n")?;
        talk.hear_within("ready\n", BOOT)?;
        Ok(Shell { talk })
    }

    /// Runs lines of shell and returns what they write.
    ///
    /// # Errors
    /// They fail, or do not end in time.
    pub fn run(&mut self, lines: &str, patience: Duration) -> Result<String, String> {
        self.talk.say(&format!("{{ {lines}\n}} 2>&1 </dev/null; printf '=en''d=%d\\n' $?\n"))?;
        let said = self.talk.hear_before("=end=", patience)?;
        let code = self.talk.hear_before("\n", patience)?;
        match code.trim() {
            "0" => Ok(said),
            _ => Err(format!("'{lines}' ended with {code}: {said}")),
        }
    }

    /// Powers the machine off and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn power_off(mut self) -> Result<(), String> {
        self.talk.say("poweroff\n")?;
        self.talk.end().map(drop)
    }
}
