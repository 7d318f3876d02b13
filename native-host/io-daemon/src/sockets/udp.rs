//! A UDP port that sends and receives for a client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::net::UdpSocket;

use super::address;
use super::credit::Credit;
use super::ended::{Code, Ended};
use super::frame::DaemonFrame;
use super::queue::{Gone, Queue};

/// One port, from its BIND frame on.
#[derive(Default)]
pub(super) struct Port {
    /// Not set while the port is being bound.
    socket: OnceLock<UdpSocket>,
    /// Bytes of payload that may be received for the client.
    pub(super) credit: Credit,
}

impl Port {
    /// Sends `payload` now or never. It is dropped if the system does not take it, if the target is refused, or if this
    /// port cannot reach the address.
    pub(super) fn send(&self, target: SocketAddr, payload: &[u8], own_port: u16) {
        if address::is_refused(target, own_port) {
            return;
        }
        if let Some(socket) = self.socket.get()
            && let Ok(local) = socket.local_addr()
            && let Some(target) = reachable(local, target)
        {
            let _ = socket.try_send_to(payload, target);
        }
    }

    /// Sends `payload` to whichever of `targets` this port can reach.
    pub(super) fn send_to_any(&self, targets: &[SocketAddr], payload: &[u8], own_port: u16) {
        let local = self.socket.get().and_then(|socket| socket.local_addr().ok());
        if let Some(local) = local
            && let Some(&target) = targets.iter().find(|&&target| reachable(local, target).is_some())
        {
            self.send(target, payload, own_port);
        }
    }

    /// Receives for the client until the port fails, and returns the reason.
    async fn carry(&self, id: u32, socket: &UdpSocket, queue: &Queue) -> Result<Code, Gone> {
        loop {
            self.credit.wait().await;
            if let Err(error) = socket.readable().await {
                return Ok(address::code(&error));
            }
            let allows = |length: usize| {
                let allowed = length as u64 <= self.credit.left();
                if allowed {
                    self.credit.spend(length);
                }
                allowed
            };
            let received = queue.place().await?.datagram(id, |buffer| socket.try_recv_buf_from(buffer), allows);
            match received.map_err(|error| error.kind()) {
                // A refusal by one remote says nothing about the port.
                Ok(())
                | Err(
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset,
                ) => {}
                Err(kind) => return Ok(address::code(&kind.into())),
            }
        }
    }
}

/// Binds the port `id` and runs it to its end.
pub(super) async fn bind(queue: Queue, id: u32, port: Arc<Port>, host: String, number: u16) -> Result<Ended, Gone> {
    match open(&host, number).await {
        Ok((socket, local)) => {
            let socket = port.socket.get_or_init(|| socket);
            queue.send(id, &DaemonFrame::Opened(local)).await?;
            port.carry(id, socket, &queue).await.map(Ended::Closed)
        }
        Err(code) => Ok(Ended::Failed(code)),
    }
}

/// Binds the first address of `host` that is free.
async fn open(host: &str, port: u16) -> Result<(UdpSocket, SocketAddr), Code> {
    let mut last = "ENOTFOUND";
    for local in address::locals(host, port).await? {
        match bound(local).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = address::code(&error),
        }
    }
    Err(last)
}

async fn bound(local: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = UdpSocket::bind(local).await?;
    // Until the runtime knows that the socket is ready, sending fails and the first datagram would be dropped.
    socket.writable().await?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

/// `target` in the form in which a port at `local` has to address it; `None` if it cannot.
fn reachable(local: SocketAddr, target: SocketAddr) -> Option<SocketAddr> {
    match (local.ip(), target.ip().to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => Some(SocketAddr::new(ip.to_ipv6_mapped().into(), target.port())),
        (IpAddr::V4(_), IpAddr::V6(_)) => None,
        (IpAddr::V4(_), ip @ IpAddr::V4(_)) => Some(SocketAddr::new(ip, target.port())),
        (IpAddr::V6(_), IpAddr::V6(_)) => Some(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(local: &str, target: &str) -> Option<SocketAddr> {
        reachable(local.parse().unwrap(), target.parse().unwrap())
    }

    #[test]
    fn a_port_addresses_its_own_family() {
        assert_eq!(reaches("0.0.0.0:1", "1.2.3.4:5"), Some("1.2.3.4:5".parse().unwrap()));
        assert_eq!(reaches("0.0.0.0:1", "[::ffff:1.2.3.4]:5"), Some("1.2.3.4:5".parse().unwrap()));
        assert_eq!(reaches("[::]:1", "1.2.3.4:5"), Some("[::ffff:1.2.3.4]:5".parse().unwrap()));
        assert_eq!(reaches("[::]:1", "[2001:db8::1]:5"), Some("[2001:db8::1]:5".parse().unwrap()));
        assert_eq!(reaches("0.0.0.0:1", "[2001:db8::1]:5"), None);
    }
}
