//! Maps an error of the system to one of three faults: the system refuses, the disk is full, or the fault may pass.

use std::io;

use rustix::io::Errno;

use super::root::Gone;
use crate::error::Error;

/// The file no longer exists.
pub(crate) const DELETED: &str = "was deleted";
/// The file is shorter than it was.
pub(crate) const CUT_OFF: &str = "was cut off";
/// Another file lies in its place, or something that is no file.
pub(crate) const REPLACED: &str = "was replaced";
/// The file is longer than it was, or was written since.
pub(crate) const CHANGED: &str = "was changed";
/// A pipe, a socket or a device lies in the place of the file.
pub(crate) const NOT_REGULAR: &str = "it is not a regular file";

/// The file at `path` is not what it was.
pub(crate) fn changed(path: &str, why: &str) -> Error {
    Error::FileChanged { path: path.to_owned(), why: why.to_owned() }
}

/// Maps the error of a sync. The system may have dropped bytes that it took and could not bring to the disk.
pub(crate) fn of_sync(path: &str, error: &io::Error) -> Error {
    match of(path, error) {
        Error::Unavailable { path, why } => {
            Error::Unavailable { path, why: format!("{why}; writes to it may be lost") }
        }
        other => other,
    }
}

/// Maps an error of the system to a fault that names `path`.
pub(crate) fn of(path: &str, error: &io::Error) -> Error {
    if Gone::is_in(error) {
        return Error::RootGone;
    }
    let path = path.to_owned();
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Error::DiskFull { path },
        Some(Errno::EXIST) => Error::FileExists { path },
        Some(errno) => match refusal(errno) {
            Some(why) => Error::Refused { path, why: why.to_owned() },
            None => Error::Unavailable { path, why: passing(errno) },
        },
        // An error without a number comes from the check of the path itself.
        None if error.kind() == io::ErrorKind::PermissionDenied => {
            Error::Refused { path, why: "a symbolic link leads out of the root".to_owned() }
        }
        None if error.kind() == io::ErrorKind::AlreadyExists => Error::FileExists { path },
        None if error.kind() == io::ErrorKind::InvalidInput => Error::Refused { path, why: NOT_REGULAR.to_owned() },
        None => Error::Unavailable { path, why: "the system failed without a reason".to_owned() },
    }
}

/// Why the system will go on refusing; `None` for errors that may pass.
fn refusal(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::ACCESS | Errno::PERM => "permission was denied",
        Errno::ROFS => "the file system is read-only",
        Errno::NOTDIR => "a file lies where a folder should",
        Errno::ISDIR => "a folder lies where the file should",
        Errno::LOOP => "its symbolic links form a loop",
        Errno::NAMETOOLONG => "its name is too long for the file system",
        Errno::TXTBSY => "it is a program that is running",
        Errno::NXIO | Errno::NODEV => NOT_REGULAR,
        Errno::XDEV => "its place is on another file system than the file set aside",
        _ => return None,
    })
}

fn passing(errno: Errno) -> String {
    match errno {
        Errno::IO => "the disk failed".to_owned(),
        Errno::MFILE | Errno::NFILE => "too many files are open".to_owned(),
        Errno::NOENT => "it is not there".to_owned(),
        _ => format!("the system failed with error {}", errno.raw_os_error()),
    }
}

/// Returns the fault that lasts longer.
pub(crate) fn worse(a: Error, b: Error) -> Error {
    if b.weight() > a.weight() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_48_a_full_disk_is_an_error_of_its_own() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of("a/b", &errno.into()).kind(), "disk_full");
        }
    }

    #[test]
    fn fault_49_errors_that_last_are_refused_and_others_unavailable() {
        for errno in
            [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::NAMETOOLONG]
        {
            assert_eq!(of("a/b", &errno.into()).kind(), "refused");
        }
        for errno in [Errno::IO, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INVAL] {
            assert_eq!(of("a/b", &errno.into()).kind(), "unavailable");
        }
    }

    #[test]
    fn the_reason_that_lasts_longest_is_reported() {
        let refused = of("a", &Errno::ACCESS.into());
        let full = of("b", &Errno::NOSPC.into());
        let passing = of("c", &Errno::IO.into());

        assert_eq!(worse(worse(passing.clone(), full.clone()), refused.clone()), refused);
        assert_eq!(worse(refused.clone(), full.clone()), refused);
        assert_eq!(worse(passing, full.clone()), full);
    }
}
