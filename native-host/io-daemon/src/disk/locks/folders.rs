//! The locks that one process holds in the folders of locks, and its beacon, which shows that it runs.
//!
//! To lock a key, a process publishes its entry and only then looks for entries of others. So of two processes at least
//! one sees the other, and a process that sees another one steps back. An entry is removed by its process, or by any
//! process that found its beacon silent. Ids are never used again, so only entries of a process that has ended or has
//! left are removed.
//!
//! A beacon has its name only while it listens, because it is made under another name and renamed. A process listens on
//! one socket; further folders of the same file system get a hard link to it, each under an id of its own. A folder of
//! locks is removed with its last lock, by `rmdir`, which fails while the folder is in use. A process that finds it
//! missing makes it again.
//!
//! Errors of removing are ignored throughout: another process may have been faster, or may be the only one that is
//! permitted to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use super::names::{BEACON_END, FOLDER, LockName, Marks, NEW_BEACON_END};
use super::socket;
use crate::mutex::lock;

/// Attempts at something in a folder that others may remove. They do so once for each lock, so many times in a row are
/// unlikely.
const ATTEMPTS: usize = 8;

/// Opens a socket. Tests use one that fails.
type Listen = fn(&Path, &str) -> io::Result<UnixListener>;

/// An entry of another process that runs here, or may run on another machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) entry: PathBuf,
    pub(super) is_foreign: bool,
}

/// All that one process holds.
pub(super) struct Folders {
    marks: Marks,
    listen: Listen,
    /// The locks in each folder, by the true path of the download folder.
    known: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    /// Held while a socket is bound, so that two folders do not both bind one.
    beacons: Mutex<Vec<Weak<Beacon>>>,
    own_ids: Mutex<HashSet<String>>,
}

/// What this process holds in one download folder.
pub(super) struct Folder {
    directory: PathBuf,
    place: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many writers of this process hold each key.
    held: BTreeMap<String, usize>,
    opened: Option<Opened>,
    has_warned: bool,
}

struct Opened {
    id: String,
    beacon: Arc<Beacon>,
    /// Keys whose entries are published.
    published: HashSet<String>,
}

/// A socket, and the names that lead to it. It is the only descriptor that locks keep open, and is closed with the last
/// folder that uses it.
struct Beacon {
    _listener: UnixListener,
    names: Mutex<HashSet<PathBuf>>,
}

/// Whether an error says that a folder can never have locks. Other errors may pass, or make writing fail too.
fn is_impossible(error: &io::Error) -> bool {
    const IMPOSSIBLE: [Errno; 9] = [
        Errno::ACCESS,
        Errno::AFNOSUPPORT,
        Errno::INVAL,
        Errno::NAMETOOLONG,
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::PROTONOSUPPORT,
        Errno::ROFS,
    ];
    Errno::from_io_error(error).is_some_and(|number| IMPOSSIBLE.contains(&number))
}

fn place_of(directory: &Path) -> PathBuf {
    directory.join(FOLDER[0]).join(FOLDER[1])
}

/// The names in a folder of locks; none if there is no such folder, or if it may not be read.
fn list(place: &Path) -> io::Result<Vec<String>> {
    let unseen = |error: &io::Error| {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM | Errno::LOOP)
        )
    };
    match fs::read_dir(place) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(error) if unseen(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether a folder has any locks.
pub(super) fn is_used(directory: &Path) -> io::Result<bool> {
    Ok(!list(&place_of(directory))?.is_empty())
}

impl Folders {
    /// Holds nothing yet.
    pub(super) fn new(listen: Listen) -> Self {
        Self {
            marks: socket::marks(),
            listen,
            known: Mutex::default(),
            beacons: Mutex::default(),
            own_ids: Mutex::default(),
        }
    }

    /// The locks in a download folder, which is given by its true path.
    pub(super) fn of(&self, directory: &Path) -> Arc<Folder> {
        let mut folders = lock(&self.known);
        let known = folders.entry(directory.to_owned()).or_insert_with(|| {
            let (directory, place) = (directory.to_owned(), place_of(directory));
            Arc::new(Folder { directory, place, state: Mutex::default() })
        });
        Arc::clone(known)
    }

    /// Counts keys as held and publishes them. Then calls `others`, which looks for other processes in this and in
    /// other folders. If that finds an entry or anything fails, nothing is held.
    pub(super) fn claim(
        &self,
        folder: &Folder,
        keys: &[&str],
        text: &str,
        others: impl FnOnce() -> io::Result<Option<Found>>,
    ) -> io::Result<Option<Found>> {
        let state = &mut *lock(&folder.state);
        let is_held = keys.iter().all(|key| state.held.contains_key(*key));
        for key in keys {
            *state.held.entry((*key).to_owned()).or_default() += 1;
        }
        // A process that came since has seen our entries.
        if is_held {
            return Ok(None);
        }
        let met = self.publish_if_possible(folder, state, text).and_then(|()| others());
        if !matches!(met, Ok(None)) {
            self.give_up(folder, state, keys);
        }
        met
    }

    /// Releases keys, each once.
    pub(super) fn unclaim(&self, folder: &Folder, keys: &[&str]) {
        self.give_up(folder, &mut lock(&folder.state), keys);
    }

    /// The first entry of another process in a download folder whose key is wanted. Removes entries of processes that
    /// have ended.
    pub(super) fn find(&self, directory: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<Option<Found>> {
        let place = place_of(directory);
        for name in list(&place)? {
            let Some(LockName::Entry { key, id }) = LockName::parse(&name) else { continue };
            if self.is_own(id) || !is_wanted(key) {
                continue;
            }
            let answers = socket::answers(&place, &format!("{id}{BEACON_END}"))?;
            let is_foreign = !answers && self.marks.is_foreign(id);
            if answers || is_foreign {
                return Ok(Some(Found { key: key.to_owned(), entry: place.join(&name), is_foreign }));
            }
            let _ = fs::remove_file(place.join(&name));
        }
        Ok(None)
    }

    /// Leaves everything in place and stops answering, like a process that is killed.
    #[cfg(test)]
    pub(super) fn crash(&self) {
        for folder in lock(&self.known).values() {
            drop(lock(&folder.state).opened.take());
        }
    }

    fn is_own(&self, id: &str) -> bool {
        lock(&self.own_ids).contains(id)
    }

    fn publish_if_possible(&self, folder: &Folder, state: &mut State, text: &str) -> io::Result<()> {
        match self.publish(folder, state, text) {
            Err(error) if is_impossible(&error) => {
                if !state.has_warned {
                    state.has_warned = true;
                    let folder = folder.directory.display();
                    tracing::warn!(
                        %folder, %error,
                        "the folder cannot have locks: nothing keeps another process from writing the same files"
                    );
                }
                Ok(())
            }
            published => published,
        }
    }

    /// Publishes every key that is held. Starts again if another process removed the folder or anything published
    /// before.
    fn publish(&self, folder: &Folder, state: &mut State, text: &str) -> io::Result<()> {
        let mut published = self.publish_once(folder, state, text);
        for _ in 1..ATTEMPTS {
            match published {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.close(folder, state);
                    published = self.publish_once(folder, state, text);
                }
                _ => break,
            }
        }
        published
    }

    fn publish_once(&self, folder: &Folder, state: &mut State, text: &str) -> io::Result<()> {
        if state.opened.is_none() {
            state.opened = Some(self.open(folder)?);
        }
        let Some(opened) = &mut state.opened else { return Err(io::ErrorKind::NotFound.into()) };
        let entry = |key: &str| format!("{key}.{}", opened.id);
        for key in state.held.keys() {
            if opened.published.contains(key) {
                continue;
            }
            socket::create(&folder.place.join(entry(key)), text)?;
            opened.published.insert(key.clone());
        }
        let names: HashSet<_> = list(&folder.place)?.into_iter().collect();
        let is_whole = names.contains(&format!("{}{BEACON_END}", opened.id))
            && opened.published.iter().all(|key| names.contains(&entry(key)));
        if is_whole { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn give_up(&self, folder: &Folder, state: &mut State, keys: &[&str]) {
        for key in keys {
            match state.held.get_mut(*key) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    state.held.remove(*key);
                    if let Some(opened) = &mut state.opened
                        && opened.published.remove(*key)
                    {
                        let _ = fs::remove_file(folder.place.join(format!("{key}.{}", opened.id)));
                    }
                }
                None => {}
            }
        }
        if state.held.is_empty() {
            self.close(folder, state);
        }
    }

    /// Removes everything of this process from a folder. Entries first: an entry without a beacon does not count.
    fn close(&self, folder: &Folder, state: &mut State) {
        if let Some(Opened { id, beacon, published }) = state.opened.take() {
            for key in published {
                let _ = fs::remove_file(folder.place.join(format!("{key}.{id}")));
            }
            let path = folder.place.join(format!("{id}{BEACON_END}"));
            let _ = fs::remove_file(&path);
            lock(&beacon.names).remove(&path);
            lock(&self.own_ids).remove(&id);
        }
        // A beacon that cannot be reached stays.
        let _ = self.sweep(&folder.place);
        // Other processes may use the folder, or may have been faster.
        let _ = fs::remove_dir(&folder.place).and_then(|()| fs::remove_dir(folder.directory.join(FOLDER[0])));
    }

    /// Removes what ended processes have left, so that the folder can be removed eventually.
    fn sweep(&self, place: &Path) -> io::Result<()> {
        let mut answers = HashMap::new();
        for name in list(place)? {
            let Some(parsed) = LockName::parse(&name) else { continue };
            let id = parsed.id();
            if self.is_own(id) || self.marks.is_foreign(id) {
                continue;
            }
            let beacon = match parsed {
                LockName::Entry { .. } => format!("{id}{BEACON_END}"),
                _ => name.clone(),
            };
            let answers = if let Some(known) = answers.get(&beacon) {
                *known
            } else {
                let answer = socket::answers(place, &beacon)?;
                answers.insert(beacon, answer);
                answer
            };
            if !answers {
                let _ = fs::remove_file(place.join(&name));
            }
        }
        Ok(())
    }

    fn open(&self, folder: &Folder) -> io::Result<Opened> {
        let Folder { directory, place, .. } = folder;
        // Only the operator makes the download folder itself.
        for made in [&directory.join(FOLDER[0]), place] {
            match fs::create_dir(made) {
                // `NotFound` if another process has removed the folder since: it is made again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::metadata(made)?.is_dir() {
                        return Err(error);
                    }
                }
                made => made?,
            }
        }
        let _ = self.sweep(place);
        let random = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
        let id = self.marks.id(random);
        // Noted before anything with that id exists, so that no sweep of this process takes it for the id of another
        // process.
        lock(&self.own_ids).insert(id.clone());
        let mut beacons = lock(&self.beacons);
        beacons.retain(|beacon| beacon.strong_count() > 0);
        let beacon = match share(&beacons, place, &id) {
            Some(shared) => shared,
            None => match self.bind(place, &id) {
                Ok(bound) => {
                    beacons.push(Arc::downgrade(&bound));
                    bound
                }
                Err(error) => {
                    lock(&self.own_ids).remove(&id);
                    return Err(error);
                }
            },
        };
        lock(&beacon.names).insert(place.join(format!("{id}{BEACON_END}")));
        Ok(Opened { id, beacon, published: HashSet::new() })
    }

    fn bind(&self, place: &Path, id: &str) -> io::Result<Arc<Beacon>> {
        let name = format!("{id}{BEACON_END}");
        let new_name = format!("{id}{NEW_BEACON_END}");
        let bound = (self.listen)(place, &new_name).and_then(|listener| {
            fs::rename(place.join(&new_name), place.join(&name))?;
            // Not every file system finds a socket again.
            if socket::answers(place, &name)? { Ok(listener) } else { Err(Errno::OPNOTSUPP.into()) }
        });
        match bound {
            Ok(listener) => Ok(Arc::new(Beacon { _listener: listener, names: Mutex::default() })),
            Err(error) => {
                for made in [new_name, name] {
                    let _ = fs::remove_file(place.join(made));
                }
                Err(error)
            }
        }
    }
}

/// Gives an existing socket a name in this folder; `None` if that is impossible.
fn share(beacons: &[Weak<Beacon>], place: &Path, id: &str) -> Option<Arc<Beacon>> {
    let name = format!("{id}{BEACON_END}");
    let path = place.join(&name);
    for beacon in beacons.iter().filter_map(Weak::upgrade) {
        let known: Vec<_> = lock(&beacon.names).iter().cloned().collect();
        for known in known {
            if fs::hard_link(known, &path).is_err() {
                continue;
            }
            // Not every file system finds a socket by its second name.
            if socket::answers(place, &name).unwrap_or(false) {
                return Some(beacon);
            }
            let _ = fs::remove_file(&path);
        }
    }
    None
}
