//! A download goes on while the machine is full of idle and slow connections.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use piecewise_io_daemon::serve::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, Served, pattern};
use tokio_util::sync::CancellationToken;

const PIECE: usize = 256 * 1024;
const PIECES: usize = 200;
const SLOW: usize = 200;

/// How many connections are idle. A larger number can be set for a run by hand.
fn idle() -> usize {
    std::env::var("IDLE_CONNECTIONS").map_or(2_000, |count| count.parse().unwrap())
}

fn raise_descriptors(needed: usize) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    assert!(limit.maximum.is_none_or(|most| most >= needed as u64), "the test needs {needed} descriptors");
}

/// Sends a head byte by byte without an end, and starts again when it is cut off.
async fn be_slow(address: std::net::SocketAddr, over: CancellationToken, cut_off: Arc<AtomicUsize>) {
    while !over.is_cancelled() {
        let mut client = Client::connect(address).await;
        while !over.is_cancelled() && client.raw("G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cut_off.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_66_a_download_goes_on_among_idle_and_slow_connections() {
    let idle = idle();
    raise_descriptors(idle + 4 * SLOW);
    let served = Served::new(Limits::default()).await;
    served.bed.open(&[("a", (PIECE * PIECES) as u64)]).await;
    let mut trusted = served.connect().await;
    trusted.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    let over = CancellationToken::new();
    let cut_off = Arc::new(AtomicUsize::new(0));
    let slow: Vec<_> =
        (0..SLOW).map(|_| tokio::spawn(be_slow(served.address, over.clone(), Arc::clone(&cut_off)))).collect();
    let crowd = tokio::spawn({
        let address = served.address;
        async move {
            let mut connections = Vec::new();
            for _ in 0..idle {
                connections.push(Client::connect(address).await);
            }
            connections
        }
    });

    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for index in 0..PIECES {
        let asked = Instant::now();
        trusted.write((index * PIECE) as u64, &pattern(PIECE, index as u64)).await.unwrap().is(204, "");
        slowest = slowest.max(asked.elapsed());
    }
    let connections = crowd.await.unwrap();
    trusted.write(0, &pattern(PIECE, 0)).await.unwrap().is(204, "");
    let mut late = served.connect().await;
    late.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");

    let stats = served.bed.stats().await;
    println!(
        "{PIECES} pieces in {:?}, the slowest in {slowest:?}; {} idle, {} slow cut off {} times; {} connections at the end",
        started.elapsed(),
        connections.len(),
        SLOW,
        cut_off.load(Ordering::Relaxed),
        stats["connections"]
    );
    assert_eq!(stats["writes"], PIECES + 1);
    assert!(stats["connections"].as_u64().unwrap() <= Limits::default().max_connections as u64);
    over.cancel();
    for one in slow {
        one.await.unwrap();
    }
}
