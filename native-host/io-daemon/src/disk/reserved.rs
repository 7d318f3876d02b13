//! The name of the folder in which piecewise keeps its own data below a root, and every spelling by which some file
//! system finds that folder. If a file of a set could lie in it, a torrent could forge resume data or the bytes of
//! files set aside.
//!
//! The engine renames such components (`src/metainfo/ReservedName.ts`) and so never asks for one. Both tests use the
//! vectors in `test/fixtures/reserved-names.json`. The spellings are:
//!
//! - any case, and any normal form: ZFS can compare by NFKC, which makes fullwidth letters plain ones
//! - with characters in between that HFS+ and the casefold of ext4 ignore: the default ignorable ones of Unicode
//! - with dots and blanks at the end, which Windows drops, or with `:` and the name of a stream (NTFS)
//! - the short names of FAT and NTFS: `PIECEW~1`, and the form that Windows falls back to, which has a digest of the
//!   name

use unicode_normalization::UnicodeNormalization as _;

use super::ignorable::is_ignorable;

/// The name of the folder.
pub(crate) const FOLDER: &str = ".piecewise";

/// The folder in it in which files are set aside (`src/storage/AsideFolder.ts`).
pub(crate) const PARTS: &str = ".piecewise/parts";

/// The end of the sentence that refuses a name.
pub(crate) const WHY: &str = "piecewise keeps its own data in a folder of this name";

/// `PIECEW~1`, and `5D34` is the digest that Windows computes of the name.
const SHORT_STEMS: [&str; 2] = ["PIECEW", "PI5D34"];

/// Whether `component` leads to the folder on some file system.
pub(crate) fn is_reserved(component: &str) -> bool {
    // Fast path: nearly every name is plain ASCII, so a million files cost nothing.
    let begins_plainly = component.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    if begins_plainly && component.is_ascii() && !component.contains('~') {
        return false;
    }
    let visible = component.chars().filter(|character| !is_ignorable(*character)).nfkc();
    let plain: String = visible.flat_map(char::to_lowercase).flat_map(char::to_uppercase).collect();
    let name = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == FOLDER.to_ascii_uppercase() || is_short(name)
}

fn is_short(name: &str) -> bool {
    name.split_once('~').is_some_and(|(stem, number)| {
        SHORT_STEMS.contains(&stem) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn every_spelling_is_recognized_and_all_other_names_are_free() {
        let vectors = include_str!("../../../../test/fixtures/reserved-names.json");
        let vectors: HashMap<String, Vec<String>> = serde_json::from_str(vectors).unwrap();

        for name in &vectors["reserved"] {
            assert!(is_reserved(name), "{name:?}");
        }
        for name in &vectors["free"] {
            assert!(!is_reserved(name), "{name:?}");
        }
    }

    #[test]
    fn each_character_that_hfs_ignores_is_ignored() {
        let ranges =
            ['\u{200C}'..='\u{200F}', '\u{202A}'..='\u{202E}', '\u{206A}'..='\u{206F}', '\u{FEFF}'..='\u{FEFF}'];
        for character in ranges.into_iter().flatten() {
            assert!(is_reserved(&format!(".piece{character}wise")), "{character:?}");
        }
    }
}
