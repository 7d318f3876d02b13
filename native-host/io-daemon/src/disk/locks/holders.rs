//! Which writer of this process holds which file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use crate::mutex::lock;

/// The holder of each file, by the identity of its true path.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<u128, Holder>>);

/// A writer of this process that holds a file.
struct Holder {
    description: Arc<str>,
    by: Option<u64>,
    /// How many names of its files fold to the same identity.
    names: usize,
}

/// Another writer of this process holds a file.
pub(super) struct Conflict {
    /// The index of the file in what was to be registered.
    pub(super) index: usize,
    /// The description of the other writer.
    pub(super) description: Arc<str>,
}

impl Holders {
    /// Notes the holder of files, given by their identities, unless another writer holds one of them. Files registered
    /// before with the same `by` do not conflict.
    pub(super) fn register(&self, identities: &[u128], description: &str, by: Option<u64>) -> Result<(), Conflict> {
        let own: Arc<str> = description.into();
        let mut holders = lock(&self.0);
        let is_other = |holder: &&Holder| by.is_none() || holder.by != by;
        for (index, identity) in identities.iter().enumerate() {
            if let Some(other) = holders.get(identity).filter(is_other) {
                return Err(Conflict { index, description: Arc::clone(&other.description) });
            }
        }
        for identity in identities {
            let new = || Holder { description: Arc::clone(&own), by, names: 0 };
            holders.entry(*identity).or_insert_with(new).names += 1;
        }
        Ok(())
    }

    /// Forgets the holder of files, which are `None` if they were forgotten before.
    pub(super) fn unregister(&self, identities: &[Option<u128>]) {
        let mut holders = lock(&self.0);
        for identity in identities.iter().flatten() {
            if let Entry::Occupied(mut known) = holders.entry(*identity) {
                known.get_mut().names -= 1;
                if known.get().names == 0 {
                    known.remove();
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}
