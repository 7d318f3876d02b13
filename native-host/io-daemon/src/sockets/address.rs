//! Name lookup, targets that are refused, and the codes of the system's errors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::ended::Code;

/// Lookups at once in the whole daemon. Each takes a thread of the pool that work on the disk runs on too, and a dead
/// name server blocks it for many seconds.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// Bytes of the longest name (RFC 1035 section 2.3.4, without the root's length byte and the first one).
const MAX_NAME: usize = 253;

/// Metadata services of clouds whose addresses are not link-local. Whoever reaches one gets the credentials of the
/// machine, or can act as its agent. In order: Alibaba, Azure (the service of the platform, which issues certificates),
/// Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Such services in IPv6. In order: Google, Scaleway, Oracle.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
    Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// `fd00:ec2::/32`, in which all such services of Amazon are: metadata at `::254`, credentials of pods at `::23`.
const METADATA_PREFIX: [u16; 2] = [0xfd00, 0x0ec2];

/// Whether nothing may be sent to `target`: it is link-local, unspecified, multicast, broadcast or a metadata service,
/// or the daemon itself, which listens on loopback at `own_port`. An IPv6 address that leads to an IPv4 address is
/// refused if that one is.
pub(super) fn is_refused(target: SocketAddr, own_port: u16) -> bool {
    let is_own = |is_loopback: bool| is_loopback && target.port() == own_port;
    let is_refused_v4 = |ip: Ipv4Addr| is_special_v4(ip) || is_own(ip.is_loopback());
    match target.ip() {
        IpAddr::V4(ip) => is_refused_v4(ip),
        IpAddr::V6(ip) => {
            is_special_v6(ip) || is_own(ip.is_loopback()) || embedded(ip).into_iter().flatten().any(is_refused_v4)
        }
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 is "this host" (RFC 6890).
    ip.is_link_local() || ip.is_broadcast() || ip.is_multicast() || ip.octets()[0] == 0 || METADATA_V4.contains(&ip)
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.segments()[..2] == METADATA_PREFIX
        || METADATA_V6.contains(&ip)
}

/// The IPv4 addresses to which the system or a gateway may send a packet for `ip`, because they are embedded in it. In
/// the local prefix of NAT64 the address may be at several places, so all of them are returned.
fn embedded(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bytes = ip.octets();
    let at = |places: [usize; 4]| Some(places.map(|place| bytes[place]).into());
    let last = [12, 13, 14, 15];
    match ip.segments() {
        // `::` and `::1` are no compatible IPv4 addresses, although they have the same form.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 4],
        // At the end: compatible and mapped (RFC 4291 section 2.5.5), translated (RFC 2765 section 2.1), NAT64
        // (RFC 6052 section 2.1), and ISATAP in any prefix (RFC 5214 section 6.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [.., 0 | 0x0200, 0x5efe, _, _] => [at(last), None, None, None],
        // NAT64 within one network (RFC 8215), with prefixes of 48, 56, 64 and 96 bits (RFC 6052 section 2.2).
        [0x64, 0xff9b, 1, ..] => [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), at(last)],
        // 6to4 (RFC 3056 section 2).
        [0x2002, ..] => [at([2, 3, 4, 5]), None, None, None],
        // Teredo (RFC 4380 section 4): the server, and the client with its bits inverted.
        [0x2001, 0, ..] => {
            let client = last.map(|place| !bytes[place]);
            [at([4, 5, 6, 7]), Some(client.into()), None, None]
        }
        _ => [None; 4],
    }
}

/// Whether a listener at `local` would receive requests for the daemon, which listens on loopback at `own_port`. A
/// client that uses another name of loopback would send it the token.
pub(super) fn is_own(local: SocketAddr, own_port: u16) -> bool {
    let ip = local.ip().to_canonical();
    local.port() == own_port && (ip.is_loopback() || ip.is_unspecified())
}

/// The addresses of `host` that may be dialled. Fails with `ENOTFOUND` if `host` has no address, and with `EACCES` if
/// all are refused. The check comes after the lookup, so a name cannot lead to a refused address.
pub(super) async fn targets(host: &str, port: u16, own_port: u16) -> Result<Vec<SocketAddr>, Code> {
    let mut addresses = look_up(host, port).await?;
    addresses.retain(|&address| !is_refused(address, own_port));
    if addresses.is_empty() { Err("EACCES") } else { Ok(addresses) }
}

/// The addresses to listen at: those of `host`, or every IPv4 address if it is empty.
pub(super) async fn locals(host: &str, port: u16) -> Result<Vec<SocketAddr>, Code> {
    if host.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]);
    }
    look_up(host, port).await
}

/// Finds at least one address of `host`, which may be an address itself.
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
        // Moves into the thread: the lookup goes on when its caller stops waiting.
        let _permit = permit;
        (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
    });
    match looked_up.await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Err(error)) if error.raw_os_error().is_some() => Err(code(&error)),
        _ => Err("ENOTFOUND"),
    }
}

/// The code of `error`, as the system names it; `EIO` for unknown errors.
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

/// The codes of errors for which the standard library has no kind.
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
            "168.63.129.16",
            "192.0.0.192",
            "::ffff:168.63.129.16",
            "::192.0.0.192",
            "0.1.2.3",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fd00:c1::a9fe:a9fe",
        ];

        for ip in hostile {
            assert!(refused(ip, 80), "{ip}");
        }
    }

    #[test]
    fn fault_68_a_refused_address_is_refused_within_another_one() {
        for [a, b, c, d] in
            [[169_u8, 254, 169, 254], [168, 63, 129, 16], [192, 0, 0, 192], [100, 100, 100, 200], [224, 0, 0, 1]]
        {
            let (high, low) = (format!("{a:02x}{b:02x}"), format!("{c:02x}{d:02x}"));
            for ip in [
                format!("::{high}:{low}"),
                format!("::ffff:{high}:{low}"),
                format!("::ffff:0:{high}:{low}"),
                format!("64:ff9b::{high}:{low}"),
                format!("64:ff9b:1::{high}:{low}"),
                format!("64:ff9b:1:{high}:{c:02x}:{d:02x}00::"),
                format!("64:ff9b:1:12{a:02x}:{b:02x}:{low}::"),
                format!("64:ff9b:1:1234:{a:02x}:{b:02x}{c:02x}:{d:02x}00::"),
                format!("2002:{high}:{low}::1"),
                format!("2001:0:{high}:{low}::"),
                format!("2001:0:808:808:0:0:{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d),
                format!("2001:db8::5efe:{high}:{low}"),
                format!("2001:db8::200:5efe:{high}:{low}"),
            ] {
                let parsed: IpAddr = ip.parse().unwrap_or_else(|_| panic!("{ip}"));
                assert!(is_refused(SocketAddr::new(parsed, 80), OWN_PORT), "{ip}");
            }
        }
    }

    #[test]
    fn fault_68_no_listener_takes_the_place_of_the_daemon() {
        for ip in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert!(is_own(SocketAddr::new(ip.parse().unwrap(), OWN_PORT), OWN_PORT), "{ip}");
            assert!(!is_own(SocketAddr::new(ip.parse().unwrap(), OWN_PORT + 1), OWN_PORT), "{ip}");
        }
        assert!(!is_own(SocketAddr::new("192.0.2.1".parse().unwrap(), OWN_PORT), OWN_PORT));
    }

    #[test]
    fn fault_68_the_daemon_itself_is_refused_on_loopback_only() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(refused(ip, OWN_PORT), "{ip}");
            assert!(!refused(ip, OWN_PORT + 1), "{ip}");
        }
        assert!(!refused("192.0.2.1", OWN_PORT));
    }

    #[test]
    fn peers_and_neighbours_are_not_refused() {
        for ip in [
            "192.0.2.1",
            "10.0.0.1",
            "192.168.1.1",
            "169.253.255.255",
            "169.255.0.1",
            "168.63.129.17",
            "192.0.0.191",
            "2001:db8::1",
            "2001:db8::a9fe:a9fe",
            "fec0::1",
            "fd20:ce::253",
            "64:ff9b::c000:201",
            "2002:c000:201::1",
            "2001:0:c000:201::f7f7:f7f7",
            "2001:db8::5efe:c000:201",
        ] {
            assert!(!refused(ip, 80), "{ip}");
        }
    }

    #[tokio::test]
    async fn fault_68_another_way_to_write_a_refused_address_is_refused() {
        // The resolver of the system reads these as 169.254.169.254 or does not know them. Either way nothing is
        // dialled.
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
    fn errors_have_the_codes_of_the_system() {
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
