//! The state that all handlers share.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::counters::Counters;
use crate::descriptors::MAX_SOCKETS;
use crate::disk::{Disk, Taking};
use crate::pool::Pool;
use crate::token::Token;

/// `WebSocket`s for the sockets of pages, open at once; a page needs one.
const MAX_WEB_SOCKETS: usize = 16;

/// Bodies that are hashed or parsed at once. More of them than there are cores would not end earlier.
const MAX_COMPUTATIONS: usize = 4;

/// Cheap to clone: every field is a shared handle or a number.
#[derive(Clone)]
pub struct AppState {
    /// The token that a request must present.
    pub(crate) token: Token,
    /// The port of the listener. The Host check needs it, and so do sockets: no page may dial the daemon through the
    /// daemon.
    pub(crate) port: u16,
    /// Roots and allowed origins, which may be read again while the daemon runs.
    pub(crate) config: Arc<Config>,
    /// The file sets and all that touches a disk.
    pub(crate) disk: Disk,
    /// Runs hashing and parsing, which need no disk and so do not wait for a slow one.
    pub(crate) compute: Pool,
    /// What `/v1/control/stats` reports.
    pub(crate) counters: Arc<Counters>,
    /// One permit for each WebSocket at `/v1/sockets`.
    pub(crate) web_sockets: Arc<Semaphore>,
    /// One permit for each socket of any page.
    pub(crate) socket_places: Arc<Semaphore>,
    /// Cancelled when the daemon has to end.
    pub(crate) shutdown: CancellationToken,
    /// When the daemon started.
    pub(crate) started: Instant,
}

impl AppState {
    /// The state of a daemon that listens on `port`. Makes and marks its roots. Blocks.
    #[must_use]
    pub fn new(token: Token, port: u16, config: Config, disk: crate::disk::Limits) -> Self {
        Self::taking(token, port, config, disk, Taking::New)
    }

    /// The same, but takes the roots as `taking` says.
    #[must_use]
    pub fn taking(token: Token, port: u16, config: Config, disk: crate::disk::Limits, taking: Taking) -> Self {
        let counters = Arc::new(Counters::default());
        let disk = Disk::new(disk, Arc::clone(&counters));
        disk.take_roots(&config.current().roots, taking);
        Self {
            token,
            port,
            config: Arc::new(config),
            disk,
            compute: Pool::new(MAX_COMPUTATIONS),
            counters,
            web_sockets: Arc::new(Semaphore::new(MAX_WEB_SOCKETS)),
            socket_places: Arc::new(Semaphore::new(MAX_SOCKETS)),
            shutdown: CancellationToken::new(),
            started: Instant::now(),
        }
    }

    /// The same, with at most `sockets` sockets for all pages together.
    #[must_use]
    pub fn with_sockets(self, sockets: usize) -> Self {
        Self { socket_places: Arc::new(Semaphore::new(sockets)), ..self }
    }

    /// Cancelled when the daemon has to end; cancelling it ends the daemon.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// What the daemon counts about itself.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The file sets and all that touches a disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}
