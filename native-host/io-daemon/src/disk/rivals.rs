//! Which files of a set may have several names, and which files and folders are rivals: some file system may not tell
//! their names apart. Pure: no disk here.
//!
//! The client finds the rivals (`src/metainfo/NameRivals.ts`). Which name a file has is decided by looking at the disk
//! (`names`).

use std::collections::{HashMap, HashSet};

use super::layout::Layout;
use super::path::FilePath;

/// The most members of a group. Each look at one of its files looks at all of them on disk and compares them with each
/// other. The engine makes no group with more than 64 files or 64 folders.
pub const MAX_RIVALS: usize = 256;

/// A member of a group of rivals, as the client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// A file of the set.
    File {
        /// Its index in the layout.
        index: usize,
        /// The name it gets if the file system can hold that and tells it from other names. `None` if that is its path
        /// in the layout.
        own: Option<FilePath>,
        /// A further name under which it may exist, and under which it is never made.
        original: Option<FilePath>,
    },
    /// A folder that files of the set lie in.
    Folder(FilePath),
}

/// A file or a folder with all the names it may have, in the order in which they are tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rival {
    /// `None` for a folder.
    pub(crate) file: Option<usize>,
    pub(crate) names: Vec<FilePath>,
}

/// The group of a file, and its member there.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    group: usize,
    at: usize,
    registered: FilePath,
}

/// The groups of rivals of a set. Within a group, names are settled in the order of its members. Most sets have no
/// group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rivals {
    groups: Vec<Vec<Rival>>,
    files: HashMap<usize, Standing>,
}

impl Rivals {
    /// The rivals among the files of a layout.
    ///
    /// # Errors
    /// One sentence: a group is too large, a file is not in the layout or appears twice, or two files have one name.
    pub fn new(layout: &Layout, groups: Vec<Vec<Claimant>>) -> Result<Self, String> {
        let mut rivals = Self::default();
        for group in groups {
            if group.len() > MAX_RIVALS {
                return Err(format!("more than {MAX_RIVALS} files and folders are rivals for a name"));
            }
            let number = rivals.groups.len();
            let mut members = Vec::with_capacity(group.len());
            for claimant in group {
                let (file, names) = match claimant {
                    Claimant::Folder(folder) => (None, vec![folder]),
                    Claimant::File { index, own, original } => {
                        let entry = layout.entries().get(index).and_then(|entry| entry.path.as_ref());
                        let registered = entry.ok_or("the set has no file with such an index")?;
                        let standing = Standing { group: number, at: members.len(), registered: registered.clone() };
                        if rivals.files.insert(index, standing).is_some() {
                            return Err(format!("the file {index} is its own rival"));
                        }
                        let names = [own, Some(registered.clone()), original];
                        (Some(index), names.into_iter().flatten().collect())
                    }
                };
                members.push(Rival { file, names });
            }
            rivals.groups.push(members);
        }
        rivals.check_distinct(layout)?;
        Ok(rivals)
    }

    /// Fails if two files have one name, because they would be one file.
    fn check_distinct(&self, layout: &Layout) -> Result<(), String> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let is_rival = |index: &usize| self.files.contains_key(index);
        let others = layout.entries().iter().enumerate().filter(|(index, _)| !is_rival(index));
        let mut seen: HashSet<_> = others.filter_map(|(_, entry)| entry.path.as_ref()).collect();
        let files = self.groups.iter().flatten().filter(|rival| rival.file.is_some());
        match files.flat_map(|rival| &rival.names).find(|name| !seen.insert(*name)) {
            Some(twice) => Err(format!("the path {:?} appears twice", twice.as_str())),
            None => Ok(()),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every name of every rival.
    pub fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.groups.iter().flatten().flat_map(|rival| &rival.names)
    }

    /// The rivals of a file, itself among them; `None` if it has neither a rival nor a second name.
    pub(crate) fn of(&self, file: usize) -> Option<&[Rival]> {
        self.files.get(&file).map(|standing| &*self.groups[standing.group])
    }

    /// The names that a file may have.
    pub(crate) fn names(&self, file: usize) -> Option<&[FilePath]> {
        self.files.get(&file).map(|standing| &*self.groups[standing.group][standing.at].names)
    }

    /// The path with which a file is registered: the name that no file system confuses with that of another file.
    pub(crate) fn registered(&self, file: usize) -> Option<&FilePath> {
        self.files.get(&file).map(|standing| &standing.registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FilePath {
        FilePath::new(&text.split('/').collect::<Vec<_>>()).unwrap()
    }

    fn layout(paths: &[&str]) -> Layout {
        let files = paths.iter().map(|text| (Some(path(text)), 1));
        Layout::new(files.chain([(None, 1)])).unwrap()
    }

    fn file(index: usize, own: Option<&str>, original: Option<&str>) -> Claimant {
        Claimant::File { index, own: own.map(path), original: original.map(path) }
    }

    #[test]
    fn a_file_has_its_names_in_their_order_and_its_group() {
        let layout = layout(&["t/make.1", "t/Make/x", "t/b"]);
        let groups = vec![
            vec![Claimant::Folder(path("t/Make")), file(0, Some("t/make"), None)],
            vec![file(2, None, Some("t/ b"))],
        ];

        let rivals = Rivals::new(&layout, groups).unwrap();

        assert_eq!(rivals.names(0), Some(&[path("t/make"), path("t/make.1")][..]));
        assert_eq!(rivals.names(2), Some(&[path("t/b"), path("t/ b")][..]));
        assert_eq!(rivals.registered(0), Some(&path("t/make.1")));
        assert_eq!(rivals.of(0).map(|group| group.iter().map(|rival| rival.file).collect()), Some(vec![None, Some(0)]));
        assert_eq!((rivals.of(1), rivals.names(1), rivals.registered(1)), (None, None, None));
        assert_eq!(rivals.paths().count(), 5);
    }

    #[test]
    fn two_files_with_one_name_and_a_file_in_two_groups_are_refused() {
        let layout = layout(&["a", "b", "c"]);
        for wrong in [
            vec![vec![file(0, Some("c"), None)]],
            vec![vec![file(0, None, Some("b")), file(1, None, None)]],
            vec![vec![file(0, Some("x"), None)], vec![file(1, Some("x"), None)]],
            vec![vec![file(0, Some("a"), None)]],
            vec![vec![file(0, None, None), file(0, None, None)]],
            vec![vec![file(3, None, None)]],
            vec![vec![file(4, None, None)]],
        ] {
            assert!(Rivals::new(&layout, wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(Rivals::new(&layout, vec![vec![Claimant::Folder(path("a")), file(0, None, None)]]).is_ok());
    }

    #[test]
    fn a_group_that_is_too_large_is_refused() {
        let layout = layout(&["a"]);
        let folders = |count: usize| (0..count).map(|number| Claimant::Folder(path(&number.to_string()))).collect();

        assert!(Rivals::new(&layout, vec![folders(MAX_RIVALS)]).is_ok());
        assert!(Rivals::new(&layout, vec![folders(MAX_RIVALS + 1)]).is_err());
    }
}
