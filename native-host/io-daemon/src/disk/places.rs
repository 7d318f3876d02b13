//! Where each file of a set lies. A wanted file lies in its place, under one of its names. A file that nobody wants is
//! set aside: it lies in a hidden folder, under the name that no file system confuses with the name of another file.
//!
//! Pieces do not end where files do, so a file that nobody wants gets bytes of pieces of its neighbours. They must not
//! make the file in its place: a user would find a file full of holes that was not asked for. They are written to the
//! file set aside and read from there. A file that is wanted again is moved to its place as it is. A skipped file that
//! exists in its place is used there.
//!
//! The disk decides where a file lies. This module remembers which files are skipped, and where each skipped file was
//! found when it was used, so that it is used at one place only. Once all wanted files were brought to their places,
//! they are no longer looked for aside. Before that, an earlier registration may have set one of them aside.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::facts::{self, Facts, Seen};
use super::names::{Names, Put};
use super::path::FilePath;
use super::rivals::Rivals;
use super::root::{Access, Made, Root};
use super::system_error::{is_absent, is_no_file};
use crate::mutex::lock;

/// The whereabouts of the files of one set; an index is one of its layout.
pub(crate) struct Places {
    root: Root,
    /// The folder in which files are set aside. Without one, every file lies in its place.
    aside: Option<FilePath>,
    pub(crate) names: Names,
    wants: Mutex<Wants>,
}

#[derive(Default)]
struct Wants {
    skipped: HashMap<usize, Skipped>,
    /// Whether all files that are not skipped were brought to their places.
    is_prepared: bool,
}

/// A file that nobody wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skipped {
    /// It was not used yet. Whether it exists in its place is looked up when it is used.
    Unused,
    /// It is set aside.
    Aside,
}

/// The result of bringing a file to its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It was not set aside.
    Nothing,
    /// It lies in its place now. These folders have a new entry, as in [`Made`].
    Moved(Vec<PathBuf>),
    /// Another file lies in its place, so the file set aside was removed.
    GaveWay,
}

impl Places {
    /// Touches nothing.
    pub(crate) fn new(root: Root, aside: Option<FilePath>, skipped: &[usize], rivals: Arc<Rivals>) -> Self {
        let names = Names::new(root.clone(), rivals);
        let places = Self { root, aside, names, wants: Mutex::default() };
        places.skip(skipped);
        places
    }

    fn aside_of(&self, file: usize, path: &FilePath) -> Option<FilePath> {
        self.aside.as_ref().map(|folder| self.names.plain_of(file, path).below(folder))
    }

    /// The path at which a file may be set aside, and whether it is known to lie there.
    fn elsewhere(&self, file: usize, path: &FilePath) -> Option<(FilePath, bool)> {
        let aside = self.aside_of(file, path)?;
        let wants = lock(&self.wants);
        match wants.skipped.get(&file) {
            Some(skipped) => Some((aside, *skipped == Skipped::Aside)),
            None if wants.is_prepared => None,
            None => Some((aside, false)),
        }
    }

    /// Whether a file is skipped: it must be brought to its place when it is wanted again.
    pub(crate) fn is_skipped(&self, file: usize) -> bool {
        lock(&self.wants).skipped.contains_key(&file)
    }

    /// Sets files aside from their next use on, except those that exist in their places then.
    pub(crate) fn skip(&self, files: &[usize]) {
        if self.aside.is_some() {
            let mut wants = lock(&self.wants);
            for &file in files {
                wants.skipped.entry(file).or_insert(Skipped::Unused);
            }
        }
    }

    /// From now on the file lies in its place.
    pub(crate) fn want(&self, file: usize) {
        lock(&self.wants).skipped.remove(&file);
    }

    /// From now on every file that is not skipped lies in its place.
    pub(crate) fn note_prepared(&self) {
        lock(&self.wants).is_prepared = true;
    }

    /// Forgets where skipped files were found, for a client that knows only what is on disk now.
    pub(crate) fn start_anew(&self) {
        lock(&self.wants).skipped.values_mut().for_each(|skipped| *skipped = Skipped::Unused);
        self.names.start_anew();
    }

    fn note_aside(&self, file: usize) {
        // It may be wanted again by now.
        if let Some(skipped) = lock(&self.wants).skipped.get_mut(&file) {
            *skipped = Skipped::Aside;
        }
    }

    /// Opens the file in its place or aside. Fails with `NotFound` if the file does not exist.
    pub(crate) fn open(&self, file: usize, path: &FilePath, access: Access) -> io::Result<File> {
        let opened = self.find(file, path, |place| match self.root.open(place, access) {
            Err(error) if is_absent(&error) => Ok(None),
            opened => opened.map(Some),
        });
        opened?.map(|(open, _)| open).ok_or(io::ErrorKind::NotFound.into())
    }

    /// What lies where the file does, with its path; `None` if nothing does.
    pub(crate) fn look(&self, file: usize, path: &FilePath) -> io::Result<Option<(Seen, FilePath)>> {
        self.find(file, path, |place| self.root.look(place.as_path()))
    }

    /// The facts of what lies where the file does.
    pub(crate) fn facts(&self, file: usize, path: &FilePath) -> io::Result<Option<Facts>> {
        let Some((seen, place)) = self.look(file, path)? else { return Ok(None) };
        let is_hole = match (seen.is_file, seen.length, seen.blocks) {
            (true, 0, _) => true,
            // Some file systems count no blocks. Only then the file is opened.
            (true, _, 0) => self.root.open(&place, Access::Read).is_ok_and(|open| facts::is_hole(&open)),
            _ => false,
        };
        Ok(Some(Facts::new(&seen, is_hole, self.is_aside(&place))))
    }

    /// Looks for a file in its place, under whichever name that is by now, and aside, until something is found.
    fn find<T>(
        &self,
        file: usize,
        path: &FilePath,
        look: impl Fn(&FilePath) -> io::Result<Option<T>>,
    ) -> io::Result<Option<(T, FilePath)>> {
        let look_in_place = || {
            let (found, place) = self.names.at(file, path, &look)?;
            Ok(found.map(|found| (found, place)))
        };
        let Some((aside, is_aside)) = self.elsewhere(file, path) else { return look_in_place() };
        if !is_aside && let Some(found) = look_in_place()? {
            return Ok(Some(found));
        }
        if let Some(found) = look(&aside)? {
            self.note_aside(file);
            return Ok(Some((found, aside)));
        }
        // The file may be moved to its place between two looks.
        look_in_place()
    }

    /// Makes a file that was not found at `path`. `AlreadyExists` if something lies there by now.
    pub(crate) fn make(&self, file: usize, path: &FilePath) -> io::Result<Put<File>> {
        let make = |path: &FilePath| self.root.make(path).map(|Made { file, folders }| (file, folders));
        match self.aside_of(file, path).filter(|_| self.is_skipped(file)) {
            None => self.names.put(file, path, make, |path| self.root.remove_file(path)),
            Some(aside) => {
                let (done, folders) = make(&aside)?;
                self.note_aside(file);
                Ok(Put { path: path.clone(), done, folders })
            }
        }
    }

    /// The folders that may contain the entry of a file, outermost first, without the root.
    pub(crate) fn folders(&self, file: usize, path: &FilePath) -> Vec<PathBuf> {
        let aside = self.elsewhere(file, path).map(|(aside, _)| aside);
        [Some(path), aside.as_ref()].into_iter().flatten().flat_map(FilePath::folders).map(Into::into).collect()
    }

    /// Moves a file to another path, in its place or aside as it lies now. Returns the folders that got an entry;
    /// `None` if the file does not exist.
    pub(crate) fn rename(&self, file: usize, from: &FilePath, to: &FilePath) -> io::Result<Option<Vec<PathBuf>>> {
        if self.root.exists(to.as_path())? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let Some((_, place)) = self.look(file, from)? else { return Ok(None) };
        let target = match &self.aside {
            Some(folder) if self.is_aside(&place) => to.below(folder),
            _ => to.clone(),
        };
        let folders = self.root.move_file(&place, &target)?;
        self.remove_empty(&place);
        Ok(Some(folders))
    }

    /// Whether a path lies in the folder for files set aside.
    pub(crate) fn is_aside(&self, path: &FilePath) -> bool {
        self.aside.as_ref().is_some_and(|folder| path.is_in(folder))
    }

    /// Moves a file to its place if it was set aside, never over another file, and removes the folders that are empty
    /// then.
    pub(crate) fn bring_back(&self, file: usize, path: &FilePath) -> io::Result<Brought> {
        let Some(aside) = self.aside_of(file, path) else { return Ok(Brought::Nothing) };
        if !self.root.is_file(&aside)? {
            return Ok(Brought::Nothing);
        }
        let move_to = |path: &FilePath| self.root.move_file(&aside, path).map(|folders| ((), folders));
        let move_back = |path: &FilePath| self.root.move_file(path, &aside).map(drop);
        let brought = match self.names.put(file, path, move_to, move_back) {
            Ok(put) => Brought::Moved(put.folders),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // What was set aside is removed only if a file lies in its place, not if a folder is in the way.
                self.root.open(path, Access::Read)?;
                self.remove_aside(&aside)?;
                Brought::GaveWay
            }
            // Another set of the same files was faster.
            Err(error) if is_absent(&error) && !self.root.is_file(&aside)? => Brought::Nothing,
            Err(error) => return Err(error),
        };
        self.remove_empty(&aside);
        Ok(brought)
    }

    fn remove_aside(&self, aside: &FilePath) -> io::Result<()> {
        match self.root.remove_file(aside) {
            // Whatever is no regular file was not set aside by this daemon.
            Err(error) if is_absent(&error) || is_no_file(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Removes the folders that a file set aside leaves empty, including the one for all such files.
    fn remove_empty(&self, aside: &FilePath) {
        let ours = |folder: &&Path| self.aside.as_ref().is_some_and(|top| folder.starts_with(top.as_path()));
        for folder in aside.folders().rev().take_while(ours) {
            // If a folder is not empty, neither are those around it.
            if self.root.remove_folder(folder).is_err() {
                break;
            }
        }
    }

    /// Removes a file that was set aside.
    pub(crate) fn remove(&self, file: usize, path: &FilePath) -> io::Result<()> {
        let Some(aside) = self.aside_of(file, path) else { return Ok(()) };
        self.remove_aside(&aside)?;
        self.remove_empty(&aside);
        Ok(())
    }

    /// A finder of files set aside.
    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { places: self, tops: HashMap::new() }
    }
}

/// Finds files set aside by this registration or an earlier one. It looks for the topmost folders of the set first, and
/// once for each; most sets have one. If nothing lies there, as is usual, a million files cost nothing.
pub(crate) struct Finder<'a> {
    places: &'a Places,
    tops: HashMap<String, bool>,
}

impl Finder<'_> {
    /// Whether the file with this path is set aside.
    pub(crate) fn lies_aside(&mut self, file: usize, path: &FilePath) -> io::Result<bool> {
        let Places { root, aside: Some(folder), names, .. } = self.places else { return Ok(false) };
        let path = &names.plain_of(file, path);
        let there = if let Some(known) = self.tops.get(path.top()) {
            *known
        } else {
            let there = match root.exists(&folder.as_path().join(path.top())) {
                // What cannot be reached counts as missing; the client downloads it again.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
                there => there?,
            };
            self.tops.insert(path.top().to_owned(), there);
            there
        };
        if there { root.is_file(&path.below(folder)) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(components: &[&str]) -> FilePath {
        FilePath::new(components).unwrap()
    }

    fn places(aside: Option<FilePath>, skipped: &[usize]) -> Places {
        Places::new(Root::from(PathBuf::from("/nowhere")), aside, skipped, Arc::default())
    }

    #[test]
    fn once_all_are_prepared_a_wanted_file_is_looked_for_only_in_its_place() {
        let file = path(&["t", "a"]);
        let places = places(Some(path(&["parts"])), &[1]);
        assert_eq!(places.elsewhere(0, &file), Some((path(&["parts", "t", "a"]), false)));

        places.note_prepared();

        assert_eq!(places.elsewhere(0, &file), None);
        assert_eq!(places.elsewhere(1, &file), Some((path(&["parts", "t", "a"]), false)));
    }

    #[test]
    fn without_a_folder_for_skipped_files_none_is() {
        let places = places(None, &[0]);

        assert!(!places.is_skipped(0));
        assert_eq!(places.elsewhere(0, &path(&["a"])), None);
    }

    #[test]
    fn the_place_of_a_skipped_file_is_remembered_until_the_set_starts_anew() {
        let file = path(&["a"]);
        let places = places(Some(path(&["parts"])), &[0]);
        let is_known = || places.elsewhere(0, &file).is_some_and(|(_, is_known)| is_known);
        assert!(!is_known());

        places.note_aside(0);
        places.skip(&[0]);

        assert!(is_known());
        places.start_anew();
        assert!(!is_known());
        places.want(0);
        places.note_aside(0);
        assert!(!places.is_skipped(0));
    }
}
