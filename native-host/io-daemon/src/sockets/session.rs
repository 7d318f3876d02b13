//! The sockets of one WebSocket: what each message of the client does to them.
//!
//! Every socket has a task, which removes itself from the table when it is done. The table is locked only briefly, and
//! never across an await.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::extract::ws::close_code;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::ended::Ended;
use super::frame::{ClientFrame, DaemonFrame, FrameError};
use super::limits::Limits;
use super::queue::{Gone, Queue};
use super::tcp::Connection;
use super::udp::Port;
use super::{address, listener, tcp, udp};
use crate::counters::Counters;
use crate::mutex::lock;

/// The first id of an accepted connection. The client chooses lower ids.
const FIRST_ACCEPTED: u32 = 1 << 31;

/// Lookups at once for datagrams to names, such as those of trackers. A datagram is dropped if none is free.
const SEND_LOOKUPS: usize = 16;

/// What all tasks of one WebSocket share.
pub(super) struct Session {
    limits: Limits,
    queue: Queue,
    table: Mutex<Table>,
    send_lookups: Arc<Semaphore>,
    /// The places for sockets of all sessions. The task of a socket holds one for as long as its descriptor may be
    /// open.
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

struct Table {
    entries: HashMap<u32, Entry>,
    /// The greatest id that the client has used.
    last: u32,
    /// The id of the next accepted connection; `None` after 2^31 of them.
    next_accepted: Option<u32>,
    /// Whether the session has ended, so that nothing may be opened any more.
    ended: bool,
}

/// An open socket, or one that is opening.
struct Entry {
    socket: Socket,
    task: JoinHandle<()>,
    /// The place in the backlog, which an accepted connection holds until the client takes it.
    place: Option<OwnedSemaphorePermit>,
}

enum Socket {
    Connection(Arc<Connection>),
    Listener,
    Port(Arc<Port>),
}

/// How a client broke the rules. The text is the reason that the WebSocket closes with.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Violation {
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
pub(super) enum End {
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

/// Credit for bytes that the system took at once, which was not sent to the client yet. Each entry is an id and bytes.
pub(super) type Owed = Vec<(u32, u32)>;

impl Session {
    /// A session without sockets. `places` are shared by all sessions.
    pub(super) fn new(limits: Limits, queue: Queue, places: Arc<Semaphore>, counters: Arc<Counters>) -> Self {
        Self {
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
        }
    }

    /// Handles one message.
    pub(super) async fn handle(self: &Arc<Self>, message: &[u8], owed: &mut Owed) -> Result<(), End> {
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

    /// Opens the socket `id`, whose task runs `life`.
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

    /// The same, but returns `false` if there are too many sockets.
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

    /// Adds a connection that `listener` accepted. It is closed if there are too many sockets.
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

    /// A place for one more socket; `None` if this session or all sessions together have too many.
    fn descriptor(&self, table: &Table) -> Option<OwnedSemaphorePermit> {
        let has_room = table.entries.len() < self.limits.sockets;
        has_room.then(|| Arc::clone(&self.places).try_acquire_owned().ok())?
    }

    /// Spawns the task of a socket, which reports its end to the client. Its place is free again after its descriptor
    /// is closed, also if the task is aborted.
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

    /// Adds a socket to the table. Its task was started under the same lock, so it cannot end before the socket is
    /// added.
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
        // At most the bytes of a window, so 32 bits are enough.
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

    /// Sends a datagram. A name is looked up in a task of its own; the port may be gone by then.
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

    /// Closes a socket for the client. Bytes that it sent before still leave, if the system takes them at once.
    async fn close(&self, id: u32) {
        if let Some(entry) = self.remove(id) {
            if let Socket::Connection(connection) = &entry.socket {
                let _ = connection.write_waiting();
            }
            entry.task.abort();
            // The port is free before the next frame is handled, which may use the same port.
            let Entry { socket, task, .. } = entry;
            drop(socket);
            let _ = task.await;
        }
    }

    /// Sends the credit that is owed.
    pub(super) async fn send_owed(&self, owed: &mut Owed) -> Result<(), Gone> {
        for (id, bytes) in owed.drain(..) {
            self.queue.send(id, &DaemonFrame::Credit(bytes)).await?;
        }
        Ok(())
    }

    /// The last step of the task of a socket. It is removed from the table first, because a client that reads the frame
    /// may open another socket at once.
    async fn finish(&self, id: u32, frame: &DaemonFrame<'_>) {
        // If the session has ended or the client has closed the socket, there is nothing to report.
        if self.remove(id).is_some() {
            let _ = self.queue.send(id, frame).await;
        }
    }

    fn remove(&self, id: u32) -> Option<Entry> {
        let entry = lock(&self.table).entries.remove(&id)?;
        self.counters.sockets.subtract(1);
        Some(entry)
    }

    /// Ends all sockets.
    pub(super) fn end(&self) {
        let mut table = lock(&self.table);
        table.ended = true;
        let ended = table.entries.len();
        for (_, entry) in table.entries.drain() {
            entry.task.abort();
        }
        self.counters.sockets.subtract(ended as u64);
    }
}
