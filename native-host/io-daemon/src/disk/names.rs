//! The name under which each file of a set lies on this disk, or will be made.
//!
//! Whether two names are one is found out on the file system, because it may differ from folder to folder: a name that
//! leads to the file or folder of a rival is not a name of this file. An existing file is found by any of its names,
//! its own first. A new file gets its own name. It gets the name that it is registered with if the file system cannot
//! hold its own name, or if a rival's name leads to what was just made. From then on, or from its claim on, it keeps
//! that name.
//!
//! `src/storage/provider/node/FileNames.ts` does the same without the daemon. A file with one name and no rival needs no look at the
//! disk. Everything else blocks.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::facts::Identity;
use super::found_name::FoundName;
use super::path::FilePath;
use super::rivals::{Rival, Rivals};
use super::root::Root;
use super::system_error::is_unnameable;
use crate::mutex::lock;

/// The names of the files of one set. A file is named by its index in the layout; `registered` is its path there, which
/// is used for files that have neither rivals nor other names.
pub(crate) struct Names {
    root: Root,
    rivals: Arc<Rivals>,
    /// The paths of files that were moved to other paths.
    renamed: RwLock<HashMap<usize, FilePath>>,
    /// The names of files that were made or claimed. Locked from a look at the disk until its result is used, so that
    /// no rival is made in between.
    settled: Mutex<HashMap<usize, FilePath>>,
}

/// A file that was put somewhere.
pub(crate) struct Put<T> {
    pub(crate) path: FilePath,
    pub(crate) done: T,
    /// The folders that got an entry.
    pub(crate) folders: Vec<PathBuf>,
}

/// The name at which a file lies, and the first of its names at which nothing lies.
#[derive(Default)]
struct Looked<'a> {
    existing: Option<&'a FilePath>,
    vacant: Option<&'a FilePath>,
}

impl Names {
    /// Does not touch the disk.
    pub(crate) fn new(root: Root, rivals: Arc<Rivals>) -> Self {
        Self { root, rivals, renamed: RwLock::default(), settled: Mutex::default() }
    }

    fn renamed(&self, file: usize) -> Option<FilePath> {
        self.renamed.read().unwrap_or_else(PoisonError::into_inner).get(&file).cloned()
    }

    /// Notes that the file has another path from now on.
    pub(crate) fn rename(&self, file: usize, path: FilePath) {
        self.renamed.write().unwrap_or_else(PoisonError::into_inner).insert(file, path);
    }

    /// The path that no file system confuses with that of another file.
    pub(crate) fn plain(&self, file: usize, registered: &FilePath) -> FilePath {
        self.renamed(file).unwrap_or_else(|| registered.clone())
    }

    /// The same for a file that may lie at `path`.
    pub(crate) fn plain_of(&self, file: usize, path: &FilePath) -> FilePath {
        self.plain(file, self.rivals.registered(file).unwrap_or(path))
    }

    /// All paths at which the file may lie.
    pub(crate) fn all(&self, file: usize, registered: &FilePath) -> Vec<FilePath> {
        match self.renamed(file) {
            Some(path) => vec![path],
            None => self.rivals.names(file).map_or_else(|| vec![registered.clone()], <[_]>::to_vec),
        }
    }

    /// Whether the file may lie at a path.
    pub(crate) fn may_be(&self, file: usize, registered: &FilePath, path: &FilePath) -> bool {
        match self.renamed(file) {
            Some(own) => own == *path,
            None => self.rivals.names(file).map_or(registered == path, |names| names.contains(path)),
        }
    }

    /// The rivals of a file, unless it was moved to another path.
    fn rivals_of(&self, file: usize) -> Option<&[Rival]> {
        self.rivals.of(file).filter(|_| self.renamed(file).is_none())
    }

    /// The path of the file. If the file does not exist, the path that it would get on a disk that tells all names
    /// apart.
    pub(crate) fn find(&self, file: usize, registered: &FilePath) -> io::Result<FilePath> {
        self.at(file, registered, |_| Ok(())).map(|((), path)| path)
    }

    /// Calls `act` with the path that `find` returns, and returns that path as well. No rival is made there meanwhile.
    pub(crate) fn at<T>(
        &self,
        file: usize,
        registered: &FilePath,
        act: impl FnOnce(&FilePath) -> io::Result<T>,
    ) -> io::Result<(T, FilePath)> {
        let Some(group) = self.rivals_of(file) else {
            let path = self.plain(file, registered);
            return Ok((act(&path)?, path));
        };
        let settled = lock(&self.settled);
        let path = if let Some(known) = settled.get(&file) {
            known.clone()
        } else {
            let Looked { existing, vacant } = self.look(file, group)?;
            let first = || self.rivals.names(file).and_then(<[_]>::first);
            existing.or(vacant).or_else(first).unwrap_or(registered).clone()
        };
        Ok((act(&path)?, path))
    }

    /// Settles the name of the file as the one of its names that leads to this identity, if there is one and none is
    /// settled yet.
    pub(crate) fn settle_again(&self, file: usize, identity: Identity) -> io::Result<()> {
        if self.rivals_of(file).is_none() {
            return Ok(());
        }
        let mut settled = lock(&self.settled);
        if settled.contains_key(&file) {
            return Ok(());
        }
        for name in self.rivals.names(file).into_iter().flatten() {
            if FoundName::look(&self.root, name)?.is_some_and(|found| found.seen.identity == identity) {
                settled.insert(file, name.clone());
                break;
            }
        }
        Ok(())
    }

    /// Settles the name of the file, whatever lies at its other names.
    pub(crate) fn settle(&self, file: usize, path: &FilePath) {
        if self.rivals_of(file).is_some() {
            lock(&self.settled).insert(file, path.clone());
        }
    }

    /// Forgets what was settled, for a client that knows only what is on disk now.
    pub(crate) fn start_anew(&self) {
        lock(&self.settled).clear();
    }

    /// Puts a file under its name by `put`, which returns the folders that got an entry and fails with `AlreadyExists`
    /// if anything lies there. `take_back` undoes `put`. `path` is where the file was looked for.
    pub(crate) fn put<T>(
        &self,
        file: usize,
        path: &FilePath,
        put: impl Fn(&FilePath) -> io::Result<(T, Vec<PathBuf>)>,
        take_back: impl Fn(&FilePath) -> io::Result<()>,
    ) -> io::Result<Put<T>> {
        let put_at = |path: &FilePath, mut before: Vec<PathBuf>| {
            let (done, folders) = put(path)?;
            before.extend(folders);
            Ok(Put { path: path.clone(), done, folders: before })
        };
        let Some((group, registered)) = self.rivals_of(file).zip(self.rivals.registered(file)) else {
            // It may make a folder that is the rival of a file, which must not happen while that file is looked for.
            let _turn = (!self.rivals.is_empty()).then(|| lock(&self.settled));
            return put_at(path, Vec::new());
        };
        let mut settled = lock(&self.settled);
        let known = match settled.get(&file) {
            Some(known) => Some(known.clone()),
            None => self.look(file, group)?.existing.cloned(),
        };
        let put = match known {
            Some(known) => put_at(&known, Vec::new())?,
            None => match self.put_as_own(file, group, put_at, take_back) {
                Ok(Some(put)) => put,
                Ok(None) => put_at(registered, Vec::new())?,
                Err(error) if is_unnameable(&error) => put_at(registered, Vec::new())?,
                Err(error) => return Err(error),
            },
        };
        settled.insert(file, put.path.clone());
        Ok(put)
    }

    /// Puts a file under its own name, if that is another one than it is registered with and no rival's name leads to
    /// it on this disk.
    fn put_as_own<T>(
        &self,
        file: usize,
        group: &[Rival],
        put: impl Fn(&FilePath, Vec<PathBuf>) -> io::Result<Put<T>>,
        take_back: impl Fn(&FilePath) -> io::Result<()>,
    ) -> io::Result<Option<Put<T>>> {
        let own = self.rivals.names(file).and_then(<[_]>::first);
        let Some(own) = own.filter(|own| Some(*own) != self.rivals.registered(file)) else { return Ok(None) };
        let rivals = || group.iter().filter(|rival| rival.file != Some(file));
        let mut folders = Vec::new();
        // A rival folder could no longer be made once a file has its name, so it is made first.
        for folder in rivals().filter(|rival| rival.file.is_none()).flat_map(|rival| &rival.names) {
            folders.extend(self.root.make_folder(folder)?);
        }
        let put = match put(own, folders) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            put => put?,
        };
        let is_rivals = FoundName::look(&self.root, own).and_then(|made| match made {
            Some(made) => made.is_any_of(rivals().flat_map(|rival| &rival.names), &self.root),
            None => Ok(false),
        });
        if matches!(is_rivals, Ok(false)) {
            return Ok(Some(put));
        }
        // It was put there just now, and nothing else of this set can have used it.
        take_back(own)?;
        is_rivals.map(|_| None)
    }

    /// Finds the names of a file, after the members before it in its group have got theirs.
    fn look<'a>(&self, file: usize, group: &'a [Rival]) -> io::Result<Looked<'a>> {
        let mut taken: Vec<FoundName<'a>> = Vec::new();
        let mut looked = Looked::default();
        for rival in group {
            let is_own = rival.file == Some(file);
            for name in &rival.names {
                match FoundName::look(&self.root, name)? {
                    None if is_own => looked.vacant = looked.vacant.or(Some(name)),
                    None => {}
                    Some(found) if taken.iter().any(|other| found.is_same(other, &self.root)) => {}
                    Some(_) if is_own => {
                        looked.existing = Some(name);
                        break;
                    }
                    Some(found) => {
                        taken.push(found);
                        break;
                    }
                }
            }
            if is_own {
                break;
            }
        }
        Ok(looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use crate::disk::layout::Layout;
    use crate::disk::rivals::Claimant;
    use crate::disk::root::{Gone, Made};
    use rustix::io::Errno;

    fn path(text: &str) -> FilePath {
        FilePath::new(&text.split('/').collect::<Vec<_>>()).unwrap()
    }

    /// Names of `t/a`, and of a rival that is registered as `l/a.1`, has the own name `own` and the original name
    /// `t/o`. The folder `f` is a rival of both.
    fn names_in(directory: &Path, own: &str) -> Names {
        let layout = Layout::new([(Some(path("t/a")), 1), (Some(path("l/a.1")), 1)]).unwrap();
        let group = vec![
            Claimant::Folder(path("f")),
            Claimant::File { index: 0, own: None, original: None },
            Claimant::File { index: 1, own: Some(path(own)), original: Some(path("t/o")) },
        ];
        let rivals = Rivals::new(&layout, vec![group]).unwrap();
        Names::new(Root::from(directory.to_owned()), Arc::new(rivals))
    }

    fn registered(file: usize) -> FilePath {
        path(["t/a", "l/a.1"][file])
    }

    fn find(names: &Names, file: usize) -> String {
        names.find(file, &registered(file)).unwrap().as_str().to_owned()
    }

    fn put(names: &Names, file: usize) -> io::Result<Put<()>> {
        let put = |path: &FilePath| names.root.make(path).map(|Made { folders, .. }| ((), folders));
        names.put(file, &registered(file), put, |path| names.root.remove_file(path))
    }

    fn write(directory: &Path, name: &str) {
        std::fs::create_dir_all(directory.join(name).parent().unwrap()).unwrap();
        std::fs::write(directory.join(name), name).unwrap();
    }

    /// As if a file system confused `l/a` with `t/a`.
    fn with_one_folder(directory: &Path) {
        std::fs::create_dir(directory.join("t")).unwrap();
        symlink("t", directory.join("l")).unwrap();
    }

    #[test]
    fn a_file_gets_its_own_name_if_that_leads_to_no_rival() {
        let directory = tempfile::tempdir().unwrap();
        let names = names_in(directory.path(), "t/A");
        assert_eq!([find(&names, 0), find(&names, 1)], ["t/a", "t/A"]);

        let made = put(&names, 1).unwrap();

        assert_eq!(made.path, path("t/A"));
        assert_eq!(made.folders, [PathBuf::new(), PathBuf::new(), "t".into()]);
        assert!(directory.path().join("f").is_dir(), "a rival that could not be made any more beside it");
        assert_eq!(put(&names, 0).unwrap().path, path("t/a"));
        assert_eq!(put(&names, 1).err().map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
    }

    #[test]
    fn a_file_is_found_by_any_of_its_names_and_its_own_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let names = names_in(directory.path(), "t/A");
        for name in ["t/o", "l/a.1", "t/A"] {
            write(directory.path(), name);
            assert_eq!(find(&names, 1), name);
        }

        names.settle(1, &path("t/o"));
        assert_eq!(find(&names, 1), "t/o");
        names.start_anew();
        assert_eq!(find(&names, 1), "t/A");
        names.rename(1, path("t/moved"));
        names.settle(1, &path("t/o"));
        assert_eq!(find(&names, 1), "t/moved");
        assert_eq!(names.all(1, &registered(1)), [path("t/moved")]);
    }

    #[test]
    fn a_file_that_was_claimed_is_found_again_by_its_identity() {
        let directory = tempfile::tempdir().unwrap();
        let names = names_in(directory.path(), "t/A");
        write(directory.path(), "l/a.1");
        write(directory.path(), "t/A");
        let identity = names.root.look(Path::new("l/a.1")).unwrap().unwrap().identity;

        names.settle_again(1, identity).unwrap();
        assert_eq!(find(&names, 1), "l/a.1");
        names.start_anew();
        std::fs::remove_file(directory.path().join("l/a.1")).unwrap();
        names.settle_again(1, identity).unwrap();
        assert_eq!(find(&names, 1), "t/A");
    }

    #[test]
    fn a_name_that_leads_to_the_file_of_a_rival_is_not_used() {
        for is_first in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            with_one_folder(directory.path());
            let names = names_in(directory.path(), "l/a");
            if is_first {
                put(&names, 0).unwrap();
                assert_eq!(find(&names, 1), "l/a.1");
            }

            assert_eq!(put(&names, 1).unwrap().path, path("l/a.1"));

            assert_eq!(find(&names, 1), "l/a.1");
            assert_eq!(directory.path().join("t/a").exists(), is_first, "what was tried is taken back");
            assert_eq!(put(&names, 0).is_ok(), !is_first);
        }
    }

    #[test]
    fn hard_links_are_different_names() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "t/a");
        std::fs::hard_link(directory.path().join("t/a"), directory.path().join("t/A")).unwrap();
        assert_eq!(find(&names_in(directory.path(), "t/A"), 1), "t/A");
        symlink("t", directory.path().join("l")).unwrap();

        assert_eq!(find(&names_in(directory.path(), "l/a"), 1), "l/a.1", "the same name of the same folder");
    }

    #[test]
    fn a_name_that_the_file_system_cannot_hold_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let names = names_in(directory.path(), "t/A");
        let put_unless = |errno: Errno| {
            let put = move |path: &FilePath| {
                if path.as_str() == "t/A" { Err(errno.into()) } else { Ok(((), Vec::new())) }
            };
            names.put(1, &registered(1), put, |_| Ok(())).map(|put| put.path)
        };

        assert_eq!(put_unless(Errno::ACCESS).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(put_unless(Errno::INVAL).unwrap(), path("l/a.1"));
        names.start_anew();
        assert_eq!(put_unless(Errno::ILSEQ).unwrap(), path("l/a.1"));
    }

    #[test]
    fn nothing_is_decided_while_the_root_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let names = names_in(&directory.path().join("missing"), "t/A");

        assert!(names.find(1, &registered(1)).is_err_and(|error| Gone::is_in(&error)));
        assert!(put(&names, 1).is_err_and(|error| Gone::is_in(&error)));
        assert_eq!(names.find(7, &path("t/other")).unwrap(), path("t/other"), "a file without rivals asks nothing");
    }
}
