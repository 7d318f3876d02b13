//! True paths: where files lie once all links on the way to them are followed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::path::FilePath;
use crate::disk::system_error::is_absent;

/// The true paths of files below one root, and of the folders on the way to them.
pub(super) struct TruePaths {
    /// The true path of the root.
    pub(super) directory: PathBuf,
    /// Every folder on the way to a file, by its path as given and its true path, outermost first.
    pub(super) folders: Vec<(String, PathBuf)>,
    index_of: HashMap<String, usize>,
}

impl TruePaths {
    /// Finds the true path of every folder. A missing folder will be made where its path says.
    pub(super) fn locate(root: &Path, paths: &[&FilePath]) -> io::Result<Self> {
        let mut found = Self { directory: fs::canonicalize(root)?, folders: Vec::new(), index_of: HashMap::new() };
        let mut missing = HashSet::new();
        for path in paths {
            for folder in path.folders() {
                let given = folder.to_string_lossy().into_owned();
                if found.index_of.contains_key(&given) {
                    continue;
                }
                let (parent, name) = given.rsplit_once('/').unwrap_or(("", &given));
                let place = found.folder(parent).join(name);
                let real = if missing.contains(parent) { None } else { real_if_there(&place)? };
                if real.is_none() {
                    missing.insert(given.clone());
                }
                found.index_of.insert(given.clone(), found.folders.len());
                found.folders.push((given, real.unwrap_or(place)));
            }
        }
        Ok(found)
    }

    /// The true path of a folder that is named on the way to a file.
    fn folder(&self, given: &str) -> &Path {
        self.index_of.get(given).map_or(&self.directory, |index| &self.folders[*index].1)
    }

    fn parent<'a>(&self, path: &'a FilePath) -> (&Path, &'a str) {
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        (self.folder(parent), name)
    }

    /// The true path of a file.
    pub(super) fn real(&self, path: &FilePath) -> String {
        let (parent, name) = self.parent(path);
        parent.join(name).to_string_lossy().into_owned()
    }

    /// The topmost name that a file is written below. A link that leads out of the root is refused later, so there the
    /// name as given will do.
    pub(super) fn top<'a>(&'a self, path: &'a FilePath) -> &'a str {
        let (parent, name) = self.parent(path);
        match parent.strip_prefix(&self.directory) {
            Err(_) => path.top(),
            Ok(below) => below.iter().next().map_or(Some(name), |first| first.to_str()).unwrap_or(path.top()),
        }
    }

    /// The name in a folder that leads to a file below it.
    pub(super) fn name_below(&self, folder: &Path, path: &FilePath) -> Option<String> {
        let (parent, name) = self.parent(path);
        let below = parent.strip_prefix(folder).ok()?;
        Some(below.iter().next().map_or_else(|| name.to_owned(), |first| first.to_string_lossy().into_owned()))
    }
}

fn real_if_there(place: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(place) {
        Err(error) if is_absent(&error) => Ok(None),
        real => real.map(Some),
    }
}
