//! One WebSocket's life: frames come in, sockets open, frames go out, and in the end everything is gone.
//!
//! The session's own task reads and writes the WebSocket. Every socket has a task, which takes itself out of the table
//! when it is done. The table is locked for moments only, never across an await.

use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tungstenite::error::CapacityError;

use super::ended::Ended;
use super::frame::{ClientFrame, DaemonFrame, FrameError};
use super::limits::Limits;
use super::queue::{Frames, Gone, Queue, queue};
use super::tcp::Connection;
use super::udp::Port;
use super::{address, listener, tcp, udp};
use crate::counters::Counters;
use crate::mutex::lock;

/// The first id of an accepted connection; a client's own are below.
const FIRST_ACCEPTED: u32 = 1 << 31;

/// How long a client may take to see why its WebSocket closes, before the connection breaks off under it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Lookups at once for datagrams to names, as those of trackers; a datagram that finds none free is dropped.
const SEND_LOOKUPS: usize = 16;

/// Connections that are owed credit before it is paid, though more frames are there to be read.
const MAX_OWED: usize = 64;

/// What all tasks of one WebSocket share.
struct Session {
    limits: Limits,
    queue: Queue,
    table: Mutex<Table>,
    send_lookups: Arc<Semaphore>,
    /// The places for sockets of all sessions. A socket's task holds one for as long as its descriptor may be open.
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

struct Table {
    entries: HashMap<u32, Entry>,
    /// The greatest id the client used.
    last: u32,
    /// The id of the next accepted connection; none is left after 2^31 of them.
    next_accepted: Option<u32>,
    /// Nothing opens any more.
    ended: bool,
}

/// An open socket, or one that is opening.
struct Entry {
    socket: Socket,
    task: JoinHandle<()>,
    /// The place among those that an accepted connection holds until the client takes it.
    place: Option<OwnedSemaphorePermit>,
}

enum Socket {
    Connection(Arc<Connection>),
    Listener,
    Port(Arc<Port>),
}

/// How a client broke the rules. The text is the reason that the WebSocket closes with.
#[derive(Debug, Error, PartialEq, Eq)]
enum Violation {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the id does not grow")]
    Id,
    #[error("the data is beyond the window")]
    Window,
    #[error("the op does not fit the socket")]
    Kind,
    #[error("the message is not binary")]
    Text,
}

/// Why a session ends.
enum End {
    /// The client left, or the connection broke.
    Gone,
    /// The daemon closes it and says why.
    Close(u16, String),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Close(close_code::POLICY, violation.to_string())
    }
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Credit for bytes that the system took at once, which the client has not been told of.
type Owed = Vec<(u32, u32)>;

/// Serves one WebSocket until the client leaves, breaks the rules, or `shutdown` is cancelled. All its sockets have ended
/// then. Each takes one of `places`, which all sessions share, and is counted in `counters.sockets` while it is open.
pub async fn run(
    socket: WebSocket,
    limits: Limits,
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    let (queue, frames) = queue(limits.queue);
    let session = Arc::new(Session {
        limits,
        queue,
        table: Mutex::new(Table {
            entries: HashMap::new(),
            last: 0,
            next_accepted: Some(FIRST_ACCEPTED),
            ended: false,
        }),
        send_lookups: Arc::new(Semaphore::new(SEND_LOOKUPS)),
        places,
        counters,
    });
    // Also when this future is dropped half way.
    let ending = EndOnDrop(Arc::clone(&session));
    let (mut sink, mut messages) = socket.split();
    let end = tokio::select! {
        end = read(&session, &mut messages) => end,
        end = write(&mut sink, frames) => end,
        () = shutdown.cancelled() => End::Close(close_code::AWAY, "the daemon ends".to_owned()),
    };
    drop(ending);
    if let End::Close(code, reason) = end {
        tracing::debug!(code, reason, "a WebSocket is closed");
        let farewell = say_farewell(&mut sink, &mut messages, code, reason);
        // Whoever does not listen in time does not hear it.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

struct EndOnDrop(Arc<Session>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Handles messages one after the other. Credit that is owed is paid when there is nothing to read just now, so that a
/// burst of small frames is answered by one.
async fn read(session: &Arc<Session>, messages: &mut SplitStream<WebSocket>) -> End {
    let mut owed = Owed::new();
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next(), if owed.len() < MAX_OWED => message,
            () = std::future::ready(()), if !owed.is_empty() => {
                if session.pay(&mut owed).await.is_err() {
                    return End::Gone;
                }
                continue;
            }
        };
        let handled = match message {
            Some(Ok(Message::Binary(message))) => session.handle(&message, &mut owed).await,
            Some(Ok(Message::Text(_))) => Err(Violation::Text.into()),
            // Pings are answered, and a close confirmed, by reading on.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => Ok(()),
            Some(Err(error)) => Err(end_of(error)),
            None => Err(End::Gone),
        };
        if let Err(end) = handled {
            return end;
        }
    }
}

/// Sends frames as they come, and flushes when there are none. Ends when the WebSocket does not take any more.
async fn write(sink: &mut SplitSink<WebSocket, Message>, mut frames: Frames) -> End {
    // The WebSocket copies a message into its own buffer, and then this handle gets the frame's back. The sink does so with
    // one message when it is given the next, or is flushed.
    let mut held = Bytes::new();
    while let Some(first) = frames.next().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            let handle = frame.clone();
            if sink.feed(Message::Binary(frame)).await.is_err() {
                return End::Gone;
            }
            frames.take_back(mem::replace(&mut held, handle));
            next = frames.next_now();
        }
        if sink.flush().await.is_err() {
            return End::Gone;
        }
        frames.take_back(mem::take(&mut held));
    }
    End::Gone
}

/// What follows from an error of the WebSocket itself. axum hands on those of the library below it, whose version here has
/// to be axum's: of another one no error would be known, and an oversize message would not be answered.
fn end_of(error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
            End::Close(close_code::SIZE, "the message is too long".to_owned())
        }
        Some(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            End::Gone
        }
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
            End::Close(close_code::PROTOCOL, "that is no WebSocket frame".to_owned())
        }
        _ => End::Gone,
    }
}

/// Says why, and then takes in what the client had under way: to close on unread bytes is to reset the connection, and
/// that would overtake the reason.
async fn say_farewell(
    sink: &mut SplitSink<WebSocket, Message>,
    messages: &mut SplitStream<WebSocket>,
    code: u16,
    reason: String,
) {
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if sink.send(close).await.is_err() {
        return;
    }
    while let Some(Ok(_)) = messages.next().await {}
    if code == close_code::SIZE || code == close_code::PROTOCOL {
        // After an error nothing more can be read, so only time lets the client hear of it.
        tokio::time::sleep(FAREWELL).await;
    }
}

impl Session {
    /// Does what one message asks for.
    async fn handle(self: &Arc<Self>, message: &[u8], owed: &mut Owed) -> Result<(), End> {
        let (id, frame) = ClientFrame::decode(message).map_err(Violation::from)?;
        match frame {
            ClientFrame::Dial { port, host } => {
                let connection = Arc::new(Connection::new());
                let opened = Arc::clone(&connection);
                let life = tcp::dial(self.queue.clone(), self.limits, id, opened, host.to_owned(), port);
                self.open(id, Socket::Connection(connection), life).await
            }
            ClientFrame::Listen { port, backlog, host } => {
                let session = Arc::clone(self);
                let accepted = move |stream, remote, place| session.accepted(id, stream, remote, place);
                let place = listener::Place { host: host.to_owned(), port, backlog, own_port: self.limits.own_port };
                let life = listener::listen(self.queue.clone(), id, place, accepted);
                self.open(id, Socket::Listener, life).await
            }
            ClientFrame::Bind { port: number, host } => {
                let port = Arc::new(Port::default());
                let life = udp::bind(self.queue.clone(), id, Arc::clone(&port), host.to_owned(), number);
                self.open(id, Socket::Port(port), life).await
            }
            ClientFrame::Data(bytes) => {
                self.data(id, bytes, owed)?;
                Ok(())
            }
            ClientFrame::Credit(bytes) => {
                self.credit(id, bytes)?;
                Ok(())
            }
            ClientFrame::Close => {
                self.close(id).await;
                Ok(())
            }
            ClientFrame::Send { port, host, payload } => {
                self.send(id, host, port, payload)?;
                Ok(())
            }
        }
    }

    /// Starts `life` as the life of the socket `id`.
    async fn open(
        self: &Arc<Self>,
        id: u32,
        socket: Socket,
        life: impl Future<Output = Result<Ended, Gone>> + Send + 'static,
    ) -> Result<(), End> {
        if self.try_open(id, socket, life)? {
            return Ok(());
        }
        self.queue.send(id, &DaemonFrame::Failed("EMFILE")).await?;
        Ok(())
    }

    /// The same, unless there are too many sockets: then it says `false`.
    fn try_open(
        self: &Arc<Self>,
        id: u32,
        socket: Socket,
        life: impl Future<Output = Result<Ended, Gone>> + Send + 'static,
    ) -> Result<bool, Violation> {
        let mut table = lock(&self.table);
        if id <= table.last || id >= FIRST_ACCEPTED {
            return Err(Violation::Id);
        }
        table.last = id;
        let Some(descriptor) = self.descriptor(&table) else {
            return Ok(false);
        };
        let task = self.spawn(id, life, descriptor);
        self.start(&mut table, id, Entry { socket, task, place: None });
        Ok(true)
    }

    /// Takes up a connection that `listener` accepted, unless there are too many sockets: then it is closed.
    fn accepted(self: &Arc<Self>, listener: u32, stream: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) {
        let mut table = lock(&self.table);
        if table.ended {
            return;
        }
        let (Some(id), Some(descriptor)) = (table.next_accepted, self.descriptor(&table)) else {
            return;
        };
        table.next_accepted = id.checked_add(1);
        let connection = Arc::new(Connection::over(stream));
        let life = tcp::accepted(self.queue.clone(), listener, id, Arc::clone(&connection), remote);
        let task = self.spawn(id, life, descriptor);
        self.start(&mut table, id, Entry { socket: Socket::Connection(connection), task, place: Some(place) });
    }

    /// A place for one more socket; `None` if this session or all together have too many.
    fn descriptor(&self, table: &Table) -> Option<OwnedSemaphorePermit> {
        let has_room = table.entries.len() < self.limits.sockets;
        has_room.then(|| Arc::clone(&self.places).try_acquire_owned().ok())?
    }

    /// Starts the life of a socket, whose end the client is told. Its place is free again after its descriptor, also when
    /// the task is aborted.
    fn spawn(
        self: &Arc<Self>,
        id: u32,
        life: impl Future<Output = Result<Ended, Gone>> + Send + 'static,
        descriptor: OwnedSemaphorePermit,
    ) -> JoinHandle<()> {
        let session = Arc::clone(self);
        tokio::spawn(async move {
            match life.await {
                Ok(Ended::Failed(code)) => session.finish(id, &DaemonFrame::Failed(code)).await,
                Ok(Ended::Closed(code)) => session.finish(id, &DaemonFrame::Closed(code)).await,
                Err(Gone) => {}
            }
            drop(descriptor);
        })
    }

    /// Enters a socket whose task was started under the same lock, so that it cannot be done before it is entered.
    fn start(&self, table: &mut Table, id: u32, entry: Entry) {
        table.entries.insert(id, entry);
        self.counters.sockets.add(1);
    }

    fn data(&self, id: u32, bytes: &[u8], owed: &mut Owed) -> Result<(), Violation> {
        let connection = match lock(&self.table).entries.get(&id).map(|entry| &entry.socket) {
            Some(Socket::Connection(connection)) => Arc::clone(connection),
            Some(Socket::Listener | Socket::Port(_)) => return Err(Violation::Kind),
            None => return Ok(()),
        };
        let taken = connection.write(bytes).map_err(|_| Violation::Window)?;
        // A window's worth at most, so it is no less in 32 bits.
        if let Ok(taken @ 1..) = u32::try_from(taken) {
            match owed.last_mut() {
                Some((last, bytes)) if *last == id => *bytes += taken,
                _ => owed.push((id, taken)),
            }
        }
        Ok(())
    }

    fn credit(&self, id: u32, bytes: u32) -> Result<(), Violation> {
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.get_mut(&id) else {
            return Ok(());
        };
        match &entry.socket {
            Socket::Connection(connection) => connection.credit.grant(bytes),
            Socket::Port(port) => port.credit.grant(bytes),
            Socket::Listener => return Err(Violation::Kind),
        }
        if bytes > 0 {
            entry.place = None;
        }
        Ok(())
    }

    /// Sends a datagram. A name is looked up aside; the port may be gone by then.
    fn send(self: &Arc<Self>, id: u32, host: &str, number: u16, payload: &[u8]) -> Result<(), Violation> {
        let port = match lock(&self.table).entries.get(&id).map(|entry| &entry.socket) {
            Some(Socket::Port(port)) => Arc::clone(port),
            Some(Socket::Connection(_) | Socket::Listener) => return Err(Violation::Kind),
            None => return Ok(()),
        };
        let own_port = self.limits.own_port;
        if let Ok(ip) = host.parse::<IpAddr>() {
            port.send(SocketAddr::new(ip, number), payload, own_port);
            return Ok(());
        }
        if let Ok(permit) = Arc::clone(&self.send_lookups).try_acquire_owned() {
            let (port, host, payload) = (Arc::downgrade(&port), host.to_owned(), payload.to_vec());
            tokio::spawn(async move {
                let targets = address::targets(&host, number, own_port).await;
                if let (Ok(targets), Some(port)) = (targets, port.upgrade()) {
                    port.send_to_any(&targets, &payload, own_port);
                }
                drop(permit);
            });
        }
        Ok(())
    }

    /// Ends a socket for the client. What it sent before still leaves, as far as the system takes it at once.
    async fn close(&self, id: u32) {
        if let Some(entry) = self.remove(id) {
            if let Socket::Connection(connection) = &entry.socket {
                let _ = connection.write_waiting();
            }
            entry.task.abort();
            // The port is free when the next frame is looked at, which may ask for the same one.
            let Entry { socket, task, .. } = entry;
            drop(socket);
            let _ = task.await;
        }
    }

    /// Pays what is owed.
    async fn pay(&self, owed: &mut Owed) -> Result<(), Gone> {
        for (id, bytes) in owed.drain(..) {
            self.queue.send(id, &DaemonFrame::Credit(bytes)).await?;
        }
        Ok(())
    }

    /// The last thing that a socket's own task does. Out of the table first: a client that hears of it may open another at once.
    async fn finish(&self, id: u32, frame: &DaemonFrame<'_>) {
        // Nobody to tell where the session has ended, and nothing to tell where the client closed it first.
        if self.remove(id).is_some() {
            let _ = self.queue.send(id, frame).await;
        }
    }

    fn remove(&self, id: u32) -> Option<Entry> {
        let entry = lock(&self.table).entries.remove(&id)?;
        self.counters.sockets.subtract(1);
        Some(entry)
    }

    /// Ends everything.
    fn end(&self) {
        let mut table = lock(&self.table);
        table.ended = true;
        let ended = table.entries.len();
        for (_, entry) in table.entries.drain() {
            entry.task.abort();
        }
        self.counters.sockets.subtract(ended as u64);
    }
}
