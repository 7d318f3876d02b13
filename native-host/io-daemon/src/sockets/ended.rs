//! How a socket ended, for the session to report to the client.

/// The code of the error, as the system names it: `ECONNREFUSED`. Empty for a clean end.
pub(super) type Code = &'static str;

/// How a socket ended.
pub(super) enum Ended {
    /// It could not be opened.
    Failed(Code),
    /// It was open before.
    Closed(Code),
}
