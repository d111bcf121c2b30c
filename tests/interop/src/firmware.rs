//! Machines on a firmware of their own: OpenSBI, U-Boot and EDK2 from Debian's packages, and programs instead of a
//! firmware.

use crate::edk2;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use trine_test_support::Checked;
use trine_test_support::command::check;
use trine_test_support::machine::{Form, Machines, Talk};
use trine_test_support::tools;

/// Echoes the input of the serial port, up to a `q`, with which it powers off by the board's finisher.
/// One hart alone: two that poll one port take each other's bytes.
const ECHOES: &str = "csrr t0, mhartid
    bnez t0, stop
    lui s0, 0x10000
again:
    lbu t0, 5(s0)
    andi t0, t0, 1
    beqz t0, again
    lbu t1, 0(s0)
    sb t1, 0(s0)
    li t2, 'q'
    bne t1, t2, again
    lui t0, 0x100
    li t1, 0x5555
    sw t1, 0(t0)
stop:
    j stop
";

/// OpenSBI, U-Boot and EDK2.
pub fn firmware() -> Checked {
    let machines = Machines::new("firmware")?;
    let dir = tools::unpacked("firmware", "trixie", &["opensbi", "u-boot-qemu"], false)?;
    let opensbi =
        |name: &str| dir.join("usr/lib/riscv64-linux-gnu/opensbi/generic").join(name).display().to_string();
    let u_boot = |name: &str| dir.join("usr/lib/u-boot").join(name).display().to_string();
    for form in ["fw_dynamic.bin", "fw_jump.elf"] {
        let said = machines.whole(&["linux", "--firmware", &opensbi(form)], "uname -m; poweroff\n")?;
        let right = ["OpenSBI v", "riscv64", "reboot: Power down"].iter().all(|w| said.out.contains(w));
        check(right && said.code == 0, &format!("OpenSBI's {form} should start Linux"), &said)?;
    }
    let below = opensbi("fw_dynamic.elf");
    let over = u_boot("qemu-riscv64_smode/u-boot.bin");
    for words in
        [&["--firmware", &u_boot("qemu-riscv64/u-boot.bin")][..], &["--firmware", &below, "--kernel", &over]]
    {
        let mut talk = Talk::start(machines.run(words))?;
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
    boots_a_disk(&machines, &["--firmware", &below, "--kernel", &over])?;
    kinds(&machines)?;
    println!("OpenSBI and U-Boot start, reset, power off, and boot what a disk says");
    edk2::run(&machines, &opensbi("fw_dynamic.bin"))
}

/// The size of the disk, and where its partition begins, in bytes; a FAT32 file system has at least 33 MB.
const DISK: u64 = 96 << 20;
const PARTITION: u64 = 1 << 20;

/// A disk's own boot loader configuration: U-Boot finds the partition, the file `extlinux.conf`, the kernel and the initial RAM disk.
fn boots_a_disk(machines: &Machines, words: &[&str]) -> Checked {
    let disk = machines.dir.join("boots.raw");
    bootable(&disk).map_err(|e| format!("{}: {e}", disk.display()))?;
    let disk = disk.display().to_string();
    let mut talk = Talk::start(machines.run(&[words, &["--disk", &disk]].concat()))?;
    talk.hear("Found /extlinux/extlinux.conf")?;
    talk.hear(":~# ")?;
    talk.say("uname -m; poweroff\n")?;
    talk.hear("riscv64").and_then(|()| talk.hear("reboot: Power down"))?;
    match talk.end()? {
        0 => Ok(()),
        code => Err(format!("a machine that boots a disk gives {code}")),
    }
}

/// Makes the disk.
fn bootable(path: &Path) -> std::io::Result<()> {
    let guest = tools::guest().map_err(std::io::Error::other)?;
    let menu =
        "default debian\nlabel debian\n kernel /kernel\n initrd /initrd\n append console=ttyS0 quiet\n";
    let (kernel, initrd) = (std::fs::read(&guest.kernel)?, std::fs::read(&guest.initrd)?);
    disk_with(path, &[("kernel", kernel), ("initrd", initrd), ("extlinux/extlinux.conf", menu.into())])
}

/// Makes a disk with these files: a partition table of the old kind with one bootable partition.
pub fn disk_with(path: &Path, files: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(DISK)?;
    let sectors = |bytes: u64| ((bytes / 512) as u32).to_le_bytes();
    let entry =
        [&[0x80, 0, 0, 0, 0x0c, 0, 0, 0][..], &sectors(PARTITION), &sectors(DISK - PARTITION)].concat();
    file.write_all_at(&entry, 446)?;
    file.write_all_at(&[0x55, 0xaa], 510)?;
    let mut partition = fscommon::StreamSlice::new(&mut file, PARTITION, DISK)?;
    fatfs::format_volume(&mut partition, fatfs::FormatVolumeOptions::new().fat_type(fatfs::FatType::Fat32))?;
    let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new())?;
    let root = volume.root_dir();
    for (name, bytes) in files {
        for (at, _) in name.match_indices('/') {
            // It may be there already, which is no error.
            root.create_dir(&name[..at])?;
        }
        root.create_file(name)?.write_all(bytes)?;
    }
    Ok(())
}

/// Options decide what a file is; options without effect are refused.
fn kinds(machines: &Machines) -> Checked {
    let echoes = machines.program("echoes.bin", ECHOES, Form::Raw)?;
    let elf = machines.program("echoes.elf", ECHOES, Form::Elf)?;
    for (words, why) in [
        (&["--firmware", "none", &echoes, "--append", "x"][..], "--append would have no effect"),
        (&["--firmware", "none", "--initrd", "x", &echoes], "--initrd would have no effect"),
        (&["--firmware", &echoes, "--append", "x"], "--append would have no effect"),
        (&["--firmware", "none", "--strace", &echoes], "--strace is for programs"),
        (&["--firmware", &machines.dir.display().to_string()], "is not a regular file"),
        (&["--firmware", &echoes, "--kernel", &echoes, "-m", "1M"], "does not fit"),
    ] {
        let said = machines.whole(words, "")?;
        check(said.code == 2 && said.err.contains(why), &format!("{words:?} should be refused"), &said)?;
    }
    // A raw file is a firmware, an ELF file a program without one; in lock-step both machines get the typed
    // input.
    for words in
        [&["--firmware", &echoes][..], &["--lockstep", "--firmware", &echoes], &["--firmware", "none", &elf]]
    {
        let mut talk = Talk::start(machines.run(words))?;
        talk.say("hello")?;
        talk.hear("hello").map_err(|e| format!("{words:?}: {e}"))?;
        talk.say("q")?;
        let code = talk.end().map_err(|e| format!("{words:?}: {e}"))?;
        if code != 0 {
            return Err(format!("{words:?}: {code}"));
        }
    }
    let mut talk = Talk::start(machines.run(&["--lockstep", "--firmware", &echoes]))?;
    talk.say("x").and_then(|()| talk.hear("x"))?;
    talk.signal(rustix::process::Signal::INT)?;
    match talk.end()? {
        130 => Ok(()),
        code => Err(format!("SIGINT to --lockstep gives {code}")),
    }
}
