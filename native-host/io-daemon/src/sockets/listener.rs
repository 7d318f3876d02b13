//! A TCP port that accepts connections for a client.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

use super::frame::DaemonFrame;
use super::session::Session;
use super::tcp;
use super::{Code, address};

/// How long accepting rests after it failed, as it does when there is no file descriptor left: the connection stays in
/// the system's queue, so trying again at once would only burn time.
const REST: Duration = Duration::from_millis(100);

/// Connections that may wait for the client, as the contract bounds them.
const BACKLOG: RangeInclusive<u16> = 1..=1_024;

/// The life of the listener `id`.
pub(super) async fn listen(session: Arc<Session>, id: u32, host: String, port: u16, backlog: u16) {
    match bind(&host, port, backlog, session.limits.own_port).await {
        Ok((listener, local)) => {
            if session.queue.send(id, &DaemonFrame::Opened(local)).await.is_ok() {
                accept(&session, id, &listener, backlog).await;
            }
        }
        Err(code) => session.failed(id, code).await,
    }
}

/// Listens at the first address of `host` that can be had, and never in the daemon's own place.
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
            // A port that was just closed can be had again, though connections of it linger.
            socket.set_reuseaddr(true)?;
            socket.bind(local)?;
            let listener = socket.listen(u32::from(backlog))?;
            let local = listener.local_addr()?;
            // A free port of the other family may be the daemon's number.
            if address::is_own(local, own_port) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok((listener, local)) }
        };
        match bound() {
            Ok(listening) => return Ok(listening),
            Err(error) => last = address::code(&error),
        }
    }
    Err(last)
}

/// Accepts for ever. A connection that finds no room is closed at once.
async fn accept(session: &Arc<Session>, id: u32, listener: &TcpListener, backlog: u16) {
    let waiting = Arc::new(Semaphore::new(usize::from(backlog)));
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&waiting).try_acquire_owned()
            && tcp::prepare(&stream).is_ok()
        {
            session.accepted(id, stream, remote, place);
        }
    }
}
