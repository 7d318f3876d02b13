//! What the daemon counts about itself, read by `GET /v1/control/stats`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or goes up and down with what it counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Takes `by` away again.
    pub fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the start, except where it says "now".
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests of every kind, preflights among them.
    pub requests: Counter,
    /// CORS preflights.
    pub preflights: Counter,
    /// Answers with 401.
    pub unauthorized: Counter,
    /// Writes asked for.
    pub write_requests: Counter,
    /// Writes answered with 204.
    pub writes: Counter,
    /// Bytes of those.
    pub written_bytes: Counter,
    /// Reads answered with 200 or 206.
    pub reads: Counter,
    /// Bytes read from disk for those.
    pub read_bytes: Counter,
    /// Bytes hashed for `/digests`.
    pub digested_bytes: Counter,
    /// Connections open now.
    pub connections: Counter,
    /// Sockets open now on behalf of pages.
    pub sockets: Counter,
}
