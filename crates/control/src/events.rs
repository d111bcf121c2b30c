//! The log of events of all guests: a file that all commands and monitors append to, with one JSON object per
//! line, in at most two files.

use crate::record::{KindName, Record};
use crate::store::Store;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use trine_base::file_lock;

/// The largest size in bytes of one of the two files.
const MOST: u64 = 1 << 20;

/// An event of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub time: Time,
    /// Docker's name of the action: `create`, `start`, `die`, `stop`, `kill`, `pause`, `unpause`, `restart`,
    /// `exec_start`, `exec_die`, `attach`, `detach`, `health_status`, `oom`, `destroy`.
    pub action: String,
    /// The guest's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: KindName,
    /// What the guest runs.
    pub what: String,
    /// Further attributes: `exit_code`, `signal`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Creates an event that happens now.
    pub fn new(record: &Record, action: &str) -> Event {
        Event {
            time: Time::now(),
            action: action.into(),
            id: record.id.clone(),
            name: record.name.clone(),
            kind: record.kind,
            what: record.what.clone(),
            attributes: BTreeMap::new(),
        }
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &str, value: impl ToString) -> Event {
        self.attributes.insert(name.into(), value.to_string());
        self
    }

    /// Appends the event to the store's log. A failure to write is ignored.
    pub fn tell(mut self, store: &Store) {
        let mut go = || -> std::io::Result<()> {
            let path = store.dir().join("events");
            loop {
                let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
                file_lock::wait(&file)?;
                // The previous holder of the lock may have renamed the file.
                let size = match fs::metadata(&path) {
                    Ok(m) if m.ino() == file.metadata()?.ino() => m.len(),
                    _ => continue,
                };
                if size > MOST {
                    fs::rename(&path, path.with_extension("1"))?;
                    continue;
                }
                // Taken under the lock, so that times never decrease.
                self.time = Time::now();
                let mut line = serde_json::to_vec(&self)?;
                line.push(b'\n');
                return file.write_all(&line);
            }
        };
        let _ = go();
    }
}

/// Reads events, including those that are appended later.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// The file that is read, its inode, and the beginning of an incomplete line.
    open: Option<(File, u64)>,
    part: Vec<u8>,
}

impl Reader {
    /// Starts at the oldest event.
    pub fn new(store: &Store) -> Reader {
        Reader { path: store.dir().join("events"), open: None, part: Vec::new() }
    }

    /// All events since the last call.
    pub fn read(&mut self) -> Vec<Event> {
        let mut found = Vec::new();
        if self.open.is_none() {
            let old = File::open(self.path.with_extension("1")).ok();
            self.open = old.and_then(|f| Some((f.try_clone().ok()?, f.metadata().ok()?.ino())));
        }
        loop {
            if let Some((file, _)) = &mut self.open {
                let _ = file.read_to_end(&mut self.part);
                let end = self.part.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
                let rest = self.part.split_off(end);
                let lines = std::mem::replace(&mut self.part, rest);
                let parse = |line| serde_json::from_slice::<Event>(line).ok();
                found.extend(lines.split(|&b| b == b'\n').filter_map(parse));
            }
            let Ok(next) = File::open(&self.path) else { return found };
            let inode = next.metadata().map_or(0, |m| m.ino());
            if self.open.as_ref().is_some_and(|(_, known)| *known == inode) {
                return found;
            }
            // Lines that were appended between the last read and the renaming.
            if let Some((file, _)) = &mut self.open {
                let _ = file.read_to_end(&mut self.part);
                let parse = |line| serde_json::from_slice::<Event>(line).ok();
                found.extend(self.part.split(|&b| b == b'\n').filter_map(parse));
                self.part.clear();
            }
            self.open = Some((next, inode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::store::tests::Own;

    #[test]
    fn many_writers_lose_nothing_and_the_file_stays_bounded() {
        let own = Own::new("events");
        let store = &own.0;
        let mut reader = Reader::new(store);
        let long = "x".repeat(2000);
        let mut seen = Vec::new();
        std::thread::scope(|s| {
            let writers: Vec<_> = (0..4)
                .map(|w| {
                    let long = &long;
                    s.spawn(move || {
                        let record = sample("w");
                        (0..200).for_each(|n| {
                            Event::new(&record, &format!("{w}.{n}")).with("a", long).tell(store)
                        });
                    })
                })
                .collect();
            while !writers.iter().all(|w| w.is_finished()) {
                seen.extend(reader.read());
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        seen.extend(reader.read());
        assert_eq!(seen.len(), 800);
        assert!(seen.is_sorted_by_key(|e| e.time));
        let size = |name: &str| store.dir().join(name).metadata().unwrap().len();
        assert!(size("events") < MOST + 4096 && size("events.1") < MOST + 4096);
    }
}
