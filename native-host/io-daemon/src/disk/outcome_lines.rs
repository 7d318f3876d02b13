//! Streams of JSON lines about items of a set: the outcome of each, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::set::{FileSet, Outcome};
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Work on a list of files lets other operations in after so many files, or so much time.
const STEP_FILES: usize = 256;
/// Files that are worked on in one call, so that their folders are synced together.
const STEP_BATCH: usize = 32;
const STEP_TIME: Duration = Duration::from_millis(50);

/// How often an empty line is sent while work on a file takes long.
const EMPTY_LINE_EVERY: Duration = Duration::from_secs(5);

/// Calls `act` with some items at a time, and streams a line with the outcome of each. Ends after the first line
/// that says that the set is gone.
pub(super) fn stream<T: Send + Sync + 'static>(
    operations: Pool,
    set: Arc<FileSet>,
    items: Vec<T>,
    act: fn(&FileSet, &[T]) -> Vec<Outcome>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let items: Arc<[T]> = items.into();
    let step = move |at: usize| {
        let (operations, set, items) = (operations.clone(), Arc::clone(&set), Arc::clone(&items));
        Box::pin(async move {
            set.note_used();
            operations.run(move || Ok(lines_from(&set, &items, at, act))).await
        })
    };
    // Even the first step runs after the head is sent, because work on a file may take longer than a client waits
    // for an answer.
    let work = Work { step: None, at: Some(0) };
    stream::try_unfold((work, step), |(mut work, step)| async move {
        if work.step.is_none() {
            let Some(at) = work.at else { return Ok(None) };
            work.step = Some(step(at));
        }
        let Some(running) = work.step.as_mut() else { return Ok(None) };
        let Ok(ended) = tokio::time::timeout(EMPTY_LINE_EVERY, running).await else {
            return Ok(Some((Bytes::from_static(b"\n"), (work, step))));
        };
        let (lines, at) = ended?;
        Ok(Some((lines, (Work { step: None, at }, step))))
    })
}

/// The lines that are still to be streamed.
struct Work<S> {
    step: Option<S>,
    at: Option<usize>,
}

/// Works on the items from `at` on for a while. Returns their lines, and the index at which to go on.
fn lines_from<T>(
    set: &FileSet,
    items: &[T],
    at: usize,
    act: fn(&FileSet, &[T]) -> Vec<Outcome>,
) -> (Bytes, Option<usize>) {
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut next = at;
    while next < items.len() && next < at + STEP_FILES && started.elapsed() < STEP_TIME {
        let end = items.len().min(next + STEP_BATCH);
        for outcome in act(set, &items[next..end]) {
            let is_gone = outcome == Err(Error::UnknownSet);
            append_line(&mut lines, &outcome);
            if is_gone {
                return (lines.into(), None);
            }
        }
        next = end;
    }
    (lines.into(), (next < items.len()).then_some(next))
}

fn append_line(lines: &mut Vec<u8>, outcome: &Outcome) {
    let written = match outcome {
        Ok(facts) => serde_json::to_writer(&mut *lines, facts),
        Err(error) => serde_json::to_writer(&mut *lines, &HashMap::from([("error", error.body())])),
    };
    if let Err(error) = written {
        tracing::error!(%error, "a line could not be written");
    }
    lines.push(b'\n');
}
