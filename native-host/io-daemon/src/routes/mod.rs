//! One module for each resource: its handlers extract, call `disk` and answer. They open no files.

mod body;
mod bounded;
mod config;
mod control;
mod files;
mod hash;
pub(crate) mod headers;
mod health;
mod pieces;
mod sets;
mod sockets;

use axum::Router;

use crate::error::Error;
use crate::state::AppState;

/// All routes. If none fits, the answer is an error like any other of the daemon.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .merge(health::router())
        .merge(sets::router())
        .merge(files::router())
        .merge(pieces::router())
        .merge(hash::router())
        .merge(sockets::router())
        .merge(control::router())
        .merge(config::router())
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
}
