//! The first process of a machine whose root is an image: machine code that is generated for one image and
//! command.
//!
//! It needs no file of the image: it mounts what every userland expects, starts the command with its
//! environment, user and terminal, and ends the machine with the command's exit code, by the board's test
//! finisher. A command that is an init itself replaces it.
//!
//! Sources: the Linux system call table of riscv64 (include/uapi/asm-generic/unistd.h), `ioctl_tty(2)`, `mem(4)`,
//! `reboot(2)`, and the ELF specification.

mod code;

use super::map;
use crate::MachineError;
use code::{Arg, Code, HERE, PAGE, call};

/// Its path in the root. It removes itself once it runs.
pub const PLACE: &str = ".trine/init";
/// What the kernel's command line must say: the path of the first process, and that the console may request
/// an end at any time.
pub const APPEND: &str = "rdinit=/.trine/init sysrq_always_enabled";

/// Path of the program that loads modules into the kernel, for a guest with a first process of its own.
pub const LOADER: &str = ".trine/load";

/// Path of the module of this name in the root. It is removed once the kernel has loaded it.
pub fn module_place(name: &str) -> String {
    format!(".trine/{name}.ko")
}

/// The console's terminal.
const TERMINAL: &str = "/dev/ttyS0";
/// `AT_REMOVEDIR`: the path to be removed is a directory.
const AT_REMOVEDIR: i64 = 0x200;
/// Leaves an ID unchanged.
const KEEP: Arg = Arg::Value(-1);

/// The signal that stops a process that changes a terminal from the background, as a mask. The first process
/// blocks it while the command is in the foreground.
const SIGTTOU: u64 = 1 << (22 - 1);

/// The file systems to mount: source, place, type, flags (`MS_NOSUID`, `MS_NODEV`, `MS_NOEXEC`), options.
const MOUNTS: [(&str, &str, &str, i64, &str); 6] = [
    ("proc", "/proc", "proc", 14, ""),
    ("sysfs", "/sys", "sysfs", 14, ""),
    ("devtmpfs", "/dev", "devtmpfs", 2, ""),
    ("devpts", "/dev/pts", "devpts", 10, "mode=620,gid=5,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "tmpfs", 6, "mode=1777"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", 14, ""),
];

/// Symbolic links that programs expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// The command that runs in the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestCommand {
    /// The command line; the first word is searched for in the environment's `PATH`.
    pub args: Vec<Vec<u8>>,
    /// Environment variables, as `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// Working directory; created where it does not exist.
    pub cwd: Vec<u8>,
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Supplementary group IDs.
    pub groups: Vec<u32>,
    /// The machine's host name.
    pub hostname: Vec<u8>,
    /// The terminal's rows and columns, if known.
    pub size: Option<(u16, u16)>,
    /// Kernel modules that are loaded first, in this order: see [`module_place`].
    pub modules: Vec<String>,
    /// Folders of the host: the tag of each, and the absolute path of the directory where it is mounted, which is created if missing.
    pub shares: Vec<(String, Vec<u8>)>,
}

impl GuestCommand {
    /// Whether the command is an init, which must be process 1 itself.
    pub fn is_init(&self) -> bool {
        let name = self.args.first().and_then(|a| a.rsplit(|&b| b == b'/').next());
        matches!(name, Some(b"init" | b"systemd"))
    }

    /// The first process, as an ELF file.
    ///
    /// # Errors
    /// There is no command, or it is too large for a program.
    pub fn executable(&self) -> Result<Vec<u8>, MachineError> {
        if self.args.is_empty() {
            return Err(MachineError::Config("a machine that runs an image needs a command".into()));
        }
        let mut code = Code::default();
        self.prepare(&mut code);
        if self.is_init() {
            self.become_command(&mut code);
            code.line("addi s0, s4, 0");
            finish(&mut code);
        } else {
            self.terminal(&mut code);
            code.call(call::CLONE, &[17, 0, 0, 0, 0].map(Arg::Value));
            code.line("beq a0, zero, @child");
            code.line("addi s2, a0, 0");
            wait(&mut code);
            finish(&mut code);
            code.line("child:");
            come_to_front(&mut code);
            self.become_command(&mut code);
            code.call(call::EXIT_GROUP, &[Arg::Register("s4")]);
        }
        let machine = code.assemble().map_err(|e| MachineError::Config(format!("the first process: {e}")))?;
        code::executable(&machine, &code.data)
            .ok_or_else(|| MachineError::Config("the command has too many words for a machine".into()))
    }

    /// Mounts file systems, creates devices and names; then `s1` is the address of the finisher's registers,
    /// or 0.
    fn prepare(&self, code: &mut Code) {
        code.call(call::UMASK, &[Arg::Value(0)]);
        for (from, to, kind, flags, options) in MOUNTS {
            code.directory(to, 0o755);
            let texts = [from, to, kind].map(|t| code.text(t));
            let options = code.text(options);
            code.call(call::MOUNT, &[texts[0], texts[1], texts[2], Arg::Value(flags), options]);
        }
        for (directory, mode) in [("/run", 0o755), ("/tmp", 0o1777)] {
            code.directory(directory, mode);
        }
        for (target, name) in LINKS {
            let (target, name) = (code.text(target), code.text(name));
            code.call(call::SYMLINKAT, &[target, HERE, name]);
        }
        code.call(call::UMASK, &[Arg::Value(0o022)]);
        // Lets the root grow beyond the half of the memory that it may use at first (`MS_REMOUNT`).
        let (root, size) = (code.text("/"), code.text("size=90%"));
        code.call(call::MOUNT, &[root, root, Arg::Value(0), Arg::Value(32), size]);
        let name = code.place(&self.hostname);
        code.call(call::SETHOSTNAME, &[name, Arg::Value(self.hostname.len() as i64)]);
        loopback(code);
        code.load_modules(&self.modules);
        self.shares.iter().for_each(|(tag, place)| mount_share(code, tag, place));
        code.remove("/.trine/init", 0);
        code.remove("/.trine", AT_REMOVEDIR);
        // O_RDWR, O_SYNC, O_CLOEXEC.
        code.open("/dev/mem", 0x18_1002);
        code.line("addi s5, a0, 0");
        let finisher = Arg::Value(map::FINISHER.base as i64);
        let rest = [0, PAGE as i64, 3, 1].map(Arg::Value);
        code.call(call::MMAP, &[&rest[..], &[Arg::Register("s5"), finisher]].concat());
        code.line("addi s1, a0, 0");
        code.line("bge s1, zero, @mapped");
        code.line("addi s1, zero, 0");
        code.line("mapped:");
        code.call(call::CLOSE, &[Arg::Register("s5")]);
    }

    /// Opens a session on the console, which belongs to the command's user. The first process leads it: at a
    /// session's end the kernel discards what the terminal has not sent yet.
    fn terminal(&self, code: &mut Code) {
        let stops = code.place(&SIGTTOU.to_le_bytes());
        code.call(call::SIGPROCMASK, &[Arg::Value(0), stops, Arg::Value(0), Arg::Value(8)]);
        code.call(call::SETSID, &[]);
        code.open(TERMINAL, 2);
        code.line("addi s5, a0, 0");
        code.line("blt s5, zero, @terminal");
        // TIOCSCTTY.
        code.call(call::IOCTL, &[Arg::Register("s5"), Arg::Value(0x540e), Arg::Value(0)]);
        for fd in 0..3 {
            code.call(call::DUP3, &[Arg::Register("s5"), Arg::Value(fd), Arg::Value(0)]);
        }
        code.call(call::CLOSE, &[Arg::Register("s5")]);
        if let Some((rows, columns)) = self.size {
            let size: Vec<u8> = [rows, columns, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
            let size = code.place(&size);
            // TIOCSWINSZ.
            code.call(call::IOCTL, &[Arg::Value(0), Arg::Value(0x5414), size]);
        }
        code.call(call::FCHOWN, &[Arg::Value(0), Arg::Value(self.uid.into()), KEEP]);
        code.line("terminal:");
    }

    /// Sets directory and user, and executes the command. Execution continues behind this only if that
    /// failed; the exit code is in `s4`.
    fn become_command(&self, code: &mut Code) {
        for (end, _) in self.cwd.iter().enumerate().filter(|(i, b)| **b == b'/' && *i > 0) {
            code.directory(&self.cwd[..end], 0o755);
        }
        code.directory(&self.cwd, 0o755);
        let cwd = code.text(&self.cwd);
        code.call(call::CHDIR, &[cwd]);
        code.line("blt a0, zero, @nowhere");
        let groups: Vec<u8> = self.groups.iter().flat_map(|g| g.to_le_bytes()).collect();
        let groups = code.place(&groups);
        code.call(call::SETGROUPS, &[Arg::Value(self.groups.len() as i64), groups]);
        code.call(call::SETRESGID, &[Arg::Value(self.gid.into()); 3]);
        code.call(call::SETRESUID, &[Arg::Value(self.uid.into()); 3]);
        code.line("blt a0, zero, @nobody");
        code.load("s4", 127);
        let (args, env) = (code.list(&self.args), code.list(&self.env));
        for (n, path) in self.candidates().iter().enumerate() {
            let path = code.text(path);
            code.call(call::EXECVE, &[path, args, env]);
            // ENOENT.
            code.line("addi t0, zero, -2");
            code.line(&format!("beq a0, t0, @next{n}"));
            code.load("s4", 126);
            code.line(&format!("next{n}:"));
        }
        let name = String::from_utf8_lossy(self.args.first().map_or(&[][..], |a| a)).into_owned();
        code.load("t0", 126);
        code.line("beq s4, t0, @refused");
        code.say(&format!("trine: the image has no command '{name}'\n"));
        code.line("jal zero, @failed");
        code.line("refused:");
        code.say(&format!("trine: '{name}' cannot be executed in the machine\n"));
        code.line("jal zero, @failed");
        code.line("nowhere:");
        code.say(&format!(
            "trine: '{}' is not a directory of the image\n",
            String::from_utf8_lossy(&self.cwd)
        ));
        code.load("s4", 126);
        code.line("jal zero, @failed");
        code.line("nobody:");
        code.say("trine: the kernel refuses to set the command's user\n");
        code.load("s4", 126);
        code.line("failed:");
    }

    /// The paths at which the command is looked for.
    fn candidates(&self) -> Vec<Vec<u8>> {
        let Some(name) = self.args.first() else { return Vec::new() };
        if name.contains(&b'/') {
            return vec![name.clone()];
        }
        let path = self.env.iter().rev().find_map(|line| line.strip_prefix(b"PATH="));
        let directories = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let file = |dir: &[u8]| [if dir.is_empty() { b"." } else { dir }, b"/", name].concat();
        directories.split(|&b| b == b':').map(file).collect()
    }
}

/// Builds a program that loads modules into the kernel, in this order, and removes itself: see [`LOADER`].
///
/// # Errors
/// There are too many modules for a program.
pub fn loader(modules: &[String]) -> Result<Vec<u8>, MachineError> {
    let mut code = Code::default();
    code.load_modules(modules);
    code.remove("/.trine/load", 0);
    code.remove("/.trine", AT_REMOVEDIR);
    code.call(call::EXIT_GROUP, &[Arg::Value(0)]);
    let machine = code.assemble().map_err(|e| MachineError::Config(format!("the loader of modules: {e}")))?;
    code::executable(&machine, &code.data)
        .ok_or_else(|| MachineError::Config("there are too many modules for a machine".into()))
}

/// Makes the command's process group the terminal's foreground group, and unblocks all signals.
fn come_to_front(code: &mut Code) {
    code.call(call::SETPGID, &[Arg::Value(0), Arg::Value(0)]);
    code.call(call::GETPID, &[]);
    let group = code.place(&[0; 8]);
    if let Arg::Value(at) = group {
        code.load("t0", at);
    }
    code.line("sw a0, 0(t0)");
    // TIOCSPGRP.
    code.call(call::IOCTL, &[Arg::Value(0), Arg::Value(0x5410), group]);
    let none = code.place(&[0; 8]);
    // SIG_SETMASK.
    code.call(call::SIGPROCMASK, &[Arg::Value(2), none, Arg::Value(0), Arg::Value(8)]);
}

/// Mounts a folder of the host. Where that fails the command runs without it, and the user is told.
fn mount_share(code: &mut Code, tag: &str, place: &[u8]) {
    for (end, _) in place.iter().enumerate().filter(|(i, b)| **b == b'/' && *i > 0) {
        code.directory(&place[..end], 0o755);
    }
    code.directory(place, 0o755);
    let [from, kind, options] = [tag, "virtiofs", ""].map(|text| code.text(text));
    let to = code.text(place);
    code.call(call::MOUNT, &[from, to, kind, Arg::Value(0), options]);
    code.line(&format!("bge a0, zero, @mounted_{tag}"));
    code.say(&format!("trine: {tag} cannot be mounted on {}\n", String::from_utf8_lossy(place)));
    code.line(&format!("mounted_{tag}:"));
}

/// Brings the loopback interface up.
fn loopback(code: &mut Code) {
    let mut request = [0; 40];
    request[..2].copy_from_slice(b"lo");
    // IFF_UP, IFF_RUNNING.
    request[16] = 0x41;
    let request = code.place(&request);
    // A datagram socket of the Internet; SIOCSIFFLAGS.
    code.call(call::SOCKET, &[2, 0x8_0002, 0].map(Arg::Value));
    code.line("addi s5, a0, 0");
    code.call(call::IOCTL, &[Arg::Register("s5"), Arg::Value(0x8914), request]);
    code.call(call::CLOSE, &[Arg::Register("s5")]);
}

/// Waits for all children until process `s2` has ended; then its exit code is in `s0`, as a shell reports it.
fn wait(code: &mut Code) {
    let status = code.place(&[0; 8]);
    code.line("wait:");
    code.call(call::WAIT4, &[Arg::Value(-1), status, Arg::Value(0), Arg::Value(0)]);
    code.line("beq a0, s2, @ended");
    // ECHILD: there are no children, since `clone` failed.
    code.line("addi t0, zero, -10");
    code.line("bne a0, t0, @wait");
    code.load("s0", 126);
    code.line("jal zero, @finish");
    code.line("ended:");
    if let Arg::Value(at) = status {
        code.load("t0", at);
    }
    code.line("lw s0, 0(t0)");
    code.line("andi t1, s0, 127");
    code.line("srli s0, s0, 8");
    code.line("andi s0, s0, 255");
    code.line("beq t1, zero, @finish");
    code.line("addi s0, t1, 128");
}

/// Ends the machine with the code in `s0`, after all output has left the console.
fn finish(code: &mut Code) {
    code.line("finish:");
    // SIGKILL for all remaining processes, so that none writes to disks after `sync`.
    code.call(call::KILL, &[Arg::Value(-1), Arg::Value(9)]);
    code.call(call::SYNC, &[]);
    // O_RDWR, O_NOCTTY, O_NONBLOCK; TCSBRK with 1 waits until the output is out.
    code.open(TERMINAL, 0x902);
    code.line("addi s5, a0, 0");
    code.call(call::IOCTL, &[Arg::Register("s5"), Arg::Value(0x5409), Arg::Value(1)]);
    code.line("beq s1, zero, @plain");
    code.load("t0", 0x5555);
    code.line("beq s0, zero, @tell");
    code.load("t0", 0x3333);
    code.line("slli s0, s0, 16");
    code.line("or t0, t0, s0");
    code.line("tell:");
    code.line("sw t0, 0(s1)");
    code.line("plain:");
    // Powers off where the finisher could not be mapped: the code is lost then.
    code.call(call::REBOOT, &[0xfee1_dead, 672_274_793, 0x4321_fedc, 0].map(Arg::Value));
    code.line("jal zero, @plain");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(words: &[&str]) -> GuestCommand {
        GuestCommand {
            args: words.iter().map(|w| w.as_bytes().to_vec()).collect(),
            env: vec![b"PATH=/a:/b".to_vec(), b"X=1".to_vec()],
            cwd: b"/srv/app".to_vec(),
            groups: vec![5, 6],
            ..GuestCommand::default()
        }
    }

    #[test]
    fn it_is_an_executable_that_holds_its_command() {
        for words in [&["sh", "-c", "exit 3"][..], &["/sbin/init"]] {
            let file = process(words).executable().unwrap();
            assert!(trine_base::elf::Cpu::of(&file) == Some(trine_base::elf::Cpu::RISCV64));
            for text in [b"/srv/app\0".as_slice(), b"X=1\0", b"/dev/ttyS0\0"] {
                assert!(file.windows(text.len()).any(|w| w == text), "{}", String::from_utf8_lossy(text));
            }
        }
        assert!(process(&[]).executable().is_err());
    }

    #[test]
    fn modules_are_loaded_in_their_order() {
        let names = ["virtio_mmio", "ext4"].map(String::from);
        let file = loader(&names).unwrap();
        let place = |text: &str| file.windows(text.len()).position(|w| w == text.as_bytes());
        let places = names.each_ref().map(|name| place(&format!("/{}\0", module_place(name))));
        assert!(places[0].is_some() && places[0] < places[1]);
        let process = GuestCommand { modules: names.to_vec(), ..process(&["sh"]) }.executable().unwrap();
        assert!(process.windows(10).any(|w| w == b"/ext4.ko\0\0" || w.starts_with(b"/ext4.ko\0")));
    }

    #[test]
    fn folders_are_mounted_where_they_are_wanted() {
        let shares = vec![("share0".into(), b"/srv/a b/c".to_vec())];
        let file = GuestCommand { shares, ..process(&["sh"]) }.executable().unwrap();
        let place = |text: &[u8]| file.windows(text.len()).position(|w| w == text);
        for text in [&b"/srv\0"[..], b"/srv/a b\0", b"/srv/a b/c\0", b"share0\0", b"virtiofs\0"] {
            assert!(place(text).is_some(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn numbers_come_into_registers_as_they_are() {
        for (value, lines) in [
            (5, &["addi a0, zero, 5"][..]),
            (-100, &["addi a0, zero, -100"]),
            (0x40_0008, &["lui a0, 4194304", "addiw a0, a0, 8"]),
            (0xfee1_dead, &["lui a0, -18751488", "addiw a0, a0, -339"]),
        ] {
            let mut code = Code::default();
            code.load("a0", value);
            assert_eq!(code.lines, lines);
            let machine = code.assemble().unwrap();
            assert_eq!(machine.len(), 4 * lines.len());
        }
    }

    #[test]
    fn commands_are_looked_for_where_path_says() {
        let names = |words: &[&str]| {
            process(words).candidates().into_iter().map(|c| String::from_utf8(c).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["ls"]), ["/a/ls", "/b/ls"]);
        assert_eq!(names(&["bin/ls"]), ["bin/ls"]);
        assert!(process(&["/lib/systemd/systemd"]).is_init() && !process(&["sh", "init"]).is_init());
    }

    #[test]
    fn labels_that_are_missing_are_said() {
        let mut code = Code::default();
        code.line("jal zero, @nowhere");
        assert_eq!(code.assemble(), Err("there is no label 'nowhere'".into()));
    }
}
