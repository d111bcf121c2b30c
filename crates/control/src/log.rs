//! A guest's log: everything that it wrote, with stream and time of each piece, in at most two files.
//!
//! Each entry is a header of 16 bytes (nanoseconds since 1970, length, stream, all little-endian) and the
//! bytes. An incomplete entry, which a monitor leaves that is killed while it writes, is skipped by readers
//! and removed by the next writer.

use crate::error::ControlError;
use crate::time::Time;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The default size limit of a log in bytes.
pub const USUAL: u64 = 16 << 20;
const HEADER: usize = 16;
/// The longest piece that is written at once, and that is accepted when read.
const PIECE: usize = 1 << 16;

/// The stream that something was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Out,
    /// Standard error.
    Err,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the monitor read it.
    pub time: Time,
    /// Where it was written to.
    pub stream: Stream,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// The older of a log's two files.
fn older(path: &Path) -> PathBuf {
    path.with_extension("1")
}

/// A log that is written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
}

fn open(path: &Path) -> Result<File, ControlError> {
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    open().map_err(|e| ControlError::at(path, e))
}

impl Writer {
    /// Opens a log to append to it; both its files together stay below `most` bytes plus one entry.
    ///
    /// # Errors
    /// Fails where the host cannot write it.
    pub fn open(path: &Path, most: u64) -> Result<Writer, ControlError> {
        let file = open(path)?;
        let mut reader = Reader::new(file.try_clone().map_err(|e| ControlError::at(path, e))?);
        while reader.entry().is_some() {}
        let size = reader.good;
        file.set_len(size).map_err(|e| ControlError::at(path, e))?;
        Ok(Writer { path: path.to_path_buf(), file, size, most })
    }

    /// Appends a piece that was written now.
    ///
    /// # Errors
    /// Fails where the host cannot write; the log stays valid all the same.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            if self.size + (HEADER + piece.len()) as u64 > self.most / 2 && self.size > 0 {
                fs::rename(&self.path, older(&self.path))?;
                self.file = open(&self.path).map_err(std::io::Error::other)?;
                self.size = 0;
            }
            let mut entry = Vec::with_capacity(HEADER + piece.len());
            entry.extend_from_slice(&Time::now().0.to_le_bytes());
            entry.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            entry.extend_from_slice(&(stream as u32).to_le_bytes());
            entry.extend_from_slice(piece);
            if let Err(e) = self.file.write_all(&entry) {
                let _ = self.file.set_len(self.size);
                return Err(e);
            }
            self.size += entry.len() as u64;
        }
        Ok(())
    }
}

/// Reads the entries of one file.
#[derive(Debug)]
struct Reader {
    file: BufReader<File>,
    /// Number of bytes of complete entries that were read.
    good: u64,
    /// Bytes of an entry that is not complete yet.
    part: Vec<u8>,
}

impl Reader {
    fn new(file: File) -> Reader {
        Reader { file: BufReader::with_capacity(PIECE, file), good: 0, part: Vec::new() }
    }

    /// Reads until `n` bytes of this entry are here; returns false where the file ends before.
    fn fill(&mut self, n: usize) -> bool {
        let missing = n.saturating_sub(self.part.len()) as u64;
        let _ = self.file.by_ref().take(missing).read_to_end(&mut self.part);
        self.part.len() >= n
    }

    /// Reads the next complete entry.
    fn entry(&mut self) -> Option<Entry> {
        if !self.fill(HEADER) {
            return None;
        }
        let time = u64::from_le_bytes(self.part[..8].try_into().ok()?);
        let length = u32::from_le_bytes(self.part[8..12].try_into().ok()?) as usize;
        let stream = match u32::from_le_bytes(self.part[12..16].try_into().ok()?) {
            0 => Stream::Out,
            1 => Stream::Err,
            _ => return None,
        };
        if length > PIECE || !self.fill(HEADER + length) {
            return None;
        }
        self.good += self.part.len() as u64;
        let bytes = self.part.split_off(HEADER);
        self.part.clear();
        Some(Entry { time: Time(time), stream, bytes })
    }
}

/// Reads a log over both its files, including what is appended later.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    readers: VecDeque<(u64, Reader)>,
}

impl Follower {
    /// Starts at the oldest entry. A guest that never wrote has no log file; its log is empty.
    pub fn new(path: &Path) -> Follower {
        let mut follower = Follower { path: path.to_path_buf(), readers: VecDeque::new() };
        follower.add(&older(path));
        follower.add(path);
        follower
    }

    /// Adds a file unless it is known already.
    fn add(&mut self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let inode = file.metadata().map_or(0, |m| m.ino());
        let new = self.readers.iter().all(|(known, _)| *known != inode);
        if new {
            self.readers.push_back((inode, Reader::new(file)));
        }
        new
    }

    /// Reads the next entry; `None` where there is none yet.
    pub fn entry(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.readers.front_mut().and_then(|(_, r)| r.entry()) {
                return Some(entry);
            }
            if self.readers.len() < 2 {
                // The writer may have started a new file; what it wrote into this one before that is read
                // first.
                let path = self.path.clone();
                if !self.add(&path) {
                    return None;
                }
                if let Some(entry) = self.readers.front_mut().and_then(|(_, r)| r.entry()) {
                    return Some(entry);
                }
            }
            if self.readers.len() > 1 {
                self.readers.pop_front();
            }
        }
    }
}

/// A line of a log with the time at which it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its first piece was read.
    pub time: Time,
    /// Where it was written to.
    pub stream: Stream,
    /// Its bytes, with the line feed if there is one.
    pub bytes: Vec<u8>,
}

/// Joins pieces to lines, for each stream separately.
#[derive(Debug, Default)]
pub struct Lines {
    open: [Option<Line>; 2],
}

impl Lines {
    /// The longest line in bytes; longer ones are split.
    const LONGEST: usize = 1 << 20;

    /// Adds a piece and returns the lines that it completes.
    pub fn push(&mut self, entry: &Entry) -> Vec<Line> {
        let mut done = Vec::new();
        for part in entry.bytes.split_inclusive(|&b| b == b'\n') {
            let open = &mut self.open[entry.stream as usize];
            let new = || Line { time: entry.time, stream: entry.stream, bytes: Vec::new() };
            let line = open.get_or_insert_with(new);
            line.bytes.extend_from_slice(part);
            if part.ends_with(b"\n") || line.bytes.len() > Lines::LONGEST {
                done.extend(open.take());
            }
        }
        done
    }

    /// Returns the incomplete lines.
    pub fn rest(&mut self) -> Vec<Line> {
        self.open.iter_mut().filter_map(Option::take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Dir {
            let dir = std::env::temp_dir().join(format!("trine-log-{test}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn text(follower: &mut Follower) -> String {
        let mut all = String::new();
        while let Some(entry) = follower.entry() {
            all.push_str(&String::from_utf8_lossy(&entry.bytes));
        }
        all
    }

    #[test]
    fn a_log_is_followed_over_its_rotation_and_stays_bounded() {
        let dir = Dir::new("rotate");
        let path = dir.0.join("log");
        let mut follower = Follower::new(&path);
        assert!(follower.entry().is_none());
        let mut writer = Writer::open(&path, 1000).unwrap();
        let mut want = String::new();
        let mut got = String::new();
        for n in 0..200 {
            let line = format!("line {n}\n");
            writer.write(Stream::Out, line.as_bytes()).unwrap();
            want.push_str(&line);
            got.push_str(&text(&mut follower));
        }
        assert_eq!(got, want);
        let size = |p: &Path| p.metadata().unwrap().len();
        assert!(size(&path) + size(&older(&path)) <= 1000);
        let late = text(&mut Follower::new(&path));
        assert!(want.ends_with(&late) && late.len() > 100, "{late}");
    }

    #[test]
    fn an_entry_that_was_cut_off_is_removed() {
        let dir = Dir::new("cut");
        let path = dir.0.join("log");
        let mut writer = Writer::open(&path, 1000).unwrap();
        writer.write(Stream::Out, b"whole\n").unwrap();
        let whole = path.metadata().unwrap().len();
        writer.write(Stream::Err, b"cut off\n").unwrap();
        for cut in [1, 5, 16, 20] {
            File::options().write(true).open(&path).unwrap().set_len(whole + cut).unwrap();
            assert_eq!(text(&mut Follower::new(&path)), "whole\n");
        }
        Writer::open(&path, 1000).unwrap().write(Stream::Err, b"next\n").unwrap();
        assert_eq!(text(&mut Follower::new(&path)), "whole\nnext\n");
    }

    #[test]
    fn lines_of_two_streams_do_not_mix() {
        let entry = |time, stream, text: &str| Entry { time: Time(time), stream, bytes: text.into() };
        let mut lines = Lines::default();
        assert!(lines.push(&entry(1, Stream::Out, "ab")).is_empty());
        assert_eq!(lines.push(&entry(2, Stream::Err, "x\n"))[0].time, Time(2));
        let done = lines.push(&entry(3, Stream::Out, "c\nd\ne"));
        assert_eq!(done.iter().map(|l| l.time.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((&done[0].bytes[..], &done[1].bytes[..]), (&b"abc\n"[..], &b"d\n"[..]));
        assert_eq!(lines.rest()[0].bytes, b"e");
    }
}
