//! Reads the rest of a body whose request has failed early.
//!
//! Closing a connection with unread bytes resets it, and the reset may overtake the answer. A client that is still
//! sending its piece would see a broken connection instead of `unknown_set` or `unauthorized`, which it can handle.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

/// The longest rest that is read, in bytes: a piece of the usual sizes. If there is more, a reset is cheaper for both
/// sides.
const MAX_REST_BYTES: u64 = 16 * 1024 * 1024;

/// The longest time spent on reading it.
const MAX_REST_TIME: Duration = Duration::from_secs(5);

/// A body that goes back to the middleware when the handler drops it.
struct Returning {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(back) = self.back.take()
            && !self.body.is_end_stream()
        {
            // Fails if the answer was sent already: then there is nothing to wait for.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}

/// Returns an error only after the rest of the body was read, within limits.
pub(crate) async fn read_rest(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (back, mut returned) = oneshot::channel();
    let response = next.run(request.map(|body| Body::new(Returning { body, back: Some(back) }))).await;
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    if refused
        && status != StatusCode::REQUEST_TIMEOUT
        && let Ok(rest) = returned.try_recv()
    {
        let _ = tokio::time::timeout(MAX_REST_TIME, discard(rest)).await;
    }
    response
}

async fn discard(mut rest: Body) {
    let mut left = MAX_REST_BYTES;
    while rest.size_hint().lower() <= left {
        let Some(Ok(frame)) = rest.frame().await else { break };
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
    }
}
