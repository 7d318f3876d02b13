//! Which of its names a file gets, on a file system that tells all names apart.

use crate::support::{Bed, set_of};
use serde_json::{Value, json};

/// `t/ReadMe`, `t/readme` and `t/a:b` of four bytes each, with their portable names and a folder for skipped files.
fn odd_set() -> Value {
    let mut set = set_of(&[("t/ReadMe", 4), ("t/readme.1", 4), ("t/a_b", 4)]);
    set["rivals"] = json!([
        [{ "file": 0 }, { "file": 1, "own": ["t", "readme"] }],
        [{ "file": 2, "own": ["t", "a:b"], "original": ["t", "a:b\u{200b}"] }],
    ]);
    set["aside"] = json!([".hidden", "parts"]);
    set
}

/// The files below the root, without folders.
fn files(bed: &Bed) -> Vec<String> {
    bed.tree().into_iter().filter(|name| !name.ends_with('/')).collect()
}

fn put_file(bed: &Bed, path: &str, content: &str) {
    std::fs::create_dir_all(bed.file("t")).unwrap();
    std::fs::write(bed.file(path), content).unwrap();
}

fn read(bed: &Bed, path: &str) -> String {
    std::fs::read_to_string(bed.file(path)).unwrap()
}

#[tokio::test]
async fn files_are_made_and_written_under_their_own_names() {
    let bed = Bed::new();
    bed.put("set", odd_set()).await.is(201, "");
    bed.put("set", odd_set()).await.is(204, "");
    bed.put("set", set_of(&[("t/ReadMe", 4), ("t/readme.1", 4), ("t/a_b", 4)])).await.is(409, "set_conflict");

    bed.make("set", 3).await;
    bed.write(0, b"onestwosodds").await.is(204, "");

    assert_eq!(files(&bed), ["t/ReadMe", "t/a:b", "t/readme"]);
    assert_eq!([read(&bed, "t/readme"), read(&bed, "t/a:b")], ["twos", "odds"]);
    assert_eq!(bed.read("bytes=2-9").await.body, "estwosod");
    assert_eq!(bed.flush(&[0, 1, 2]).await, [4, 4, 4]);
    bed.post("/v1/sets/set/remove", json!({ "files": [1, 2] })).await.is(204, "");
    assert_eq!(files(&bed), ["t/ReadMe"]);
}

#[tokio::test]
async fn files_are_found_under_any_of_their_names_and_errors_say_which() {
    let bed = Bed::new();
    put_file(&bed, "t/readme.1", "twos");
    put_file(&bed, "t/a:b\u{200b}", "odd");
    bed.put("set", odd_set()).await.is(201, "");
    assert_eq!(bed.look(&[1, 2]).await.iter().map(|one| one["length"].clone()).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(bed.read("bytes=4-7").await.body, "twos");

    let told = bed.claim_all("set", 3, "new").await;

    assert!(told[0]["error"].is_null());
    assert_eq!([&told[1]["error"]["path"], &told[2]["error"]["path"]], ["t/readme.1", "t/a:b\u{200b}"]);
    assert_eq!(told[1]["error"]["kind"], "file_exists");
}

#[tokio::test]
async fn a_file_that_was_claimed_keeps_its_name_whatever_lies_at_the_others() {
    let bed = Bed::new();
    put_file(&bed, "t/readme.1", "twos");
    bed.put("set", odd_set()).await.is(201, "");
    let claimed = bed.claim_all("set", 2, "overwritten").await.remove(1);
    put_file(&bed, "t/readme", "mine");
    bed.write(0, b"ONESTWOS").await.is(204, "");

    // As after a restart of the daemon.
    bed.forget("set").await.is(204, "");
    bed.put("set", odd_set()).await.is(201, "");
    bed.post("/v1/sets/set/reserve", json!({ "files": [1] })).await.is(204, "");
    let again = json!({ "file": 1, "as": "again", "identity": claimed["identity"], "length": 4 });
    assert!(bed.claim("set", json!([again])).await[0]["error"].is_null());
    bed.write(4, b"twos").await.is(204, "");

    assert_eq!([read(&bed, "t/readme.1"), read(&bed, "t/readme")], ["twos", "mine"]);
}

#[tokio::test]
async fn nobody_else_writes_to_any_name_that_a_file_may_have() {
    let bed = Bed::new();
    bed.put("set", odd_set()).await.is(201, "");
    for file in [1, 0, 2] {
        bed.post("/v1/sets/set/reserve", json!({ "files": [file] })).await.is(204, "");
    }
    bed.put("other", set_of(&[("t/readme", 4), ("t/readme.1", 4), ("t/a:b", 4), ("t/c", 4)])).await.is(201, "");
    let reserve = |file: usize| bed.post("/v1/sets/other/reserve", json!({ "files": [file] }));
    for file in [0, 1, 2] {
        reserve(file).await.is(409, "writer_conflict");
    }
    reserve(3).await.is(204, "");

    let renaming = |file: usize, name: &str| json!({ "file": file, "path": ["t", name] });
    bed.make("set", 3).await;
    for name in ["readme", "a_b", "ReadMe"] {
        let onto = renaming(if name == "a_b" { 1 } else { 2 }, name);
        bed.post("/v1/sets/set/rename", onto).await.is(409, "file_exists");
    }
    bed.post("/v1/sets/set/rename", renaming(2, "c")).await.is(409, "writer_conflict");
    reserve(2).await.is(409, "writer_conflict");
    bed.post("/v1/sets/set/rename", renaming(2, "d")).await.is(204, "");
    reserve(2).await.is(204, "");
    assert_eq!(files(&bed), ["t/ReadMe", "t/d", "t/readme"]);
}

#[tokio::test]
async fn skipped_files_lie_under_their_portable_names_and_come_to_their_own() {
    let bed = Bed::new();
    bed.put("set", odd_set()).await.is(201, "");
    bed.post("/v1/sets/set/prepare", json!({ "skipped": [1, 2] })).await.is(204, "");
    bed.make("set", 3).await;
    bed.write(0, b"onestwosodds").await.is(204, "");
    assert_eq!(files(&bed), [".hidden/parts/t/a_b", ".hidden/parts/t/readme.1", "t/ReadMe"]);
    put_file(&bed, "t/a:b", "mine");

    bed.post("/v1/sets/set/prepare", json!({ "skipped": [] })).await.is(204, "");

    assert_eq!(files(&bed), ["t/ReadMe", "t/a:b", "t/readme"]);
    assert_eq!([read(&bed, "t/readme"), read(&bed, "t/a:b")], ["twos", "mine"]);
    bed.write(4, b"TWOS").await.is(204, "");
    assert_eq!(read(&bed, "t/readme"), "TWOS");
}

#[tokio::test]
async fn malformed_rivals_are_refused_and_no_name_is_exempt_from_the_checks_of_a_path() {
    let bed = Bed::new();
    for rivals in [
        json!([{ "file": 0 }]),
        json!([[0]]),
        json!([[{}]]),
        json!([[{ "file": 0, "folder": ["t"] }]]),
        json!([[{ "folder": ["t"], "own": ["x"] }]]),
        json!([[{ "file": 3 }]]),
        json!([[{ "file": 0 }, { "file": 0 }]]),
        json!([[{ "file": 1, "own": ["t", "ReadMe"] }]]),
        json!([[{ "file": 1, "own": ["t", "..", "..", "x"] }]]),
        json!([[{ "file": 1, "own": ["t", "x"], "original": ["t\\x"] }]]),
        json!([[{ "folder": ["/etc"] }]]),
        json!([[{ "file": 1, "own": [".hidden", "parts", "x"] }]]),
    ] {
        let mut set = odd_set();
        set["rivals"] = rivals.clone();
        let answer = bed.put("set", set).await;
        assert_eq!((answer.status.as_u16(), answer.kind().as_str()), (400, "bad_request"), "{rivals}");
    }
    for hostile in [
        json!([[{ "file": 1, "own": [".piecewise", "x"] }]]),
        json!([[{ "file": 1, "original": ["t", ".PIECEWISE", "x"] }]]),
        json!([[{ "folder": ["PIECEW~1"] }]]),
    ] {
        let mut set = odd_set();
        set["rivals"] = hostile;
        bed.put("set", set).await.is(403, "refused");
    }
    assert_eq!(bed.tree(), [""; 0]);
}
