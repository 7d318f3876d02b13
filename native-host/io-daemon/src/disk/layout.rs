//! Where the files of a set lie in its one address space. Pure: no disk here.
//!
//! Files lie one after the other, in the order of the list. A padding file has a part of the address space and does not
//! exist on disk, because all its bytes are zeros (BEP 47).

use std::collections::HashSet;
use std::ops::Range;

use super::path::FilePath;

/// The most files of a set. The largest torrents known have some hundred thousand.
pub const MAX_FILES: usize = 1_000_000;

/// The largest length or offset: the largest integer that a JavaScript number holds exactly.
pub const MAX_LENGTH: u64 = (1 << 53) - 1;

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None` for padding.
    pub path: Option<FilePath>,
    /// Offset of the first byte in the set.
    pub begin: u64,
    /// In bytes.
    pub length: u64,
}

/// The files of a set in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    length: u64,
}

/// The part of a range that lies in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the file.
    pub file: usize,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// Offset of the first byte in the range.
    pub at: u64,
    /// In bytes, at least one.
    pub length: u64,
}

impl Layout {
    /// Lays out files given as path (`None` for padding) and length.
    ///
    /// # Errors
    /// One sentence: too many files, a path twice, or lengths beyond `MAX_LENGTH`.
    pub fn new(files: impl IntoIterator<Item = (Option<FilePath>, u64)>) -> Result<Self, String> {
        let mut layout = Self::default();
        for (path, length) in files {
            let begin = layout.length;
            layout.length = begin
                .checked_add(length)
                .filter(|sum| *sum <= MAX_LENGTH)
                .ok_or("the files are longer than 2^53 - 1 bytes together")?;
            layout.entries.push(Entry { path, begin, length });
            if layout.entries.len() > MAX_FILES {
                return Err(format!("a set has at most {MAX_FILES} files"));
            }
        }
        let mut seen = HashSet::with_capacity(layout.entries.len());
        match layout.entries.iter().filter_map(|entry| entry.path.as_ref()).find(|path| !seen.insert(*path)) {
            Some(twice) => Err(format!("the path {:?} appears twice", twice.as_str())),
            None => Ok(layout),
        }
    }

    /// The files in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Splits a range of the set at the borders of its files. Empty files are left out.
    ///
    /// The range must lie within the set.
    pub fn spans(&self, range: Range<u64>) -> impl Iterator<Item = Span> {
        debug_assert!(range.end <= self.length);
        let first = self.entries.partition_point(|entry| entry.begin + entry.length <= range.start);
        self.entries[first..]
            .iter()
            .enumerate()
            .take_while({
                let end = range.end;
                move |(_, entry)| entry.begin < end
            })
            .filter_map(move |(index, entry)| {
                let begin = range.start.max(entry.begin);
                let end = range.end.min(entry.begin + entry.length);
                (begin < end).then(|| Span {
                    file: first + index,
                    offset: begin - entry.begin,
                    at: begin - range.start,
                    length: end - begin,
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(lengths: &[u64]) -> Layout {
        let files = lengths.iter().enumerate().map(|(i, length)| (FilePath::new(&[i.to_string()]).ok(), *length));
        Layout::new(files).unwrap()
    }

    #[test]
    fn a_range_over_three_files_is_cut_at_their_borders() {
        let spans: Vec<_> = layout(&[10, 0, 5, 10]).spans(8..17).collect();

        assert_eq!(
            spans,
            [
                Span { file: 0, offset: 8, at: 0, length: 2 },
                Span { file: 2, offset: 0, at: 2, length: 5 },
                Span { file: 3, offset: 0, at: 7, length: 2 },
            ]
        );
    }

    #[test]
    fn lengths_may_add_up_to_the_limit_and_not_a_byte_more() {
        assert!(Layout::new([(None, MAX_LENGTH - 1), (None, 1)]).is_ok());
        assert!(Layout::new([(None, MAX_LENGTH), (None, 1)]).is_err());
        assert!(Layout::new([(None, u64::MAX), (None, u64::MAX)]).is_err());
    }

    #[test]
    fn a_path_twice_is_refused_and_padding_twice_is_not() {
        let path = FilePath::new(&["a"]).ok();

        assert!(Layout::new([(path.clone(), 1), (path, 1)]).is_err());
        assert!(Layout::new([(None, 1), (None, 1)]).is_ok());
    }

    proptest! {
        #[test]
        fn spans_cover_the_range_once_and_in_order(
            lengths in prop::collection::vec(prop_oneof![Just(0_u64), 1..40_u64], 1..12),
            cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let layout = layout(&lengths);
            let size = usize::try_from(layout.length()).unwrap() + 1;
            let (a, b) = (cut.0.index(size) as u64, cut.1.index(size) as u64);
            let range = a.min(b)..a.max(b);

            let mut at = 0;
            for span in layout.spans(range.clone()) {
                let entry = &layout.entries()[span.file];
                prop_assert_eq!(span.at, at);
                prop_assert_eq!(entry.begin + span.offset, range.start + at);
                prop_assert!(span.length > 0 && span.offset + span.length <= entry.length);
                at += span.length;
            }
            prop_assert_eq!(at, range.end - range.start);
        }
    }
}
