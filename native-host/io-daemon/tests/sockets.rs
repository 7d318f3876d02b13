//! `/v1/sockets` over a real port, with real remotes on loopback.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use piecewise_io_daemon::config::{Config, Settings};
use piecewise_io_daemon::serve::{self, serve};
use piecewise_io_daemon::sockets::{ClientFrame, DaemonFrame, HEADER, MAX_DATA, MAX_MESSAGE, PROTOCOL, WINDOW};
use piecewise_io_daemon::token::Token;
use piecewise_io_daemon::{AppState, app, disk};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const TOKEN: &str = "a-token-of-the-tests";

/// Longer than any step takes. Only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(20);

const FIRST_ACCEPTED: u32 = 1 << 31;

/// As much credit as a test ever needs.
const PLENTY: u32 = 1 << 30;

/// A daemon on a port of its own.
struct Daemon {
    port: u16,
    state: AppState,
}

impl Daemon {
    async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Config::load(settings, None).unwrap();
        let state = AppState::new(Token::parse(TOKEN).unwrap(), port, config, disk::Limits::default());
        tokio::spawn(serve(listener, app(state.clone()), state.clone(), serve::Limits::default()));
        Self { port, state }
    }

    /// A WebSocket, or the status of the answer if the upgrade failed.
    async fn upgrade(&self, protocols: &str) -> Result<(Client, String), u16> {
        self.upgrade_with("origin", "https://page.example", protocols).await
    }

    /// The same, with one more header.
    async fn upgrade_with(&self, name: &'static str, value: &str, protocols: &str) -> Result<(Client, String), u16> {
        self.upgrade_at("/v1/sockets", name, value, protocols).await
    }

    /// The same, with a query.
    async fn upgrade_at(
        &self,
        target: &str,
        name: &'static str,
        value: &str,
        protocols: &str,
    ) -> Result<(Client, String), u16> {
        let mut request = format!("ws://127.0.0.1:{}{target}", self.port).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request.headers_mut().insert(name, value.parse().unwrap());
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match client_async(request, stream).await {
            Ok((socket, response)) => {
                let protocol = response.headers()["sec-websocket-protocol"].to_str().unwrap().to_owned();
                Ok((Client { socket }, protocol))
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A client whose connections are dialled from an address, or the status of the answer if there is none.
    async fn client_from(&self, from: &str) -> Result<Client, u16> {
        let protocols = format!("{PROTOCOL}, bearer.{TOKEN}");
        let target = format!("/v1/sockets?from={from}");
        let upgraded = self.upgrade_at(&target, "origin", "https://page.example", &protocols).await;
        upgraded.map(|(client, _)| client)
    }

    async fn client(&self) -> Client {
        self.upgrade(&format!("{PROTOCOL}, bearer.{TOKEN}")).await.unwrap_or_else(|status| panic!("{status}")).0
    }

    /// How many sockets are open, as the daemon reports it.
    async fn open_sockets(&self) -> u64 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let request = format!(
            "GET /v1/control/stats HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        within(stream.read_to_string(&mut response)).await.unwrap();
        let stats: serde_json::Value = serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap();
        stats["sockets"].as_u64().unwrap()
    }

    /// Waits until exactly `sockets` sockets are open.
    async fn until_open(&self, sockets: u64) {
        within(async { while self.open_sockets().await != sockets {} }).await;
    }
}

/// A client in the place of a page.
struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn send(&mut self, id: u32, frame: ClientFrame<'_>) {
        self.send_raw(frame.encode(id).unwrap().freeze()).await;
    }

    async fn send_raw(&mut self, message: Bytes) {
        self.socket.send(Message::Binary(message)).await.unwrap();
    }

    /// The next message.
    async fn next(&mut self) -> Bytes {
        match within(self.socket.next()).await {
            Some(Ok(Message::Binary(message))) => message,
            other => panic!("no frame came, but {other:?}"),
        }
    }

    async fn expect(&mut self, id: u32, frame: DaemonFrame<'_>) {
        let message = self.next().await;
        assert_eq!(DaemonFrame::decode(&message).unwrap(), (id, frame));
    }

    /// Expects the next frame to report that `id` is open. Returns the address.
    async fn opened(&mut self, id: u32) -> SocketAddr {
        let message = self.next().await;
        match DaemonFrame::decode(&message).unwrap() {
            (opened, DaemonFrame::Opened(address)) if opened == id => address,
            other => panic!("{other:?}"),
        }
    }

    async fn dial(&mut self, id: u32, remote: SocketAddr) {
        self.send(id, ClientFrame::Dial { port: remote.port(), host: &remote.ip().to_string() }).await;
        assert_eq!(self.opened(id).await, remote);
    }

    async fn listen(&mut self, id: u32, backlog: u16) -> SocketAddr {
        self.send(id, ClientFrame::Listen { port: 0, backlog, host: "127.0.0.1" }).await;
        self.opened(id).await
    }

    async fn bind(&mut self, id: u32) -> SocketAddr {
        self.send(id, ClientFrame::Bind { port: 0, host: "127.0.0.1" }).await;
        self.opened(id).await
    }

    /// Expects the next frame to report that `listener` accepted a connection. Returns the new id.
    async fn accepted(&mut self, listener: u32) -> u32 {
        let message = self.next().await;
        match DaemonFrame::decode(&message).unwrap() {
            (of, DaemonFrame::Accepted { id, .. }) if of == listener => id,
            other => panic!("{other:?}"),
        }
    }

    /// Reads DATA of `id` until there are `length` bytes of it.
    async fn data(&mut self, id: u32, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let message = self.next().await;
            match DaemonFrame::decode(&message).unwrap() {
                (of, DaemonFrame::Data(data)) if of == id => bytes.extend_from_slice(data),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bytes.len(), length);
        bytes
    }

    /// Returns when the daemon has read all that was sent, and answered it.
    async fn round_trip(&mut self) {
        self.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        match within(self.socket.next()).await {
            Some(Ok(Message::Pong(_))) => {}
            other => panic!("no pong came, but {other:?}"),
        }
    }

    /// The code and reason with which the daemon closes. Frames before that are skipped.
    async fn closed(&mut self) -> (CloseCode, String) {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => return (close.code, close.reason.to_string()),
                Some(Ok(Message::Binary(_) | Message::Pong(_))) => {}
                other => panic!("no close came, but {other:?}"),
            }
        }
    }

    async fn expect_violation(&mut self, reason: &str) {
        assert_eq!(self.closed().await, (CloseCode::Policy, reason.to_owned()));
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came in time")
}

/// A listening remote.
async fn remote() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    within(listener.accept()).await.unwrap().0
}

/// A client with one open connection, and its other end.
async fn connected(daemon: &Daemon) -> (Client, TcpStream) {
    let (listener, address) = remote().await;
    let mut client = daemon.client().await;
    client.dial(1, address).await;
    (client, accept(&listener).await)
}

/// Bytes that do not repeat.
fn numbered(length: usize) -> Vec<u8> {
    (0..).flat_map(u32::to_be_bytes).take(length).collect()
}

/// Reads until the stream from the remote has ended, in whatever way.
async fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = within(stream.read(&mut buffer)).await {
        bytes.extend_from_slice(&buffer[..length]);
    }
    bytes
}

#[tokio::test]
async fn a_dialled_connection_carries_bytes_both_ways() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;

    client.send(1, ClientFrame::Data(b"hello")).await;
    client.expect(1, DaemonFrame::Credit(5)).await;
    let mut heard = [0; 5];
    within(stream.read_exact(&mut heard)).await.unwrap();
    client.send(1, ClientFrame::Credit(PLENTY)).await;
    stream.write_all(b"world").await.unwrap();

    assert_eq!(&heard, b"hello");
    assert_eq!(client.data(1, 5).await, b"world");
}

#[tokio::test]
async fn a_name_is_dialled() {
    let daemon = Daemon::start().await;
    let (_listener, address) = remote().await;
    let mut client = daemon.client().await;

    client.send(1, ClientFrame::Dial { port: address.port(), host: "localhost" }).await;

    assert_eq!(client.opened(1).await, address);
}

// Only Linux has all addresses of 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_are_dialled_from_the_address_of_the_session() {
    let daemon = Daemon::start().await;
    let (listener, address) = remote().await;
    let mut client = daemon.client_from("127.0.0.9").await.unwrap();

    client.send(1, ClientFrame::Dial { port: address.port(), host: "localhost" }).await;
    let (_stream, near) = within(listener.accept()).await.unwrap();
    client.opened(1).await;
    client.send(2, ClientFrame::Dial { port: address.port(), host: "::1" }).await;

    assert_eq!(near.ip(), "127.0.0.9".parse::<IpAddr>().unwrap());
    client.expect(2, DaemonFrame::Failed("EAFNOSUPPORT")).await;
}

#[tokio::test]
async fn a_session_from_what_is_no_address_is_refused() {
    let daemon = Daemon::start().await;

    for from in ["", "localhost", "127.0.0.1:80"] {
        assert_eq!(daemon.client_from(from).await.err(), Some(400), "{from}");
    }
    assert!(daemon.client_from("::1").await.is_ok());
}

#[tokio::test]
async fn bytes_sent_before_the_dial_is_done_arrive() {
    let daemon = Daemon::start().await;
    let (listener, address) = remote().await;
    let mut client = daemon.client().await;

    client.send(1, ClientFrame::Dial { port: address.port(), host: "127.0.0.1" }).await;
    client.send(1, ClientFrame::Credit(PLENTY)).await;
    client.send(1, ClientFrame::Data(b"early")).await;

    let mut stream = accept(&listener).await;
    let mut heard = [0; 5];
    within(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"early");
    client.opened(1).await;
    client.expect(1, DaemonFrame::Credit(5)).await;
}

#[tokio::test]
async fn a_refused_dial_fails() {
    let daemon = Daemon::start().await;
    let (listener, address) = remote().await;
    drop(listener);
    let mut client = daemon.client().await;

    client.send(1, ClientFrame::Dial { port: address.port(), host: "127.0.0.1" }).await;

    client.expect(1, DaemonFrame::Failed("ECONNREFUSED")).await;
    daemon.until_open(0).await;
}

#[tokio::test]
async fn a_name_that_nobody_has_fails() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    for (id, host) in [(1, "nobody.invalid"), (2, "")] {
        client.send(id, ClientFrame::Dial { port: 80, host }).await;

        client.expect(id, DaemonFrame::Failed("ENOTFOUND")).await;
    }
}

#[tokio::test]
async fn fault_68_link_local_and_metadata_addresses_are_not_dialled() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    let hostile = ["169.254.169.254", "::ffff:169.254.1.1", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"];
    for (id, host) in (1..).zip(hostile) {
        client.send(id, ClientFrame::Dial { port: 80, host }).await;

        client.expect(id, DaemonFrame::Failed("EACCES")).await;
    }
}

#[tokio::test]
async fn fault_68_the_daemon_is_not_dialled_through_itself() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    for (id, host) in (1..).zip(["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"]) {
        client.send(id, ClientFrame::Dial { port: daemon.port, host }).await;

        client.expect(id, DaemonFrame::Failed("EACCES")).await;
    }
}

#[tokio::test]
async fn fault_68_no_socket_listens_in_the_place_of_the_daemon() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    let hosts =
        ["", "0.0.0.0", "127.0.0.1", "127.0.0.2", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "localhost"];
    for (id, host) in (1..).zip(hosts) {
        client.send(id, ClientFrame::Listen { port: daemon.port, backlog: 1, host }).await;

        client.expect(id, DaemonFrame::Failed("EACCES")).await;
    }
}

#[tokio::test]
async fn nothing_is_read_without_credit_and_never_more_than_it() {
    let daemon = Daemon::start().await;
    let (mut client, stream) = connected(&daemon).await;
    let written = Arc::new(AtomicUsize::new(0));
    let flood = tokio::spawn(flood(stream, Arc::clone(&written)));

    // The remote writes until it is blocked. Meanwhile the echo has many turns.
    let (mut echoes, mut other) = connected(&daemon).await;
    let mut before = 0;
    let mut still = 0;
    while still < 100 {
        echoes.send(1, ClientFrame::Data(b"x")).await;
        within(other.read_exact(&mut [0])).await.unwrap();
        echoes.expect(1, DaemonFrame::Credit(1)).await;
        let now = written.load(Ordering::Acquire);
        still = if now == before && now > 0 { still + 1 } else { 0 };
        before = now;
        assert!(now < 128 << 20, "no system holds that much: the daemon reads");
    }

    client.send(1, ClientFrame::Credit(10)).await;
    client.data(1, 10).await;
    client.send(1, ClientFrame::Credit(5)).await;
    client.data(1, 5).await;
    client.round_trip().await;
    flood.abort();
}

/// Writes forever and counts the bytes.
async fn flood(mut stream: TcpStream, written: Arc<AtomicUsize>) {
    let bytes = vec![7; MAX_DATA];
    while let Ok(length) = stream.write(&bytes).await {
        written.fetch_add(length, Ordering::AcqRel);
    }
}

#[tokio::test]
async fn frames_keep_to_the_longest_length_and_lose_no_bytes() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;
    let sent = numbered(6_000_000);
    let expected = sent.clone();
    tokio::spawn(async move { stream.write_all(&sent).await });

    client.send(1, ClientFrame::Credit(PLENTY)).await;
    let mut received = Vec::new();
    let code = loop {
        let message = client.next().await;
        match DaemonFrame::decode(&message).unwrap() {
            (1, DaemonFrame::Data(bytes)) => {
                assert!(bytes.len() <= MAX_DATA);
                received.extend_from_slice(bytes);
            }
            (1, DaemonFrame::Closed(code)) => break code.to_owned(),
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(code, "");
    assert!(received == expected);
}

#[tokio::test]
async fn a_large_upload_arrives_completely_within_the_window() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;
    let total = 8 << 20;
    let remote = tokio::spawn(async move {
        let mut bytes = vec![0; total];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    });
    let sent = numbered(total);

    let mut window = WINDOW;
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        while window == 0 {
            let message = client.next().await;
            match DaemonFrame::decode(&message).unwrap() {
                (1, DaemonFrame::Credit(bytes)) => window += bytes as usize,
                other => panic!("{other:?}"),
            }
        }
        let (now, later) = rest.split_at(rest.len().min(window).min(100_000));
        client.send(1, ClientFrame::Data(now)).await;
        window -= now.len();
        rest = later;
    }

    assert!(within(remote).await.unwrap() == sent);
}

#[tokio::test]
async fn without_a_remote_that_reads_there_is_no_credit_and_more_bytes_are_a_violation() {
    let daemon = Daemon::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut client = daemon.client().await;
    client.dial(1, listener.local_addr().unwrap()).await;
    let _stream = accept(&listener).await;
    let bytes = vec![0; WINDOW];

    // When the daemon closes, it has taken the whole window and not a byte less.
    let mut sent = 0_usize;
    let mut credited = 0_usize;
    let close = loop {
        let left = WINDOW + credited - sent;
        // One byte more than the window, once it is used up.
        let length = left.max(1);
        client.send(1, ClientFrame::Data(&bytes[..length])).await;
        sent += length;
        client.socket.send(Message::Ping(Bytes::new())).await.unwrap();
        let answer = loop {
            match within(client.socket.next()).await.unwrap().unwrap() {
                Message::Binary(message) => match DaemonFrame::decode(&message).unwrap() {
                    (1, DaemonFrame::Credit(bytes)) => credited += bytes as usize,
                    other => panic!("{other:?}"),
                },
                other => break other,
            }
        };
        if let Message::Close(close) = answer {
            break close.unwrap();
        }
        assert!(sent < 64 << 20, "no system holds that much");
    };

    assert_eq!(close.code, CloseCode::Policy);
    assert_eq!(close.reason.as_str(), "the data is beyond the window");
    assert!(sent > WINDOW + credited);
}

#[tokio::test]
async fn the_whole_window_may_be_used_at_once_but_no_more() {
    let daemon = Daemon::start().await;
    let (listener, address) = remote().await;
    let mut client = daemon.client().await;
    client.dial(1, address).await;
    client.dial(2, address).await;
    let _streams = (accept(&listener).await, accept(&listener).await);

    client.send(1, ClientFrame::Data(&vec![0; WINDOW])).await;
    client.send(2, ClientFrame::Data(&vec![0; WINDOW + 1])).await;

    client.expect_violation("the data is beyond the window").await;
}

#[tokio::test]
async fn a_remote_that_closes_its_half_is_closed_cleanly_after_its_bytes() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;
    stream.write_all(&vec![1; 200_000]).await.unwrap();
    stream.shutdown().await.unwrap();

    client.send(1, ClientFrame::Credit(PLENTY)).await;

    client.data(1, 200_000).await;
    client.expect(1, DaemonFrame::Closed("")).await;
    daemon.until_open(0).await;
}

#[tokio::test]
async fn a_reset_by_the_remote_is_reported() {
    let daemon = Daemon::start().await;
    let (mut client, stream) = connected(&daemon).await;
    client.send(1, ClientFrame::Credit(PLENTY)).await;
    client.round_trip().await;

    stream.set_zero_linger().unwrap();
    drop(stream);

    client.expect(1, DaemonFrame::Closed("ECONNRESET")).await;
}

#[tokio::test]
async fn a_reset_by_the_remote_is_noticed_by_writing_too() {
    let daemon = Daemon::start().await;
    let (mut client, stream) = connected(&daemon).await;
    stream.set_zero_linger().unwrap();
    drop(stream);

    let code = loop {
        client.send(1, ClientFrame::Data(b"anybody?")).await;
        let message = client.next().await;
        match DaemonFrame::decode(&message).unwrap() {
            (1, DaemonFrame::Credit(8)) => {}
            (1, DaemonFrame::Closed(code)) => break code.to_owned(),
            other => panic!("{other:?}"),
        }
    };

    assert!(["ECONNRESET", "EPIPE"].contains(&code.as_str()), "{code}");
}

#[tokio::test]
async fn bytes_sent_before_close_leave() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;

    client.send(1, ClientFrame::Data(&vec![9; 50_000])).await;
    client.send(1, ClientFrame::Close).await;

    assert_eq!(until_end(&mut stream).await, vec![9; 50_000]);
    daemon.until_open(0).await;
}

#[tokio::test]
async fn frames_for_an_id_that_is_gone_are_ignored() {
    let daemon = Daemon::start().await;
    let (mut client, _stream) = connected(&daemon).await;
    client.send(1, ClientFrame::Close).await;

    client.send(1, ClientFrame::Data(b"late")).await;
    client.send(1, ClientFrame::Credit(1)).await;
    client.send(1, ClientFrame::Send { port: 1, host: "127.0.0.1", payload: b"late" }).await;
    client.send(1, ClientFrame::Close).await;

    client.round_trip().await;
}

#[tokio::test]
async fn frames_of_several_sockets_take_turns() {
    assert_turns_are_taken().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_several_sockets_take_turns_on_several_threads() {
    assert_turns_are_taken().await;
}

/// Four remotes that send as much as they can get about the same share of the queue to the client.
async fn assert_turns_are_taken() {
    let daemon = Daemon::start().await;
    let (listener, address) = remote().await;
    let mut client = daemon.client().await;
    let ids = [1, 2, 3, 4];
    for id in ids {
        client.dial(id, address).await;
        tokio::spawn(flood(accept(&listener).await, Arc::default()));
    }

    for id in ids {
        client.send(id, ClientFrame::Credit(PLENTY)).await;
    }
    let mut bytes = [0_usize; 5];
    while bytes.iter().sum::<usize>() < 64 << 20 {
        let message = client.next().await;
        match DaemonFrame::decode(&message).unwrap() {
            (id, DaemonFrame::Data(data)) => bytes[id as usize] += data.len(),
            other => panic!("{other:?}"),
        }
    }

    for id in ids {
        let share = bytes[id as usize];
        assert!(share > 4 << 20, "socket {id} got {share} bytes of {bytes:?}");
    }
}

#[tokio::test]
async fn a_listener_accepts() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let address = client.listen(1, 8).await;

    let mut first = TcpStream::connect(address).await.unwrap();
    let message = client.next().await;
    let accepted = DaemonFrame::Accepted { id: FIRST_ACCEPTED, remote: first.local_addr().unwrap() };
    assert_eq!(DaemonFrame::decode(&message).unwrap(), (1, accepted));
    let _second = TcpStream::connect(address).await.unwrap();
    assert_eq!(client.accepted(1).await, FIRST_ACCEPTED + 1);

    client.send(FIRST_ACCEPTED, ClientFrame::Credit(PLENTY)).await;
    first.write_all(b"ping").await.unwrap();
    assert_eq!(client.data(FIRST_ACCEPTED, 4).await, b"ping");
    client.send(FIRST_ACCEPTED, ClientFrame::Data(b"pong")).await;
    let mut heard = [0; 4];
    within(first.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"pong");
}

#[tokio::test]
async fn accepted_connections_outlive_their_listener_and_its_port_does_not() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let address = client.listen(1, 8).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let id = client.accepted(1).await;

    client.send(1, ClientFrame::Close).await;
    client.send(id, ClientFrame::Data(b"still here")).await;

    let mut heard = [0; 10];
    within(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"still here");
    daemon.until_open(1).await;
    client.expect(id, DaemonFrame::Credit(10)).await;
    client.send(2, ClientFrame::Listen { port: address.port(), backlog: 1, host: "127.0.0.1" }).await;
    assert_eq!(client.opened(2).await, address);
}

#[tokio::test]
async fn a_full_backlog_closes_further_connections_at_once() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let address = client.listen(1, 1).await;
    let _waits = TcpStream::connect(address).await.unwrap();
    let first = client.accepted(1).await;

    let mut too_many = TcpStream::connect(address).await.unwrap();
    assert_eq!(until_end(&mut too_many).await, b"");
    client.round_trip().await;

    client.send(first, ClientFrame::Credit(1)).await;
    client.round_trip().await;
    let _taken = TcpStream::connect(address).await.unwrap();
    let second = client.accepted(1).await;
    client.send(second, ClientFrame::Close).await;
    client.round_trip().await;
    let _third = TcpStream::connect(address).await.unwrap();
    client.accepted(1).await;
}

#[tokio::test]
async fn a_backlog_out_of_range_fails() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    for (id, backlog) in [(1, 0), (2, 1_025)] {
        client.send(id, ClientFrame::Listen { port: 0, backlog, host: "127.0.0.1" }).await;

        client.expect(id, DaemonFrame::Failed("EINVAL")).await;
    }
}

#[tokio::test]
async fn a_port_in_use_fails() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let tcp = client.listen(1, 1).await;
    let udp = client.bind(2).await;

    client.send(3, ClientFrame::Listen { port: tcp.port(), backlog: 1, host: "127.0.0.1" }).await;
    client.expect(3, DaemonFrame::Failed("EADDRINUSE")).await;
    client.send(4, ClientFrame::Bind { port: udp.port(), host: "127.0.0.1" }).await;
    client.expect(4, DaemonFrame::Failed("EADDRINUSE")).await;
}

#[tokio::test]
async fn an_address_of_another_machine_fails() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    client.send(1, ClientFrame::Listen { port: 0, backlog: 1, host: "192.0.2.1" }).await;
    client.expect(1, DaemonFrame::Failed("EADDRNOTAVAIL")).await;
    client.send(2, ClientFrame::Bind { port: 0, host: "192.0.2.1" }).await;
    client.expect(2, DaemonFrame::Failed("EADDRNOTAVAIL")).await;
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let address = client.bind(1).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = peer.local_addr().unwrap().port();

    let mut buffer = [0; 100];
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "localhost"] {
        client.send(1, ClientFrame::Send { port, host, payload: host.as_bytes() }).await;
        let (length, source) = within(peer.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..length], source), (host.as_bytes(), address));
    }
    client.send(1, ClientFrame::Credit(PLENTY)).await;
    for payload in [b"".as_slice(), b"answer", &vec![5; 65_507]] {
        peer.send_to(payload, address).await.unwrap();
        client.expect(1, DaemonFrame::Datagram { source: peer.local_addr().unwrap(), payload }).await;
    }
}

#[tokio::test]
async fn a_port_of_both_families_reports_ipv4_addresses_as_ipv4() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    client.send(1, ClientFrame::Bind { port: 0, host: "::" }).await;
    let port = client.opened(1).await.port();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let source = peer.local_addr().unwrap();

    client.send(1, ClientFrame::Credit(PLENTY)).await;
    peer.send_to(b"4", (Ipv4Addr::LOCALHOST, port)).await.unwrap();

    client.expect(1, DaemonFrame::Datagram { source, payload: b"4" }).await;
    client.send(1, ClientFrame::Send { port: source.port(), host: "127.0.0.1", payload: b"4" }).await;
    let mut buffer = [0; 10];
    assert_eq!(within(peer.recv(&mut buffer)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_datagram_beyond_the_credit_is_dropped() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let address = client.bind(1).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let source = peer.local_addr().unwrap();

    client.send(1, ClientFrame::Credit(8)).await;
    client.round_trip().await;
    for payload in [b"five!".as_slice(), b"more", b"end"] {
        peer.send_to(payload, address).await.unwrap();
    }

    // 8 - 5 leaves room for three bytes, but not for four.
    client.expect(1, DaemonFrame::Datagram { source, payload: b"five!" }).await;
    client.expect(1, DaemonFrame::Datagram { source, payload: b"end" }).await;
}

#[tokio::test]
async fn fault_68_a_datagram_to_a_refused_address_is_dropped() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    client.bind(1).await;
    // A UDP port with the number of the daemon's own port, which is TCP.
    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, daemon.port)).await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = peer.local_addr().unwrap().port();

    client.send(1, ClientFrame::Send { port: daemon.port, host: "127.0.0.1", payload: b"no" }).await;
    client.send(1, ClientFrame::Send { port, host: "0.0.0.0", payload: b"no" }).await;
    client.send(1, ClientFrame::Send { port, host: "169.254.169.254", payload: b"no" }).await;
    client.send(1, ClientFrame::Send { port, host: "127.0.0.1", payload: b"yes" }).await;

    let mut buffer = [0; 10];
    let length = within(peer.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"yes");
    assert!(own.try_recv(&mut buffer).is_err());
}

#[tokio::test]
async fn fault_68_an_id_that_was_used_is_refused() {
    let daemon = Daemon::start().await;
    for reused in [5, 4, 0, FIRST_ACCEPTED, u32::MAX] {
        let mut client = daemon.client().await;
        client.bind(5).await;
        client.send(5, ClientFrame::Close).await;

        client.send(reused, ClientFrame::Bind { port: 0, host: "127.0.0.1" }).await;

        client.expect_violation("the id does not grow").await;
    }
}

#[tokio::test]
async fn an_id_whose_socket_failed_counts_as_used() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    client.send(1, ClientFrame::Dial { port: 80, host: "0.0.0.0" }).await;
    client.expect(1, DaemonFrame::Failed("EACCES")).await;

    client.send(1, ClientFrame::Bind { port: 0, host: "127.0.0.1" }).await;

    client.expect_violation("the id does not grow").await;
}

#[tokio::test]
async fn fault_68_an_oversize_message_closes_with_1009() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let (mut sink, mut stream) = client.socket.split();
    let mut message = vec![0; MAX_MESSAGE + 1];
    message[0] = 4;

    // Sending may fail in the middle, because the daemon reads only the head of the message.
    tokio::spawn(async move { sink.send(Message::Binary(message.into())).await });

    match within(stream.next()).await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(close.code, CloseCode::Size),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_longest_message_is_accepted() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    // No socket has this id, so the bytes are ignored.
    client.send(1, ClientFrame::Data(&vec![0; MAX_MESSAGE - HEADER])).await;

    client.round_trip().await;
}

#[tokio::test]
async fn a_message_that_is_not_of_the_protocol_closes_with_1008() {
    let daemon = Daemon::start().await;
    for (message, reason) in [
        (b"".as_slice(), "the frame is too short"),
        (b"\x06\0\0\0", "the frame is too short"),
        (b"\x06\0\0\0\x01!", "the frame is too long"),
        (b"\x08\0\0\0\x01", "the op 8 is unknown"),
        (b"\x01\0\0\0\x01\0\x50\xff", "the host is not UTF-8"),
    ] {
        let mut client = daemon.client().await;

        client.send_raw(Bytes::copy_from_slice(message)).await;

        client.expect_violation(reason).await;
    }
}

#[tokio::test]
async fn a_text_message_closes_with_1008() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;

    client.socket.send(Message::Text("hello".into())).await.unwrap();

    client.expect_violation("the message is not binary").await;
}

#[tokio::test]
async fn an_op_that_does_not_fit_the_socket_closes_with_1008() {
    let daemon = Daemon::start().await;
    for frame in [
        ClientFrame::Data(b"x"),
        ClientFrame::Credit(1),
        ClientFrame::Send { port: 1, host: "127.0.0.1", payload: b"" },
    ] {
        let mut client = daemon.client().await;
        client.listen(1, 1).await;

        client.send(1, frame).await;

        client.expect_violation("the op does not fit the socket").await;
    }
}

#[tokio::test]
async fn all_sockets_end_with_the_websocket() {
    let daemon = Daemon::start().await;
    for politely in [true, false] {
        let (mut client, mut stream) = connected(&daemon).await;
        let listening = client.listen(2, 1).await;
        let bound = client.bind(3).await;
        let mut waiting = TcpStream::connect(listening).await.unwrap();
        client.accepted(2).await;
        assert_eq!(daemon.open_sockets().await, 4);

        if politely {
            client.socket.close(None).await.unwrap();
        }
        drop(client);

        assert_eq!(until_end(&mut stream).await, b"");
        assert_eq!(until_end(&mut waiting).await, b"");
        daemon.until_open(0).await;
        within(async { while UdpSocket::bind(bound).await.is_err() {} }).await;
        within(async { while TcpListener::bind(listening).await.is_err() {} }).await;
    }
}

#[tokio::test]
async fn a_violation_ends_the_sockets_too() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;

    client.send_raw(Bytes::from_static(b"?")).await;

    client.expect_violation("the frame is too short").await;
    assert_eq!(until_end(&mut stream).await, b"");
    assert_eq!(daemon.open_sockets().await, 0);
}

#[tokio::test]
async fn there_are_1_024_sockets_and_no_more() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for id in 1..=1_024 {
        client.bind(id).await;
    }

    client.send(1_025, ClientFrame::Bind { port: 0, host: "127.0.0.1" }).await;
    client.expect(1_025, DaemonFrame::Failed("EMFILE")).await;
    client.send(7, ClientFrame::Close).await;
    client.bind(1_026).await;

    assert_eq!(daemon.open_sockets().await, 1_024);
}

#[tokio::test]
async fn there_are_16_websockets_and_no_more() {
    let daemon = Daemon::start().await;
    let protocols = format!("{PROTOCOL}, bearer.{TOKEN}");
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(daemon.client().await);
    }

    assert_eq!(daemon.upgrade(&protocols).await.err(), Some(503));
    drop(clients.pop());
    within(async { while daemon.upgrade(&protocols).await.is_err() {} }).await;
}

#[tokio::test]
async fn only_the_protocol_is_answered() {
    let daemon = Daemon::start().await;

    let (_client, protocol) = daemon.upgrade(&format!("bearer.{TOKEN}, {PROTOCOL}")).await.ok().unwrap();

    assert_eq!(protocol, PROTOCOL);
}

#[tokio::test]
async fn a_client_that_does_not_offer_the_protocol_is_refused() {
    let daemon = Daemon::start().await;

    assert_eq!(daemon.upgrade(&format!("bearer.{TOKEN}, other")).await.err(), Some(400));
}

#[tokio::test]
async fn fault_68_an_upgrade_without_the_token_is_refused() {
    let daemon = Daemon::start().await;

    for protocols in [PROTOCOL.to_owned(), format!("{PROTOCOL}, bearer."), format!("{PROTOCOL}, bearer.{TOKEN}x")] {
        assert_eq!(daemon.upgrade(&protocols).await.err(), Some(401), "{protocols}");
    }
    let authorization = format!("Bearer {TOKEN}");
    assert!(daemon.upgrade_with("authorization", &authorization, PROTOCOL).await.is_ok());
}

#[tokio::test]
async fn fault_68_an_upgrade_from_a_foreign_origin_is_refused() {
    let allowed = "https://page.example";
    let settings = Settings { allow_origins: Some(vec![allowed.to_owned()]), ..Settings::default() };
    let daemon = Daemon::start_with(settings).await;
    let protocols = format!("{PROTOCOL}, bearer.{TOKEN}");

    for foreign in ["https://evil.example", "null", "https://page.example.evil.example"] {
        assert_eq!(daemon.upgrade_with("origin", foreign, &protocols).await.err(), Some(403), "{foreign}");
    }
    assert!(daemon.upgrade_with("origin", allowed, &protocols).await.is_ok());
}

#[tokio::test]
async fn an_upgrade_for_another_host_is_refused() {
    let daemon = Daemon::start().await;
    let protocols = format!("{PROTOCOL}, bearer.{TOKEN}");

    assert_eq!(daemon.upgrade_with("host", "evil.example", &protocols).await.err(), Some(403));
}

#[tokio::test]
async fn the_websocket_closes_when_the_daemon_ends() {
    let daemon = Daemon::start().await;
    let (mut client, mut stream) = connected(&daemon).await;

    daemon.state.shutdown().cancel();

    assert_eq!(client.closed().await.0, CloseCode::Away);
    assert_eq!(until_end(&mut stream).await, b"");
}

/// Counts panics in the code of the sockets, which a task would hide.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.location().is_some_and(|location| location.file().contains("src/sockets")) {
                PANICS.fetch_add(1, Ordering::AcqRel);
            }
            default(info);
        }));
    });
}

/// Mostly valid messages about few ids, with ports that lead to `echo` or nowhere. Some messages are damaged.
fn message(echo: u16) -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![8 => 1_u32..40, 1 => FIRST_ACCEPTED..FIRST_ACCEPTED + 8, 1 => any::<u32>()];
    let port = prop_oneof![Just(0), Just(1), Just(echo)];
    let host = prop_oneof![
        4 => Just("127.0.0.1".to_owned()),
        1 => Just("::1".to_owned()),
        1 => Just("localhost".to_owned()),
        1 => Just("169.254.169.254".to_owned()),
        1 => Just("127.0.0.1\0".to_owned()),
        1 => Just(String::new()),
    ];
    let bytes = (any::<u8>(), 0_usize..3_000).prop_map(|(byte, length)| vec![byte; length]);
    let credit = prop_oneof![3 => 0_u32..100_000, 1 => any::<u32>()];
    let valid = (id, 0..7, port, host, bytes, credit).prop_map(|(id, op, port, host, bytes, credit)| {
        let host = host.as_str();
        let frame = match op {
            0 => ClientFrame::Dial { port, host },
            // Only ports that no other program on the machine is likely to use.
            1 => ClientFrame::Listen { port: 0, backlog: u16::try_from(credit % 2_000).unwrap(), host },
            2 => ClientFrame::Bind { port: 0, host },
            3 => ClientFrame::Data(&bytes),
            4 => ClientFrame::Credit(credit),
            5 => ClientFrame::Close,
            _ => ClientFrame::Send { port, host, payload: &bytes },
        };
        frame.encode(id).unwrap().to_vec()
    });
    let cut = (valid.clone(), any::<proptest::sample::Index>()).prop_map(|(mut message, at)| {
        message.truncate(at.index(message.len()));
        message
    });
    let unknown = (8_u8.., any::<Vec<u8>>()).prop_map(|(op, rest)| [&[op], rest.as_slice()].concat());
    prop_oneof![60 => valid, 1 => cut, 1 => unknown]
}

#[tokio::test]
async fn any_messages_leave_the_session_alive_or_closed_with_a_reason() {
    count_panics();
    let daemon = Daemon::start().await;
    let (echo, address) = remote().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[68; 32]);
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    let script = proptest::collection::vec(message(address.port()), 1..100);

    let mut ends = HashSet::new();
    for _ in 0..100 {
        let messages = script.new_tree(&mut runner).unwrap().current();
        let client = daemon.client().await;
        let (mut sink, mut stream) = client.socket.split();
        let sending = async move {
            // The daemon may have closed before everything is sent.
            for message in messages {
                if sink.send(Message::Binary(message.into())).await.is_err() {
                    return sink;
                }
            }
            let _ = sink.send(Message::Ping(Bytes::from_static(b"alive?"))).await;
            sink
        };
        let ending = async {
            loop {
                match stream.next().await {
                    Some(Ok(Message::Binary(message))) => {
                        DaemonFrame::decode(&message).unwrap();
                    }
                    Some(Ok(Message::Pong(_))) => return "alive",
                    Some(Ok(Message::Close(Some(close)))) if close.code == CloseCode::Policy => return "closed",
                    other => panic!("{other:?}"),
                }
            }
        };
        ends.insert(within(async { tokio::join!(sending, ending).1 }).await);
    }

    daemon.until_open(0).await;
    assert_eq!(PANICS.load(Ordering::Acquire), 0);
    assert_eq!(ends, HashSet::from(["alive", "closed"]));
}
