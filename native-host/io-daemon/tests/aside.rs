//! Files that nobody wants are set aside, brought back and removed.

use std::os::unix::fs::symlink;

use crate::support::{Answer, Bed, set_of, write_request};
use piecewise_io_daemon::disk::Limits;
use serde_json::{Value, json};

/// A set with a folder for skipped files.
fn set_with_aside(files: &[(&str, u64)], skipped: &[usize]) -> Value {
    let mut set = set_of(files);
    set["aside"] = json!([".hidden", "parts"]);
    set["skipped"] = json!(skipped);
    set
}

/// Three files of four bytes, of which only the first is wanted, and a write of some bytes of each.
async fn one_of_three(bed: &Bed) {
    bed.put("set", set_with_aside(&ABC, &[])).await.is(201, "");
    skip(bed, &[1, 2]).await.is(204, "");
    bed.claim_all("set", 3, "overwritten").await;
    bed.write(0, b"aaaabbbbcc").await.is(204, "");
}

const ABC: [(&str, u64); 3] = [("t/a", 4), ("t/b/b", 4), ("t/b/c", 4)];

async fn skip(bed: &Bed, files: &[usize]) -> Answer {
    bed.post("/v1/sets/set/prepare", json!({ "skipped": files })).await
}

/// Puts a file of the user in the place of the second.
fn lie_in_place(bed: &Bed, content: &str) {
    std::fs::create_dir_all(bed.file("t/b")).unwrap();
    std::fs::write(bed.file("t/b/b"), content).unwrap();
}

async fn remove_all(bed: &Bed) -> Answer {
    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 1, 2] })).await;
    bed.post("/v1/sets/set/remove", json!({ "files": [0, 1, 2] })).await
}

/// The files below the root, without folders.
fn files(bed: &Bed) -> Vec<String> {
    bed.tree().into_iter().filter(|name| !name.ends_with('/')).collect()
}

#[tokio::test]
async fn a_skipped_file_is_set_aside_and_read_from_there() {
    let bed = Bed::new();
    one_of_three(&bed).await;

    assert_eq!(files(&bed), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a"]);
    assert_eq!(bed.read("bytes=2-9").await.body, "aabbbbcc");
    assert_eq!(bed.digests("sha1", json!([[0, 4], [4, 4], [8, 4]])).await.body.split(|byte| *byte == b'\n').count(), 4);
    assert_eq!(bed.flush(&[0, 1, 2]).await, [4, 4, 2]);
    let facts = bed.look(&[0, 2]).await;
    assert_eq!([&facts[0]["isAside"], &facts[1]["isAside"]], [false, true]);
    assert_eq!(std::fs::read(bed.file(".hidden/parts/t/b/c")).unwrap(), b"cc");
}

#[tokio::test]
async fn a_file_that_is_wanted_again_is_moved_and_leaves_no_folder() {
    let bed = Bed::with(Limits { max_open_files: 1, ..Limits::default() }, None);
    one_of_three(&bed).await;

    skip(&bed, &[2]).await.is(204, "");
    assert_eq!(files(&bed), [".hidden/parts/t/b/c", "t/a", "t/b/b"]);
    skip(&bed, &[]).await.is(204, "");
    skip(&bed, &[]).await.is(204, "");

    assert_eq!(bed.tree(), [".hidden/", "t/", "t/a", "t/b/", "t/b/b", "t/b/c"]);
    bed.write(10, b"cc").await.is(204, "");
    assert_eq!(bed.flush(&[0, 1, 2]).await, [4, 4, 4]);
    assert_eq!(bed.read("bytes=0-").await.body, "aaaabbbbcccc");
}

#[tokio::test]
async fn a_daemon_that_was_started_again_learns_what_is_skipped_with_the_registration() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    bed.forget("set").await.is(204, "");
    let successor = Bed::on(&bed.root);

    successor.put("set", set_with_aside(&ABC, &[1, 2])).await.is(201, "");
    successor.claim_all("set", 3, "overwritten").await;
    successor.write(8, b"cccc").await.is(204, "");

    assert_eq!(files(&successor), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a"]);
    assert_eq!(successor.read("bytes=0-").await.body, "aaaabbbbcccc");
    skip(&successor, &[]).await.is(204, "");
    assert_eq!(files(&successor), ["t/a", "t/b/b", "t/b/c"]);
}

/// The client has not said yet what it wants, and may read and write before it does.
#[tokio::test]
async fn what_an_earlier_registration_set_aside_is_used_until_it_is_brought_back() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    bed.forget("set").await.is(204, "");
    let successor = Bed::on(&bed.root);
    successor.put("set", set_with_aside(&ABC, &[])).await.is(201, "");

    assert_eq!(successor.read("bytes=0-9").await.body, "aaaabbbbcc");
    successor.claim_all("set", 3, "overwritten").await;
    successor.write(10, b"cc").await.is(204, "");
    assert_eq!(successor.flush(&[0, 1, 2]).await, [4, 4, 4]);
    assert_eq!(files(&successor), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a"]);
    skip(&successor, &[1]).await.is(204, "");

    assert_eq!(files(&successor), [".hidden/parts/t/b/b", "t/a", "t/b/c"]);
    assert_eq!(successor.read("bytes=0-").await.body, "aaaabbbbcccc");
}

#[tokio::test]
async fn registering_again_does_not_change_what_is_skipped() {
    let bed = Bed::new();
    one_of_three(&bed).await;

    bed.put("set", set_with_aside(&ABC, &[])).await.is(204, "");
    bed.write(8, b"cccc").await.is(409, "not_claimed");
    bed.claim_all("set", 3, "overwritten").await;
    bed.write(8, b"cccc").await.is(204, "");
    assert_eq!(files(&bed), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a"]);
    skip(&bed, &[]).await.is(204, "");

    assert_eq!(bed.read("bytes=0-").await.body, "aaaabbbbcccc");
    let mut elsewhere = set_with_aside(&ABC, &[]);
    elsewhere["aside"] = json!(["elsewhere"]);
    bed.put("set", elsewhere).await.is(409, "set_conflict");
    bed.put("set", set_of(&ABC)).await.is(409, "set_conflict");
}

#[tokio::test]
async fn a_skipped_file_that_exists_is_used_where_it_is() {
    let bed = Bed::new();
    lie_in_place(&bed, "BBBB");

    one_of_three(&bed).await;

    assert_eq!(files(&bed), [".hidden/parts/t/b/c", "t/a", "t/b/b"]);
    assert_eq!(std::fs::read(bed.file("t/b/b")).unwrap(), b"bbbb");
}

#[tokio::test]
async fn a_file_set_aside_is_used_on_even_if_another_file_appears_in_its_place() {
    let bed = Bed::with(Limits { max_open_files: 1, ..Limits::default() }, None);
    one_of_three(&bed).await;
    lie_in_place(&bed, "mine");

    bed.write(0, b"AAAABBBBCC").await.is(204, "");

    assert_eq!(bed.read("bytes=0-9").await.body, "AAAABBBBCC");
    assert_eq!(std::fs::read(bed.file("t/b/b")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_file_in_its_place_is_never_replaced_and_the_one_set_aside_is_removed() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    lie_in_place(&bed, "mine");

    skip(&bed, &[2]).await.is(204, "");

    assert_eq!(files(&bed), [".hidden/parts/t/b/c", "t/a", "t/b/b"]);
    assert_eq!(bed.read("bytes=4-7").await.body, "mine");
    bed.write(4, b"bbbb").await.is(409, "file_changed");
    assert_eq!(bed.flush(&[1]).await, ["file_changed"]);
    assert_eq!(std::fs::read(bed.file("t/b/b")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_stays_aside_and_the_others_are_moved() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    std::fs::create_dir_all(bed.file("t/b/b")).unwrap();

    assert_eq!(bed.look(&[1]).await[0]["isAside"], true);
    let refused = skip(&bed, &[]).await;

    refused.is(403, "refused");
    assert_eq!(refused.json()["path"], "t/b/b");
    assert_eq!(refused.json()["why"], "a folder lies where the file should");
    assert_eq!(
        bed.tree(),
        [
            ".hidden/",
            ".hidden/parts/",
            ".hidden/parts/t/",
            ".hidden/parts/t/b/",
            ".hidden/parts/t/b/b",
            "t/",
            "t/a",
            "t/b/",
            "t/b/b/",
            "t/b/c"
        ]
    );
    assert_eq!(bed.read("bytes=0-9").await.body, "aaaabbbbcc");
    std::fs::remove_dir(bed.file("t/b/b")).unwrap();
    skip(&bed, &[]).await.is(204, "");
    assert_eq!(files(&bed), ["t/a", "t/b/b", "t/b/c"]);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_only_affects_wanted_files() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.file("t")).unwrap();
    std::fs::write(bed.file("t/b"), "in the way").unwrap();
    one_of_three(&bed).await;

    skip(&bed, &[]).await.is(403, "refused");

    assert_eq!(files(&bed), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a", "t/b"]);
    assert_eq!(bed.read("bytes=0-9").await.body, "aaaabbbbcc");
}

#[tokio::test]
async fn a_folder_of_another_set_does_not_count_as_a_file_set_aside() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    bed.put("other", set_with_aside(&[("t/b", 4)], &[])).await.is(201, "");

    bed.post("/v1/sets/other/prepare", json!({ "skipped": [] })).await.is(204, "");

    assert_eq!(files(&bed), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a"]);
}

#[tokio::test]
async fn fault_49_a_file_deleted_while_set_aside_is_not_made_again_by_a_write() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    std::fs::remove_file(bed.file(".hidden/parts/t/b/b")).unwrap();

    bed.write(4, b"bbbb").await.is(409, "file_changed");

    skip(&bed, &[2]).await.is(204, "");
    bed.read("bytes=4-7").await.is(416, "not_stored");
    bed.write(4, b"bbbb").await.is(409, "file_changed");
    bed.claim("set", json!([{ "file": 1, "as": "new" }])).await;
    bed.write(4, b"bbbb").await.is(204, "");
    assert_eq!(files(&bed), [".hidden/parts/t/b/c", "t/a", "t/b/b"]);
}

#[tokio::test]
async fn room_is_reserved_for_a_file_once_it_is_wanted() {
    let bed = Bed::new();
    let mut set = set_with_aside(&[("a", 4), ("b", 100_000)], &[1]);
    set["allocate"] = true.into();
    bed.put("set", set).await.is(201, "");
    bed.make("set", 2).await;
    bed.write(0, b"aaaabb").await.is(204, "");
    let length = |path: &str| std::fs::metadata(bed.file(path)).unwrap().len();
    assert_eq!(length(".hidden/parts/b"), 2);

    skip(&bed, &[]).await.is(204, "");
    bed.write(4, b"bb").await.is(204, "");

    assert_eq!(length("b"), 100_000);
}

#[tokio::test]
async fn fault_69_removing_files_removes_what_is_set_aside_and_nothing_of_others() {
    let bed = Bed::new();
    one_of_three(&bed).await;
    bed.put("other", set_with_aside(&[("t/kept", 2), ("u", 2)], &[0, 1])).await.is(201, "");
    bed.make("other", 2).await;
    bed.send(write_request("other", 0, b"kkuu")).await.is(204, "");

    remove_all(&bed).await.is(204, "");

    assert_eq!(files(&bed), [".hidden/parts/t/kept", ".hidden/parts/u"]);
    bed.post("/v1/sets/other/remove", json!({ "files": [0, 1] })).await.is(204, "");
    assert_eq!(bed.tree(), [".hidden/"]);
}

#[tokio::test]
async fn fault_61_nothing_is_set_aside_or_brought_back_through_a_symlink_that_leads_out() {
    let bed = Bed::new();
    let outside = bed.directory.path().join("outside");
    std::fs::create_dir_all(outside.join("parts/t/b")).unwrap();
    std::fs::write(outside.join("parts/t/b/b"), "kept").unwrap();
    symlink(&outside, bed.file(".hidden")).unwrap();
    bed.put("set", set_with_aside(&ABC, &[1, 2])).await.is(201, "");

    for told in bed.claim_all("set", 3, "new").await.drain(1..) {
        assert_eq!(told["error"]["kind"], "refused");
    }
    bed.read("bytes=4-7").await.is(403, "refused");
    skip(&bed, &[0]).await.is(403, "refused");
    remove_all(&bed).await.is(204, "");
    assert_eq!(std::fs::read(outside.join("parts/t/b/b")).unwrap(), b"kept");
    assert!(!outside.join("parts/t/b/c").exists());

    std::fs::remove_file(bed.file(".hidden")).unwrap();
    bed.forget("set").await.is(204, "");
    one_of_three(&bed).await;
    symlink(&outside, bed.file("t/b")).unwrap();
    skip(&bed, &[]).await.is(403, "refused");
    assert_eq!(files(&bed), [".hidden/parts/t/b/b", ".hidden/parts/t/b/c", "t/a", "t/b"]);
    assert!(!outside.join("b").exists());

    std::fs::remove_file(bed.file("t/b")).unwrap();
    std::fs::remove_file(bed.file(".hidden/parts/t/b/b")).unwrap();
    symlink(outside.join("parts/t/b/b"), bed.file(".hidden/parts/t/b/b")).unwrap();
    bed.put("set", set_with_aside(&ABC, &[])).await.is(204, "");
    skip(&bed, &[]).await.is(204, "");
    assert_eq!(files(&bed), [".hidden/parts/t/b/b", "t/a", "t/b/c"]);
}

#[tokio::test]
async fn a_malformed_selection_is_refused() {
    let bed = Bed::new();
    for aside in [json!([]), json!([".."]), json!(["a/b"]), json!("parts"), json!([""]), json!(["a", "\u{0}"])] {
        let mut set = set_with_aside(&ABC, &[]);
        set["aside"] = aside;
        bed.put("set", set).await.is(400, "bad_request");
    }
    for inside in [".hidden/parts", ".hidden/parts/t/b", ".Hidden/PARTS/x"] {
        bed.put("set", set_with_aside(&[("t/b", 4), (inside, 4)], &[])).await.is(400, "bad_request");
    }
    for skipped in [json!([3]), json!([-1]), json!([0.5]), json!([0, 0, 0, 0]), json!(0), json!(null)] {
        let mut set = set_with_aside(&ABC, &[]);
        set["skipped"] = skipped.clone();
        bed.put("set", set).await.is(400, "bad_request");
        bed.put("known", set_with_aside(&ABC, &[])).await;
        bed.post("/v1/sets/known/prepare", json!({ "skipped": skipped })).await.is(400, "bad_request");
    }
    bed.post("/v1/sets/known/prepare", json!({})).await.is(400, "bad_request");
    bed.post("/v1/sets/known/prepare", json!({ "skipped": [], "files": [0] })).await.is(400, "bad_request");
    skip(&bed, &[]).await.is(404, "unknown_set");
    assert_eq!(bed.tree(), [""; 0]);
}

#[tokio::test]
async fn a_set_without_a_folder_for_files_set_aside_has_skipped_files_in_their_places() {
    let bed = Bed::new();
    bed.open(&ABC).await;
    skip(&bed, &[1, 2]).await.is(204, "");

    bed.write(0, b"aaaabbbbcccc").await.is(204, "");

    assert_eq!(files(&bed), ["t/a", "t/b/b", "t/b/c"]);
}
