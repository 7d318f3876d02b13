//! When the daemon ends: at a signal, or when its parent or its standard input ends.
//!
//! A daemon that outlived the program that started it would keep files open and a port bound, and nobody would know of
//! it.

use std::io::{self, BufRead as _, Read};
use std::time::Duration;

use rustix::process::{Pid, getppid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How often the parent is looked for, because not every system has an event for its end.
const PARENT_POLL: Duration = Duration::from_millis(500);

/// The longest first line read from standard input; a token is shorter.
const MAX_LINE: u64 = 4096;

/// The process that started the daemon. Called before anything else, so that even an early end of the parent is
/// noticed.
#[must_use]
pub fn parent() -> Option<Pid> {
    getppid()
}

/// The first line of standard input without its line break.
///
/// # Errors
/// Those of the input. A line that never ends is cut at 4096 bytes.
pub fn first_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

/// Resolves at the end of standard input.
///
/// Waits on a thread of its own: a read cannot be cancelled, and one on a thread of the runtime would delay the end of
/// the daemon.
#[must_use]
pub fn input_end() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    end
}

/// Resolves with the reason when it is time to end. Without `input_end` the standard input is not watched.
///
/// Signals count from this call on, not from the first poll: a parent that has read the port may send one at once.
///
/// # Errors
/// Fails if no signal handler can be installed.
pub fn watch(
    parent: Option<Pid>,
    input_end: Option<oneshot::Receiver<()>>,
) -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let input = async {
        match input_end {
            Some(end) => drop(end.await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "terminated",
            _ = interrupt.recv() => "interrupted",
            () = input => "the standard input ended",
            () = parent_end(parent) => "the parent ended",
        }
    })
}

/// Resolves when the parent has changed: the system gives an orphan a new parent.
async fn parent_end(parent: Option<Pid>) {
    let mut ticks = tokio::time::interval(PARENT_POLL);
    while getppid() == parent {
        ticks.tick().await;
    }
}
