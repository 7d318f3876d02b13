//! Looks at, reserves, claims, flushes, renames and removes files.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::support::disks::{LoopDisk, SmallDisk};
use crate::support::{Answer, Bed, MIB, pattern, set_of, write_request};
use serde_json::{Value, json};

/// The claim of a file as it was reported.
fn found(file: usize, facts: &Value) -> Value {
    let facts = json!({ "length": facts["length"], "mtimeNs": facts["mtimeNs"], "identity": facts["identity"] });
    json!({ "file": file, "as": "found", "facts": facts })
}

fn kind(told: &Value) -> &str {
    told["error"]["kind"].as_str().unwrap_or_default()
}

async fn reserve(bed: &Bed, id: &str, files: &[usize]) -> Answer {
    bed.post(&format!("/v1/sets/{id}/reserve"), json!({ "files": files })).await
}

/// Registers the files under another id, on behalf of a torrent and a program.
async fn put_for(bed: &Bed, id: &str, files: &[(&str, u64)], torrent: &str, owner: &str) {
    let mut set = set_of(files);
    set["torrent"] = json!(torrent);
    set["owner"] = json!(owner);
    bed.put(id, set).await.is(201, "");
}

fn put_file(bed: &Bed, path: &str, content: impl AsRef<[u8]>) {
    let place = bed.file(path);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, content).unwrap();
}

#[tokio::test]
async fn what_lies_at_the_places_is_reported_in_order_and_nothing_is_made() {
    let bed = Bed::new();
    let names = ["file", "missing", "folder", "link", "empty", "hole", "two/names", "pipe"];
    bed.register(&names.map(|name| (name, 10))).await;
    assert_eq!(bed.look(&[1, 0]).await, [Value::Null, Value::Null]);
    put_file(&bed, "file", "abc");
    put_file(&bed, "empty", "");
    put_file(&bed, "two/names", "x");
    std::fs::create_dir(bed.file("folder")).unwrap();
    symlink("file", bed.file("link")).unwrap();
    std::fs::File::create(bed.file("hole")).unwrap().set_len(1 << 20).unwrap();
    std::fs::hard_link(bed.file("two/names"), bed.file("other")).unwrap();
    assert!(Command::new("mkfifo").arg(bed.file("pipe")).status().unwrap().success());

    let told = bed.look(&[0, 1, 2, 3, 4, 5, 6, 7]).await;

    let of = |key: &str| told.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        of("kind"),
        json!(["file", null, "other", "other", "file", "file", "file", "other"]).as_array().unwrap()[..]
    );
    assert_eq!(of("length"), json!([3, null, 0, 0, 0, 1 << 20, 1, 0]).as_array().unwrap()[..]);
    assert_eq!(of("isHole"), json!([false, null, false, false, true, true, false, false]).as_array().unwrap()[..]);
    assert_eq!(of("otherNames"), json!([0, null, 0, 0, 0, 0, 1, 0]).as_array().unwrap()[..]);
    let metadata = std::fs::metadata(bed.file("file")).unwrap();
    let born = metadata.created().map_or(0, |born| born.duration_since(UNIX_EPOCH).unwrap().as_nanos());
    assert_eq!(told[0]["identity"], format!("{}:{}:{born}", metadata.dev(), metadata.ino()));
    let mtime = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    assert_eq!(told[0]["mtimeNs"], mtime.to_string());
    assert_eq!(bed.stats().await["openFiles"], 0);
}

#[tokio::test]
async fn many_files_are_looked_at_in_one_request_and_too_many_are_not() {
    let bed = Bed::new();
    let names: Vec<_> = (0..16_385).map(|index| format!("t/{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    bed.register(&files).await;
    put_file(&bed, "t/16000", "x");

    let told = bed.look(&(0..16_384).collect::<Vec<_>>()).await;

    assert_eq!(told.len(), 16_384);
    assert_eq!(told.iter().position(|facts| !facts.is_null()), Some(16_000));
    let all: Vec<_> = (0..16_385).collect();
    bed.post("/v1/sets/set/look", json!({ "files": all })).await.is(400, "bad_request");
    bed.post("/v1/sets/set/look", json!({ "files": [16_385] })).await.is(400, "bad_request");
    reserve(&bed, "set", &all).await.is(204, "");
}

#[tokio::test]
async fn law_nothing_is_written_that_was_not_claimed_and_nothing_claimed_that_is_not_reserved() {
    let bed = Bed::new();
    bed.register(&[("a", 4), ("b", 4)]).await;
    put_file(&bed, "b", "mine");

    bed.write(0, b"aaaabbbb").await.is(409, "not_claimed");
    for claim in [json!({ "file": 0, "as": "new" }), json!({ "file": 1, "as": "overwritten" })] {
        assert_eq!(kind(&bed.claim("set", json!([claim])).await[0]), "not_reserved");
    }
    let renaming = json!({ "file": 1, "path": ["c"] });
    bed.post("/v1/sets/set/rename", renaming.clone()).await.is(409, "not_reserved");
    bed.post("/v1/sets/set/remove", json!({ "files": [1] })).await.is(409, "not_reserved");
    reserve(&bed, "set", &[0]).await.is(204, "");
    bed.claim("set", json!([{ "file": 0, "as": "new" }])).await;
    bed.write(0, b"aaaabbbb").await.is(409, "not_claimed");

    assert_eq!(bed.tree(), ["a", "b"]);
    assert_eq!(std::fs::read(bed.file("a")).unwrap(), b"", "a part of a piece that cannot be stored");
    assert_eq!(std::fs::read(bed.file("b")).unwrap(), b"mine");
    bed.post("/v1/sets/set/release", json!({ "files": [0] })).await.is(204, "");
    bed.write(0, b"aaaa").await.is(409, "not_claimed");
}

#[tokio::test]
async fn a_new_file_is_made_only_if_nothing_lies_there() {
    let bed = Bed::new();
    bed.register(&[("mine", 4), ("a/new", 4), ("link", 4), ("folder", 4), ("empty", 0)]).await;
    put_file(&bed, "mine", "kept and long");
    symlink("nowhere", bed.file("link")).unwrap();
    std::fs::create_dir(bed.file("folder")).unwrap();
    put_file(&bed, "empty", "");

    let told = bed.claim_all("set", 5, "new").await;

    assert_eq!(
        told.iter().map(kind).collect::<Vec<_>>(),
        ["file_exists", "", "file_exists", "file_exists", "file_exists"]
    );
    assert_eq!(told[0]["error"]["path"], "mine");
    assert_eq!((&told[1]["length"], &told[1]["isHole"]), (&json!(0), &json!(true)));
    assert_eq!(std::fs::read(bed.file("mine")).unwrap(), b"kept and long");
    assert!(!bed.file("nowhere").exists());
    bed.write(4, b"abcd").await.is(204, "");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_may_be_repeated() {
    let bed = Bed::new();
    bed.register(&[("new", 4), ("found", 4), ("linked", 4)]).await;
    bed.make("set", 1).await;
    put_file(&bed, "found", "ffff");
    put_file(&bed, "linked", "llll");
    std::fs::hard_link(bed.file("linked"), bed.file("other")).unwrap();
    reserve(&bed, "set", &[0, 1, 2]).await.is(204, "");
    let facts = bed.look(&[1, 2]).await;
    let claims = json!([{ "file": 0, "as": "overwritten" }, found(1, &facts[0]), found(2, &facts[1])]);

    let first = bed.claim("set", claims.clone()).await;
    let second = bed.claim("set", claims.clone()).await;

    assert_eq!(first, second);
    assert_eq!(first.iter().map(kind).collect::<Vec<_>>(), ["", "", ""]);
    bed.write(0, b"nnnnFFFFLLLL").await.is(204, "");
    let later = bed.claim("set", claims).await;
    assert_eq!(later.iter().map(kind).collect::<Vec<_>>(), ["", "file_changed", "file_changed"]);
    // A file that was made exists now. A client that got no answer looks at it and finds it empty.
    assert_eq!(kind(&bed.claim("set", json!([{ "file": 0, "as": "new" }])).await[0]), "file_exists");
    bed.write(0, b"nnnn").await.is(409, "file_changed");
}

#[tokio::test]
async fn a_file_claimed_afresh_is_replaced_by_a_copy_once_for_each_request() {
    use std::os::unix::fs::MetadataExt as _;

    let bed = Bed::new();
    bed.register(&[("t/a", 4)]).await;
    bed.make("set", 1).await;
    bed.write(0, b"aaaa").await.is(204, "");
    let facts = bed.look(&[0]).await.remove(0);
    let before = std::fs::metadata(bed.file("t/a")).unwrap();
    // It was claimed by the same facts before, but not as a copy.
    assert_eq!(bed.claim("set", json!([found(0, &facts)])).await[0], facts);
    let mut claim = found(0, &facts);
    claim["afresh"] = json!(true);

    let first = bed.claim("set", json!([claim])).await;
    let second = bed.claim("set", json!([claim])).await;

    let now = std::fs::metadata(bed.file("t/a")).unwrap();
    assert_eq!(first, second);
    assert_eq!(kind(&first[0]), "");
    assert_ne!(first[0]["identity"], facts["identity"]);
    assert_ne!(now.ino(), before.ino());
    assert_eq!((&first[0]["length"], &first[0]["mtimeNs"]), (&facts["length"], &facts["mtimeNs"]));
    assert_eq!(now.mode(), before.mode());
    assert_eq!(std::fs::read_dir(bed.file("t")).unwrap().count(), 1);
    bed.write(1, b"bb").await.is(204, "");
    assert_eq!(std::fs::read(bed.file("t/a")).unwrap(), b"abba");
    assert_eq!(kind(&bed.claim("set", json!([claim])).await[0]), "file_changed", "it was written since");
}

#[tokio::test]
async fn a_found_file_is_claimed_as_it_is_and_only_if_it_has_not_changed() {
    let bed = Bed::new();
    let names = ["same", "gone", "replaced", "cut", "grown", "written", "folder"];
    bed.register(&names.map(|name| (name, 4))).await;
    for name in names {
        put_file(&bed, name, "0123456789");
    }
    let facts = bed.look(&[0, 1, 2, 3, 4, 5, 6]).await;
    let open = |name: &str| std::fs::OpenOptions::new().write(true).open(bed.file(name)).unwrap();
    std::fs::remove_file(bed.file("gone")).unwrap();
    put_file(&bed, "new", "0123456789");
    std::fs::rename(bed.file("new"), bed.file("replaced")).unwrap();
    open("cut").set_len(9).unwrap();
    open("grown").set_len(11).unwrap();
    open("written").set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    std::fs::remove_file(bed.file("folder")).unwrap();
    std::fs::create_dir(bed.file("folder")).unwrap();
    reserve(&bed, "set", &[0, 1, 2, 3, 4, 5, 6]).await.is(204, "");

    let claims: Vec<_> = facts.iter().enumerate().map(|(file, facts)| found(file, facts)).collect();
    let told = bed.claim("set", json!(claims)).await;

    assert_eq!(told[0], facts[0], "it was touched");
    let why: Vec<_> = told.iter().map(|one| one["error"]["why"].as_str().unwrap_or_default()).collect();
    assert_eq!(why, ["", "was deleted", "was replaced", "was cut off", "was changed", "was changed", "was replaced"]);
    assert!(told[1..].iter().all(|one| kind(one) == "file_changed"));
    bed.write(2, b"xx").await.is(204, "");
    assert_eq!(std::fs::read(bed.file("same")).unwrap(), b"01xx456789", "it was cut");
}

#[tokio::test]
async fn an_overwritten_file_is_cut_to_its_length_or_made() {
    let bed = Bed::new();
    bed.register(&[("long", 4), ("short", 4), ("missing", 4), ("linked", 4)]).await;
    put_file(&bed, "long", "0123456789");
    put_file(&bed, "short", "01");
    put_file(&bed, "linked", "0123456789");
    std::fs::hard_link(bed.file("linked"), bed.file("other")).unwrap();

    let told = bed.claim_all("set", 4, "overwritten").await;

    assert_eq!(told.iter().map(|facts| facts["length"].clone()).collect::<Vec<_>>(), [4, 2, 0, 4]);
    assert_eq!(told[3]["otherNames"], 0);
    bed.write(0, b"llllssssmmmmxxxx").await.is(204, "");
    assert_eq!(std::fs::read(bed.file("other")).unwrap(), b"0123456789");
    assert_eq!(bed.flush(&[0, 1, 2, 3]).await, [4, 4, 4, 4]);
}

/// A file of 3 MiB with another name, claimed and written.
async fn write_linked(bed: &Bed, why_not: &str) {
    let bytes = pattern(3 * MIB, 1);
    bed.register(&[("t/a", bytes.len() as u64)]).await;
    put_file(bed, "t/a", &bytes);
    std::fs::set_permissions(bed.file("t/a"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::hard_link(bed.file("t/a"), bed.file("orig")).unwrap();
    put_file(bed, "t/.piecewise-copy-86f7e437faa5a7fc-daemon", "left by a crash");
    let facts = bed.look(&[0]).await.remove(0);
    reserve(bed, "set", &[0]).await.is(204, "");

    let told = bed.claim("set", json!([found(0, &facts)])).await.remove(0);

    assert_eq!(kind(&told), why_not);
    if why_not.is_empty() {
        assert_eq!((&told["otherNames"], &told["mtimeNs"]), (&json!(0), &facts["mtimeNs"]));
        assert_ne!(told["identity"], facts["identity"]);
        bed.write(0, &pattern(MIB, 2)).await.is(204, "");
        assert_eq!(std::fs::metadata(bed.file("t/a")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(bed.read("bytes=1048576-").await.body, bytes[MIB..]);
    } else {
        bed.write(0, &pattern(MIB, 2)).await.is(409, "not_claimed");
        assert_eq!(bed.look(&[0]).await[0], facts);
    }
    assert_eq!(std::fs::read(bed.file("orig")).unwrap(), bytes);
    assert_eq!(
        bed.tree().into_iter().filter(|name| !name.starts_with("lost")).collect::<Vec<_>>(),
        ["orig", "t/", "t/a"]
    );
}

#[tokio::test]
async fn other_names_of_a_file_keep_their_bytes() {
    write_linked(&Bed::new(), "").await;
}

#[tokio::test]
async fn other_names_of_a_file_keep_their_bytes_on_ext4() {
    let Some(disk) = LoopDisk::mount("ext4", 32) else { return };
    write_linked(&Bed::on(disk.path()), "").await;
}

#[tokio::test]
async fn other_names_of_a_file_keep_their_bytes_on_btrfs_in_no_more_room() {
    let Some(disk) = LoopDisk::mount("btrfs", 128) else { return };
    write_linked(&Bed::on(disk.path()), "").await;
}

#[tokio::test]
async fn too_little_room_for_a_copy_is_reported_before_anything_is_copied() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    write_linked(&Bed::on(disk.path()), "disk_full").await;
}

#[tokio::test]
async fn a_leftover_that_a_set_names_is_one_of_its_files() {
    let bed = Bed::new();
    bed.open(&[("a", 1), (".piecewise-copy-86f7e437faa5a7fc-daemon", 1)]).await;

    bed.claim("set", json!([{ "file": 0, "as": "overwritten" }])).await;

    bed.write(0, b"xy").await.is(204, "");
    assert_eq!(bed.tree(), [".piecewise-copy-86f7e437faa5a7fc-daemon", "a"]);
}

#[tokio::test]
async fn a_path_has_one_writer_among_all_sets() {
    let bed = Bed::new();
    put_for(&bed, "one", &[("t/a", 4), ("t/b", 4)], "one", "page").await;
    put_for(&bed, "two", &[("T/B", 4), ("c", 4)], "two", "page").await;
    put_for(&bed, "three", &[("t/b", 4)], "three", "another").await;
    reserve(&bed, "one", &[1]).await.is(204, "");
    reserve(&bed, "one", &[0, 1]).await.is(204, "");

    let second = reserve(&bed, "two", &[1, 0]).await;
    let third = reserve(&bed, "three", &[0]).await;

    second.is(409, "writer_conflict");
    assert_eq!(
        (&second.json()["path"], &second.json()["holder"]),
        (&json!("T/B"), &json!("another torrent of this process"))
    );
    assert_eq!(third.json()["holder"], "another process");
    assert_eq!(bed.tree(), [""; 0]);
    assert_eq!(kind(&bed.claim("two", json!([{ "file": 1, "as": "new" }])).await[0]), "not_reserved", "of none");
    bed.post("/v1/sets/one/release", json!({ "files": [1] })).await.is(204, "");
    reserve(&bed, "two", &[1, 0]).await.is(204, "");
    bed.forget("two").await.is(204, "");
    reserve(&bed, "three", &[0]).await.is(204, "");
}

/// Two daemons, which are two processes as far as their locks go.
#[tokio::test]
async fn a_path_has_one_writer_among_all_processes() {
    let first = Bed::new();
    first.open(&[("t/a", 4)]).await;
    let second = Bed::on(&first.root);
    second.register(&[("t/a", 4), ("u", 4)]).await;

    let held = reserve(&second, "set", &[0]).await;

    held.is(409, "writer_conflict");
    assert!(held.json()["holder"].as_str().unwrap().contains("the io-daemon"), "{}", held.json()["holder"]);
    reserve(&second, "set", &[1]).await.is(204, "");
    first.post("/v1/sets/set/rename", json!({ "file": 0, "path": ["v"] })).await.is(204, "");
    reserve(&second, "set", &[0]).await.is(204, "");
    second.post("/v1/sets/set/rename", json!({ "file": 1, "path": ["V"] })).await.is(409, "writer_conflict");
    first.forget("set").await.is(204, "");
    second.post("/v1/sets/set/rename", json!({ "file": 1, "path": ["v"] })).await.is(409, "file_exists");
    second.post("/v1/sets/set/rename", json!({ "file": 1, "path": ["V"] })).await.is(204, "");
}

#[tokio::test]
async fn a_set_that_an_earlier_program_left_behind_gives_way_to_the_same_torrent() {
    let bed = Bed::new();
    put_for(&bed, "before", &[("a", 4)], "torrent", "page").await;
    bed.make("before", 1).await;
    put_for(&bed, "after", &[("a", 4)], "torrent", "reloaded").await;
    put_for(&bed, "twice", &[("a", 4)], "torrent", "reloaded").await;

    reserve(&bed, "after", &[0]).await.is(204, "");

    bed.send(write_request("before", 0, b"abcd")).await.is(404, "unknown_set");
    reserve(&bed, "twice", &[0]).await.is(409, "writer_conflict");
    // This program was there all the time, and registers again only to go on.
    put_for(&bed, "before", &[("a", 4)], "torrent", "page").await;
    let again = bed.post("/v1/sets/before/reserve", json!({ "files": [0], "again": true })).await;
    again.is(409, "writer_conflict");
    bed.claim("after", json!([{ "file": 0, "as": "overwritten" }])).await;
    bed.send(write_request("after", 0, b"abcd")).await.is(204, "");
}

#[tokio::test]
async fn registering_again_ends_what_was_reserved_and_claimed() {
    let bed = Bed::new();
    bed.open(&[("a", 4)]).await;
    bed.write(0, b"abcd").await.is(204, "");
    let facts = bed.look(&[0]).await.remove(0);

    bed.put("set", set_of(&[("a", 4)])).await.is(204, "");

    bed.write(0, b"abcd").await.is(409, "not_claimed");
    let again = |length: u64| json!([{ "file": 0, "as": "again", "identity": facts["identity"], "length": length }]);
    assert_eq!(kind(&bed.claim("set", again(4)).await[0]), "not_reserved");
    reserve(&bed, "set", &[0]).await.is(204, "");
    let told = bed.claim("set", again(5)).await.remove(0);
    assert_eq!((kind(&told), &told["error"]["why"]), ("file_changed", &json!("was cut off")));
    assert_eq!(bed.claim("set", again(4)).await, [facts]);
    bed.write(0, b"ABCD").await.is(204, "");
}

/// After a crash of the daemon a client knows which files it had claimed, and how long they were at least.
#[tokio::test]
async fn a_file_claimed_again_is_neither_made_nor_cut() {
    let bed = Bed::new();
    bed.open(&[("a", 4), ("gone", 4), ("replaced", 4)]).await;
    bed.write(0, b"aaaaggggrrrr").await.is(204, "");
    let facts = bed.look(&[0, 1, 2]).await;
    bed.forget("set").await.is(204, "");
    let successor = Bed::on(&bed.root);
    std::fs::remove_file(bed.file("gone")).unwrap();
    put_file(&bed, "new", "rrrr");
    std::fs::rename(bed.file("new"), bed.file("replaced")).unwrap();
    successor.register(&[("a", 4), ("gone", 4), ("replaced", 4)]).await;
    reserve(&successor, "set", &[0, 1, 2]).await.is(204, "");

    let claims: Vec<_> = (0..3)
        .map(|file| json!({ "file": file, "as": "again", "identity": facts[file]["identity"], "length": 2 }))
        .collect();
    let told = successor.claim("set", json!(claims)).await;

    assert_eq!(told.iter().map(kind).collect::<Vec<_>>(), ["", "file_changed", "file_changed"]);
    assert_eq!(bed.tree(), ["a", "replaced"]);
    successor.write(2, b"AA").await.is(204, "");
    assert_eq!(std::fs::read(bed.file("a")).unwrap(), b"aaAA");
    assert_eq!(successor.flush(&[0, 1]).await, [json!(4), json!("not_stored")]);
}

#[tokio::test]
async fn a_read_returns_the_facts_of_the_files_after_it() {
    let bed = Bed::new();
    bed.open(&[("a", 4), ("b", 4), ("c", 2 * MIB as u64)]).await;
    bed.write(0, &pattern(8 + 2 * MIB, 1)).await.is(204, "");
    let facts = bed.look(&[0, 1]).await;

    let read = bed.read("bytes=2-5").await;
    let long = bed.read("bytes=0-").await;

    let told: Vec<Value> = serde_json::from_str(read.header("piecewise-files").unwrap()).unwrap();
    for (file, told) in told.iter().enumerate() {
        assert_eq!(told["file"], file);
        assert_eq!((&told["identity"], &told["mtimeNs"]), (&facts[file]["identity"], &facts[file]["mtimeNs"]));
    }
    assert_eq!(told.len(), 2);
    assert_eq!(long.header("piecewise-files"), None, "it is read in parts");
    // Files are looked at by path: another file is reported, and read the next time.
    put_file(&bed, "new", "BBBB");
    std::fs::rename(bed.file("new"), bed.file("b")).unwrap();
    let read = bed.read("bytes=4-7").await;
    let told: Vec<Value> = serde_json::from_str(read.header("piecewise-files").unwrap()).unwrap();
    assert_ne!(told[0]["identity"], facts[1]["identity"]);
    assert_eq!(read.body, "BBBB");
}

#[tokio::test]
async fn facts_of_too_many_files_for_a_header_are_not_returned() {
    let bed = Bed::new();
    let names: Vec<_> = (0..33).map(|index| format!("{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    bed.open(&files).await;
    bed.write(0, &[7; 33]).await.is(204, "");

    assert!(bed.read("bytes=0-31").await.header("piecewise-files").is_some());
    assert_eq!(bed.read("bytes=0-32").await.header("piecewise-files"), None);
}

#[tokio::test]
async fn a_file_that_cannot_be_flushed_does_not_keep_others_from_being_flushed() {
    let bed = Bed::new();
    bed.open(&[("a", 4), ("gone", 4), ("c", 4)]).await;
    bed.write(0, b"aaaaggggcccc").await.is(204, "");
    std::fs::remove_file(bed.file("gone")).unwrap();

    assert_eq!(bed.flush(&[2, 1, 0]).await, [json!(4), json!("file_changed"), json!(4)]);
}

/// On a disk that takes writes and cannot keep them: a file system in a file for which there is no room.
#[tokio::test]
async fn bytes_that_the_disk_lost_are_reported_and_the_file_can_be_written_again() {
    let Some(below) = SmallDisk::mount("size=12m") else { return };
    let Some(disk) = LoopDisk::mount_in(below.path(), "ext4", 64) else { return };
    let bed = Bed::on(disk.path());
    bed.open(&[("small", 4096), ("large", 32 * MIB as u64)]).await;
    bed.write(0, &pattern(4096, 1)).await.is(204, "");
    assert_eq!(bed.flush(&[0]).await, [4096]);
    bed.write(4096, &pattern(32 * MIB, 2)).await.is(204, "");

    let lost = bed.flush(&[1]).await;

    assert!(lost[0] == "unavailable" || lost[0] == "disk_full", "{lost:?}");
    remount(below.path(), "size=128m");
    bed.write(4096, &pattern(32 * MIB, 2)).await.is(204, "");
    assert_eq!(bed.flush(&[1]).await, [32 * MIB]);
}

fn remount(at: &Path, options: &str) {
    let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(at).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn a_file_is_renamed_never_over_anything_and_stays_claimed() {
    let bed = Bed::new();
    bed.open(&[("t/a", 4), ("t/b", 4)]).await;
    bed.write(0, b"aaaabbbb").await.is(204, "");
    put_file(&bed, "mine", "mine");
    put_for(&bed, "other", &[("held", 1)], "other", "page").await;
    reserve(&bed, "other", &[0]).await.is(204, "");
    let identity = bed.look(&[0]).await[0]["identity"].clone();
    let rename = async |path: &[&str]| {
        bed.post("/v1/sets/set/rename", json!({ "file": 0, "path": path, "identity": identity })).await
    };

    rename(&["mine"]).await.is(409, "file_exists");
    rename(&["t", "b"]).await.is(409, "file_exists");
    rename(&["HELD"]).await.is(409, "writer_conflict");
    rename(&["..", "x"]).await.is(400, "bad_request");
    rename(&["x", ".piecewise"]).await.is(403, "refused");
    assert_eq!(std::fs::read(bed.file("t/a")).unwrap(), b"aaaa");
    rename(&["u", "v", "a"]).await.is(204, "");
    rename(&["u", "v", "a"]).await.is(204, "");

    assert_eq!(std::fs::read(bed.file("mine")).unwrap(), b"mine");
    assert_eq!(bed.tree(), ["mine", "t/", "t/b", "u/", "u/v/", "u/v/a"]);
    bed.write(0, b"AAAA").await.is(204, "");
    assert_eq!(bed.read("bytes=0-7").await.body, "AAAAbbbb");
    assert_eq!(bed.flush(&[0]).await, [4]);
    put_for(&bed, "third", &[("t/a", 4), ("u/v/a", 4)], "third", "page").await;
    reserve(&bed, "third", &[0]).await.is(204, "");
    reserve(&bed, "third", &[1]).await.is(409, "writer_conflict");
    // A client that never got the answer registers the old path with a daemon that was started again.
    for id in ["set", "other", "third"] {
        bed.forget(id).await.is(204, "");
    }
    let successor = Bed::on(&bed.root);
    successor.register(&[("t/a", 4), ("t/b", 4)]).await;
    reserve(&successor, "set", &[0]).await.is(204, "");
    let renaming = json!({ "file": 0, "path": ["u", "v", "a"], "identity": identity });
    successor.post("/v1/sets/set/rename", renaming).await.is(204, "");
    assert_eq!(successor.look(&[0]).await[0]["length"], 4);
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_made_under_its_new_path_after_a_rename() {
    let bed = Bed::new();
    bed.register(&[("a", 4)]).await;
    reserve(&bed, "set", &[0]).await.is(204, "");

    bed.post("/v1/sets/set/rename", json!({ "file": 0, "path": ["b", "c"] })).await.is(204, "");
    bed.make("set", 1).await;

    assert_eq!(bed.tree(), ["b/", "b/c"]);
}

#[tokio::test]
async fn malformed_requests_for_files_are_refused() {
    let bed = Bed::new();
    bed.register(&[("a", 4)]).await;
    bed.put("padded", json!({ "root": "root", "files": [{ "path": [], "length": 1, "padding": true }] }))
        .await
        .is(201, "");
    for (path, body) in [
        ("set/look", json!({})),
        ("set/look", json!({ "files": [1] })),
        ("set/look", json!({ "files": [0, 0] })),
        ("set/flush", json!({ "files": [-1] })),
        ("set/reserve", json!({ "files": [0], "more": 1 })),
        ("set/claim", json!({ "claims": [{ "file": 0 }] })),
        ("set/claim", json!({ "claims": [{ "file": 1, "as": "new" }] })),
        ("set/claim", json!({ "claims": [{ "file": 0, "as": "found" }] })),
        ("set/claim", json!({ "claims": [{ "file": 0, "as": "again", "identity": "1", "length": 1 }] })),
        ("padded/claim", json!({ "claims": [{ "file": 0, "as": "new" }] })),
        ("set/rename", json!({ "file": 0, "path": [] })),
        ("set/rename", json!({ "file": 0, "path": ["b"], "identity": "x" })),
        ("set/remove", json!({ "files": "all" })),
    ] {
        bed.post(&format!("/v1/sets/{path}"), body).await.is(400, "bad_request");
    }
    for step in ["look", "flush", "reserve", "release", "remove"] {
        bed.post(&format!("/v1/sets/none/{step}"), json!({ "files": [] })).await.is(404, "unknown_set");
    }
    assert_eq!(bed.tree(), [""; 0]);
}
