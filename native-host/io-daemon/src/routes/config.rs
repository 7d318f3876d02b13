//! `/v1/config`: shows the roots and allowed origins in force, and reads them again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use crate::config::{Config, Settings};
use crate::error::{Error, Result};
use crate::state::AppState;

/// Show and reload.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/v1/config", get(show)).route("/v1/config/reload", post(reload))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    roots: BTreeMap<String, PathBuf>,
    allow_origins: Option<Vec<String>>,
    config: Option<PathBuf>,
}

fn shown(config: &Config, settings: &Arc<Settings>) -> Json<Shown> {
    Json(Shown {
        roots: settings.roots.clone(),
        allow_origins: settings.allow_origins.clone(),
        config: config.file().map(ToOwned::to_owned),
    })
}

/// 200 with the settings in force.
async fn show(State(state): State<AppState>) -> Json<Shown> {
    shown(&state.config, &state.config.current())
}

/// 200 with the settings that are in force now; 400 `bad_request` if the file is not valid, and then nothing has
/// changed. The sets of roots that were dropped are unknown from then on.
async fn reload(State(state): State<AppState>) -> Result<Json<Shown>> {
    let config = Arc::clone(&state.config);
    let settings = state.compute.run(move || config.reload().map_err(Error::BadRequest)).await?;
    state.disk.reload_roots(settings.roots.clone()).await?;
    Ok(shown(&state.config, &settings))
}
