//! The directory of records, and the locks for writing them.
//!
//! A guest's directory `<data>/guests/<id>` holds `record.json`, its `log` and `lock`;
//! `<data>/guests/names/<name>` is a link to its id. The guest's monitor holds `lock` for its whole life: a
//! command that gets this lock knows that there is no monitor, and may repair and write the record. Guests
//! are created and removed under the lock of the whole directory. The socket, which does not survive a reboot
//! of the host, is in `<runtime>/guests/<id>`.

use crate::error::{ControlError, refused};
use crate::names;
use crate::record::{Record, VERSION};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_base::file_lock;
use trine_base::replace_file::{self, Durability};

/// The largest record that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// How long to wait for a lock that is held only for moments.
const MOMENTS: Duration = Duration::from_secs(30);

/// All guests of a user.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    runtime: PathBuf,
}

/// A lock that is released when this is dropped, or when the process ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "closing it is what releases the lock")] File);

/// The directory of a guest.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// Its directory.
    pub dir: PathBuf,
}

fn make_dir(path: &Path) -> Result<(), ControlError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| ControlError::at(path, e))
}

/// Takes a file's lock within this time; `None` where another process holds it.
fn lock_within(path: &Path, time: Duration) -> Result<Option<Lock>, ControlError> {
    let taken = file_lock::take(path, time).map_err(|e| ControlError::at(path, e))?;
    Ok(taken.map(Lock))
}

impl Store {
    /// Opens the user's store, which is created if missing.
    ///
    /// # Errors
    /// Fails where there is no directory for it.
    pub fn open() -> Result<Store, ControlError> {
        let host = |e| ControlError::host("the directory for guests", e);
        let (data, runtime) =
            (trine_base::xdg::data().map_err(host)?, trine_base::xdg::runtime().map_err(host)?);
        Store::at(data.join("guests"), runtime.join("guests"))
    }

    /// Opens a store in these directories.
    ///
    /// # Errors
    /// Fails where they cannot be created.
    pub fn at(dir: PathBuf, runtime: PathBuf) -> Result<Store, ControlError> {
        make_dir(&dir.join("names"))?;
        make_dir(&runtime)?;
        Ok(Store { dir, runtime })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The runtime directory of a guest.
    pub fn running(&self, id: &str) -> PathBuf {
        self.runtime.join(id)
    }

    /// The directory that a guest with this id has or would have.
    pub fn place(&self, id: &str) -> Place {
        Place { id: id.to_string(), dir: self.dir.join(id) }
    }

    /// Takes the lock of the whole directory.
    fn lock(&self) -> Result<Lock, ControlError> {
        let path = self.dir.join("lock");
        lock_within(&path, MOMENTS)?
            .ok_or_else(|| ControlError::Failed(format!("{} stays locked by another trine", path.display())))
    }

    /// Creates a guest; where `record.name` is empty, a name is generated.
    ///
    /// # Errors
    /// Fails where the name is not valid, or is taken.
    pub fn create(&self, record: &mut Record) -> Result<Place, ControlError> {
        let given = !record.name.is_empty();
        if given {
            names::check(&record.name)?;
        }
        let _lock = self.lock()?;
        self.sweep();
        let place = self.place(&record.id);
        make_dir(&place.dir)?;
        for try_ in 0.. {
            if !given {
                record.name = names::any(try_);
            }
            match std::os::unix::fs::symlink(&record.id, self.name(&record.name)) {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::AlreadyExists && !given && try_ < 64 => {}
                Err(e) => {
                    let _ = fs::remove_dir_all(&place.dir);
                    return Err(self.taken(&record.name, e));
                }
            }
        }
        // The record makes the guest: if this fails before it is written, the next command sweeps up the
        // rest.
        place.write(record, Durability::Whole).inspect_err(|_| drop(self.forget(&place, &record.name)))?;
        Ok(place)
    }

    fn name(&self, name: &str) -> PathBuf {
        self.dir.join("names").join(name)
    }

    fn taken(&self, name: &str, e: std::io::Error) -> ControlError {
        if e.kind() != ErrorKind::AlreadyExists {
            return ControlError::at(&self.name(name), e);
        }
        let id = fs::read_link(self.name(name)).unwrap_or_default();
        let id = id.to_string_lossy().into_owned();
        let short = id.get(..12).unwrap_or_default();
        ControlError::Refused(format!(
            "the name '{name}' is taken by guest {short}: choose another one, or `trine rm {name}` first"
        ))
    }

    /// Removes what a killed command has left: guests without a record and names without a guest.
    fn sweep(&self) {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries(&self.dir).filter(|e| e.file_name().len() >= 32) {
            let dir = entry.path();
            if !dir.join("record.json").exists() {
                let _ = fs::remove_dir_all(&dir);
            }
        }
        for entry in entries(&self.dir.join("names")) {
            let there = fs::read_link(entry.path()).is_ok_and(|id| self.dir.join(id).exists());
            if !there {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes a guest whose lock the caller holds.
    ///
    /// # Errors
    /// Fails where its files cannot be removed.
    pub fn remove(&self, place: &Place, name: &str, _held: &Lock) -> Result<(), ControlError> {
        let _lock = self.lock()?;
        self.forget(place, name)
    }

    fn forget(&self, place: &Place, name: &str) -> Result<(), ControlError> {
        // Without its record it is not a guest any more.
        let record = place.dir.join("record.json");
        match fs::remove_file(&record) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(ControlError::at(&record, e)),
            _ => {}
        }
        if fs::read_link(self.name(name)).is_ok_and(|id| id == Path::new(&place.id)) {
            let _ = fs::remove_file(self.name(name));
        }
        let _ = fs::remove_dir_all(self.running(&place.id));
        fs::remove_dir_all(&place.dir).map_err(|e| ControlError::at(&place.dir, e))
    }

    /// All guests, the newest first, and a sentence for each damaged record, which is left out.
    pub fn list(&self) -> (Vec<(Place, Record)>, Vec<String>) {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|n| n.len() == 32 && names::is_id_start(n)) else { continue };
            let place = self.place(id);
            match place.read() {
                Ok(record) => found.push((place, record)),
                // It was removed just now, or is being created.
                Err(ControlError::Unknown(_)) => {}
                Err(e) => damaged.push(e.to_string()),
            }
        }
        found.sort_by(|a, b| (b.1.created, &b.1.id).cmp(&(a.1.created, &a.1.id)));
        (found, damaged)
    }

    /// Finds a guest by its name, its id or the beginning of its id.
    ///
    /// # Errors
    /// Fails where there is none, or there are several.
    pub fn find(&self, which: &str) -> Result<Place, ControlError> {
        if names::check(which).is_ok()
            && let Ok(id) = fs::read_link(self.name(which))
            && let Some(id) = id.to_str().filter(|id| names::is_id_start(id))
            && self.dir.join(id).join("record.json").exists()
        {
            return Ok(self.place(id));
        }
        let unknown = || ControlError::Unknown(which.to_string());
        if !names::is_id_start(which) {
            return Err(unknown());
        }
        let begins = |name: &OsStr| {
            name.to_str().filter(|n| n.len() == 32 && n.starts_with(which)).map(str::to_string)
        };
        let entries = fs::read_dir(&self.dir).map_err(|e| ControlError::at(&self.dir, e))?;
        let mut ids: Vec<String> = entries.flatten().filter_map(|e| begins(&e.file_name())).collect();
        ids.retain(|id| self.dir.join(id).join("record.json").exists());
        match &ids[..] {
            [] => Err(unknown()),
            [id] => Ok(self.place(id)),
            _ => refused(format!("'{which}' is the beginning of {} ids: write more characters", ids.len())),
        }
    }
}

impl Place {
    /// Reads the record.
    ///
    /// # Errors
    /// Fails where it does not exist any more, or is damaged.
    pub fn read(&self) -> Result<Record, ControlError> {
        use std::io::Read;
        let path = self.dir.join("record.json");
        let file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(ControlError::Unknown(self.id.clone())),
            file => file.map_err(|e| ControlError::at(&path, e))?,
        };
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).map_err(|e| ControlError::at(&path, e))?;
        let damaged = |why: String| {
            let dir = self.dir.display();
            ControlError::Failed(format!(
                "{} is not the record of a guest ({why}): remove {dir}",
                path.display()
            ))
        };
        let record: Record = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        match record.version {
            VERSION if record.id == self.id => Ok(record),
            VERSION => Err(damaged("it names another id".into())),
            n => Err(damaged(format!("its version {n} belongs to another version of trine"))),
        }
    }

    /// Writes the record; the caller must hold the guest's lock, or have just created it.
    ///
    /// # Errors
    /// Fails where the host cannot write.
    pub fn write(&self, record: &Record, durability: Durability) -> Result<(), ControlError> {
        let text = serde_json::to_vec_pretty(record).map_err(|e| ControlError::host("a record", e))?;
        let path = self.dir.join("record.json");
        let written = replace_file::replace(&path, &text, 0o600, durability);
        written.map_err(|e| ControlError::host(&format!("cannot write {}", path.display()), e))
    }

    /// Takes the guest's lock within this time; `None` where its monitor lives.
    ///
    /// # Errors
    /// Fails where the guest has been removed.
    pub fn lock_within(&self, time: Duration) -> Result<Option<Lock>, ControlError> {
        let path = self.dir.join("lock");
        let gone = |_| ControlError::Unknown(self.id.clone());
        let lock = match lock_within(&path, time) {
            Err(ControlError::Host { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(gone(source));
            }
            lock => lock?,
        };
        // It may have been removed while we waited.
        if lock.is_some() && !self.dir.join("record.json").exists() {
            return Err(ControlError::Unknown(self.id.clone()));
        }
        Ok(lock)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::sample;

    /// A store in a directory of its own, for a test.
    pub struct Own(pub Store, PathBuf);

    impl Own {
        /// Creates it.
        pub fn new(test: &str) -> Own {
            let dir = std::env::temp_dir().join(format!("trine-store-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Own(Store::at(dir.join("data"), dir.join("run")).unwrap(), dir)
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.1);
        }
    }

    #[test]
    fn a_guest_is_found_by_name_id_and_beginning() {
        let own = Own::new("find");
        let store = &own.0;
        let (mut a, mut b) = (sample("one"), sample(""));
        (a.id, b.id) = ("a".repeat(32), format!("{}b", "a".repeat(31)));
        store.create(&mut a).unwrap();
        store.create(&mut b).unwrap();
        assert!(!b.name.is_empty());
        assert_eq!(store.find("one").unwrap().id, a.id);
        assert_eq!(store.find(&b.name).unwrap().id, b.id);
        assert_eq!(store.find(&a.id).unwrap().id, a.id);
        assert!(store.find("aaaa").unwrap_err().to_string().contains("2 ids"));
        for none in ["two", "", "../names", "b", "/"] {
            assert!(matches!(store.find(none), Err(ControlError::Unknown(_))), "{none}");
        }
        assert_eq!(store.list().0.len(), 2);
    }

    #[test]
    fn a_name_is_taken_once_and_free_again() {
        let own = Own::new("taken");
        let store = &own.0;
        let mut a = sample("web");
        let place = store.create(&mut a).unwrap();
        let why = store.create(&mut sample("web")).unwrap_err().to_string();
        assert!(why.contains("taken") && why.contains(a.short()), "{why}");
        assert_eq!(store.list().0.len(), 1);
        let lock = place.lock_within(Duration::ZERO).unwrap().unwrap();
        assert!(place.lock_within(Duration::ZERO).unwrap().is_none());
        store.remove(&place, "web", &lock).unwrap();
        assert!(matches!(place.lock_within(Duration::ZERO), Err(ControlError::Unknown(_))));
        store.create(&mut sample("web")).unwrap();
    }

    #[test]
    fn what_a_killed_command_leaves_is_swept_up() {
        let own = Own::new("sweep");
        let store = &own.0;
        let half = "c".repeat(32);
        fs::create_dir(store.dir().join(&half)).unwrap();
        std::os::unix::fs::symlink(&half, store.dir().join("names/web")).unwrap();
        std::os::unix::fs::symlink("d".repeat(32), store.dir().join("names/lost")).unwrap();
        assert!(store.find("web").is_err() && store.list().0.is_empty());
        store.create(&mut sample("web")).unwrap();
        store.create(&mut sample("lost")).unwrap();
        assert!(!store.dir().join(&half).exists());
    }

    #[test]
    fn a_damaged_record_is_named_and_hides_no_other() {
        let own = Own::new("damaged");
        let store = &own.0;
        let place = store.create(&mut sample("bad")).unwrap();
        store.create(&mut sample("good")).unwrap();
        fs::write(place.dir.join("record.json"), "{").unwrap();
        let (found, damaged) = store.list();
        assert_eq!((found.len(), damaged.len()), (1, 1));
        assert!(damaged[0].contains(&place.id), "{damaged:?}");
    }

    #[test]
    fn names_are_unique_among_threads() {
        let own = Own::new("threads");
        let store = &own.0;
        let made = std::thread::scope(|s| {
            let tries: Vec<_> =
                (0..8).map(|_| s.spawn(|| store.create(&mut sample("only")).is_ok())).collect();
            tries.into_iter().filter(|_| true).map(|t| t.join().unwrap()).filter(|ok| *ok).count()
        });
        assert_eq!((made, store.list().0.len()), (1, 1));
    }
}
