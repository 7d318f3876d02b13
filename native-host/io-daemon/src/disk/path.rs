//! The path of a file below a root. Each of its components was checked.
//!
//! A component that passes the check is a single name on every system: it is neither `..` nor absolute, and no system
//! cuts it short. What the names lead to is checked by `root` whenever a path is opened, because a symbolic link can be
//! put in the way at any time.

use std::path::Path;
use std::sync::Arc;

use super::reserved;
use crate::error::Error;

/// `NAME_MAX` of the file systems in use.
const MAX_COMPONENT_BYTES: usize = 255;

/// Checked components, joined by `/`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// Checks and joins the components.
    ///
    /// # Errors
    /// One sentence about the first component that is not a plain name, or if there are no components.
    pub fn new(components: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut joining = Joining::default();
        for component in components {
            joining.push(component.as_ref())?;
        }
        joining.end()
    }

    /// Fails if a component leads to the folder in which piecewise keeps its own data.
    ///
    /// # Errors
    /// `Refused`.
    pub fn check_reserved(&self) -> Result<(), Error> {
        self.refuse_reserved(&self.0)
    }

    /// The same for a folder in which files are set aside. It may begin with the folder for such files in piecewise's
    /// own folder.
    ///
    /// # Errors
    /// `Refused`.
    pub fn check_reserved_aside(&self) -> Result<(), Error> {
        let below = self.0.strip_prefix(reserved::PARTS).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        self.refuse_reserved(below.unwrap_or(&self.0))
    }

    fn refuse_reserved(&self, components: &str) -> Result<(), Error> {
        if components.split('/').any(reserved::is_reserved) {
            return Err(Error::Refused { path: self.0.to_string(), why: reserved::WHY.to_owned() });
        }
        Ok(())
    }

    /// The same path below a folder.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Self {
        Self(format!("{}/{}", folder.0, self.0).into())
    }

    /// Whether the file is the folder or lies in it. Case is ignored, because some file systems ignore it.
    #[must_use]
    pub fn is_in(&self, folder: &Self) -> bool {
        let mut components = self.0.split('/');
        folder.0.split('/').all(|name| components.next().is_some_and(|own| own.eq_ignore_ascii_case(name)))
    }

    /// The path of another name in the same folder. The name must be a plain one.
    pub(crate) fn beside(&self, name: &str) -> Self {
        let folder = self.0.rfind('/').map_or("", |end| &self.0[..=end]);
        Self(format!("{folder}{name}").into())
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The first component.
    #[must_use]
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The components joined by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path relative to its root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The folders the file lies in, outermost first, without the root.
    #[must_use]
    pub fn folders(&self) -> impl DoubleEndedIterator<Item = &Path> {
        self.0.match_indices('/').map(|(end, _)| Path::new(&self.0[..end]))
    }
}

/// A path whose components are added one by one, so that no list of them is held.
#[derive(Default)]
pub struct Joining {
    joined: String,
    count: usize,
}

impl Joining {
    /// Checks and adds a component.
    ///
    /// # Errors
    /// One sentence if it is not a plain name.
    pub fn push(&mut self, component: &str) -> Result<(), String> {
        check(component).map_err(|what| format!("the path component {component:.64?} {what}"))?;
        if self.count > 0 {
            self.joined.push('/');
        }
        self.count += 1;
        self.joined.push_str(component);
        Ok(())
    }

    /// The path.
    ///
    /// # Errors
    /// One sentence if it has no components.
    pub fn end(self) -> Result<FilePath, String> {
        if self.count == 0 { Err("a path has no components".to_owned()) } else { Ok(FilePath(self.joined.into())) }
    }
}

fn check(component: &str) -> Result<(), &'static str> {
    match component {
        "" => Err("is empty"),
        "." | ".." => Err("is not a name"),
        _ if component.contains(['/', '\\']) => Err("holds a separator"),
        _ if component.contains('\0') => Err("holds a NUL"),
        _ if component.len() > MAX_COMPONENT_BYTES => Err("is longer than 255 bytes"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fault_61_hostile_components_are_refused() {
        let long = "a".repeat(256);
        let wide = "\u{1F600}".repeat(64);
        for hostile in [
            "",
            ".",
            "..",
            "/",
            "\\",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "..\\..",
            "../x",
            "x/..",
            "C:\\x",
            "\\\\server\\share",
            "a\0",
            "\0",
            "a\0.txt",
            &long,
            &wide,
        ] {
            assert!(FilePath::new(&[hostile]).is_err(), "{hostile:?} alone");
            assert!(FilePath::new(&["folder", hostile]).is_err(), "{hostile:?} last");
            assert!(FilePath::new(&[hostile, "file"]).is_err(), "{hostile:?} first");
        }
        assert!(FilePath::new(&[] as &[&str]).is_err(), "no components");
    }

    #[test]
    fn odd_names_that_stay_in_their_folder_are_accepted() {
        let long = "a".repeat(255);
        for fine in
            ["a..b.txt", "...", "..a", "a..", "%2e%2e", "%2F", "C:", " ", "~", "-rf", "*", "con", "\u{202E}txt", &long]
        {
            assert_eq!(FilePath::new(&["folder", fine]).unwrap().as_str(), format!("folder/{fine}"));
        }
    }

    #[test]
    fn a_file_is_in_a_folder_by_whole_names_whatever_their_case() {
        let path = |components: &[&str]| FilePath::new(components).unwrap();
        let folder = path(&["p", "q"]);

        for inside in [&["p", "q"][..], &["P", "Q", "a"], &["p", "q", "a", "b"]] {
            assert!(path(inside).is_in(&folder), "{inside:?}");
        }
        for outside in [&["p"][..], &["p", "qq"], &["q", "p", "q"], &["pq"]] {
            assert!(!path(outside).is_in(&folder), "{outside:?}");
        }
        assert_eq!(path(&["a", "b"]).below(&folder), path(&["p", "q", "a", "b"]));
        assert_eq!(path(&["a", "b"]).top(), "a");
        assert_eq!(path(&["a", "b"]).name(), "b");
        assert_eq!(path(&["a", "b"]).beside("c"), path(&["a", "c"]));
        assert_eq!(path(&["a"]).beside("c"), path(&["c"]));
    }

    #[test]
    fn the_own_folder_is_no_component_except_in_the_folder_for_files_set_aside() {
        let path = |components: &[&str]| FilePath::new(components).unwrap();
        let aside = |components: &[&str]| path(components).check_reserved_aside().map_err(|error| error.kind());

        for hostile in [&[".piecewise"][..], &[".piecewise", "x"], &["a", ".PIECEWISE", "x"], &["a", "b", "PIECEW~1"]] {
            assert_eq!(path(hostile).check_reserved().map_err(|error| error.kind()), Err("refused"), "{hostile:?}");
        }
        assert_eq!(path(&["a", "piecewise", ".piecewise2"]).check_reserved(), Ok(()));
        for fine in [&[".piecewise", "parts"][..], &[".piecewise", "parts", "x"], &["hidden", "parts"]] {
            assert_eq!(aside(fine), Ok(()), "{fine:?}");
        }
        for hostile in [
            &[".piecewise"][..],
            &[".piecewise", "x"],
            &[".piecewise", "parts2"],
            &[".Piecewise", "parts"],
            &["a", ".piecewise", "parts"],
            &[".piecewise", "parts", ".piecewise"],
        ] {
            assert_eq!(aside(hostile), Err("refused"), "{hostile:?}");
        }
    }

    #[test]
    fn folders_run_from_the_outermost_inwards() {
        let path = FilePath::new(&["a", "b", "c"]).unwrap();

        assert_eq!(path.folders().collect::<Vec<_>>(), [Path::new("a"), Path::new("a/b")]);
    }

    proptest! {
        #[test]
        fn whatever_passes_stays_below_its_root(components in prop::collection::vec(".{0,6}|\\.{0,3}|[/\\\\\\x00]{1,2}", 0..4)) {
            if let Ok(path) = FilePath::new(&components) {
                let normal = path.as_path().components().all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(normal);
                prop_assert_eq!(path.as_path().components().count(), components.len());
            }
        }
    }
}
