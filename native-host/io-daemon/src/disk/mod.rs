//! File sets, and everything that touches a disk. No HTTP here.
//!
//! The functions of [`Disk`] are asynchronous: they hand blocking work to threads, a limited number of operations at a
//! time. The modules below block.

#![allow(
    clippy::cast_possible_truncation,
    reason = "a u64 becomes a usize only where it counts bytes of a buffer, and no buffer is over 512 MiB"
)]

pub mod budget;
mod chunks;
pub mod claim;
pub mod digest;
pub mod facts;
mod fault;
mod flush;
mod found_name;
mod free_name;
mod handles;
mod ignorable;
pub mod layout;
pub mod locks;
mod marker;
mod moves;
mod names;
mod outcome_lines;
mod own_copy;
pub mod path;
mod places;
mod prepare;
mod recheck;
mod record;
pub mod registration;
mod registry;
mod reserved;
pub mod rivals;
pub mod root;
pub mod set;
mod stored;
mod system_error;
mod writers;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::Stream;

use self::budget::{Budget, Loan};
pub use self::chunks::FileFacts;
use self::claim::Claim;
use self::digest::{Algorithm, Digest};
use self::facts::Identity;
use self::handles::Handles;
pub use self::marker::Taking;
use self::path::FilePath;
use self::registration::Registration;
pub use self::registry::Registered;
use self::registry::Registry;
use self::root::Root;
use self::set::FileSet;
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Operations on the disk at once. More would not make a disk faster, and each may use a thread and an open file.
const MAX_OPERATIONS: usize = 8;

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
    registry: Registry,
    handles: Arc<Handles>,
    budget: Budget,
    operations: Pool,
    counters: Arc<Counters>,
}

impl Disk {
    /// A disk without roots and sets.
    #[must_use]
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        let handles = Arc::new(Handles::new(limits.max_open_files));
        Self(Arc::new(Shared {
            registry: Registry::new(Arc::clone(&handles)),
            handles,
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
        self.0.registry.len()
    }

    /// Puts these roots in force. New roots are taken as `taking` says. Roots that stay are kept as they were taken,
    /// even while they are gone. The sets of a root that is dropped, or that has another folder now, are revoked.
    /// Blocks.
    pub fn take_roots(&self, roots: &BTreeMap<String, PathBuf>, taking: Taking) {
        self.0.registry.take_roots(roots, taking);
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

    /// The root in force under the name.
    ///
    /// # Errors
    /// `UnknownRoot`.
    pub fn root(&self, name: &str) -> Result<Root> {
        self.0.registry.root(name)
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
    /// is new. A set that is registered already starts over: nothing of it is reserved or claimed any more, and skipped
    /// files stay skipped. Blocks while it compares two lists, and for writes in flight.
    ///
    /// # Errors
    /// `UnknownRoot` if its root was dropped meanwhile, `SetConflict`, or `Busy` if there are too many sets.
    pub fn register(&self, id: String, registration: Registration, skipped: &[usize]) -> Result<Registered> {
        self.0.registry.register(id, registration, skipped)
    }

    /// The set registered under the id.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub fn set(&self, id: &str) -> Result<Arc<FileSet>> {
        self.0.registry.set(id)
    }

    /// Makes a set the only writer of files, whose indices lie within it: all of them, or none. A set in the way is
    /// forgotten if it seems to be abandoned. `is_again` means that the set had reserved these files before it was
    /// forgotten. It then does not replace another set of the same torrent.
    ///
    /// # Errors
    /// `WriterConflict`, `Refused`, `Unavailable`.
    pub async fn reserve(&self, set: Arc<FileSet>, files: Vec<usize>, is_again: bool) -> Result<()> {
        let disk = self.clone();
        self.0.operations.run(move || disk.0.registry.reserve(&set, &files, is_again)).await
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
        outcome_lines::stream(self.0.operations.clone(), set, files, |set, files| {
            files.iter().map(|file| set.facts(*file)).collect()
        })
    }

    /// Makes files writable, whose indices lie within the set. Streams a JSON line for each: its facts or the error.
    pub fn claim(&self, set: Arc<FileSet>, claims: Vec<Claim>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        outcome_lines::stream(self.0.operations.clone(), set, claims, |set, claims| {
            claims.iter().map(|claim| set.claim(claim).map(Some)).collect()
        })
    }

    /// Waits until what was written to these files is on disk, with the folders in which they were made. Streams a JSON
    /// line for each: its facts or the error.
    pub fn flush(&self, set: Arc<FileSet>, files: Vec<usize>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        outcome_lines::stream(self.0.operations.clone(), set, files, |set, files| match set.flush(files) {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error)],
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

    /// Writes a body from `begin` of the set on, if it has the expected digest. The range lies within the set.
    ///
    /// # Errors
    /// `DigestMismatch` and `NotClaimed` before any file is touched; `FileChanged`, `Refused`, `DiskFull`,
    /// `Unavailable`.
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
        let set = self.0.registry.remove(&id)?;
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
        chunks::read(self.0.operations.clone(), Arc::clone(&self.0.counters), set, range).await
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
        recheck::digests(self.0.operations.clone(), Arc::clone(&self.0.counters), set, algorithm, ranges).await
    }
}
