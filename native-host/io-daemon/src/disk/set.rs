//! One registered set, and writes to its files. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::facts::{Facts, Seen};
use super::fault;
use super::handles::{Handles, Key};
use super::layout::{Entry, Layout};
use super::path::FilePath;
use super::places::Places;
use super::record::Record;
use super::registration::Registration;
use super::root::Access;
use super::system_error::is_exhausted;
use super::writers::Writers;
use crate::error::{Error, Result};
use crate::mutex::lock;

/// The most bytes that one call writes. Linux keeps what a longer one writes in larger blocks of memory, and on a
/// virtual machine it may be slow to get them: 1 GiB took up to 2.5 s in the kernel with calls of 128 KiB or 1 MiB, and
/// 0.3 s with these, whatever memory there was.
const LONGEST_WRITE: usize = 32 * 1024;

/// A registered set.
pub struct FileSet {
    serial: u64,
    registration: Registration,
    handles: Arc<Handles>,
    pub(super) writers: Arc<Writers>,
    pub(super) places: Places,
    records: Mutex<HashMap<usize, Arc<Mutex<Record>>>>,
    /// Folders that got new entries since the last flush.
    pub(super) folders: Mutex<BTreeSet<PathBuf>>,
    /// Held while files are set aside and brought back.
    pub(super) preparing: Mutex<()>,
    /// Held by a flush, so that a second flush does not return before the first has synced its folders.
    pub(super) flushing: Mutex<()>,
    /// Cancelled when the root is dropped. Nothing more is done to the files then.
    revoked: CancellationToken,
    /// How often the root had come back when the files that are kept open were opened.
    returns: AtomicU64,
    made: Instant,
    /// When the set was used last, in milliseconds since it was made.
    used: AtomicU64,
    /// Whether the set is forgotten. Operations hold it for reading, so that forgetting waits for them.
    gone: RwLock<bool>,
}

/// The report of a file: its facts, `None` if no file exists, or why it cannot be looked at.
pub(super) type Outcome = Result<Option<Facts>>;

/// Adds a result to the outcome. Of two failures the worse one is kept.
pub(super) fn keep_worse(outcome: &mut Result<()>, one: Result<()>) {
    if let Err(error) = one {
        *outcome = Err(match std::mem::replace(outcome, Ok(())) {
            Ok(()) => error,
            Err(before) => fault::worse(before, error),
        });
    }
}

impl FileSet {
    pub(crate) fn new(
        serial: u64,
        registration: Registration,
        skipped: &[usize],
        handles: Arc<Handles>,
        writers: Arc<Writers>,
    ) -> Self {
        Self {
            serial,
            places: Places::new(
                registration.root.clone(),
                registration.aside.clone(),
                skipped,
                Arc::clone(&registration.rivals),
            ),
            registration,
            handles,
            writers,
            records: Mutex::default(),
            folders: Mutex::default(),
            preparing: Mutex::default(),
            flushing: Mutex::default(),
            revoked: CancellationToken::new(),
            returns: AtomicU64::new(0),
            made: Instant::now(),
            used: AtomicU64::new(0),
            gone: RwLock::new(false),
        }
    }

    /// Ends the use of the set, because its root is dropped. Operations in flight begin nothing more.
    pub(crate) fn revoke(&self) {
        self.revoked.cancel();
        self.close_all();
    }

    /// Fails if the set is revoked.
    pub(super) fn check_revoked(&self) -> Result<()> {
        if self.revoked.is_cancelled() { Err(Error::UnknownSet) } else { Ok(()) }
    }

    /// Waits for something on behalf of the set, until the set is revoked.
    ///
    /// # Errors
    /// Those of the work; `UnknownSet`.
    pub async fn unless_revoked<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.revoked.cancelled() => Err(Error::UnknownSet),
            done = work => done,
        }
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Notes that a request used the set.
    pub(crate) fn note_used(&self) {
        self.used.store(self.made.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long no request has used the set.
    pub(crate) fn idle(&self) -> Duration {
        self.made.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The files of the set.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.registration.layout
    }

    /// Begins an operation: the set is not forgotten for as long as the guard lives. Fails if the set or its root is
    /// gone. Files that were kept open while the root was away are closed, because they keep a drive from being
    /// unmounted, or belong to an earlier mount.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Err(Error::UnknownSet);
        }
        self.check_revoked()?;
        let Ok(returns) = self.registration.root.check() else {
            self.close_all();
            return Err(Error::RootGone);
        };
        if self.returns.swap(returns, Ordering::Relaxed) != returns {
            self.close_all();
        }
        Ok(gone)
    }

    fn close_all(&self) {
        self.handles.close(|key| key.set == self.serial);
    }

    fn key(&self, file: usize) -> Key {
        Key { set: self.serial, file }
    }

    pub(super) fn record(&self, file: usize) -> Arc<Mutex<Record>> {
        Arc::clone(lock(&self.records).entry(file).or_default())
    }

    /// The record of a file that was claimed or moved before.
    pub(super) fn known_record(&self, file: usize) -> Option<Arc<Mutex<Record>>> {
        lock(&self.records).get(&file).cloned()
    }

    /// The path of a file on this disk, and its entry; `None` for padding.
    ///
    /// # Errors
    /// `Unavailable` and `RootGone` if its name depends on what lies on the disk, and that cannot be looked at.
    pub(crate) fn file(&self, index: usize) -> Result<Option<(FilePath, &Entry)>> {
        let entry = &self.layout().entries()[index];
        let Some(registered) = &entry.path else { return Ok(None) };
        let found = self.with_room(|| self.places.names.find(index, registered));
        Ok(Some((found.map_err(|error| fault::of(registered.as_str(), &error))?, entry)))
    }

    /// All paths that a file may have; none for padding.
    pub(super) fn paths_of(&self, index: usize) -> Vec<FilePath> {
        let registered = self.layout().entries()[index].path.as_ref();
        registered.map_or_else(Vec::new, |registered| self.places.names.all(index, registered))
    }

    /// Whether a path may be one of a file.
    pub(super) fn may_lie_at(&self, index: usize, path: &FilePath) -> bool {
        let registered = self.layout().entries()[index].path.as_ref();
        registered.is_some_and(|registered| self.places.names.may_be(index, registered, path))
    }

    /// Notes that the file has another path from now on.
    pub(super) fn move_to(&self, file: usize, path: FilePath) {
        self.close(file);
        self.places.names.rename(file, path);
    }

    /// What lies where the file does, with its path.
    pub(super) fn look(&self, file: usize, path: &FilePath) -> Result<Option<(Seen, FilePath)>> {
        self.places.look(file, path).map_err(|error| fault::of(path.as_str(), &error))
    }

    /// The report of a file; `None` if no file exists, and for padding.
    pub(crate) fn facts(&self, file: usize) -> Result<Option<Facts>> {
        let _here = self.enter()?;
        let Some((path, _)) = self.file(file)? else { return Ok(None) };
        self.with_room(|| self.places.facts(file, &path)).map_err(|error| fault::of(path.as_str(), &error))
    }

    /// Calls `open`. If too many files are open, closes all files that are kept open and calls it once more.
    pub(super) fn with_room<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        open().or_else(|error| {
            if !is_exhausted(&error) {
                return Err(error);
            }
            self.handles.close(|_| true);
            open()
        })
    }

    /// The open file, or `NotFound`.
    pub(crate) fn open(&self, file: usize, path: &FilePath, access: Access) -> io::Result<Arc<File>> {
        let key = self.key(file);
        if let Some(open) = self.handles.get(key, access) {
            return Ok(open);
        }
        let opened = self.with_room(|| self.places.open(file, path, access))?;
        Ok(self.handles.put(key, access, opened))
    }

    /// Keeps a file open that was opened for writing.
    pub(super) fn keep_open(&self, file: usize, open: File) -> Arc<File> {
        self.handles.put(self.key(file), Access::ReadWrite, open)
    }

    /// The open file that the path leads to. If the file that was kept open no longer lies there, the path is opened
    /// again.
    pub(super) fn open_there(
        &self,
        file: usize,
        path: &FilePath,
        access: Access,
        there: &Seen,
    ) -> io::Result<Arc<File>> {
        let open = self.open(file, path, access)?;
        if Seen::of(&open)?.identity == there.identity {
            return Ok(open);
        }
        self.close(file);
        self.open(file, path, access)
    }

    pub(crate) fn close(&self, file: usize) {
        let key = self.key(file);
        self.handles.close(|one| *one == key);
    }

    /// Forgets what was claimed and reserved, for a client that registers the set again and knows only what is on disk
    /// now. Waits for writes in flight.
    pub(crate) fn start_anew(&self) {
        let known: Vec<_> = lock(&self.records).iter().map(|(file, record)| (*file, Arc::clone(record))).collect();
        for (file, record) in known {
            let mut record = lock(&record);
            self.close(file);
            record.release();
        }
        self.writers.release_all(self.serial);
        self.places.start_anew();
    }

    /// Writes `bytes` from `begin` of the set on. Every file is tried; the fault that lasts longest is returned.
    ///
    /// # Errors
    /// `NotClaimed`, `FileChanged`, `Refused`, `DiskFull`, `Unavailable`; `UnknownSet` if the set is gone by now.
    pub(crate) fn write(&self, begin: u64, bytes: &[u8]) -> Result<()> {
        let _here = self.enter()?;
        let range = begin..begin + bytes.len() as u64;
        for span in self.layout().spans(range.clone()) {
            let Some((path, _)) = self.file(span.file)? else { continue };
            match self.known_record(span.file) {
                Some(shared) => lock(&shared).check_claimed(path.as_str())?,
                None => return Err(Error::NotClaimed { path: path.as_str().to_owned() }),
            }
        }
        let mut outcome = Ok(());
        for span in self.layout().spans(range) {
            self.check_revoked()?;
            let part = &bytes[span.at as usize..(span.at + span.length) as usize];
            keep_worse(&mut outcome, self.write_part(span.file, span.offset, part));
        }
        outcome
    }

    fn write_part(&self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        // The lock on the record is held during the write too: the system writes one part of a file at a time, so a
        // second thread would only spin until the first is done.
        let Some(shared) = self.known_record(file) else { return Ok(()) };
        let mut record = lock(&shared);
        // Looked up again, because the file may have been moved since.
        let Some((path, entry)) = self.file(file)? else { return Ok(()) };
        let blame = |error: &io::Error| fault::of(path.as_str(), error);
        let open = self.open_claimed(file, &path, &mut record)?;
        // A file set aside never gets its whole length.
        if self.registration.allocate && !record.allocated && !self.places.is_skipped(file) {
            reserve_room(&open, entry.length).map_err(|error| blame(&error))?;
            record.allocated = true;
        }
        record.dirty = true;
        write_at(&open, bytes, offset).map_err(|error| blame(&error))?;
        record.wrote_to(offset + bytes.len() as u64);
        Ok(())
    }

    /// Opens a claimed file for writing.
    ///
    /// # Errors
    /// `NotClaimed`; `FileChanged` if the path now leads to another file, to none, or to a shorter one.
    fn open_claimed(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Arc<File>> {
        let there = self.check_there(file, path, record)?;
        let opened =
            self.open_there(file, path, Access::ReadWrite, &there).and_then(|open| Ok((Seen::of(&open)?, open)));
        let (seen, open) = opened.map_err(|error| fault::of(path.as_str(), &error))?;
        record.check(path.as_str(), Some(&seen))?;
        Ok(open)
    }

    /// What the path leads to. Fails unless that is what was claimed and written.
    pub(super) fn check_there(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Seen> {
        record.check_claimed(path.as_str())?;
        let there = self.look(file, path)?.map(|(seen, _)| seen);
        record.check(path.as_str(), there.as_ref())?;
        there.ok_or_else(|| record.end(path.as_str(), fault::DELETED))
    }

    /// Forgets the set after the operations in flight, and lets others write to its files.
    ///
    /// # Errors
    /// `UnknownSet` if it was forgotten before.
    pub(crate) fn forget(&self) -> Result<()> {
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Err(Error::UnknownSet);
        }
        *gone = true;
        self.close_all();
        self.writers.release_all(self.serial);
        Ok(())
    }
}

impl Drop for FileSet {
    /// An operation that was in flight when the set was revoked or forgotten may have opened or reserved a file since.
    fn drop(&mut self) {
        self.close_all();
        self.writers.release_all(self.serial);
    }
}

/// Writes all bytes from an offset on, in calls of at most `LONGEST_WRITE` bytes.
fn write_at(file: &File, bytes: &[u8], mut offset: u64) -> io::Result<()> {
    for part in bytes.chunks(LONGEST_WRITE) {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

/// Allocates the whole length of a file on the disk.
fn reserve_room(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        // If the file system cannot allocate ahead, it does so when the bytes are written.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    use crate::disk::claim::{Claim, How};
    use crate::disk::rivals::{Claimant, Rivals};

    /// A set of files of four bytes, with a folder for skipped ones and one handle for all of them.
    pub(in crate::disk) fn set_of(directory: &Path, names: &[impl AsRef<str>]) -> FileSet {
        set_with_rivals(directory, names, Vec::new())
    }

    /// The same, with groups of rivals.
    pub(in crate::disk) fn set_with_rivals(
        directory: &Path,
        names: &[impl AsRef<str>],
        groups: Vec<Vec<Claimant>>,
    ) -> FileSet {
        let files = names.iter().map(|name| {
            let components: Vec<_> = name.as_ref().split('/').collect();
            (Some(FilePath::new(&components).unwrap()), 4)
        });
        let layout = Layout::new(files).unwrap();
        let rivals = Rivals::new(&layout, groups).unwrap();
        let registration = Registration::new("root".to_owned(), directory.to_owned(), layout, false)
            .with_rivals(rivals)
            .with_aside(FilePath::new(&["hidden", "parts"]).unwrap())
            .unwrap();
        FileSet::new(1, registration, &[], Arc::new(Handles::new(1)), Arc::default())
    }

    /// Makes all files of a set.
    pub(in crate::disk) fn make_all(set: &FileSet) {
        let files: Vec<_> = (0..set.layout().entries().len()).collect();
        assert_eq!(set.reserve(&files), Ok(Ok(())));
        for file in files {
            set.claim(&Claim { file, how: How::New }).unwrap();
        }
    }

    #[test]
    fn a_set_that_is_dropped_lets_others_write() {
        let directory = tempfile::tempdir().unwrap();
        let writers = Arc::new(Writers::default());
        let registration = || Registration::new("root".into(), directory.path().to_owned(), one_file(), false);
        let set = |serial| FileSet::new(serial, registration(), &[], Arc::new(Handles::new(1)), Arc::clone(&writers));
        let (first, second) = (set(1), set(2));
        assert_eq!(first.reserve(&[0]), Ok(Ok(())));
        assert!(second.reserve(&[0]).unwrap().is_err());

        drop(first);

        assert_eq!(second.reserve(&[0]), Ok(Ok(())));
    }

    fn one_file() -> Layout {
        Layout::new([(FilePath::new(&["a"]).ok(), 4)]).unwrap()
    }
}
