//! Blobs: content by its digest.

use super::{Store, Working, lock_file, retry, unique};
use crate::digest::{Hasher, Hashing};
use crate::error::{Error, Result};
use oci_spec::image::{Descriptor, Digest};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

impl Store {
    /// Whether content with this digest is here and complete.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Opens content.
    ///
    /// # Errors
    /// The content is not here.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(Error::file("cannot open", &path))
    }

    /// Reads small content, and verifies its digest again.
    ///
    /// # Errors
    /// The content is not here, has more than `most` bytes, or was changed.
    pub fn read(&self, digest: &Digest, most: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        let read = self.blob(digest)?.take(most.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(Error::file("cannot read", &path))?;
        if bytes.len() as u64 > most {
            return Err(Error::damaged(digest.to_string(), format!("more than {most} bytes")));
        }
        let mut hasher = Hasher::of(digest)?;
        hasher.update(&bytes);
        hasher.check(digest)?;
        Ok(bytes)
    }

    /// Begins to receive content of known digest and size, or continues where it stopped. Waits for another
    /// process that receives the same. `None` where it is here already.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn incoming(&self, descriptor: &Descriptor) -> Result<Option<Incoming>> {
        loop {
            match self.incoming_by(descriptor, FlockOperation::LockExclusive)? {
                Taking::Here => return Ok(None),
                Taking::Ready(incoming) => return Ok(Some(*incoming)),
                Taking::Busy => (),
            }
        }
    }

    /// As [`Store::incoming`], but does not wait for another process.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn incoming_now(&self, descriptor: &Descriptor) -> Result<Taking> {
        self.incoming_by(descriptor, FlockOperation::NonBlockingLockExclusive)
    }

    fn incoming_by(&self, descriptor: &Descriptor, how: FlockOperation) -> Result<Taking> {
        let digest = descriptor.digest();
        let path = self.path("partial").join(format!("{}-{}", digest.algorithm(), digest.digest()));
        if self.has(digest) {
            return Ok(Taking::Here);
        }
        let file = lock_file(&path)?;
        match retry(|| flock(&file, how)) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Taking::Busy),
            locked => locked.map_err(Error::errno("cannot lock", &path))?,
        }
        // The previous holder of the lock may have finished, or given up, and removed the name.
        let same =
            |m: std::fs::Metadata| file.metadata().is_ok_and(|f| (f.dev(), f.ino()) == (m.dev(), m.ino()));
        if !std::fs::symlink_metadata(&path).is_ok_and(same) {
            return Ok(Taking::Busy);
        }
        let mut incoming = Incoming {
            store: self.clone(),
            path,
            file,
            hasher: Hasher::of(digest)?,
            length: 0,
            digest: digest.clone(),
            size: descriptor.size(),
        };
        if self.has(digest) {
            incoming.forget();
            return Ok(Taking::Here);
        }
        incoming.resume()?;
        Ok(Taking::Ready(Box::new(incoming)))
    }

    /// Receives content whose digest is not known in advance.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn spool(&self) -> Result<Spool> {
        let _guard = self.shared()?;
        let path = self.path("partial").join(format!("new-{}", unique()));
        let file = lock_file(&path)?;
        retry(|| flock(&file, FlockOperation::LockExclusive)).map_err(Error::errno("cannot lock", &path))?;
        Ok(Spool { store: self.clone(), path, file, hasher: Hasher::default(), length: 0, kept: false })
    }

    /// Stores small content, which is kept at least as long as `working` lives; returns its digest.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn put(&self, bytes: &[u8], working: &Working) -> Result<Digest> {
        let mut spool = self.spool()?;
        spool.write_all(bytes).map_err(Error::file("cannot write", &spool.path))?;
        spool.finish(working).map(|(digest, _)| digest)
    }

    /// Gives complete content its name. `file` is at `path`.
    fn keep(&self, file: &File, path: &PathBuf, digest: &Digest) -> Result<()> {
        let to = self.blob_path(digest);
        file.sync_all().map_err(Error::file("cannot write", path))?;
        std::fs::rename(path, &to).map_err(Error::file("cannot create", &to))?;
        super::sync_directory(to.parent().unwrap_or(&self.root))
    }
}

/// The outcome of beginning to receive content.
pub enum Taking {
    /// The content is here already.
    Here,
    /// Another process is receiving it.
    Busy,
    /// It can be received.
    Ready(Box<Incoming>),
}

/// Content of known digest that is being received. If this is dropped, the received part is kept for the next
/// time.
pub struct Incoming {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    digest: Digest,
    size: u64,
}

impl Incoming {
    /// Hashes the part that is there already.
    fn resume(&mut self) -> Result<()> {
        let length = self.file.metadata().map_err(Error::file("cannot read", &self.path))?.len();
        if length > self.size {
            return self.restart();
        }
        let mut buffer = vec![0; 1 << 17];
        loop {
            let n = self.file.read(&mut buffer).map_err(Error::file("cannot read", &self.path))?;
            if n == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..n]);
            self.length += n as u64;
        }
    }

    /// Number of bytes received.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Number of bytes expected.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Discards the received part.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn restart(&mut self) -> Result<()> {
        let again = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        again.map_err(Error::file("cannot write", &self.path))?;
        self.hasher = Hasher::of(&self.digest)?;
        self.length = 0;
        Ok(())
    }

    /// Appends received bytes.
    ///
    /// # Errors
    /// There are more bytes than announced, or the host fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.size - self.length {
            let size = self.size;
            self.forget();
            return Err(Error::damaged(
                self.digest.to_string(),
                format!("more than the announced {size} bytes arrive: they are discarded"),
            ));
        }
        self.file.write_all(bytes).map_err(Error::file("cannot write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Receives everything from a reader that ends with the content.
    ///
    /// # Errors
    /// As [`Incoming::write`]; or reading fails. `place` is the source for the message.
    pub fn read_from(&mut self, mut reader: impl Read, place: &str) -> Result<()> {
        let mut buffer = vec![0; 1 << 17];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.write(&buffer[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => (),
                Err(e) => return Err(Error::damaged(place, e.to_string())),
            }
        }
    }

    /// Verifies the received content and makes it permanent.
    ///
    /// # Errors
    /// The content is incomplete (then it is kept, to be continued), or does not match its digest (then it is
    /// discarded).
    pub fn finish(self) -> Result<()> {
        if self.length != self.size {
            let (length, size) = (self.length, self.size);
            return Err(Error::damaged(
                self.digest.to_string(),
                format!("it ends after {length} of {size} bytes; the next try goes on from there"),
            ));
        }
        if let Err(e) = self.hasher.clone().check(&self.digest) {
            self.forget();
            return Err(e);
        }
        self.store.keep(&self.file, &self.path, &self.digest)
    }

    fn forget(&self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// Content that is being received and whose digest is not known yet; discarded if this is dropped.
pub struct Spool {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    kept: bool,
}

impl Spool {
    /// Opens the received content from its start.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn reopen(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::file("cannot open", &self.path))
    }

    /// Compares the received content with a digest.
    ///
    /// # Errors
    /// The digests differ.
    pub fn check(&self, digest: &Digest) -> Result<()> {
        match self.hasher {
            Hasher::Sha256(_) if digest.algorithm().as_ref() == "sha256" => self.hasher.clone().check(digest),
            // Another algorithm was used while writing, so it is read again.
            _ => {
                let mut reading = Hashing::new(self.reopen()?, Hasher::of(digest)?);
                std::io::copy(&mut reading, &mut std::io::sink())
                    .map_err(Error::file("cannot read", &self.path))?;
                reading.finish().0.check(digest)
            }
        }
    }

    /// Makes it content of the store, which is kept at least as long as `working` lives; returns digest and
    /// size.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn finish(mut self, working: &Working) -> Result<(Digest, u64)> {
        let digest = crate::digest::parse(&std::mem::take(&mut self.hasher).finish())?;
        if !working.hold(&digest)? {
            self.store.keep(&self.file, &self.path, &digest)?;
            self.kept = true;
        }
        Ok((digest, self.length))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;
    use crate::digest;
    use oci_spec::image::MediaType;

    fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor::new(MediaType::ImageLayer, bytes.len() as u64, digest::of(bytes))
    }

    #[test]
    fn content_arrives_in_pieces_and_over_several_tries() {
        let scratch = Scratch::new();
        let d = descriptor(b"hello, world");
        let mut first = scratch.store.incoming(&d).unwrap().unwrap();
        first.write(b"hello").unwrap();
        let why = first.finish().unwrap_err().to_string();
        assert!(why.contains("5 of 12"), "{why}");
        assert!(!scratch.store.has(d.digest()));
        let mut second = scratch.store.incoming(&d).unwrap().unwrap();
        assert_eq!(second.length(), 5);
        second.read_from(&b", world"[..], "here").unwrap();
        second.finish().unwrap();
        assert_eq!(scratch.store.read(d.digest(), 100).unwrap(), b"hello, world");
        assert!(scratch.store.incoming(&d).unwrap().is_none(), "it is here");
        assert!(scratch.store.read(d.digest(), 5).is_err(), "a limit");
    }

    #[test]
    fn content_that_lies_is_not_kept() {
        let scratch = Scratch::new();
        let d = descriptor(b"hello");
        let mut long = scratch.store.incoming(&d).unwrap().unwrap();
        assert!(long.write(b"hello, world").unwrap_err().to_string().contains("announced"));
        drop(long);
        let mut other = scratch.store.incoming(&d).unwrap().unwrap();
        assert_eq!(other.length(), 0);
        other.write(b"hullo").unwrap();
        assert!(other.finish().unwrap_err().to_string().contains("does not match"));
        assert_eq!(scratch.store.incoming(&d).unwrap().unwrap().length(), 0);
    }

    #[test]
    fn two_takers_of_the_same_content_wait_for_each_other() {
        let scratch = Scratch::new();
        let d = descriptor(b"hello");
        let mut first = scratch.store.incoming(&d).unwrap().unwrap();
        let (store, wanted) = (scratch.store.clone(), d.clone());
        let other = std::thread::spawn(move || store.incoming(&wanted).unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!other.is_finished());
        first.write(b"hello").unwrap();
        first.finish().unwrap();
        assert!(other.join().unwrap(), "the second one finds it here");
    }

    #[test]
    fn a_spool_is_content_or_nothing() {
        let scratch = Scratch::new();
        let mut dropped = scratch.store.spool().unwrap();
        dropped.write_all(b"x").unwrap();
        drop(dropped);
        assert_eq!(scratch.store.path("partial").read_dir().unwrap().count(), 0);
        let working = scratch.store.working().unwrap();
        let digest = scratch.store.put(b"abc", &working).unwrap();
        assert_eq!(digest, digest::of(b"abc"));
        assert_eq!(scratch.store.put(b"abc", &working).unwrap(), digest, "twice");
        assert_eq!(scratch.store.path("partial").read_dir().unwrap().count(), 0);
    }

    #[test]
    fn content_that_someone_changed_is_noticed() {
        let scratch = Scratch::new();
        let digest = scratch.store.put(b"abc", &scratch.store.working().unwrap()).unwrap();
        std::fs::write(scratch.store.blob_path(&digest), b"abd").unwrap();
        assert!(scratch.store.read(&digest, 10).unwrap_err().to_string().contains("does not match"));
    }
}
