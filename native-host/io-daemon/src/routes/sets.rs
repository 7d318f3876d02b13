//! `/v1/sets/{id}`: registers and forgets a set, and says which of its files are wanted. Its files are the subject of
//! `files`, its bytes of `pieces`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{post, put};
use serde::Deserialize;

use super::body;
use super::bounded::{AtMost, Grouped, PathBody};
use crate::disk::Registered;
use crate::disk::layout::{Layout, MAX_FILES};
use crate::disk::registration::{Client, Registration};
use crate::disk::rivals::{Claimant, Rivals};
use crate::error::{Error, Result};
use crate::state::AppState;

/// The longest registration. It has room for a million files with usual names, or for half a million with two names
/// each.
const MAX_REGISTRATION_BYTES: u64 = 128 * 1024 * 1024;

/// The longest list of indices. It has room for a million files.
pub(super) const MAX_INDICES_BYTES: u64 = 16 * 1024 * 1024;

const MAX_ID_LENGTH: usize = 64;

/// The routes for a set as a whole.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/v1/sets/{id}", put(register).delete(forget)).route("/v1/sets/{id}/prepare", post(prepare))
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
    /// Which files may have another name than their path, and which names some file systems do not tell apart.
    #[serde(default)]
    rivals: Grouped<ClaimantBody, MAX_FILES>,
    /// The folder in which skipped files are set aside; without it they lie in their places.
    #[serde(default)]
    aside: Option<PathBody>,
    /// The skipped files of a new set. They do not count when a registration is compared with an earlier one.
    #[serde(default)]
    skipped: AtMost<usize, MAX_FILES>,
    #[serde(default)]
    torrent: Option<String>,
    #[serde(default)]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBody {
    path: PathBody,
    length: u64,
    #[serde(default)]
    padding: bool,
}

/// A file by its index, with its other names, or a folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimantBody {
    #[serde(default)]
    file: Option<usize>,
    #[serde(default)]
    own: Option<PathBody>,
    #[serde(default)]
    original: Option<PathBody>,
    #[serde(default)]
    folder: Option<PathBody>,
}

impl TryFrom<ClaimantBody> for Claimant {
    type Error = String;

    fn try_from(ClaimantBody { file, own, original, folder }: ClaimantBody) -> std::result::Result<Self, String> {
        match (file, folder) {
            (Some(index), None) => Ok(Self::File {
                index,
                own: own.map(|path| path.0).transpose()?,
                original: original.map(|path| path.0).transpose()?,
            }),
            (None, Some(folder)) if own.is_none() && original.is_none() => Ok(Self::Folder(folder.0?)),
            _ => Err("a rival is a file or a folder".to_owned()),
        }
    }
}

/// 201 if the set is new. 204 if the same set is registered already: nothing of it is reserved or claimed any more, and
/// skipped files stay skipped. 403 `refused` if a path leads to piecewise's own folder, 404 `unknown_root`, 409
/// `set_conflict`, 413 `too_large`, 503 `busy` if there are too many sets, or `root_gone`. Touches no file.
async fn register(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let disk = state.disk.clone();
    let asked = body::read_json(&state, body, MAX_REGISTRATION_BYTES, move |set: SetBody| {
        let root = disk.root(&set.root)?;
        let layout = layout(set.files.0)?;
        check_indices(&set.skipped.0, &layout)?;
        if [&set.torrent, &set.owner].into_iter().flatten().any(|name| name.len() > MAX_ID_LENGTH) {
            return Err(Error::bad_request("the name of a torrent or an owner has at most 64 bytes"));
        }
        let rivals = set.rivals.try_map(Claimant::try_from).and_then(|groups| Rivals::new(&layout, groups));
        let rivals = rivals.map_err(Error::BadRequest)?;
        for path in rivals.paths() {
            path.check_reserved()?;
        }
        let client = Client { torrent: set.torrent, owner: set.owner };
        let registration = Registration::new(set.root, root, layout, set.allocate);
        let mut registration = registration.with_client(client).with_rivals(rivals);
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

/// Fails unless there are at most as many indices as files, and all are those of files.
pub(super) fn check_indices(files: &[usize], layout: &Layout) -> Result<()> {
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

/// 204 once the set is forgotten: others may write to its files, which stay as they are. 404 `unknown_set`.
async fn forget(SetId(id): SetId, State(state): State<AppState>) -> Result<StatusCode> {
    state.disk.forget(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrepareBody {
    skipped: AtMost<usize, MAX_FILES>,
}

/// 204 once all other files are in their places; the files named are set aside from their next use on. Makes no file.
/// 400 `bad_request`, 403 `refused`, 404 `unknown_set`, 500 `unavailable`, 507 `disk_full`.
async fn prepare(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<StatusCode> {
    let set = state.disk.set(&id)?;
    let layout_of = Arc::clone(&set);
    let skipped = body::read_json(&state, body, MAX_INDICES_BYTES, move |body: PrepareBody| {
        check_indices(&body.skipped.0, layout_of.layout())?;
        Ok(body.skipped.0)
    });
    state.disk.prepare(set, skipped.await?).await?;
    Ok(StatusCode::NO_CONTENT)
}
