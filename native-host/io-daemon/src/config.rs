//! Roots and allowed origins. They come from the command line and from a file that can be read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::OFlags;
use serde::Deserialize;

/// The roots and origins in force at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Absolute directories, by the name that clients use for each.
    pub roots: BTreeMap<String, PathBuf>,
    /// Origins whose pages may send requests; `None` allows every origin.
    pub allow_origins: Option<Vec<String>>,
}

/// The shape of the configuration file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    roots: BTreeMap<String, PathBuf>,
    allow_origins: Option<Vec<String>>,
}

/// The current settings, and the command line and file that they were read from.
#[derive(Debug)]
pub struct Config {
    given: Settings,
    file: Option<PathBuf>,
    current: RwLock<Arc<Settings>>,
}

impl Config {
    /// Adds the settings of `file` to those of the command line.
    ///
    /// # Errors
    /// One sentence if the file cannot be read or is not valid.
    pub fn load(given: Settings, file: Option<PathBuf>) -> Result<Self, String> {
        let settings = merge(&given, file.as_deref())?;
        Ok(Self { given, file, current: RwLock::new(Arc::new(settings)) })
    }

    /// The current settings.
    #[must_use]
    pub fn current(&self) -> Arc<Settings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads the file again. Blocks.
    ///
    /// # Errors
    /// One sentence; the settings in force stay as they were.
    pub fn reload(&self) -> Result<Arc<Settings>, String> {
        let settings = Arc::new(merge(&self.given, self.file.as_deref())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&settings);
        Ok(settings)
    }

    /// Whether pages of this origin may send requests.
    #[must_use]
    pub fn allows_origin(&self, origin: &[u8]) -> bool {
        match &self.current().allow_origins {
            None => true,
            Some(allowed) => allowed.iter().any(|one| one.as_bytes() == origin),
        }
    }
}

/// The longest configuration file, in bytes. It has room for thousands of roots.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a regular file of bounded length. Anything else, such as a pipe without a writer, fails at once.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let no_waiting = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = File::options().read(true).custom_flags(no_waiting).open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = Vec::new();
    // The file may grow while it is read.
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Adds the settings of the file to those of the command line, which win.
fn merge(given: &Settings, file: Option<&Path>) -> Result<Settings, String> {
    let Some(file) = file else { return Ok(given.clone()) };
    let text = read(file).map_err(|error| format!("the configuration file cannot be read: {error}"))?;
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| format!("the configuration file is not valid: {error}"))?;
    let mut settings = given.clone();
    for (name, directory) in document.roots {
        let directory = checked_root(&name, &directory)?;
        settings.roots.entry(name).or_insert(directory);
    }
    if let Some(origins) = document.allow_origins {
        settings.allow_origins.get_or_insert_default().extend(origins);
    }
    Ok(settings)
}

/// The directory of a root, made absolute so that it stays the same for as long as the daemon runs.
///
/// # Errors
/// One sentence if the name or the directory is empty.
pub fn checked_root(name: &str, directory: &Path) -> Result<PathBuf, String> {
    if name.is_empty() || directory.as_os_str().is_empty() {
        return Err("a root needs a name and a directory".to_owned());
    }
    std::path::absolute(directory).map_err(|error| format!("the root {name} has no absolute path: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_of_the_command_line_stays_after_every_reload() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, r#"{"roots": {"a": "/elsewhere", "b": "/b"}}"#).unwrap();
        let given = Settings { roots: BTreeMap::from([("a".to_owned(), "/a".into())]), allow_origins: None };
        let config = Config::load(given, Some(file.clone())).unwrap();

        std::fs::write(&file, r#"{"roots": {}, "allowOrigins": ["http://x"]}"#).unwrap();
        let after = config.reload().unwrap();

        assert_eq!(after.roots, BTreeMap::from([("a".to_owned(), PathBuf::from("/a"))]));
        assert!(config.allows_origin(b"http://x"));
        assert!(!config.allows_origin(b"http://x.evil"));
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, r#"{"roots": {"b": "/b"}}"#).unwrap();
        let config = Config::load(Settings::default(), Some(file.clone())).unwrap();
        let before = config.current();

        for bad in ["", "{", r#"{"roots": {"": "/x"}}"#, r#"{"roots": {"b": ""}}"#, r#"{"rots": {}}"#] {
            std::fs::write(&file, bad).unwrap();

            assert!(config.reload().is_err(), "{bad}");
            assert_eq!(config.current(), before);
        }
    }

    #[test]
    fn only_a_regular_file_of_bounded_length_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::File::create(at("endless")).unwrap().set_len(1 << 40).unwrap();
        let text = r#"{"roots": {}}"#;
        let longest = usize::try_from(MAX_FILE_BYTES).unwrap();
        let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        std::fs::write(at("longest"), padded(longest)).unwrap();
        std::fs::write(at("too long"), padded(longest + 1)).unwrap();

        for hostile in
            ["pipe", "socket", "folder", "endless", "too long", "missing"].map(at).iter().chain([&"/dev/zero".into()])
        {
            let failed = Config::load(Settings::default(), Some(hostile.clone())).unwrap_err();
            assert!(failed.starts_with("the configuration file cannot be read: "), "{hostile:?}: {failed}");
        }
        assert!(Config::load(Settings::default(), Some(at("longest"))).is_ok());
    }
}
