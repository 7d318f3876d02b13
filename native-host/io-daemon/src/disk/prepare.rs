//! Which files of a set are wanted: set aside, brought back, and made where they are empty. Everything here blocks.

use std::collections::HashSet;

use super::fault;
use super::path::FilePath;
use super::places::Brought;
use super::set::{FileSet, note};
use super::{lock, places};
use crate::error::Result;

impl FileSet {
    /// Sets the files of `skipped` aside, brings all others back to their places, and makes the empty ones among those, which
    /// no write would. Indices lie within the layout. Every file is tried; the fault that lasts longest is told.
    ///
    /// # Errors
    /// As `write`. A file that could not be moved is skipped until it can be.
    pub(crate) fn prepare(&self, skipped: &[usize]) -> Result<()> {
        let _here = self.enter()?;
        // One after the other, so that what is said later holds in the end.
        let _turn = lock(&self.preparing);
        self.places.skip(skipped);
        let skipped: HashSet<_> = skipped.iter().collect();
        let mut outcome = Ok(());
        let mut finder = self.places.finder();
        for (file, entry) in self.layout().entries().iter().enumerate() {
            self.check_revoked()?;
            let Some(path) = &entry.path else { continue };
            if !skipped.contains(&file) {
                note(&mut outcome, self.provide(file, path, entry.length == 0, &mut finder));
            }
        }
        if outcome.is_ok() {
            self.places.note_prepared();
        }
        outcome
    }

    fn provide<'a>(
        &'a self,
        file: usize,
        path: &'a FilePath,
        is_empty: bool,
        finder: &mut places::Finder<'a>,
    ) -> Result<()> {
        let lies_aside = self.with_room(|| finder.lies_aside(path));
        if self.places.is_skipped(file) || lies_aside.map_err(|error| fault::of(path.as_str(), &error))? {
            self.bring_back(file, path)?;
        }
        if is_empty { self.make_empty(file, path) } else { Ok(()) }
    }

    /// Brings a file to its place while nobody writes it. Who reads it meanwhile finds it here or there.
    fn bring_back(&self, file: usize, path: &FilePath) -> Result<()> {
        let shared = self.record(file);
        let mut record = lock(&shared);
        record.check_refused(path.as_str())?;
        // As it is until it is moved, also if an earlier registration set it aside.
        self.places.skip(&[file]);
        match self.with_room(|| self.places.bring_back(path)).map_err(|error| fault::of(path.as_str(), &error))? {
            Brought::Nothing => {}
            Brought::Moved(folders) => {
                lock(&self.folders).extend(folders);
                record.moved();
            }
            Brought::GaveWay => {
                self.close(file);
                record.start_anew();
            }
        }
        self.places.want(file);
        Ok(())
    }

    fn make_empty(&self, file: usize, path: &FilePath) -> Result<()> {
        let shared = self.record(file);
        let mut record = lock(&shared);
        record.check_refused(path.as_str())?;
        let open = self.open_or_make(file, path, &mut record)?;
        let found = open.metadata().map_err(|error| fault::of(path.as_str(), &error))?;
        record.check(path.as_str(), &found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use crate::disk::handles::Handles;
    use crate::disk::layout::Layout;
    use crate::disk::set::Registration;

    const LENGTH: usize = 4;

    /// A set of files of four bytes with a folder for skipped ones, and one handle for all of them.
    fn set_of(directory: &Path, names: &[String]) -> FileSet {
        let files = names.iter().map(|name| {
            let components: Vec<_> = name.split('/').collect();
            (Some(FilePath::new(&components).unwrap()), LENGTH as u64)
        });
        let registration =
            Registration::new("root".to_owned(), directory.to_owned(), Layout::new(files).unwrap(), false)
                .with_aside(FilePath::new(&["hidden", "parts"]).unwrap())
                .unwrap();
        FileSet::new(1, registration, &[], Arc::new(Handles::new(1)))
    }

    /// A set of `t/a`, which is written and set aside.
    fn one_aside(directory: &Path) -> FileSet {
        let set = set_of(directory, &["t/a".to_owned()]);
        set.prepare(&[0]).unwrap();
        set.write(0, b"aaaa").unwrap();
        set
    }

    #[test]
    fn files_are_read_and_written_while_they_are_moved() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..150).map(|index| format!("t/{}/{index}", index % 5)).collect();
        let set = set_of(directory.path(), &names);
        let bytes: Vec<_> = (0..names.len() * LENGTH).map(|at| (at % 251) as u8).collect();
        set.prepare(&(0..names.len()).collect::<Vec<_>>()).unwrap();
        set.write(0, &bytes).unwrap();
        assert!(!directory.path().join("t").exists());
        let done = AtomicBool::new(false);

        thread::scope(|scope| {
            for user in 0..2 {
                let (set, bytes, done) = (&set, &bytes, &done);
                scope.spawn(move || {
                    // From the last file on, to meet the one who moves them.
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

        for (name, expected) in names.iter().zip(bytes.chunks(LENGTH)) {
            assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), expected);
        }
        assert!(!directory.path().join("hidden/parts").exists());
    }

    #[test]
    fn a_file_that_was_moved_is_synced_by_the_next_flush_with_its_folders() {
        let directory = tempfile::tempdir().unwrap();
        let set = one_aside(directory.path());
        set.flush().unwrap();
        let is_dirty = || lock(&set.record(0)).dirty;
        assert!(!is_dirty() && lock(&set.folders).is_empty());

        set.prepare(&[]).unwrap();

        assert!(is_dirty());
        assert_eq!(lock(&set.folders).iter().collect::<Vec<_>>(), [&PathBuf::new(), &PathBuf::from("t")]);
        assert_eq!(set.flush(), Ok(()));
        assert!(!is_dirty() && lock(&set.folders).is_empty());
    }

    #[test]
    fn a_part_that_is_known_under_both_names_is_at_its_place() {
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
