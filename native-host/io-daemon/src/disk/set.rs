//! One registered set: its files written and taken away. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use rustix::io::Errno;

use super::fault;
use super::handles::{Handles, Key};
use super::layout::{Entry, Layout};
use super::path::FilePath;
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
}

impl Registration {
    /// Files laid out below the root of that name. `allocate` reserves a file's whole length at its first write.
    #[must_use]
    pub fn new(root_name: String, directory: PathBuf, layout: Layout, allocate: bool) -> Self {
        Self { root_name, root: Root::new(directory), layout, allocate }
    }
}

/// A registered set.
pub struct FileSet {
    serial: u64,
    registration: Registration,
    handles: Arc<Handles>,
    records: Mutex<HashMap<usize, Arc<Mutex<Record>>>>,
    /// Folders that got new entries since the last flush, as `Root::make` tells them.
    folders: Mutex<BTreeSet<PathBuf>>,
    /// Held by a flush, so that a second one does not return before the first has synced what it took.
    flushing: Mutex<()>,
    /// Whether the set is forgotten. Operations hold it for reading, so that removal waits for them.
    gone: RwLock<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the worse of two failures.
fn note(outcome: &mut Result<()>, one: Result<()>) {
    if let Err(error) = one {
        *outcome = Err(match std::mem::replace(outcome, Ok(())) {
            Ok(()) => error,
            Err(before) => fault::worse(before, error),
        });
    }
}

impl FileSet {
    pub(crate) fn new(serial: u64, registration: Registration, handles: Arc<Handles>) -> Self {
        Self {
            serial,
            registration,
            handles,
            records: Mutex::default(),
            folders: Mutex::default(),
            flushing: Mutex::default(),
            gone: RwLock::new(false),
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

    /// Keeps the set from being removed for as long as the guard lives.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        if *gone { Err(Error::UnknownSet) } else { Ok(gone) }
    }

    fn key(&self, file: usize) -> Key {
        Key { set: self.serial, file }
    }

    fn record(&self, file: usize) -> Arc<Mutex<Record>> {
        Arc::clone(lock(&self.records).entry(file).or_default())
    }

    /// A file with a place on disk; `None` for padding.
    pub(crate) fn file(&self, index: usize) -> Option<(&FilePath, &Entry)> {
        let entry = &self.layout().entries()[index];
        entry.path.as_ref().map(|path| (path, entry))
    }

    /// Opens, and once more with all kept files closed where too many are open.
    fn with_room<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
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
        let opened = self.with_room(|| self.registration.root.open(path, access))?;
        Ok(self.handles.put(key, access, opened))
    }

    pub(crate) fn close(&self, file: usize) {
        let key = self.key(file);
        self.handles.close(|one| *one == key);
    }

    /// The open file, made with its folders where this registration has not written it before.
    fn open_or_make(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Arc<File>> {
        let blame = |error: &io::Error| fault::of(path.as_str(), error);
        match self.open(file, path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && record.made => {
                Err(record.refuse(path.as_str(), fault::DELETED))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = self.with_room(|| self.registration.root.make(path)).map_err(|error| blame(&error))?;
                lock(&self.folders).extend(made.folders);
                record.made = true;
                record.dirty = true;
                Ok(self.handles.put(self.key(file), Access::ReadWrite, made.file))
            }
            Err(error) => Err(blame(&error)),
            Ok(open) => {
                record.made = true;
                Ok(open)
            }
        }
    }

    /// Writes `bytes` from `begin` of the set on. Every file is tried; the fault that lasts longest is told.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`; `UnknownSet` where the set is gone by now.
    pub(crate) fn write(&self, begin: u64, bytes: &[u8]) -> Result<()> {
        let _here = self.enter()?;
        let mut outcome = Ok(());
        for span in self.layout().spans(begin..begin + bytes.len() as u64) {
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
        record.size(&open, &found, entry.length, self.registration.allocate).map_err(|error| blame(&error))?;
        let written = open.write_all_at(bytes, offset);
        record.dirty = true;
        written.map_err(|error| blame(&error))?;
        record.wrote_to(offset + bytes.len() as u64);
        Ok(())
    }

    /// Makes the empty files among `files`, which no write would. Indices lie within the layout.
    ///
    /// # Errors
    /// As `write`.
    pub(crate) fn prepare(&self, files: &[usize]) -> Result<()> {
        let _here = self.enter()?;
        let mut outcome = Ok(());
        for &file in files {
            if let Some((path, Entry { length: 0, .. })) = self.file(file) {
                let shared = self.record(file);
                let mut record = lock(&shared);
                let made = record
                    .check_refused(path.as_str())
                    .and_then(|()| self.open_or_make(file, path, &mut record))
                    .and_then(|open| open.metadata().map_err(|error| fault::of(path.as_str(), &error)))
                    .and_then(|found| record.check(path.as_str(), &found));
                note(&mut outcome, made);
            }
        }
        outcome
    }

    /// Waits until everything written is on disk, and the folders' new entries.
    ///
    /// # Errors
    /// As `write`; a file whose sync failed is refused from then on.
    pub(crate) fn flush(&self) -> Result<()> {
        let _here = self.enter()?;
        let _alone = lock(&self.flushing);
        let mut touched: Vec<_> =
            lock(&self.records).iter().map(|(file, record)| (*file, Arc::clone(record))).collect();
        touched.sort_unstable_by_key(|(file, _)| *file);
        let mut outcome = Ok(());
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
                    let shown = if folder.is_absolute() { Path::new("") } else { &folder };
                    note(&mut outcome, Err(fault::of(&shown.to_string_lossy(), &error)));
                    lock(&self.folders).insert(folder);
                }
            }
        }
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
            let open = self.open_or_make(file, path, &mut record)?;
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
    /// As `write`, and then the set is not forgotten. A file that is not there is no error.
    pub(crate) fn remove(&self, files: bool) -> Result<()> {
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        self.handles.close(|key| key.set == self.serial);
        if files {
            self.remove_files()?;
        }
        *gone = true;
        Ok(())
    }

    fn remove_files(&self) -> Result<()> {
        let root = &self.registration.root;
        let mut outcome = Ok(());
        let mut folders = BTreeSet::new();
        for path in self.layout().entries().iter().filter_map(|entry| entry.path.as_ref()) {
            match root.remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => note(&mut outcome, Err(fault::of(path.as_str(), &error))),
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
