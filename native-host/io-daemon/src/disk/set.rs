//! One registered set: writes and flushes its files. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
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
use super::rivals::Rivals;
use super::root::{Access, Root, is_exhausted};
use super::writers::Writers;
use crate::error::{Error, Result};
use crate::mutex::lock;

/// What a set is registered with. Two sets with equal registrations are the same set.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    pub(crate) root_name: String,
    pub(crate) root: Root,
    pub(crate) layout: Layout,
    pub(crate) allocate: bool,
    rivals: Arc<Rivals>,
    aside: Option<FilePath>,
    pub(crate) client: Client,
}

/// Who registered a set, as the client names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The torrent that the set is of; the same for all its sets.
    pub torrent: Option<String>,
    /// The program that registered the set. It uses one name for all its sets, and another one after it was started
    /// again.
    pub owner: Option<String>,
}

impl Client {
    /// Whether the other client seems to be an earlier program that left its set of the same torrent behind.
    pub(crate) fn succeeds(&self, other: &Self) -> bool {
        self.torrent.is_some() && self.torrent == other.torrent && self.owner != other.owner
    }
}

impl Registration {
    /// Files laid out below the root with this name. `allocate` allocates the whole length of a file at its first
    /// write.
    #[must_use]
    pub fn new(root_name: String, root: impl Into<Root>, layout: Layout, allocate: bool) -> Self {
        let (root, rivals) = (root.into(), Arc::default());
        Self { root_name, root, layout, allocate, rivals, aside: None, client: Client::default() }
    }

    /// The same, on behalf of a client.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The same, with the other names that its files may have.
    #[must_use]
    pub fn with_rivals(mut self, rivals: Rivals) -> Self {
        self.rivals = Arc::new(rivals);
        self
    }

    /// The same, with a folder below the root in which files are set aside that nobody wants. To be called after
    /// `with_rivals`.
    ///
    /// # Errors
    /// One sentence if a file of the set may lie in that folder, because another file may be set aside there.
    pub fn with_aside(mut self, folder: FilePath) -> std::result::Result<Self, String> {
        let registered = self.layout.entries().iter().filter_map(|entry| entry.path.as_ref());
        let inside = registered.chain(self.rivals.paths()).find(|path| path.is_in(&folder));
        if let Some(path) = inside {
            return Err(format!("the path {:?} lies in the folder for files set aside", path.as_str()));
        }
        self.aside = Some(folder);
        Ok(self)
    }
}

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
    flushing: Mutex<()>,
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
pub(super) fn note(outcome: &mut Result<()>, one: Result<()>) {
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
            note(&mut outcome, self.write_part(span.file, span.offset, part));
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
        open.write_all_at(bytes, offset).map_err(|error| blame(&error))?;
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
    fn check_there(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Seen> {
        record.check_claimed(path.as_str())?;
        let there = self.look(file, path)?.map(|(seen, _)| seen);
        record.check(path.as_str(), there.as_ref())?;
        there.ok_or_else(|| record.end(path.as_str(), fault::DELETED))
    }

    /// Waits until what was written to these files is on disk, with the new entries of folders. Returns the outcome for
    /// each file: its facts, or `None` for padding. A file that fails does not keep others from being flushed. The
    /// first flush syncs a file in any case, because an earlier set may have written it.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub(crate) fn flush(&self, files: &[usize]) -> Result<Vec<Outcome>> {
        let _here = self.enter()?;
        let _turn = lock(&self.flushing);
        let synced: Vec<_> = files.iter().map(|file| self.sync(*file)).collect();
        let lost = self.sync_folders();
        let outcomes = files.iter().zip(synced).map(|(&file, synced)| {
            synced?;
            let Some((path, _)) = self.file(file)? else { return Ok(None) };
            let folders = self.places.folders(file, &path);
            let is_in = |folder: &Path| folder.as_os_str().is_empty() || folders.iter().any(|one| one == folder);
            if let Some((_, error)) = lost.iter().find(|(folder, _)| is_in(folder)) {
                return Err(error.clone());
            }
            let facts = self.places.facts(file, &path).map_err(|error| fault::of(path.as_str(), &error))?;
            facts.map(Some).ok_or_else(|| Error::NotStored { path: path.as_str().to_owned() })
        });
        Ok(outcomes.collect())
    }

    /// Syncs the folders that got entries. Returns those that failed, and keeps them for the next flush.
    fn sync_folders(&self) -> Vec<(PathBuf, Error)> {
        let folders = std::mem::take(&mut *lock(&self.folders));
        let mut lost = Vec::new();
        for folder in folders {
            match self.with_room(|| self.registration.root.sync_folder(&folder)) {
                Ok(()) => {}
                // A folder that is gone has no entries to sync.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    lost.push((folder.clone(), fault::of_sync(&folder.to_string_lossy(), &error)));
                    lock(&self.folders).insert(folder);
                }
            }
        }
        lost
    }

    /// Syncs a file that was written, or that an earlier set may have written.
    fn sync(&self, file: usize) -> Result<()> {
        if self.layout().entries()[file].path.is_none() {
            return Ok(());
        }
        let shared = self.record(file);
        let (open, path) = {
            let mut record = lock(&shared);
            let Some((path, _)) = self.file(file)? else { return Ok(()) };
            let blame = |error: io::Error| match error.kind() {
                io::ErrorKind::NotFound => Error::NotStored { path: path.as_str().to_owned() },
                _ => fault::of(path.as_str(), &error),
            };
            if record.is_claimed() || record.has_ended() {
                self.check_there(file, &path, &mut record)?;
            }
            if !record.needs_sync() {
                return Ok(());
            }
            let open = self.open(file, &path, Access::Read).map_err(blame)?;
            if record.begin_sync() {
                let mut folders = lock(&self.folders);
                folders.insert(PathBuf::new());
                folders.extend(self.places.folders(file, &path));
            }
            (open, path)
        };
        // Not under the lock, because a sync takes long and writes to the file go on meanwhile.
        open.sync_data().map_err(|error| {
            lock(&shared).dirty = true;
            fault::of_sync(path.as_str(), &error)
        })
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
    use crate::disk::claim::{Claim, How};
    use crate::disk::rivals::Claimant;

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

    #[test]
    fn a_file_is_synced_once_in_any_case_and_then_when_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("found"), "mine").unwrap();
        let set = set_of(directory.path(), &["a/b/made", "found", "missing"]);
        let needs_sync = |file| lock(&set.record(file)).needs_sync();
        let folders = || lock(&set.folders).iter().cloned().collect::<Vec<_>>();
        assert_eq!(set.reserve(&[0]), Ok(Ok(())));
        set.claim(&Claim { file: 0, how: How::New }).unwrap();
        assert_eq!(folders(), [Path::new(""), Path::new("a"), Path::new("a/b")]);
        assert!(needs_sync(0) && needs_sync(1));

        let outcomes = set.flush(&[0, 1, 2]).unwrap();

        let lengths: Vec<_> =
            outcomes.iter().map(|one| one.as_ref().map(|facts| facts.as_ref().unwrap().length)).collect();
        assert_eq!(lengths, [Ok(0), Ok(4), Err(&Error::NotStored { path: "missing".to_owned() })]);
        assert!(!needs_sync(0) && !needs_sync(1) && folders().is_empty());
        set.write(0, b"abcd").unwrap();
        assert!(needs_sync(0) && !needs_sync(1));
    }
}
