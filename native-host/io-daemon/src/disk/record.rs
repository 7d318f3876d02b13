//! What one registration of a set knows about a file it writes, and whether the file may still be written.
//!
//! A file that was deleted or cut off behind our back must not be quietly made anew: the engine holds bytes for stored
//! that are gone. So each write first compares the open file with what was written, and a file that fails once is refused
//! until the set is registered again.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::fault;
use crate::error::Error;

/// The record of a file; the default is that of a file this registration has not touched.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Opened for writing before, so it has to be there.
    pub(crate) made: bool,
    /// Cut to its length and reserved, as the first write does.
    sized: bool,
    /// End of the last byte written, in bytes from the start of the file.
    written_to: u64,
    /// Written since the last sync began.
    pub(crate) dirty: bool,
    /// Why nothing more is written.
    refused: Option<&'static str>,
}

impl Record {
    /// Forgets what was expected of the file, but not that a sync is owed.
    pub(crate) fn start_anew(&mut self) {
        *self = Self { dirty: self.dirty, ..Self::default() };
    }

    /// The file came to its place, perhaps from an earlier registration that synced nothing.
    pub(crate) fn moved(&mut self) {
        self.made = true;
        self.sized = false;
        self.dirty = true;
    }

    /// Fails where the file is refused.
    pub(crate) fn check_refused(&self, path: &str) -> Result<(), Error> {
        match self.refused {
            Some(why) => Err(Error::Refused { path: path.to_owned(), why: why.to_owned() }),
            None => Ok(()),
        }
    }

    /// Refuses the file from now on.
    pub(crate) fn refuse(&mut self, path: &str, why: &'static str) -> Error {
        self.refused = Some(why);
        Error::Refused { path: path.to_owned(), why: why.to_owned() }
    }

    /// Fails, and refuses from now on, where the open file is not what this registration left.
    pub(crate) fn check(&mut self, path: &str, found: &Metadata) -> Result<(), Error> {
        self.check_refused(path)?;
        if found.nlink() == 0 {
            Err(self.refuse(path, fault::DELETED))
        } else if found.len() < self.written_to {
            Err(self.refuse(path, fault::CUT_OFF))
        } else {
            Ok(())
        }
    }

    /// Before the first write: cuts a longer file, and reserves all of a shorter one if asked to.
    pub(crate) fn size(&mut self, file: &File, found: &Metadata, length: u64, allocate: bool) -> io::Result<()> {
        if self.sized {
            return Ok(());
        }
        if found.len() > length {
            file.set_len(length)?;
        } else if allocate && length > 0 {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
                // Where the file system cannot reserve, the bytes are found when they are written.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.sized = true;
        Ok(())
    }

    /// All bytes up to `end` of this write are with the system.
    pub(crate) fn wrote_to(&mut self, end: u64) {
        self.written_to = self.written_to.max(end);
    }
}
