//! The messages of `/v1/sockets`, in both directions. The header of the folder has their table.
//!
//! Pure: bytes in, data out. Whether a frame is allowed now is checked by `session`. Decoded frames borrow from the
//! message, so decoding allocates nothing, whatever the message claims.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Bytes of the op and the id of the socket, with which every message begins.
pub const HEADER: usize = 5;

/// The most bytes in a DATA frame to the client: as much as can be read from the system at once without delaying other
/// sockets.
pub const MAX_DATA: usize = 65_536;

/// Bytes of the longest message a client may send.
pub const MAX_MESSAGE: usize = 1_048_576 + HEADER;

const DIAL: u8 = 1;
const LISTEN: u8 = 2;
const BIND: u8 = 3;
const DATA: u8 = 4;
const CREDIT: u8 = 5;
const CLOSE: u8 = 6;
const SEND: u8 = 7;
const OPENED: u8 = 17;
const FAILED: u8 = 18;
const DATA_IN: u8 = 19;
const CREDIT_BACK: u8 = 20;
const CLOSED: u8 = 21;
const ACCEPTED: u8 = 22;
const DATAGRAM: u8 = 23;

/// Bytes that any address takes as text, with some to spare: the longest has 45 (RFC 4291 section 2.2).
const ADDRESS: usize = 48;

/// Why a message is not one of this protocol.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// It ends too early for its op.
    #[error("the frame is too short")]
    Short,
    /// It has more bytes than its op needs.
    #[error("the frame is too long")]
    Long,
    /// There is no such op in this direction.
    #[error("the op {0} is unknown")]
    UnknownOp(u8),
    /// A host or a code is not UTF-8.
    #[error("the host is not UTF-8")]
    NotText,
    /// A host is too long for its length byte (only when encoding).
    #[error("the host is longer than 255 bytes")]
    LongHost,
    /// A host from the daemon is not an address (only when decoding what a daemon sent).
    #[error("the host is not an address")]
    NotAddress,
}

/// A message from a client about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Open a TCP connection.
    Dial {
        /// The remote port.
        port: u16,
        /// The remote address or name.
        host: &'a str,
    },
    /// Listen on a TCP port.
    Listen {
        /// The local port; 0 takes any free one.
        port: u16,
        /// How many accepted connections may wait for the client.
        backlog: u16,
        /// The local address.
        host: &'a str,
    },
    /// Bind a UDP port.
    Bind {
        /// The local port; 0 takes any free one.
        port: u16,
        /// The local address.
        host: &'a str,
    },
    /// Bytes for the remote of a connection.
    Data(&'a [u8]),
    /// The daemon may send so many more bytes.
    Credit(u32),
    /// Close the socket, whatever is in flight.
    Close,
    /// Send a datagram.
    Send {
        /// The remote port.
        port: u16,
        /// The remote address or name.
        host: &'a str,
        /// What it carries.
        payload: &'a [u8],
    },
}

/// A message from the daemon about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonFrame<'a> {
    /// It is open. The address is the remote one of a dialled connection, else the local one.
    Opened(SocketAddr),
    /// It could not be opened. The text is the code; the id is gone.
    Failed(&'a str),
    /// Bytes from the remote.
    Data(&'a [u8]),
    /// The client may send so many more bytes.
    Credit(u32),
    /// It ended. The text is the code, empty for a clean end; the id is gone.
    Closed(&'a str),
    /// The listener accepted a connection.
    Accepted {
        /// The connection's own id.
        id: u32,
        /// The address of the remote.
        remote: SocketAddr,
    },
    /// A datagram arrived.
    Datagram {
        /// The address of the sender.
        source: SocketAddr,
        /// What it carries.
        payload: &'a [u8],
    },
}

impl<'a> ClientFrame<'a> {
    /// Reads a message: the socket's id and what is said about it.
    ///
    /// # Errors
    /// On anything that [`Self::encode`] does not make.
    pub fn decode(message: &'a [u8]) -> Result<(u32, Self), FrameError> {
        let mut rest = Rest(message);
        let op = rest.u8()?;
        let id = rest.u32()?;
        let frame = match op {
            DIAL => Self::Dial { port: rest.u16()?, host: text(rest.0)? },
            LISTEN => Self::Listen { port: rest.u16()?, backlog: rest.u16()?, host: text(rest.0)? },
            BIND => Self::Bind { port: rest.u16()?, host: text(rest.0)? },
            DATA => Self::Data(rest.0),
            CREDIT => Self::Credit(rest.last_u32()?),
            CLOSE => {
                rest.end()?;
                Self::Close
            }
            SEND => Self::Send { port: rest.u16()?, host: rest.short_text()?, payload: rest.0 },
            _ => return Err(FrameError::UnknownOp(op)),
        };
        Ok((id, frame))
    }

    /// The message for the socket `id`.
    ///
    /// # Errors
    /// [`FrameError::LongHost`], for a SEND.
    pub fn encode(&self, id: u32) -> Result<BytesMut, FrameError> {
        let mut message = BytesMut::new();
        match *self {
            Self::Dial { port, host } => {
                begin(&mut message, DIAL, id);
                message.put_u16(port);
                message.put_slice(host.as_bytes());
            }
            Self::Listen { port, backlog, host } => {
                begin(&mut message, LISTEN, id);
                message.put_u16(port);
                message.put_u16(backlog);
                message.put_slice(host.as_bytes());
            }
            Self::Bind { port, host } => {
                begin(&mut message, BIND, id);
                message.put_u16(port);
                message.put_slice(host.as_bytes());
            }
            Self::Data(bytes) => {
                begin(&mut message, DATA, id);
                message.put_slice(bytes);
            }
            Self::Credit(bytes) => {
                begin(&mut message, CREDIT, id);
                message.put_u32(bytes);
            }
            Self::Close => begin(&mut message, CLOSE, id),
            Self::Send { port, host, payload } => {
                let length = u8::try_from(host.len()).map_err(|_| FrameError::LongHost)?;
                begin(&mut message, SEND, id);
                message.put_u16(port);
                message.put_u8(length);
                message.put_slice(host.as_bytes());
                message.put_slice(payload);
            }
        }
        Ok(message)
    }
}

impl<'a> DaemonFrame<'a> {
    /// Reads a message: the socket's id and what is said about it.
    ///
    /// # Errors
    /// On anything that [`Self::encode`] does not make, except other spellings of an address.
    pub fn decode(message: &'a [u8]) -> Result<(u32, Self), FrameError> {
        let mut rest = Rest(message);
        let op = rest.u8()?;
        let id = rest.u32()?;
        let frame = match op {
            OPENED => {
                let port = rest.u16()?;
                Self::Opened(address(text(rest.0)?, port)?)
            }
            FAILED => Self::Failed(text(rest.0)?),
            DATA_IN => Self::Data(rest.0),
            CREDIT_BACK => Self::Credit(rest.last_u32()?),
            CLOSED => Self::Closed(text(rest.0)?),
            ACCEPTED => {
                let id = rest.u32()?;
                let port = rest.u16()?;
                Self::Accepted { id, remote: address(text(rest.0)?, port)? }
            }
            DATAGRAM => {
                let port = rest.u16()?;
                let source = address(rest.short_text()?, port)?;
                Self::Datagram { source, payload: rest.0 }
            }
            _ => return Err(FrameError::UnknownOp(op)),
        };
        Ok((id, frame))
    }

    /// The message for the socket `id`.
    #[must_use]
    pub fn encode(&self, id: u32) -> BytesMut {
        match *self {
            Self::Opened(address) => {
                let mut message = sized(OPENED, id, 2 + ADDRESS);
                message.put_u16(address.port());
                put_address(&mut message, address.ip());
                message
            }
            Self::Failed(code) => {
                let mut message = sized(FAILED, id, code.len());
                message.put_slice(code.as_bytes());
                message
            }
            Self::Data(bytes) => {
                let mut message = sized(DATA_IN, id, bytes.len());
                message.put_slice(bytes);
                message
            }
            Self::Credit(bytes) => {
                let mut message = sized(CREDIT_BACK, id, 4);
                message.put_u32(bytes);
                message
            }
            Self::Closed(code) => {
                let mut message = sized(CLOSED, id, code.len());
                message.put_slice(code.as_bytes());
                message
            }
            Self::Accepted { id: accepted, remote } => {
                let mut message = sized(ACCEPTED, id, 4 + 2 + ADDRESS);
                message.put_u32(accepted);
                message.put_u16(remote.port());
                put_address(&mut message, remote.ip());
                message
            }
            Self::Datagram { source, payload } => {
                let mut message = sized(DATAGRAM, id, 2 + 1 + ADDRESS + payload.len());
                message.put_u16(source.port());
                let length_at = message.len();
                message.put_u8(0);
                let length = put_address(&mut message, source.ip());
                message[length_at] = length;
                message.put_slice(payload);
                message
            }
        }
    }
}

/// Writes the header of a DATA frame to the client, behind which the bytes are read directly.
pub(super) fn begin_data(buffer: &mut BytesMut, id: u32) {
    begin(buffer, DATA_IN, id);
}

fn begin(message: &mut BytesMut, op: u8, id: u32) {
    message.put_u8(op);
    message.put_u32(id);
}

fn sized(op: u8, id: u32, rest: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(HEADER + rest);
    begin(&mut message, op, id);
    message
}

/// Writes an address as text and returns its length. A mapped IPv4 address is written as the IPv4 address it is.
fn put_address(message: &mut BytesMut, ip: IpAddr) -> u8 {
    let before = message.len();
    let written = write!(message, "{}", ip.to_canonical());
    debug_assert!(written.is_ok(), "a growing buffer has room for every address");
    u8::try_from(message.len() - before).unwrap_or(u8::MAX)
}

fn text(bytes: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| FrameError::NotText)
}

fn address(host: &str, port: u16) -> Result<SocketAddr, FrameError> {
    let ip: IpAddr = host.parse().map_err(|_| FrameError::NotAddress)?;
    Ok(SocketAddr::new(ip, port))
}

/// The bytes of a message that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_be_bytes)
    }

    fn last_u32(&mut self) -> Result<u32, FrameError> {
        let value = self.u32()?;
        self.end()?;
        Ok(value)
    }

    /// Reads a text after a byte with its length.
    fn short_text(&mut self) -> Result<&'a str, FrameError> {
        let length = usize::from(self.u8()?);
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameError::Short)?;
        self.0 = rest;
        text(taken)
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Long) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket_address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
    }

    fn assert_client_round_trip(id: u32, frame: ClientFrame<'_>) {
        let message = frame.encode(id).unwrap();

        assert_eq!(ClientFrame::decode(&message), Ok((id, frame)));
    }

    fn assert_daemon_round_trip(id: u32, frame: DaemonFrame<'_>) {
        let message = frame.encode(id);

        assert_eq!(DaemonFrame::decode(&message), Ok((id, frame)));
    }

    /// Whether `part` borrows from `whole` and is no copy.
    fn borrows(whole: &[u8], part: &[u8]) -> bool {
        part.is_empty()
            || (whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end)
    }

    proptest! {
        #[test]
        fn a_client_frame_decodes_to_itself(
            id: u32,
            port: u16,
            backlog: u16,
            credit: u32,
            host in ".{0,60}",
            bytes: Vec<u8>,
        ) {
            let host = host.as_str();
            assert_client_round_trip(id, ClientFrame::Dial { port, host });
            assert_client_round_trip(id, ClientFrame::Listen { port, backlog, host });
            assert_client_round_trip(id, ClientFrame::Bind { port, host });
            assert_client_round_trip(id, ClientFrame::Data(&bytes));
            assert_client_round_trip(id, ClientFrame::Credit(credit));
            assert_client_round_trip(id, ClientFrame::Close);
            assert_client_round_trip(id, ClientFrame::Send { port, host, payload: &bytes });
        }

        #[test]
        fn a_daemon_frame_decodes_to_itself(
            id: u32,
            accepted: u32,
            credit: u32,
            address in socket_address(),
            code in "[A-Z]{0,20}",
            bytes: Vec<u8>,
        ) {
            assert_daemon_round_trip(id, DaemonFrame::Opened(address));
            assert_daemon_round_trip(id, DaemonFrame::Failed(&code));
            assert_daemon_round_trip(id, DaemonFrame::Data(&bytes));
            assert_daemon_round_trip(id, DaemonFrame::Credit(credit));
            assert_daemon_round_trip(id, DaemonFrame::Closed(&code));
            assert_daemon_round_trip(id, DaemonFrame::Accepted { id: accepted, remote: address });
            assert_daemon_round_trip(id, DaemonFrame::Datagram { source: address, payload: &bytes });
        }

        #[test]
        fn any_bytes_are_refused_or_decode_to_what_encodes_to_them(op in 0_u8..26, tail: Vec<u8>) {
            let message = [&[op], tail.as_slice()].concat();

            if let Ok((id, frame)) = ClientFrame::decode(&message) {
                let again = frame.encode(id).unwrap();
                prop_assert_eq!(again.as_ref(), message.as_slice());
            }
            // An address may be written in many ways, so only its meaning is compared.
            if let Ok((id, frame)) = DaemonFrame::decode(&message) {
                let again = frame.encode(id);
                prop_assert!(DaemonFrame::decode(&again).is_ok());
            }
        }

        #[test]
        fn what_is_decoded_lies_in_the_message(op in 1_u8..8, tail in proptest::collection::vec(0_u8..4, 0..64)) {
            let message = [&[op], tail.as_slice()].concat();

            let inside = match ClientFrame::decode(&message) {
                Ok((_, ClientFrame::Dial { host, .. } | ClientFrame::Listen { host, .. } | ClientFrame::Bind { host, .. })) => {
                    borrows(&message, host.as_bytes())
                }
                Ok((_, ClientFrame::Data(bytes))) => borrows(&message, bytes),
                Ok((_, ClientFrame::Send { host, payload, .. })) => {
                    borrows(&message, host.as_bytes()) && borrows(&message, payload)
                }
                Ok((_, ClientFrame::Credit(_) | ClientFrame::Close)) | Err(_) => true,
            };

            prop_assert!(inside);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let dial = ClientFrame::Dial { port: 6881, host: "a.b" }.encode(7).unwrap();
        let send = ClientFrame::Send { port: 1, host: "::1", payload: b"hi" }.encode(0x0102_0304).unwrap();
        let accepted = DaemonFrame::Accepted { id: 1 << 31, remote: "1.2.3.4:5".parse().unwrap() }.encode(2);
        let datagram = DaemonFrame::Datagram { source: "[::ffff:1.2.3.4]:5".parse().unwrap(), payload: b"x" }.encode(9);

        assert_eq!(dial.as_ref(), b"\x01\0\0\0\x07\x1a\xe1a.b");
        assert_eq!(send.as_ref(), b"\x07\x01\x02\x03\x04\0\x01\x03::1hi");
        assert_eq!(accepted.as_ref(), b"\x16\0\0\0\x02\x80\0\0\0\0\x051.2.3.4");
        assert_eq!(datagram.as_ref(), b"\x17\0\0\0\x09\0\x05\x071.2.3.4x");
    }

    #[test]
    fn a_message_cut_anywhere_before_its_payload_is_too_short() {
        let message = ClientFrame::Send { port: 1, host: "host", payload: b"" }.encode(1).unwrap();

        for length in 0..message.len() {
            assert_eq!(ClientFrame::decode(&message[..length]), Err(FrameError::Short), "{length} bytes");
        }
    }

    #[test]
    fn trailing_bytes_are_refused_after_ops_of_fixed_length() {
        assert_eq!(ClientFrame::decode(b"\x06\0\0\0\x01!"), Err(FrameError::Long));
        assert_eq!(ClientFrame::decode(b"\x05\0\0\0\x01\0\0\0\x01!"), Err(FrameError::Long));
    }

    #[test]
    fn an_op_of_the_other_direction_is_unknown() {
        assert_eq!(ClientFrame::decode(b"\x13\0\0\0\x01"), Err(FrameError::UnknownOp(19)));
        assert_eq!(ClientFrame::decode(b"\0\0\0\0\x01"), Err(FrameError::UnknownOp(0)));
        assert_eq!(DaemonFrame::decode(b"\x04\0\0\0\x01"), Err(FrameError::UnknownOp(4)));
    }

    #[test]
    fn a_host_that_is_not_utf_8_is_refused() {
        assert_eq!(ClientFrame::decode(b"\x01\0\0\0\x01\0\x50\xff"), Err(FrameError::NotText));
    }

    #[test]
    fn a_host_too_long_for_its_length_byte_is_not_encoded() {
        let host = "h".repeat(256);

        assert_eq!(ClientFrame::Send { port: 1, host: &host, payload: b"" }.encode(1), Err(FrameError::LongHost));
    }
}
