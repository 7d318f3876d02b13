//! A TCP port that accepts connections for a client.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::address;
use super::ended::{Code, Ended};
use super::frame::DaemonFrame;
use super::queue::{Gone, Queue};
use super::tcp;

/// How long accepting pauses after it failed, for example because no file descriptor is left. The connection stays in
/// the queue of the system, so trying again at once would only waste processor time.
const REST: Duration = Duration::from_millis(100);

/// How many connections may wait for the client, as the contract says.
const BACKLOG: RangeInclusive<u16> = 1..=1_024;

/// Where a client listens.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) backlog: u16,
    /// The daemon's own port.
    pub(super) own_port: u16,
}

/// Runs the listener `id`. `accepted` receives each connection, with its place among those that wait for the client.
pub(super) async fn listen(
    queue: Queue,
    id: u32,
    place: Place,
    accepted: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> Result<Ended, Gone> {
    match bind(&place.host, place.port, place.backlog, place.own_port).await {
        Ok((listener, local)) => {
            queue.send(id, &DaemonFrame::Opened(local)).await?;
            accept(&listener, place.backlog, accepted).await
        }
        Err(code) => Ok(Ended::Failed(code)),
    }
}

/// Listens at the first address of `host` that is free, and never in the place of the daemon.
async fn bind(host: &str, port: u16, backlog: u16, own_port: u16) -> Result<(TcpListener, SocketAddr), Code> {
    if !BACKLOG.contains(&backlog) {
        return Err("EINVAL");
    }
    let mut last = "ENOTFOUND";
    for local in address::locals(host, port).await? {
        if address::is_own(local, own_port) {
            last = "EACCES";
            continue;
        }
        let bound = || {
            let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A port that was just closed can be bound again while connections of it linger.
            socket.set_reuseaddr(true)?;
            socket.bind(local)?;
            let listener = socket.listen(u32::from(backlog))?;
            let local = listener.local_addr()?;
            // A free port of the other address family may have the number of the daemon's port.
            if address::is_own(local, own_port) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok((listener, local)) }
        };
        match bound() {
            Ok(listening) => return Ok(listening),
            Err(error) => last = address::code(&error),
        }
    }
    Err(last)
}

/// Accepts connections forever. A connection that finds no room is closed at once.
async fn accept(
    listener: &TcpListener,
    backlog: u16,
    accepted: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> ! {
    let waiting = Arc::new(Semaphore::new(usize::from(backlog)));
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&waiting).try_acquire_owned()
            && tcp::prepare(&stream).is_ok()
        {
            accepted(stream, remote, place);
        }
    }
}
