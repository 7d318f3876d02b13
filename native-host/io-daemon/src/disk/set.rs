//! One registered set: its files written and taken away. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::fault;
use super::handles::{Handles, Key};
use super::layout::{Entry, Layout};
use super::lock;
use super::path::FilePath;
use super::places::Places;
use super::record::Record;
use super::root::{Access, Root};
use crate::error::{Error, Result};

/// What a set is registered with. The same again is the same set.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    pub(crate) root_name: String,
    pub(crate) root: Root,
    pub(crate) layout: Layout,
    pub(crate) allocate: bool,
    aside: Option<FilePath>,
}

impl Registration {
    /// Files laid out below the root of that name. `allocate` reserves a file's whole length at its first write.
    #[must_use]
    pub fn new(root_name: String, root: impl Into<Root>, layout: Layout, allocate: bool) -> Self {
        Self { root_name, root: root.into(), layout, allocate, aside: None }
    }

    /// The same with a folder below the root in which files are set aside that nobody wants.
    ///
    /// # Errors
    /// One sentence where a file of the set lies in that folder: it might be where another one is set aside.
    pub fn with_aside(mut self, folder: FilePath) -> std::result::Result<Self, String> {
        let mut paths = self.layout.entries().iter().filter_map(|entry| entry.path.as_ref());
        if let Some(path) = paths.find(|path| path.is_in(&folder)) {
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
    pub(super) places: Places,
    records: Mutex<HashMap<usize, Arc<Mutex<Record>>>>,
    /// Folders that got new entries since the last flush, as `Root::make` tells them.
    pub(super) folders: Mutex<BTreeSet<PathBuf>>,
    /// Held while files are set aside and brought back.
    pub(super) preparing: Mutex<()>,
    /// Held by a flush, so that a second one does not return before the first has synced what it took. Says whether what
    /// was there before this registration is synced as well.
    flushing: Mutex<bool>,
    /// Cancelled when the root is dropped: nothing more is done to its files.
    revoked: CancellationToken,
    /// How often the root had come back when the files kept open were opened.
    returns: AtomicU64,
    /// Whether the set is forgotten. Operations hold it for reading, so that removal waits for them.
    gone: RwLock<bool>,
}

/// Keeps the worse of two failures.
pub(super) fn note(outcome: &mut Result<()>, one: Result<()>) {
    if let Err(error) = one {
        *outcome = Err(match std::mem::replace(outcome, Ok(())) {
            Ok(()) => error,
            Err(before) => fault::worse(before, error),
        });
    }
}

impl FileSet {
    pub(crate) fn new(serial: u64, registration: Registration, skipped: &[usize], handles: Arc<Handles>) -> Self {
        Self {
            serial,
            places: Places::new(registration.root.clone(), registration.aside.clone(), skipped),
            registration,
            handles,
            records: Mutex::default(),
            folders: Mutex::default(),
            preparing: Mutex::default(),
            flushing: Mutex::default(),
            revoked: CancellationToken::new(),
            returns: AtomicU64::new(0),
            gone: RwLock::new(false),
        }
    }

    /// Ends the use of the set: its root is dropped. What an operation in flight has not begun is not done.
    pub(crate) fn revoke(&self) {
        self.revoked.cancel();
        self.close_all();
    }

    /// Fails where the set is revoked.
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

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Where the files lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.registration.layout
    }

    /// Keeps the set from being removed for as long as the guard lives, where its root is there. Files that were kept open
    /// over an absence of the root are closed: they hold a drive that was to go, or are not those of the one that came.
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

    /// A file with a place on disk; `None` for padding.
    pub(crate) fn file(&self, index: usize) -> Option<(&FilePath, &Entry)> {
        let entry = &self.layout().entries()[index];
        entry.path.as_ref().map(|path| (path, entry))
    }

    /// Opens, and once more with all kept files closed where too many are open.
    pub(super) fn with_room<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        open().or_else(|error| match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => {
                self.handles.close(|_| true);
                open()
            }
            _ => Err(error),
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

    pub(crate) fn close(&self, file: usize) {
        let key = self.key(file);
        self.handles.close(|one| *one == key);
    }

    /// Forgets what was expected of the files, for one who registers the set again and knows only what is on disk now: a
    /// page that was reloaded said nothing when it went. Waits for writes in flight.
    pub(crate) fn start_anew(&self) {
        let known: Vec<_> = lock(&self.records).iter().map(|(file, record)| (*file, Arc::clone(record))).collect();
        for (file, record) in known {
            let mut record = lock(&record);
            self.close(file);
            record.start_anew();
        }
        self.places.start_anew();
    }

    /// The open file to be written; `None` where it is not there and need not be.
    fn open_kept(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Option<Arc<File>>> {
        match self.open(file, path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && record.made => {
                Err(record.refuse(path.as_str(), fault::DELETED))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault::of(path.as_str(), &error)),
            Ok(open) => {
                record.made = true;
                Ok(Some(open))
            }
        }
    }

    /// The open file, made with its folders where this registration has not written it before.
    pub(super) fn open_or_make(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Arc<File>> {
        if let Some(open) = self.open_kept(file, path, record)? {
            return Ok(open);
        }
        let made = self.with_room(|| self.places.make(file, path));
        let made = made.map_err(|error| fault::of(path.as_str(), &error))?;
        lock(&self.folders).extend(made.folders);
        record.made = true;
        record.dirty = true;
        Ok(self.handles.put(self.key(file), Access::ReadWrite, made.file))
    }

    /// Writes `bytes` from `begin` of the set on. Every file is tried; the fault that lasts longest is told.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`; `UnknownSet` where the set is gone by now.
    pub(crate) fn write(&self, begin: u64, bytes: &[u8]) -> Result<()> {
        let _here = self.enter()?;
        let mut outcome = Ok(());
        for span in self.layout().spans(begin..begin + bytes.len() as u64) {
            self.check_revoked()?;
            let part = &bytes[span.at as usize..(span.at + span.length) as usize];
            note(&mut outcome, self.write_part(span.file, span.offset, part));
        }
        outcome
    }

    fn write_part(&self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some((path, entry)) = self.file(file) else { return Ok(()) };
        let blame = |error: &io::Error| fault::of(path.as_str(), error);
        let shared = self.record(file);
        // Held for the write as well: the system writes one part of a file at a time, and a second thread would only spin
        // until the first is done.
        let mut record = lock(&shared);
        record.check_refused(path.as_str())?;
        let open = self.open_or_make(file, path, &mut record)?;
        let found = open.metadata().map_err(|error| blame(&error))?;
        record.check(path.as_str(), &found)?;
        // Nobody wants all of a file that is set aside.
        let allocate = self.registration.allocate && !self.places.is_skipped(file);
        record.size(&open, &found, entry.length, allocate).map_err(|error| blame(&error))?;
        let written = open.write_all_at(bytes, offset);
        record.dirty = true;
        written.map_err(|error| blame(&error))?;
        record.wrote_to(offset + bytes.len() as u64);
        Ok(())
    }

    /// Waits until everything written is on disk, and the folders' new entries; the first time also what was found there.
    ///
    /// # Errors
    /// As `write`; a file whose sync failed is refused from then on.
    pub(crate) fn flush(&self) -> Result<()> {
        let _here = self.enter()?;
        let mut found_is_synced = lock(&self.flushing);
        let mut outcome = Ok(());
        if !*found_is_synced {
            note(&mut outcome, self.sync_found());
            *found_is_synced = outcome.is_ok();
        }
        let mut touched: Vec<_> =
            lock(&self.records).iter().map(|(file, record)| (*file, Arc::clone(record))).collect();
        touched.sort_unstable_by_key(|(file, _)| *file);
        for (file, record) in touched {
            note(&mut outcome, self.sync(file, &record));
        }
        let folders = std::mem::take(&mut *lock(&self.folders));
        for folder in folders {
            match self.with_room(|| self.registration.root.sync_folder(&folder)) {
                Ok(()) => {}
                // Nothing is left in it to keep.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    note(&mut outcome, Err(fault::of(&folder.to_string_lossy(), &error)));
                    lock(&self.folders).insert(folder);
                }
            }
        }
        outcome
    }

    /// Syncs the files that are there, and leaves their folders to the flush: an earlier registration may have written them
    /// and synced nothing, as one does whose daemon was killed. What cannot be opened holds no byte for anybody.
    fn sync_found(&self) -> Result<()> {
        let mut outcome = Ok(());
        let mut folders = BTreeSet::new();
        for (file, entry) in self.layout().entries().iter().enumerate() {
            let Some(path) = &entry.path else { continue };
            let Ok(open) = self.with_room(|| self.places.open(file, path, Access::Read)) else { continue };
            folders.insert(PathBuf::new());
            folders.extend(self.places.folders(file, path));
            if open.sync_data().is_err() {
                let lost = lock(&self.record(file)).refuse(path.as_str(), fault::LOST);
                note(&mut outcome, Err(lost));
            }
        }
        lock(&self.folders).extend(folders);
        outcome
    }

    fn sync(&self, file: usize, shared: &Mutex<Record>) -> Result<()> {
        let Some((path, _)) = self.file(file) else { return Ok(()) };
        let open = {
            let mut record = lock(shared);
            record.check_refused(path.as_str())?;
            if !record.dirty {
                return Ok(());
            }
            let Some(open) = self.open_kept(file, path, &mut record)? else {
                record.dirty = false;
                return Ok(());
            };
            let found = open.metadata().map_err(|error| fault::of(path.as_str(), &error))?;
            record.check(path.as_str(), &found)?;
            record.dirty = false;
            open
        };
        // Not under the lock: a sync takes long, and writes of the file go on meanwhile.
        open.sync_data().map_err(|_| lock(shared).refuse(path.as_str(), fault::LOST))
    }

    /// Forgets the set after the operations in flight; with `files`, takes its files and then its empty folders away.
    ///
    /// # Errors
    /// As `write`, and then the set is not forgotten, unless it was before. A file that is not there is no error.
    pub(crate) fn remove(&self, files: bool) -> Result<()> {
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            // What lies there now may be a successor's.
            return Err(Error::UnknownSet);
        }
        self.close_all();
        if files {
            self.check_revoked()?;
            self.remove_files()?;
        }
        *gone = true;
        Ok(())
    }

    fn remove_files(&self) -> Result<()> {
        let root = &self.registration.root;
        let mut outcome = Ok(());
        let mut folders = BTreeSet::new();
        let mut finder = self.places.finder();
        for path in self.layout().entries().iter().filter_map(|entry| entry.path.as_ref()) {
            let removed = match root.remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            let lies_aside = self.with_room(|| finder.lies_aside(path));
            let removed_aside = lies_aside.and_then(|lies| if lies { self.places.remove(path) } else { Ok(()) });
            for one in [removed, removed_aside] {
                note(&mut outcome, one.map_err(|error| fault::of(path.as_str(), &error)));
            }
            folders.extend(path.folders());
        }
        // Backwards, a folder comes after all that lie in it. One that is not empty, or no folder, is not ours to take.
        for folder in folders.into_iter().rev() {
            let _ = root.remove_folder(folder);
        }
        outcome
    }
}

impl Drop for FileSet {
    /// An operation that had begun when the set was revoked may have opened a file since.
    fn drop(&mut self) {
        self.close_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn set_of(directory: &Path, files: &[&[&str]]) -> FileSet {
        let files = files.iter().map(|components| (Some(FilePath::new(components).unwrap()), 4));
        let layout = Layout::new(files).unwrap();
        let registration = Registration::new("root".to_owned(), directory.to_owned(), layout, false);
        FileSet::new(1, registration, &[], Arc::new(Handles::new(1)))
    }

    #[test]
    fn a_set_that_was_removed_takes_no_file_of_its_successor_away() {
        let directory = tempfile::tempdir().unwrap();
        let removed = set_of(directory.path(), &[&["a"]]);
        let successor = set_of(directory.path(), &[&["a"]]);
        assert_eq!(removed.remove(true), Ok(()));
        assert_eq!(successor.write(0, b"abcd"), Ok(()));

        assert_eq!(removed.remove(true), Err(Error::UnknownSet));

        assert_eq!(std::fs::read(directory.path().join("a")).unwrap(), b"abcd");
    }

    #[test]
    fn the_first_flush_syncs_what_a_registration_before_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let files: &[&[&str]] = &[&["a", "b", "there"], &["c", "missing"], &["in the way", "x"]];
        assert_eq!(set_of(directory.path(), files).write(0, b"abcd"), Ok(()));
        std::fs::write(directory.path().join("in the way"), "").unwrap();
        let successor = set_of(directory.path(), files);

        assert_eq!(successor.sync_found(), Ok(()));

        let folders: Vec<_> = lock(&successor.folders).iter().cloned().collect();
        assert_eq!(folders, [Path::new(""), Path::new("a"), Path::new("a/b")]);
        assert!(!*lock(&successor.flushing));
        assert_eq!(successor.flush(), Ok(()));
        assert!(*lock(&successor.flushing));
        assert!(lock(&successor.folders).is_empty());
        assert!(!directory.path().join("c").exists());
    }
}
