//! Registers and forgets sets, and removes their files.

use crate::support::{Bed, request, set_of};
use axum::body::Body;
use piecewise_io_daemon::disk::Registered;
use piecewise_io_daemon::disk::layout::Layout;
use piecewise_io_daemon::disk::registration::Registration;
use serde_json::json;
use std::os::unix::fs::symlink;

#[tokio::test]
async fn registering_is_idempotent_and_touches_no_file() {
    let bed = Bed::new();
    let set = set_of(&[("a/b", 3), ("empty", 0)]);

    bed.put("set", set.clone()).await.is(201, "");
    bed.put("set", set.clone()).await.is(204, "");
    bed.put("set", set_of(&[("a/b", 4), ("empty", 0)])).await.is(409, "set_conflict");
    bed.put("set", json!({ "root": "root", "files": set["files"], "allocate": true })).await.is(409, "set_conflict");

    assert_eq!(bed.tree(), [""; 0]);
    assert_eq!(bed.stats().await["sets"], 1);
}

#[tokio::test]
async fn more_than_ten_thousand_sets_are_refused() {
    let bed = Bed::new();
    let set = || Registration::new("root".to_owned(), bed.root.clone(), Layout::default(), false);
    for index in 0..10_000 {
        assert_eq!(bed.state.disk().register(index.to_string(), set(), &[]), Ok(Registered::New));
    }

    bed.put("set", set_of(&[])).await.is(503, "busy");
    bed.put("0", set_of(&[])).await.is(204, "");
}

#[tokio::test]
async fn a_malformed_registration_is_refused() {
    let bed = Bed::new();
    let long = "x".repeat(65);
    for id in ["a.b", "%2e%2e", "a%2Fb", "%00", "%ff", &long] {
        bed.put(id, set_of(&[("a", 1)])).await.is(400, "bad_request");
    }
    bed.put(&"x".repeat(64), set_of(&[("a", 1)])).await.is(201, "");
    bed.put("root", json!({ "root": "elsewhere", "files": [] })).await.is(404, "unknown_root");
    for files in [
        json!([{ "path": ["a"], "length": -1 }]),
        json!([{ "path": ["a"], "length": 0.5 }]),
        json!([{ "path": ["a"], "length": 9_007_199_254_740_992_u64 }]),
        json!([{ "path": ["a"], "length": 9_007_199_254_740_991_u64 }, { "path": ["b"], "length": 1 }]),
        json!([{ "path": ["a"], "length": 1 }, { "path": ["a"], "length": 1 }]),
        json!([{ "path": "a", "length": 1 }]),
        json!([{ "path": ["a"] }]),
        json!("a"),
    ] {
        bed.put("set", json!({ "root": "root", "files": files })).await.is(400, "bad_request");
    }
}

#[tokio::test]
async fn fault_61_hostile_paths_are_refused_and_nothing_is_touched() {
    let bed = Bed::new();
    let long = "a".repeat(256);
    for path in [
        json!([]),
        json!([""]),
        json!([".."]),
        json!(["a", "..", "..", "b"]),
        json!(["/etc/passwd"]),
        json!(["a/b"]),
        json!(["..\\b"]),
        json!(["C:\\b"]),
        json!(["a\u{0}b"]),
        json!([long]),
    ] {
        let files = json!([{ "path": path, "length": 1 }]);
        bed.put("set", json!({ "root": "root", "files": files })).await.is(400, "bad_request");
    }
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn the_own_folder_is_no_part_of_a_set_under_any_name() {
    let bed = Bed::new();
    let vectors = include_str!("../../../test/fixtures/reserved-names.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();

    for name in vectors["reserved"].as_array().unwrap() {
        for path in [json!([name]), json!([name, "x.resume"]), json!(["t", name, "x"])] {
            let answer = bed.put("set", json!({ "root": "root", "files": [{ "path": path, "length": 1 }] })).await;
            answer.is(403, "refused");
            assert_eq!(answer.json()["why"], "piecewise keeps its own data in a folder of this name");
        }
        let aside = json!([name, "x"]);
        bed.put("set", json!({ "root": "root", "files": [], "aside": aside })).await.is(403, "refused");
    }
    for aside in [json!([".piecewise"]), json!([".piecewise", "parts", ".piecewise"])] {
        bed.put("set", json!({ "root": "root", "files": [], "aside": aside })).await.is(403, "refused");
    }
    let free: Vec<_> =
        vectors["free"].as_array().unwrap().iter().map(|name| json!({ "path": [name], "length": 1 })).collect();
    bed.put("set", json!({ "root": "root", "files": free, "aside": [".piecewise", "parts"] })).await.is(201, "");
}

#[tokio::test]
async fn fault_61_a_symlink_put_in_the_way_later_leads_nowhere() {
    let bed = Bed::new();
    let outside = bed.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "kept").unwrap();
    bed.register(&[("folder/file", 4), ("link", 4)]).await;
    symlink(&outside, bed.file("folder")).unwrap();
    symlink(outside.join("file"), bed.file("link")).unwrap();

    bed.post("/v1/sets/set/reserve", json!({ "files": [0] })).await.is(403, "refused");
    bed.post("/v1/sets/set/reserve", json!({ "files": [1] })).await.is(204, "");
    for how in ["new", "overwritten"] {
        let told = bed.claim("set", json!([{ "file": 1, "as": how }])).await.remove(0);
        assert!(["refused", "file_exists"].contains(&told["error"]["kind"].as_str().unwrap()), "{told}");
    }
    assert_eq!(bed.look(&[0, 1]).await[0]["error"]["kind"], "refused");
    bed.read("bytes=0-3").await.is(403, "refused");
    bed.digests("sha1", json!([[4, 4]])).await.is(403, "refused");
    bed.post("/v1/sets/set/remove", json!({ "files": [1] })).await.is(204, "");

    assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"kept");
}

#[tokio::test]
async fn preparing_makes_no_file() {
    let bed = Bed::new();
    bed.register(&[("a/data", 5), ("b/c/empty", 0), ("d/other", 0)]).await;

    bed.post("/v1/sets/set/prepare", json!({ "skipped": [2] })).await.is(204, "");
    bed.post("/v1/sets/set/prepare", json!({ "skipped": [2] })).await.is(204, "");

    assert_eq!(bed.tree(), [""; 0]);
    bed.post("/v1/sets/set/prepare", json!({ "skipped": [3] })).await.is(400, "bad_request");
    bed.post("/v1/sets/none/prepare", json!({ "skipped": [0] })).await.is(404, "unknown_set");
}

#[tokio::test]
async fn forgetting_leaves_the_files() {
    let bed = Bed::new();
    bed.open(&[("a/b", 3)]).await;
    bed.write(0, b"abc").await.is(204, "");

    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(204, "");

    assert_eq!(bed.tree(), ["a/", "a/b"]);
    assert_eq!(bed.stats().await["openFiles"], 0);
    bed.write(0, b"abc").await.is(404, "unknown_set");
    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(404, "unknown_set");
}

#[tokio::test]
async fn fault_69_removing_files_removes_exactly_those_and_never_the_root() {
    let bed = Bed::new();
    bed.register(&[("a/b/one", 1), ("a/two", 1), ("three", 1), ("never/written", 1), ("a/other", 1)]).await;
    bed.make("set", 3).await;
    bed.write(0, b"123").await.is(204, "");
    std::fs::write(bed.file("a/kept"), "").unwrap();
    std::fs::write(bed.file("a/other"), "not reserved").unwrap();
    std::fs::create_dir(bed.file("also")).unwrap();

    bed.post("/v1/sets/set/remove", json!({ "files": [0, 1, 2, 4] })).await.is(409, "not_reserved");
    assert!(bed.file("a/b/one").exists());
    bed.post("/v1/sets/set/reserve", json!({ "files": [3] })).await.is(204, "");
    bed.post("/v1/sets/set/remove", json!({ "files": [0, 1, 2, 3] })).await.is(204, "");

    assert_eq!(bed.tree(), ["a/", "a/kept", "a/other", "also/"]);
    bed.write(0, b"1").await.is(409, "file_changed");
}

#[tokio::test]
async fn fault_69_a_root_that_is_empty_afterwards_stays() {
    let bed = Bed::new();
    bed.open(&[("a/b", 1)]).await;

    bed.post("/v1/sets/set/remove", json!({ "files": [0] })).await.is(204, "");

    assert!(bed.root.is_dir());
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn fault_69_removing_files_removes_regular_files_only() {
    let bed = Bed::new();
    let target = bed.directory.path().join("target");
    std::fs::write(&target, "kept").unwrap();
    bed.register(&[("link", 1), ("dangling", 1), ("pipe", 1), ("socket", 1), ("folder", 1), ("file", 1)]).await;
    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 1, 2, 3, 4, 5] })).await.is(204, "");
    bed.claim("set", json!([{ "file": 5, "as": "new" }])).await;
    symlink(&target, bed.file("link")).unwrap();
    symlink("file", bed.file("dangling")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bed.file("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(bed.file("socket")).unwrap();
    std::fs::create_dir(bed.file("folder")).unwrap();
    std::fs::write(bed.file("folder/foreign"), "kept").unwrap();

    bed.post("/v1/sets/set/remove", json!({ "files": [0, 1, 2, 3, 4, 5] })).await.is(204, "");

    assert_eq!(bed.tree(), ["dangling", "folder/", "folder/foreign", "link", "pipe", "socket"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"kept");
}
