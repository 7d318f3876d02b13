//! Where a socket may go: name lookup, refused targets, and what the system's errors are called.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::Code;

/// Lookups at once in the whole daemon. Each takes a thread of the pool that disk work runs on, and a dead name server
/// holds it for many seconds.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// Bytes of the longest name (RFC 1035 section 2.3.4, without the root's length byte and the first one).
const MAX_NAME: usize = 253;

/// Metadata services of clouds that are not link-local: anybody who reaches them gets the machine's credentials.
const METADATA: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254))];

/// Whether nothing may be sent to `target`: it is link-local, unspecified, multicast, broadcast or a metadata service, or
/// the daemon itself, which listens on loopback at `own_port`. A mapped IPv4 address counts as what it maps.
pub(super) fn is_refused(target: SocketAddr, own_port: u16) -> bool {
    let ip = target.ip().to_canonical();
    let special = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    special
        || ip.is_unspecified()
        || ip.is_multicast()
        || METADATA.contains(&ip)
        || (ip.is_loopback() && target.port() == own_port)
}

/// The addresses that may be dialled at `host`. Fails with `ENOTFOUND` where there are none, and with `EACCES` where all
/// of them are refused. The check comes after the lookup, so a name cannot stand for a refused address.
pub(super) async fn targets(host: &str, port: u16, own_port: u16) -> Result<Vec<SocketAddr>, Code> {
    let mut addresses = look_up(host, port).await?;
    addresses.retain(|&address| !is_refused(address, own_port));
    if addresses.is_empty() { Err("EACCES") } else { Ok(addresses) }
}

/// The addresses to listen at: those of `host`, or every IPv4 address where it is empty.
pub(super) async fn locals(host: &str, port: u16) -> Result<Vec<SocketAddr>, Code> {
    if host.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]);
    }
    look_up(host, port).await
}

/// At least one address of `host`, which may be one itself.
async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Code> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if host.is_empty() || host.len() > MAX_NAME {
        return Err("ENOTFOUND");
    }
    let permit = LOOKUPS.acquire().await.map_err(|_| "ENOTFOUND")?;
    let host = host.to_owned();
    let looked_up = tokio::task::spawn_blocking(move || {
        // Goes with the thread: one who stops waiting does not make the lookup end.
        let _permit = permit;
        (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
    });
    match looked_up.await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Err(error)) if error.raw_os_error().is_some() => Err(code(&error)),
        _ => Err("ENOTFOUND"),
    }
}

/// What the system calls `error`; `EIO` for what it calls nothing we know.
pub(super) fn code(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::AddrInUse => "EADDRINUSE",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::BrokenPipe => "EPIPE",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::InvalidInput => "EINVAL",
        io::ErrorKind::NetworkDown => "ENETDOWN",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::NotConnected => "ENOTCONN",
        io::ErrorKind::OutOfMemory => "ENOMEM",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        _ => uncommon_code(error),
    }
}

/// Those that the standard library has no kind for.
fn uncommon_code(error: &io::Error) -> Code {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "EMFILE",
        Some(Errno::NFILE) => "ENFILE",
        Some(Errno::NOBUFS) => "ENOBUFS",
        Some(Errno::AFNOSUPPORT) => "EAFNOSUPPORT",
        _ => "EIO",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN_PORT: u16 = 4_242;

    fn refused(ip: &str, port: u16) -> bool {
        is_refused(SocketAddr::new(ip.parse().unwrap(), port), OWN_PORT)
    }

    #[test]
    fn fault_68_link_local_and_metadata_addresses_are_refused() {
        let hostile = [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.1.1",
            "::ffff:a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "239.255.255.250",
            "ff02::1",
            "::ffff:224.0.0.1",
            "255.255.255.255",
            "::ffff:255.255.255.255",
            "100.100.100.200",
            "fd00:ec2::254",
        ];

        for ip in hostile {
            assert!(refused(ip, 80), "{ip}");
        }
    }

    #[test]
    fn fault_68_the_daemon_itself_is_refused_on_loopback_only() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(refused(ip, OWN_PORT), "{ip}");
            assert!(!refused(ip, OWN_PORT + 1), "{ip}");
        }
        assert!(!refused("192.0.2.1", OWN_PORT));
    }

    #[test]
    fn peers_and_neighbours_are_not_refused() {
        for ip in ["192.0.2.1", "10.0.0.1", "192.168.1.1", "169.253.255.255", "169.255.0.1", "2001:db8::1", "fec0::1"] {
            assert!(!refused(ip, 80), "{ip}");
        }
    }

    #[tokio::test]
    async fn fault_68_another_way_to_write_a_refused_address_is_refused() {
        // The system's resolver takes these for 169.254.169.254, or knows no such name: either way nothing is dialled.
        for host in ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376"] {
            let failed = targets(host, 80, OWN_PORT).await.unwrap_err();

            assert!(["EACCES", "ENOTFOUND"].contains(&failed), "{host}: {failed}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let addresses = targets("localhost", 80, OWN_PORT).await.unwrap();

        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }

    #[tokio::test]
    async fn a_name_nobody_has_is_not_found() {
        let long = "a".repeat(300);
        for host in ["", "nobody.invalid", "a\0b", long.as_str()] {
            assert_eq!(targets(host, 80, OWN_PORT).await, Err("ENOTFOUND"), "{host:?}");
        }
    }

    #[test]
    fn errors_are_called_as_the_system_calls_them() {
        for (errno, name) in [
            (Errno::CONNREFUSED, "ECONNREFUSED"),
            (Errno::CONNRESET, "ECONNRESET"),
            (Errno::ADDRINUSE, "EADDRINUSE"),
            (Errno::MFILE, "EMFILE"),
            (Errno::NFILE, "ENFILE"),
            (Errno::NETUNREACH, "ENETUNREACH"),
            (Errno::HOSTUNREACH, "EHOSTUNREACH"),
            (Errno::ACCESS, "EACCES"),
            (Errno::PIPE, "EPIPE"),
            (Errno::TIMEDOUT, "ETIMEDOUT"),
            (Errno::XDEV, "EIO"),
        ] {
            assert_eq!(code(&io::Error::from(errno)), name);
        }
    }
}
