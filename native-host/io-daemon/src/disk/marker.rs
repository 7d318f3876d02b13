//! How the daemon recognizes a root. When a root is gone, something else may lie at its path, such as the empty folder
//! that a drive was mounted on.
//!
//! A daemon that takes a root leaves a marker in it: the file `.piecewise/io-daemon` with a unique text. The root is
//! there while a file with that text is. Looking costs one `stat`, because the text is read again only if the file is
//! another one than at the last reading. No descriptor of the root is kept open, so its drive can be unmounted.
//!
//! A root that cannot be written to has no marker. It is there while its folder has the same device and inode.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, fsync, openat, stat, statat};

use super::free_name;
use super::reserved::FOLDER;

/// The marker. Only taking a root makes this file.
const NAME: &str = ".piecewise/io-daemon";

/// The longest text of a marker that is read.
const MAX_TEXT: u64 = 256;

/// Random bytes that make the text of a marker unique.
const RANDOM: usize = 16;

/// How a root is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By the text of its marker. `seen` is the file that the text was last read from.
    Marker { text: Vec<u8>, seen: Seen },
    /// By its folder.
    Folder { device: u64, inode: u64 },
    /// It was not there yet, or it should have had a marker and had none. The next marker that is found becomes its
    /// own.
    Awaited,
}

/// What identifies one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// Whether a root may be made and marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It is made if it is missing, and marked if it has no marker.
    New,
    /// It was taken before: if it has no marker it is gone.
    Known,
}

/// Takes the root at `directory`.
pub(super) fn take(directory: &Path, taking: Taking) -> Proof {
    if taking == Taking::New
        && let Err(error) = make(directory)
    {
        tracing::warn!(%error, "a root cannot be made");
        return Proof::Awaited;
    }
    let Ok(opened) = Dir::open_ambient_dir(directory, ambient_authority()) else { return Proof::Awaited };
    if let Ok(marker) = find(opened.as_fd(), Path::new(NAME)) {
        return marker;
    }
    let marked = match taking {
        Taking::New => mark(&opened).and_then(|()| find(opened.as_fd(), Path::new(NAME))),
        Taking::Known => match accessat(&opened, ".", Access::WRITE_OK, AtFlags::empty()) {
            Ok(()) => return Proof::Awaited,
            Err(errno) => Err(errno.into()),
        },
    };
    marked.unwrap_or_else(|error| {
        tracing::info!(%error, "a root has no marker");
        by_folder(directory).unwrap_or(Proof::Awaited)
    })
}

/// Makes a folder and all above it, and syncs their entries to the disk.
fn make(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|folder| !folder.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Makes a marker, whole or not at all. If another process makes one at the same moment, that one stays.
fn mark(root: &Dir) -> io::Result<()> {
    let mut random = [0; RANDOM];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let number = u128::from_ne_bytes(random);
    match root.create_dir(FOLDER) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let draft = PathBuf::from(format!("{NAME}.{number:032x}"));
    let mut file = root.open_with(&draft, OpenOptions::new().write(true).create_new(true))?;
    let written = writeln!(file, "The io-daemon of piecewise knows its folder by this file: {number:032x}")
        .and_then(|()| file.sync_all())
        .and_then(|()| free_name::move_to(root, &draft, Path::new(NAME)));
    if let Err(error) = written {
        let _ = root.remove_file(&draft);
        return if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) };
    }
    fsync(root.open(FOLDER)?)?;
    Ok(fsync(root.open(".")?)?)
}

/// The marker that lies at `path` below `at`.
fn find(at: impl AsFd, path: &Path) -> io::Result<Proof> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(&at, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let seen = seen_of(&rustix::fs::fstat(&file)?);
    let mut text = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(Proof::Marker { text, seen })
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "the types differ from system to system"
)]
fn seen_of(found: &rustix::fs::Stat) -> Seen {
    Seen {
        device: found.st_dev as u64,
        inode: found.st_ino as u64,
        changed: (found.st_ctime as i64, found.st_ctime_nsec as i64),
    }
}

fn by_folder(directory: &Path) -> io::Result<Proof> {
    let Seen { device, inode, .. } = seen_of(&stat(directory)?);
    Ok(Proof::Folder { device, inode })
}

/// What lies at a root's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The root, unchanged since it was last looked at.
    Same,
    /// The root, which was away: files that are kept open belong to an earlier mount. From now on this proof counts.
    Back(Proof),
    /// Something else, or nothing.
    Gone,
}

impl Proof {
    /// Looks for the root at `directory`, or in `opened` if the folder is open already.
    pub(super) fn look(&self, directory: &Path, opened: Option<&Dir>) -> Found {
        let marker = directory.join(NAME);
        let (at, path) = match opened {
            Some(opened) => (opened.as_fd(), Path::new(NAME)),
            None => (CWD, marker.as_path()),
        };
        match self {
            Self::Marker { text, seen } => match statat(at, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if seen_of(&found) == *seen => Found::Same,
                Ok(_) => match find(at, path) {
                    Ok(proof) if matches!(&proof, Self::Marker { text: own, .. } if own == text) => Found::Back(proof),
                    _ => Found::Gone,
                },
                Err(_) => Found::Gone,
            },
            Self::Folder { device, inode } => {
                let found = opened.map_or_else(|| stat(directory), rustix::fs::fstat);
                let is_same = found.is_ok_and(|found| {
                    let found = seen_of(&found);
                    (found.device, found.inode) == (*device, *inode)
                });
                if is_same { Found::Same } else { Found::Gone }
            }
            Self::Awaited => find(at, path).map_or(Found::Gone, Found::Back),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(proof: &Proof) -> &[u8] {
        match proof {
            Proof::Marker { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_root_is_made_and_marked_once() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("a/root");

        let first = take(&directory, Taking::New);
        let again = take(&directory, Taking::New);
        let other = take(above.path(), Taking::New);

        assert_eq!(first, again);
        assert_ne!(text_of(&first), text_of(&other));
        let names: Vec<_> =
            std::fs::read_dir(directory.join(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["io-daemon"]);
        assert_eq!(first.look(&directory, None), Found::Same);
    }

    #[test]
    fn a_root_is_there_while_its_marker_is_there() {
        let above = tempfile::tempdir().unwrap();
        let (directory, away) = (above.path().join("root"), above.path().join("away"));
        let proof = take(&directory, Taking::New);

        std::fs::rename(&directory, &away).unwrap();
        assert_eq!(proof.look(&directory, None), Found::Gone);
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(proof.look(&directory, None), Found::Gone);
        take(&directory, Taking::New);
        assert_eq!(proof.look(&directory, None), Found::Gone, "the marker of another root");
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::rename(&away, &directory).unwrap();
        assert_eq!(proof.look(&directory, None), Found::Same);

        // Another file with the same text, as after a new mount.
        let copy = std::fs::read(directory.join(NAME)).unwrap();
        std::fs::remove_file(directory.join(NAME)).unwrap();
        std::fs::write(directory.join(NAME), copy).unwrap();
        let Found::Back(now) = proof.look(&directory, None) else { panic!("it is not recognized") };
        assert_eq!(text_of(&now), text_of(&proof));
        assert_eq!(now.look(&directory, None), Found::Same);
    }

    #[test]
    fn a_known_root_is_neither_made_nor_marked_and_its_marker_is_awaited() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("root");

        let missing = take(&directory, Taking::Known);
        assert!(!directory.exists());
        std::fs::create_dir(&directory).unwrap();
        assert_eq!((take(&directory, Taking::Known), missing.clone()), (Proof::Awaited, Proof::Awaited));
        assert_eq!(missing.look(&directory, None), Found::Gone);

        let marked = take(&directory, Taking::New);
        assert_eq!(missing.look(&directory, None), Found::Back(marked.clone()));
        assert_eq!(take(&directory, Taking::Known), marked);
    }

    #[test]
    fn only_a_regular_file_is_a_marker() {
        let directory = tempfile::tempdir().unwrap();
        let proof = take(directory.path(), Taking::New);
        let marker = directory.path().join(NAME);
        let text = directory.path().join("text");
        std::fs::rename(&marker, &text).unwrap();

        std::os::unix::fs::symlink(&text, &marker).unwrap();
        assert_eq!(proof.look(directory.path(), None), Found::Gone);
        std::fs::remove_file(&marker).unwrap();
        rustix::fs::mknodat(CWD, &marker, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(proof.look(directory.path(), None), Found::Gone);
        assert_eq!(Proof::Awaited.look(directory.path(), None), Found::Gone);
    }
}
