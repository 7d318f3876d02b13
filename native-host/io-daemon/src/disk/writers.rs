//! Which set writes to which path. Each path has one writer.
//!
//! A path is identified by its folder, as device and inode, and its name there, with case ignored. So it is the same
//! path under every root, through every link and in every spelling. Folders that do not exist yet are a part of the
//! name. Paths that differ by case alone count as one everywhere, because whether the file system tells them apart is
//! known only once both exist. `locks` keeps other processes out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use super::facts::Identity;
use super::fault;
use super::locks::{self, Failure, Locks};
use super::path::FilePath;
use super::root::Root;
use crate::error::Error;
use crate::mutex::lock;

/// Identifies a folder and a name below it by a part of their digest, which is short: a set may have a million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PathKey([u8; 16]);

impl PathKey {
    fn new(folder: Identity, rest: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(folder.bytes());
        hasher.update(rest.to_lowercase());
        let digest = hasher.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// All ways in which a path is identified by now, from the outermost folder inwards.
#[derive(Clone)]
pub(crate) struct PathKeys(Vec<PathKey>);

/// Finds the ways in which paths below one root are identified. Looks at each folder once.
pub(crate) struct Locator<'a> {
    root: &'a Root,
    base: Option<Identity>,
    folders: HashMap<PathBuf, Option<Identity>>,
}

impl<'a> Locator<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, base: None, folders: HashMap::new() }
    }

    /// Finds the ways in which one path is identified. Makes no folder.
    pub(crate) fn find(&mut self, path: &FilePath) -> io::Result<PathKeys> {
        let base = match self.base {
            Some(known) => known,
            None => *self.base.insert(self.root.identity()?),
        };
        let whole = path.as_str();
        let mut keys = vec![PathKey::new(base, whole)];
        for folder in path.folders() {
            let Some(identity) = self.folder(folder)? else { break };
            keys.push(PathKey::new(identity, &whole[folder.as_os_str().len() + 1..]));
        }
        Ok(PathKeys(keys))
    }

    fn folder(&mut self, folder: &Path) -> io::Result<Option<Identity>> {
        if let Some(known) = self.folders.get(folder) {
            return Ok(*known);
        }
        let found = self.root.folder(folder)?;
        self.folders.insert(folder.to_owned(), found);
        Ok(found)
    }
}

/// The writers of all sets; a set is named by its serial.
#[derive(Default)]
pub(crate) struct Writers {
    table: Mutex<Table>,
    locks: Locks,
    /// The locks that keep other processes from the files of each set.
    guards: Mutex<HashMap<u64, Vec<Guard>>>,
}

/// Takes the place of a file that was released, because the files of a guard are known by their position.
const RELEASED: usize = usize::MAX;

/// Some files that no other process writes.
struct Guard {
    writer: locks::Writer,
    files: Vec<usize>,
}

impl Guard {
    /// Lets others write to those of its files that are in `files`. Returns whether any is left.
    fn release(&mut self, files: &HashSet<usize>) -> bool {
        let own = self.files.iter_mut().enumerate().filter(|(_, file)| files.contains(file));
        self.writer.release(own.map(|(index, file)| {
            *file = RELEASED;
            index
        }));
        self.files.iter().any(|file| *file != RELEASED)
    }
}

#[derive(Default)]
struct Table {
    /// The set that holds a key, and how many of its files have that key: files whose paths differ by case share
    /// it.
    holders: HashMap<PathKey, (u64, usize)>,
    held: HashMap<u64, HashMap<usize, Vec<PathKey>>>,
}

/// A file that another set writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) file: usize,
    pub(crate) by: u64,
}

impl Writers {
    /// Makes a set the only writer of files in this process: all of them, or none. A file with several paths has one
    /// entry for each, one after the other. Returns the files that have a path which the set had not reserved before.
    pub(crate) fn reserve(&self, set: u64, files: &[(usize, PathKeys)]) -> Result<Vec<usize>, Held> {
        let mut table = lock(&self.table);
        for (file, keys) in files {
            let holders = keys.0.iter().filter_map(|key| table.holders.get(key));
            if let Some((by, _)) = holders.into_iter().find(|(holder, _)| *holder != set) {
                return Err(Held { file: *file, by: *by });
            }
        }
        let Table { holders, held } = &mut *table;
        let own = held.entry(set).or_default();
        let mut new = Vec::new();
        for (file, keys) in files {
            let own = own.entry(*file).or_default();
            if !keys.0.iter().any(|key| own.contains(key)) && new.last() != Some(file) {
                new.push(*file);
            }
            // The outermost folder stays when the folders in between go. The innermost is the one that others may reach
            // by another path.
            for key in keys.0.first().into_iter().chain(keys.0.last()) {
                if !own.contains(key) {
                    own.push(*key);
                    holders.entry(*key).or_insert((set, 0)).1 += 1;
                }
            }
        }
        Ok(new)
    }

    /// Locks files against other processes, all of them or none, until they are released. Earlier paths of these files
    /// are unlocked. Blocks for up to a third of a second.
    pub(crate) fn lock_files(&self, set: u64, root: &Root, files: &[(usize, FilePath)]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = files.iter().map(|(_, path)| path).collect();
        let acquired = self.locks.acquire(root.path(), &paths, "the io-daemon", Some(set));
        let writer = acquired.map_err(|failure| match failure {
            Failure::System(error) => fault::of("", &error),
            Failure::Held { ref path, .. } => {
                let text = failure.to_string();
                let holder = text.strip_prefix(&format!("{path} is being written by ")).unwrap_or(&text).to_owned();
                Error::WriterConflict { path: path.clone(), holder }
            }
        })?;
        let mut table = lock(&self.guards);
        let guards = table.entry(set).or_default();
        let files: Vec<_> = files.iter().map(|(file, _)| *file).collect();
        let moved = files.iter().copied().collect();
        guards.retain_mut(|guard| guard.release(&moved));
        guards.push(Guard { writer, files });
        Ok(())
    }

    /// Keeps these paths of a file, and lets others write to its other paths.
    pub(crate) fn keep_only(&self, set: u64, paths: &[(usize, PathKeys)]) {
        let mut table = lock(&self.table);
        let Table { holders, held } = &mut *table;
        let Some(file) = paths.first().map(|(file, _)| file) else { return };
        let Some(own) = held.get_mut(&set).and_then(|files| files.get_mut(file)) else { return };
        for key in own.extract_if(.., |key| !paths.iter().any(|(_, keys)| keys.0.contains(key))) {
            leave(holders, key);
        }
    }

    /// Whether the set is the writer of a file.
    pub(crate) fn has(&self, set: u64, file: usize) -> bool {
        lock(&self.table).held.get(&set).is_some_and(|files| files.contains_key(&file))
    }

    /// Lets others write to these files.
    pub(crate) fn release(&self, set: u64, files: &[usize]) {
        if let Some(guards) = lock(&self.guards).get_mut(&set) {
            let released = files.iter().copied().collect();
            guards.retain_mut(|guard| guard.release(&released));
        }
        let mut table = lock(&self.table);
        let Table { holders, held } = &mut *table;
        let Some(own) = held.get_mut(&set) else { return };
        for key in files.iter().filter_map(|file| own.remove(file)).flatten() {
            leave(holders, key);
        }
        if own.is_empty() {
            held.remove(&set);
        }
    }

    /// Lets others write to all files of a set.
    pub(crate) fn release_all(&self, set: u64) {
        let guards = lock(&self.guards).remove(&set);
        drop(guards);
        let mut table = lock(&self.table);
        let Table { holders, held } = &mut *table;
        for key in held.remove(&set).into_iter().flatten().flat_map(|(_, keys)| keys) {
            leave(holders, key);
        }
    }
}

fn leave(holders: &mut HashMap<PathKey, (u64, usize)>, key: PathKey) {
    if let Entry::Occupied(mut holder) = holders.entry(key) {
        holder.get_mut().1 -= 1;
        if holder.get().1 == 0 {
            holder.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(path: &str) -> FilePath {
        FilePath::new(&path.split('/').collect::<Vec<_>>()).unwrap()
    }

    fn reserve(writers: &Writers, set: u64, root: &Root, files: &[&str]) -> Result<(), Held> {
        let mut locator = Locator::new(root);
        let keys: Vec<_> =
            files.iter().enumerate().map(|(file, name)| (file, locator.find(&path(name)).unwrap())).collect();
        writers.reserve(set, &keys).map(drop)
    }

    #[test]
    fn a_path_has_one_writer_whichever_way_it_is_reached() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("root/a/b")).unwrap();
        symlink("a", top.path().join("root/link")).unwrap();
        let root = Root::from(top.path().join("root"));
        let (above, below) = (Root::from(top.path().to_owned()), Root::from(top.path().join("root/a")));
        let writers = Writers::default();
        assert_eq!(reserve(&writers, 1, &root, &["x", "a/b/c"]), Ok(()));

        for (root, name) in
            [(&root, "a/b/c"), (&root, "A/B/C"), (&root, "link/b/c"), (&above, "root/a/b/c"), (&below, "b/c")]
        {
            assert_eq!(reserve(&writers, 2, root, &["y", name]), Err(Held { file: 1, by: 1 }), "{name}");
        }
        assert_eq!(reserve(&writers, 3, &root, &["y"]), Ok(()), "none of several that could not all be reserved");
        assert_eq!(reserve(&writers, 1, &root, &["a/b/c"]), Ok(()));
    }

    #[test]
    fn a_path_below_folders_that_are_made_later_or_again_has_one_writer() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a");
        let root = Root::from(top.path().to_owned());
        let writers = Writers::default();
        assert_eq!(reserve(&writers, 1, &root, &["a/b"]), Ok(()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(reserve(&writers, 1, &root, &["a/b"]), Ok(()));
        std::fs::rename(&folder, top.path().join("away")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();

        assert_eq!(reserve(&writers, 2, &root, &["a/b"]), Err(Held { file: 0, by: 1 }));
    }

    #[test]
    fn files_of_one_set_whose_paths_differ_by_case_are_held_until_both_are_released() {
        let top = tempfile::tempdir().unwrap();
        let root = Root::from(top.path().to_owned());
        let writers = Writers::default();
        assert_eq!(reserve(&writers, 1, &root, &["read", "READ"]), Ok(()));
        writers.release(1, &[0]);

        assert!(writers.has(1, 1));
        assert_eq!(reserve(&writers, 2, &root, &["Read"]), Err(Held { file: 0, by: 1 }));
        writers.release(1, &[1]);
        assert_eq!(reserve(&writers, 2, &root, &["Read"]), Ok(()));
    }

    #[test]
    fn what_is_released_may_be_written_by_another() {
        let top = tempfile::tempdir().unwrap();
        let root = Root::from(top.path().to_owned());
        let writers = Writers::default();
        reserve(&writers, 1, &root, &["a", "b", "c"]).unwrap();
        writers.release(1, &[0, 7]);

        assert!(!writers.has(1, 0) && writers.has(1, 1));
        assert_eq!(reserve(&writers, 2, &root, &["a"]), Ok(()));
        writers.release_all(1);
        assert_eq!(reserve(&writers, 2, &root, &["b", "c"]), Ok(()));
        writers.release_all(2);
        assert!(lock(&writers.table).holders.is_empty() && lock(&writers.table).held.is_empty());
    }
}
