//! A TCP connection that a client dialled or that a listener accepted.
//!
//! One task reads the connection while there is credit, and writes what the system did not take at once. If nothing
//! waits, which is nearly always so, the session writes directly to the system, so a frame from the client costs no
//! hand-over to a task. Both write under one lock, which is held for a system call that does not block, never across an
//! await.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::{Buf, BytesMut};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::address;
use super::credit::{Credit, WINDOW, Window};
use super::ended::{Code, Ended};
use super::frame::{DaemonFrame, MAX_DATA};
use super::limits::Limits;
use super::queue::{Gone, Queue};
use crate::mutex::lock;

/// One connection, from its DIAL or ACCEPTED frame on.
pub(super) struct Connection {
    /// Not set while the connection is being dialled.
    stream: OnceLock<TcpStream>,
    /// Bytes that may be read for the client.
    pub(super) credit: Credit,
    outbound: Mutex<Outbound>,
    /// Notified when bytes begin to wait, and when writing failed.
    waiting: Notify,
}

/// The bytes on their way to the remote.
struct Outbound {
    window: Window,
    /// Bytes that the system did not take yet. The window bounds them.
    bytes: BytesMut,
    /// Why writing ended.
    failed: Option<Code>,
}

/// The error when the client has sent more than its window allowed.
pub(super) struct BeyondWindow;

impl Connection {
    /// A connection that is being dialled.
    pub(super) fn new() -> Self {
        Self {
            stream: OnceLock::new(),
            credit: Credit::default(),
            outbound: Mutex::new(Outbound { window: Window::new(WINDOW), bytes: BytesMut::new(), failed: None }),
            waiting: Notify::new(),
        }
    }

    /// A connection over a stream that is open.
    pub(super) fn over(stream: TcpStream) -> Self {
        Self { stream: OnceLock::from(stream), ..Self::new() }
    }

    /// Sends `bytes` to the remote. Bytes that the system does not take at once wait, in order. Returns how many it
    /// took; the client gets credit for those.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, BeyondWindow> {
        let mut outbound = lock(&self.outbound);
        if !outbound.window.take(bytes.len()) {
            return Err(BeyondWindow);
        }
        let mut taken = 0;
        if outbound.bytes.is_empty()
            && outbound.failed.is_none()
            && let Some(stream) = self.stream.get()
        {
            let outcome = write_some(stream, bytes);
            taken = outcome.taken;
            outbound.failed = outcome.failed;
            outbound.window.give_back(taken);
        }
        if taken < bytes.len() {
            outbound.bytes.extend_from_slice(&bytes[taken..]);
            self.waiting.notify_one();
        }
        Ok(taken)
    }

    /// Sends the bytes that wait, as far as the system takes them now. Returns how many it took, and whether more wait.
    /// Fails if writing has ended.
    pub(super) fn write_waiting(&self) -> Result<(usize, bool), Code> {
        let mut outbound = lock(&self.outbound);
        if let Some(code) = outbound.failed {
            return Err(code);
        }
        let Some(stream) = self.stream.get() else {
            return Ok((0, false));
        };
        let outcome = write_some(stream, &outbound.bytes);
        outbound.failed = outcome.failed;
        outbound.window.give_back(outcome.taken);
        outbound.bytes.advance(outcome.taken);
        let more = !outbound.bytes.is_empty();
        if !more {
            // Without bytes that wait, a connection keeps no memory.
            outbound.bytes = BytesMut::new();
        }
        match outcome.failed {
            Some(code) => Err(code),
            None => Ok((outcome.taken, more)),
        }
    }

    /// Carries bytes both ways until the connection ends, and returns the reason.
    async fn carry(&self, id: u32, stream: &TcpStream, queue: &Queue) -> Result<Code, Gone> {
        tokio::select! {
            ended = self.carry_in(id, stream, queue) => ended,
            ended = self.carry_out(id, stream, queue) => ended,
        }
    }

    /// Reads for the client, never more than it granted, and only when there is a place in the queue.
    async fn carry_in(&self, id: u32, stream: &TcpStream, queue: &Queue) -> Result<Code, Gone> {
        loop {
            self.credit.wait().await;
            if let Err(error) = stream.readable().await {
                return Ok(address::code(&error));
            }
            let place = queue.place().await?;
            let limit = usize::try_from(self.credit.left()).map_or(MAX_DATA, |left| left.min(MAX_DATA));
            match place.data(id, limit, |buffer| stream.try_read_buf(buffer)) {
                Ok(0) => return Ok(""),
                Ok(length) => self.credit.spend(length),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Ok(address::code(&error)),
            }
        }
    }

    /// Writes the bytes that wait, and sends the client credit for them.
    async fn carry_out(&self, id: u32, stream: &TcpStream, queue: &Queue) -> Result<Code, Gone> {
        loop {
            self.waiting.notified().await;
            loop {
                if let Err(error) = stream.writable().await {
                    return Ok(address::code(&error));
                }
                let (taken, more) = match self.write_waiting() {
                    Ok(written) => written,
                    Err(code) => return Ok(code),
                };
                if let Ok(credit @ 1..) = u32::try_from(taken) {
                    queue.send(id, &DaemonFrame::Credit(credit)).await?;
                }
                if !more {
                    break;
                }
            }
        }
    }
}

/// Dials the connection `id` and runs it to its end.
pub(super) async fn dial(
    queue: Queue,
    limits: Limits,
    id: u32,
    connection: Arc<Connection>,
    host: String,
    port: u16,
) -> Result<Ended, Gone> {
    let deadline = Instant::now() + limits.dial;
    let connecting = connect(&host, port, limits, deadline);
    let dialled = timeout_at(deadline, connecting).await.unwrap_or(Err("ETIMEDOUT"));
    match dialled {
        Ok((stream, remote)) => {
            let stream = connection.stream.get_or_init(|| stream);
            queue.send(id, &DaemonFrame::Opened(remote)).await?;
            run(&queue, id, &connection, stream).await
        }
        Err(code) => Ok(Ended::Failed(code)),
    }
}

/// Runs the connection `id`, which `listener` accepted, to its end.
pub(super) async fn accepted(
    queue: Queue,
    listener: u32,
    id: u32,
    connection: Arc<Connection>,
    remote: SocketAddr,
) -> Result<Ended, Gone> {
    queue.send(listener, &DaemonFrame::Accepted { id, remote }).await?;
    match connection.stream.get() {
        Some(stream) => run(&queue, id, &connection, stream).await,
        None => Ok(Ended::Closed("")),
    }
}

async fn run(queue: &Queue, id: u32, connection: &Connection, stream: &TcpStream) -> Result<Ended, Gone> {
    let code = connection.carry(id, stream, queue).await?;
    // The remote may still read if it closed only its half.
    let _ = connection.write_waiting();
    Ok(Ended::Closed(code))
}

/// Tries the addresses of `host` one after the other, each with its share of the time that is left.
async fn connect(host: &str, port: u16, limits: Limits, deadline: Instant) -> Result<(TcpStream, SocketAddr), Code> {
    let Limits { from, own_port, .. } = limits;
    let mut targets = address::targets(host, port, own_port).await?;
    targets.retain(|target| from.is_none_or(|from| from.is_ipv4() == target.is_ipv4()));
    let mut last = "EAFNOSUPPORT";
    for (target, to_try) in targets.iter().zip((1..=targets.len()).rev()) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(to_try).unwrap_or(u32::MAX);
        match timeout_at(now + share, connect_from(from, *target)).await {
            Ok(Ok(stream)) => return prepare(&stream).map(|()| (stream, *target)),
            Ok(Err(error)) => last = address::code(&error),
            Err(_) => last = "ETIMEDOUT",
        }
    }
    Err(last)
}

async fn connect_from(from: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(target).await };
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(target).await
}

/// Lets small frames, such as requests, leave at once.
pub(super) fn prepare(stream: &TcpStream) -> Result<(), Code> {
    stream.set_nodelay(true).map_err(|error| address::code(&error))
}

/// How much was written.
struct Written {
    taken: usize,
    failed: Option<Code>,
}

/// Writes until the system takes no more bytes.
fn write_some(stream: &TcpStream, bytes: &[u8]) -> Written {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.try_write(&bytes[taken..]) {
            Ok(length) => taken += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_passing(&error) => break,
            Err(error) => return Written { taken, failed: Some(address::code(&error)) },
        }
    }
    Written { taken, failed: None }
}

/// Whether an operation has to be tried again once the system reports that it is ready.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    const OWN_PORT: u16 = 1;

    async fn dialled(host: &str, port: u16, within: Duration) -> Result<(TcpStream, SocketAddr), Code> {
        connect(host, port, Limits::new(OWN_PORT), Instant::now() + within).await
    }

    // On other systems a listener with a full backlog refuses.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dial_that_nobody_answers_times_out() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();

        let outcome = dialled("127.0.0.1", address.port(), Duration::from_millis(50)).await;

        assert_eq!(outcome.unwrap_err(), "ETIMEDOUT");
    }

    #[tokio::test]
    async fn a_dialled_connection_sends_small_frames_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();

        let (stream, remote) = dialled("localhost", address.port(), Duration::from_secs(10)).await.unwrap();

        assert!(stream.nodelay().unwrap());
        assert_eq!(remote, address);
    }

    #[test]
    fn what_waits_for_a_dial_is_bounded_by_the_window() {
        let connection = Connection::new();

        assert!(matches!(connection.write(&vec![0; WINDOW]), Ok(0)));
        assert!(connection.write(&[0]).is_err());
        assert_eq!(lock(&connection.outbound).bytes.len(), WINDOW);
    }

    #[tokio::test]
    async fn the_window_grows_by_what_the_system_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _remote = listener.accept().await.unwrap();
        let connection = Connection::over(stream);

        // More than the system has room for, so that some bytes wait in the end.
        let mut waits = false;
        while !waits {
            let Ok(taken) = connection.write(&[0; 4_096]) else { panic!("the window does not grow again") };
            waits = taken < 4_096;
        }

        let waiting = lock(&connection.outbound).bytes.len();
        assert!((1..=4_096).contains(&waiting));
        let rest = WINDOW - waiting;
        assert!(matches!(connection.write(&vec![0; rest]), Ok(0)));
        assert!(connection.write(&[0]).is_err());
    }
}
