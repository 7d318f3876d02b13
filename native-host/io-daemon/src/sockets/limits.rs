//! Limits for the sockets of one WebSocket.

use std::net::IpAddr;
use std::time::Duration;

/// Limits for the sockets of one WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The port of the daemon. No page may dial it on loopback through the daemon, because the page would pass for a
    /// local client.
    pub own_port: u16,
    /// The local address of dialled connections, which then reach its family only; `None` for the system's choice.
    pub from: Option<IpAddr>,
    /// Sockets open at once; one more fails with `EMFILE`. So does one if the sockets of all sessions have reached
    /// their limit. Default 1,024.
    pub sockets: usize,
    /// How long a dial may take, name lookup included, before it fails with `ETIMEDOUT`. Default 30 s.
    pub dial: Duration,
    /// Frames that wait for the client, each with a buffer of [`super::MAX_DATA`] bytes. Default 32: 2 MiB, many times
    /// what is in flight to a page that keeps up.
    pub queue: usize,
}

impl Limits {
    /// The defaults, for a daemon that listens on `own_port`.
    #[must_use]
    pub fn new(own_port: u16) -> Self {
        Self { own_port, from: None, sockets: 1_024, dial: Duration::from_secs(30), queue: 32 }
    }
}
