//! Moves a file to a free name: a path at which nothing lies. Whatever is made there meanwhile is not overwritten.

use std::io;
use std::path::Path;

use cap_std::fs::Dir;
#[cfg(target_os = "linux")]
use rustix::io::Errno;

/// Moves a file to a free name. Fails with `AlreadyExists` if anything lies there.
pub(super) fn move_to(directory: &Dir, from: &Path, to: &Path) -> io::Result<()> {
    if rename_exclusively(directory, from, to)? {
        return Ok(());
    }
    match directory.hard_link(from, directory, to) {
        Ok(()) => directory.remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links.
        Err(_) => rename_to_free(directory, from, to),
    }
}

/// Checks the name and renames in one step; `false` if the system cannot do that.
#[cfg(target_os = "linux")]
fn rename_exclusively(directory: &Dir, from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{RenameFlags, renameat_with};

    // Each name in its own folder, which was reached without leaving the root.
    let folder_of =
        |path: &Path| directory.open_dir(path.parent().filter(|one| *one != Path::new("")).unwrap_or(Path::new(".")));
    let name = |path: &Path| path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    match renameat_with(folder_of(from)?, name(from), folder_of(to)?, name(to), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_exclusively(_: &Dir, _: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Checks the name and then renames. A file that is made there between the two steps is overwritten.
fn rename_to_free(directory: &Dir, from: &Path, to: &Path) -> io::Result<()> {
    match directory.symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => directory.rename(from, directory, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use cap_std::ambient_authority;

    #[test]
    fn a_file_is_moved_to_a_free_name_and_never_over_another_file() {
        type Move = fn(&Dir, &Path, &Path) -> io::Result<()>;
        for move_file in [move_to as Move, rename_to_free] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let directory = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
            std::fs::create_dir(at("a")).unwrap();
            std::fs::write(at("moving"), "moving").unwrap();
            std::fs::write(at("there"), "there").unwrap();
            symlink("nowhere", at("link")).unwrap();

            for taken in ["there", "link"] {
                let failed = move_file(&directory, Path::new("moving"), Path::new(taken)).unwrap_err();
                assert_eq!(failed.kind(), io::ErrorKind::AlreadyExists, "{taken}");
            }
            move_file(&directory, Path::new("moving"), Path::new("a/moved")).unwrap();

            assert_eq!(std::fs::read(at("there")).unwrap(), b"there");
            assert_eq!(std::fs::read(at("a/moved")).unwrap(), b"moving");
            assert!(!at("moving").exists());
        }
    }
}
