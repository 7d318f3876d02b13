//! Sets files of a set aside when nobody wants them, and brings them back. Everything here blocks.

use std::collections::HashSet;

use super::places::Brought;
use super::set::{FileSet, keep_worse};
use super::{fault, places};
use crate::error::Result;
use crate::mutex::lock;

impl FileSet {
    /// Sets the files of `skipped` aside, and brings all others back to their places. Makes no file. Indices lie within
    /// the layout. Every file is tried; the fault that lasts longest is returned.
    ///
    /// # Errors
    /// `Refused`, `DiskFull`, `Unavailable`; `UnknownSet` if the set is gone by now. A file that could not be moved
    /// stays skipped.
    pub(crate) fn prepare(&self, skipped: &[usize]) -> Result<()> {
        let _here = self.enter()?;
        // One call at a time, so that the last one decides.
        let _turn = lock(&self.preparing);
        self.places.skip(skipped);
        let skipped: HashSet<_> = skipped.iter().collect();
        let mut outcome = Ok(());
        let mut finder = self.places.finder();
        for file in 0..self.layout().entries().len() {
            self.check_revoked()?;
            if !skipped.contains(&file) {
                keep_worse(&mut outcome, self.provide(file, &mut finder));
            }
        }
        if outcome.is_ok() {
            self.places.note_prepared();
        }
        outcome
    }

    fn provide(&self, file: usize, finder: &mut places::Finder<'_>) -> Result<()> {
        let Some(registered) = &self.layout().entries()[file].path else { return Ok(()) };
        let lies_aside = self.with_room(|| finder.lies_aside(file, registered));
        if self.places.is_skipped(file) || lies_aside.map_err(|error| fault::of(registered.as_str(), &error))? {
            self.bring_back(file)?;
        }
        Ok(())
    }

    /// Brings a file to its place while nobody writes it. A reader finds it at one place or the other meanwhile.
    fn bring_back(&self, file: usize) -> Result<()> {
        let shared = self.record(file);
        let mut record = lock(&shared);
        let Some((path, _)) = self.file(file)? else { return Ok(()) };
        // It counts as skipped until it is moved, also if an earlier registration set it aside.
        self.places.skip(&[file]);
        match self
            .with_room(|| self.places.bring_back(file, &path))
            .map_err(|error| fault::of(path.as_str(), &error))?
        {
            Brought::Nothing => {}
            Brought::Moved(folders) => {
                lock(&self.folders).extend(folders);
                // It may have been written under an earlier registration that was not synced.
                record.dirty = true;
            }
            Brought::GaveWay => {
                self.close(file);
                if record.is_claimed() {
                    record.end(path.as_str(), fault::REPLACED);
                }
            }
        }
        self.places.want(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use crate::disk::path::FilePath;
    use crate::disk::rivals::Claimant;
    use crate::disk::set::tests::{make_all, set_of, set_with_rivals};

    const LENGTH: usize = 4;

    /// A set of `t/a`, which is written and set aside.
    fn one_aside(directory: &Path) -> FileSet {
        let set = set_of(directory, &["t/a".to_owned()]);
        set.prepare(&[0]).unwrap();
        make_all(&set);
        set.write(0, b"aaaa").unwrap();
        set
    }

    /// Moves all files of a set to their places while other threads read and write them. Returns their contents.
    fn move_while_used(set: &FileSet) -> Vec<u8> {
        let count = set.layout().entries().len();
        let bytes: Vec<_> = (0..count * LENGTH).map(|at| (at % 251) as u8).collect();
        set.prepare(&(0..count).collect::<Vec<_>>()).unwrap();
        make_all(set);
        set.write(0, &bytes).unwrap();
        let done = AtomicBool::new(false);

        thread::scope(|scope| {
            for user in 0..2 {
                let (bytes, done) = (&bytes, &done);
                scope.spawn(move || {
                    // From the last file to the first, to meet the thread that moves them.
                    for at in (0..bytes.len()).step_by(LENGTH).rev().cycle() {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut read = Vec::new();
                        assert_eq!(set.read(at as u64..(at + LENGTH) as u64, &mut read), Ok(()));
                        assert_eq!(read, bytes[at..at + LENGTH]);
                        if user == 0 {
                            assert_eq!(set.write(at as u64, &bytes[at..at + LENGTH]), Ok(()));
                        }
                    }
                });
            }
            let prepared = set.prepare(&[]);
            done.store(true, Ordering::Relaxed);
            assert_eq!(prepared, Ok(()));
        });
        bytes
    }

    fn check_files(directory: &Path, names: &[String], bytes: &[u8]) {
        for (name, expected) in names.iter().zip(bytes.chunks(LENGTH)) {
            assert_eq!(std::fs::read(directory.join(name)).unwrap(), expected, "{name}");
        }
        assert!(!directory.join("hidden/parts").exists());
    }

    #[test]
    fn files_are_read_and_written_while_they_are_moved() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..150).map(|index| format!("t/{}/{index}", index % 5)).collect();
        let set = set_of(directory.path(), &names);

        let bytes = move_while_used(&set);

        check_files(directory.path(), &names, &bytes);
    }

    #[test]
    fn files_are_read_and_written_while_their_names_are_tried_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("t")).unwrap();
        // As if the file system confused the own name of every other file with that of the next one.
        std::os::unix::fs::symlink("t", directory.path().join("l")).unwrap();
        let names: Vec<_> = (0..75).flat_map(|index| [format!("t/{index}.1"), format!("t/{index}")]).collect();
        let own = |index: usize| FilePath::new(&["l".to_owned(), index.to_string()]).ok();
        let group = |index: usize| {
            let rival = Claimant::File { index: 2 * index + 1, own: None, original: None };
            vec![rival, Claimant::File { index: 2 * index, own: own(index), original: None }]
        };
        let set = set_with_rivals(directory.path(), &names, (0..75).map(group).collect());

        let bytes = move_while_used(&set);

        check_files(directory.path(), &names, &bytes);
    }

    #[test]
    fn a_file_that_was_moved_is_synced_by_the_next_flush_with_its_folders() {
        let directory = tempfile::tempdir().unwrap();
        let set = one_aside(directory.path());
        set.flush(&[0]).unwrap();
        let is_dirty = || lock(&set.record(0)).dirty;
        assert!(!is_dirty() && lock(&set.folders).is_empty());

        set.prepare(&[]).unwrap();

        assert!(is_dirty());
        assert_eq!(lock(&set.folders).iter().collect::<Vec<_>>(), [&PathBuf::new(), &PathBuf::from("t")]);
        assert!(set.flush(&[0]).unwrap()[0].is_ok());
        assert!(!is_dirty() && lock(&set.folders).is_empty());
    }

    #[test]
    fn a_file_set_aside_that_has_both_names_is_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let set = one_aside(directory.path());
        // As after a crash between the two steps of a move.
        std::fs::create_dir(directory.path().join("t")).unwrap();
        std::fs::hard_link(directory.path().join("hidden/parts/t/a"), directory.path().join("t/a")).unwrap();

        assert_eq!(set.prepare(&[]), Ok(()));

        assert_eq!(std::fs::read(directory.path().join("t/a")).unwrap(), b"aaaa");
        assert!(!directory.path().join("hidden/parts").exists());
    }
}
