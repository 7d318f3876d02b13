//! What lies at the place of a file, as the system reports it without reading the file.

use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;

use cap_std::fs::MetadataExt as _;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::{Deserialize, Serialize, Serializer};

/// Identifies a file. Many file systems give a new file the inode of one that was just deleted, so the time of birth is
/// a part of it: in nanoseconds since 1970, 0 if the system does not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    born_ns: u128,
}

impl Identity {
    pub(crate) fn bytes(self) -> [u8; 16] {
        (u128::from(self.device) << 64 | u128::from(self.inode)).to_be_bytes()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.device, self.inode, self.born_ns)
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (device, rest) = text.split_once(':').ok_or(())?;
        let (inode, born) = rest.split_once(':').ok_or(())?;
        Ok(Self {
            device: device.parse().map_err(|_| ())?,
            inode: inode.parse().map_err(|_| ())?,
            born_ns: born.parse().map_err(|_| ())?,
        })
    }
}

/// What the system reports about a name or an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_file: bool,
    pub(crate) is_link: bool,
    pub(crate) length: u64,
    pub(crate) mtime_ns: i128,
    pub(crate) identity: Identity,
    pub(crate) names: u64,
    /// Blocks of 512 bytes that the file uses on the disk.
    pub(crate) blocks: u64,
}

impl Seen {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&cap_std::fs::Metadata::from_just_metadata(file.metadata()?)))
    }

    /// Whether it is the same file with the same bytes, as far as length and time of change show it.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.identity, self.length, self.mtime_ns) == (other.identity, other.length, other.mtime_ns)
    }
}

impl From<&cap_std::fs::Metadata> for Seen {
    fn from(found: &cap_std::fs::Metadata) -> Self {
        Self {
            is_file: found.is_file(),
            is_link: found.is_symlink(),
            length: if found.is_file() { found.len() } else { 0 },
            mtime_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
            identity: Identity { device: found.dev(), inode: found.ino(), born_ns: born_ns(found) },
            names: found.nlink(),
            blocks: found.blocks(),
        }
    }
}

fn born_ns(found: &cap_std::fs::Metadata) -> u128 {
    let born = found.created().ok().map(cap_std::time::SystemTime::into_std);
    born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos())
}

/// Whether no byte of an open file was ever written. Asked when no blocks are counted, because some file systems count
/// none for small files.
pub(crate) fn is_hole(file: &File) -> bool {
    rustix::fs::seek(file, SeekFrom::Data(0)) == Err(Errno::NXIO)
}

/// What the daemon reports about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// What lies there.
    pub kind: Kind,
    /// In bytes; 0 for anything but a file.
    pub length: u64,
    /// When its bytes changed last, in nanoseconds since 1970. A string in JSON, because it is beyond what JavaScript
    /// counts exactly.
    #[serde(serialize_with = "as_text")]
    pub mtime_ns: i128,
    /// Which file it is.
    #[serde(serialize_with = "as_text")]
    pub identity: Identity,
    /// Whether no byte of it was ever written.
    pub is_hole: bool,
    /// Whether it lies in the folder for files set aside.
    pub is_aside: bool,
    /// How many other names (hard links) the file has.
    pub other_names: u64,
}

/// What may lie at the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder, a link, a pipe, a socket or a device.
    Other,
}

impl Facts {
    pub(crate) fn new(seen: &Seen, is_hole: bool, is_aside: bool) -> Self {
        Self {
            kind: if seen.is_file { Kind::File } else { Kind::Other },
            length: seen.length,
            mtime_ns: seen.mtime_ns,
            identity: seen.identity,
            is_hole,
            is_aside,
            other_names: if seen.is_file { seen.names.saturating_sub(1) } else { 0 },
        }
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The facts by which a client names a file that was reported to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Known {
    /// In bytes.
    pub length: u64,
    /// As it was reported.
    #[serde(deserialize_with = "from_text")]
    pub mtime_ns: i128,
    /// As it was reported.
    #[serde(deserialize_with = "from_text")]
    pub identity: Identity,
}

pub(crate) fn from_text<'de, D: serde::Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("it is not a value that the daemon reported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_were_reported() {
        let file = tempfile::tempfile().unwrap();
        let seen = Seen::of(&file).unwrap();
        let reported = serde_json::to_value(Facts::new(&seen, true, false)).unwrap();

        let known =
            serde_json::json!({ "length": 0, "mtimeNs": reported["mtimeNs"], "identity": reported["identity"] });
        let known: Known = serde_json::from_value(known).unwrap();

        assert_eq!(known, Known { length: 0, mtime_ns: seen.mtime_ns, identity: seen.identity });
        for wrong in ["", "1", ":", "1:", "1:2", "1:2:3:4", "a:b:c", "1:18446744073709551616:0"] {
            assert_eq!(wrong.parse::<Identity>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_file_with_the_inode_of_one_that_was_just_deleted_has_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "before").unwrap();
        let look = || Seen::of(&File::open(&path).unwrap()).unwrap();
        let before = look();

        // Until the clock of the system has moved.
        let after = (0..2_000).find_map(|_| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "after").unwrap();
            let now = look();
            (now.identity.inode == before.identity.inode && now.mtime_ns != before.mtime_ns).then_some(now)
        });

        // Some systems do not use an inode again, and some know no time of birth.
        if let Some(after) = after.filter(|after| after.identity.born_ns != 0) {
            assert_ne!(after.identity, before.identity);
        }
    }

    #[test]
    fn a_file_is_known_again_by_its_name_and_after_it_was_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "before").unwrap();
        let before = Seen::of(&File::open(&path).unwrap()).unwrap();

        std::fs::write(&path, "more than before").unwrap();

        let directory = cap_std::fs::Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let named = Seen::from(&directory.symlink_metadata("f").unwrap());
        assert_eq!((named.identity, named.length), (before.identity, 16));
    }

    #[test]
    fn a_hole_is_told_from_a_byte_that_is_not_on_the_disk_yet() {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(is_hole(&file));

        file.write_all_at(b"x", 9).unwrap();

        assert!(!is_hole(&file));
    }
}
