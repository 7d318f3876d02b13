//! When the daemon ends: with a signal, with its parent, or with its standard input.
//!
//! A daemon that outlived the program that started it would hold files and a port that nobody knows of.

use std::io::{self, BufRead as _, Read};
use std::time::Duration;

use rustix::process::{Pid, getppid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// There is no event for the end of a parent on all systems, so it is looked for this often.
const PARENT_POLL: Duration = Duration::from_millis(500);

/// The longest first line read from standard input; a token is shorter.
const MAX_LINE: u64 = 4096;

/// The process that started the daemon. Asked for first of all, so that its end is noticed however early it comes.
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
/// Waits on a thread of its own: a read cannot be cancelled, and one on the runtime's pool would delay its end.
#[must_use]
pub fn input_end() -> oneshot::Receiver<()> {
    let (ended, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    told
}

/// Resolves, once polled, when it is time to end, with the reason. Without `input_end` the input is not watched.
///
/// Signals count from this call on, not from the first poll: whoever was told the port may send one at once.
///
/// # Errors
/// Where no signal handler can be installed.
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
            () = input => "the input ended",
            () = parent_end(parent) => "the parent ended",
        }
    })
}

/// Resolves when the parent is another one: an orphan is given to a new parent.
async fn parent_end(parent: Option<Pid>) {
    let mut ticks = tokio::time::interval(PARENT_POLL);
    while getppid() == parent {
        ticks.tick().await;
    }
}
