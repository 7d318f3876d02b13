//! One registered set: its files written and taken away. Everything here blocks.

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

/// What a set is registered with. The same again is the same set.
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

/// Who registered a set, in words of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Which torrent the set is of; the same for every set of it.
    pub torrent: Option<String>,
    /// Which program asks; the same for all its sets, and another one when it was started again.
    pub owner: Option<String>,
}

impl Client {
    /// Whether another set is one of the same torrent that a program before this one left behind, as far as can be told.
    pub(crate) fn succeeds(&self, other: &Self) -> bool {
        self.torrent.is_some() && self.torrent == other.torrent && self.owner != other.owner
    }
}

impl Registration {
    /// Files laid out below the root of that name. `allocate` reserves a file's whole length at its first write.
    #[must_use]
    pub fn new(root_name: String, root: impl Into<Root>, layout: Layout, allocate: bool) -> Self {
        let (root, rivals) = (root.into(), Arc::default());
        Self { root_name, root, layout, allocate, rivals, aside: None, client: Client::default() }
    }

    /// The same on behalf of a client.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The same with what else its files may be named.
    #[must_use]
    pub fn with_rivals(mut self, rivals: Rivals) -> Self {
        self.rivals = Arc::new(rivals);
        self
    }

    /// The same, with its rivals, with a folder below the root in which files are set aside that nobody wants.
    ///
    /// # Errors
    /// One sentence where a file of the set may lie in that folder: it might be where another one is set aside.
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
    /// Folders that got new entries since the last flush, as `Root::make` tells them.
    pub(super) folders: Mutex<BTreeSet<PathBuf>>,
    /// Held while files are set aside and brought back.
    pub(super) preparing: Mutex<()>,
    /// Held by a flush, so that a second one does not return before the first has synced what it took.
    flushing: Mutex<()>,
    /// Cancelled when the root is dropped: nothing more is done to its files.
    revoked: CancellationToken,
    /// How often the root had come back when the files kept open were opened.
    returns: AtomicU64,
    made: Instant,
    /// When it was used last, in milliseconds since it was made.
    used: AtomicU64,
    /// Whether the set is forgotten. Operations hold it for reading, so that removal waits for them.
    gone: RwLock<bool>,
}

/// The report of a file: its facts, `None` if no file exists, or why it cannot be looked at.
pub(super) type Outcome = Result<Option<Facts>>;

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

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Notes that somebody asked something of it.
    pub(crate) fn note_used(&self) {
        self.used.store(self.made.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long nobody has asked anything of it.
    pub(crate) fn idle(&self) -> Duration {
        self.made.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
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

    /// The record of a file that was claimed or moved before.
    pub(super) fn known_record(&self, file: usize) -> Option<Arc<Mutex<Record>>> {
        lock(&self.records).get(&file).cloned()
    }

    /// A file and its path on this disk; `None` for padding.
    ///
    /// # Errors
    /// `Unavailable` and `RootGone` where its name depends on what is there, and that cannot be told.
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

    /// From now on the file has another path.
    pub(super) fn move_to(&self, file: usize, path: FilePath) {
        self.close(file);
        self.places.names.rename(file, path);
    }

    /// What lies where the file does, and the path of that.
    pub(super) fn look(&self, file: usize, path: &FilePath) -> Result<Option<(Seen, FilePath)>> {
        self.places.look(file, path).map_err(|error| fault::of(path.as_str(), &error))
    }

    /// The report of a file; `None` if no file exists, and for padding.
    pub(crate) fn facts(&self, file: usize) -> Result<Option<Facts>> {
        let _here = self.enter()?;
        let Some((path, _)) = self.file(file)? else { return Ok(None) };
        self.with_room(|| self.places.facts(file, &path)).map_err(|error| fault::of(path.as_str(), &error))
    }

    /// Opens, and once more with all kept files closed where too many are open.
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

    /// The open file that the path leads to. One that was kept open and does not lie there any more is opened again.
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

    /// Forgets what was claimed and reserved, for one who registers the set again and knows only what is on disk now. Waits for
    /// writes in flight.
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

    /// Writes `bytes` from `begin` of the set on. Every file is tried; the fault that lasts longest is told.
    ///
    /// # Errors
    /// `NotClaimed`, `FileChanged`, `Refused`, `DiskFull`, `Unavailable`; `UnknownSet` where the set is gone by now.
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
        // Of a file that was claimed. Held for the write as well: the system writes one part of a file at a time, and a second
        // thread would only spin until the first is done.
        let Some(shared) = self.known_record(file) else { return Ok(()) };
        let mut record = lock(&shared);
        // Where it lies by now: it may have been moved in between.
        let Some((path, entry)) = self.file(file)? else { return Ok(()) };
        let blame = |error: &io::Error| fault::of(path.as_str(), error);
        let open = self.open_claimed(file, &path, &mut record)?;
        // Nobody wants all of a file that is set aside.
        if self.registration.allocate && !record.allocated && !self.places.is_skipped(file) {
            reserve_room(&open, entry.length).map_err(|error| blame(&error))?;
            record.allocated = true;
        }
        record.dirty = true;
        open.write_all_at(bytes, offset).map_err(|error| blame(&error))?;
        record.wrote_to(offset + bytes.len() as u64);
        Ok(())
    }

    /// The file that was claimed, open.
    ///
    /// # Errors
    /// `NotClaimed`; `FileChanged` where the path leads to another file by now, to none, or to less of it.
    fn open_claimed(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Arc<File>> {
        let there = self.check_there(file, path, record)?;
        let opened =
            self.open_there(file, path, Access::ReadWrite, &there).and_then(|open| Ok((Seen::of(&open)?, open)));
        let (seen, open) = opened.map_err(|error| fault::of(path.as_str(), &error))?;
        record.check(path.as_str(), Some(&seen))?;
        Ok(open)
    }

    /// What the path leads to, which is what was claimed and written.
    fn check_there(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<Seen> {
        record.check_claimed(path.as_str())?;
        let there = self.look(file, path)?.map(|(seen, _)| seen);
        record.check(path.as_str(), there.as_ref())?;
        there.ok_or_else(|| record.end(path.as_str(), fault::DELETED))
    }

    /// Waits until what was written to these files is on disk, and the folders' new entries, and says of each how that ended:
    /// what it looks like now, `None` for padding. One that failed keeps no other from it. The first time a file is synced
    /// whatever is known of it: an earlier set may have written it.
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

    /// Syncs the folders that got entries. Tells which could not be, and keeps them for the next time.
    fn sync_folders(&self) -> Vec<(PathBuf, Error)> {
        let folders = std::mem::take(&mut *lock(&self.folders));
        let mut lost = Vec::new();
        for folder in folders {
            match self.with_room(|| self.registration.root.sync_folder(&folder)) {
                Ok(()) => {}
                // Nothing is left in it to keep.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    lost.push((folder.clone(), fault::of_sync(&folder.to_string_lossy(), &error)));
                    lock(&self.folders).insert(folder);
                }
            }
        }
        lost
    }

    /// Syncs a file that was written, or of which nobody knows whether an earlier set wrote it.
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
        // Not under the lock: a sync takes long, and writes of the file go on meanwhile.
        open.sync_data().map_err(|error| {
            lock(&shared).dirty = true;
            fault::of_sync(path.as_str(), &error)
        })
    }

    /// Forgets the set after the operations in flight, and lets others write to its files.
    ///
    /// # Errors
    /// `UnknownSet` where it was forgotten before.
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
    /// An operation that had begun when the set was revoked or forgotten may have opened or reserved a file since.
    fn drop(&mut self) {
        self.close_all();
        self.writers.release_all(self.serial);
    }
}

/// Reserves all of a file on the disk.
fn reserve_room(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        // Where the file system cannot reserve, the bytes are found when they are written.
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

    /// The same with groups of rivals.
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
    fn a_set_that_is_dropped_without_a_word_lets_others_write() {
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
    fn a_file_is_synced_once_whoever_wrote_it_and_then_when_it_was_written() {
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

        let told: Vec<_> =
            outcomes.iter().map(|one| one.as_ref().map(|facts| facts.as_ref().unwrap().length)).collect();
        assert_eq!(told, [Ok(0), Ok(4), Err(&Error::NotStored { path: "missing".to_owned() })]);
        assert!(!needs_sync(0) && !needs_sync(1) && folders().is_empty());
        set.write(0, b"abcd").unwrap();
        assert!(needs_sync(0) && !needs_sync(1));
    }
}
