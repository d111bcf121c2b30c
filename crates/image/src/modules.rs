//! Drivers that are modules in Debian's riscv64 kernel: they are extracted from the kernel's package and
//! sorted by their dependencies.

use crate::debian::{Apt, Package, apt::Progress, deb};
use crate::linux::{BALLOON, Guest, SUITE};
use crate::{ImageError, cache_directory};
use lzma_rust2::XzReader;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The modules for a machine with disks and a network: the transport (that over PCI is in the kernel), the disk, checksums (which ext4 and jbd2 request
/// from the kernel's crypto layer, so that they are not listed as dependencies), file systems, the network device, the socket device, and the memory balloon.
const WANTED: [&str; 11] = [
    "virtio_mmio",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    BALLOON,
];
/// The directories of these modules and their dependencies in the package, below `kernel/`.
const PLACES: [&str; 13] = [
    "drivers/virtio/",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "net/core/",
    "net/vmw_vsock/",
    "drivers/block/virtio_blk",
    "crypto/",
    "lib/",
    "fs/ext4/",
    "fs/jbd2/",
    "fs/mbcache",
    "fs/fat/",
    "fs/nls/",
];
/// A package that depends on the newest kernel of the suite.
const NEWEST: &str = "linux-image-riscv64";
/// The prefix of the kernel packages' names, which is followed by the version.
const PACKAGE: &str = "linux-image-";
/// Must be increased when the extracted files change.
const EDITION: u32 = 6;
/// The largest module in bytes.
const MOST: u64 = 64 << 20;
/// The most memory that the decoder may use, in KiB.
const DECODER: u32 = 64 << 10;

/// The guest's kernel and its modules.
#[derive(Clone, Debug)]
pub struct WithModules {
    /// The kernel: the guest's, or the newest one if the mirror has no modules for the former any more.
    pub kernel: PathBuf,
    /// The modules, each after its dependencies.
    pub modules: Vec<PathBuf>,
    /// A remark for the user.
    pub note: Option<String>,
}

/// The version of a kernel, as contained in its image, which its modules must have.
fn version(kernel: &[u8]) -> Option<String> {
    const SAYS: &[u8] = b"Linux version ";
    // The same words also occur as a format string with `%s`.
    let starts =
        kernel.windows(SAYS.len()).enumerate().filter(|(_, w)| *w == SAYS).map(|(at, _)| at + SAYS.len());
    let word = |at: usize| {
        let text = kernel.get(at..)?.iter().take(100).take_while(|&&b| b > b' ' && b < 127);
        String::from_utf8(text.copied().collect()).ok()
    };
    let is_version = |v: &String| v.starts_with(|c: char| c.is_ascii_digit()) && is_plain(v);
    starts.filter_map(word).find(is_version)
}

/// Whether a version can be part of a package name and of a file name.
fn is_plain(version: &str) -> bool {
    version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-~_".contains(&b))
}

/// The value of a key in a module's section `.modinfo` (`NAME=VALUE` strings).
fn said(module: &[u8], key: &str) -> Option<String> {
    let number = |at: usize, size: usize| {
        let bytes = module.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b)))
    };
    let (table, size, count) = (number(40, 8)?, number(58, 2)?, number(60, 2)?);
    // Offset and size of a section.
    let section = |i: usize| {
        let at = table.checked_add(size.checked_mul(i)?)?;
        Some((number(at, 4)?, number(at + 24, 8)?, number(at + 32, 8)?))
    };
    let (_, names, _) = section(number(62, 2)?)?;
    let is_it = |name: usize| {
        let wanted = b".modinfo\0";
        let at = names.checked_add(name)?;
        Some(module.get(at..at.checked_add(wanted.len())?)? == wanted)
    };
    let found = (0..count).filter_map(section).find(|(name, ..)| is_it(*name) == Some(true));
    let (_, at, len) = found?;
    let text = module.get(at..at.checked_add(len)?)?;
    let line =
        |line: &[u8]| Some(std::str::from_utf8(line).ok()?.strip_prefix(key)?.strip_prefix('=')?.to_string());
    text.split(|&b| b == 0).find_map(line)
}

/// A module's name, as dependencies give it: file names may have `-` for `_`.
pub(crate) fn name(file: &str) -> Option<String> {
    let file = file.rsplit('/').next()?.strip_suffix(".ko.xz")?;
    Some(file.replace('-', "_"))
}

/// These modules and their dependencies, each after what it depends on.
fn in_order(wanted: &[&str], all: &BTreeMap<String, Vec<u8>>) -> Result<Vec<String>, String> {
    fn visit(
        name: &str,
        all: &BTreeMap<String, Vec<u8>>,
        found: &mut Vec<String>,
        path: &mut Vec<String>,
    ) -> Result<(), String> {
        if found.iter().any(|f| f == name) {
            return Ok(());
        }
        if path.iter().any(|p| p == name) {
            return Err(format!("the modules {} depend on each other", path.join(", ")));
        }
        let module = all.get(name).ok_or_else(|| match path.last() {
            Some(by) => format!("there is no module {name} in the package, which {by} needs"),
            None => format!("there is no module {name} in the package"),
        })?;
        path.push(name.into());
        let needs = said(module, "depends").unwrap_or_default();
        needs
            .split(',')
            .filter(|n| !n.is_empty())
            .try_for_each(|n| visit(&n.replace('-', "_"), all, found, path))?;
        path.pop();
        found.push(name.into());
        Ok(())
    }
    let mut found = Vec::new();
    wanted.iter().try_for_each(|name| visit(name, all, &mut found, &mut Vec::new()))?;
    Ok(found)
}

pub(crate) fn unpacked(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    XzReader::new_mem_limit(data, false, DECODER).take(MOST).read_to_end(&mut plain)?;
    Ok(plain)
}

/// The directory of a kernel's modules.
fn place(cache: &Path, version: &str) -> PathBuf {
    cache.join("linux").join(format!("modules-{version}-{EDITION}"))
}

/// The modules in a directory, in their order; `None` if it is not complete.
fn ready(dir: &Path) -> Option<Vec<PathBuf>> {
    let order = fs::read_to_string(dir.join("order")).ok()?;
    let files: Vec<PathBuf> = order.lines().map(|name| dir.join(format!("{name}.ko"))).collect();
    (!files.is_empty() && files.iter().all(|f| f.is_file())).then_some(files)
}

/// The name of the kernel in a directory of modules, if it is not the guest's.
const KERNEL: &str = "Image";
/// The file that names the directory of modules that replaces the missing one of this kernel.
fn other(cache: &Path, version: &str) -> PathBuf {
    place(cache, version).with_extension("other")
}

/// The version of the kernel in a file.
fn version_of(kernel: &Path) -> Result<String, ImageError> {
    let image = fs::read(kernel).map_err(ImageError::file("cannot read", kernel))?;
    version(&image).ok_or_else(|| ImageError::damaged(kernel, "the kernel does not say which version it is"))
}

/// Makes sure that the modules for disks are in the cache.
///
/// # Errors
/// The kernel's version is not found, the mirror has no such package, or a module in it is missing or
/// damaged.
pub fn for_disks(cache: &Path, guest: &Guest, progress: Progress) -> Result<WithModules, ImageError> {
    let version = version_of(&guest.kernel)?;
    if let Some(modules) = ready(&place(cache, &version)) {
        return Ok(WithModules { kernel: guest.kernel.clone(), modules, note: None });
    }
    let of_other = |other: &str| {
        let dir = place(cache, other);
        let kernel = dir.join(KERNEL);
        let modules = ready(&dir).filter(|_| kernel.is_file())?;
        let note =
            Some(format!("the mirror has no modules of Linux {version} any more: this is Linux {other}"));
        Some(WithModules { kernel, modules, note })
    };
    let known = fs::read_to_string(other(cache, &version)).ok();
    if let Some(found) = known.filter(|v| is_plain(v)).and_then(|v| of_other(&v)) {
        return Ok(found);
    }
    let apt = Apt::foreign(cache, SUITE, "riscv64", "the modules of Debian's riscv64 kernel")?;
    apt.update(progress)?;
    if let Ok(package) = apt.candidate(&format!("{PACKAGE}{version}")) {
        let modules = fetch(&apt, &package, &version, false, cache, progress)?;
        return Ok(WithModules { kernel: guest.kernel.clone(), modules, note: None });
    }
    let all = apt.closure(&[NEWEST])?;
    let mut names = all.iter().filter_map(|p| p.split('=').next()?.strip_prefix(PACKAGE));
    let newest = names.rfind(|v| v.starts_with(|c: char| c.is_ascii_digit()) && is_plain(v));
    let newest =
        newest.ok_or_else(|| ImageError::Other(format!("{NEWEST} of Debian {SUITE} names no kernel")))?;
    fetch(&apt, &apt.candidate(&format!("{PACKAGE}{newest}"))?, newest, true, cache, progress)?;
    let path = other(cache, &version);
    fs::write(&path, newest).map_err(ImageError::file("cannot write", &path))?;
    of_other(newest).ok_or_else(|| ImageError::damaged(&path, "unpacking left no kernel and modules"))
}

/// The directories of modules that a system in a virtual machine may ask for, below `kernel/`.
const FOR_ROOT: &[&str] = &[
    "arch/",
    "block/",
    "crypto/",
    "drivers/block/",
    "drivers/char/",
    "drivers/input/",
    "drivers/md/",
    "drivers/net/bonding/",
    "drivers/net/dummy",
    "drivers/net/macv",
    "drivers/net/net_failover",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/net/vxlan/",
    "drivers/net/wireguard/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/",
    "lib/",
    "net/",
    "virt/",
];
/// What tells `depmod` about the kernel itself.
const LISTS: &[&str] = &["modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// The kernel's modules for a disk with a whole system, compressed as they are, with their paths on the disk. Their index
/// is made there by `depmod`.
///
/// # Errors
/// The kernel's version is not found, or the mirror has no such package.
pub fn for_root(
    cache: &Path,
    kernel: &Path,
    progress: Progress,
) -> Result<Vec<(String, Vec<u8>)>, ImageError> {
    let version = version_of(kernel)?;
    let apt = Apt::foreign(cache, SUITE, "riscv64", "the modules of Debian's riscv64 kernel")?;
    apt.update(progress)?;
    let deb = apt.download(&apt.candidate(&format!("{PACKAGE}{version}"))?, progress)?;
    let wanted = |path: &str| {
        let inside = path.split_once(&format!("lib/modules/{version}/"))?.1;
        let module = inside.strip_prefix("kernel/");
        let fits = LISTS.contains(&inside)
            || module.is_some_and(|module| FOR_ROOT.iter().any(|place| module.starts_with(place)));
        fits.then(|| path.to_string())
    };
    let files = deb::extract(&deb, wanted)?;
    if ready(&place(cache, &version)).is_some() {
        drop(fs::remove_file(&deb));
    }
    Ok(files)
}

/// Fetches the package and keeps its modules, and the kernel if it is needed.
fn fetch(
    apt: &Apt,
    package: &Package,
    version: &str,
    kernel: bool,
    cache: &Path,
    progress: Progress,
) -> Result<Vec<PathBuf>, ImageError> {
    let deb = apt.download(package, progress)?;
    progress("unpacking the kernel's modules", 0, 0);
    let files = deb::extract(&deb, |path| {
        if path.starts_with("boot/vmlinu") {
            return kernel.then(|| KERNEL.to_string());
        }
        let inside = path.split_once("/kernel/")?.1;
        PLACES.iter().any(|place| inside.starts_with(place)).then(|| name(inside)).flatten()
    })?;
    let mut all = BTreeMap::new();
    let mut image = None;
    for (name, data) in files {
        if name == KERNEL {
            image = Some(data);
            continue;
        }
        let bad = |e| ImageError::damaged(&deb, format!("the module {name} inside is damaged: {e}"));
        let module = unpacked(&data).map_err(bad)?;
        all.insert(name, module);
    }
    let order = in_order(&WANTED, &all).map_err(|why| ImageError::damaged(&deb, why))?;
    let dir = place(cache, version);
    let list = order.join("\n");
    let mut files: Vec<(String, &[u8])> = vec![("order".into(), list.as_bytes())];
    files.extend(image.iter().map(|image| (KERNEL.into(), &image[..])));
    files.extend(order.iter().filter_map(|name| Some((format!("{name}.ko"), &all.get(name)?[..]))));
    // One of an earlier version without a kernel is not as good as what was made here.
    let replaces = kernel && !dir.join(KERNEL).is_file();
    cache_directory::make(&dir, files.iter().map(|(name, data)| (&name[..], *data)), replaces)?;
    // The package has 100 MB, of which nothing else is needed.
    drop(fs::remove_file(&deb));
    ready(&dir).ok_or_else(|| ImageError::damaged(&dir, "unpacking left no modules"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with a section `.modinfo`.
    fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut file = vec![0; 64];
        file[40..48].copy_from_slice(&((64 + names.len() + info.len()) as u64).to_le_bytes());
        for (at, value) in [(58, 64u16), (60, 3), (62, 2)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        file.extend(names);
        file.extend(info.as_bytes());
        for (name, at, size) in [(0, 0, 0), (1, 64 + names.len(), info.len()), (10, 64, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&(name as u32).to_le_bytes());
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn modules_come_behind_what_they_need() {
        let file = module("license=GPL\0depends=jbd2,crc-16\0vermagic=6\0");
        assert_eq!(said(&file, "depends").as_deref(), Some("jbd2,crc-16"));
        assert_eq!(said(&file, "vermagic").as_deref(), Some("6"));
        for cut in 0..file.len() {
            drop(said(&file[..cut], "depends"));
        }
        let with = |list: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            list.iter().map(|(n, d)| (n.to_string(), module(&format!("depends={d}\0")))).collect()
        };
        let all = with(&[
            ("ext4", "jbd2,mbcache,crc-16"),
            ("jbd2", ""),
            ("crc_16", ""),
            ("mbcache", ""),
            ("x", "jbd2"),
        ]);
        assert_eq!(in_order(&["x", "ext4"], &all).unwrap(), ["jbd2", "x", "mbcache", "crc_16", "ext4"]);
        assert!(in_order(&["y"], &all).unwrap_err().contains("no module y"));
        let all = with(&[("a", "b"), ("b", "a"), ("c", "d")]);
        assert!(in_order(&["a"], &all).unwrap_err().contains("depend on each other"));
        assert!(in_order(&["c"], &all).unwrap_err().contains("which c needs"));
    }

    #[test]
    fn kernels_say_their_version() {
        let kernel = b"..Linux version %s (%s)\0..Linux version 6.12.117+deb13-riscv64 (debian)\0";
        assert_eq!(version(kernel).as_deref(), Some("6.12.117+deb13-riscv64"));
        assert_eq!(version(b"Linux version ../../x "), None);
        assert_eq!(name("fs/nls/nls-x.ko.xz").as_deref(), Some("nls_x"));
    }
}
