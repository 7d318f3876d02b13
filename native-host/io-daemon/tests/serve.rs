//! The accept loop and bodies over real sockets.

use std::time::Duration;

use crate::support::{Client, MIB, Served, pattern, sha1_of};
use piecewise_io_daemon::serve::Limits;
use serde_json::json;

fn limits(max_connections: usize, header_timeout: Duration) -> Limits {
    Limits { max_connections, header_timeout }
}

#[tokio::test]
async fn a_piece_is_written_and_read_over_one_connection() {
    let served = Served::new(Limits::default()).await;
    served.bed.open(&[("a/b", 2 * MIB as u64)]).await;
    let bytes = pattern(2 * MIB, 1);
    let mut client = served.connect().await;

    client.write(0, &bytes).await.unwrap().is(204, "");
    let read = client.ask("GET /v1/sets/set/read", "Range: bytes=1000-1100999\r\n", b"").await.unwrap();

    assert_eq!(read.status, 206);
    assert_eq!(read.body, bytes[1000..1_101_000]);
    assert_eq!(served.bed.stats().await["connections"], 1);
}

#[tokio::test]
async fn fault_53_a_write_with_an_old_token_gets_401_and_the_connection_stays_open() {
    let served = Served::new(Limits::default()).await;
    let mut client = served.connect().await;
    let piece = pattern(4 * MIB, 2);
    let head = format!(
        "POST /v1/sets/set/write HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer the-token-of-before\r\nContent-Length: {}\r\n\r\n",
        served.address,
        piece.len()
    );

    client.raw(head).await.unwrap();
    client.raw(&piece).await.unwrap();

    client.answer().await.unwrap().is(401, "unauthorized");
    client.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
}

#[tokio::test]
async fn fault_53_a_write_to_a_daemon_started_again_gets_unknown_set_and_is_repeated() {
    let served = Served::new(Limits::default()).await;
    let mut client = served.connect().await;
    let piece = pattern(4 * MIB, 3);

    client.write(0, &piece).await.unwrap().is(404, "unknown_set");
    client.open(&[("a", 4 * MIB as u64)]).await;
    client.write(0, &piece).await.unwrap().is(204, "");
    client.write(0, &piece).await.unwrap().is(204, "");

    assert_eq!(std::fs::read(served.bed.file("a")).unwrap(), piece);
}

#[tokio::test]
async fn fault_65_a_declared_length_over_the_limit_is_413_before_any_body() {
    let served = Served::new(Limits::default()).await;
    served.bed.open(&[("a", 1 << 40)]).await;
    let mut client = served.connect().await;
    let more = format!(
        "Content-Range: bytes 0-9/*\r\nContent-Digest: {}\r\nContent-Length: {}\r\n",
        sha1_of(b""),
        1_u64 << 50
    );

    client.raw(client.head("POST /v1/sets/set/write", &more)).await.unwrap();

    client.answer().await.unwrap().is(413, "too_large");
}

#[tokio::test]
async fn fault_65_a_length_that_is_not_the_ranges_is_400() {
    let served = Served::new(Limits::default()).await;
    served.bed.register(&[("a", 100)]).await;
    let mut client = served.connect().await;
    for body in [&b"short"[..], b"longer than its range"] {
        let more = format!("Content-Range: bytes 0-9/*\r\nContent-Digest: {}\r\n", sha1_of(body));
        client.ask("POST /v1/sets/set/write", &more, body).await.unwrap().is(400, "bad_request");
    }
    assert_eq!(served.bed.tree(), [""; 0]);
}

#[tokio::test]
async fn fault_65_a_body_that_ends_early_writes_nothing() {
    let served = Served::new(Limits::default()).await;
    served.bed.register(&[("a", 100)]).await;
    let mut client = served.connect().await;
    let more =
        format!("Content-Range: bytes 0-9/*\r\nContent-Digest: {}\r\nContent-Length: 10\r\n", sha1_of(b"0123456789"));
    client.raw(client.head("POST /v1/sets/set/write", &more)).await.unwrap();
    client.raw("01234").await.unwrap();

    drop(client);

    let mut other = served.connect().await;
    while served.bed.stats().await["connections"] != 1 {
        other.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    }
    assert_eq!(served.bed.tree(), [""; 0]);
    assert_eq!(served.bed.stats().await["bufferedBytes"], 0);
}

#[tokio::test]
async fn fault_66_a_head_that_does_not_end_is_cut_off() {
    let served = Served::new(limits(8, Duration::from_millis(100))).await;
    let mut silent = served.connect().await;
    let mut slow = served.connect().await;
    slow.raw("GET /health HTTP/1.1\r\nHost: ").await.unwrap();

    silent.closed().await;
    slow.closed().await;
}

#[tokio::test]
async fn fault_66_a_head_over_64_kib_or_100_headers_is_refused() {
    let served = Served::new(Limits::default()).await;
    let long = format!("X: {}\r\n", "x".repeat(70_000));
    let many = "X: x\r\n".repeat(101);
    for more in [long, many] {
        let mut client = served.connect().await;
        client.raw(client.head("GET /health", &more)).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 431);
    }
}

#[tokio::test]
async fn fault_66_the_oldest_stranger_makes_room_and_a_trusted_connection_stays() {
    let served = Served::new(limits(8, Duration::from_secs(10))).await;
    let mut trusted = served.connect().await;
    trusted.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    let mut first = served.connect().await;
    let mut second = served.connect().await;
    let mut third = served.connect().await;

    first.closed().await;

    let health =
        "GET /health HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n".replace("PORT", &served.address.port().to_string());
    for stranger in [&mut second, &mut third] {
        stranger.raw(&health).await.unwrap();
        assert_eq!(stranger.answer().await.unwrap().body, "ok");
    }
    for _ in 0..50 {
        served.connect().await;
    }
    trusted.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
}

#[tokio::test]
async fn fault_66_trusted_connections_stop_at_the_cap() {
    let served = Served::new(limits(4, Duration::from_secs(10))).await;
    let mut trusted = Vec::new();
    for _ in 0..4 {
        let mut client = served.connect().await;
        client.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
        trusted.push(client);
    }

    served.connect().await.closed().await;

    for client in &mut trusted {
        client.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    }
}

#[tokio::test]
async fn fault_49_a_read_whose_file_shrinks_never_ends_cleanly() {
    let served = Served::new(Limits::default()).await;
    let length = 64 * MIB;
    served.bed.open(&[("a", length as u64)]).await;
    let file = std::fs::File::create(served.bed.file("a")).unwrap();
    file.set_len(length as u64).unwrap();
    let mut client = served.connect().await;
    client.raw(client.head("GET /v1/sets/set/read", "")).await.unwrap();
    // Here the daemon waits for a reader: it holds no more than the socket takes.
    client.stream.readable().await.unwrap();

    file.set_len(MIB as u64).unwrap();

    assert_eq!(client.answer().await.err().map(|error| error.kind()), Some(std::io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_signal_to_end() {
    let served = Served::new(Limits::default()).await;
    served.bed.open(&[("a", 10)]).await;
    let mut client = served.connect().await;
    let more =
        format!("Content-Range: bytes 0-9/*\r\nContent-Digest: {}\r\nContent-Length: 10\r\n", sha1_of(b"0123456789"));
    client.raw(client.head("POST /v1/sets/set/write", &more)).await.unwrap();
    client.raw("01234").await.unwrap();
    while served.bed.stats().await["writeRequests"] == 0 {
        tokio::task::yield_now().await;
    }

    let mut other = served.connect().await;
    other.ask("POST /v1/control/shutdown", "", b"").await.unwrap().is(202, "");
    other.closed().await;
    client.raw("56789").await.unwrap();

    client.answer().await.unwrap().is(204, "");
    served.serving.await.unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn strangers_do_not_delay_the_end() {
    let served = Served::new(Limits::default()).await;
    let mut stranger = served.connect().await;
    stranger.raw("GET /health HTTP/1.1\r\n").await.unwrap();
    while served.bed.stats().await["connections"] == 0 {
        tokio::task::yield_now().await;
    }

    served.bed.state.shutdown().cancel();

    stranger.closed().await;
    // Less than the time that requests in flight have.
    tokio::time::timeout(Duration::from_secs(2), served.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn digests_stream_over_a_socket() {
    let served = Served::new(Limits::default()).await;
    served.bed.open(&[("a", 16 * MIB as u64)]).await;
    let mut client: Client = served.connect().await;
    client.write(0, &pattern(16 * MIB, 4)).await.unwrap().is(204, "");
    let ranges: Vec<_> = (0..16).map(|index| json!([index * MIB, MIB])).collect();
    let ask = json!({ "algorithm": "sha1", "ranges": ranges }).to_string();

    let answer = client.ask("POST /v1/sets/set/digests", "", ask.as_bytes()).await.unwrap();

    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(served.bed.stats().await["digestedBytes"], 16 * MIB);
}
