//! The counters that `GET /v1/control/stats` reports.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number of events, which only grows, or of things that are open, which grows and shrinks.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Subtracts `by`, which was added before.
    pub fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the start of the daemon, except those that say "now".
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests of every kind, including preflights.
    pub requests: Counter,
    /// CORS preflights.
    pub preflights: Counter,
    /// Answers with 401.
    pub unauthorized: Counter,
    /// Requests to write.
    pub write_requests: Counter,
    /// Writes answered with 204.
    pub writes: Counter,
    /// Bytes written by those.
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
