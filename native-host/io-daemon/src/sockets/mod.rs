//! TCP and UDP sockets over one WebSocket, for pages, which cannot open any.
//!
//! A message is one binary WebSocket message: op u8, socket id u32, then the fields of the op; big-endian. `host` is
//! UTF-8: an address or a name from the client, always an address from the daemon.
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
//! | 21 | CLOSED; it is gone | code (rest), empty if the remote closed its half cleanly |
//! | 22 | ACCEPTED, by the listener of this id | new id u32, port u16, host (rest) |
//! | 23 | DATAGRAM | port u16, host length u8, host, payload |
//!
//! **Ids.** The client chooses 1 to 2^31 - 1, each greater than the one before; the daemon numbers accepted connections
//! from 2^31 on. So an id never means two sockets, and frames that arrive after the end of their socket are ignored.
//!
//! **Flow.** Towards the remote a connection has a window of [`WINDOW`] bytes. The client gets credit for bytes as the
//! system takes them, and one frame may carry the credit of several writes. Towards the client the window is 0 until it
//! sends CREDIT, so nothing is read before the client wants it. The window of a bound socket counts payload bytes;
//! while it is 0 nothing is read, and a datagram larger than the window is dropped. SEND never waits: what the system
//! does not take is dropped. All frames to the client pass through one bounded queue, so a slow page slows every remote
//! and memory stays bounded.
//!
//! **Listening.** At most `backlog` (1 to 1,024, else FAILED `EINVAL`) accepted connections may wait for the client,
//! which takes one by sending credit for it or closing it. Further ones are closed at once.
//!
//! **Targets.** Link-local, unspecified, multicast and broadcast addresses, metadata services, and the daemon's own
//! port on loopback are refused after the name is looked up: FAILED `EACCES`, and a SEND is dropped. An IPv6 address
//! that leads to such an IPv4 address, such as one of NAT64 or 6to4, is refused too.
//!
//! **Own place.** LISTEN on the daemon's own port fails with `EACCES` on loopback and on unspecified addresses.
//!
//! **Breaking the rules** closes the WebSocket with 1008 and the reason; a message longer than [`MAX_MESSAGE`] closes
//! it with 1009. All sockets end with their WebSocket.

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
mod web_socket;

pub use credit::WINDOW;
pub use frame::{ClientFrame, DaemonFrame, FrameError, HEADER, MAX_DATA, MAX_MESSAGE};
pub use limits::Limits;
pub use web_socket::run;

/// The subprotocol a client must offer.
pub const PROTOCOL: &str = "piecewise.sockets.v1";
