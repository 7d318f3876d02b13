//! The bytes of a range as a stream of chunks, so that a long range is never held in memory as a whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;

use super::facts::Facts;
use super::set::FileSet;
use crate::counters::Counters;
use crate::error::Result;
use crate::pool::Pool;

/// Bytes read in one operation and sent in one chunk.
const READ_CHUNK: u64 = 256 * 1024;

/// A range of up to this many bytes is read completely before any of it is sent, with a look at the files after that. A
/// longer one is sent in chunks.
const MAX_WHOLE_READ: u64 = 1024 * 1024;

/// The most files whose facts are returned with a read; so many fit into the headers of an answer.
const MAX_REPORTED_FILES: usize = 32;

/// Reads a range that lies within the set, as chunks. If it is short and lies in few files, also returns their
/// facts after it was read.
///
/// # Errors
/// `NotStored`, `Refused`, `Unavailable`: before the first chunk if a byte is missing by then, else in the stream.
pub(super) async fn read(
    operations: Pool,
    counters: Arc<Counters>,
    set: Arc<FileSet>,
    range: Range<u64>,
) -> Result<(impl Stream<Item = Result<Bytes>> + Send + 'static, Option<Vec<FileFacts>>)> {
    let is_whole = range.end - range.start <= MAX_WHOLE_READ;
    let first_end = if is_whole { range.end } else { range.start + READ_CHUNK };
    let checking = Arc::clone(&set);
    let whole = range.clone();
    let (first, facts) = operations
        .run(move || {
            checking.check_stored(whole.clone())?;
            let first = read_chunk(&checking, whole.start..first_end)?;
            let facts = if is_whole { facts_of(&checking, whole)? } else { None };
            Ok((first, facts))
        })
        .await?;
    counters.read_bytes.add(first.len() as u64);
    let chunks = stream::try_unfold((Some(first), first_end), move |(ready, at)| {
        let (operations, counters, set) = (operations.clone(), Arc::clone(&counters), Arc::clone(&set));
        async move {
            if let Some(chunk) = ready {
                return Ok(Some((chunk, (None, at))));
            }
            if at >= range.end {
                return Ok(None);
            }
            let end = range.end.min(at + READ_CHUNK);
            let chunk = operations.run(move || read_chunk(&set, at..end)).await?;
            counters.read_bytes.add(chunk.len() as u64);
            Ok(Some((chunk, (None, end))))
        }
    });
    Ok((chunks, facts))
}

fn read_chunk(set: &FileSet, range: Range<u64>) -> Result<Bytes> {
    let mut chunk = Vec::with_capacity((range.end - range.start) as usize);
    set.read(range, &mut chunk)?;
    Ok(chunk.into())
}

/// The facts of a file that was read.
#[derive(Debug, Serialize)]
pub struct FileFacts {
    file: usize,
    #[serde(flatten)]
    facts: Facts,
}

/// The facts of the files of a range, without those that are gone; `None` if they are too many to report.
fn facts_of(set: &FileSet, range: Range<u64>) -> Result<Option<Vec<FileFacts>>> {
    let files: Vec<_> = set.layout().spans(range).map(|span| span.file).take(MAX_REPORTED_FILES + 1).collect();
    if files.len() > MAX_REPORTED_FILES {
        return Ok(None);
    }
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        found.extend(set.facts(file)?.map(|facts| FileFacts { file, facts }));
    }
    Ok(Some(found))
}
