//! A local service that reads, writes and hashes files and opens sockets for an engine that cannot.
//!
//! It contains no torrent logic. `app` builds the whole daemon as a router, so a test needs no port. `serve` puts the
//! router behind an accept loop that survives hostile programs on the same machine. It runs on Unix only, because it
//! uses its descriptors, signals and positioned I/O.

#![forbid(unsafe_code)]

mod access;
pub mod config;
pub mod counters;
pub mod descriptors;
pub mod disk;
pub mod error;
pub mod lifetime;
mod linger;
mod mutex;
pub mod pool;
mod routes;
mod seats;
pub mod serve;
pub mod sockets;
mod state;
pub mod token;

pub use state::AppState;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;

/// How long a browser may remember a preflight. Chromium remembers it for two hours at most, Safari for ten minutes.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(86_400);

/// The daemon as a router.
///
/// The order of the layers matters. Counting and tracing see every request. The origin guard lies outside CORS, so that
/// a page that is not allowed cannot read even the refusal. CORS lies outside everything else: it answers preflights,
/// which carry no token, and lets an allowed page read every error. Host and token come before any route.
pub fn app(state: AppState) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(state.clone(), count))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(from_fn_with_state(state.clone(), access::guard_origin))
        .layer(cors(&state))
        .layer(CatchPanicLayer::custom(|_| error::Error::Internal.into_response()))
        .layer(from_fn(linger::read_rest))
        .layer(from_fn_with_state(state.clone(), access::check_host))
        .layer(from_fn_with_state(state.clone(), access::check_token));
    routes::router().layer(layers).with_state(state)
}

async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    state.counters.requests.add(1);
    if request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        state.counters.preflights.add(1);
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        state.counters.unauthorized.add(1);
    }
    response
}

/// Headers and queries are not traced, because they may contain a token, rightly or by mistake.
fn span<B>(request: &axum::http::Request<B>) -> tracing::Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}

fn cors(state: &AppState) -> CorsLayer {
    let config = Arc::clone(&state.config);
    // Named, because `*` does not cover Authorization (Fetch standard, section 4.9).
    let allowed = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        routes::headers::CONTENT_DIGEST,
        header::RANGE,
    ];
    let exposed = [
        header::CONTENT_RANGE,
        routes::headers::CONTENT_DIGEST,
        routes::headers::FILES,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| config.allows_origin(origin.as_bytes())))
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers(allowed)
        .expose_headers(exposed)
        .allow_private_network(true)
        .max_age(PREFLIGHT_MAX_AGE)
}
