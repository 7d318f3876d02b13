//! Writes, reads and hashes the bytes of a set.

use std::sync::{Arc, mpsc};

use crate::support::{Bed, MIB, pattern, request, set_of, sha1_of, write_request};
use axum::body::{Body, Bytes};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use piecewise_io_daemon::disk::digest::{Algorithm, Digest};
use piecewise_io_daemon::disk::{Limits, budget::Budget};
use serde_json::{Value, json};

#[tokio::test]
async fn a_write_over_several_files_reads_back() {
    let bed = Bed::new();
    bed.register(&[("a/one", 10), ("empty", 0), ("two", 5), ("b/c/three", 100)]).await;
    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 2, 3] })).await.is(204, "");
    let new = |file: usize| json!({ "file": file, "as": "new" });
    bed.claim("set", json!([new(0), new(2), new(3)])).await;
    let bytes = pattern(40, 1);

    bed.write(5, &bytes).await.is(204, "");

    let answer = bed.read("bytes=5-44").await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-range"), Some("bytes 5-44/115"));
    assert_eq!(answer.body, bytes);
    assert_eq!(std::fs::read(bed.file("two")).unwrap(), bytes[5..10]);
    assert!(!bed.file("empty").exists());
    assert_eq!(bed.flush(&[0, 2, 3]).await, [15 - 5, 5, 30]);
    let stats = bed.stats().await;
    assert_eq!((&stats["writes"], &stats["writtenBytes"], &stats["reads"]), (&json!(1), &json!(40), &json!(1)));
    assert_eq!(stats["bufferedBytes"], 0);
}

#[tokio::test]
async fn padding_reads_as_zeros_and_exists_nowhere() {
    let bed = Bed::new();
    let files = json!([
        { "path": ["a"], "length": 3 },
        { "path": [], "length": 20_000, "padding": true },
        { "path": [".."], "length": 1, "padding": true },
        { "path": ["b"], "length": 3 },
    ]);
    bed.put("set", json!({ "root": "root", "files": files })).await.is(201, "");
    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 1, 2, 3] })).await.is(204, "");
    bed.claim("set", json!([{ "file": 0, "as": "new" }, { "file": 3, "as": "new" }])).await;
    let zeros = vec![0; 20_001];
    let whole = [b"abc".as_slice(), &zeros, b"def"].concat();

    bed.write(0, &whole).await.is(204, "");

    assert_eq!(bed.tree(), ["a", "b"]);
    assert_eq!(bed.read("bytes=0-").await.body, whole);
    let digests = bed.digests("sha256", json!([[0, 20_007], [3, 20_001]])).await;
    let expected = [&whole, &zeros].map(|bytes| Digest::of(Algorithm::Sha256, bytes).to_base64());
    assert_eq!(lines(&digests.body), expected.map(Value::from));
}

#[tokio::test]
async fn a_digest_mismatch_over_300_files_touches_none() {
    let bed = Bed::new();
    let names: Vec<_> = (0..300).map(|index| format!("folder/{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    bed.open(&files).await;
    let bytes = pattern(3000, 2);
    let wrong = request("POST", "/v1/sets/set/write")
        .header("content-range", "bytes 0-2999/*")
        .header("content-digest", sha1_of(b"something else"));

    bed.send(wrong.body(bytes.clone().into()).unwrap()).await.is(409, "digest_mismatch");

    assert!(names.iter().all(|name| std::fs::metadata(bed.file(name)).unwrap().len() == 0));
    bed.write(0, &bytes).await.is(204, "");
    assert_eq!(bed.tree().len(), 301);
    assert_eq!(bed.read("bytes=0-").await.body, bytes);
}

#[tokio::test]
async fn sha_256_is_as_good_as_sha_1() {
    let bed = Bed::new();
    bed.open(&[("a", 3)]).await;
    let digest = format!("sha-256=:{}:", Digest::of(Algorithm::Sha256, b"abc").to_base64());
    let write = |digest: String| {
        request("POST", "/v1/sets/set/write").header("content-range", "bytes 0-2/*").header("content-digest", digest)
    };

    bed.send(write(digest.clone()).body("abc".into()).unwrap()).await.is(204, "");
    bed.send(write(digest).body("abd".into()).unwrap()).await.is(409, "digest_mismatch");
}

#[tokio::test]
async fn a_write_without_its_headers_is_malformed() {
    let bed = Bed::new();
    bed.register(&[("a", 3)]).await;
    let good = ("bytes 0-2/*".to_owned(), sha1_of(b"abc"));
    for (range, digest) in [
        (None, Some(good.1.clone())),
        (Some(good.0.clone()), None),
        (Some("bytes 2-0/*".to_owned()), Some(good.1.clone())),
        (Some("bytes 0-2/3".to_owned()), Some(good.1.clone())),
        (Some(good.0.clone()), Some("md5=:AAAA:".to_owned())),
        (Some("bytes 0-1/*".to_owned()), Some(good.1.clone())),
    ] {
        let mut write = request("POST", "/v1/sets/set/write");
        if let Some(range) = range {
            write = write.header("content-range", range);
        }
        if let Some(digest) = digest {
            write = write.header("content-digest", digest);
        }
        bed.send(write.body("abc".into()).unwrap()).await.is(400, "bad_request");
    }
    let twice = request("POST", "/v1/sets/set/write")
        .header("content-range", &good.0)
        .header("content-range", &good.0)
        .header("content-digest", &good.1);
    bed.send(twice.body("abc".into()).unwrap()).await.is(400, "bad_request");
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn fault_54_the_same_piece_at_once_and_again_is_stored_once() {
    let bed = Arc::new(Bed::new());
    bed.open(&[("a", 500_000), ("b", 500_000)]).await;
    let bytes = pattern(1_000_000, 3);

    let writes = (0..8).map(|_| {
        let (bed, bytes) = (Arc::clone(&bed), bytes.clone());
        tokio::spawn(async move { bed.write(0, &bytes).await.is(204, "") })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    bed.write(0, &bytes).await.is(204, "");

    assert_eq!(bed.read("bytes=0-").await.body, bytes);
    assert_eq!(bed.tree(), ["a", "b"]);
}

#[tokio::test]
async fn fault_65_a_range_beyond_the_set_is_refused_without_holding_anything() {
    let bed = Bed::new();
    bed.open(&[("a", 1000)]).await;
    for range in ["bytes 0-9007199254740991/*", "bytes 9007199254740991-9007199254740992/*", "bytes 1000-1000/*"] {
        let write = request("POST", "/v1/sets/set/write").header("content-range", range);
        let answer = bed.send(write.header("content-digest", sha1_of(b"x")).body("x".into()).unwrap()).await;
        answer.is(416, "bad_range");
        assert_eq!(answer.header("content-range"), Some("bytes */1000"));
    }
    bed.digests("sha1", json!([[0, 9_007_199_254_740_991_u64]])).await.is(416, "bad_range");
    bed.digests("sha1", json!([[u64::MAX, u64::MAX]])).await.is(416, "bad_range");
    bed.digests("sha1", json!([[0, 0]])).await.is(400, "bad_request");
    assert_eq!(bed.stats().await["peakBufferedBytes"].as_u64().unwrap() / 65_536, 0);
}

#[tokio::test]
async fn fault_65_a_write_over_the_limit_fails_before_its_body_is_read() {
    let bed = Bed::new();
    bed.open(&[("a", 1 << 40)]).await;
    let write = request("POST", "/v1/sets/set/write")
        .header("content-range", format!("bytes 0-{}/*", 512 * MIB))
        .header("content-digest", sha1_of(b""));

    let before = bed.stats().await["peakBufferedBytes"].clone();

    bed.send(write.body(Body::empty()).unwrap()).await.is(413, "too_large");

    assert_eq!(bed.stats().await["peakBufferedBytes"], before);
}

#[tokio::test]
async fn fault_65_a_body_longer_than_its_range_is_cut_short() {
    let bed = Bed::new();
    bed.register(&[("a", 10)]).await;
    let chunk = Bytes::from(vec![0; 65_536]);
    let endless = stream::iter((0..64).map(move |_| Ok::<_, String>(chunk.clone())));
    let write = request("POST", "/v1/sets/set/write").header("content-range", "bytes 0-9/*");

    let answer = bed.send(write.header("content-digest", sha1_of(b"")).body(Body::from_stream(endless)).unwrap()).await;

    answer.is(413, "too_large");
    assert!(bed.stats().await["peakBufferedBytes"].as_u64().unwrap() <= 16_384);
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn fault_65_a_body_shorter_than_its_range_is_malformed() {
    let bed = Bed::new();
    bed.register(&[("a", 10)]).await;
    let short = stream::iter([Ok::<_, String>(Bytes::from_static(b"abc"))]);
    let write = request("POST", "/v1/sets/set/write").header("content-range", "bytes 0-9/*");

    let answer =
        bed.send(write.header("content-digest", sha1_of(b"abc")).body(Body::from_stream(short)).unwrap()).await;

    answer.is(400, "bad_request");
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn fault_65_a_registration_over_128_mib_is_too_large() {
    let bed = Bed::new();
    let chunk = Bytes::from(vec![b' '; MIB]);
    let long = stream::iter((0..129).map(move |_| Ok::<_, String>(chunk.clone())));

    let answer = bed.send(request("PUT", "/v1/sets/set").body(Body::from_stream(long)).unwrap()).await;

    answer.is(413, "too_large");
}

#[tokio::test(start_paused = true)]
async fn fault_66_a_body_that_stops_is_given_up_after_30_seconds() {
    let bed = Bed::new();
    bed.open(&[("a", 10)]).await;
    let stuck = stream::iter([Ok::<_, String>(Bytes::from_static(b"abc"))]).chain(stream::pending());
    let write = request("POST", "/v1/sets/set/write").header("content-range", "bytes 0-9/*");
    let started = tokio::time::Instant::now();

    let answer =
        bed.send(write.header("content-digest", sha1_of(b"abc")).body(Body::from_stream(stuck)).unwrap()).await;

    answer.is(408, "timeout");
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(bed.stats().await["bufferedBytes"], 0);
}

#[tokio::test]
async fn fault_70_ranges_of_stored_and_missing_bytes() {
    let bed = Bed::new();
    bed.open(&[("a", 10), ("b", 10)]).await;
    bed.write(0, b"0123456789ab").await.is(204, "");

    assert_eq!(bed.read("bytes=0-3").await.body, "0123");
    assert_eq!(bed.read("bytes=8-11").await.body, "89ab");
    for missing in ["bytes=0-", "bytes=-1", "bytes=12-12", "bytes=0-12", "bytes=0-99"] {
        let answer = bed.read(missing).await;
        answer.is(416, "not_stored");
        assert_eq!(answer.json()["path"], "b");
    }
    for (range, kind, status) in [
        ("bytes=20-", "bad_range", 416),
        ("bytes=-0", "bad_range", 416),
        ("bytes=0-1,3-4", "bad_range", 416),
        ("bytes=a-b", "bad_request", 400),
        ("pieces=0-1", "bad_request", 400),
    ] {
        bed.read(range).await.is(status, kind);
    }
    bed.write(12, b"cdefghij").await.is(204, "");
    let whole = bed.send(request("GET", "/v1/sets/set/read").body(Body::empty()).unwrap()).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-range")), (200, None));
    assert_eq!(whole.body, "0123456789abcdefghij");
    assert_eq!(bed.read("bytes=-5").await.body, "fghij");
    assert_eq!(bed.read("bytes=15-99").await.header("content-range"), Some("bytes 15-19/20"));
}

#[tokio::test]
async fn a_large_read_arrives_in_chunks_and_complete() {
    let bed = Bed::new();
    let bytes = pattern(3 * MIB + 17, 4);
    bed.open(&[("a", 2 * MIB as u64), ("b", MIB as u64 + 17)]).await;
    bed.write(0, &bytes).await.is(204, "");

    let answer = bed.read("bytes=1-").await;

    assert_eq!(answer.header("content-length"), Some((3 * MIB + 16).to_string().as_str()));
    assert_eq!(answer.body, bytes[1..]);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_breaks_the_answer_off() {
    use http_body_util::BodyExt as _;
    let bed = Bed::new();
    let bytes = pattern(4 * MIB, 5);
    bed.open(&[("a", 4 * MIB as u64)]).await;
    bed.write(0, &bytes).await.is(204, "");
    let read = request("GET", "/v1/sets/set/read").body(Body::empty()).unwrap();
    let mut body = tower::ServiceExt::oneshot(bed.app.clone(), read).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();

    std::fs::OpenOptions::new().write(true).open(bed.file("a")).unwrap().set_len(MIB as u64).unwrap();

    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn digests_are_in_the_order_of_the_ranges_with_null_for_missing_bytes() {
    let bed = Bed::new();
    let bytes = pattern(MIB + 5, 6);
    bed.open(&[("a", MIB as u64), ("b", 5), ("c", 100)]).await;
    bed.write(0, &bytes).await.is(204, "");

    let answer = bed.digests("sha1", json!([[MIB, 5], [0, MIB + 5], [MIB, 6], [MIB + 5, 1], [3, 1]])).await;

    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let digest = |part: &[u8]| Value::from(Digest::of(Algorithm::Sha1, part).to_base64());
    let expected = [digest(&bytes[MIB..]), digest(&bytes), Value::Null, Value::Null, digest(&bytes[3..4])];
    assert_eq!(lines(&answer.body), expected);
    assert_eq!(bed.digests("sha1", json!([])).await.body, "");
    bed.digests("md5", json!([[0, 1]])).await.is(400, "bad_request");
}

#[tokio::test]
async fn many_ranges_are_answered_and_too_many_are_not() {
    let bed = Bed::new();
    bed.open(&[("a", 70_000)]).await;
    bed.write(0, &pattern(70_000, 7)).await.is(204, "");
    let ranges = |count: usize| Value::from((0..count).map(|at| json!([at, 1])).collect::<Vec<_>>());

    assert_eq!(lines(&bed.digests("sha1", ranges(65_536)).await.body).len(), 65_536);
    bed.digests("sha1", ranges(65_537)).await.is(400, "bad_request");
}

#[tokio::test]
async fn a_digest_of_more_than_the_longest_piece_is_refused() {
    let bed = Bed::new();
    let length = 1_u64 << 52;
    let padding = json!({ "root": "root", "files": [{ "path": [], "length": length, "padding": true }] });
    bed.put("set", padding).await.is(201, "");

    bed.digests("sha1", json!([[0, 512 * MIB + 1]])).await.is(400, "bad_request");
    bed.digests("sha1", json!([[0, length]])).await.is(400, "bad_request");
    bed.digests("sha1", json!([[0, length + 1]])).await.is(416, "bad_range");
    assert_eq!(lines(&bed.digests("sha1", json!([[length - 1, 1]])).await.body).len(), 1);
}

#[tokio::test]
async fn the_digest_of_a_body_is_in_hex() {
    let bed = Bed::new();
    let bytes = pattern(3 * MIB + 1, 8);
    for (path, algorithm) in [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256)] {
        let parts: Vec<_> = bytes.chunks(100_000).map(|part| Ok::<_, String>(Bytes::copy_from_slice(part))).collect();
        let ask = request("POST", &format!("/v1/hash/{path}")).body(Body::from_stream(stream::iter(parts))).unwrap();

        let answer = bed.send(ask).await;

        assert_eq!(answer.body, Digest::of(algorithm, &bytes).to_hex());
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    }
}

#[tokio::test]
async fn a_whole_file_is_allocated_at_the_first_write_and_none_is_cut() {
    let bed = Bed::new();
    let mut set = set_of(&[("long", 10), ("new", 50_000)]);
    set["allocate"] = true.into();
    bed.put("set", set).await.is(201, "");
    std::fs::write(bed.file("long"), "0123456789 and more").unwrap();
    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 1] })).await.is(204, "");
    let facts = bed.look(&[0]).await.remove(0);
    let facts = json!({ "length": 19, "mtimeNs": facts["mtimeNs"], "identity": facts["identity"] });
    bed.claim("set", json!([{ "file": 0, "as": "found", "facts": facts }, { "file": 1, "as": "new" }])).await;

    bed.write(8, b"xyz").await.is(204, "");

    assert_eq!(std::fs::read(bed.file("long")).unwrap(), b"01234567xy and more");
    assert_eq!(std::fs::metadata(bed.file("new")).unwrap().len(), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_pieces_at_once_stay_within_a_budget_of_four() {
    const PIECE: usize = 2 * MIB;
    const PART: usize = PIECE / 16;
    let budget = 4 * PIECE;
    let bed = Arc::new(Bed::with(Limits { buffer_bytes: budget, ..Limits::default() }, None));
    bed.open(&[("a", 64 * PIECE as u64)]).await;
    let piece = Bytes::from(pattern(PIECE, 9));
    let digest = sha1_of(&piece);

    let writes = (0..64_usize).map(|index| {
        let (bed, piece, digest) = (Arc::clone(&bed), piece.clone(), digest.clone());
        tokio::spawn(async move {
            // In parts, as from a socket, so that all bodies are in flight at once.
            let parts = (0..16).map(move |part| Ok::<_, String>(piece.slice(part * PART..(part + 1) * PART)));
            let range = format!("bytes {}-{}/*", index * PIECE, (index + 1) * PIECE - 1);
            let write = request("POST", "/v1/sets/set/write").header("content-range", range);
            let body = Body::from_stream(stream::iter(parts));
            bed.send(write.header("content-digest", digest).body(body).unwrap()).await.is(204, "");
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }

    let stats = bed.stats().await;
    println!("peakBufferedBytes {}, resident at most {}", stats["peakBufferedBytes"], peak_resident());
    assert!(stats["peakBufferedBytes"].as_u64().unwrap() <= budget as u64);
    assert_eq!(stats["writes"], 64);
    let ranges: Vec<_> = (0..64).map(|index| json!([index * PIECE, PIECE])).collect();
    let expected = Value::from(Digest::of(Algorithm::Sha1, &piece).to_base64());
    assert!(lines(&bed.digests("sha1", ranges.into()).await.body).iter().all(|one| *one == expected));
}

#[tokio::test(start_paused = true)]
async fn a_write_without_room_gets_busy_and_retry_after() {
    let bed = Bed::with(Limits { buffer_bytes: MIB, ..Limits::default() }, None);
    bed.open(&[("a", 10)]).await;
    let budget: &Budget = bed.state.disk().budget();
    let held = budget.lend(MIB).await.unwrap();

    let answer = bed.write(0, b"0123456789").await;

    answer.is(503, "busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(held);
    bed.write(0, b"0123456789").await.is(204, "");
}

#[test]
fn a_client_that_goes_away_does_not_stop_a_write_that_has_begun() {
    // The only thread for blocking work is kept busy, so no write ends before its client is gone.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let bed = Bed::new();
        let bytes = pattern(MIB, 10);
        bed.open(&[("a", MIB as u64)]).await;
        let (release, held) = mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv());
        let mut write = Box::pin(tower::ServiceExt::oneshot(bed.app.clone(), write_request("set", 0, &bytes)));
        while bed.stats().await["bufferedBytes"] == 0 {
            assert!((&mut write).now_or_never().is_none());
        }
        assert!((&mut write).now_or_never().is_none());

        drop(write);
        release.send(()).unwrap();

        holding.await.unwrap().unwrap();
        while bed.stats().await["bufferedBytes"] != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bed.read("bytes=0-").await.body, bytes);
    });
}

fn lines(body: &[u8]) -> Vec<Value> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The most resident memory that this process ever had, as the system reports it.
fn peak_resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned()
}
