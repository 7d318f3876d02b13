//! The system calls below one root.
//!
//! The kernel opens every path beneath the root (`openat2` with `RESOLVE_BENEATH`, or component by component on systems
//! without it). So a symbolic link that is put in the way between a check and its use changes nothing. Links that stay
//! inside the root are followed. The root itself is chosen by the operator and may be a link.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use rustix::io::Errno;
use thiserror::Error;

use super::facts::{Identity, Seen};
use super::free_name;
use super::marker::{self, Found, Proof, Taking};
use super::path::FilePath;
use super::system_error::is_absent;
use crate::mutex::lock;

/// Attempts at something in a folder that was made for it. Another set may remove that folder when it leaves it empty.
/// It does so once for each file, so many times in a row are unlikely.
const ATTEMPTS: usize = 8;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A file that was made, and the folders below the root that got a new entry.
pub(crate) struct Made {
    pub(crate) file: File,
    pub(crate) folders: Vec<PathBuf>,
}

/// A directory that files lie below. It is opened again each time, because its drive may come and go. While it is gone,
/// everything here fails with [`Gone`], and nothing makes it again.
#[derive(Clone, Debug)]
pub struct Root(Arc<Place>);

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// `None` for a root that was not taken: it is there while its path leads to a directory.
    proof: Option<Proof>,
    /// How often the root came back.
    returns: u64,
}

/// The error if what lies at the path of a root is not the root.
#[derive(Debug, Error)]
#[error("the root is gone")]
pub(crate) struct Gone;

impl Gone {
    /// Whether this is why something failed.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

impl PartialEq for Root {
    fn eq(&self, other: &Self) -> bool {
        self.0.directory == other.0.directory
    }
}

impl Eq for Root {}

impl From<PathBuf> for Root {
    /// A root that is not taken or marked.
    fn from(directory: PathBuf) -> Self {
        Self(Arc::new(Place { directory, known: Mutex::new(Known { proof: None, returns: 0 }) }))
    }
}

impl Root {
    /// Takes a directory as a root: makes it if it is missing, and marks it.
    pub(crate) fn take(directory: PathBuf, taking: Taking) -> Self {
        let proof = Some(marker::take(&directory, taking));
        Self(Arc::new(Place { directory, known: Mutex::new(Known { proof, returns: 0 }) }))
    }

    /// Tries again to take a root that could not be taken before.
    pub(crate) fn take_again(&self, taking: Taking) {
        let is_awaited = lock(&self.0.known).proof == Some(Proof::Awaited);
        if is_awaited {
            let proof = marker::take(&self.0.directory, taking);
            lock(&self.0.known).proof = Some(proof);
        }
    }

    /// Where the root is.
    pub(crate) fn path(&self) -> &Path {
        &self.0.directory
    }

    /// Fails if the root is gone. Returns how often it came back: a file that was opened before its last return may
    /// belong to another mount.
    pub(crate) fn check(&self) -> Result<u64, Gone> {
        self.confirm(None)
    }

    fn confirm(&self, opened: Option<&Dir>) -> Result<u64, Gone> {
        let before = lock(&self.0.known).proof.clone();
        // Not under the lock, because a drive may take long to answer.
        let found = before.map_or(Found::Same, |proof| proof.look(&self.0.directory, opened));
        let mut known = lock(&self.0.known);
        match found {
            Found::Gone => return Err(Gone),
            Found::Same => {}
            Found::Back(proof) => {
                if known.proof.as_ref() != Some(&proof) {
                    known.proof = Some(proof);
                    known.returns += 1;
                }
            }
        }
        Ok(known.returns)
    }

    fn directory(&self) -> io::Result<Dir> {
        let opened = match Dir::open_ambient_dir(&self.0.directory, ambient_authority()) {
            Err(error) if is_absent(&error) => return Err(io::Error::other(Gone)),
            opened => opened?,
        };
        // Checked in what was opened, so that nothing can change in between.
        self.confirm(Some(&opened)).map_err(io::Error::other)?;
        Ok(opened)
    }

    /// Opens an existing regular file, but not through a link in its place.
    pub(crate) fn open(&self, path: &FilePath, access: Access) -> io::Result<File> {
        let directory = self.directory()?;
        let opened = open(&directory, path, access, false);
        match directory.symlink_metadata(path.as_path()) {
            Ok(found) if found.is_symlink() => Err(io::ErrorKind::InvalidInput.into()),
            _ => opened,
        }
    }

    /// Makes a file, and its folders if they are missing. `AlreadyExists` if anything lies there.
    pub(crate) fn make(&self, path: &FilePath) -> io::Result<Made> {
        let (file, folders) = self.in_folder_of(path, |directory| open(directory, path, Access::ReadWrite, true))?;
        Ok(Made { file, folders })
    }

    /// Moves a file, makes its new folders, and returns the folders that got an entry. `AlreadyExists` if anything lies
    /// there.
    pub(crate) fn move_file(&self, from: &FilePath, to: &FilePath) -> io::Result<Vec<PathBuf>> {
        let (from, place) = (from.as_path(), to.as_path());
        let ((), folders) = self.in_folder_of(to, |directory| free_name::move_to(directory, from, place))?;
        Ok(folders)
    }

    /// Moves a file over another one in the same folder.
    pub(crate) fn replace(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        let directory = self.directory()?;
        directory.rename(from.as_path(), &directory, to.as_path())
    }

    /// Does something in the folder of `path`, after making that folder and all above it. Returns the folders that got
    /// an entry, including that one.
    fn in_folder_of<T>(&self, path: &FilePath, act: impl Fn(&Dir) -> io::Result<T>) -> io::Result<(T, Vec<PathBuf>)> {
        let mut folders = Vec::new();
        let mut attempt = || self.make_folders(path, &mut folders).and_then(|directory| act(&directory));
        let mut done = attempt();
        for _ in 1..ATTEMPTS {
            match done {
                Err(error) if error.kind() == io::ErrorKind::NotFound => done = attempt(),
                _ => break,
            }
        }
        folders.push(parent(path.as_path()));
        Ok((done?, folders))
    }

    fn make_folders(&self, path: &FilePath, changed: &mut Vec<PathBuf>) -> io::Result<Dir> {
        let directory = self.directory()?;
        for folder in path.folders() {
            create_folder(&directory, folder, changed)?;
        }
        Ok(directory)
    }

    /// Makes a folder and those above it that are missing, and returns the folders that got an entry. Whatever already
    /// lies at one of the names stays.
    pub(crate) fn make_folder(&self, folder: &FilePath) -> io::Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        let directory = self.make_folders(folder, &mut changed)?;
        create_folder(&directory, folder.as_path(), &mut changed)?;
        Ok(changed)
    }

    /// Whether the folder of a path lists exactly its name.
    pub(crate) fn lists(&self, path: &FilePath) -> io::Result<bool> {
        let directory = self.directory()?;
        let entries = match path.folders().next_back() {
            Some(folder) => directory.read_dir(folder)?,
            None => directory.entries()?,
        };
        for entry in entries {
            if entry?.file_name() == path.name() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a regular file lies there. A link to one does not count.
    pub(crate) fn is_file(&self, path: &FilePath) -> io::Result<bool> {
        Ok(self.look(path.as_path())?.is_some_and(|found| found.is_file))
    }

    /// Whether anything lies there.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.look(path)?.is_some())
    }

    /// What lies there. Links are not followed.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        match self.directory().and_then(|directory| directory.symlink_metadata(path)) {
            Ok(found) => Ok(Some(Seen::from(&found))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which folder lies there below the root. Links are followed. `None` if there is none.
    pub(crate) fn folder(&self, folder: &Path) -> io::Result<Option<Identity>> {
        match self.directory().and_then(|directory| directory.metadata(folder)) {
            Ok(found) => Ok(found.is_dir().then(|| Seen::from(&found).identity)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which folder the root is.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Ok(Seen::from(&self.directory()?.dir_metadata()?).identity)
    }

    /// Deletes a regular file. `NotFound` if nothing lies there. Anything but a regular file stays.
    pub(crate) fn remove_file(&self, path: &FilePath) -> io::Result<()> {
        let directory = self.directory()?;
        let kind = directory.symlink_metadata(path.as_path())?.file_type();
        if !kind.is_file() {
            return Err(not_a_file(kind.is_dir()));
        }
        directory.remove_file(path.as_path())
    }

    /// Deletes a folder if it is empty.
    pub(crate) fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.directory()?.remove_dir(folder)
    }

    /// Waits until the entries of a folder are on disk.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Opened for reading, because a `Dir` is only a place in the tree and cannot be synced.
        let opened = match folder {
            _ if folder.as_os_str().is_empty() => self.directory()?.open(".")?.into_std(),
            _ => self.directory()?.open(folder)?.into_std(),
        };
        opened.sync_all()
    }
}

fn create_folder(directory: &Dir, folder: &Path, changed: &mut Vec<PathBuf>) -> io::Result<()> {
    match directory.create_dir(folder) {
        Ok(()) => changed.push(parent(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn open(directory: &Dir, path: &FilePath, access: Access, create: bool) -> io::Result<File> {
    // Without O_NONBLOCK, opening a pipe waits for its other end.
    let no_waiting = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::ReadWrite).create_new(create).custom_flags(no_waiting);
    let file = directory.open_with(path.as_path(), &options)?.into_std();
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_a_file(kind.is_dir())) }
}

/// The error for something that lies in the place of a file.
fn not_a_file(is_folder: bool) -> io::Error {
    if is_folder { Errno::ISDIR.into() } else { io::ErrorKind::InvalidInput.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(components: &[&str]) -> FilePath {
        FilePath::new(components).unwrap()
    }

    #[test]
    fn fault_61_no_symlink_leads_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), inside.path().join("folder")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        symlink("../../../../../../etc", inside.path().join("up")).unwrap();
        symlink(outside.path().join("new"), inside.path().join("dangling")).unwrap();
        let root = Root::from(inside.path().to_owned());

        for hostile in
            [&["folder", "secret"][..], &["file"], &["up", "passwd"], &["dangling"], &["folder", "sub", "new"]]
        {
            assert!(root.make(&path(hostile)).is_err(), "make {hostile:?}");
            assert!(root.open(&path(hostile), Access::Read).is_err(), "open {hostile:?}");
        }
        assert!(root.remove_file(&path(&["folder", "secret"])).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    }

    #[test]
    fn a_symlink_that_stays_inside_is_followed() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        symlink("real", inside.path().join("link")).unwrap();

        Root::from(inside.path().to_owned()).make(&path(&["link", "file"])).unwrap();

        assert!(inside.path().join("real/file").is_file());
    }

    #[test]
    fn making_a_file_returns_every_folder_that_got_an_entry() {
        let above = tempfile::tempdir().unwrap();
        let root = Root::take(above.path().join("x/root"), Taking::New);

        let first = root.make(&path(&["a", "b", "c"])).unwrap();
        let second = root.make(&path(&["a", "d"])).unwrap();

        assert_eq!(first.folders, [PathBuf::new(), "a".into(), "a/b".into()]);
        assert_eq!(second.folders, [PathBuf::from("a")]);
        for folder in &first.folders {
            root.sync_folder(folder).unwrap();
        }
    }

    #[test]
    fn a_file_is_moved_into_new_folders_and_never_over_another_file() {
        let inside = tempfile::tempdir().unwrap();
        let root = Root::from(inside.path().to_owned());
        let moving = path(&["p", "moving"]);
        root.make(&moving).unwrap();
        std::fs::write(inside.path().join("there"), "there").unwrap();
        symlink("nowhere", inside.path().join("link")).unwrap();

        for taken in ["there", "link"] {
            let moved = root.move_file(&moving, &path(&[taken])).unwrap_err();
            assert_eq!(moved.kind(), io::ErrorKind::AlreadyExists, "{taken}");
        }
        assert_eq!(std::fs::read(inside.path().join("there")).unwrap(), b"there");

        let folders = root.move_file(&moving, &path(&["a", "b", "moved"])).unwrap();
        assert_eq!(folders, [PathBuf::new(), "a".into(), "a/b".into()]);
        assert!(inside.path().join("a/b/moved").is_file() && !inside.path().join("p/moving").exists());
        assert_eq!(root.move_file(&moving, &path(&["x"])).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_that_is_removed_before_it_is_used_is_made_again() {
        let inside = tempfile::tempdir().unwrap();
        let root = Root::from(inside.path().to_owned());
        let file = path(&["a", "b", "c"]);
        let taken = std::cell::Cell::new(0);

        let (_, folders) = root
            .in_folder_of(&file, |directory| {
                if taken.get() < ATTEMPTS - 1 {
                    taken.set(taken.get() + 1);
                    directory.remove_dir("a/b").unwrap();
                    directory.remove_dir("a").unwrap();
                }
                open(directory, &file, Access::ReadWrite, true)
            })
            .unwrap();

        assert!(inside.path().join("a/b/c").is_file());
        assert_eq!(folders.last(), Some(&PathBuf::from("a/b")));
        let gone = root.in_folder_of(&file, |_| Err::<(), _>(io::ErrorKind::NotFound.into()));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_in_the_way_is_refused_without_waiting() {
        let inside = tempfile::tempdir().unwrap();
        let fifo = inside.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let root = Root::from(inside.path().to_owned());

        for access in [Access::Read, Access::ReadWrite] {
            assert_eq!(root.open(&path(&["pipe"]), access).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_root_that_is_gone_is_not_made_again_and_works_once_it_is_back() {
        let above = tempfile::tempdir().unwrap();
        let (directory, away) = (above.path().join("root"), above.path().join("away"));
        let root = Root::take(directory.clone(), Taking::New);
        root.make(&path(&["a"])).unwrap();

        std::fs::rename(&directory, &away).unwrap();
        assert!(root.make(&path(&["b", "c"])).is_err_and(|error| Gone::is_in(&error)));
        assert!(!directory.exists());
        std::fs::create_dir(&directory).unwrap();
        for failed in [
            root.make(&path(&["b", "c"])).err(),
            root.open(&path(&["a"]), Access::Read).err(),
            root.is_file(&path(&["a"])).err(),
            root.move_file(&path(&["a"]), &path(&["b"])).err(),
            root.remove_file(&path(&["a"])).err(),
            root.remove_folder(Path::new("a")).err(),
            root.sync_folder(Path::new("")).err(),
        ] {
            assert!(failed.is_some_and(|error| Gone::is_in(&error)));
        }
        assert!(root.check().is_err());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);

        std::fs::remove_dir(&directory).unwrap();
        std::fs::rename(&away, &directory).unwrap();
        assert!(root.open(&path(&["a"]), Access::Read).is_ok() && root.check().is_ok());
    }
}
