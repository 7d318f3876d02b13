//! The names of locks, on which all processes that lock files in one folder agree. Pure.
//!
//! They are defined twice: here and in `src/storage/provider/node/locks/LockNames.ts`. The golden values in both tests
//! are the same.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use crate::disk::ignorable::is_ignorable;

/// Components of the folder of locks, below a download folder.
pub(super) const FOLDER: [&str; 2] = [".piecewise", "locks"];

/// What ends the name of a beacon.
pub(super) const BEACON_END: &str = ".sock";

/// What ends the name of a beacon that does not listen yet.
pub(super) const NEW_BEACON_END: &str = ".new";

/// Hexadecimal digits of a key, of a mark of the machine or its start, and of the random part of an id.
const KEY_DIGITS: usize = 32;
const MARK_DIGITS: usize = 12;
const RANDOM_DIGITS: usize = 16;

/// Prefixes what is hashed to a mark. The id of a machine is hashed because it should not be published.
const MARK_PREFIX: &str = "piecewise lock ";

/// The mark of an unknown id. It equals no mark, not even itself.
const UNKNOWN_MARK: &str = "000000000000";

/// The machine that a process runs on, and the start of that machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    machine: String,
    boot: String,
}

impl Marks {
    /// Makes marks of the ids that the system reports; an empty text counts as unknown.
    pub(super) fn new(machine: &str, boot: &str) -> Self {
        let mark = |text: &str| match text {
            "" => UNKNOWN_MARK.to_owned(),
            known => sha256(&format!("{MARK_PREFIX}{known}"))[..MARK_DIGITS].to_owned(),
        };
        Self { machine: mark(machine), boot: mark(boot) }
    }

    /// Makes an id.
    pub(super) fn id(&self, random: u64) -> String {
        format!("{}-{}-{random:0width$x}", self.machine, self.boot, width = RANDOM_DIGITS)
    }

    /// Whether a beacon with this id may answer on another machine only. Then its silence here means nothing.
    pub(super) fn is_foreign(&self, id: &str) -> bool {
        let mut marks = id.split('-');
        let mut is = |own: &str| marks.next() == Some(own) && own != UNKNOWN_MARK;
        // The same machine after a restart: whatever ran before has ended.
        let is_same_machine = is(&self.machine);
        let is_same_kernel = is(&self.boot);
        !is_same_kernel && !is_same_machine
    }
}

/// The meaning of a name in a folder of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockName<'a> {
    Entry { key: &'a str, id: &'a str },
    Beacon { id: &'a str },
    NewBeacon { id: &'a str },
}

impl<'a> LockName<'a> {
    /// Parses a name; `None` if it belongs to no lock.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let is_id = |id: &str| {
            let lengths = [MARK_DIGITS, MARK_DIGITS, RANDOM_DIGITS];
            id.split('-').count() == lengths.len()
                && id.split('-').zip(lengths).all(|(part, length)| is_hex(part, length))
        };
        let read = if let Some(id) = name.strip_suffix(BEACON_END) {
            Self::Beacon { id }
        } else if let Some(id) = name.strip_suffix(NEW_BEACON_END) {
            Self::NewBeacon { id }
        } else {
            let (key, id) = name.split_once('.').filter(|(key, _)| is_hex(key, KEY_DIGITS))?;
            Self::Entry { key, id }
        };
        is_id(read.id()).then_some(read)
    }

    /// The id of the beacon it belongs to.
    pub(super) fn id(self) -> &'a str {
        match self {
            Self::Entry { id, .. } | Self::Beacon { id } | Self::NewBeacon { id } => id,
        }
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn sha256(text: &str) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The key of the topmost name that is written to.
pub(super) fn key_of(name: &str) -> String {
    sha256(&fold(name))[..KEY_DIGITS].to_owned()
}

/// Identifies a path by 128 bits of the digest of what `fold` makes of it.
pub(super) fn identity(path: &str) -> u128 {
    let digest = Sha256::digest(fold(path).as_bytes());
    digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// A name, or a path with `/`, without the differences that some file system ignores: case, composition, characters
/// without width, dots and blanks at the end. Names that fold alike may be one file.
///
/// Converts to upper case first, so that a letter whose upper case has several letters folds like those (`ß`, `ss`).
pub(super) fn fold(name: &str) -> String {
    let letters = if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        name.to_ascii_lowercase()
    } else {
        let visible: String = name.nfd().filter(|letter| !is_ignorable(*letter)).collect();
        visible.to_uppercase().to_lowercase().nfd().collect()
    };
    // Windows and its file systems drop these at the end of a name.
    letters.split('/').map(|part| part.trim_end_matches(['.', ' '])).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    // test/storage/LockNames.test.ts has the same values.
    #[test]
    fn keys_and_marks_are_the_same_as_in_node() {
        for (name, key) in [
            ("ubuntu.iso", "7c940f3d923c77b0f07b0bc7cbf58a35"),
            ("Straße", "16d96952087774fee069b7585d3991b2"),
            ("e\u{301}te\u{301}", "b71a8c5276ad255bb2a1dbb5ccb387f8"),
            ("日本 ½.txt", "c7fded399c611b229e7cc9e62d49b7c5"),
            ("ΟΔΟΣ\u{200b}. ", "3a2c9e1f2803431e23ed51a84e18ba04"),
            ("ǅ\u{345}ı\u{e0100}", "936a8945be81a1e0fa195cb156578712"),
        ] {
            assert_eq!(key_of(name), key, "{name:?}");
        }
        assert_eq!(
            Marks::new("machine", "boot"),
            Marks { machine: "14037f2a4aa2".into(), boot: "253073e5e58d".into() }
        );
    }

    #[test]
    fn names_fold_alike_if_a_file_system_may_take_them_for_one() {
        for (one, other) in [
            ("a", "A"),
            ("\u{e9}", "e\u{301}"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδοσ"),
            ("a\u{200d}b", "ab"),
            ("name. .", "name"),
            ("folder./x", "Folder/X"),
        ] {
            assert_eq!(fold(one), fold(other));
            assert_eq!(identity(one), identity(other));
        }
        for (one, other) in [("a", "b"), ("日本", "中国"), ("a.b", "ab"), ("a b", "ab")] {
            assert_ne!(fold(one), fold(other));
            assert_ne!(identity(one), identity(other));
        }
    }

    #[test]
    fn the_names_that_are_made_are_parsed_and_no_others() {
        let id = Marks::new("machine", "boot").id(0x1234);
        let key = key_of("x");
        let entry = format!("{key}.{id}");

        assert_eq!(LockName::parse(&entry), Some(LockName::Entry { key: &key, id: &id }));
        assert_eq!(LockName::parse(&format!("{id}.sock")), Some(LockName::Beacon { id: &id }));
        assert_eq!(LockName::parse(&format!("{id}.new")), Some(LockName::NewBeacon { id: &id }));
        for other in [&*key, &*id, &format!("{entry}.sock"), &format!("{entry}x"), &format!("{id}-"), "a.resume", ""] {
            assert_eq!(LockName::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_beacon_is_foreign_if_neither_its_kernel_nor_its_machine_is_ours() {
        let own = Marks::new("machine", "boot");
        for (machine, boot, is_foreign) in [
            ("machine", "boot", false),
            ("container", "boot", false),
            ("machine", "sooner", false),
            ("another", "other boot", true),
            ("", "", true),
        ] {
            let id = Marks::new(machine, boot).id(0);
            assert_eq!(own.is_foreign(&id), is_foreign, "{machine} {boot}");
            assert!(Marks::new("", "").is_foreign(&id));
        }
    }
}
