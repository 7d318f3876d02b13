//! The system calls below one root.
//!
//! Every path is opened beneath the root by the kernel (`openat2` with `RESOLVE_BENEATH`, or component by component where
//! that is missing), so a symlink put in the way between a check and its use changes nothing. Links that stay inside are
//! followed. The root itself is the operator's word and may be a link.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

use super::path::FilePath;

/// What an open file will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A file that was made, and the folders that got a new entry: below the root a relative path, above it an absolute one.
pub(crate) struct Made {
    pub(crate) file: File,
    pub(crate) folders: Vec<PathBuf>,
}

/// A directory that files lie below. Not opened until needed, and opened anew each time: it may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn directory(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.0, ambient_authority())
    }

    /// Opens a regular file that is there.
    pub(crate) fn open(&self, path: &FilePath, access: Access) -> io::Result<File> {
        open(&self.directory()?, path, access, false)
    }

    /// Opens a file, making it, its folders and the root where they are missing.
    pub(crate) fn make(&self, path: &FilePath) -> io::Result<Made> {
        let mut folders = Vec::new();
        if !self.0.try_exists()? {
            folders.extend(self.0.ancestors().skip(1).take_while(|above| !above.exists()).map(Path::to_owned));
            let lowest = folders.last().unwrap_or(&self.0).parent().map(Path::to_owned);
            folders.extend(lowest);
            std::fs::create_dir_all(&self.0)?;
        }
        let directory = self.directory()?;
        for folder in path.folders() {
            match directory.create_dir(folder) {
                Ok(()) => folders.push(parent(folder)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let file = open(&directory, path, Access::ReadWrite, true)?;
        folders.push(parent(path.as_path()));
        Ok(Made { file, folders })
    }

    /// Takes one file away. `NotFound` where it is not there.
    pub(crate) fn remove_file(&self, path: &FilePath) -> io::Result<()> {
        self.directory()?.remove_file(path.as_path())
    }

    /// Takes one folder away if it is empty.
    pub(crate) fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.directory()?.remove_dir(folder)
    }

    /// Waits until the entries of a folder, as told by `make`, are on disk.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Opened for reading, as a `Dir` is only a place in the tree that cannot be synced.
        let opened = match folder {
            _ if folder.is_absolute() => File::open(folder)?,
            _ if folder.as_os_str().is_empty() => self.directory()?.open(".")?.into_std(),
            _ => self.directory()?.open(folder)?.into_std(),
        };
        opened.sync_all()
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn open(directory: &Dir, path: &FilePath, access: Access, create: bool) -> io::Result<File> {
    // Without O_NONBLOCK, opening a pipe waits for its other end.
    let no_waiting = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::ReadWrite).create(create).custom_flags(no_waiting);
    let file = directory.open_with(path.as_path(), &options)?.into_std();
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(rustix::io::Errno::ISDIR.into())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
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
        let root = Root::new(inside.path().to_owned());

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

        Root::new(inside.path().to_owned()).make(&path(&["link", "file"])).unwrap();

        assert!(inside.path().join("real/file").is_file());
    }

    #[test]
    fn making_a_file_tells_every_folder_that_got_an_entry() {
        let above = tempfile::tempdir().unwrap();
        let root = Root::new(above.path().join("x/root"));

        let first = root.make(&path(&["a", "b", "c"])).unwrap();
        let second = root.make(&path(&["a", "d"])).unwrap();

        let expected = [above.path().join("x"), above.path().to_owned(), "".into(), "a".into(), "a/b".into()];
        assert_eq!(first.folders, expected);
        assert_eq!(second.folders, [PathBuf::from("a")]);
        for folder in &first.folders {
            root.sync_folder(folder).unwrap();
        }
    }

    #[test]
    fn a_pipe_in_the_way_is_refused_without_waiting() {
        let inside = tempfile::tempdir().unwrap();
        let fifo = inside.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let root = Root::new(inside.path().to_owned());

        for access in [Access::Read, Access::ReadWrite] {
            assert_eq!(root.open(&path(&["pipe"]), access).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
