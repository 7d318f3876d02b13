//! `GET /v1/sockets`: sockets over one WebSocket. The messages on it are the subject of `sockets`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use axum::routing::get;

use crate::error::{Error, Result};
use crate::sockets::{self, Limits, MAX_MESSAGE, PROTOCOL};
use crate::state::AppState;

/// Bytes read from the WebSocket at a time. Its library clears that much memory before each read, so a larger buffer
/// makes small messages expensive, and a smaller one needs more system calls for long messages.
const READ_BUFFER: usize = 32 * 1024;

/// Bytes that may wait to be written to the WebSocket. Its library fills half of that before it writes. Without a
/// limit, a client that sends pings and reads nothing would fill the memory with answers.
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// The WebSocket route.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/v1/sockets", get(open))
}

/// Turns the connection into a WebSocket: 101. 400 if the request is no upgrade, does not offer the subprotocol, or has a
/// `from` that is no address; 503 if as many `WebSocket`s as allowed are open. The token was checked before.
async fn open(State(state): State<AppState>, uri: Uri, Upgrade(mut upgrade): Upgrade) -> Result<Response> {
    let limits = Limits { from: from_of(&uri)?, ..Limits::new(state.port) };
    let offered = upgrade.requested_protocols().any(|protocol| protocol.as_bytes() == PROTOCOL.as_bytes());
    if !offered {
        return Err(Error::bad_request(format!("the WebSocket does not offer the subprotocol {PROTOCOL}")));
    }
    let permit = Arc::clone(&state.web_sockets).try_acquire_owned().map_err(|_| Error::Busy)?;
    upgrade.set_selected_protocol(HeaderValue::from_static(PROTOCOL));
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    Ok(upgrade.on_upgrade(async move |socket| {
        sockets::run(socket, limits, state.socket_places, state.counters, state.shutdown).await;
        drop(permit);
    }))
}

/// The address in the query from which connections are dialled.
fn from_of(uri: &Uri) -> Result<Option<IpAddr>> {
    let parameter = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("from=")));
    let Some(text) = parameter else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Error::bad_request(format!("`from` is no IP address: {text}")))
}

/// axum's upgrade, whose rejections are answered like all errors of the daemon.
struct Upgrade(WebSocketUpgrade);

impl FromRequestParts<AppState> for Upgrade {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        upgrade.map(Self).map_err(|rejection| Error::bad_request(rejection.body_text()))
    }
}
