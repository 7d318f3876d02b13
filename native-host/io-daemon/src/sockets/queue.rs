//! The one queue of frames to a client, and the buffers in which frames are made.
//!
//! The queue is bounded. When it is full, a socket with a frame waits for its turn and reads nothing from its remote
//! meanwhile. The turns share a slow client fairly among the sockets. A buffer is only taken together with a place in
//! the queue, so there are never more buffers than places, however many sockets there are.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::buf::Limit;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::frame::{self, DaemonFrame, HEADER, MAX_DATA};
use crate::mutex::lock;

/// The error when the WebSocket has ended and nothing can be sent to the client any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// The end of the queue into which sockets put frames.
#[derive(Clone)]
pub(super) struct Queue {
    frames: mpsc::Sender<Bytes>,
    pool: Arc<Pool>,
}

/// The end of the queue from which the WebSocket takes frames.
pub(super) struct Frames {
    frames: mpsc::Receiver<Bytes>,
    pool: Arc<Pool>,
}

/// Buffers of [`BUFFER`] bytes for reuse. Fresh memory is mapped page by page, which costs about as much as reading
/// into it.
#[derive(Default)]
struct Pool(Mutex<Vec<BytesMut>>);

/// Bytes of a DATA frame of full length.
const BUFFER: usize = HEADER + MAX_DATA;

/// Makes a queue with `places` places.
pub(super) fn queue(places: usize) -> (Queue, Frames) {
    let (sender, receiver) = mpsc::channel(places);
    let pool = Arc::new(Pool::default());
    (Queue { frames: sender, pool: Arc::clone(&pool) }, Frames { frames: receiver, pool })
}

impl Queue {
    /// Waits for a place, and puts `frame` for the socket `id` in it.
    pub(super) async fn send(&self, id: u32, frame: &DaemonFrame<'_>) -> Result<(), Gone> {
        let place = self.frames.reserve().await.map_err(|_| Gone)?;
        place.send(frame.encode(id).freeze());
        Ok(())
    }

    /// Waits for a place to read into. A place that is dropped unused is free again.
    pub(super) async fn place(&self) -> Result<Place<'_>, Gone> {
        // Otherwise the first task to run takes all places that came free together, and each waiting task gets only
        // one.
        tokio::task::yield_now().await;
        let permit = self.frames.reserve().await.map_err(|_| Gone)?;
        Ok(Place { permit, buffer: self.pool.take(), pool: &self.pool })
    }
}

/// A place in the queue, and a buffer for its frame.
pub(super) struct Place<'a> {
    permit: mpsc::Permit<'a, Bytes>,
    buffer: BytesMut,
    pool: &'a Pool,
}

impl Place<'_> {
    /// Puts a DATA frame for the socket `id` in the queue, with what one `read` of at most `limit` bytes returns.
    /// Returns how many bytes that were. If there were none or reading failed, the queue stays as it was.
    pub(super) fn data(
        mut self,
        id: u32,
        limit: usize,
        read: impl FnOnce(&mut Limit<&mut BytesMut>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        frame::begin_data(&mut self.buffer, id);
        let outcome = read(&mut (&mut self.buffer).limit(limit));
        match outcome {
            Ok(length) if length > 0 => self.permit.send(self.buffer.freeze()),
            _ => self.pool.put(self.buffer),
        }
        outcome
    }

    /// Puts a DATAGRAM frame for the socket `id` in the queue, if `receive` returns a datagram and `allows` accepts its
    /// length. Otherwise the place is free again.
    pub(super) fn datagram(
        mut self,
        id: u32,
        receive: impl FnOnce(&mut BytesMut) -> io::Result<(usize, SocketAddr)>,
        allows: impl FnOnce(usize) -> bool,
    ) -> io::Result<()> {
        let outcome = receive(&mut self.buffer);
        // A datagram is far shorter than the buffer. Copying it costs less than a buffer that is missing in the pool.
        if let Ok((length, source)) = outcome
            && allows(length)
        {
            let frame = DaemonFrame::Datagram { source, payload: &self.buffer };
            self.permit.send(frame.encode(id).freeze());
        }
        self.pool.put(self.buffer);
        outcome.map(|_| ())
    }
}

impl Frames {
    /// Waits for the next frame.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.frames.recv().await
    }

    /// Returns the next frame if there is one now.
    pub(super) fn next_now(&mut self) -> Option<Bytes> {
        self.frames.try_recv().ok()
    }

    /// Takes back the buffer of a frame that was sent.
    pub(super) fn take_back(&self, frame: Bytes) {
        if let Ok(buffer) = frame.try_into_mut() {
            self.pool.put(buffer);
        }
    }
}

impl Pool {
    fn take(&self) -> BytesMut {
        lock(&self.0).pop().unwrap_or_else(|| BytesMut::with_capacity(BUFFER))
    }

    /// Keeps `buffer` for reuse, unless it is a small one that was made for a single frame.
    fn put(&self, mut buffer: BytesMut) {
        if buffer.capacity() >= BUFFER {
            buffer.clear();
            lock(&self.0).push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(bytes: &[u8]) -> impl FnOnce(&mut Limit<&mut BytesMut>) -> io::Result<usize> {
        move |buffer| {
            buffer.put_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[tokio::test]
    async fn a_read_lands_behind_its_header() {
        let (queue, mut frames) = queue(1);

        let read = queue.place().await.unwrap().data(5, 10, reading(b"abc"));

        assert_eq!(read.unwrap(), 3);
        let frame = frames.next().await.unwrap();
        assert_eq!(DaemonFrame::decode(&frame), Ok((5, DaemonFrame::Data(b"abc"))));
    }

    #[tokio::test]
    async fn a_returned_buffer_is_used_again() {
        let (queue, mut frames) = queue(1);
        queue.place().await.unwrap().data(1, MAX_DATA, reading(&vec![7; MAX_DATA])).unwrap();
        let frame = frames.next().await.unwrap();
        let memory = frame.as_ptr();

        frames.take_back(frame);
        queue.place().await.unwrap().data(2, MAX_DATA, reading(b"x")).unwrap();

        let frame = frames.next().await.unwrap();
        assert_eq!(frame.as_ptr(), memory);
        assert_eq!(DaemonFrame::decode(&frame), Ok((2, DaemonFrame::Data(b"x"))));
    }

    #[tokio::test]
    async fn a_read_of_nothing_takes_no_place() {
        let (queue, mut frames) = queue(1);
        let blocked = |_: &mut Limit<&mut BytesMut>| Err(io::ErrorKind::WouldBlock.into());

        assert!(queue.place().await.unwrap().data(1, 10, blocked).is_err());
        assert_eq!(queue.place().await.unwrap().data(1, 10, |_| Ok(0)).unwrap(), 0);
        queue.place().await.unwrap().data(1, 10, reading(b"x")).unwrap();

        assert!(frames.next_now().is_some());
        assert!(frames.next_now().is_none());
        assert_eq!(lock(&queue.pool.0).len(), 0, "one buffer was enough, and it is in flight");
    }

    #[tokio::test]
    async fn a_small_frame_is_not_kept_as_a_buffer() {
        let (queue, mut frames) = queue(1);
        queue.send(1, &DaemonFrame::Credit(1)).await.unwrap();

        let frame = frames.next().await.unwrap();
        frames.take_back(frame);

        assert_eq!(lock(&queue.pool.0).len(), 0);
    }

    #[tokio::test]
    async fn those_who_wait_take_turns() {
        let (queue, mut frames) = queue(1);
        let busy = |id| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    queue.place().await.unwrap().data(id, 10, reading(b"x")).unwrap();
                }
            })
        };
        let (first, second) = (busy(1), busy(2));

        let mut order = Vec::new();
        while order.len() < 200 {
            let frame = frames.next().await.unwrap();
            order.push(DaemonFrame::decode(&frame).unwrap().0);
        }

        first.await.unwrap();
        second.await.unwrap();
        let first_half = order[..100].iter().filter(|&&id| id == 1).count();
        assert!((40..=60).contains(&first_half), "{first_half} of the first 100 frames are of one socket");
    }
}
