//! Serves one WebSocket: reads and sends its messages, and ends all sockets with it.
//!
//! One task does both. What a message does is the subject of `session`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tungstenite::error::CapacityError;

use super::limits::Limits;
use super::queue::{Frames, queue};
use super::session::{End, Owed, Session, Violation};
use crate::counters::Counters;

/// How long a client may take to read why its WebSocket closes, before the connection is broken off.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many connections may be owed credit before it is paid even if more frames can be read.
const MAX_OWED: usize = 64;

/// Serves one WebSocket until the client leaves or breaks the rules, or `shutdown` is cancelled. Then all its sockets
/// have ended. Each socket takes one of `places`, which all sessions share, and is counted in `counters.sockets` while
/// it is open.
pub async fn run(
    socket: WebSocket,
    limits: Limits,
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    let (queue, frames) = queue(limits.queue);
    let session = Arc::new(Session::new(limits, queue, places, counters));
    // Ends the sockets also if this future is dropped.
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
        let closing = close(&mut sink, &mut messages, code, reason);
        // A client that does not read in time does not get the reason.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

struct EndOnDrop(Arc<Session>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Handles messages one after the other. Credit that is owed is paid when there is nothing to read at the moment, so
/// that a burst of small frames is answered by one frame.
async fn read(session: &Arc<Session>, messages: &mut SplitStream<WebSocket>) -> End {
    let mut owed = Owed::new();
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next(), if owed.len() < MAX_OWED => message,
            () = std::future::ready(()), if !owed.is_empty() => {
                if session.send_owed(&mut owed).await.is_err() {
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

/// Sends frames as they arrive in the queue, and flushes when it is empty. Ends when the WebSocket accepts no more.
async fn write(sink: &mut SplitSink<WebSocket, Message>, mut frames: Frames) -> End {
    // The WebSocket copies a message into its own buffer when it gets the next message or is flushed. After that this
    // handle returns the buffer of the frame.
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

/// How a session ends after an error of the WebSocket itself. axum passes on the errors of the library below it. The
/// version of that library must be the same as axum's, or else no error would be recognized and an oversize message
/// would not be answered.
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
            End::Close(close_code::PROTOCOL, "the frame is not one of the WebSocket protocol".to_owned())
        }
        _ => End::Gone,
    }
}

/// Sends the reason, and then reads what the client still sends: closing with unread bytes would reset the connection,
/// and the reset would overtake the reason.
async fn close(
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
        // After an error nothing more can be read, so waiting is the only way to let the reason arrive.
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    }
}
