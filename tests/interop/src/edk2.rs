//! Machines that start EDK2 from flash: Debian's package `qemu-efi-riscv64`.

use crate::firmware::disk_with;
use std::path::Path;
use trine_test_support::command::check;
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text, tools};

/// What EDK2's shell shows when it waits for a command.
const PROMPT: &str = "Shell> ";
/// The namespace of a variable of the test's own.
const VARIABLE: &str = "greeting -guid 7b0e1f3c-52a4-4d0a-9a55-6f1d3c2b7a10";
/// Bytes of a bank of flash.
const BANK: usize = 32 << 20;

/// The files of the package, and those of the test.
struct Files {
    code: String,
    /// The store of variables as it comes from the package.
    empty: Vec<u8>,
    /// A copy of it.
    vars: std::path::PathBuf,
}

impl Files {
    fn new(machines: &Machines) -> Result<Files, String> {
        let dir = tools::unpacked("edk2", "trixie", &["qemu-efi-riscv64"], false)?;
        let dir = dir.join("usr/share/qemu-efi-riscv64");
        let vars = machines.dir.join("vars.fd");
        let empty = std::fs::read(dir.join("RISCV_VIRT_VARS.fd")).map_err(text)?;
        std::fs::write(&vars, &empty).map_err(text)?;
        Ok(Files { code: dir.join("RISCV_VIRT_CODE.fd").display().to_string(), empty, vars })
    }

    fn variables(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.vars).map_err(text)
    }

    /// The second bank's value of `--flash`.
    fn second(&self, option: &str) -> String {
        format!("{}{option}", self.vars.display())
    }
}

/// EDK2 on Trine's firmware and on OpenSBI.
pub fn run(machines: &Machines, opensbi: &str) -> Checked {
    let files = Files::new(machines)?;
    variables(machines, &files)?;
    snapshots(machines, &files)?;
    boots_a_disk(machines, &files, opensbi)?;
    refusals(machines, &files)?;
    println!("EDK2 starts from flash, keeps its variables there and in snapshots, and boots a disk");
    Ok(())
}

/// Starts EDK2 to its shell.
fn shell(machines: &Machines, words: &[&str]) -> Result<Talk, String> {
    let mut talk = Talk::start(machines.run(words))?;
    to_the_prompt(&mut talk)?;
    Ok(talk)
}

fn to_the_prompt(talk: &mut Talk) -> Checked {
    // A key in place of five more seconds; ESC is the beginning of other keys, too, for which EDK2 waits.
    talk.hear("UEFI Interactive Shell").and_then(|()| talk.hear("to skip"))?;
    talk.say("\r")?;
    talk.hear(PROMPT)
}

/// Types a command, and waits for the next prompt; returns what comes in between.
fn command(talk: &mut Talk, line: &str) -> Result<String, String> {
    talk.say(&format!("{line}\r"))?;
    talk.hear_before(PROMPT, std::time::Duration::from_secs(30))
}

fn power_off(talk: &mut Talk) -> Checked {
    talk.say("reset -s\r")?;
    match talk.end()? {
        0 => Ok(()),
        code => Err(format!("EDK2's power-off gives {code}")),
    }
}

/// Whether the variable has this text, which the shell shows as hexadecimal bytes.
fn has(talk: &mut Talk, value: &str) -> Checked {
    let said = command(talk, &format!("setvar {VARIABLE}"))?;
    let bytes: Vec<String> = value.bytes().map(|byte| format!("{byte:02X}")).collect();
    match said.contains(&bytes.join(" ")) {
        true => Ok(()),
        false => Err(format!("the variable should have '{value}': {said}")),
    }
}

/// Variables stay through a reset; they are in the file only if the user said so.
fn variables(machines: &Machines, files: &Files) -> Checked {
    let words = |second: &str| ["--flash", &files.code, "--flash", second].map(String::from);
    let start = |option: &str| {
        let words = words(&files.second(option));
        shell(machines, &words.each_ref().map(String::as_str))
    };
    let mut talk = start("")?;
    command(&mut talk, &format!("setvar {VARIABLE} -bs -nv =S\"once\""))?;
    talk.say("reset\r")?;
    to_the_prompt(&mut talk)?;
    has(&mut talk, "once")?;
    power_off(&mut talk)?;
    if files.variables()? != files.empty {
        return Err("a file of flash was changed without `,rw`".into());
    }
    let mut talk = start(",rw")?;
    // While it is written, nobody else uses it.
    let said = machines.whole(&["--flash", &files.code, "--flash", &files.second("")], "")?;
    check(
        said.code == 2 && said.err.contains("in use by another machine"),
        "the file should be locked",
        &said,
    )?;
    command(&mut talk, &format!("setvar {VARIABLE} -bs -nv =S\"kept\""))?;
    power_off(&mut talk)?;
    let kept = files.variables()?;
    if kept == files.empty || kept.len() != BANK {
        return Err("a file of flash was not changed with `,rw`".into());
    }
    let mut talk = start(",ro")?;
    has(&mut talk, "kept")?;
    power_off(&mut talk)?;
    match files.variables()? == kept {
        true => Ok(()),
        false => Err("a file of flash was changed with `,ro`".into()),
    }
}

/// A saved machine has what was in its flash, though the guest's changes are in no file.
fn snapshots(machines: &Machines, files: &Files) -> Checked {
    let second = files.second("");
    let words = ["run", "--name", "efi", "--rm", "--flash", &files.code, "--flash", &second];
    let mut first = Talk::start(machines.verb(&words))?;
    to_the_prompt(&mut first)?;
    command(&mut first, &format!("setvar {VARIABLE} -bs -nv =S\"saved\""))?;
    let file = machines.dir.join("efi.snap").display().to_string();
    let said = machines.said(&["snapshot", "efi", &file])?;
    check(said.code == 0, "a snapshot of a machine with flash", &said)?;
    power_off(&mut first)?;
    let mut copy = Talk::start(machines.verb(&["run", "--restore", &file]))?;
    has(&mut copy, "saved")?;
    power_off(&mut copy)
}

/// EDK2 on OpenSBI starts a disk's boot loader (systemd-boot), which starts Linux.
fn boots_a_disk(machines: &Machines, files: &Files, opensbi: &str) -> Checked {
    let root = tools::debian_root("riscv64", &["systemd-boot-efi"])?;
    let loader =
        std::fs::read(root.join("usr/lib/systemd/boot/efi/systemd-bootriscv64.efi")).map_err(text)?;
    let guest = tools::guest()?;
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let entry = "title Debian\nlinux /linux.efi\ninitrd /initrd\noptions console=ttyS0 quiet\n";
    let disk = machines.dir.join("efi.raw");
    let contents = [
        ("EFI/BOOT/BOOTRISCV64.EFI", loader),
        ("loader/entries/debian.conf", entry.into()),
        ("linux.efi", read(&guest.kernel)?),
        ("initrd", read(&guest.initrd)?),
    ];
    disk_with(&disk, &contents).map_err(|e| format!("{}: {e}", disk.display()))?;
    let disk = disk.display().to_string();
    let mut talk =
        Talk::start(machines.run(&["--firmware", opensbi, "--flash", &files.code, "--disk", &disk]))?;
    for words in ["OpenSBI v", "EDK2 firmware", ":~# "] {
        talk.hear(words)?;
    }
    // The kernel has found the flash, too, and was started by EFI.
    talk.say("ls -d /sys/firmware/efi; cat /proc/device-tree/flash*/compatible; poweroff\n")?;
    for words in ["/sys/firmware/efi", "cfi-flash", "reboot: Power down"] {
        talk.hear(words)?;
    }
    match talk.end()? {
        0 => Ok(()),
        code => Err(format!("a machine that boots a disk by EDK2 gives {code}")),
    }
}

/// Files that are no contents of flash, and options that contradict it.
fn refusals(machines: &Machines, files: &Files) -> Checked {
    let file = |name: &str, bytes: u64| {
        let path = machines.dir.join(name);
        std::fs::File::create(&path).and_then(|f| f.set_len(bytes)).map_err(text)?;
        Ok::<String, String>(path.display().to_string())
    };
    let (large, small, empty) = (file("large", BANK as u64 + 1)?, file("small", 5)?, file("empty", 0)?);
    let (code, written) = (files.code.as_str(), format!("{small},rw"));
    for (words, why) in [
        (&["--flash", &large][..], "has 33554433 bytes, but this bank of flash has 33554432 (32 MiB)"),
        (&["--flash", code, "--flash", &written], "must have 33554432 to be written to"),
        (&["--flash", &empty], "the file is empty"),
        (&["--flash", "/nowhere/code.fd"], "No such file"),
        (&["--flash", "/nowhere/code.fd,snapshot"], "'snapshot' is not an option of flash"),
        (&["--flash", &machines.dir.display().to_string()], "must be in a regular file"),
        (&["--flash", code, "--flash", code, "--flash", code], "--flash can be given 2 times"),
        (&["--flash", code, "linux"], "--flash starts what the flash has: leave out linux"),
        (&["--flash", code, "--append", "x"], "--append would have no effect"),
        (
            &["--lockstep", "--flash", &files.second(",rw")],
            "--lockstep runs two machines with the same flash",
        ),
    ] {
        let said = machines.whole(words, "")?;
        check(said.code == 2 && said.err.contains(why), &format!("{words:?} should be refused"), &said)?;
    }
    Ok(())
}
