//! `/v1/sets/{id}`: a set registered, prepared, flushed and removed. Its bytes are in `pieces`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{post, put};
use serde::Deserialize;

use super::body;
use super::bounded::{AtMost, PathBody};
use crate::disk::Registered;
use crate::disk::layout::{Layout, MAX_FILES};
use crate::disk::set::Registration;
use crate::error::{Error, Result};
use crate::state::AppState;

/// Enough for a million files with usual names, of which some are skipped.
const MAX_REGISTRATION_BYTES: u64 = 64 * 1024 * 1024;

/// Enough for the indices of a million files.
const MAX_PREPARE_BYTES: u64 = 16 * 1024 * 1024;

const MAX_ID_LENGTH: usize = 64;

/// What can be done with a set but for its bytes.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/sets/{id}", put(register).delete(remove))
        .route("/v1/sets/{id}/prepare", post(prepare))
        .route("/v1/sets/{id}/flush", post(flush))
}

/// The id of the route: 1 to 64 characters of `[A-Za-z0-9_-]`; 400 `bad_request` otherwise.
pub(crate) struct SetId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for SetId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let malformed = || Error::bad_request("the id of a set is 1 to 64 characters of [A-Za-z0-9_-]");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| malformed())?;
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if plain && (1..=MAX_ID_LENGTH).contains(&id.len()) { Ok(Self(id)) } else { Err(malformed()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    root: String,
    files: AtMost<FileBody, MAX_FILES>,
    #[serde(default)]
    allocate: bool,
    /// Where skipped files are set aside; without it they lie in their places.
    #[serde(default)]
    aside: Option<PathBody>,
    /// What a new set begins with. No part of what makes it the same again.
    #[serde(default)]
    skipped: AtMost<usize, MAX_FILES>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBody {
    path: PathBody,
    length: u64,
    #[serde(default)]
    padding: bool,
}

/// 201 where the set is new, 204 where it is the same again, which lifts what was refused of its files and leaves skipped
/// those that were; 403 `refused` where a path leads to piecewise's own folder, 404 `unknown_root`, 409 `set_conflict`, 413
/// `too_large`, 503 `busy` where there are too many, or `root_gone`. Touches no file.
async fn register(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let disk = state.disk.clone();
    let asked = body::read_json(&state, body, MAX_REGISTRATION_BYTES, move |set: SetBody| {
        let root = disk.root(&set.root)?;
        let layout = layout(set.files.0)?;
        check_indices(&set.skipped.0, &layout)?;
        let mut registration = Registration::new(set.root, root, layout, set.allocate);
        if let Some(PathBody(folder)) = set.aside {
            let folder = folder.map_err(Error::BadRequest)?;
            folder.check_reserved_aside()?;
            registration = registration.with_aside(folder).map_err(Error::BadRequest)?;
        }
        Ok((registration, set.skipped.0))
    });
    let (registration, skipped) = asked.await?;
    state.disk.check_root(&registration).await?;
    let disk = state.disk.clone();
    let registered = state.compute.run(move || disk.register(id, registration, &skipped));
    Ok(match registered.await? {
        Registered::New => StatusCode::CREATED,
        Registered::Again => StatusCode::NO_CONTENT,
    })
}

/// At most as many indices as there are files, and of these only.
fn check_indices(files: &[usize], layout: &Layout) -> Result<()> {
    let count = layout.entries().len();
    if files.len() > count || files.iter().any(|file| *file >= count) {
        return Err(Error::bad_request("the set has no file with such an index"));
    }
    Ok(())
}

fn layout(files: Vec<FileBody>) -> Result<Layout> {
    let files: std::result::Result<Vec<_>, String> =
        files.into_iter().map(|file| Ok((if file.padding { None } else { Some(file.path.0?) }, file.length))).collect();
    let layout = files.and_then(Layout::new).map_err(Error::BadRequest)?;
    for path in layout.entries().iter().filter_map(|entry| entry.path.as_ref()) {
        path.check_reserved()?;
    }
    Ok(layout)
}

/// 204; `?files=true` deletes the files as well. 404 `unknown_set`; 403 `refused` or 500 `unavailable` where a file could
/// not be deleted, and the set is still registered.
async fn remove(SetId(id): SetId, State(state): State<AppState>, RawQuery(query): RawQuery) -> Result<StatusCode> {
    let files = match query.as_deref() {
        None | Some("" | "files=false") => false,
        Some("files=true") => true,
        Some(_) => return Err(Error::bad_request("the query is files=true or files=false")),
    };
    state.disk.remove(id, files).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrepareBody {
    skipped: AtMost<usize, MAX_FILES>,
}

/// 204 once the files named are set aside from their next use on, all others are in their places, and the empty ones among
/// those exist; 400 `bad_request`, 404 `unknown_set`, 403 `refused`, 500 `unavailable`, 507 `disk_full`.
async fn prepare(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let set = state.disk.set(&id)?;
    let layout_of = Arc::clone(&set);
    let skipped = body::read_json(&state, body, MAX_PREPARE_BYTES, move |body: PrepareBody| {
        check_indices(&body.skipped.0, layout_of.layout())?;
        Ok(body.skipped.0)
    });
    state.disk.prepare(set, skipped.await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 204 once everything written is on disk, also by who registered the set before; 404 `unknown_set`, 403 `refused`, 500 `unavailable`, 507 `disk_full`.
async fn flush(SetId(id): SetId, State(state): State<AppState>) -> Result<StatusCode> {
    let set = state.disk.set(&id)?;
    state.disk.flush(set).await?;
    Ok(StatusCode::NO_CONTENT)
}
