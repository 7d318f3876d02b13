//! `POST /v1/hash/sha1` and `/v1/hash/sha256`: the digest of a body of any length, little of which is held in memory.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;

use super::body::Reading;
use crate::disk::digest::{Algorithm, Hasher};
use crate::error::Result;
use crate::state::AppState;

/// Chunks are collected up to this many bytes and then hashed together: handing each one to another thread costs more
/// than hashing it.
const BATCH_BYTES: usize = 512 * 1024;

/// The routes for both digests.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/hash/sha1", post(async |state, body| hash(state, body, Algorithm::Sha1).await))
        .route("/v1/hash/sha256", post(async |state, body| hash(state, body, Algorithm::Sha256).await))
}

/// 200 with the digest in lower-case hexadecimal; 400 `bad_request`, 408 `timeout`.
async fn hash(State(state): State<AppState>, body: Body, algorithm: Algorithm) -> Result<String> {
    let mut body = Reading::new(body);
    let mut hasher = Hasher::new(algorithm);
    let mut ended = false;
    while !ended {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && !ended {
            match body.next_chunk().await? {
                Some(chunk) => {
                    bytes += chunk.len();
                    batch.push(chunk);
                }
                None => ended = true,
            }
        }
        hasher = state
            .compute
            .run(move || {
                for chunk in batch {
                    hasher.update(&chunk);
                }
                Ok(hasher)
            })
            .await?;
    }
    Ok(hasher.finish().to_hex())
}
