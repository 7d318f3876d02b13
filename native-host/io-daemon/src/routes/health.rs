//! `GET /health`: whether the daemon is there. The only route without a token.

use axum::Router;
use axum::routing::get;

use crate::state::AppState;

/// 200 with the text `ok`.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/health", get(async || "ok"))
}
