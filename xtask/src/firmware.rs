//! Machines as they start and end: on a firmware of their own (OpenSBI, U-Boot from Debian's packages), with disks, with
//! an input that ends, with an output that nobody reads, again and again.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use trine_test_support::command::{Said, check, tool};
use trine_test_support::{text, tools};

/// Time that a machine gets to say something.
const PATIENCE: Duration = Duration::from_secs(120);

/// `lui t0, 0x100; lui t1, 0x7; addi t1, t1, 0x777; sw t1, 0(t0)`: the board's finisher is told to reset.
const RESETS: [u32; 4] = [0x0010_02b7, 0x0000_7337, 0x7773_0313, 0x0062_a023];
/// Sends back what the serial port brings, up to a `q`, with which it powers off: `lui s0, 0x10000`, then
/// `lbu t0, 5(s0); andi t0, t0, 1; beq t0, zero, -8; lbu t1, 0(s0); sb t1, 0(s0); addi t2, zero, 'q';
/// bne t1, t2, -24; lui t0, 0x100; lui t1, 0x5; addi t1, t1, 0x555; sw t1, 0(t0); jal zero, 0`.
const ECHOES: [u32; 13] = [
    0x1000_0437,
    0x0054_4283,
    0x0012_f293,
    0xfe02_8ce3,
    0x0004_4303,
    0x0064_0023,
    0x0710_0393,
    0xfe73_14e3,
    0x0010_02b7,
    0x0000_5337,
    0x5553_0313,
    0x0062_a023,
    0x0000_006f,
];

/// Where the tests have their files; removed at the end.
struct Place {
    dir: PathBuf,
    trine: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A machine that is talked with.
struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Talk {
    fn start(mut command: Command) -> Result<Talk, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let (stdin, said) = (child.stdin.take(), Arc::new(Mutex::new(Vec::new())));
        let (mut out, to) = (child.stdout.take().ok_or("no output")?, said.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buf) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buf[..n]);
            }
        });
        Ok(Talk { child, stdin, said, seen: 0 })
    }

    /// Waits for a text behind the last one.
    fn hear(&mut self, wanted: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let rest = &said[self.seen..];
            if let Some(at) = rest.windows(wanted.len()).position(|w| w == wanted.as_bytes()) {
                self.seen += at + wanted.len();
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("it does not say '{wanted}': {}", String::from_utf8_lossy(rest)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn say(&mut self, words: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("its input is closed")?;
        stdin.write_all(words.as_bytes()).and_then(|()| stdin.flush()).map_err(text)
    }

    /// Waits for the end; the exit code, or the signal's as a shell counts.
    fn end(&mut self) -> Result<i32, String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().map_err(text)? {
                return Ok(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Err(format!("it does not end: {}", String::from_utf8_lossy(&said)))
    }
}

impl Place {
    fn new() -> Result<Place, String> {
        let dir = std::env::temp_dir().join(format!("trine-firmware-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(text)?;
        Ok(Place { dir, trine: tools::trine()? })
    }

    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.trine);
        command.arg("run").args(words);
        command
    }

    /// Runs a machine with this input to its end.
    fn whole(&self, words: &[&str], input: &str) -> Result<Said, String> {
        let mut command = self.run(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(text)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(text)?;
        }
        child.wait_with_output().map(Said::from).map_err(text)
    }

    fn code(&self, name: &str, words: &[u32]) -> Result<String, String> {
        let path = self.dir.join(name);
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        fs::write(&path, bytes).map_err(text)?;
        Ok(path.display().to_string())
    }
}

/// OpenSBI and U-Boot.
pub fn firmware() -> Result<(), String> {
    let place = Place::new()?;
    let dir = tools::unpacked("firmware", "trixie", &["opensbi", "u-boot-qemu"], false)?;
    let opensbi =
        |name: &str| dir.join("usr/lib/riscv64-linux-gnu/opensbi/generic").join(name).display().to_string();
    let u_boot = |name: &str| dir.join("usr/lib/u-boot").join(name).display().to_string();
    for form in ["fw_dynamic.bin", "fw_jump.elf"] {
        let said = place.whole(&["linux", "--firmware", &opensbi(form)], "uname -m; poweroff\n")?;
        let right = ["OpenSBI v", "riscv64", "reboot: Power down"].iter().all(|w| said.out.contains(w));
        check(right && said.code == 0, &format!("OpenSBI's {form} should start Linux"), &said)?;
    }
    let below = opensbi("fw_dynamic.elf");
    let over = u_boot("qemu-riscv64_smode/u-boot.bin");
    for words in
        [&["--firmware", &u_boot("qemu-riscv64/u-boot.bin")][..], &["--firmware", &below, "--kernel", &over]]
    {
        let mut talk = Talk::start(place.run(words))?;
        for order in ["reset\n", "poweroff\n"] {
            talk.hear("U-Boot 20")
                .and_then(|()| talk.hear("stop autoboot"))
                .map_err(|e| format!("{words:?}: {e}"))?;
            talk.say("\n").and_then(|()| talk.hear("=> ")).and_then(|()| talk.say(order))?;
        }
        let code = talk.end().map_err(|e| format!("{words:?}: {e}"))?;
        if code != 0 {
            return Err(format!("{words:?}: U-Boot's poweroff gives {code}"));
        }
    }
    kinds(&place)?;
    println!("OpenSBI and U-Boot start, reset and power off");
    Ok(())
}

/// What is said decides what a file is; what would have no effect is refused.
fn kinds(place: &Place) -> Result<(), String> {
    let echoes = place.code("echoes.bin", &ECHOES)?;
    for (words, why) in [
        (&["--firmware", "none", &echoes, "--append", "x"][..], "--append would have no effect"),
        (&["--firmware", "none", "--initrd", "x", &echoes], "--initrd would have no effect"),
        (&["--firmware", &echoes, "--append", "x"], "--append would have no effect"),
        (&["--firmware", "none", "--strace", &echoes], "leave one of them out"),
        (&["--firmware", &place.dir.display().to_string()], "is not a regular file"),
        (&["--firmware", &echoes, "--kernel", &echoes, "-m", "1M"], "does not fit"),
    ] {
        let said = place.whole(words, "")?;
        check(said.code == 2 && said.err.contains(why), &format!("{words:?} should be refused"), &said)?;
    }
    // A raw file is a firmware; in lock-step both machines get what is typed.
    for words in [&["--firmware", &echoes][..], &["--lockstep", "--firmware", &echoes]] {
        let mut talk = Talk::start(place.run(words))?;
        talk.say("hello")?;
        talk.hear("hello").map_err(|e| format!("{words:?}: {e}"))?;
        talk.say("q")?;
        let code = talk.end().map_err(|e| format!("{words:?}: {e}"))?;
        if code != 0 {
            return Err(format!("{words:?}: {code}"));
        }
    }
    let mut talk = Talk::start(place.run(&["--lockstep", "--firmware", &echoes]))?;
    talk.say("x").and_then(|()| talk.hear("x"))?;
    signal(&talk.child, rustix::process::Signal::INT)?;
    match talk.end()? {
        130 => Ok(()),
        code => Err(format!("SIGINT to --lockstep gives {code}")),
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) -> Result<(), String> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).map_err(text)
}

/// What a process holds between two machines: the least of many looks.
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

/// How machines end and begin again, and what they keep.
pub fn ends() -> Result<(), String> {
    let place = Place::new()?;
    let resets = place.code("resets.bin", &RESETS)?;
    let mut talk = Talk::start(place.run(&["--firmware", &resets, "-m", "64M"]))?;
    std::thread::sleep(Duration::from_millis(500));
    let before = least_held(&talk.child)?;
    std::thread::sleep(Duration::from_secs(2));
    let after = least_held(&talk.child)?;
    if after.0 > before.0 + 8 || after.1 > before.1 + (256 << 10) {
        return Err(format!("resets leave descriptors or memory: {before:?} became {after:?}"));
    }
    signal(&talk.child, rustix::process::Signal::TERM)?;
    talk.end().map_err(|e| format!("a machine that resets for ever, after SIGTERM: {e}"))?;
    for (input, wanted) in [("", "'poweroff' ends it"), ("echo $((6 * 7))", "\r\n42\r\n")] {
        let said = place.whole(&["linux", "-m", "96M"], input)?;
        check(said.code == 0 && said.out.contains(wanted), "the input's end is the machine's", &said)?;
    }
    unread(&place)?;
    let said = place.whole(&["linux", "-m", "64M"], "")?;
    check(said.code == 2 && said.err.contains("at least 96M"), "64 MiB are too little", &said)?;
    let guest = tools::guest()?;
    let (kernel, initrd) = (guest.kernel.display().to_string(), guest.initrd.display().to_string());
    let words = ["--kernel", &kernel, "--initrd", &initrd, "-m", "64M", "--append", "earlycon quiet"];
    let said = place.whole(&words, "")?;
    let right = said.code == 3 && said.out.contains("Kernel panic");
    check(right, "a panic before the console is shown", &said)?;
    disks(&place)?;
    println!("machines end and begin again, and leave nothing");
    Ok(())
}

/// A machine whose output nobody reads ends, also while it waits for input.
fn unread(place: &Place) -> Result<(), String> {
    let mut command = place.run(&["linux"]);
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
    let stdin = child.stdin.take();
    let mut talk = Talk { child, stdin, said: Arc::default(), seen: 0 };
    match talk.end().map_err(|e| format!("nobody reads what it says: {e}"))? {
        141 => Ok(()),
        code => Err(format!("a machine that nobody reads gives {code}")),
    }
}

/// Disks are seen, keep what is written, and are used by one machine that writes.
fn disks(place: &Place) -> Result<(), String> {
    let disk = place.dir.join("disk.img");
    let file = fs::File::create(&disk).and_then(|f| f.set_len(32 << 20));
    file.map_err(text)?;
    if !tools::has(&["mkfs.ext4"]) {
        return Ok(());
    }
    tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).env("PATH", path()))?;
    let name = disk.display().to_string();
    let mut talk = Talk::start(place.run(&["linux", "--disk", &name]))?;
    talk.hear("# ")?;
    for how in ["", ",ro", ",snapshot"] {
        let said = place.whole(&["linux", "--disk", &format!("{name}{how}")], "")?;
        let right = said.code == 2 && said.err.contains("in use by another machine");
        check(right, &format!("{how}: a disk that is written is used alone"), &said)?;
    }
    talk.say("mkdir -p /mnt; mount -t ext4 /dev/vda /mnt && echo kept > /mnt/file; umount /mnt; poweroff\n")?;
    talk.end()?;
    // What is forgotten at the end is not forgotten at a reset.
    let snapshot = format!("{name},snapshot");
    let mut talk = Talk::start(place.run(&["linux", "--disk", &snapshot]))?;
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

/// Where programs are, those for file systems, too.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
