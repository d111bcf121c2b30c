//! The merged view of an image's layers, as overlayfs would show it, for users that cannot mount overlayfs.

use super::below::{Below, Found};
use super::root::is_whiteout;
use rustix::fs::{self, Dir, Mode, OFlags};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The most symbolic links in a path (`MAXSYMLINKS`).
const LINKS_MOST: usize = 40;

/// The prefix of whiteout files.
const MARK: &[u8] = b".wh.";

/// A function that is called with each relative path and its node.
pub type Visit<'a> = dyn FnMut(&Path, &Found) -> io::Result<()> + 'a;

/// A directory of one layer, and the names in it.
struct Part {
    fd: OwnedFd,
    names: BTreeSet<OsString>,
}

/// Visits all files of `layers`, which are directories, the lowest first. A directory is visited before its
/// contents, which are visited in the order of their names. The root comes first, with an empty path.
///
/// # Errors
/// Fails where the host or `visit` does.
pub fn walk(layers: &[PathBuf], visit: &mut Visit<'_>) -> io::Result<()> {
    let mut roots = Vec::new();
    for layer in layers.iter().rev() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Found::of(fs::open(layer, flags, Mode::empty())?)?;
        let last = root.hides();
        roots.push(root);
        if last {
            break;
        }
    }
    go(Path::new(""), &roots, visit)
}

/// Finds what `layers` (directories, the lowest first) show at a path; `None` where nothing exists or it was
/// removed. Symbolic links are followed inside the merged view: a link in an upper layer may lead to a file
/// of a lower one.
///
/// # Errors
/// Symbolic links form a cycle, or the host fails.
pub fn find(layers: &[PathBuf], path: &Path) -> io::Result<Option<Found>> {
    let topmost: Vec<PathBuf> = layers.iter().rev().cloned().collect();
    let below = Below(&topmost);
    let steps = |path: &Path| -> Vec<OsString> {
        // `/` stands for the root.
        let wanted = path.components().filter(|c| !matches!(c, Component::CurDir | Component::Prefix(_)));
        wanted.map(|c| c.as_os_str().to_os_string()).rev().collect()
    };
    let (mut todo, mut here, mut links) = (steps(path), PathBuf::new(), 0);
    let mut last = below.find(&here)?;
    while let Some(name) = todo.pop() {
        if name == "/" {
            here.clear();
        } else if name == ".." {
            here.pop();
        } else {
            here.push(&name);
        }
        last = below.find(&here)?;
        let Some(found) = &last else { return Ok(None) };
        if found.is_symlink() {
            links += 1;
            if links > LINKS_MOST {
                return Err(rustix::io::Errno::LOOP.into());
            }
            here.pop();
            let target = OsString::from_vec(found.link()?.into_bytes());
            todo.extend(steps(Path::new(&target)));
            last = below.find(&here)?;
        } else if !found.is_directory() && !todo.is_empty() {
            return Ok(None);
        }
    }
    Ok(last)
}

/// Visits a directory of these layers, the topmost first, and everything below it.
fn go(path: &Path, found: &[Found], visit: &mut Visit<'_>) -> io::Result<()> {
    let Some(top) = found.first() else { return Ok(()) };
    visit(path, top)?;
    let parts = found.iter().map(part).collect::<io::Result<Vec<Part>>>()?;
    let names: BTreeSet<&OsString> = parts.iter().flat_map(|p| &p.names).collect();
    for name in names.into_iter().filter(|n| !n.as_bytes().starts_with(MARK)) {
        let (there, path) = (shown(&parts, name)?, path.join(name));
        match there.first() {
            Some(top) if top.is_directory() => go(&path, &there, visit)?,
            Some(top) => visit(&path, top)?,
            None => (),
        }
    }
    Ok(())
}

fn part(directory: &Found) -> io::Result<Part> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fs::openat(directory.fd(), ".", flags, Mode::empty())?;
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(&fd)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(OsString::from_vec(name));
        }
    }
    Ok(Part { fd, names })
}

/// What is visible under a name: one node that is not a directory, or directories of several layers, the
/// topmost first.
fn shown(parts: &[Part], name: &OsStr) -> io::Result<Vec<Found>> {
    let mark = OsString::from_vec([MARK, name.as_bytes()].concat());
    let mut there: Vec<Found> = Vec::new();
    for part in parts {
        let found = match part.names.contains(name) {
            true => Found::open(&part.fd, name)?,
            false => None,
        };
        match found {
            None if part.names.contains(&mark) => break,
            None => (),
            Some(found) if is_whiteout(&found.stat) => break,
            // It hides lower layers, but may itself be hidden by a directory of a higher one.
            Some(found) if !found.is_directory() => {
                if there.is_empty() {
                    there.push(found);
                }
                break;
            }
            Some(found) => {
                let last = found.hides() || part.names.contains(&mark);
                there.push(found);
                if last {
                    break;
                }
            }
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, remove_dir_all, write};

    /// Each layer is a directory, whose files contain the number of the layer.
    fn layers(test: &str, files: &[&[&str]]) -> (PathBuf, Vec<PathBuf>) {
        let dir = std::env::temp_dir().join(format!("trine-merged-{test}-{}", std::process::id()));
        let mut made = Vec::new();
        for (n, files) in files.iter().enumerate() {
            let layer = dir.join(n.to_string());
            create_dir_all(&layer).unwrap();
            for file in *files {
                let path = layer.join(file.trim_end_matches('/'));
                create_dir_all(path.parent().unwrap()).unwrap();
                match file.ends_with('/') {
                    true => create_dir_all(&path).unwrap(),
                    false => write(&path, n.to_string()).unwrap(),
                }
            }
            made.push(layer);
        }
        (dir, made)
    }

    fn seen(layers: &[PathBuf]) -> Vec<String> {
        let mut seen = Vec::new();
        walk(layers, &mut |path, found| {
            let text = match found.is_directory() {
                true => format!("{}/", path.display()),
                false => format!("{}={}", path.display(), io::read_to_string(found.file()?)?),
            };
            seen.push(text);
            Ok(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn upper_layers_are_seen_first() {
        let (dir, layers) = layers("over", &[&["a", "d/x", "d/y", "e"], &["d/x", "d/z", "e/in"], &["a"]]);
        assert_eq!(seen(&layers), ["/", "a=2", "d/", "d/x=1", "d/y=0", "d/z=1", "e/", "e/in=1"]);
        remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_gone_is_not_seen() {
        let gone = &["d/.wh.x", ".wh.e", "o/.wh..wh..opq", "o/new"];
        let (dir, layers) =
            layers("gone", &[&["d/x", "d/y", "e/in", "o/old", "o/sub/old"], gone, &["e/again"]]);
        assert_eq!(seen(&layers), ["/", "d/", "d/y=0", "e/", "e/again=2", "o/", "o/new=1"]);
        remove_dir_all(dir).unwrap();
    }

    #[test]
    fn paths_lead_through_all_layers() {
        let gone = &["etc/.wh.passwd", "o/.wh..wh..opq", "d/new"];
        let (dir, layers) = layers("find", &[&["etc/passwd", "etc/group", "o/old", "usr/lib/x", "f"], gone]);
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, layers[1].join(at)).unwrap();
        link("/usr/lib", "lib");
        link("../../../etc/group", "d/up");
        link("circle", "circle");
        let at = |path: &str| match find(&layers, Path::new(path)) {
            Ok(Some(found)) if found.is_directory() => "directory".into(),
            Ok(Some(found)) => io::read_to_string(found.file().unwrap()).unwrap(),
            Ok(None) => "none".into(),
            Err(e) => e.raw_os_error().unwrap_or(0).to_string(),
        };
        for (path, want) in [
            ("/etc/passwd", "none"),
            ("/etc/group", "0"),
            ("o/old", "none"),
            ("/lib/x", "0"),
            ("/lib/y", "none"),
            ("/d/up", "0"),
            ("/d/../../o/./../d/new", "1"),
            ("/f/x", "none"),
            ("/", "directory"),
            ("", "directory"),
            ("circle/x", "40"),
        ] {
            assert_eq!(at(path), want, "{path}");
        }
        remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_kernels_marks_hide_too() {
        let (dir, layers) = layers("marks", &[&["d/x", "e", "f/sub/old", "g/deep"], &["d/y", "f/", "g"]]);
        let device = |path: &Path| {
            let kind = fs::FileType::CharacterDevice;
            fs::mknodat(fs::CWD, path, kind, Mode::empty(), fs::makedev(0, 0)).is_ok()
        };
        let opaque =
            fs::setxattr(layers[1].join("f"), "user.overlay.opaque", b"y", fs::XattrFlags::empty()).is_ok();
        // Older kernels and some file systems do not allow these.
        if device(&layers[1].join("e")) && device(&layers[1].join("d/x")) && opaque {
            assert_eq!(seen(&layers), ["/", "d/", "d/y=1", "f/", "g=1"]);
        }
        remove_dir_all(dir).unwrap();
    }
}
