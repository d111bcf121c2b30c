//! Fetching one file with apt's own fetcher, which uses the host's proxies and mirrors, verifies the
//! checksum, and continues an interrupted download.

use super::sources::setting;
use crate::ImageError;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The path of apt's own fetcher, beside its methods (`/usr/lib/apt/apt-helper`).
pub fn helper() -> String {
    let methods = setting("Dir::Bin::methods/d").unwrap_or("/usr/lib/apt/methods/".into());
    Path::new(&methods).with_file_name("apt-helper").to_string_lossy().into_owned()
}

/// Fetches `uri` into `dest` with `helper` (`apt-helper` and its settings), and verifies `sha` (SHA-256,
/// hexadecimal). An existing file at `dest` is taken for the beginning; if the result does not match,
/// everything is fetched again. `progress` is called with the number of bytes that are there.
pub fn fetch(
    helper: &Command,
    uri: &str,
    sha: &str,
    dest: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImageError> {
    let resumed = dest.exists();
    let first = attempt(helper, uri, sha, dest, progress);
    // apt renames a file with a wrong checksum.
    let failed = dest.with_added_extension("FAILED");
    let wrong = failed.exists();
    drop(fs::remove_file(&failed));
    if wrong && resumed {
        drop(fs::remove_file(dest));
        return attempt(helper, uri, sha, dest, progress);
    }
    first
}

fn attempt(
    helper: &Command,
    uri: &str,
    sha: &str,
    dest: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImageError> {
    let tool = |said: String| ImageError::Tool { tool: "apt-helper download-file".into(), said };
    let mut c = Command::new(helper.get_program());
    c.envs(helper.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdin(Stdio::null());
    c.args(["download-file", uri]).arg(dest).arg(format!("SHA256:{sha}"));
    let mut child =
        c.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|e| tool(e.to_string()))?;
    while child.try_wait().ok().flatten().is_none() {
        progress(fs::metadata(dest).map_or(0, |m| m.len()));
        std::thread::sleep(Duration::from_millis(100));
    }
    let out = child.wait_with_output().map_err(|e| tool(e.to_string()))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(tool(said.lines().filter(|l| l.starts_with("E:")).collect::<Vec<_>>().join("; ")));
    }
    if sha256(dest)? != sha {
        return Err(ImageError::Other(format!("{uri} was fetched, but its checksum is wrong")));
    }
    Ok(())
}

/// SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, ImageError> {
    let mut file = File::open(path).map_err(ImageError::file("cannot read", path))?;
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buf).map_err(ImageError::file("cannot read", path))?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buf[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;

    const DATE: &str = "Mon, 23 Nov 2026 10:00:00 GMT";

    /// Answers one request for `data` as a mirror does, but closes the connection after `most` bytes. Returns
    /// the first byte that was requested.
    fn answer(mut to: TcpStream, data: &[u8], most: usize) -> usize {
        let lines = BufReader::new(to.try_clone().unwrap()).lines().map_while(Result::ok);
        let request: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
        let field = |name: &str| request.iter().find_map(|l| l.strip_prefix(name));
        let from = match (field("Range: bytes="), field("If-Range: ")) {
            (Some(range), Some(DATE)) => range.trim_end_matches('-').parse().unwrap(),
            _ => 0,
        };
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\
             Last-Modified: {DATE}\r\nConnection: close\r\n\r\n",
            data.len() - from,
            data.len() - 1,
            data.len()
        );
        to.write_all(head.as_bytes()).unwrap();
        drop(to.write_all(&data[from..data.len().min(from.saturating_add(most))]));
        from
    }

    /// A mirror for this test that closes the connection after each of `cuts` bytes, one per request; fetches
    /// over the existing contents `begin`, and returns where each request began and whether the last one
    /// succeeded.
    fn fetched(cuts: &'static [usize], begin: Option<&[u8]>) -> Option<(Vec<usize>, bool)> {
        if !Path::new(&helper()).exists() {
            eprintln!("skipped: no apt on this host");
            return None;
        }
        let data: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let (dir, listener) = (scratch(cuts.len()), TcpListener::bind("127.0.0.1:0").unwrap());
        let uri = format!("http://{}/file", listener.local_addr().unwrap());
        let (whole, dest) = (dir.join("whole"), dir.join("file"));
        fs::write(&whole, &data).unwrap();
        if let Some(bytes) = begin {
            fs::write(&dest, bytes).unwrap();
            let date = std::time::UNIX_EPOCH + Duration::from_secs(1_795_428_000);
            File::options().write(true).open(&dest).unwrap().set_modified(date).unwrap();
        }
        let sha = sha256(&whole).unwrap();
        let server = std::thread::spawn(move || {
            cuts.iter().map(|&most| answer(listener.accept().unwrap().0, &data, most)).collect::<Vec<_>>()
        });
        let config = dir.join("apt.conf");
        let none = "Acquire::Retries \"0\";\nAcquire::http::Proxy::127.0.0.1 \"DIRECT\";\nAPT::Sandbox::User \"\";\n";
        fs::write(&config, none).unwrap();
        let mut helper = Command::new(helper());
        helper.env("APT_CONFIG", &config).env_remove("http_proxy");
        let mut done = false;
        while !server.is_finished() {
            done = fetch(&helper, &uri, &sha, &dest, &mut |_| {}).is_ok();
        }
        fs::remove_dir_all(&dir).unwrap();
        Some((server.join().unwrap(), done))
    }

    fn scratch(tag: usize) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("trine-fetch-{}-{tag}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let Some((from, done)) = fetched(&[100_000, 50_000, usize::MAX], None) else { return };
        assert!(done, "{from:?}");
        assert!(from[0] == 0 && from[1] > 0 && from[2] > from[1], "{from:?}");
    }

    #[test]
    fn a_beginning_of_another_file_is_fetched_again() {
        let Some((from, done)) = fetched(&[usize::MAX, usize::MAX], Some(&[7; 1000])) else { return };
        assert_eq!((from, done), (vec![1000, 0], true));
    }
}
