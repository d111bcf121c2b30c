//! What THING is, tested with command lines as users write them.

use super::*;
use crate::args::Run;

/// A static executable for riscv64 with one segment, without any sign of Linux.
fn file(name: &str, address: u64) -> PathBuf {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    [address + 120, 64, 0].iter().for_each(|n| file.extend(n.to_le_bytes()));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
    [0, address, address, 0x1004, 0x1004, 4096].iter().for_each(|n: &u64| file.extend(n.to_le_bytes()));
    file.resize(0x1004, 0x13);
    let path = std::env::temp_dir().join(format!("trine-target-{}-{name}", std::process::id()));
    std::fs::write(&path, file).unwrap();
    path
}

/// Files that look like a machine's and a program's, and a bundle; removed when this is dropped.
pub struct Files {
    /// Bare-metal code.
    pub machine: PathBuf,
    /// A program.
    pub program: PathBuf,
    /// A directory with a `config.json`.
    pub bundle: PathBuf,
}

impl Files {
    /// Makes them.
    pub fn new(name: &str) -> Files {
        let bundle = std::env::temp_dir().join(format!("trine-target-{}-{name}-bundle", std::process::id()));
        std::fs::create_dir_all(&bundle).unwrap();
        std::fs::write(bundle.join("config.json"), "{}").unwrap();
        // The page before the memory, for the file's header; and where programs are.
        let (machine, program) = (format!("{name}-high"), format!("{name}-low"));
        Files { machine: file(&machine, 0x7fff_f000), program: file(&program, 0x1_0000), bundle }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        [&self.machine, &self.program].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        std::fs::remove_dir_all(&self.bundle).unwrap();
    }
}

/// Resolves the words that follow `trine run`.
fn resolve(words: &[&str]) -> Result<Target, String> {
    let line = ["trine", "run"].iter().chain(words).map(OsString::from).collect();
    let line = crate::line::read(line).words;
    let args = Run::parse_words(&line[2..]).map_err(|e| e.to_string())?;
    Target::resolve(&args).map_err(|refusal| refusal.message)
}

#[test]
fn what_is_said_decides_before_what_a_file_looks_like() {
    let files = Files::new("said");
    let (machine, program) = (files.machine.to_str().unwrap(), files.program.to_str().unwrap());
    for words in [
        &[machine][..],
        &[machine, "--firmware", "none"],
        &["--firmware", "none", machine],
        &["--disk", "d.img", machine],
        &["--as", "machine", machine],
        &["--firmware", "none", program],
        &[program, "--firmware", "none"],
        &[program, "--firmware=fw.bin"],
        &["--firmware", "sbi", program],
    ] {
        let file = if words.contains(&machine) { &files.machine } else { &files.program };
        assert_eq!(resolve(words), Ok(Target::File(file.clone())), "{words:?}");
    }
    for words in
        [&[program][..], &[program, "--disk", "x"], &["--strace", program], &["--", program, "--firmware"]]
    {
        let path = files.program.clone();
        assert_eq!(resolve(words), Ok(Target::Program { path, root: None }), "{words:?}");
    }
    let bundle = files.bundle.to_str().unwrap();
    let debian = || Target::Debian(Debian { suite: "trixie".into() });
    for (words, target) in [
        (&["linux"][..], Target::Linux),
        (&["--as", "machine", "linux"], Target::Linux),
        (&["--kernel", "k"], Target::File("k".into())),
        (&["--firmware", "f"], Target::Firmware),
        (&["no/such:image", "--disk"], Target::Image("no/such:image".into())),
        (&["--as", "machine", "img", "sh"], Target::ImageMachine("img".into())),
        (&["debian"], debian()),
        (&["-it", "--rm", "debian", "-m", "2G"], debian()),
        (&["--as", "machine", "debian:trixie/riscv64"], debian()),
        (&["debian", "bash"], Target::Image("debian".into())),
        (&["debian:trixie"], Target::Image("debian:trixie".into())),
        (&["--pull", "never", "debian"], Target::Image("debian".into())),
        (&["--as", "machine", "debian"], Target::ImageMachine("debian".into())),
        (&[bundle], Target::Bundle(files.bundle.clone())),
    ] {
        assert_eq!(resolve(words), Ok(target), "{words:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let files = Files::new("refused");
    let (machine, program) = (files.machine.to_str().unwrap(), files.program.to_str().unwrap());
    let bundle = files.bundle.to_str().unwrap();
    for (words, why) in [
        (&["--disk", "x", program][..], "--disk is for machines; '"),
        (&["-m", "1G", program], "is a program: limit a program with --limit memory=SIZE"),
        (&["--health-interval", "3s", program], "without --health-cmd"),
        (&["--no-healthcheck", program], "--no-healthcheck is for containers"),
        (&["--health-retries", "3", bundle], "without --health-cmd"),
        (
            &["--health-cmd", "x", "linux"],
            "--health-cmd is for programs and containers; 'linux' is a machine",
        ),
        (&["--sysroot", "/", "/no/such/file"], "the sysroot has no /no/such/file"),
        (&["--sysroot", "/", "no-such-command"], "the sysroot has no command 'no-such-command'"),
        (&["--sysroot", "/", "/bin/sh"], "is for"),
        (&["--sysroot", "/", "-v", "a:/b", "/bin/sh"], "--volume is for containers; '/bin/sh' is a program"),
        (&["--append", "x", program], "--append is for machines"),
        (&["--lockstep", program], "--lockstep is for machines"),
        (&["--firmware", "none", "--strace", program], "--strace is for programs; with --firmware, '"),
        (&["--strace", machine], "it is not a riscv64 Linux program"),
        (&["--flash", "f", "--strace"], "--strace is for programs; what starts from flash is a machine"),
        (
            &["--disk", "x", "--env", "A=1", "linux"],
            "--env is for images as machines, programs and containers",
        ),
        (&["--firmware", "none", program, "x"], "takes no arguments"),
        (&["./no-such-file"], "neither a file nor the name of a guest"),
        (&["--as", "machine", program], "is not the name of an image"),
        (&["--disk", "d", "img"], "--disk is for machines; 'img' is a container: --as machine makes"),
        (&["--firmware", "f", "--as", "machine", "img"], "--firmware is for machines without an image"),
        (&["--limit", "pids=3", "--as", "machine", "img"], "'img' is a machine: use --memory for a machine"),
        (&["--user", "x", bundle], "is a bundle: its config.json sets that"),
        (&["--user", "x", bundle], "--user is for machines and containers of images"),
        (&[bundle, "sh"], "is a bundle, which takes no arguments"),
    ] {
        let error = resolve(words).unwrap_err();
        assert!(error.contains(why), "{words:?}: {error}");
    }
}
