//! Which connections stay open, on a machine on which any program may connect.
//!
//! A connection that has not presented the token is a stranger. Strangers share a quarter of the connections, and the
//! oldest is closed to make room for the next one. So neither idle nor slow connections keep a client out. A connection
//! that presented the token is trusted, and is never closed for a stranger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::mutex::lock;

/// The open connections.
pub(crate) struct Table {
    limit: usize,
    counters: Arc<Counters>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    trusted: usize,
    /// Oldest first, each with the signal that closes it.
    strangers: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection in the table, which is free again when the last clone is dropped. Requests carry it as
/// an extension.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Seat>);

struct Seat {
    number: u64,
    close: CancellationToken,
    trusted: Mutex<bool>,
    table: Arc<Table>,
}

impl Table {
    /// An empty table with `limit` places.
    pub(crate) fn new(limit: usize, counters: Arc<Counters>) -> Self {
        Self { limit, counters, seats: Mutex::default() }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        lock(&self.seats)
    }

    /// Finds a place for a new connection, in the place of the oldest stranger if necessary. `None` if trusted
    /// connections have taken all places.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Connection> {
        let mut seats = self.seats();
        let strangers = seats.strangers.len();
        if strangers >= (self.limit / 4).max(1) || strangers + seats.trusted >= self.limit {
            let (_, close) = seats.strangers.pop_first()?;
            close.cancel();
        }
        seats.next += 1;
        let (number, close) = (seats.next, CancellationToken::new());
        seats.strangers.insert(number, close.clone());
        drop(seats);
        self.counters.connections.add(1);
        Some(Connection(Arc::new(Seat { number, close, trusted: Mutex::new(false), table: Arc::clone(self) })))
    }

    /// Makes room when the system has no descriptor left.
    pub(crate) fn close_oldest_stranger(&self) {
        if let Some((_, close)) = self.seats().strangers.pop_first() {
            close.cancel();
        }
    }
}

impl Connection {
    /// Whether the connection has presented the token.
    pub(crate) fn is_trusted(&self) -> bool {
        *lock(&self.0.trusted)
    }

    /// Waits until the connection has to make room for another one.
    pub(crate) async fn closed(&self) {
        self.0.close.cancelled().await;
    }

    /// Marks the connection as trusted, unless it is being closed already.
    pub(crate) fn trust(&self) {
        let mut trusted = lock(&self.0.trusted);
        if !*trusted {
            let mut seats = self.0.table.seats();
            if seats.strangers.remove(&self.0.number).is_some() {
                seats.trusted += 1;
                *trusted = true;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let trusted = *self.trusted.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut seats = self.table.seats();
        if trusted {
            seats.trusted -= 1;
        } else {
            seats.strangers.remove(&self.number);
        }
        drop(seats);
        self.table.counters.connections.subtract(1);
    }
}
