//! Every way in which a request fails, and how the answer reports it.
//!
//! Programs match on `kind`; `message` is for people. No error contains a token or a path above a root.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use thiserror::Error;

/// The result of everything a handler does.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// 400: a header, a body, an id or a path component is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no token, or a wrong one.
    #[error("the request carries no valid token")]
    Unauthorized,
    /// 403: `Host` does not name this daemon, as after DNS rebinding.
    #[error("the Host header does not name this daemon")]
    ForbiddenHost,
    /// 403: `Origin` is not among the allowed ones.
    #[error("the origin is not allowed")]
    ForbiddenOrigin,
    /// 403: the system refuses this file until somebody changes something.
    #[error("{path} cannot be used: {why}")]
    Refused {
        /// Components below the root, joined by `/`.
        path: String,
        /// The end of a sentence.
        why: String,
    },
    /// 404: nobody registered a set under this id.
    #[error("no set is registered under this id")]
    UnknownSet,
    /// 404: no root is configured under this name.
    #[error("no root is configured under this name")]
    UnknownRoot,
    /// 404: no such route.
    #[error("there is no such resource")]
    NotFound,
    /// 405: the route exists, for another method.
    #[error("the resource does not support this method")]
    MethodNotAllowed,
    /// 408: the body stopped arriving, or arrived too slowly.
    #[error("the body did not go on in time")]
    Timeout,
    /// 409: the body's digest is not the one in `Content-Digest`. No file was touched.
    #[error("the body does not have the digest that was sent with it")]
    DigestMismatch,
    /// 409: the file is not reserved for this set, so it must not be claimed, moved or deleted.
    #[error("{path} is not reserved")]
    NotReserved {
        /// Components below the root, joined by `/`.
        path: String,
    },
    /// 409: the file was not claimed, so it must not be written.
    #[error("{path} is not claimed")]
    NotClaimed {
        /// Components below the root, joined by `/`.
        path: String,
    },
    /// 409: something lies where a file was to be made or moved to.
    #[error("{path} exists already")]
    FileExists {
        /// Components below the root, joined by `/`.
        path: String,
    },
    /// 409: the file is not what it was when it was looked at or claimed.
    #[error("{path} {why}")]
    FileChanged {
        /// Components below the root, joined by `/`.
        path: String,
        /// The end of a sentence.
        why: String,
    },
    /// 409: another set or process writes to the path.
    #[error("{path} is being written by {holder}")]
    WriterConflict {
        /// Components below the root, joined by `/`.
        path: String,
        /// Who writes to it, as the end of a sentence.
        holder: String,
    },
    /// 409: the id is registered with another list of files.
    #[error("the id is registered with another list of files")]
    SetConflict,
    /// 413: the body is longer than the limit of the route, given in bytes.
    #[error("the body is longer than the {0} bytes allowed")]
    TooLarge(u64),
    /// 416: the range is not in the set; the length of the set is given in bytes.
    #[error("the range does not lie in the set of {0} bytes")]
    BadRange(u64),
    /// 416: bytes of the range are not on disk.
    #[error("{path} does not hold these bytes")]
    NotStored {
        /// Components below the root, joined by `/`.
        path: String,
    },
    /// 500: the system failed in a way that may pass.
    #[error("{path} cannot be used now: {why}")]
    Unavailable {
        /// Components below the root, joined by `/`.
        path: String,
        /// The end of a sentence.
        why: String,
    },
    /// 500: the daemon's own fault.
    #[error("the daemon failed; its log says why")]
    Internal,
    /// 503: a limit is reached, and no room came free in time.
    #[error("the daemon is busy")]
    Busy,
    /// 503: what lies at the path of the root is not what was taken as the root, for example because a drive is not
    /// mounted.
    #[error("the folder of the root is gone, and is used again once it is back")]
    RootGone,
    /// 507: the disk or a quota is full, or the file system takes no file of that length.
    #[error("{path} cannot be written: the disk is full")]
    DiskFull {
        /// Components below the root, joined by `/`.
        path: String,
    },
}

/// The error as JSON.
#[derive(Serialize)]
struct Body<'a> {
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
}

impl Error {
    /// A malformed request; `message` is one sentence.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into())
    }

    /// The status the error is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForbiddenHost | Self::ForbiddenOrigin | Self::Refused { .. } => StatusCode::FORBIDDEN,
            Self::UnknownSet | Self::UnknownRoot | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::DigestMismatch
            | Self::SetConflict
            | Self::NotReserved { .. }
            | Self::NotClaimed { .. }
            | Self::FileExists { .. }
            | Self::FileChanged { .. }
            | Self::WriterConflict { .. } => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRange(_) | Self::NotStored { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unavailable { .. } | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::RootGone => StatusCode::SERVICE_UNAVAILABLE,
            Self::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// The word that programs match on.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::ForbiddenHost => "forbidden_host",
            Self::ForbiddenOrigin => "forbidden_origin",
            Self::Refused { .. } => "refused",
            Self::UnknownSet => "unknown_set",
            Self::UnknownRoot => "unknown_root",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::DigestMismatch => "digest_mismatch",
            Self::SetConflict => "set_conflict",
            Self::NotReserved { .. } => "not_reserved",
            Self::NotClaimed { .. } => "not_claimed",
            Self::FileExists { .. } => "file_exists",
            Self::FileChanged { .. } => "file_changed",
            Self::WriterConflict { .. } => "writer_conflict",
            Self::TooLarge(_) => "too_large",
            Self::BadRange(_) => "bad_range",
            Self::NotStored { .. } => "not_stored",
            Self::Unavailable { .. } | Self::Internal => "unavailable",
            Self::Busy => "busy",
            Self::RootGone => "root_gone",
            Self::DiskFull { .. } => "disk_full",
        }
    }

    /// How long the reason lasts: what only a person can change lasts longer than a full disk, and that lasts longer
    /// than a passing fault.
    #[must_use]
    pub fn weight(&self) -> u8 {
        match self {
            Self::Refused { .. } => 5,
            Self::FileExists { .. } => 4,
            Self::WriterConflict { .. } => 3,
            Self::DiskFull { .. } => 2,
            Self::FileChanged { .. } => 1,
            _ => 0,
        }
    }

    fn blame(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Refused { path, why } | Self::Unavailable { path, why } | Self::FileChanged { path, why } => {
                (Some(path), Some(why))
            }
            Self::NotStored { path }
            | Self::NotReserved { path }
            | Self::NotClaimed { path }
            | Self::FileExists { path }
            | Self::WriterConflict { path, .. } => (Some(path), None),
            Self::DiskFull { path } => (Some(path), Some("the disk is full")),
            _ => (None, None),
        }
    }

    /// The JSON body that reports the error.
    pub(crate) fn body(&self) -> impl Serialize {
        let (path, why) = self.blame();
        let holder = if let Self::WriterConflict { holder, .. } = self { Some(holder.as_str()) } else { None };
        Body { kind: self.kind(), message: self.to_string(), path, why, holder }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self.status().is_server_error() {
            tracing::warn!(kind = self.kind(), message = %self);
        }
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Busy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::BadRange(length) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            Self::ForbiddenOrigin => {
                headers.insert(header::VARY, HeaderValue::from_static("origin"));
            }
            _ => {}
        }
        response
    }
}
