//! The accept loop: HTTP/1.1 on one listener, on a machine on which any program may connect.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::seats::{Connection, Table};
use crate::state::AppState;

/// Limits for connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once. A connection that became a WebSocket no longer counts here; those have their own
    /// limit.
    pub max_connections: usize,
    /// How long a connection may take to send the head of a request, and how long it may be idle between two requests.
    pub header_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 512, header_timeout: Duration::from_secs(10) }
    }
}

const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The most bytes of a body that are read from the socket at once. From 64 KiB to 1 MiB a write of 1 MiB cost the same
/// within the noise: 0.8 to 0.9 ms of processor time, 0.55 ms of that for SHA-1. Larger reads waste memory.
const READ_BYTES: usize = 256 * 1024;

/// How long requests in flight have after the signal to end. Together with the time that `main` leaves for the disk
/// this is 5 s.
const GRACE: Duration = Duration::from_secs(4);

/// How long accepting pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the shutdown of the state is cancelled, and then until the requests in flight are answered, for 4 s at
/// most.
pub async fn serve(listener: TcpListener, app: Router, state: AppState, limits: Limits) {
    let limit = limits.max_connections.max(1);
    let table = Arc::new(Table::new(limit, Arc::clone(&state.counters)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(READ_BYTES);
    let driven = TaskTracker::new();
    // A connection that is closed for another one leaves its seat at once, but frees its descriptor only when its task
    // has ended.
    let open = Arc::new(Semaphore::new(limit));
    let mut has_warned = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                has_warned = false;
                if let Some(connection) = table.admit()
                    && let Ok(descriptor) = Arc::clone(&open).acquire_owned().await
                {
                    let driving = drive(http.clone(), stream, app.clone(), connection, state.shutdown.clone());
                    driven.spawn(async move {
                        driving.await;
                        drop(descriptor);
                    });
                }
            }
            // The connection was closed before it was accepted.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(%error, "no connection can be accepted");
                }
                table.close_oldest_stranger();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    driven.close();
    if tokio::time::timeout(GRACE, driven.wait()).await.is_err() {
        tracing::warn!("requests were still in flight at the end");
    }
}

/// Serves one connection until it ends or is closed for another one. When the daemon ends, a trusted connection still
/// gets the answer to its request in flight.
async fn drive(
    http: http1::Builder,
    stream: TcpStream,
    app: Router,
    connection: Connection,
    shutdown: CancellationToken,
) {
    // An answer is small and complete, so waiting for more bytes to send would only delay it.
    let _ = stream.set_nodelay(true);
    let seat = connection.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let mut app = app.clone();
        async move { Ok::<_, Infallible>(app.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {})) }
    });
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        outcome = serving.as_mut() => return log(outcome),
        () = seat.closed() => return,
        () = shutdown.cancelled() => {}
    }
    // A stranger has nothing in flight that is worth waiting for.
    if seat.is_trusted() {
        serving.as_mut().graceful_shutdown();
        log(serving.await);
    }
}

fn log(outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection failed");
    }
}
