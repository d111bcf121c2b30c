//! A tree as an ext4 file system.

use super::tree::{Kind, Node, Tree};
use mkext4::sink::FileSink;
use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT};
use std::collections::HashMap;
use std::path::Path;

fn meta(node: &Node) -> Meta {
    Meta::new(node.mode, node.owner.0, node.owner.1, (node.changed, 0))
}

/// Writes a file system of `size` bytes, which is sparse where the tree has nothing. `id` is its UUID, `made` the time
/// of its making in seconds since 1970.
///
/// # Errors
/// The host's, or the tree does not fit.
pub fn write(tree: &Tree, path: &Path, size: u64, id: [u8; 16], made: i64) -> Result<(), mkext4::Error> {
    let mut options = Options::new(size, id, made);
    options.inodes = InodeCount::Auto;
    options.label = Some("trine".into());
    options.reserved_percent = 1;
    let mut builder = FsBuilder::new(options)?;
    builder.set_meta(ROOT, Meta::new(0o755, 0, 0, (made, 0)))?;
    let mut handles: HashMap<&str, InodeHandle> = HashMap::from([("", ROOT)]);
    let (mut files, mut hard) = (Vec::new(), Vec::new());
    for (path, node) in tree.nodes() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let unknown = || mkext4::Error::Invalid(format!("'{parent}' is not a directory"));
        let parent = *handles.get(parent).ok_or_else(unknown)?;
        let handle = match &node.kind {
            Kind::Directory => builder.mkdir(parent, name, meta(node))?,
            Kind::File(data) => {
                let file = builder.file(parent, name, meta(node), data.len() as u64)?;
                files.extend((!data.is_empty()).then_some((file, data)));
                file
            }
            Kind::Symlink(target) => builder.symlink(parent, name, target, meta(node))?,
            Kind::Hard(target) => {
                hard.push((parent, name, target));
                continue;
            }
        };
        handles.insert(path, handle);
    }
    for (parent, name, link) in hard {
        let missing = || mkext4::Error::Invalid(format!("there is no file '{link}' for the link '{name}'"));
        let target = tree.target(link).ok_or_else(missing)?;
        builder.hardlink(parent, name, *handles.get(target.as_str()).ok_or_else(missing)?)?;
    }
    let layout = builder.seal()?;
    let mut sink = FileSink::create(path, layout.image_len())?;
    let mut writer = layout.writer(&mut sink)?;
    for (file, data) in files {
        writer.fill(file, &mut &data[..])?;
    }
    writer.finish()?;
    sink.into_file().sync_all()?;
    Ok(())
}
