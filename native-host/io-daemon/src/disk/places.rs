//! Where each file of a set lies: in its place, under one of its names, or, while nobody wants it, in a hidden folder, under
//! the name that no file system takes for another file's.
//!
//! What is written does not end where files do, so a file that nobody wants gets bytes of its neighbours' pieces. They must
//! not make that file: a user would find one that was not asked for, full of holes. They are set aside, and read from there
//! like any others. A file that is wanted again is moved to its place as it is; a skipped one that exists is used where it is.
//!
//! The disk says where a file lies. What is remembered is which files are skipped, and of those that were used where each
//! turned out to be, so that it does not change its place in between. Once all others were brought to their places they cost
//! no look aside; before, one of them may still lie there, set aside by an earlier registration.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::facts::{self, Facts, Seen};
use super::names::{Names, Put};
use super::path::FilePath;
use super::rivals::Rivals;
use super::root::{Access, Made, Root, is_absent, is_no_file};
use crate::mutex::lock;

/// The whereabouts of the files of one set; an index is one of its layout.
pub(crate) struct Places {
    root: Root,
    /// Where files are set aside; in a set without, every file lies in its place.
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
    /// Nobody knows yet whether it exists in its place: that is asked when it is used.
    Unused,
    /// It is set aside.
    Aside,
}

/// What became of a file that was to come to its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It was not set aside.
    Nothing,
    /// It is there now, and these folders have a new entry, as `Root::make` tells them.
    Moved(Vec<PathBuf>),
    /// Another file is there, so what was set aside is gone.
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

    /// Where a file may lie besides its place, and whether it is known to.
    fn elsewhere(&self, file: usize, path: &FilePath) -> Option<(FilePath, bool)> {
        let aside = self.aside_of(file, path)?;
        let wants = lock(&self.wants);
        match wants.skipped.get(&file) {
            Some(skipped) => Some((aside, *skipped == Skipped::Aside)),
            None if wants.is_prepared => None,
            None => Some((aside, false)),
        }
    }

    /// Whether a file has yet to come to its place once it is wanted.
    pub(crate) fn is_skipped(&self, file: usize) -> bool {
        lock(&self.wants).skipped.contains_key(&file)
    }

    /// Sets files aside from their next use on, those excepted that exist in their places then.
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

    /// Forgets where files turned out to be, for a client that knows only what is on disk now.
    pub(crate) fn start_anew(&self) {
        lock(&self.wants).skipped.values_mut().for_each(|skipped| *skipped = Skipped::Unused);
        self.names.start_anew();
    }

    fn note_aside(&self, file: usize) {
        // It may be wanted by now.
        if let Some(skipped) = lock(&self.wants).skipped.get_mut(&file) {
            *skipped = Skipped::Aside;
        }
    }

    /// Opens the file where it lies; `NotFound` where it does not exist.
    pub(crate) fn open(&self, file: usize, path: &FilePath, access: Access) -> io::Result<File> {
        let opened = self.find(file, path, |place| match self.root.open(place, access) {
            Err(error) if is_absent(&error) => Ok(None),
            opened => opened.map(Some),
        });
        opened?.map(|(open, _)| open).ok_or(io::ErrorKind::NotFound.into())
    }

    /// What lies where the file does, and the path of that; `None` where nothing does.
    pub(crate) fn look(&self, file: usize, path: &FilePath) -> io::Result<Option<(Seen, FilePath)>> {
        self.find(file, path, |place| self.root.look(place.as_path()))
    }

    /// The same, as it is told.
    pub(crate) fn facts(&self, file: usize, path: &FilePath) -> io::Result<Option<Facts>> {
        let Some((seen, place)) = self.look(file, path)? else { return Ok(None) };
        let is_hole = match (seen.is_file, seen.length, seen.blocks) {
            (true, 0, _) => true,
            // Some file systems count no blocks: only then it is opened.
            (true, _, 0) => self.root.open(&place, Access::Read).is_ok_and(|open| facts::is_hole(&open)),
            _ => false,
        };
        Ok(Some(Facts::new(&seen, is_hole, self.is_aside(&place))))
    }

    /// Looks in its place, under whichever name that is by now, and aside until something is there.
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

    /// Makes a file that was not found at `path`. `AlreadyExists` where something lies there by now.
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

    /// The folders that a file's entry may be in, outermost first, but for the root.
    pub(crate) fn folders(&self, file: usize, path: &FilePath) -> Vec<PathBuf> {
        let aside = self.elsewhere(file, path).map(|(aside, _)| aside);
        [Some(path), aside.as_ref()].into_iter().flatten().flat_map(FilePath::folders).map(Into::into).collect()
    }

    /// Moves a file to another path, where it lies, and tells which folders got an entry; `false` where it does not exist.
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

    /// Moves a file to its place if it was set aside, never over another, and takes the folders away that are empty then.
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
                // Only for a file that can stand in for it, not for a folder that lies in the way.
                self.root.open(path, Access::Read)?;
                self.remove_aside(&aside)?;
                Brought::GaveWay
            }
            // Somebody else was faster, as another set of the same files.
            Err(error) if is_absent(&error) && !self.root.is_file(&aside)? => Brought::Nothing,
            Err(error) => return Err(error),
        };
        self.remove_empty(&aside);
        Ok(brought)
    }

    fn remove_aside(&self, aside: &FilePath) -> io::Result<()> {
        match self.root.remove_file(aside) {
            // What is no file was not set aside by us.
            Err(error) if is_absent(&error) || is_no_file(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Takes away the folders that a file set aside leaves empty, the one for all such files among them.
    fn remove_empty(&self, aside: &FilePath) {
        let ours = |folder: &&Path| self.aside.as_ref().is_some_and(|top| folder.starts_with(top.as_path()));
        for folder in aside.folders().rev().take_while(ours) {
            // One that is not empty holds all those around it.
            if self.root.remove_folder(folder).is_err() {
                break;
            }
        }
    }

    /// Removes what was set aside of a file.
    pub(crate) fn remove(&self, file: usize, path: &FilePath) -> io::Result<()> {
        let Some(aside) = self.aside_of(file, path) else { return Ok(()) };
        self.remove_aside(&aside)?;
        self.remove_empty(&aside);
        Ok(())
    }

    /// Something that finds files set aside.
    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { places: self, tops: HashMap::new() }
    }
}

/// Looks for files set aside, whoever did so. Asks first, and once each, for the topmost folders of a set, which has but
/// one as a rule: where nothing lies there, as mostly, a million files cost nothing.
pub(crate) struct Finder<'a> {
    places: &'a Places,
    tops: HashMap<String, bool>,
}

impl Finder<'_> {
    /// Whether the file lies aside that may lie at `path`.
    pub(crate) fn lies_aside(&mut self, file: usize, path: &FilePath) -> io::Result<bool> {
        let Places { root, aside: Some(folder), names, .. } = self.places else { return Ok(false) };
        let path = &names.plain_of(file, path);
        let there = if let Some(known) = self.tops.get(path.top()) {
            *known
        } else {
            let there = match root.exists(&folder.as_path().join(path.top())) {
                // What cannot be reached is as good as not there: it is fetched again.
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
    fn a_wanted_file_is_looked_for_in_its_place_alone_once_all_are_prepared() {
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
    fn where_a_skipped_file_turned_out_to_be_is_remembered_until_the_set_starts_anew() {
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
