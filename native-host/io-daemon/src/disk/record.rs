//! What a set knows about a file it may write, and whether it still may.
//!
//! A file that was deleted, cut off or replaced behind our back must not be quietly made anew: the engine holds bytes for
//! stored that are gone. So each write first compares what lies there with what was claimed and written, and a claim that
//! fails once has ended.

use super::facts::{Known, Seen};
use super::fault;
use crate::error::Error;

/// The record of a file; the default is that of a file which was never claimed.
#[derive(Debug, Default)]
pub(crate) struct Record {
    claim: Option<Claim>,
    /// Why the last claim ended, if it did so by itself.
    ended: Option<&'static str>,
    /// Written, made or moved since the last sync that went well began.
    pub(crate) dirty: bool,
    /// Synced by this set: before, an earlier one may have written it.
    synced: bool,
    /// All of it was reserved on the disk, as the first write does where that is asked for.
    pub(crate) allocated: bool,
}

/// What was said when a file was claimed.
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
    /// What it was then.
    seen: Seen,
    origin: Origin,
    /// It is at least so long, in bytes.
    length: u64,
}

impl Record {
    /// Takes the file as it is now for one that may be written.
    pub(crate) fn claim(&mut self, seen: &Seen, origin: Origin) {
        self.claim = Some(Claim { seen: *seen, origin, length: seen.length });
        self.ended = None;
        self.allocated = false;
    }

    /// Whether the file was claimed in the same way and is as it was then: somebody asks again whose answer was lost, and who
    /// does not know what became of a file that had other names.
    pub(crate) fn is_repeated(&self, origin: Origin, seen: &Seen) -> bool {
        self.claim.is_some_and(|claim| claim.origin == origin && claim.seen.is_same(seen))
    }

    /// Nothing more is written until it is claimed again.
    pub(crate) fn release(&mut self) {
        *self = Self { dirty: self.dirty, synced: self.synced, ..Self::default() };
    }

    /// Fails with `NotClaimed`, or with `FileChanged` where the claim ended by itself.
    pub(crate) fn check_claimed(&self, path: &str) -> Result<(), Error> {
        match (self.claim, self.ended) {
            (Some(_), _) => Ok(()),
            (None, Some(why)) => Err(fault::changed(path, why)),
            (None, None) => Err(Error::NotClaimed { path: path.to_owned() }),
        }
    }

    /// Ends the claim.
    pub(crate) fn end(&mut self, path: &str, why: &'static str) -> Error {
        self.claim = None;
        self.ended = Some(why);
        fault::changed(path, why)
    }

    /// Fails, and ends the claim, where what lies there is not what was claimed and written. `found` is what the path leads
    /// to.
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

    /// Whether the claim ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether there may be something to bring to the disk.
    pub(crate) fn needs_sync(&self) -> bool {
        self.dirty || !self.synced
    }

    /// A sync begins. Tells whether it is the first.
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

    /// All bytes up to `end` are with the system.
    pub(crate) fn wrote_to(&mut self, end: u64) {
        if let Some(claim) = &mut self.claim {
            claim.length = claim.length.max(end);
        }
    }
}
