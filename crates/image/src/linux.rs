//! The files that `trine run linux` boots: Debian's kernel and an initramfs with BusyBox, which is made from
//! that of Debian's installer.

use crate::archive::{self, Entry};
use crate::debian::{Apt, Lock, Package, Pin, apt::Progress, deb};
use crate::{ImageError, cache_directory, modules};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Suite and package of the riscv64 guest.
pub const SUITE: &str = "trixie";
/// The package with kernel and installer. It is for all architectures, so any host can verify it.
pub const PACKAGE: &str = "debian-installer-13-netboot-riscv64";
/// Must be increased when the contents of the initramfs change.
const EDITION: u32 = 11;

/// The files to boot.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
    /// The drivers of the network device and of the memory balloon, in the order in which they are loaded.
    pub drivers: Vec<PathBuf>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

/// The first process: mounts what a userland needs, and runs what the command line names, or a shell.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /run
mount -t devpts devpts /dev/pts 2>/dev/null
[ -x /.trine/load ] && /.trine/load
hostname trine
for word in $(cat /proc/cmdline); do
    case "$word" in
    trine.exec=*)
        "${word#trine.exec=}"
        poweroff -f
        ;;
    trine.once)
        cp /etc/inittab.once /etc/inittab
        ;;
    trine.root=*)
        root="${word#trine.root=}"
        ;;
    trine.configure)
        configure=yes
        ;;
    trine.net)
        net=yes
        ;;
    trine.terminal)
        terminal=yes
        ;;
    trine.share=*)
        shares="$shares ${word#trine.share=}"
        ;;
    esac
done
# Mounts the folders of the host below a directory. In their places, %040 is the byte of that octal number.
mount_shares() {
    for share in $shares; do
        place="$1$(printf '%b' "$(echo "${share#*:}" | sed 's/%/\\0/g')")"
        mkdir -p "$place"
        mount -t virtiofs "${share%%:*}" "$place" || echo "trine: ${share%%:*} cannot be mounted on $place"
    done
}
if [ -n "$root" ]; then
    mkdir -p /mnt
    if ! mount -t ext4 "$root" /mnt; then
        echo "trine: there is no root file system on $root"
    elif [ -n "$configure" ]; then
        mount -t proc proc /mnt/proc
        mount -t sysfs sysfs /mnt/sys
        mount -t devtmpfs devtmpfs /mnt/dev
        mkdir -p /mnt/dev/pts /mnt/dev/shm
        mount -t devpts devpts /mnt/dev/pts
        mount -t tmpfs tmpfs /mnt/run
        # The disk cannot be unmounted while a shell reads a script from it that is removed meanwhile.
        cp /mnt/var/lib/trine/second-stage /mnt/run/
        chroot /mnt /bin/sh /run/second-stage
        for place in run dev/pts dev sys proc .; do umount /mnt/$place; done
        poweroff -f
    else
        mount_shares /mnt
        # SSH's server reads the key there, and the disk keeps nothing of it. The rest is as systemd would mount it.
        if [ -e /.trine/authorized_keys ]; then
            mount -t tmpfs -o mode=755,nosuid,nodev,size=20% tmpfs /mnt/run
            mkdir -p /mnt/run/trine
            cp /.trine/authorized_keys /mnt/run/trine/
        fi
        for place in proc sys dev; do mount --move /$place /mnt/$place; done
        exec switch_root /mnt /sbin/init
    fi
fi
mount_shares ""
if [ -n "$net" ]; then
    ip link set lo up
    udhcpc -b -i eth0 -s /etc/udhcpc.script >/dev/null 2>&1 &
fi
if [ -n "$terminal" ]; then
    /etc/terminal-size </dev/null >/dev/null 2>&1 &
fi
exec /bin/busybox init
"#;

/// Gives the console the size of the user's terminal, which a port of the console device tells. The port's name is known
/// a little later than the port.
const TERMINAL_SIZE: &str = r#"#!/bin/sh
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name")" = trine.terminal-size ] || continue
        while read -r rows columns; do
            stty -F /dev/ttyS0 rows "$rows" cols "$columns"
        done <"/dev/${port##*/}"
        exit
    done
    sleep 1
done
"#;

/// Gives the interface what the network offers.
const UDHCPC: &str = r#"#!/bin/sh
case "$1" in
deconfig)
    ip link set "$interface" up
    ip addr flush dev "$interface"
    ;;
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    for gateway in $router; do ip route add default via "$gateway" dev "$interface"; done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
"#;
/// The drivers of the network device and of the memory balloon, which the installer has, each behind what it depends on.
const DRIVERS: [&str; 4] = ["failover", "net_failover", "virtio_net", BALLOON];
/// The driver of the memory balloon.
pub const BALLOON: &str = "virtio_balloon";

const INITTAB: &str =
    "::sysinit:/etc/welcome\n::respawn:-/bin/sh\n::ctrlaltdel:/bin/busybox reboot\n::shutdown:/bin/sync\n";

/// The same if the machine ends with the shell, because its input is not a terminal. (BusyBox's init handles
/// no signal, such as that of `poweroff`, while it runs an entry marked `wait`.)
const INITTAB_ONCE: &str =
    "::sysinit:/etc/welcome\n::respawn:-/etc/once\n::ctrlaltdel:/bin/busybox reboot\n::shutdown:/bin/sync\n";
/// It leads the console's session. If it ended at the shutdown's SIGTERM, the kernel would hang the console up and drop what that has
/// not sent yet: the last output of commands, on a busy host. A trap, unlike ignoring, is nothing that commands inherit.
const ONE_SHELL: &str = "#!/bin/sh\ntrap : TERM\n/bin/sh -l\n/bin/busybox poweroff\nsleep 60\n";

/// The command line word, followed by a device, that tells the first process to go on with the file system there.
pub const ROOT: &str = "trine.root=";

/// The command line word that has it run a disk's second stage instead, and power off.
pub const CONFIGURE: &str = "trine.configure";

/// The file of the initramfs, if there is one, with the public keys that SSH's server accepts; a constant of the first process
/// and of Debian's disks, too.
pub const AUTHORIZED_KEYS: &str = ".trine/authorized_keys";

/// The command line word that has it bring up the network.
pub const NET: &str = "trine.net";

/// The command line word that has it follow the size of the user's terminal.
pub const TERMINAL: &str = "trine.terminal";

/// The command line word, followed by the tag of a folder of the host, `:` and the path where it is mounted, in which the bytes that
/// [`is_plain`] does not allow are `%` and three octal digits.
pub const SHARE: &str = "trine.share=";

/// Whether a byte of a path stands for itself in the word for a folder.
pub fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte)
}

/// The command line word that tells the first process that the machine ends with the shell.
pub const ONCE: &str = "trine.once";

const WELCOME: &str = r#"#!/bin/sh
echo
echo "This is $(uname -sr) on $(uname -m). 'poweroff' ends it; Ctrl-A x at any time, too."
"#;

const PROFILE: &str = "export PS1='\\u@\\h:\\w\\$ ' HOME=/root TERM=${TERM:-vt100}\ncd\n";

/// Files of the installer that the userland needs besides BusyBox and its links.
const LIBRARIES: [&str; 5] = [
    "usr/lib/ld-linux-riscv64-lp64d.so.1",
    "usr/lib/riscv64-linux-gnu/ld-linux-riscv64-lp64d.so.1",
    "usr/lib/riscv64-linux-gnu/libc.so.6",
    "usr/lib/riscv64-linux-gnu/libm.so.6",
    "usr/lib/riscv64-linux-gnu/libresolv.so.2",
];

/// Makes the initramfs from the installer's.
fn initramfs(installer: &[Entry], path: &Path) -> Result<Vec<u8>, ImageError> {
    let wanted = |e: &&Entry| {
        LIBRARIES.contains(&e.name.as_str())
            || e.name == "usr/bin/busybox"
            || e.target().is_some_and(|t| t.ends_with("busybox"))
    };
    let files: Vec<Entry> = installer.iter().filter(wanted).cloned().collect();
    if !files.iter().any(|e| e.name == "usr/bin/busybox") {
        return Err(ImageError::damaged(path, "the installer inside has no BusyBox: its layout has changed"));
    }
    let mut entries = Vec::new();
    let mut made = BTreeSet::new();
    let roots = ["dev", "proc", "sys", "etc", "root", "tmp", "run"].map(String::from);
    for file in roots.iter().map(|r| format!("{r}/")).chain(files.iter().map(|f| f.name.clone())) {
        for (at, _) in file.match_indices('/') {
            if made.insert(file[..at].to_string()) {
                entries.push(Entry::directory(&file[..at]));
            }
        }
    }
    for (name, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
        entries.push(Entry::symlink(name, target));
    }
    entries.extend(files);
    entries.push(Entry::character("dev/console", 5, 1));
    entries.push(Entry::character("dev/null", 1, 3));
    entries.push(Entry::file("init", 0o755, INIT.as_bytes()));
    entries.push(Entry::file("etc/inittab", 0o644, INITTAB.as_bytes()));
    entries.push(Entry::file("etc/inittab.once", 0o644, INITTAB_ONCE.as_bytes()));
    entries.push(Entry::file("etc/once", 0o755, ONE_SHELL.as_bytes()));
    entries.push(Entry::file("etc/udhcpc.script", 0o755, UDHCPC.as_bytes()));
    entries.push(Entry::file("etc/terminal-size", 0o755, TERMINAL_SIZE.as_bytes()));
    entries.push(Entry::file("etc/welcome", 0o755, WELCOME.as_bytes()));
    entries.push(Entry::file("etc/profile", 0o644, PROFILE.as_bytes()));
    entries.push(Entry::file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n"));
    archive::write(&entries)
}

/// Chooses the package: the pinned one if the cache or the mirror has it, otherwise the mirror's.
fn choose(
    apt: &Apt,
    pin: Option<&Pin>,
    progress: Progress,
    notes: &mut Vec<String>,
) -> Result<(Package, PathBuf), ImageError> {
    if let Some(pin) = pin
        && let Some(path) = apt.cached(&pin.package)?
    {
        return Ok((pin.package.clone(), path));
    }
    apt.update(progress)?;
    let current = apt.candidate(PACKAGE)?;
    if let Some(pin) = pin.filter(|p| p.package.sha256 != current.sha256) {
        notes.push(format!(
            "the pinned {} {} is gone from the mirror: this run uses {}, which the mirror's signature verifies \
             (`trine update` pins it)",
            PACKAGE, pin.package.version, current.version
        ));
    }
    let path = apt.download(&current, progress)?;
    Ok((current, path))
}

/// Makes sure that kernel and initramfs are in the cache. `lock` is the parsed lock file.
pub fn prepare(cache: &Path, lock: &Lock, progress: Progress) -> Result<Guest, ImageError> {
    let pin = lock.find(PACKAGE, "all");
    let mut notes = Vec::new();
    if let Some(guest) = pin.and_then(|p| ready(cache, &p.package)) {
        return Ok(guest);
    }
    let apt = Apt::new(cache, SUITE, "Debian's riscv64 kernel")?;
    let (package, deb) = choose(&apt, pin, progress, &mut notes)?;
    if ready(cache, &package).is_none() {
        unpack(cache, &package, &deb, progress)?;
    }
    let guest =
        ready(cache, &package).ok_or_else(|| ImageError::damaged(&deb, "unpacking left no kernel"))?;
    Ok(Guest { notes, ..guest })
}

fn place(cache: &Path, package: &Package) -> PathBuf {
    let id = package.sha256.get(..16).unwrap_or(&package.sha256);
    cache.join("linux").join(format!("riscv64-{id}-{EDITION}"))
}

fn ready(cache: &Path, package: &Package) -> Option<Guest> {
    let dir = place(cache, package);
    let (kernel, initrd) = (dir.join("Image"), dir.join("initramfs.cpio"));
    let drivers: Vec<PathBuf> = DRIVERS.iter().map(|name| dir.join(format!("{name}.ko"))).collect();
    let complete = [&kernel, &initrd].into_iter().chain(&drivers).all(|file| file.is_file());
    complete.then(|| Guest { kernel, initrd, drivers, notes: Vec::new() })
}

fn unpack(cache: &Path, package: &Package, deb_path: &Path, progress: Progress) -> Result<(), ImageError> {
    progress("unpacking kernel and userland", 0, 0);
    let files = deb::extract(deb_path, |name| {
        let name = name.rsplit_once("/riscv64/").map(|(_, n)| n)?;
        matches!(name, "linux" | "initrd.gz").then(|| name.to_string())
    })?;
    let find = |name: &str| {
        let found = files.iter().find(|(n, _)| n == name).map(|(_, data)| data);
        found.ok_or_else(|| {
            ImageError::damaged(deb_path, format!("there is no '{name}' inside: its layout has changed"))
        })
    };
    let installer = archive::read(find("initrd.gz")?, deb_path)?;
    let initramfs = initramfs(&installer, deb_path)?;
    let drivers = drivers(&installer, deb_path)?;
    let mut files = vec![("Image", &find("linux")?[..]), ("initramfs.cpio", &initramfs[..])];
    files.extend(drivers.iter().map(|(name, data)| (&name[..], &data[..])));
    cache_directory::make(&place(cache, package), files, false)
}

/// The drivers in the installer, with the names of their files.
fn drivers(installer: &[Entry], path: &Path) -> Result<Vec<(String, Vec<u8>)>, ImageError> {
    let unpacked = |driver: &&str| {
        let wanted = |e: &&Entry| modules::name(&e.name).as_deref() == Some(driver);
        let missing = || ImageError::damaged(path, format!("the installer inside has no module {driver}"));
        let packed = installer.iter().find(wanted).ok_or_else(missing)?;
        let module = modules::unpacked(&packed.data)
            .map_err(|e| ImageError::damaged(path, format!("the module {driver} inside is damaged: {e}")))?;
        Ok((format!("{driver}.ko"), module))
    };
    DRIVERS.iter().map(unpacked).collect()
}

/// Renews the pin to the version that the mirror has now.
pub fn update(cache: &Path, lock: &mut Lock, progress: Progress) -> Result<Package, ImageError> {
    let apt = Apt::new(cache, SUITE, "Debian's riscv64 kernel")?;
    apt.update(progress)?;
    let package = apt.candidate(PACKAGE)?;
    lock.set(Pin { suite: SUITE.into(), package: package.clone() });
    Ok(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn folders_are_mounted_at_their_places_whatever_is_in_them() {
        let (_, rest) = INIT.split_once("mount_shares() {").unwrap();
        let (function, _) = rest.split_once("\n}\n").unwrap();
        let script = format!(
            "mkdir() {{ echo \"[$2]\"; }}; mount() {{ echo \"$2 $3 [$4]\"; }}; shares=\"$1\"\nmount_shares() {{{function}\n}}\nmount_shares /root"
        );
        let words = " share0:/mnt/a share1:/srv/%303%244%040%044%050x%051%073%047%052%045";
        let out = Command::new("sh").args(["-c", &script, "sh", words]).output().unwrap();
        let odd = "/root/srv/ä $(x);'*%";
        let wanted =
            format!("[/root/mnt/a]\nvirtiofs share0 [/root/mnt/a]\n[{odd}]\nvirtiofs share1 [{odd}]\n");
        assert_eq!(String::from_utf8_lossy(&out.stdout), wanted);
        assert!(b"aZ0/._-+@".iter().all(|b| is_plain(*b)) && !b" %$'\"\\:*?[\n".iter().any(|b| is_plain(*b)));
    }
}
