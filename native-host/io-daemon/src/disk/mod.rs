//! File sets, and everything that touches a disk. Knows no HTTP.
//!
//! The functions here are asynchronous and hand the blocking work to a thread pool, so many operations at once; the
//! modules below block.

#![allow(
    clippy::cast_possible_truncation,
    reason = "a u64 becomes a usize only where it counts bytes of a buffer, and no buffer is over 512 MiB"
)]

pub mod budget;
pub mod digest;
mod fault;
mod handles;
pub mod layout;
pub mod locks;
mod marker;
pub mod path;
mod places;
mod prepare;
mod record;
mod reserved;
pub mod root;
pub mod set;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::stream::{self, Stream};

use self::budget::{Budget, Loan};
use self::digest::{Algorithm, Digest};
use self::handles::Handles;
pub use self::marker::Taking;
use self::root::Root;
use self::set::{FileSet, Registration};
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Operations on the disk at once. More would not make a disk faster, and each may hold a thread and a file.
const MAX_OPERATIONS: usize = 8;

/// Registered sets; a client that forgets none runs into this.
const MAX_SETS: usize = 10_000;

/// Bytes read in one operation and sent in one chunk.
const READ_CHUNK: u64 = 256 * 1024;

/// Scratch memory of a digest. Fits the second-level cache, so hashing does not go to memory again.
const DIGEST_BUFFER: usize = 256 * 1024;

/// A digest operation ends after so many bytes or lines, so that a long recheck lets others in.
const DIGEST_STEP_BYTES: u64 = 4 * 1024 * 1024;
const DIGEST_STEP_LINES: usize = 1024;

/// What the disk may use.
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
    /// Those in force, by name.
    roots: RwLock<HashMap<String, Root>>,
    sets: RwLock<HashMap<String, Arc<FileSet>>>,
    next_serial: AtomicU64,
    handles: Arc<Handles>,
    budget: Budget,
    operations: Pool,
    counters: Arc<Counters>,
}

/// Whether registering a set was news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Nothing was registered under the id.
    New,
    /// The same set was.
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

    /// Puts these roots in force. New ones are made and marked, as `taking` says; those that stay keep their marks, also if
    /// they are gone just now. The sets of those that are dropped, or that are elsewhere from now on, are revoked. Blocks.
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
        // After the roots are swapped: whoever registers a set now looks at them under this lock.
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        let revoked: Vec<_> = sets.extract_if(|_, set| !is_in_force(&taken, set.registration())).collect();
        drop(sets);
        for (_, set) in revoked {
            set.revoke();
        }
    }

    /// The same while running, behind other work on the disk.
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

    /// Whether the root of a set is there.
    ///
    /// # Errors
    /// `RootGone`.
    pub async fn check_root(&self, registration: &Registration) -> Result<()> {
        let root = registration.root.clone();
        self.0.operations.run(move || root.check().map(drop).map_err(|_| Error::RootGone)).await
    }

    /// Registers a set, touching no file. Of a new one the files of `skipped`, indices within its layout, are set aside from
    /// the first write on. One that is registered already starts anew: nothing is expected of its files, and those stay
    /// skipped that were. Blocks while it compares two lists, and for writes in flight.
    ///
    /// # Errors
    /// `UnknownRoot` where its root was dropped meanwhile, `SetConflict`, or `Busy` where there are too many sets.
    pub fn register(&self, id: String, registration: Registration, skipped: &[usize]) -> Result<Registered> {
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        if !is_in_force(&self.roots(), &registration) {
            return Err(Error::UnknownRoot);
        }
        if let Some(set) = sets.get(&id).cloned() {
            // Every request takes the lock, and a long list takes long to compare.
            drop(sets);
            if *set.registration() != registration {
                return Err(Error::SetConflict);
            }
            set.start_anew();
            return Ok(Registered::Again);
        }
        if sets.len() >= MAX_SETS {
            return Err(Error::Busy);
        }
        let serial = self.0.next_serial.fetch_add(1, Ordering::Relaxed);
        sets.insert(id, Arc::new(FileSet::new(serial, registration, skipped, Arc::clone(&self.0.handles))));
        Ok(Registered::New)
    }

    /// The set registered under the id.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub fn set(&self, id: &str) -> Result<Arc<FileSet>> {
        let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.get(id).cloned().ok_or(Error::UnknownSet)
    }

    /// Writes a body from `begin` of the set on, if it has the digest. The range lies within the set.
    ///
    /// # Errors
    /// `DigestMismatch` before any file is touched; `Refused`, `DiskFull`, `Unavailable`.
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

    /// Sets the files of `skipped` aside, whose indices lie within the set, brings all others to their places, and makes the
    /// empty ones among those.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`.
    pub async fn prepare(&self, set: Arc<FileSet>, skipped: Vec<usize>) -> Result<()> {
        self.0.operations.run(move || set.prepare(&skipped)).await
    }

    /// Waits until everything written is on disk.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`.
    pub async fn flush(&self, set: Arc<FileSet>) -> Result<()> {
        self.0.operations.run(move || set.flush()).await
    }

    /// Forgets a set, and with `files` deletes exactly its files and then its empty folders.
    ///
    /// # Errors
    /// `UnknownSet`; `Refused` or `Unavailable` where a file could not be deleted, and then the set stays.
    pub async fn remove(&self, id: String, files: bool) -> Result<()> {
        let set = self.set(&id)?;
        let disk = self.clone();
        self.0
            .operations
            .run(move || {
                set.remove(files)?;
                let mut sets = disk.0.sets.write().unwrap_or_else(PoisonError::into_inner);
                if sets.get(&id).is_some_and(|one| Arc::ptr_eq(one, &set)) {
                    sets.remove(&id);
                }
                Ok(())
            })
            .await
    }

    /// Reads a range that lies within the set, as chunks.
    ///
    /// # Errors
    /// `NotStored`, `Refused`, `Unavailable`: before the first chunk where a byte is missing by then, else in the stream.
    pub async fn read(
        &self,
        set: Arc<FileSet>,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
        let first_end = range.end.min(range.start + READ_CHUNK);
        let checking = Arc::clone(&set);
        let whole = range.clone();
        let first = self
            .0
            .operations
            .run(move || {
                checking.check_stored(whole.clone())?;
                read_chunk(&checking, whole.start..first_end)
            })
            .await?;
        let disk = self.clone();
        disk.0.counters.read_bytes.add(first.len() as u64);
        Ok(stream::try_unfold((Some(first), first_end), move |(ready, at)| {
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
        }))
    }

    /// Hashes ranges that lie within the set, in order: a JSON line for each, its digest in base64 or `null` where a byte
    /// is not there.
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

/// Nothing here is left half done where something panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_chunk(set: &FileSet, range: Range<u64>) -> Result<Bytes> {
    let mut chunk = Vec::with_capacity((range.end - range.start) as usize);
    set.read(range, &mut chunk)?;
    Ok(chunk.into())
}

/// The digests that are still to be made for one request.
struct Recheck {
    set: Arc<FileSet>,
    algorithm: Algorithm,
    ranges: std::vec::IntoIter<Range<u64>>,
    buffer: Vec<u8>,
}

impl Recheck {
    /// Some more lines, and the bytes hashed for them.
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
