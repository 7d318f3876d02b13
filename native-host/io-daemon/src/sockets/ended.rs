//! How the life of a socket ended, for the session to report to the client.

/// What a socket failed with, as the system names it: `ECONNREFUSED`. Empty for a clean end.
pub(super) type Code = &'static str;

/// How the life of a socket ended.
pub(super) enum Ended {
    /// It could not be opened.
    Failed(Code),
    /// It was open.
    Closed(Code),
}
