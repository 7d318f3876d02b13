//! Open files, the least recently used closed first when there are too many.
//!
//! An operation keeps its file open until it is done, so a few more files than the limit may be open: one for each
//! operation in flight.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard};

use super::root::Access;
use crate::mutex::lock;

/// A file of one registration of a set. A set that was forgotten and is registered again does not inherit handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) set: u64,
    pub(crate) file: usize,
}

struct Handle {
    file: Arc<File>,
    access: Access,
    used: u64,
}

#[derive(Default)]
struct Table {
    handles: HashMap<Key, Handle>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

/// The open files of all sets.
pub(crate) struct Handles {
    limit: usize,
    table: Mutex<Table>,
}

impl Handles {
    /// Keeps at most `limit` files open, and at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// The open file, if it was opened for `access`.
    pub(crate) fn get(&self, key: Key, access: Access) -> Option<Arc<File>> {
        let mut table = self.table();
        let table = &mut *table;
        let handle = table.handles.get_mut(&key)?;
        if access == Access::ReadWrite && handle.access == Access::Read {
            return None;
        }
        table.uses += 1;
        table.by_use.remove(&handle.used);
        handle.used = table.uses;
        table.by_use.insert(handle.used, key);
        Some(Arc::clone(&handle.file))
    }

    /// Keeps a file open. It replaces an earlier handle of the same file.
    pub(crate) fn put(&self, key: Key, access: Access, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut closed = Vec::new();
        let mut table = self.table();
        table.uses += 1;
        let used = table.uses;
        let handle = Handle { file: Arc::clone(&file), access, used };
        if let Some(earlier) = table.handles.insert(key, handle) {
            table.by_use.remove(&earlier.used);
            closed.push(earlier);
        }
        table.by_use.insert(used, key);
        while table.handles.len() > self.limit {
            let oldest = table.by_use.pop_first();
            closed.extend(oldest.and_then(|(_, key)| table.handles.remove(&key)));
        }
        // Closing a file may take long on some file systems, so it is not done under the lock.
        drop(table);
        drop(closed);
        file
    }

    /// Closes the files that `which` picks.
    pub(crate) fn close(&self, which: impl Fn(&Key) -> bool) {
        let mut table = self.table();
        let closed: Vec<_> = table.handles.extract_if(|key, _| which(key)).collect();
        for (_, handle) in &closed {
            table.by_use.remove(&handle.used);
        }
        drop(table);
        drop(closed);
    }

    /// How many files are kept open.
    pub(crate) fn len(&self) -> usize {
        self.table().handles.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn key(file: usize) -> Key {
        Key { set: 1, file }
    }

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let handles = Handles::new(2);
        handles.put(key(1), Access::Read, file());
        handles.put(key(2), Access::Read, file());
        handles.get(key(1), Access::Read).unwrap();

        handles.put(key(3), Access::Read, file());

        assert!(handles.get(key(1), Access::Read).is_some());
        assert!(handles.get(key(2), Access::Read).is_none());
        assert_eq!(handles.len(), 2);
    }

    #[test]
    fn a_file_opened_for_reading_is_not_used_for_writing() {
        let handles = Handles::new(2);
        handles.put(key(1), Access::Read, file());

        assert!(handles.get(key(1), Access::ReadWrite).is_none());
        handles.put(key(1), Access::ReadWrite, file());
        assert!(handles.get(key(1), Access::Read).is_some());
        assert_eq!(handles.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_script_of_uses_goes_over_the_limit(script in prop::collection::vec((0..8_usize, 0..3_u8), 0..60), limit in 1..5_usize) {
            let handles = Handles::new(limit);
            for (file_index, action) in script {
                match action {
                    0 => drop(handles.put(key(file_index), Access::Read, file())),
                    1 => drop(handles.get(key(file_index), Access::Read)),
                    _ => handles.close(|one| one.file == file_index),
                }
                prop_assert!(handles.len() <= limit);
                let table = handles.table();
                prop_assert_eq!(table.handles.len(), table.by_use.len());
                prop_assert!(table.by_use.iter().all(|(used, key)| table.handles[key].used == *used));
            }
        }
    }
}
