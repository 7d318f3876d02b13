//! Puts a copy in the place of a file. If the file has other names (hard links), they keep their bytes whatever is
//! written to the copy. A file whose blocks can no longer be trusted gets new blocks.
//!
//! The copy is made beside the file under a name of its own. It shares the blocks of the file if that is allowed and
//! the file system can do it (reflink). It takes the place of the file only when it is on the disk. What a crash leaves
//! behind is found by its name when the file is claimed again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::{Gid, Mode, SeekFrom, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sha1::{Digest as _, Sha1};

use super::facts::Seen;
use super::path::FilePath;
use super::root::Root;

/// Bytes copied at a time.
const STEP: usize = 1024 * 1024;

/// The path at which the copy of a file is made, beside the file. `src/storage/provider/node/OwnCopy.ts` uses the same name.
pub(crate) fn path_beside(place: &FilePath) -> FilePath {
    let digest = Sha1::digest(place.name());
    let hex = digest[..8].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    place.beside(&format!(".piecewise-copy-{hex}-daemon"))
}

/// Puts a copy of the first `keep` bytes in the place of the open file, and returns the copy, open. It keeps the mode,
/// the times and, if permitted, the owner. It shares blocks with the file only if `may_share`. `None` if the file
/// changed meanwhile; then the file stays in its place.
///
/// # Errors
/// `ENOSPC` before anything is copied, if there is too little room.
pub(crate) fn take(
    root: &Root,
    place: &FilePath,
    source: &File,
    keep: u64,
    may_share: bool,
) -> io::Result<Option<File>> {
    let beside = path_beside(place);
    let copy = root.make(&beside)?.file;
    let taken = fill(&copy, source, keep, may_share).and_then(|seen| {
        let there = root.look(place.as_path())?;
        if there.is_some_and(|there| there.is_same(&seen)) && Seen::of(source)?.is_same(&seen) {
            root.replace(&beside, place)?;
            Ok(true)
        } else {
            Ok(false)
        }
    });
    if !matches!(taken, Ok(true)) {
        // A copy that cannot be removed does no harm.
        let _ = root.remove_file(&beside);
    }
    if !taken? {
        return Ok(None);
    }
    root.sync_folder(place.folders().next_back().unwrap_or("".as_ref()))?;
    Ok(Some(copy))
}

/// Copies bytes, mode, times and owner, and syncs the copy. Returns what the source looked like before.
fn fill(copy: &File, source: &File, keep: u64, may_share: bool) -> io::Result<Seen> {
    let seen = Seen::of(source)?;
    let found = source.metadata()?;
    let keep = keep.min(seen.length);
    rustix::fs::fchmod(copy, Mode::from_raw_mode(0o600))?;
    if !(may_share && share_blocks(copy, source)) {
        copy_bytes(copy, source, keep)?;
    }
    copy.set_len(keep)?;
    let owned = rustix::fs::fchown(copy, Some(Uid::from_raw(found.uid())), Some(Gid::from_raw(found.gid())));
    // A setuid program must not become one that runs as another user.
    let kept = if owned.is_ok() { 0o7777 } else { 0o777 };
    rustix::fs::fchmod(copy, Mode::from_raw_mode(found.mode() & kept))?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    rustix::fs::futimens(copy, &times)?;
    copy.sync_all()?;
    Ok(seen)
}

#[cfg(target_os = "linux")]
fn share_blocks(copy: &File, source: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

fn copy_bytes(copy: &File, source: &File, keep: u64) -> io::Result<()> {
    let parts = parts_of(source, keep)?;
    let needed: u64 = parts.iter().map(|part| part.end - part.start).sum();
    let disk = rustix::fs::fstatvfs(copy)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
        return Err(Errno::NOSPC.into());
    }
    let mut buffer = vec![0; STEP];
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let step = &mut buffer[..(part.end - at).min(STEP as u64) as usize];
            source.read_exact_at(step, at)?;
            copy.write_all_at(step, at)?;
            at += step.len() as u64;
        }
    }
    Ok(())
}

/// The parts of the first `keep` bytes that are no holes.
fn parts_of(source: &File, keep: u64) -> io::Result<Vec<std::ops::Range<u64>>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < keep {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => start.min(keep),
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start))?.min(keep);
        if start < end {
            parts.push(start..end);
        }
        at = end.max(start);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> FilePath {
        FilePath::new(&path.split('/').collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_copy_has_the_bytes_holes_mode_and_times_and_leaves_the_other_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path().to_owned());
        let place = folder.path().join("t/a");
        std::fs::create_dir(folder.path().join("t")).unwrap();
        let source = File::options().create_new(true).read(true).write(true).open(&place).unwrap();
        source.write_all_at(b"begin", 0).unwrap();
        source.write_all_at(b"end", 8 << 20).unwrap();
        rustix::fs::fchmod(&source, Mode::from_raw_mode(0o640)).unwrap();
        let past = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
        rustix::fs::futimens(&source, &Timestamps { last_access: past, last_modification: past }).unwrap();
        std::fs::hard_link(&place, folder.path().join("other")).unwrap();
        let before = source.metadata().unwrap();

        let copy = take(&root, &path("t/a"), &source, u64::MAX, true).unwrap().unwrap();

        let now = place.metadata().unwrap();
        assert_ne!(now.ino(), before.ino());
        assert_eq!(now.ino(), copy.metadata().unwrap().ino());
        assert_eq!((now.mode(), now.mtime(), now.mtime_nsec()), (before.mode(), before.mtime(), before.mtime_nsec()));
        assert_eq!((now.len(), now.nlink()), (before.len(), 1));
        assert!(now.blocks() < 4096, "the hole was filled");
        assert_eq!(std::fs::read(&place).unwrap(), std::fs::read(folder.path().join("other")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path().join("t")).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_changes_while_it_is_copied_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path().to_owned());
        std::fs::write(folder.path().join("a"), "open").unwrap();
        let source = File::open(folder.path().join("a")).unwrap();
        std::fs::remove_file(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a"), "another").unwrap();

        assert!(take(&root, &path("a"), &source, u64::MAX, true).unwrap().is_none());

        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"another");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
