//! Moves files of a set to other paths, and deletes them. Everything here blocks.

use std::collections::BTreeSet;
use std::io;

use super::claim::no_file;
use super::facts::Identity;
use super::fault;
use super::path::FilePath;
use super::set::{FileSet, keep_worse};
use super::system_error::{is_absent, is_no_file};
use super::writers::Locator;
use crate::error::{Error, Result};
use crate::mutex::lock;

impl FileSet {
    /// Moves a reserved file to another path, never over anything, and uses it there from then on. `identity` says
    /// which file it is, so that a move whose answer was lost can be repeated even after a restart.
    ///
    /// # Errors
    /// `NotReserved`, `FileExists`, `WriterConflict`, and those of `write`. Then nothing has changed.
    pub(crate) fn rename(&self, file: usize, to: &FilePath, identity: Option<Identity>) -> Result<()> {
        let _here = self.enter()?;
        let blame = |error: io::Error| fault::of(to.as_str(), &error);
        let exists = || Err(Error::FileExists { path: to.as_str().to_owned() });
        let shared = self.record(file);
        let mut record = lock(&shared);
        let (from, _) = self.file(file)?.ok_or_else(no_file)?;
        self.check_reserved(file, &from)?;
        if *to == from {
            return Ok(());
        }
        if self.places.is_aside(to) {
            return Err(Error::bad_request("the path lies in the folder for files set aside"));
        }
        let is_taken = |other: usize| other != file && self.may_lie_at(other, to);
        if (0..self.layout().entries().len()).any(is_taken) {
            return exists();
        }
        let root = &self.registration().root;
        let places = Locator::new(root).find(to).map_err(blame)?;
        let new = self.writers.reserve(self.serial(), &[(file, places)]).map_err(|_| Error::WriterConflict {
            path: to.as_str().to_owned(),
            holder: "another torrent".to_owned(),
        })?;
        let lock_paths = |paths: &[FilePath]| {
            if new.is_empty() {
                return Ok(());
            }
            let paths: Vec<_> = paths.iter().map(|path| (file, path.clone())).collect();
            self.writers.lock_files(self.serial(), root, &paths)
        };
        let before = self.paths_of(file);
        if let Err(held) = lock_paths(std::slice::from_ref(to)) {
            self.keep_reserved(file, &before);
            return Err(held);
        }
        // The file stays, so its earlier paths are reserved again; hardly anybody can have reserved them meanwhile.
        let stay = || {
            self.keep_reserved(file, &before);
            let _ = lock_paths(&before);
        };
        let moved = self.with_room(|| self.places.rename(file, &from, to));
        match moved {
            Ok(None) => {}
            Ok(Some(folders)) => {
                let mut changed = lock(&self.folders);
                changed.extend(folders);
                changed.extend(from.folders().map(Into::into));
                record.dirty = true;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = root.look(to.as_path()).map_err(blame)?;
                let is_moved = there.is_some_and(|seen| seen.is_file && Some(seen.identity) == identity);
                if !is_moved || self.look(file, &from)?.is_some() {
                    stay();
                    return exists();
                }
            }
            Err(error) => {
                stay();
                return Err(blame(error));
            }
        }
        self.move_to(file, to.clone());
        self.keep_reserved(file, std::slice::from_ref(to));
        Ok(())
    }

    /// Reserves the paths that a file has after a move, and releases all others.
    fn keep_reserved(&self, file: usize, paths: &[FilePath]) {
        let mut locator = Locator::new(&self.registration().root);
        let places: io::Result<Vec<_>> = paths.iter().map(|path| Ok((file, locator.find(path)?))).collect();
        if let Ok(places) = places
            // Its folder may have been made only now, and identifies it from here on. If another set reaches that
            // folder by another path and was faster, the next claim of the file notices it.
            && self.writers.reserve(self.serial(), &places).is_ok()
        {
            self.writers.keep_only(self.serial(), &places);
        }
    }

    /// Deletes these reserved files, wherever they lie, if they are regular files, and then the folders around them
    /// that are empty. Every file is tried.
    ///
    /// # Errors
    /// `NotReserved` before any file is touched, and those of `write`. A file that does not exist is no error.
    pub(crate) fn remove(&self, files: &[usize]) -> Result<()> {
        let _here = self.enter()?;
        let _turn = lock(&self.preparing);
        let mut paths = Vec::with_capacity(files.len());
        for &file in files {
            paths.extend(self.file(file)?.map(|(path, _)| (file, path)));
        }
        for (file, path) in &paths {
            self.check_reserved(*file, path)?;
        }
        let root = &self.registration().root;
        let mut outcome = Ok(());
        let mut folders = BTreeSet::new();
        let mut finder = self.places.finder();
        for (file, path) in &paths {
            let shared = self.record(*file);
            let mut record = lock(&shared);
            self.close(*file);
            if record.is_claimed() {
                record.end(path.as_str(), fault::DELETED);
            }
            record.dirty = false;
            self.remove_leftover_copy(path);
            let removed = match self.places.names.at(*file, path, |path| root.remove_file(path)) {
                // Whatever is no regular file was not made by this daemon.
                Err(error) if is_absent(&error) || is_no_file(&error) => Ok(()),
                removed => removed.map(drop),
            };
            let lies_aside = self.with_room(|| finder.lies_aside(*file, path));
            let removed_aside = lies_aside.and_then(|lies| if lies { self.places.remove(*file, path) } else { Ok(()) });
            for one in [removed, removed_aside] {
                keep_worse(&mut outcome, one.map_err(|error| fault::of(path.as_str(), &error)));
            }
            folders.extend(path.folders().map(ToOwned::to_owned));
        }
        // In reverse order, a folder comes after everything that lies in it. One that is not empty, or is no folder,
        // stays.
        for folder in folders.into_iter().rev() {
            let _ = root.remove_folder(&folder);
        }
        outcome
    }
}
