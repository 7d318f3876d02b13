//! Makes files writable. A file is reserved, so that nobody else writes to its path, and then claimed: made, or taken
//! as it was found. The client has decided whose a file is; this module only enforces that. Everything here blocks.

use super::facts::{Facts, Identity, Known, Seen};
use super::names::Put;
use super::path::FilePath;
use super::record::{Origin, Record};
use super::root::Access;
use super::set::FileSet;
use super::system_error::is_absent;
use super::writers::{Held, Locator};
use super::{fault, own_copy};
use crate::error::{Error, Result};
use crate::mutex::lock;

/// A file to be made writable.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its index in the layout.
    pub file: usize,
    /// How it becomes writable.
    pub how: How,
}

/// How a file becomes one that may be written.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// It is made.
    New,
    /// It is the one that was looked at, and has not changed since.
    Found(Known),
    /// The same, and it is replaced by a copy that shares no block with it.
    Afresh(Known),
    /// Any regular file that exists there, cut to its length in the layout; created if there is none.
    Overwritten,
    /// It was claimed before the set was forgotten, for example by a daemon that has ended: it is the same file and at
    /// least as long.
    Again {
        /// Which file it was.
        identity: Identity,
        /// In bytes.
        length: u64,
    },
}

impl FileSet {
    /// Becomes the only writer of these files: all of them, or none. Touches no file.
    ///
    /// # Errors
    /// `Refused` and `Unavailable`; the inner error says which other set writes to one of them.
    pub(crate) fn reserve(&self, files: &[usize]) -> Result<std::result::Result<(), Held>> {
        let _here = self.enter()?;
        let mut locator = Locator::new(&self.registration().root);
        let mut places = Vec::with_capacity(files.len());
        for &file in files {
            for path in self.paths_of(file) {
                places.push((file, locator.find(&path).map_err(|error| fault::of(path.as_str(), &error))?));
            }
        }
        let new = match self.writers.reserve(self.serial(), &places) {
            Ok(new) => new,
            Err(held) => return Ok(Err(held)),
        };
        let paths_with_file = |file: usize| self.paths_of(file).into_iter().map(move |path| (file, path));
        let paths: Vec<_> = new.iter().copied().flat_map(paths_with_file).collect();
        let kept_out = self.writers.lock_files(self.serial(), &self.registration().root, &paths);
        if kept_out.is_err() {
            self.writers.release(self.serial(), &new);
        }
        kept_out.map(Ok)
    }

    /// Lets others write to these files once no write of this set is in flight.
    pub(crate) fn release(&self, files: &[usize]) -> Result<()> {
        let _here = self.enter()?;
        for &file in files {
            if let Some(shared) = self.known_record(file) {
                lock(&shared).release();
            }
        }
        self.writers.release(self.serial(), files);
        Ok(())
    }

    /// Fails if the file is not reserved for this set.
    pub(super) fn check_reserved(&self, file: usize, path: &FilePath) -> Result<()> {
        if self.writers.has(self.serial(), file) {
            Ok(())
        } else {
            Err(Error::NotReserved { path: path.as_str().to_owned() })
        }
    }

    /// Makes a reserved file writable, and returns its facts after that.
    ///
    /// # Errors
    /// `NotReserved`, `FileExists`, `FileChanged`, `WriterConflict`, and as `write`; the file is as it was.
    pub(crate) fn claim(&self, claim: &Claim) -> Result<Facts> {
        let _here = self.enter()?;
        let file = claim.file;
        let shared = self.record(file);
        let mut record = lock(&shared);
        if let How::Again { identity, .. } = claim.how {
            let settled = self.with_room(|| self.places.names.settle_again(file, identity));
            settled.map_err(|error| fault::of("", &error))?;
        }
        let (path, _) = self.file(file)?.ok_or_else(no_file)?;
        self.check_reserved(file, &path)?;
        let was_claimed = record.is_claimed();
        let claimed = match claim.how {
            How::New => self.claim_new(file, &path, &mut record),
            How::Overwritten => self.claim_any(file, &path, &mut record),
            How::Found(known) => self.claim_found(file, &path, &mut record, known, Origin::Found(known)),
            How::Afresh(known) => self.claim_found(file, &path, &mut record, known, Origin::Afresh(known)),
            How::Again { identity, length } => self.claim_again(file, &path, &mut record, identity, length),
        };
        let facts = claimed.and_then(|()| {
            let (path, _) = self.file(file)?.ok_or_else(no_file)?;
            let facts = self.places.facts(file, &path).map_err(|error| fault::of(path.as_str(), &error))?;
            facts.ok_or_else(|| fault::changed(path.as_str(), fault::DELETED))
        });
        if facts.is_err() && was_claimed {
            record.end(path.as_str(), fault::CHANGED);
        }
        facts
    }

    fn claim_new(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<()> {
        if self.look(file, path)?.is_some() {
            return Err(Error::FileExists { path: path.as_str().to_owned() });
        }
        self.make(file, path, record, Origin::Made)
    }

    fn make(&self, file: usize, path: &FilePath, record: &mut Record, origin: Origin) -> Result<()> {
        let made = self.with_room(|| self.places.make(file, path));
        let Put { path, done: made, folders } = made.map_err(|error| fault::of(path.as_str(), &error))?;
        let path = &path;
        lock(&self.folders).extend(folders);
        let settled = self.settle(file, path);
        let seen = Seen::of(&made).map_err(|error| fault::of(path.as_str(), &error))?;
        if settled.is_err() {
            // Its folder exists only now, and turns out to be one that another torrent reaches by another path.
            if let Ok(Some((there, place))) = self.places.look(file, path)
                && there.is_same(&seen)
            {
                let _ = self.registration().root.remove_file(&place);
            }
            return settled;
        }
        self.keep_open(file, made);
        record.claim(&seen, origin);
        record.dirty = true;
        Ok(())
    }

    /// Reserves the path once more, now that its folders exist and identify it.
    fn settle(&self, file: usize, path: &FilePath) -> Result<()> {
        let places = Locator::new(&self.registration().root).find(path);
        let places = places.map_err(|error| fault::of(path.as_str(), &error))?;
        self.writers
            .reserve(self.serial(), &[(file, places)])
            .map(drop)
            .map_err(|_| Error::WriterConflict { path: path.as_str().to_owned(), holder: "another torrent".to_owned() })
    }

    fn claim_found(
        &self,
        file: usize,
        path: &FilePath,
        record: &mut Record,
        known: Known,
        origin: Origin,
    ) -> Result<()> {
        let changed = |why| Err(fault::changed(path.as_str(), why));
        let Some((seen, _)) = self.look(file, path)? else { return changed(fault::DELETED) };
        if record.is_repeated(origin, &seen) {
            return Ok(());
        }
        if !seen.is_file || seen.identity != known.identity {
            return changed(fault::REPLACED);
        }
        if seen.length < known.length {
            return changed(fault::CUT_OFF);
        }
        if (seen.length, seen.mtime_ns) != (known.length, known.mtime_ns) {
            return changed(fault::CHANGED);
        }
        self.take(file, path, record, &seen, origin, u64::MAX)
    }

    fn claim_again(
        &self,
        file: usize,
        path: &FilePath,
        record: &mut Record,
        identity: Identity,
        length: u64,
    ) -> Result<()> {
        let changed = |why| Err(fault::changed(path.as_str(), why));
        let Some((seen, _)) = self.look(file, path)? else { return changed(fault::DELETED) };
        if !seen.is_file || seen.identity != identity {
            return changed(fault::REPLACED);
        }
        if seen.length < length {
            return changed(fault::CUT_OFF);
        }
        self.take(file, path, record, &seen, Origin::Again, u64::MAX)
    }

    fn claim_any(&self, file: usize, path: &FilePath, record: &mut Record) -> Result<()> {
        let length = self.layout().entries()[file].length;
        let Some((seen, _)) = self.look(file, path)? else { return self.make(file, path, record, Origin::Overwritten) };
        self.take(file, path, record, &seen, Origin::Overwritten, length)?;
        if seen.length > length {
            let blame = |error: std::io::Error| fault::of(path.as_str(), &error);
            let open = self.open(file, path, Access::ReadWrite).map_err(blame)?;
            record.dirty = true;
            open.set_len(length).map_err(blame)?;
            record.claim(&Seen::of(&open).map_err(blame)?, Origin::Overwritten);
        }
        Ok(())
    }

    /// Claims the file that was seen. A file that has other names or is claimed afresh is first replaced by a copy of
    /// its first `keep` bytes.
    fn take(
        &self,
        file: usize,
        path: &FilePath,
        record: &mut Record,
        seen: &Seen,
        origin: Origin,
        keep: u64,
    ) -> Result<()> {
        let blame = |error: std::io::Error| {
            if is_absent(&error) {
                fault::changed(path.as_str(), fault::DELETED)
            } else {
                fault::of(path.as_str(), &error)
            }
        };
        let changed = || fault::changed(path.as_str(), fault::CHANGED);
        self.close(file);
        let mut open = self.open(file, path, Access::ReadWrite).map_err(blame)?;
        if !Seen::of(&open).map_err(blame)?.is_same(seen) {
            return Err(changed());
        }
        self.settle(file, path)?;
        let root = &self.registration().root;
        let place = self.look(file, path)?.map(|(_, place)| place).ok_or_else(changed)?;
        if !self.places.is_aside(&place) {
            self.places.names.settle(file, &place);
        }
        self.remove_leftover_copy(&place);
        let is_afresh = matches!(origin, Origin::Afresh(_));
        if seen.names > 1 || is_afresh {
            let copy = own_copy::take(root, &place, &open, keep, !is_afresh).map_err(blame)?.ok_or_else(changed)?;
            self.close(file);
            open = self.keep_open(file, copy);
        }
        record.claim(&Seen::of(&open).map_err(blame)?, origin);
        Ok(())
    }

    /// Removes the copy of a file that a crash left unfinished, unless the set has a file of that name.
    pub(super) fn remove_leftover_copy(&self, place: &FilePath) {
        let root = &self.registration().root;
        let left = own_copy::path_beside(place);
        let is_of_set = || (0..self.layout().entries().len()).any(|one| self.may_lie_at(one, &left));
        if root.is_file(&left).unwrap_or(false) && !is_of_set() {
            // A copy that cannot be removed does no harm.
            let _ = root.remove_file(&left);
        }
    }
}

/// The error for a request that names a padding file.
pub(super) fn no_file() -> Error {
    Error::bad_request("the file is padding, which does not exist on disk")
}
