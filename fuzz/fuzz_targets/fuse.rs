//! Any requests to the server of a shared folder: it neither panics nor leaves the folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use trine_share::{Access, Folder, Server};

/// What no reply may have.
const SECRET: &[u8] = b"\x93sealed\x07";

/// A directory with a folder and what lies beside it.
static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("trine-fuzz-fuse-{}", std::process::id()));
    fs::create_dir_all(dir.join("outside")).unwrap();
    fs::write(dir.join("outside/secret"), SECRET).unwrap();
    dir
});

/// The folder as each run finds it: files, a directory, and links that lead out.
fn fill(folder: &Path) {
    drop(fs::remove_dir_all(folder));
    fs::create_dir_all(folder.join("d/e")).unwrap();
    fs::write(folder.join("a"), "text").unwrap();
    symlink("../outside", folder.join("out")).unwrap();
    symlink("../outside/secret", folder.join("file")).unwrap();
}

/// Makes a request and returns the reply.
fn ask(server: &Server, opcode: u32, node: u64, body: &[u8], room: usize) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend((40 + body.len() as u32).to_le_bytes());
    request.extend(opcode.to_le_bytes());
    request.extend(1u64.to_le_bytes());
    request.extend(node.to_le_bytes());
    request.extend([0; 16]);
    request.extend(body);
    let mut reply = Vec::new();
    server.handle(&request, room, &mut reply);
    assert!(reply.len() <= room);
    assert!(!reply.windows(SECRET.len()).any(|bytes| bytes == SECRET));
    reply
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, mut rest)) = data.split_first() else { return };
    let shared = DIR.join("shared");
    fill(&shared);
    let access = if mode & 1 == 0 { Access::Write } else { Access::ReadOnly };
    let folder = Arc::new(Folder::open(&shared, access).unwrap());
    let server = Server::new(folder.clone(), 1);
    if mode & 2 == 0 {
        let init: Vec<u8> = [7u32, 38, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        ask(&server, 26, 0, &init, 4096);
    }
    for name in [&b"a\0"[..], b"d\0", b"out\0", b"file\0"] {
        ask(&server, 1, 1, name, 4096);
    }
    ask(&server, 14, 2, &2u64.to_le_bytes(), 4096);
    while let [opcode, node, len, tail @ ..] = rest {
        let len = (*len as usize).min(tail.len());
        let room = if mode & 4 == 0 { 4096 } else { usize::from(*node) };
        ask(&server, u32::from(opcode % 56), u64::from(node % 12), &tail[..len], room);
        rest = &tail[len..];
    }
    // Its state goes on elsewhere; any bytes as a state are refused, or do no harm.
    let state = server.save();
    Server::new(folder.clone(), 1).load(&state).unwrap();
    let other = Server::new(folder, 1);
    if other.load(data).is_ok() {
        (0..12).for_each(|node| drop(ask(&other, 3, node, &[0; 16], 4096)));
    }
    let beside: Vec<_> =
        fs::read_dir(DIR.as_path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
    assert_eq!(fs::read_dir(DIR.join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read(DIR.join("outside/secret")).unwrap(), SECRET);
    if access == Access::ReadOnly {
        assert_eq!(fs::read(shared.join("a")).unwrap(), b"text");
        assert_eq!(fs::read_dir(&shared).unwrap().count(), 4);
    }
});
