//! How the descriptors that the system allows are shared out.
//!
//! Accepted connections, files kept open and the sockets of pages each have a share that the others cannot use up. So a
//! page with many sockets cannot keep a write or `/health` from being answered. The rest is for whatever needs a
//! descriptor for a moment: operations on the disk, name lookups, `WebSocket`s, the runtime.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// An eighth of all descriptors is kept free, but no fewer and no more than these.
const LEAST_SPARE: usize = 24;
const MOST_SPARE: usize = 128;

/// The most sockets of all pages together: as many as all `WebSocket`s may have, so only the limit of the system can
/// lower it.
pub const MAX_SOCKETS: usize = 16_384;

/// How many descriptors each kind may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Files kept open between operations.
    pub files: usize,
    /// Connections accepted and not yet closed.
    pub connections: usize,
    /// Sockets open on behalf of pages.
    pub sockets: usize,
}

/// Shares out `descriptors`. `files` and `connections` say how many of each are wanted. Files come first, because
/// everything else can wait for a place. Connections and sockets get half of the rest each; sockets also get what
/// connections do not want.
#[must_use]
pub fn share_out(descriptors: usize, files: usize, connections: usize) -> Shares {
    let spare = (descriptors / 8).clamp(LEAST_SPARE, MOST_SPARE);
    let free = descriptors.saturating_sub(spare).max(4);
    let files = files.clamp(1, free / 2);
    let connections = connections.clamp(1, (free - files) / 2);
    Shares { files, connections, sockets: (free - files - connections).min(MAX_SOCKETS) }
}

/// Raises the soft limit of open descriptors to the hard one, and returns it.
#[must_use]
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_gets_what_it_wants_if_there_are_plenty() {
        let shares = share_out(1_048_576, 64, 512);

        assert_eq!(shares, Shares { files: 64, connections: 512, sockets: MAX_SOCKETS });
        assert_eq!(share_out(usize::MAX, 64, 512), shares);
    }

    #[test]
    fn a_usual_limit_leaves_hundreds_of_sockets() {
        assert_eq!(share_out(1_024, 64, 512), Shares { files: 64, connections: 416, sockets: 416 });
        assert_eq!(share_out(64, 8, 512), Shares { files: 8, connections: 16, sockets: 16 });
    }

    proptest! {
        #[test]
        fn all_kinds_have_a_part_and_together_no_more_than_there_is(
            descriptors in 0..100_000_usize, files in 0..100_000_usize, connections in 0..100_000_usize
        ) {
            let shares = share_out(descriptors, files, connections);
            prop_assert!(shares.files >= 1 && shares.connections >= 1 && shares.sockets >= 1);
            prop_assert!(shares.files <= files.max(1) && shares.connections <= connections.max(1));
            let used = shares.files + shares.connections + shares.sockets;
            prop_assert!(used + LEAST_SPARE <= descriptors.max(LEAST_SPARE + 4));
        }
    }
}
