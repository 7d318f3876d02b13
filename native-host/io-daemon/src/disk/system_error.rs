//! What an error of the system means for the path on which it occurred.

use std::io;

use rustix::io::Errno;

/// Whether something failed because no descriptor was free.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether a name was refused because of its characters: FAT and NTFS have no `:` or `?` (EINVAL), others accept no
/// name that is not in their encoding (EILSEQ).
pub(crate) fn is_unnameable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ILSEQ))
}

/// Whether nothing lies at a path. There may be a file in the place of its folder.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether what lies at a path is no regular file.
pub(crate) fn is_no_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory)
}
