//! What a set knows about a file that it may write, and whether it still may write it.
//!
//! A file that another program deleted, cut off or replaced must not be made again silently, because the engine takes
//! bytes for stored that are gone. So each write first compares what lies there with what was claimed and written. A
//! claim that fails this once has ended.

use super::facts::{Known, Seen};
use super::fault;
use crate::error::Error;

/// The record of a file. The default is that of a file that was never claimed.
#[derive(Debug, Default)]
pub(crate) struct Record {
    claim: Option<Claim>,
    /// Why the last claim ended, if a comparison ended it.
    ended: Option<&'static str>,
    /// Whether it was written, made or moved since the last successful sync began.
    pub(crate) dirty: bool,
    /// Whether this set has synced it. Before that, an earlier set may have left writes that are not on the disk.
    synced: bool,
    /// Whether its whole length was allocated on the disk.
    pub(crate) allocated: bool,
}

/// How a file was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Made,
    Found(Known),
    Afresh(Known),
    Overwritten,
    Again,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    /// What the file looked like when it was claimed.
    seen: Seen,
    origin: Origin,
    /// The least length that it has since, in bytes.
    length: u64,
}

impl Record {
    /// Lets the file be written, as it is now.
    pub(crate) fn claim(&mut self, seen: &Seen, origin: Origin) {
        self.claim = Some(Claim { seen: *seen, origin, length: seen.length });
        self.ended = None;
        self.allocated = false;
    }

    /// Whether the file was claimed in the same way and is as it was then. So the claim is a repetition by a client
    /// whose answer was lost, and which does not know whether the file was replaced by a copy.
    pub(crate) fn is_repeated(&self, origin: Origin, seen: &Seen) -> bool {
        self.claim.is_some_and(|claim| claim.origin == origin && claim.seen.is_same(seen))
    }

    /// Ends the claim. Nothing more is written until the file is claimed again.
    pub(crate) fn release(&mut self) {
        *self = Self { dirty: self.dirty, synced: self.synced, ..Self::default() };
    }

    /// Fails with `NotClaimed`, or with `FileChanged` if a comparison ended the claim.
    pub(crate) fn check_claimed(&self, path: &str) -> Result<(), Error> {
        match (self.claim, self.ended) {
            (Some(_), _) => Ok(()),
            (None, Some(why)) => Err(fault::changed(path, why)),
            (None, None) => Err(Error::NotClaimed { path: path.to_owned() }),
        }
    }

    /// Ends the claim because the file has changed, and returns the error that says so.
    pub(crate) fn end(&mut self, path: &str, why: &'static str) -> Error {
        self.claim = None;
        self.ended = Some(why);
        fault::changed(path, why)
    }

    /// Fails and ends the claim if `found`, which is what lies at the path, is not what was claimed and written.
    pub(crate) fn check(&mut self, path: &str, found: Option<&Seen>) -> Result<(), Error> {
        self.check_claimed(path)?;
        match (found, self.claim) {
            (None, _) => Err(self.end(path, fault::DELETED)),
            (Some(seen), Some(claim)) if !seen.is_file || seen.identity != claim.seen.identity => {
                Err(self.end(path, fault::REPLACED))
            }
            (Some(seen), Some(claim)) if seen.length < claim.length => Err(self.end(path, fault::CUT_OFF)),
            _ => Ok(()),
        }
    }

    /// Whether a comparison ended the claim.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether there may be bytes that are not on the disk.
    pub(crate) fn needs_sync(&self) -> bool {
        self.dirty || !self.synced
    }

    /// Notes that a sync begins. Returns whether it is the first.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let is_first = !self.synced;
        self.synced = true;
        self.dirty = false;
        is_first
    }

    /// Whether it is claimed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claim.is_some()
    }

    /// Notes that the system has taken all bytes up to `end`.
    pub(crate) fn wrote_to(&mut self, end: u64) {
        if let Some(claim) = &mut self.claim {
            claim.length = claim.length.max(end);
        }
    }
}
