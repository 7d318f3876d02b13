//! File sets, and everything that touches a disk. No HTTP here.
//!
//! The functions of [`Disk`] are asynchronous: they hand blocking work to threads, a limited number of operations at a
//! time. The modules below block.

#![allow(
    clippy::cast_possible_truncation,
    reason = "a u64 becomes a usize only where it counts bytes of a buffer, and no buffer is over 512 MiB"
)]

pub mod budget;
pub mod claim;
pub mod digest;
pub mod facts;
mod fault;
mod free_name;
mod handles;
mod ignorable;
pub mod layout;
pub mod locks;
mod marker;
mod moves;
mod names;
mod own_copy;
pub mod path;
mod places;
mod prepare;
mod record;
mod reserved;
pub mod rivals;
pub mod root;
pub mod set;
mod stored;
mod writers;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;

use self::budget::{Budget, Loan};
use self::claim::Claim;
use self::digest::{Algorithm, Digest};
use self::facts::{Facts, Identity};
use self::handles::Handles;
pub use self::marker::Taking;
use self::path::FilePath;
use self::root::Root;
use self::set::{FileSet, Outcome, Registration};
use self::writers::{Held, Writers};
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Operations on the disk at once. More would not make a disk faster, and each may use a thread and an open file.
const MAX_OPERATIONS: usize = 8;

/// The most sets registered. A client that never forgets a set reaches this limit.
const MAX_SETS: usize = 10_000;

/// A set that was not used for so long is forgotten when another one is registered or needs its files, because a page
/// that vanishes does not forget its sets. If its client is still there, the client registers the set again with its
/// next request.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5 * 60);

/// Bytes read in one operation and sent in one chunk.
const READ_CHUNK: u64 = 256 * 1024;

/// A range of up to this many bytes is read completely before any of it is sent, with a look at the files after that. A
/// longer one is sent in chunks.
const READ_WHOLE: u64 = 1024 * 1024;

/// The most files whose facts are returned with a read; so many fit into the headers of an answer.
const MAX_REPORTED_FILES: usize = 32;

/// Work on a list of files lets other operations in after so many files, or so much time.
const STEP_FILES: usize = 256;
/// Files that are worked on in one call, so that their folders are synced together.
const STEP_AT_ONCE: usize = 32;
const STEP_TIME: Duration = Duration::from_millis(50);

/// How often an empty line is sent while work on a file takes long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Scratch memory of a digest. It fits into the second-level cache, so hashing does not read from main memory again.
const DIGEST_BUFFER: usize = 256 * 1024;

/// A digest operation ends after so many bytes or lines, so that a long recheck lets other operations in.
const DIGEST_STEP_BYTES: u64 = 4 * 1024 * 1024;
const DIGEST_STEP_LINES: usize = 1024;

/// Limits for the disk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of request bodies held at once.
    pub buffer_bytes: usize,
    /// Files kept open between operations.
    pub max_open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buffer_bytes: 128 * 1024 * 1024, max_open_files: 64 }
    }
}

/// The sets and the disk. Cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    /// The roots in force, by name.
    roots: RwLock<HashMap<String, Root>>,
    sets: RwLock<HashMap<String, Arc<FileSet>>>,
    next_serial: AtomicU64,
    handles: Arc<Handles>,
    writers: Arc<Writers>,
    budget: Budget,
    operations: Pool,
    counters: Arc<Counters>,
}

/// Whether a registered set was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Nothing was registered under the id.
    New,
    /// The same set was registered before.
    Again,
}

impl Disk {
    /// A disk without roots and sets.
    #[must_use]
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        Self(Arc::new(Shared {
            roots: RwLock::default(),
            sets: RwLock::default(),
            next_serial: AtomicU64::new(0),
            handles: Arc::new(Handles::new(limits.max_open_files)),
            writers: Arc::default(),
            budget: Budget::new(limits.buffer_bytes),
            operations: Pool::new(MAX_OPERATIONS),
            counters,
        }))
    }

    /// The budget for request bodies.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Files kept open now.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.0.handles.len()
    }

    /// Sets registered now.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.0.sets.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Puts these roots in force. New roots are taken as `taking` says. Roots that stay are kept as they were taken,
    /// even while they are gone. The sets of a root that is dropped, or that has another folder now, are revoked.
    /// Blocks.
    pub fn take_roots(&self, roots: &BTreeMap<String, PathBuf>, taking: Taking) {
        let before = self.roots().clone();
        let taken = roots.iter().map(|(name, directory)| {
            let root = match before.get(name).filter(|root| root.path() == directory) {
                Some(same) => {
                    same.take_again(taking);
                    same.clone()
                }
                None => Root::take(directory.clone(), taking),
            };
            (name.clone(), root)
        });
        let taken: HashMap<_, _> = taken.collect();
        self.0.roots.write().unwrap_or_else(PoisonError::into_inner).clone_from(&taken);
        // Taken after the roots were swapped: registering a set looks at the roots under this lock.
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        let revoked: Vec<_> = sets.extract_if(|_, set| !is_in_force(&taken, set.registration())).collect();
        drop(sets);
        for (_, set) in revoked {
            set.revoke();
        }
    }

    /// The same while the daemon runs, as an operation on the disk.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn reload_roots(&self, roots: BTreeMap<String, PathBuf>) -> Result<()> {
        let disk = self.clone();
        self.0
            .operations
            .run(move || {
                disk.take_roots(&roots, Taking::New);
                Ok(())
            })
            .await
    }

    fn roots(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Root>> {
        self.0.roots.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root in force under the name.
    ///
    /// # Errors
    /// `UnknownRoot`.
    pub fn root(&self, name: &str) -> Result<Root> {
        self.roots().get(name).cloned().ok_or(Error::UnknownRoot)
    }

    /// Fails if the root of a set is gone.
    ///
    /// # Errors
    /// `RootGone`.
    pub async fn check_root(&self, registration: &Registration) -> Result<()> {
        let root = registration.root.clone();
        self.0.operations.run(move || root.check().map(drop).map_err(|_| Error::RootGone)).await
    }

    /// Registers a set, touching no file. The files of `skipped`, indices within its layout, are set aside if the set
    /// is new. A set that is registered already starts anew: nothing of it is reserved or claimed any more, and skipped
    /// files stay skipped. Blocks while it compares two lists, and for writes in flight.
    ///
    /// # Errors
    /// `UnknownRoot` if its root was dropped meanwhile, `SetConflict`, or `Busy` if there are too many sets.
    pub fn register(&self, id: String, registration: Registration, skipped: &[usize]) -> Result<Registered> {
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        if !is_in_force(&self.roots(), &registration) {
            return Err(Error::UnknownRoot);
        }
        if let Some(set) = sets.get(&id).cloned() {
            // The comparison of long lists takes long, and every request needs the lock.
            drop(sets);
            if *set.registration() != registration {
                return Err(Error::SetConflict);
            }
            set.note_used();
            set.start_anew();
            return Ok(Registered::Again);
        }
        let abandoned: Vec<_> = sets.extract_if(|_, set| set.idle() >= FORGOTTEN_AFTER).collect();
        if sets.len() >= MAX_SETS {
            return Err(Error::Busy);
        }
        let serial = self.0.next_serial.fetch_add(1, Ordering::Relaxed);
        let (handles, writers) = (Arc::clone(&self.0.handles), Arc::clone(&self.0.writers));
        sets.insert(id, Arc::new(FileSet::new(serial, registration, skipped, handles, writers)));
        drop(sets);
        for (_, set) in abandoned {
            let _ = set.forget();
        }
        Ok(Registered::New)
    }

    /// Forgets a set that seems to be abandoned: it was not used for long, or an earlier program left it behind and
    /// `successor` is of the same torrent. Returns whether it did. Blocks until operations of that set in flight have
    /// ended.
    fn forget_abandoned(&self, serial: u64, successor: &FileSet, is_again: bool) -> bool {
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        let successor = &successor.registration().client;
        let is_abandoned = |set: &FileSet| {
            set.idle() >= FORGOTTEN_AFTER || !is_again && successor.succeeds(&set.registration().client)
        };
        let found = sets.iter().find(|(_, set)| set.serial() == serial);
        let Some(id) = found.filter(|(_, set)| is_abandoned(set)).map(|(id, _)| id.clone()) else { return false };
        let set = sets.remove(&id);
        drop(sets);
        if let Some(set) = set {
            let _ = set.forget();
        }
        true
    }

    /// Describes the set that holds a file, for people.
    fn holder(&self, serial: u64, set: &FileSet) -> String {
        let owner = &set.registration().client.owner;
        let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
        let holder = sets.values().find(|one| one.serial() == serial);
        let is_own = holder.is_some_and(|one| owner.is_some() && one.registration().client.owner == *owner);
        if is_own { "another torrent of this process" } else { "another process" }.to_owned()
    }

    /// Makes a set the only writer of files, whose indices lie within it: all of them, or none. A set in the way is
    /// forgotten if it seems to be abandoned. With `is_again` the client only goes on where it was before its set was
    /// forgotten, so it does not replace another set of the same torrent.
    ///
    /// # Errors
    /// `WriterConflict`, `Refused`, `Unavailable`.
    pub async fn reserve(&self, set: Arc<FileSet>, files: Vec<usize>, is_again: bool) -> Result<()> {
        let disk = self.clone();
        let reserve = move || loop {
            let Err(Held { file, by }) = set.reserve(&files)? else { return Ok(()) };
            if !disk.forget_abandoned(by, &set, is_again) {
                let path = set.file(file)?.map_or(String::new(), |(path, _)| path.as_str().to_owned());
                return Err(Error::WriterConflict { path, holder: disk.holder(by, &set) });
            }
        };
        self.0.operations.run(reserve).await
    }

    /// Lets others write to these files, whose indices lie within the set.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub async fn release(&self, set: Arc<FileSet>, files: Vec<usize>) -> Result<()> {
        self.0.operations.run(move || set.release(&files)).await
    }

    /// Looks at files, whose indices lie within the set. Streams a JSON line for each: its facts, or `null` if nothing
    /// lies there.
    pub fn look(&self, set: Arc<FileSet>, files: Vec<usize>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        self.lines(set, files, |set, files| files.iter().map(|file| set.facts(*file)).collect())
    }

    /// Makes files writable, whose indices lie within the set. Streams a JSON line for each: its facts or the error.
    pub fn claim(&self, set: Arc<FileSet>, claims: Vec<Claim>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        self.lines(set, claims, |set, claims| claims.iter().map(|claim| set.claim(claim).map(Some)).collect())
    }

    /// Waits until what was written to these files is on disk, with the folders in which they were made. Streams a JSON
    /// line for each: its facts or the error.
    pub fn flush(&self, set: Arc<FileSet>, files: Vec<usize>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        self.lines(set, files, |set, files| match set.flush(files) {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error)],
        })
    }

    /// Calls `act` with some items at a time, and streams a line with the outcome of each. Ends after the first line
    /// that says that the set is gone.
    fn lines<T: Clone + Send + Sync + 'static>(
        &self,
        set: Arc<FileSet>,
        items: Vec<T>,
        act: fn(&FileSet, &[T]) -> Vec<Outcome>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let disk = self.clone();
        let items: Arc<[T]> = items.into();
        let step = move |at: usize| {
            let (disk, set, items) = (disk.clone(), Arc::clone(&set), Arc::clone(&items));
            Box::pin(async move {
                set.note_used();
                disk.0.operations.run(move || Ok(lines_from(&set, &items, at, act))).await
            })
        };
        // Even the first step runs after the head is sent, because work on a file may take longer than a client waits
        // for an answer.
        let work = Work { step: None, at: Some(0) };
        stream::try_unfold((work, step), |(mut work, step)| async move {
            if work.step.is_none() {
                let Some(at) = work.at else { return Ok(None) };
                work.step = Some(step(at));
            }
            let Some(running) = work.step.as_mut() else { return Ok(None) };
            let Ok(ended) = tokio::time::timeout(SIGN_OF_LIFE, running).await else {
                return Ok(Some((Bytes::from_static(b"\n"), (work, step))));
            };
            let (lines, at) = ended?;
            Ok(Some((lines, (Work { step: None, at }, step))))
        })
    }

    /// Moves a reserved file to another path, and uses it there.
    ///
    /// # Errors
    /// `NotReserved`, `FileExists`, `WriterConflict`, `Refused`, `DiskFull`, `Unavailable`.
    pub async fn rename(
        &self,
        set: Arc<FileSet>,
        file: usize,
        path: FilePath,
        identity: Option<Identity>,
    ) -> Result<()> {
        self.0.operations.run(move || set.rename(file, &path, identity)).await
    }

    /// Deletes exactly these reserved files, whose indices lie within the set, and then the folders that this leaves
    /// empty.
    ///
    /// # Errors
    /// `NotReserved` before any file is touched; `Refused`, `Unavailable`.
    pub async fn remove(&self, set: Arc<FileSet>, files: Vec<usize>) -> Result<()> {
        self.0.operations.run(move || set.remove(&files)).await
    }

    /// The set registered under the id.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub fn set(&self, id: &str) -> Result<Arc<FileSet>> {
        let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(id).cloned().ok_or(Error::UnknownSet)?;
        set.note_used();
        Ok(set)
    }

    /// Writes a body from `begin` of the set on, if it has the expected digest. The range lies within the set.
    ///
    /// # Errors
    /// `DigestMismatch` and `NotClaimed` before any file is touched; `FileChanged`, `Refused`, `DiskFull`, `Unavailable`.
    pub async fn write(&self, set: Arc<FileSet>, begin: u64, body: Loan, expected: Digest) -> Result<()> {
        self.0
            .operations
            .run(move || {
                if Digest::of(expected.algorithm(), body.bytes()) != expected {
                    return Err(Error::DigestMismatch);
                }
                set.write(begin, body.bytes())
            })
            .await
    }

    /// Sets the files of `skipped` aside, whose indices lie within the set, and brings all others to their places.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`.
    pub async fn prepare(&self, set: Arc<FileSet>, skipped: Vec<usize>) -> Result<()> {
        self.0.operations.run(move || set.prepare(&skipped)).await
    }

    /// Forgets a set, and lets others write to its files. The files stay as they are.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub async fn forget(&self, id: String) -> Result<()> {
        let set = {
            let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
            sets.remove(&id).ok_or(Error::UnknownSet)?
        };
        self.0.operations.run(move || set.forget()).await
    }

    /// Reads a range that lies within the set, as chunks. If it is short and lies in few files, also returns their
    /// facts after it was read.
    ///
    /// # Errors
    /// `NotStored`, `Refused`, `Unavailable`: before the first chunk if a byte is missing by then, else in the stream.
    pub async fn read(
        &self,
        set: Arc<FileSet>,
        range: Range<u64>,
    ) -> Result<(impl Stream<Item = Result<Bytes>> + Send + 'static, Option<Vec<FileFacts>>)> {
        let is_whole = range.end - range.start <= READ_WHOLE;
        let first_end = if is_whole { range.end } else { range.start + READ_CHUNK };
        let checking = Arc::clone(&set);
        let whole = range.clone();
        let (first, facts) = self
            .0
            .operations
            .run(move || {
                checking.check_stored(whole.clone())?;
                let first = read_chunk(&checking, whole.start..first_end)?;
                let facts = if is_whole { facts_of(&checking, whole)? } else { None };
                Ok((first, facts))
            })
            .await?;
        let disk = self.clone();
        disk.0.counters.read_bytes.add(first.len() as u64);
        let chunks = stream::try_unfold((Some(first), first_end), move |(ready, at)| {
            let (disk, set) = (disk.clone(), Arc::clone(&set));
            async move {
                if let Some(chunk) = ready {
                    return Ok(Some((chunk, (None, at))));
                }
                if at >= range.end {
                    return Ok(None);
                }
                let end = range.end.min(at + READ_CHUNK);
                let chunk = disk.0.operations.run(move || read_chunk(&set, at..end)).await?;
                disk.0.counters.read_bytes.add(chunk.len() as u64);
                Ok(Some((chunk, (None, end))))
            }
        });
        Ok((chunks, facts))
    }

    /// Hashes ranges that lie within the set, in order. Streams a JSON line for each: its digest in base64, or `null`
    /// if a byte is not stored.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`: before the first chunk of lines, or in the stream.
    pub async fn digests(
        &self,
        set: Arc<FileSet>,
        algorithm: Algorithm,
        ranges: Vec<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
        let work = Recheck { set, algorithm, ranges: ranges.into_iter(), buffer: vec![0; DIGEST_BUFFER] };
        let disk = self.clone();
        let step = move |work: Recheck| {
            let disk = disk.clone();
            async move {
                if work.ranges.len() == 0 {
                    return Ok(None);
                }
                let (lines, bytes, work) = disk.0.operations.run(move || work.step()).await?;
                disk.0.counters.digested_bytes.add(bytes);
                Ok(Some((lines, work)))
            }
        };
        let first = step(work).await?;
        Ok(stream::try_unfold((first, None), move |(ready, rest)| {
            let step = step.clone();
            async move {
                let next = match (ready, rest) {
                    (Some(ready), _) => Some(ready),
                    (None, Some(work)) => step(work).await?,
                    (None, None) => None,
                };
                Ok(next.map(|(lines, work)| (lines, (None, Some(work)))))
            }
        }))
    }
}

fn is_in_force(roots: &HashMap<String, Root>, registration: &Registration) -> bool {
    roots.get(&registration.root_name).is_some_and(|root| *root == registration.root)
}

fn read_chunk(set: &FileSet, range: Range<u64>) -> Result<Bytes> {
    let mut chunk = Vec::with_capacity((range.end - range.start) as usize);
    set.read(range, &mut chunk)?;
    Ok(chunk.into())
}

/// The facts of a file that was read.
#[derive(Debug, Serialize)]
pub struct FileFacts {
    file: usize,
    #[serde(flatten)]
    facts: Facts,
}

/// The facts of the files of a range, without those that are gone; `None` if they are too many to report.
fn facts_of(set: &FileSet, range: Range<u64>) -> Result<Option<Vec<FileFacts>>> {
    let files: Vec<_> = set.layout().spans(range).map(|span| span.file).take(MAX_REPORTED_FILES + 1).collect();
    if files.len() > MAX_REPORTED_FILES {
        return Ok(None);
    }
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        found.extend(set.facts(file)?.map(|facts| FileFacts { file, facts }));
    }
    Ok(Some(found))
}

/// The lines that are still to be streamed.
struct Work<S> {
    step: Option<S>,
    at: Option<usize>,
}

/// Works on the items from `at` on for a while. Returns their lines, and the index at which to go on.
fn lines_from<T>(
    set: &FileSet,
    items: &[T],
    at: usize,
    act: fn(&FileSet, &[T]) -> Vec<Outcome>,
) -> (Bytes, Option<usize>) {
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut next = at;
    while next < items.len() && next < at + STEP_FILES && started.elapsed() < STEP_TIME {
        let end = items.len().min(next + STEP_AT_ONCE);
        for outcome in act(set, &items[next..end]) {
            let is_gone = outcome == Err(Error::UnknownSet);
            append_line(&mut lines, &outcome);
            if is_gone {
                return (lines.into(), None);
            }
        }
        next = end;
    }
    (lines.into(), (next < items.len()).then_some(next))
}

fn append_line(lines: &mut Vec<u8>, outcome: &Outcome) {
    let written = match outcome {
        Ok(facts) => serde_json::to_writer(&mut *lines, facts),
        Err(error) => serde_json::to_writer(&mut *lines, &HashMap::from([("error", error.body())])),
    };
    if let Err(error) = written {
        tracing::error!(%error, "a line could not be written");
    }
    lines.push(b'\n');
}

/// The digests of one request that are still to be computed.
struct Recheck {
    set: Arc<FileSet>,
    algorithm: Algorithm,
    ranges: std::vec::IntoIter<Range<u64>>,
    buffer: Vec<u8>,
}

impl Recheck {
    /// Computes some digests. Returns their lines, and the bytes hashed for them.
    fn step(mut self) -> Result<(Bytes, u64, Self)> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        for range in self.ranges.by_ref().take(DIGEST_STEP_LINES) {
            match self.set.digest(self.algorithm, range.clone(), &mut self.buffer)? {
                Some(digest) => {
                    lines.extend_from_slice(format!("\"{}\"\n", digest.to_base64()).as_bytes());
                    bytes += range.end - range.start;
                }
                None => lines.extend_from_slice(b"null\n"),
            }
            if bytes >= DIGEST_STEP_BYTES {
                break;
            }
        }
        Ok((lines.into(), bytes, self))
    }
}
