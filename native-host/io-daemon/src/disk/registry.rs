//! The roots in force, and the sets registered below them. Everything that forgets a set blocks until its operations in
//! flight have ended.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::handles::Handles;
use super::marker::Taking;
use super::registration::Registration;
use super::root::Root;
use super::set::FileSet;
use super::writers::{Held, Writers};
use crate::error::{Error, Result};

/// The most sets registered. A client that never forgets a set reaches this limit.
const MAX_SETS: usize = 10_000;

/// A set that was not used for so long is forgotten when another one is registered or needs its files, because a page
/// that vanishes does not forget its sets. If its client is still there, the client registers the set again with its
/// next request.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5 * 60);

type Sets = HashMap<String, Arc<FileSet>>;

/// The roots by name, and the sets by id.
pub(super) struct Registry {
    roots: RwLock<HashMap<String, Root>>,
    sets: RwLock<Sets>,
    next_serial: AtomicU64,
    handles: Arc<Handles>,
    writers: Arc<Writers>,
}

/// Whether a registered set was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Nothing was registered under the id.
    New,
    /// The same set was registered before.
    Again,
}

impl Registry {
    /// A registry without roots and sets. Its sets share `handles`.
    pub(super) fn new(handles: Arc<Handles>) -> Self {
        Self {
            roots: RwLock::default(),
            sets: RwLock::default(),
            next_serial: AtomicU64::new(0),
            handles,
            writers: Arc::default(),
        }
    }

    fn roots(&self) -> RwLockReadGuard<'_, HashMap<String, Root>> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sets(&self) -> RwLockReadGuard<'_, Sets> {
        self.sets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sets_mut(&self) -> RwLockWriteGuard<'_, Sets> {
        self.sets.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many sets are registered now.
    pub(super) fn len(&self) -> usize {
        self.sets().len()
    }

    /// Puts these roots in force. New roots are taken as `taking` says. Roots that stay are kept as they were taken,
    /// even while they are gone. The sets of a root that is dropped, or that has another folder now, are revoked.
    /// Blocks.
    pub(super) fn take_roots(&self, roots: &BTreeMap<String, PathBuf>, taking: Taking) {
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
        self.roots.write().unwrap_or_else(PoisonError::into_inner).clone_from(&taken);
        // Taken after the roots were swapped: registering a set looks at the roots under this lock.
        let mut sets = self.sets_mut();
        let revoked: Vec<_> = sets.extract_if(|_, set| !is_in_force(&taken, set.registration())).collect();
        drop(sets);
        for (_, set) in revoked {
            set.revoke();
        }
    }

    /// The root in force under the name.
    ///
    /// # Errors
    /// `UnknownRoot`.
    pub(super) fn root(&self, name: &str) -> Result<Root> {
        self.roots().get(name).cloned().ok_or(Error::UnknownRoot)
    }

    /// Registers a set, touching no file. The files of `skipped`, indices within its layout, are set aside if the set
    /// is new. A set that is registered already starts over: nothing of it is reserved or claimed any more, and skipped
    /// files stay skipped. Blocks while it compares two lists, and for writes in flight.
    ///
    /// # Errors
    /// `UnknownRoot` if its root was dropped meanwhile, `SetConflict`, or `Busy` if there are too many sets.
    pub(super) fn register(&self, id: String, registration: Registration, skipped: &[usize]) -> Result<Registered> {
        let mut sets = self.sets_mut();
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
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let (handles, writers) = (Arc::clone(&self.handles), Arc::clone(&self.writers));
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
        let mut sets = self.sets_mut();
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
        let sets = self.sets();
        let holder = sets.values().find(|one| one.serial() == serial);
        let is_own = holder.is_some_and(|one| owner.is_some() && one.registration().client.owner == *owner);
        if is_own { "another torrent of this process" } else { "another process" }.to_owned()
    }

    /// Makes a set the only writer of files: all of them, or none. A set in the way is forgotten if it seems to be
    /// abandoned. `is_again` means that the set had reserved these files before it was forgotten. It then does not
    /// replace another set of the same torrent.
    ///
    /// # Errors
    /// `WriterConflict`, `Refused`, `Unavailable`.
    pub(super) fn reserve(&self, set: &FileSet, files: &[usize], is_again: bool) -> Result<()> {
        loop {
            let Err(Held { file, by }) = set.reserve(files)? else { return Ok(()) };
            if !self.forget_abandoned(by, set, is_again) {
                let path = set.file(file)?.map_or(String::new(), |(path, _)| path.as_str().to_owned());
                return Err(Error::WriterConflict { path, holder: self.holder(by, set) });
            }
        }
    }

    /// The set registered under the id.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub(super) fn set(&self, id: &str) -> Result<Arc<FileSet>> {
        let sets = self.sets();
        let set = sets.get(id).cloned().ok_or(Error::UnknownSet)?;
        set.note_used();
        Ok(set)
    }

    /// Removes a set, which the caller then forgets.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub(super) fn remove(&self, id: &str) -> Result<Arc<FileSet>> {
        self.sets_mut().remove(id).ok_or(Error::UnknownSet)
    }
}

fn is_in_force(roots: &HashMap<String, Root>, registration: &Registration) -> bool {
    roots.get(&registration.root_name).is_some_and(|root| *root == registration.root)
}
