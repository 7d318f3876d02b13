//! Looks at, reserves, claims, flushes, renames and removes the files of a set. Each is named by its index in the set.
//!
//! The client decides whose a file is: a file is written only if it was claimed, and claimed only if it is reserved.
//! The shapes of these routes are written a second time in `src/io-daemon/IoDaemonProtocol.ts`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::Stream;
use serde::Deserialize;

use super::body;
use super::bounded::{AtMost, PathBody};
use super::sets::{MAX_INDICES_BYTES, SetId, check_indices};
use crate::disk::claim::{Claim, How};
use crate::disk::facts::{Identity, Known, from_text};
use crate::disk::layout::MAX_FILES;
use crate::disk::set::FileSet;
use crate::error::{Error, Result};
use crate::state::AppState;

/// The most files that a request may name.
const MAX_NAMED_FILES: usize = 16_384;

/// The longest body. It has room for the facts of so many files.
const MAX_CLAIMS_BYTES: u64 = 4 * 1024 * 1024;

/// The longest body with a single path.
const MAX_RENAME_BYTES: u64 = 64 * 1024;

/// The routes for single files.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/sets/{id}/look", post(look))
        .route("/v1/sets/{id}/reserve", post(reserve))
        .route("/v1/sets/{id}/release", post(release))
        .route("/v1/sets/{id}/claim", post(claim))
        .route("/v1/sets/{id}/flush", post(flush))
        .route("/v1/sets/{id}/rename", post(rename))
        .route("/v1/sets/{id}/remove", post(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesBody {
    files: AtMost<usize, MAX_FILES>,
}

/// The set, and the files that are named, which lie in it.
async fn files_of(id: &str, state: &AppState, body: Body) -> Result<(Arc<FileSet>, Vec<usize>)> {
    let set = state.disk.set(id)?;
    let layout_of = Arc::clone(&set);
    let files = body::read_json(state, body, MAX_INDICES_BYTES, move |body: FilesBody| {
        check_indices(&body.files.0, layout_of.layout())?;
        Ok(body.files.0)
    });
    Ok((set, files.await?))
}

async fn told_files_of(id: &str, state: &AppState, body: Body) -> Result<(Arc<FileSet>, Vec<usize>)> {
    let (set, files) = files_of(id, state, body).await?;
    if files.len() > MAX_NAMED_FILES {
        return Err(Error::bad_request("a request is for at most 16384 files"));
    }
    state.disk.check_root(set.registration()).await?;
    Ok((set, files))
}

fn ndjson(lines: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// 200 with a JSON line for each file: the facts of what lies at its place, `null` if nothing does, or `{error}`. Empty
/// lines may come in between. 400 `bad_request`, 404 `unknown_set`, 413 `too_large`, 503 `root_gone`.
async fn look(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<Response> {
    let (set, files) = told_files_of(&id, &state, body).await?;
    Ok(ndjson(state.disk.look(set, files)))
}

/// 200 with a JSON line for each file once what was written to it is on disk with its folders: its facts, or `{error}`
/// if that failed or nothing lies there. 400 `bad_request`, 404 `unknown_set`, 413 `too_large`, 503 `root_gone`.
async fn flush(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<Response> {
    let (set, files) = told_files_of(&id, &state, body).await?;
    Ok(ndjson(state.disk.flush(set, files)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReserveBody {
    files: AtMost<usize, MAX_FILES>,
    /// Whether the client had reserved them before the set was forgotten.
    #[serde(default)]
    again: bool,
}

/// 204 if the set is the only writer of all these files now. 400 `bad_request`, 403 `refused`, 404 `unknown_set`, 409
/// `writer_conflict`, 413 `too_large`, 500 `unavailable`: then nothing has changed. Touches no file.
async fn reserve(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let set = state.disk.set(&id)?;
    let layout_of = Arc::clone(&set);
    let asked = body::read_json(&state, body, MAX_INDICES_BYTES, move |body: ReserveBody| {
        check_indices(&body.files.0, layout_of.layout())?;
        Ok(body)
    });
    let ReserveBody { files, again } = asked.await?;
    state.disk.reserve(set, files.0, again).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 204 once others may write to these files; 400 `bad_request`, 404 `unknown_set`, 413 `too_large`, 503 `root_gone`.
async fn release(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let (set, files) = files_of(&id, &state, body).await?;
    state.disk.release(set, files).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsBody {
    claims: AtMost<ClaimBody, MAX_NAMED_FILES>,
}

#[derive(Deserialize)]
#[serde(tag = "as", rename_all = "lowercase", deny_unknown_fields)]
enum ClaimBody {
    New {
        file: usize,
    },
    Found {
        file: usize,
        facts: Known,
        /// Whether it is replaced by a copy that shares no block with it.
        #[serde(default)]
        afresh: bool,
    },
    Overwritten {
        file: usize,
    },
    Again {
        file: usize,
        #[serde(deserialize_with = "from_text")]
        identity: Identity,
        length: u64,
    },
}

impl From<ClaimBody> for Claim {
    fn from(body: ClaimBody) -> Self {
        match body {
            ClaimBody::New { file } => Self { file, how: How::New },
            ClaimBody::Found { file, facts, afresh: false } => Self { file, how: How::Found(facts) },
            ClaimBody::Found { file, facts, afresh: true } => Self { file, how: How::Afresh(facts) },
            ClaimBody::Overwritten { file } => Self { file, how: How::Overwritten },
            ClaimBody::Again { file, identity, length } => Self { file, how: How::Again { identity, length } },
        }
    }
}

/// 200 with a JSON line for each claim: the facts of a file that may be written now, or `{error}` of kind
/// `not_reserved`, `file_exists`, `file_changed`, `writer_conflict` or one of `write`. Empty lines may come in between.
/// 400 `bad_request`, 404 `unknown_set`, 413 `too_large`, 503 `root_gone`.
async fn claim(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<Response> {
    let set = state.disk.set(&id)?;
    let layout_of = Arc::clone(&set);
    let claims = body::read_json(&state, body, MAX_CLAIMS_BYTES, move |body: ClaimsBody| {
        let claims: Vec<_> = body.claims.0.into_iter().map(Claim::from).collect();
        for claim in &claims {
            check_file(claim.file, &layout_of)?;
        }
        Ok(claims)
    });
    let claims = claims.await?;
    state.disk.check_root(set.registration()).await?;
    Ok(ndjson(state.disk.claim(set, claims)))
}

fn check_file(file: usize, set: &FileSet) -> Result<()> {
    match set.layout().entries().get(file) {
        Some(entry) if entry.path.is_some() => Ok(()),
        _ => Err(Error::bad_request("the set has no file with such an index")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameBody {
    file: usize,
    path: PathBody,
    /// Which file it is, so that a move that was made before is recognized.
    #[serde(default)]
    identity: Option<String>,
}

/// Moves a file to another path of the root and uses that path from then on: 204. If it fails, the file stays in place:
/// 400 `bad_request`, 403 `refused`, 404 `unknown_set`, 409 `not_reserved`, `file_exists` and `writer_conflict`, 413
/// `too_large`, 500 `unavailable`, 507 `disk_full`.
async fn rename(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let set = state.disk.set(&id)?;
    let layout_of = Arc::clone(&set);
    let asked = body::read_json(&state, body, MAX_RENAME_BYTES, move |body: RenameBody| {
        check_file(body.file, &layout_of)?;
        let malformed = |()| Error::bad_request("the identity is not one that the daemon reported");
        let identity = body.identity.map(|text| text.parse().map_err(malformed)).transpose()?;
        let path = body.path.0.map_err(Error::BadRequest)?;
        path.check_reserved()?;
        Ok((body.file, path, identity))
    });
    let (file, path, identity) = asked.await?;
    state.disk.rename(set, file, path, identity).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 204 once these files, wherever they lay, and the folders that they leave empty are deleted. 400 `bad_request`, 404
/// `unknown_set`, 409 `not_reserved` and 413 `too_large` before any is touched; 403 `refused`, 500 `unavailable`.
async fn remove(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let (set, files) = files_of(&id, &state, body).await?;
    state.disk.remove(set, files).await?;
    Ok(StatusCode::NO_CONTENT)
}
