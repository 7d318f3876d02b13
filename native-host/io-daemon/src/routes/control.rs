//! `/v1/control`: checks the token, reports the counters, and ends the daemon.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use crate::state::AppState;

/// Ping, shutdown and stats.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/control/ping", post(async || StatusCode::NO_CONTENT))
        .route("/v1/control/shutdown", post(shutdown))
        .route("/v1/control/stats", get(stats))
}

/// 202; the daemon takes no new connection and ends after the requests in flight.
async fn shutdown(State(state): State<AppState>) -> StatusCode {
    state.shutdown.cancel();
    StatusCode::ACCEPTED
}

/// Counts since the start. Those of open files, held bytes and connections are of this moment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    version: &'static str,
    uptime_millis: u64,
    requests: u64,
    preflights: u64,
    unauthorized: u64,
    sets: usize,
    write_requests: u64,
    writes: u64,
    written_bytes: u64,
    reads: u64,
    read_bytes: u64,
    digested_bytes: u64,
    open_files: usize,
    connections: u64,
    buffered_bytes: usize,
    peak_buffered_bytes: usize,
    sockets: u64,
}

/// 200 with the counts.
async fn stats(State(state): State<AppState>) -> Json<Stats> {
    let counters = &state.counters;
    Json(Stats {
        version: env!("CARGO_PKG_VERSION"),
        uptime_millis: u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        requests: counters.requests.get(),
        preflights: counters.preflights.get(),
        unauthorized: counters.unauthorized.get(),
        sets: state.disk.sets(),
        write_requests: counters.write_requests.get(),
        writes: counters.writes.get(),
        written_bytes: counters.written_bytes.get(),
        reads: counters.reads.get(),
        read_bytes: counters.read_bytes.get(),
        digested_bytes: counters.digested_bytes.get(),
        open_files: state.disk.open_files(),
        connections: counters.connections.get(),
        buffered_bytes: state.disk.budget().lent_bytes(),
        peak_buffered_bytes: state.disk.budget().peak_bytes(),
        sockets: counters.sockets.get(),
    })
}
