//! What a client registers a set with. Pure.

use std::sync::Arc;

use super::layout::Layout;
use super::path::FilePath;
use super::rivals::Rivals;
use super::root::Root;

/// What a set is registered with. Two sets with equal registrations are the same set.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    pub(crate) root_name: String,
    pub(crate) root: Root,
    pub(crate) layout: Layout,
    pub(crate) allocate: bool,
    pub(super) rivals: Arc<Rivals>,
    pub(super) aside: Option<FilePath>,
    pub(crate) client: Client,
}

/// The client that registered a set, as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The torrent that the set is of; the same for all its sets.
    pub torrent: Option<String>,
    /// The program that registered the set. It uses one name for all its sets, and another one after it was started
    /// again.
    pub owner: Option<String>,
}

impl Client {
    /// Whether the other client seems to be an earlier program that left its set of the same torrent behind.
    pub(crate) fn succeeds(&self, other: &Self) -> bool {
        self.torrent.is_some() && self.torrent == other.torrent && self.owner != other.owner
    }
}

impl Registration {
    /// Files laid out below the root with this name. `allocate` allocates the whole length of a file at its first
    /// write.
    #[must_use]
    pub fn new(root_name: String, root: impl Into<Root>, layout: Layout, allocate: bool) -> Self {
        let (root, rivals) = (root.into(), Arc::default());
        Self { root_name, root, layout, allocate, rivals, aside: None, client: Client::default() }
    }

    /// The same, on behalf of a client.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The same, with the other names that its files may have.
    #[must_use]
    pub fn with_rivals(mut self, rivals: Rivals) -> Self {
        self.rivals = Arc::new(rivals);
        self
    }

    /// The same, with a folder below the root in which files are set aside that nobody wants. To be called after
    /// `with_rivals`.
    ///
    /// # Errors
    /// One sentence if a file of the set may lie in that folder, because another file may be set aside there.
    pub fn with_aside(mut self, folder: FilePath) -> std::result::Result<Self, String> {
        let registered = self.layout.entries().iter().filter_map(|entry| entry.path.as_ref());
        let inside = registered.chain(self.rivals.paths()).find(|path| path.is_in(&folder));
        if let Some(path) = inside {
            return Err(format!("the path {:?} lies in the folder for files set aside", path.as_str()));
        }
        self.aside = Some(folder);
        Ok(self)
    }
}
