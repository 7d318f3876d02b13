//! TCP and UDP sockets for a page, which cannot open any, carried over one WebSocket.
//!
//! A message is one binary WebSocket message: op u8, socket id u32, then what the op says; big-endian. `host` is UTF-8:
//! an address or a name from the client, always an address from the daemon.
//!
//! | op | client to daemon | then |
//! | --- | --- | --- |
//! | 1 | DIAL, a TCP connection | port u16, host (rest) |
//! | 2 | LISTEN, a TCP port | port u16, backlog u16, host (rest; empty: every IPv4 address) |
//! | 3 | BIND, a UDP port | port u16, host (rest; empty: every IPv4 address) |
//! | 4 | DATA, of a TCP connection | bytes |
//! | 5 | CREDIT, as many bytes more may come | u32 |
//! | 6 | CLOSE, abrupt | |
//! | 7 | SEND, a datagram | port u16, host length u8, host, payload |
//!
//! | op | daemon to client | then |
//! | --- | --- | --- |
//! | 17 | OPENED, with the remote address of a DIAL, else the local one | port u16, host (rest) |
//! | 18 | FAILED, could not be opened; it is gone | code (rest): `ECONNREFUSED` and the like |
//! | 19 | DATA | bytes, at most 65,536 |
//! | 20 | CREDIT, as many bytes more may come | u32 |
//! | 21 | CLOSED; it is gone | code (rest), empty where the remote closed its half cleanly |
//! | 22 | ACCEPTED, by the listener of this id | new id u32, port u16, host (rest) |
//! | 23 | DATAGRAM | port u16, host length u8, host, payload |
//!
//! **Ids.** The client chooses 1 to 2^31 - 1, each greater than the one before; the daemon numbers accepted connections
//! from 2^31 on. So an id never means two sockets, and frames for one that is gone, which cross its end, are ignored.
//!
//! **Flow.** Towards the remote a connection has a window of [`WINDOW`] bytes, given back as the system takes them; the
//! credit of a moment may come in one frame. Towards the client the window is 0 until it sends CREDIT, so nothing is read
//! before somebody takes it. A bound socket's window counts payload bytes; while it is 0 nothing is read, and a datagram
//! larger than what is left is dropped. SEND never waits: what the system does not take is dropped. Every frame to the
//! client passes one bounded queue, so a slow page slows every remote and memory stays bounded.
//!
//! **Listening.** At most `backlog` (1 to 1,024, else FAILED `EINVAL`) accepted connections may wait for the client, which
//! takes one by giving it credit or closing it; further ones are closed at once.
//!
//! **Targets.** Link-local, unspecified, multicast and broadcast addresses, metadata services, and the daemon's own port on
//! loopback are refused after the name is looked up: FAILED `EACCES`, and a SEND is dropped. So is an IPv6 address that
//! leads to such an IPv4 address, as those of NAT64 and 6to4 do.
//!
//! **Own place.** LISTEN on the daemon's own port fails with `EACCES` on loopback and on unspecified addresses.
//!
//! **Breaking the rules** closes the WebSocket with 1008 and the reason, a message over [`MAX_MESSAGE`] with 1009. All
//! sockets end with their WebSocket.

mod address;
mod credit;
mod ended;
mod frame;
mod limits;
mod listener;
mod queue;
mod session;
mod tcp;
mod udp;

pub use credit::WINDOW;
pub use frame::{ClientFrame, DaemonFrame, FrameError, HEADER, MAX_DATA, MAX_MESSAGE};
pub use limits::Limits;
pub use session::run;

/// The subprotocol a client must offer.
pub const PROTOCOL: &str = "piecewise.sockets.v1";
