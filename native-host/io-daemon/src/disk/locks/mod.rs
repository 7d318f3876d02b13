//! Locks for writers: for single files within the process, for topmost names across processes. Everything here blocks.
//!
//! Within the process every file is identified by its true path, folded. So two sets conflict exactly if they share a
//! file, under whatever roots and names. Across processes the topmost name below the true path of the root is locked
//! (`folders`). Roots may lie in each other, so the locks in every folder between the root of the file system and the
//! files are looked at too: the process that comes second finds the entry of the first.
//!
//! `src/storage/provider/node/locks/NodeWriterLocks.ts` follows the same scheme, so processes of either kind keep each
//! other out.

mod folders;
mod holders;
mod names;
mod socket;
mod true_paths;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use self::folders::{Folder, Folders, Found};
use self::holders::{Conflict, Holders};
use self::true_paths::TruePaths;
use super::path::FilePath;
use crate::mutex::lock;

/// Attempts before another process is believed to hold a file, because two processes that try at once both step back.
const ATTEMPTS: u32 = 5;

/// The longest wait before the second attempt, in microseconds. It doubles with each attempt.
const FIRST_PAUSE: u64 = 20_000;

/// Takes the place of the key of a file that was released.
const RELEASED: usize = usize::MAX;

/// Why files are not locked. Nothing was touched.
#[derive(Debug, Error)]
pub enum Failure {
    /// Another writer holds one of the files.
    #[error(
        "{path} is being written by {holder}{}",
        entry.as_ref().map(|entry| {
            format!(", on another machine. If that process has ended, delete {}", entry.display())
        }).unwrap_or_default()
    )]
    Held {
        /// Components below the root, joined by `/`: the file, or the topmost name that two processes share.
        path: String,
        /// What the holder says about itself, for people.
        holder: String,
        /// The entry of the lock, if the holder ran on another machine or in a container that looks like one. Whether
        /// it still runs cannot be found out here.
        entry: Option<PathBuf>,
    },
    /// The system's error.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The locks of this process. Cheap to clone. One is enough for a process; two keep each other out as two processes do.
#[derive(Clone)]
pub struct Locks(Arc<Shared>);

struct Shared {
    folders: Folders,
    holders: Holders,
}

impl Default for Locks {
    fn default() -> Self {
        Self::new(Folders::new(socket::listen))
    }
}

/// The right to write some files, until it is dropped.
pub struct Writer {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    files: Mutex<Files>,
}

/// Files of a writer, by their index in what was acquired.
struct Files {
    /// The identity of each file, until it is released.
    held: Vec<Option<u128>>,
    /// The index of each file's key in `keys`.
    key_of: Vec<usize>,
    /// The keys, and how many files are held under each.
    keys: Vec<(String, usize)>,
}

enum Attempt {
    Taken(Writer),
    /// Another process has an entry, perhaps only for the moment of its own attempt.
    Contended(Failure),
}

impl Locks {
    fn new(folders: Folders) -> Self {
        Self(Arc::new(Shared { folders, holders: Holders::default() }))
    }

    /// Acquires the right to write files below an existing root, all of them or none, until the writer is dropped or
    /// they are released. Other sets of this process may hold any other file; another process may hold files with other
    /// topmost names. Files acquired before with the same `by` do not conflict, because two of them may have names that
    /// only some file systems tell apart. `description` describes the writer, for people.
    ///
    /// Retries for up to a third of a second before it believes that another process holds a file, because two that try
    /// at once both step back. Logs one warning for each folder that cannot have locks, and then succeeds.
    ///
    /// # Errors
    /// `Held`, or `System` if the root is missing or the disk fails.
    pub fn acquire(
        &self,
        root: &Path,
        paths: &[&FilePath],
        description: &str,
        by: Option<u64>,
    ) -> Result<Writer, Failure> {
        let random = RandomState::new();
        let mut most = FIRST_PAUSE;
        for attempt in 1.. {
            match self.attempt(root, paths, description, by)? {
                Attempt::Taken(writer) => return Ok(writer),
                Attempt::Contended(held) if attempt == ATTEMPTS => return Err(held),
                Attempt::Contended(_) => {}
            }
            thread::sleep(Duration::from_micros(random.hash_one(attempt) % most));
            most *= 2;
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(
        &self,
        root: &Path,
        paths: &[&FilePath],
        description: &str,
        by: Option<u64>,
    ) -> Result<Attempt, Failure> {
        let shared = &self.0;
        let places = TruePaths::locate(root, paths)?;
        let tops: Vec<&str> = paths.iter().map(|path| places.top(path)).collect();
        let mut index_of = HashMap::new();
        let mut files = Files { held: Vec::new(), key_of: Vec::new(), keys: Vec::new() };
        for top in &tops {
            let index = *index_of.entry(*top).or_insert_with(|| {
                let key = names::key_of(top);
                files.keys.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                    files.keys.push((key, 0));
                    files.keys.len() - 1
                })
            });
            files.keys[index].1 += 1;
            files.key_of.push(index);
        }
        let identities: Vec<_> = paths.iter().map(|path| names::identity(&places.real(path))).collect();
        shared.holders.register(&identities, description, by).map_err(|Conflict { index, description }| {
            let holder = format!("another torrent of this process, {description}");
            Failure::Held { path: paths[index].as_str().to_owned(), holder, entry: None }
        })?;
        files.held = identities.into_iter().map(Some).collect();
        let folder = shared.folders.of(&places.directory);
        let text = format!("process {} on {}: {}", std::process::id(), socket::host(), socket::plain_text(description));
        let keys = files.held_keys();
        let met = shared.folders.claim(&folder, &keys, &text, || shared.find_other(&places, paths, &keys));
        if !matches!(met, Ok(None)) {
            shared.holders.unregister(&files.held);
        }
        let Some(Found { key, entry, is_foreign }) = met? else {
            return Ok(Attempt::Taken(Writer { shared: Arc::clone(shared), folder, files: Mutex::new(files) }));
        };
        let known = tops.iter().zip(&files.key_of).find(|(_, index)| files.keys[**index].0 == key);
        let path = known.map_or_else(|| paths[0].top(), |(top, _)| top).to_owned();
        let holder = socket::read(&entry);
        if is_foreign {
            return Err(Failure::Held { path, holder, entry: Some(entry) });
        }
        Ok(Attempt::Contended(Failure::Held { path, holder, entry: None }))
    }
}

impl Shared {
    /// Looks for entries of other processes from the root of the file system down to the files.
    fn find_other(&self, places: &TruePaths, paths: &[&FilePath], keys: &[&str]) -> io::Result<Option<Found>> {
        let directory = &places.directory;
        if let Some(found) = self.folders.find(directory, |key| keys.contains(&key))? {
            return Ok(Some(found));
        }
        for inner in directory.ancestors() {
            let (Some(outer), Some(name)) = (inner.parent(), inner.file_name()) else { break };
            let wanted = names::key_of(&name.to_string_lossy());
            if let Some(found) = self.folders.find(outer, |key| key == wanted)? {
                return Ok(Some(found));
            }
        }
        let mut missing = HashSet::new();
        for (given, place) in &places.folders {
            let parent = given.rsplit_once('/').map_or("", |(parent, _)| parent);
            // Another process may have made this folder since, and locked something in it before it could see our
            // entry.
            if missing.contains(parent) || !place.exists() {
                missing.insert(given.as_str());
            } else if place != directory && folders::is_used(place)? {
                let wanted: HashSet<_> = paths
                    .iter()
                    .filter_map(|path| places.name_below(place, path))
                    .map(|name| names::key_of(&name))
                    .collect();
                if let Some(found) = self.folders.find(place, |key| wanted.contains(key))? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

impl Files {
    fn held_keys(&self) -> Vec<&str> {
        self.keys.iter().filter(|(_, count)| *count > 0).map(|(key, _)| key.as_str()).collect()
    }
}

impl Writer {
    /// Releases files, named by their index in the paths that were acquired. From then on others may write them.
    /// Idempotent.
    pub fn release(&self, released: impl IntoIterator<Item = usize>) {
        let mut files = lock(&self.files);
        let Files { held, key_of, keys } = &mut *files;
        let mut done = Vec::new();
        let mut identities = Vec::new();
        for index in released {
            let Some(key) = key_of.get_mut(index).filter(|key| **key != RELEASED) else { continue };
            let (_, count) = &mut keys[*key];
            *count -= 1;
            if *count == 0 {
                done.push(*key);
            }
            *key = RELEASED;
            identities.push(held[index].take());
        }
        // Other sets of this process are let in before other processes are.
        self.shared.holders.unregister(&identities);
        let done: Vec<_> = done.into_iter().map(|key| keys[key].0.as_str()).collect();
        if !done.is_empty() {
            self.shared.folders.unclaim(&self.folder, &done);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let count = lock(&self.files).key_of.len();
        self.release(0..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn paths(paths: &[&str]) -> Vec<FilePath> {
        paths.iter().map(|path| FilePath::new(&path.split('/').collect::<Vec<_>>()).unwrap()).collect()
    }

    fn take(locks: &Locks, root: &Path, names: &[&str]) -> Result<Writer, Failure> {
        take_by(locks, root, names, None)
    }

    fn take_by(locks: &Locks, root: &Path, names: &[&str], by: Option<u64>) -> Result<Writer, Failure> {
        locks.acquire(root, &paths(names).iter().collect::<Vec<_>>(), &format!("writes {}", names.join(",")), by)
    }

    fn refusal(locks: &Locks, root: &Path, names: &[&str]) -> Option<String> {
        match take(locks, root, names) {
            Ok(_) => None,
            Err(held @ Failure::Held { .. }) => Some(held.to_string()),
            Err(Failure::System(error)) => panic!("{error}"),
        }
    }

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn entries(root: &Path) -> usize {
        fs::read_dir(root.join(".piecewise/locks")).map_or(0, Iterator::count)
    }

    #[test]
    fn writers_of_one_process_share_a_name_but_no_file() {
        let root = tempfile::tempdir().unwrap();
        let locks = Locks::default();
        let writer = take(&locks, root.path(), &["t/a", "t/b"]).unwrap();

        assert_eq!(refusal(&locks, root.path(), &["t/c", "u"]), None);
        let why = refusal(&locks, root.path(), &["t/c", "T/B"]).unwrap();
        assert_eq!(why, "T/B is being written by another torrent of this process, writes t/a,t/b");
        assert_eq!(refusal(&locks, root.path(), &["t/c"]), None);

        writer.release([0, 0]);
        writer.release([0]);
        assert_eq!(refusal(&locks, root.path(), &["t/a"]), None);
        assert!(refusal(&locks, root.path(), &["t/b"]).is_some());
        drop(writer);
        assert_eq!(refusal(&locks, root.path(), &["t/b"]), None);
        assert_eq!(names_in(root.path()), [] as [&str; 0]);
    }

    #[test]
    fn names_of_one_set_that_fold_alike_are_held_until_the_last_is_released() {
        let root = tempfile::tempdir().unwrap();
        let locks = Locks::default();
        let writer = take(&locks, root.path(), &["readme", "ReadMe"]).unwrap();

        writer.release([0]);
        assert!(refusal(&locks, root.path(), &["README"]).is_some());
        writer.release([1]);
        assert_eq!(refusal(&locks, root.path(), &["README"]), None);
    }

    #[test]
    fn names_of_one_set_that_fold_alike_may_be_taken_one_after_the_other() {
        let root = tempfile::tempdir().unwrap();
        let locks = Locks::default();
        let first = take_by(&locks, root.path(), &["readme"], Some(1)).unwrap();
        let second = take_by(&locks, root.path(), &["ReadMe"], Some(1)).unwrap();

        assert!(take_by(&locks, root.path(), &["README"], Some(2)).is_err());
        drop(first);
        assert!(take_by(&locks, root.path(), &["README"], Some(2)).is_err());
        drop(second);
        assert!(take_by(&locks, root.path(), &["README"], Some(2)).is_ok());
    }

    #[test]
    fn writers_meet_through_links_and_in_roots_that_lie_in_each_other() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("real/sub")).unwrap();
        symlink("real", root.path().join("link")).unwrap();
        let (one, other) = (Locks::default(), Locks::default());
        let writer = take(&one, root.path(), &["link/sub/a", "link/new/b"]).unwrap();

        for locks in [&one, &other] {
            assert!(refusal(locks, root.path(), &["real/sub/a"]).is_some());
            assert!(refusal(locks, &root.path().join("real/sub"), &["a"]).is_some());
            assert!(refusal(locks, &root.path().join("link"), &["new/b"]).is_some());
        }
        drop(writer);
        let _inner = take(&one, &root.path().join("real/sub"), &["a"]).unwrap();
        assert!(refusal(&other, root.path(), &["x", "real/sub/A"]).is_some());
        assert_eq!(refusal(&other, root.path(), &["x", "real/a"]), None);
    }

    #[test]
    fn writers_of_several_processes_write_one_root_but_nothing_of_one_name() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (Locks::default(), Locks::default());
        let writer = take(&one, root.path(), &["t/a", "u"]).unwrap();
        let _same = take(&one, root.path(), &["t/b"]).unwrap();

        assert_eq!(refusal(&other, root.path(), &["v"]), None);
        let why = refusal(&other, root.path(), &["v", "T/c"]).unwrap();
        assert!(why.starts_with("T is being written by process "), "{why}");
        assert!(why.ends_with(": writes t/a,u"), "{why}");
        writer.release([0, 1]);
        assert_eq!(refusal(&other, root.path(), &["u"]), None);
        assert!(refusal(&other, root.path(), &["t/a"]).is_some());
    }

    #[test]
    fn an_entry_of_another_machine_is_left_and_named() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(".piecewise/locks");
        fs::create_dir_all(&place).unwrap();
        let id = names::Marks::new("another machine", "another start").id(0);
        let entry = place.join(format!("{}.{id}", names::key_of("a")));
        fs::write(&entry, "process 1 elsewhere").unwrap();
        let locks = Locks::default();

        let why = refusal(&locks, root.path(), &["a"]).unwrap();

        let delete = format!("on another machine. If that process has ended, delete {}", entry.display());
        assert_eq!(why, format!("a is being written by process 1 elsewhere, {delete}"));
        fs::remove_file(&entry).unwrap();
        assert_eq!(refusal(&locks, root.path(), &["a"]), None);
    }

    #[test]
    fn entries_that_somebody_removes_are_published_again() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (Locks::default(), Locks::default());
        let _a = take(&one, root.path(), &["a"]).unwrap();
        fs::remove_dir_all(root.path().join(".piecewise")).unwrap();
        let _b = take(&one, root.path(), &["b"]).unwrap();

        assert!(refusal(&other, root.path(), &["a"]).is_some());
        assert!(refusal(&other, root.path(), &["b"]).is_some());
    }

    #[test]
    fn a_missing_root_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");

        let failed = take(&Locks::default(), &missing, &["a"]);

        assert!(matches!(failed, Err(Failure::System(error)) if error.kind() == io::ErrorKind::NotFound));
        assert!(!missing.exists());
    }

    #[test]
    fn a_root_that_cannot_have_locks_is_written_to_unless_others_have_entries_there() {
        let root = tempfile::tempdir().unwrap();
        let deaf = Locks::new(Folders::new(|_, _| Err(rustix::io::Errno::PERM.into())));
        {
            let _writer = take(&deaf, root.path(), &["a"]).unwrap();
            assert!(refusal(&deaf, root.path(), &["a"]).is_some());
        }
        assert_eq!(names_in(root.path()), [] as [&str; 0]);

        let _other = take(&Locks::default(), root.path(), &["a"]).unwrap();
        assert!(refusal(&deaf, root.path(), &["a"]).is_some());
    }

    #[test]
    fn an_error_that_may_pass_keeps_files_from_being_written_without_locks() {
        let root = tempfile::tempdir().unwrap();
        let full = Locks::new(Folders::new(|_, _| Err(rustix::io::Errno::NOSPC.into())));

        let failed = take(&full, root.path(), &["a"]);

        assert!(matches!(failed, Err(Failure::System(error)) if error.kind() == io::ErrorKind::StorageFull));
        assert_eq!(names_in(root.path()), [] as [&str; 0]);
        assert!(full.0.holders.is_empty());
    }

    #[test]
    fn processes_that_come_go_and_crash_never_hold_one_file_twice_and_leave_nothing() {
        const NAMES: [&str; 4] = ["a", "A", "b/x", "c"];
        const ROUNDS: usize = 150;
        let root = tempfile::tempdir().unwrap();
        let holders = Mutex::new(HashSet::new());
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let random = RandomState::new();

        let live = |thread: usize| {
            for round in 0..ROUNDS {
                let locks = Locks::default();
                let number = usize::try_from(random.hash_one((thread, round)) % 1000).unwrap();
                let name = NAMES[number % NAMES.len()];
                match take(&locks, root.path(), &[name]) {
                    Err(Failure::Held { .. }) => {}
                    Err(Failure::System(error)) => panic!("{error}"),
                    Ok(writer) => {
                        assert!(lock(&holders).insert(name.to_lowercase()), "two hold {name}");
                        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        thread::yield_now();
                        lock(&holders).remove(&name.to_lowercase());
                        if number.is_multiple_of(3) {
                            locks.0.folders.crash();
                            std::mem::forget(writer);
                        }
                    }
                }
            }
        };
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || live(thread));
            }
        });

        assert!(taken.into_inner() > ROUNDS);
        assert_eq!(refusal(&Locks::default(), root.path(), &NAMES), None);
        assert_eq!(entries(root.path()), 0);
        assert_eq!(names_in(root.path()), [] as [&str; 0]);
    }
}
