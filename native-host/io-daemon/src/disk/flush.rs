//! Flushes files of a set: brings what was written to the disk. Everything here blocks.

use std::io;
use std::path::{Path, PathBuf};

use super::fault;
use super::root::Access;
use super::set::{FileSet, Outcome};
use crate::error::{Error, Result};
use crate::mutex::lock;

impl FileSet {
    /// Waits until what was written to these files is on disk, with the new entries of folders. Returns the outcome for
    /// each file: its facts, or `None` for padding. A file that fails does not keep others from being flushed. The
    /// first flush syncs a file in any case, because an earlier set may have written it.
    ///
    /// # Errors
    /// `UnknownSet`.
    pub(crate) fn flush(&self, files: &[usize]) -> Result<Vec<Outcome>> {
        let _here = self.enter()?;
        let _turn = lock(&self.flushing);
        let synced: Vec<_> = files.iter().map(|file| self.sync(*file)).collect();
        let lost = self.sync_folders();
        let outcomes = files.iter().zip(synced).map(|(&file, synced)| {
            synced?;
            let Some((path, _)) = self.file(file)? else { return Ok(None) };
            let folders = self.places.folders(file, &path);
            let is_in = |folder: &Path| folder.as_os_str().is_empty() || folders.iter().any(|one| one == folder);
            if let Some((_, error)) = lost.iter().find(|(folder, _)| is_in(folder)) {
                return Err(error.clone());
            }
            let facts = self.places.facts(file, &path).map_err(|error| fault::of(path.as_str(), &error))?;
            facts.map(Some).ok_or_else(|| Error::NotStored { path: path.as_str().to_owned() })
        });
        Ok(outcomes.collect())
    }

    /// Syncs the folders that got entries. Returns those that failed, and keeps them for the next flush.
    fn sync_folders(&self) -> Vec<(PathBuf, Error)> {
        let folders = std::mem::take(&mut *lock(&self.folders));
        let mut lost = Vec::new();
        for folder in folders {
            match self.with_room(|| self.registration().root.sync_folder(&folder)) {
                Ok(()) => {}
                // A folder that is gone has no entries to sync.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    lost.push((folder.clone(), fault::of_sync(&folder.to_string_lossy(), &error)));
                    lock(&self.folders).insert(folder);
                }
            }
        }
        lost
    }

    /// Syncs a file that was written, or that an earlier set may have written.
    fn sync(&self, file: usize) -> Result<()> {
        if self.layout().entries()[file].path.is_none() {
            return Ok(());
        }
        let shared = self.record(file);
        let (open, path) = {
            let mut record = lock(&shared);
            let Some((path, _)) = self.file(file)? else { return Ok(()) };
            let blame = |error: io::Error| match error.kind() {
                io::ErrorKind::NotFound => Error::NotStored { path: path.as_str().to_owned() },
                _ => fault::of(path.as_str(), &error),
            };
            if record.is_claimed() || record.has_ended() {
                self.check_there(file, &path, &mut record)?;
            }
            if !record.needs_sync() {
                return Ok(());
            }
            let open = self.open(file, &path, Access::Read).map_err(blame)?;
            if record.begin_sync() {
                let mut folders = lock(&self.folders);
                folders.insert(PathBuf::new());
                folders.extend(self.places.folders(file, &path));
            }
            (open, path)
        };
        // Not under the lock, because a sync takes long and writes to the file go on meanwhile.
        open.sync_data().map_err(|error| {
            lock(&shared).dirty = true;
            fault::of_sync(path.as_str(), &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::claim::{Claim, How};
    use crate::disk::set::tests::set_of;

    #[test]
    fn a_file_is_synced_once_in_any_case_and_then_when_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("found"), "mine").unwrap();
        let set = set_of(directory.path(), &["a/b/made", "found", "missing"]);
        let needs_sync = |file| lock(&set.record(file)).needs_sync();
        let folders = || lock(&set.folders).iter().cloned().collect::<Vec<_>>();
        assert_eq!(set.reserve(&[0]), Ok(Ok(())));
        set.claim(&Claim { file: 0, how: How::New }).unwrap();
        assert_eq!(folders(), [Path::new(""), Path::new("a"), Path::new("a/b")]);
        assert!(needs_sync(0) && needs_sync(1));

        let outcomes = set.flush(&[0, 1, 2]).unwrap();

        let lengths: Vec<_> =
            outcomes.iter().map(|one| one.as_ref().map(|facts| facts.as_ref().unwrap().length)).collect();
        assert_eq!(lengths, [Ok(0), Ok(4), Err(&Error::NotStored { path: "missing".to_owned() })]);
        assert!(!needs_sync(0) && !needs_sync(1) && folders().is_empty());
        set.write(0, b"abcd").unwrap();
        assert!(needs_sync(0) && !needs_sync(1));
    }
}
