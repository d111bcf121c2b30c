//! A private layer: writes are kept in a temporary file and forgotten at the end; the disk below is never written.

use super::host_file::HostFile;
use crate::ImageError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use trine_base::{BlockBackend, BlockError, BlockSizes};

/// Size in bytes of the unit in which writes are kept.
const CHUNK: u64 = 4096;
/// The largest disk that can have a layer, in bytes: the map of its chunks has a bit for each.
const LARGEST: u64 = 64 << 40;

/// A private layer over another disk. The temporary file has no name, so that it ends with its process however that
/// ends, and is as large as what was written.
pub struct PrivateLayer {
    base: Arc<dyn BlockBackend>,
    file: HostFile,
    /// A bit for each chunk that is in the file. A bit that is set stays set.
    kept: Box<[AtomicU64]>,
    /// Held exclusively by writers that set bits: what surrounds their bytes in a chunk is copied from the disk below,
    /// which must not undo another write there. Writers to chunks that are in the file share it.
    copying: RwLock<()>,
}

/// The directory of temporary files that may be large: unlike `/tmp`, `/var/tmp` is not in memory.
fn directory() -> PathBuf {
    std::env::var_os("TMPDIR").filter(|d| !d.is_empty()).map_or("/var/tmp".into(), PathBuf::from)
}

/// Creates a file without a name.
fn nameless(directory: &Path) -> io::Result<File> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options
    };
    match options().custom_flags(libc::O_TMPFILE).open(directory) {
        // The file system cannot make one: it gets a name for a moment.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            static NUMBER: AtomicU64 = AtomicU64::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!(".trine-layer-{}-{number}", std::process::id()));
            let file = options().create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        result => result,
    }
}

/// Splits `offset .. offset + len` where chunks begin, and joins neighbours of which `same` says the same; gives each
/// part's offset and length, and what `same` says.
fn runs(offset: u64, len: u64, same: impl Fn(u64) -> bool) -> impl Iterator<Item = (u64, u64, bool)> {
    let (mut at, end) = (offset, offset + len);
    std::iter::from_fn(move || {
        let (start, value) = (at, same(at / CHUNK));
        while at < end && (at == start || same(at / CHUNK) == value) {
            at = (at / CHUNK + 1) * CHUNK;
        }
        at = at.min(end);
        (start < end).then_some((start, at - start, value))
    })
}

impl PrivateLayer {
    /// Creates a layer over `base`.
    ///
    /// # Errors
    /// No temporary file can be created, or the disk is larger than [`LARGEST`].
    pub fn over(base: Arc<dyn BlockBackend>) -> Result<PrivateLayer, ImageError> {
        if base.size() > LARGEST {
            let what = format!("a disk with a private layer has at most {} TiB", LARGEST >> 40);
            return Err(ImageError::Other(what));
        }
        let directory = directory();
        let what = "cannot create a temporary file for what is written to the disk in";
        let error = ImageError::file(what, &directory);
        let file = nameless(&directory).and_then(|file| {
            file.set_len(base.size())?;
            HostFile::new(file, &directory, true)
        });
        let file = file.map_err(error)?;
        let words = base.size().div_ceil(CHUNK).div_ceil(64) as usize;
        // Zeroed by the host, which gives memory only to those parts of the map that are not zero.
        let kept = Box::<[AtomicU64]>::new_zeroed_slice(words);
        // SAFETY: an atomic number of which all bytes are zero is valid.
        let kept = unsafe { kept.assume_init() };
        Ok(PrivateLayer { base, file, kept, copying: RwLock::new(()) })
    }

    fn is_kept(&self, chunk: u64) -> bool {
        let word = self.kept.get((chunk / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Acquire) >> (chunk % 64) & 1 != 0)
    }

    fn keep(&self, chunk: u64) {
        if let Some(word) = self.kept.get((chunk / 64) as usize) {
            word.fetch_or(1 << (chunk % 64), Ordering::Release);
        }
    }

    fn is_all_kept(&self, offset: u64, len: u64) -> bool {
        len == 0 || (offset / CHUNK..=(offset + len - 1) / CHUNK).all(|chunk| self.is_kept(chunk))
    }

    /// Copies the chunk that holds byte `at` from the disk below unless it is in the file.
    fn copy(&self, at: u64) -> Result<(), BlockError> {
        let chunk = at / CHUNK;
        if self.is_kept(chunk) {
            return Ok(());
        }
        let start = chunk * CHUNK;
        let mut buf = [0; CHUNK as usize];
        let buf = &mut buf[..(self.size() - start).min(CHUNK) as usize];
        self.base.read_at(start, buf)?;
        self.file.write_at(start, buf)?;
        self.keep(chunk);
        Ok(())
    }

    /// Calls `write`, which changes these bytes in the file and no others, and keeps their chunks.
    fn change(
        &self,
        offset: u64,
        len: u64,
        write: impl Fn() -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, len)?;
        if len == 0 {
            return Ok(());
        }
        {
            let _shared = self.copying.read().unwrap_or_else(PoisonError::into_inner);
            if self.is_all_kept(offset, len) {
                return write();
            }
        }
        let _exclusive = self.copying.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset + len;
        // Chunks that are changed in part, at both ends; the disk's last chunk may be short.
        if !offset.is_multiple_of(CHUNK) {
            self.copy(offset)?;
        }
        if !end.is_multiple_of(CHUNK) && end < self.size() {
            self.copy(end - 1)?;
        }
        write()?;
        (offset / CHUNK..=(end - 1) / CHUNK).for_each(|chunk| self.keep(chunk));
        Ok(())
    }
}

impl BlockBackend for PrivateLayer {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn block_sizes(&self) -> BlockSizes {
        BlockSizes { physical: CHUNK as u32, discard: self.file.block.max(CHUNK as u32) }
    }

    fn format(&self) -> &'static str {
        match self.base.format() {
            "qcow2" => "qcow2, private layer",
            _ => "raw, private layer",
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, buf.len() as u64)?;
        let mut rest = buf;
        for (at, len, kept) in runs(offset, rest.len() as u64, |chunk| self.is_kept(chunk)) {
            let (part, tail) = rest.split_at_mut(len as usize);
            match kept {
                true => self.file.read_at(at, part)?,
                false => self.base.read_at(at, part)?,
            }
            rest = tail;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.change(offset, buf.len() as u64, || Ok(self.file.write_at(offset, buf)?))
    }

    /// There is nothing to do: the file is lost with the host.
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, len)?;
        // What is not in the file takes no space.
        for (at, len, _) in runs(offset, len, |chunk| self.is_kept(chunk)).filter(|(.., kept)| *kept) {
            self.file.discard(at, len)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, _may_unmap: bool) -> Result<(), BlockError> {
        self.change(offset, len, || Ok(self.file.zero(offset, len, true)?))
    }
}
