//! Reads and hashes what a set has on disk. Everything here blocks.
//!
//! A byte is stored if its file exists and is long enough. Whether it is the right byte is for the client to verify.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::digest::{Algorithm, Digest, Hasher};
use super::fault;
use super::layout::Span;
use super::path::FilePath;
use super::root::Access;
use super::set::FileSet;
use crate::error::{Error, Result};

/// Zeros for the bytes of padding files.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl FileSet {
    /// Fails with `NotStored` on the first file of the range that is missing or too short.
    pub(crate) fn check_stored(&self, range: Range<u64>) -> Result<()> {
        let _here = self.enter()?;
        for span in self.layout().spans(range) {
            if let Some((path, _)) = self.file(span.file)? {
                self.open_stored(&span, &path)?;
            }
        }
        Ok(())
    }

    /// Reads the range to the end of `into`.
    ///
    /// # Errors
    /// `NotStored`, `Refused`, `Unavailable`; `UnknownSet` if the set is gone by now.
    pub(crate) fn read(&self, range: Range<u64>, into: &mut Vec<u8>) -> Result<()> {
        let _here = self.enter()?;
        for span in self.layout().spans(range) {
            let start = into.len();
            into.resize(start + span.length as usize, 0);
            if let Some((path, _)) = self.file(span.file)? {
                let file = self.open_stored(&span, &path)?;
                read_exact(&file, &path, span.offset, &mut into[start..])?;
            }
        }
        Ok(())
    }

    /// The digest of the range, or `None` if a byte is not stored. `buffer` is scratch memory.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`; `UnknownSet` if the set is gone by now.
    pub(crate) fn digest(&self, algorithm: Algorithm, range: Range<u64>, buffer: &mut [u8]) -> Result<Option<Digest>> {
        match self.hash(algorithm, range, buffer) {
            Ok(digest) => Ok(Some(digest)),
            Err(Error::NotStored { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hash(&self, algorithm: Algorithm, range: Range<u64>, buffer: &mut [u8]) -> Result<Digest> {
        // Checked first, so that a range whose end is missing is not read.
        self.check_stored(range.clone())?;
        let _here = self.enter()?;
        let mut hasher = Hasher::new(algorithm);
        for span in self.layout().spans(range) {
            let Some((path, _)) = self.file(span.file)? else {
                hash_zeros(&mut hasher, span.length);
                continue;
            };
            let file = self.open_stored(&span, &path)?;
            let mut done = 0;
            while done < span.length {
                let part = (span.length - done).min(buffer.len() as u64);
                let bytes = &mut buffer[..part as usize];
                read_exact(&file, &path, span.offset + done, bytes)?;
                hasher.update(bytes);
                done += part;
            }
        }
        Ok(hasher.finish())
    }

    /// Opens the file, which contains the whole span at this moment.
    fn open_stored(&self, span: &Span, path: &FilePath) -> Result<Arc<File>> {
        let blame = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotStored { path: path.as_str().to_owned() },
            _ => fault::of(path.as_str(), &error),
        };
        let not_there = || Error::NotStored { path: path.as_str().to_owned() };
        // Looks at what lies there now: a descriptor that was opened before may lead to a deleted file.
        let there = self.look(span.file, path)?.map(|(seen, _)| seen).ok_or_else(not_there)?;
        if there.length < span.offset + span.length && there.is_file {
            return Err(not_there());
        }
        let file = self.open_there(span.file, path, Access::Read, &there).map_err(blame)?;
        let found = file.metadata().map_err(blame)?;
        if found.len() < span.offset + span.length {
            return Err(not_there());
        }
        Ok(file)
    }
}

/// Reads a span. `NotStored` if the file ends before it, because it was cut after the check.
fn read_exact(file: &File, path: &FilePath, offset: u64, into: &mut [u8]) -> Result<()> {
    file.read_exact_at(into, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::NotStored { path: path.as_str().to_owned() },
        _ => fault::of(path.as_str(), &error),
    })
}

fn hash_zeros(hasher: &mut Hasher, length: u64) {
    let mut left = length;
    while left > 0 {
        let part = left.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..part as usize]);
        left -= part;
    }
}
