//! How machines end and restart: with disks, with an input that ends, with an output without a reader.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trine_test_support::command::{check, tool};
use trine_test_support::machine::{Form, Machines, Talk};
use trine_test_support::{Checked, text, tools};

/// Tells the board's finisher to reset.
const RESETS: &str = "lui t0, 0x100
    li t1, 0x7777
    sw t1, 0(t0)
";

/// Resources of a process between two machines: the minimum of many samples.
fn least_held(child: &Child) -> Result<(usize, u64), String> {
    let mut least = held(child)?;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(7));
        let now = held(child)?;
        least = (least.0.min(now.0), least.1.min(now.1));
    }
    Ok(least)
}

/// Descriptors of a process, and KiB of its addresses.
fn held(child: &Child) -> Result<(usize, u64), String> {
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let fds = fs::read_dir(proc.join("fd")).map_err(text)?.count();
    let status = fs::read_to_string(proc.join("status")).map_err(text)?;
    let size =
        status.lines().find_map(|l| l.strip_prefix("VmSize:")?.split_whitespace().next()?.parse().ok());
    Ok((fds, size.ok_or("no VmSize")?))
}

/// How machines end and restart, and what they keep.
pub fn ends() -> Checked {
    let machines = Machines::new("ends")?;
    let resets = machines.program("resets.bin", RESETS, Form::Raw)?;
    let mut talk = Talk::start(machines.run(&["--firmware", &resets, "-m", "64M"]))?;
    std::thread::sleep(Duration::from_millis(500));
    let before = least_held(talk.process())?;
    std::thread::sleep(Duration::from_secs(2));
    let after = least_held(talk.process())?;
    if after.0 > before.0 + 8 || after.1 > before.1 + (256 << 10) {
        return Err(format!("resets leave descriptors or memory: {before:?} became {after:?}"));
    }
    talk.signal(rustix::process::Signal::TERM)?;
    talk.end().map_err(|e| format!("a machine that resets for ever, after SIGTERM: {e}"))?;
    for (input, wanted) in [("", "'poweroff' ends it"), ("echo $((6 * 7))", "\r\n42\r\n")] {
        let said = machines.whole(&["linux", "-m", "96M"], input)?;
        check(said.code == 0 && said.out.contains(wanted), "the input's end is the machine's", &said)?;
    }
    unread(&machines)?;
    let said = machines.whole(&["linux", "-m", "64M"], "")?;
    check(said.code == 2 && said.err.contains("use at least -m 96M"), "64 MiB are too little", &said)?;
    let guest = tools::guest()?;
    let (kernel, initrd) = (guest.kernel.display().to_string(), guest.initrd.display().to_string());
    let words = ["--kernel", &kernel, "--initrd", &initrd, "-m", "64M", "--append", "earlycon quiet"];
    let said = machines.whole(&words, "")?;
    let right = said.code == 3 && said.out.contains("Kernel panic");
    check(right, "a panic before the console is shown", &said)?;
    disks(&machines)?;
    images(&machines)?;
    println!("machines end and begin again, and leave nothing");
    Ok(())
}

/// A machine whose output has no reader ends, even while it waits for input.
fn unread(machines: &Machines) -> Checked {
    let mut command = machines.run(&["linux"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(text)?;
    let mut out = child.stdout.take().ok_or("no output")?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"# ") {
        let mut byte = [0];
        match out.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => return Err("the machine ended before its prompt".into()),
        }
    }
    drop(out);
    let mut talk = Talk::unheard(child);
    match talk.end().map_err(|e| format!("nobody reads what it says: {e}"))? {
        141 => Ok(()),
        code => Err(format!("a machine that nobody reads gives {code}")),
    }
}

/// Disks are visible, persistent, and used by only one machine that writes.
fn disks(machines: &Machines) -> Checked {
    let disk = machines.dir.join("disk.img");
    let file = fs::File::create(&disk).and_then(|f| f.set_len(32 << 20));
    file.map_err(text)?;
    if !tools::has(&["mkfs.ext4"]) {
        return Ok(());
    }
    tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).env("PATH", path()))?;
    let name = disk.display().to_string();
    let mut talk = Talk::start(machines.run(&["linux", "--disk", &name]))?;
    talk.hear("# ")?;
    for how in ["", ",ro", ",snapshot"] {
        let said = machines.whole(&["linux", "--disk", &format!("{name}{how}")], "")?;
        let right = said.code == 2 && said.err.contains("in use by another machine");
        check(right, &format!("{how}: a disk that is written is used alone"), &said)?;
    }
    talk.say("mkdir -p /mnt; mount -t ext4 /dev/vda /mnt && echo kept > /mnt/file; umount /mnt; poweroff\n")?;
    talk.end()?;
    // Changes that are forgotten at the end survive a reset.
    let snapshot = format!("{name},snapshot");
    let mut talk = Talk::start(machines.run(&["linux", "--disk", &snapshot]))?;
    let mount = "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt";
    talk.hear("# ")?;
    talk.say(&format!("{mount}; cat /mnt/file; echo mo''re >> /mnt/file; umount /mnt; reboot\n"))?;
    talk.hear("kept").and_then(|()| talk.hear("# ")).and_then(|()| talk.hear("# "))?;
    talk.say(&format!("{mount}; cat /mnt/file; umount /mnt; poweroff\n"))?;
    talk.hear("kept").and_then(|()| talk.hear("more"))?;
    talk.end()?;
    let listed = tool(Command::new("debugfs").args(["-R", "cat file"]).arg(&disk).env("PATH", path()))?;
    match listed.trim() {
        "kept" => Ok(()),
        other => Err(format!("the disk should have 'kept': {other:?}")),
    }
}

/// A qcow2 image over a raw one: what is written is in the image even after SIGKILL, and the image is sound.
fn images(machines: &Machines) -> Checked {
    if !tools::has(&["mkfs.ext4", "qemu-img"]) {
        return Ok(());
    }
    let [base, image] = ["base.img", "image.qcow2"].map(|name| machines.dir.join(name));
    fs::File::create(&base).and_then(|f| f.set_len(32 << 20)).map_err(text)?;
    tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&base).env("PATH", path()))?;
    let before = fs::read(&base).map_err(text)?;
    tool(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.img"])
            .arg(&image),
    )?;
    let disk = format!("{},id=data", image.display());
    let mount = "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt";
    let mut talk = Talk::start(machines.run(&["linux", "--disk", &disk]))?;
    talk.hear("# ")?;
    talk.say(&format!("cat /sys/block/vda/serial; {mount}; echo ke''pt > /mnt/file; sync; echo do''ne\n"))?;
    talk.hear("data").and_then(|()| talk.hear("done"))?;
    talk.signal(rustix::process::Signal::KILL)?;
    drop(talk.end());
    tool(Command::new("qemu-img").arg("check").arg(&image))?;
    let mut talk = Talk::start(machines.run(&["linux", "--disk", &disk]))?;
    talk.hear("# ")?;
    talk.say(&format!("{mount}; cat /mnt/file; rm /mnt/file; umount /mnt; poweroff\n"))?;
    talk.hear("kept")?;
    talk.end()?;
    tool(Command::new("qemu-img").arg("check").arg(&image))?;
    match fs::read(&base).map_err(text)? == before {
        true => Ok(()),
        false => Err("the image below a qcow2 image was written".into()),
    }
}

/// Where programs are, including those for file systems.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
