//! Which requests are let in: the origin guard, the Host check and the token.
//!
//! CORS only says what a page may read of an answer; it protects nothing. These three checks do. Their order in `app`
//! is origin guard, CORS, Host, token: a page that is not allowed learns nothing, and an allowed one can read why its
//! request was refused.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::seats::Connection;
use crate::state::AppState;
use crate::token::Token;

/// Begins the subprotocol in which a page offers the token: on a WebSocket it cannot set `Authorization`.
const BEARER_SUBPROTOCOL: &[u8] = b"bearer.";

/// Lets a request pass if its origin is allowed or it has none (only browsers send one).
///
/// Otherwise answers 403 `forbidden_origin`, outside CORS and therefore without `Access-Control-Allow-Origin`.
pub(crate) async fn guard_origin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if origins.all(|origin| state.config.allows_origin(origin.as_bytes())) {
        next.run(request).await
    } else {
        Error::ForbiddenOrigin.into_response()
    }
}

/// Lets a request pass if its `Host` is a name of the loopback interface with the bound port. Otherwise answers 403
/// `forbidden_host`.
///
/// If the name of `http://evil.example` is rebound to 127.0.0.1, its page and the daemon have the same origin in the
/// eyes of the browser. Only the Host shows the difference.
pub(crate) async fn check_host(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_own_host(host.as_bytes(), state.port) && is_own_target(&request, state.port) => {
            next.run(request).await
        }
        _ => Error::ForbiddenHost.into_response(),
    }
}

/// A target in absolute form (`GET http://host/ HTTP/1.1`) takes the place of Host (RFC 9112 section 3.2.2).
fn is_own_target(request: &Request, port: u16) -> bool {
    request.uri().authority().is_none_or(|authority| is_own_host(authority.as_str().as_bytes(), port))
}

fn is_own_host(host: &[u8], port: u16) -> bool {
    let Some(colon) = host.iter().rposition(|byte| *byte == b':') else { return false };
    let (name, digits) = host.split_at(colon);
    let own_name = name == b"127.0.0.1" || name == b"[::1]" || name.eq_ignore_ascii_case(b"localhost");
    own_name && digits[1..] == *port.to_string().as_bytes()
}

/// Lets a request pass if it carries the token or is for `/health`. Otherwise answers 401 `unauthorized`.
///
/// A connection that presented the token is trusted from then on: it is not closed to make room for other connections.
pub(crate) async fn check_token(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if is_health(&request) {
        return next.run(request).await;
    }
    if !presents_token(request.headers(), &state.token) {
        return Error::Unauthorized.into_response();
    }
    if let Some(connection) = request.extensions().get::<Connection>() {
        connection.trust();
    }
    next.run(request).await
}

fn is_health(request: &Request) -> bool {
    request.uri().path() == "/health" && matches!(*request.method(), Method::GET | Method::HEAD)
}

fn presents_token(headers: &HeaderMap, token: &Token) -> bool {
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    match (authorizations.next(), authorizations.next()) {
        (Some(value), None) => bearer(value.as_bytes()).is_some_and(|offered| token.is(offered)),
        (None, _) => offered_subprotocols(headers).any(|offered| token.is(offered)),
        _ => false,
    }
}

/// The credentials of `Bearer CREDENTIALS`. The scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

/// The tokens among the subprotocols of a WebSocket upgrade; none if the request is no upgrade.
fn offered_subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let upgrade = headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let offers = upgrade.then(|| headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter());
    offers
        .into_iter()
        .flatten()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|offer| offer.trim_ascii().strip_prefix(BEARER_SUBPROTOCOL))
}
