//! What lies at a name of a file, and whether two names are one name on this file system. Blocks.

use std::io;

use super::facts::{Identity, Seen};
use super::path::FilePath;
use super::root::{Gone, Root};
use super::system_error::is_exhausted;

/// A name at which something lies.
pub(super) struct FoundName<'a> {
    pub(super) name: &'a FilePath,
    pub(super) seen: Seen,
}

impl<'a> FoundName<'a> {
    /// Looks at a name. An error that concerns only this name counts as nothing: opening it will report the error. An
    /// error that any name would have is returned.
    pub(super) fn look(root: &Root, name: &'a FilePath) -> io::Result<Option<Self>> {
        match root.look(name.as_path()) {
            Ok(seen) => Ok(seen.map(|seen| Self { name, seen })),
            Err(error) if Gone::is_in(&error) || is_exhausted(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether two names are one name on this file system. Two hard links are two names, because their folders list
    /// both.
    pub(super) fn is_same(&self, other: &FoundName<'_>, root: &Root) -> bool {
        if self.seen.identity != other.seen.identity {
            return false;
        }
        if self.seen.names < 2 {
            return true;
        }
        let is_one = self.name.name() == other.name.name()
            && parent(root, self.name).is_some_and(|it| Some(it) == parent(root, other.name));
        is_one || !(is_listed(root, self.name) && is_listed(root, other.name))
    }

    /// Whether this is the same name as any of `names`.
    pub(super) fn is_any_of<'b>(&self, names: impl Iterator<Item = &'b FilePath>, root: &Root) -> io::Result<bool> {
        for name in names {
            if FoundName::look(root, name)?.is_some_and(|other| other.is_same(self, root)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn parent(root: &Root, name: &FilePath) -> Option<Identity> {
    match name.folders().next_back() {
        Some(folder) => root.folder(folder).ok().flatten(),
        None => root.identity().ok(),
    }
}

fn is_listed(root: &Root, name: &FilePath) -> bool {
    root.lists(name).unwrap_or(false)
}
