//! What the daemon answers if a disk fails, a file is removed, or files may not be opened.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::disks::SmallDisk;
use crate::support::{Bed, MIB, pattern, set_of};
use piecewise_io_daemon::disk::Limits;
use serde_json::json;

#[tokio::test]
async fn fault_48_a_full_disk_is_507_and_writes_succeed_once_there_is_room() {
    let Some(disk) = SmallDisk::mount("size=2m") else { return };
    let bed = Bed::on(disk.path());
    bed.open(&[("a", 8 * MIB as u64)]).await;
    bed.write(0, &pattern(MIB, 1)).await.is(204, "");

    let full = bed.write(MIB as u64, &pattern(3 * MIB, 2)).await;

    full.is(507, "disk_full");
    assert_eq!(full.json()["path"], "a");
    assert_eq!(bed.stats().await["writes"], 1);
    remount(disk.path(), "size=8m");
    bed.write(MIB as u64, &pattern(3 * MIB, 2)).await.is(204, "");
    assert_eq!(bed.read("bytes=1048576-4194303").await.body, pattern(3 * MIB, 2));
}

#[tokio::test]
async fn fault_48_a_disk_too_small_to_reserve_a_file_is_507_at_the_first_write() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let bed = Bed::on(disk.path());
    let mut set = set_of(&[("a", 8 * MIB as u64)]);
    set["allocate"] = true.into();
    bed.put("set", set).await.is(201, "");
    bed.make("set", 1).await;

    bed.write(0, b"abc").await.is(507, "disk_full");
}

#[tokio::test]
async fn fault_48_no_room_for_another_file_is_507() {
    let Some(disk) = SmallDisk::mount("size=1m,nr_inodes=10") else { return };
    let bed = Bed::on(disk.path());
    let names: Vec<_> = (0..9).map(|index| format!("t/{index}")).collect();
    bed.register(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()).await;

    let told = bed.claim_all("set", 9, "new").await;

    assert_eq!(told[0]["length"], 0);
    assert_eq!((&told[8]["error"]["kind"], &told[8]["error"]["path"]), (&json!("disk_full"), &json!("t/8")));
}

#[tokio::test]
async fn fault_49_a_read_only_disk_refuses() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let bed = Bed::on(disk.path());
    bed.open(&[("a", 4), ("b", 4)]).await;
    bed.write(0, b"abcdefgh").await.is(204, "");
    bed.forget("set").await.is(204, "");
    bed.register(&[("a", 4), ("b", 4)]).await;
    remount(disk.path(), "ro");

    let told = bed.claim_all("set", 2, "overwritten").await;

    assert_eq!(told[1]["error"]["kind"], "refused");
    assert_eq!(told[1]["error"]["why"], "the file system is read-only");
    assert_eq!(bed.read("bytes=4-7").await.body, "efgh");
}

fn remount(at: &Path, options: &str) {
    let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(at).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn fault_49_what_lies_in_the_way_is_refused_with_the_reason() {
    let bed = Bed::new();
    let long = "n".repeat(255);
    let deep = vec![long.as_str(); 20].join("/");
    let files = [("folder", 1), ("file/below", 1), ("loop", 1), ("pipe", 1), (deep.as_str(), 1)];
    bed.register(&files).await;
    std::fs::create_dir_all(bed.file("folder")).unwrap();
    std::fs::write(bed.file("file"), "").unwrap();
    symlink("loop", bed.file("loop")).unwrap();
    assert!(Command::new("mkfifo").arg(bed.file("pipe")).status().unwrap().success());

    bed.post("/v1/sets/set/reserve", json!({ "files": [0, 1, 2, 3, 4] })).await.is(204, "");
    for (file, why) in [
        "a folder lies where the file should",
        "a file lies where a folder should",
        "it is not a regular file",
        "it is not a regular file",
        "its name is too long for the file system",
    ]
    .into_iter()
    .enumerate()
    {
        let told = bed.claim("set", json!([{ "file": file, "as": "overwritten" }])).await.remove(0);

        let error = &told["error"];
        let expected = [json!("refused"), json!(why), json!(files[file].0)];
        assert_eq!([&error["kind"], &error["why"], &error["path"]], [&expected[0], &expected[1], &expected[2]]);
    }
}

/// Does something to the first of three files of a set, and expects the error that describes it.
async fn expect_change(bed: &Bed, happen: impl FnOnce(&Bed), why: &str) {
    bed.open(&[("a", 4), ("b", 4), ("c", 4)]).await;
    bed.write(0, b"aaaabbbb").await.is(204, "");
    happen(bed);
    let before = std::fs::read(bed.file("a")).ok();

    for _ in 0..2 {
        let changed = bed.write(2, b"aabbbbcccc").await;
        changed.is(409, "file_changed");
        assert_eq!((&changed.json()["path"], &changed.json()["why"]), (&json!("a"), &json!(why)));
        assert_eq!(bed.flush(&[0, 1]).await, [json!("file_changed"), json!(4)]);
    }

    assert_eq!(std::fs::read(bed.file("a")).ok(), before, "it was written");
    bed.write(4, b"BBBB").await.is(204, "");
    bed.claim("set", json!([{ "file": 0, "as": "overwritten" }])).await;
    bed.write(0, b"AAAA").await.is(204, "");
    assert_eq!(bed.flush(&[0, 1]).await, [4, 4]);
    assert_eq!(bed.read("bytes=0-7").await.body, "AAAABBBB");
}

#[tokio::test]
async fn fault_49_a_file_that_was_deleted_is_not_made_again_by_a_write() {
    expect_change(&Bed::new(), |bed| std::fs::remove_file(bed.file("a")).unwrap(), "was deleted").await;
}

#[tokio::test]
async fn fault_49_a_file_that_was_deleted_and_is_opened_again_is_not_made_by_a_write() {
    let bed = Bed::with(Limits { max_open_files: 1, ..Limits::default() }, None);
    expect_change(&bed, |bed| std::fs::remove_file(bed.file("a")).unwrap(), "was deleted").await;
}

#[tokio::test]
async fn fault_49_a_file_that_was_cut_off_is_not_written() {
    let cut = |bed: &Bed| std::fs::OpenOptions::new().write(true).open(bed.file("a")).unwrap().set_len(3).unwrap();
    expect_change(&Bed::new(), cut, "was cut off").await;
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_written() {
    let replace = |bed: &Bed| {
        std::fs::rename(bed.file("a"), bed.file("kept")).unwrap();
        std::fs::write(bed.file("a"), "another").unwrap();
    };
    let bed = Bed::new();
    expect_change(&bed, replace, "was replaced").await;
    assert_eq!(std::fs::read(bed.file("kept")).unwrap(), b"aaaa");
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_is_not_followed() {
    let bed = Bed::new();
    bed.open(&[("a", 4)]).await;
    std::fs::write(bed.file("mine"), "mine").unwrap();
    std::fs::remove_file(bed.file("a")).unwrap();
    symlink("mine", bed.file("a")).unwrap();

    bed.write(0, b"evil").await.is(409, "file_changed");
    let told = bed.claim("set", json!([{ "file": 0, "as": "overwritten" }])).await.remove(0);

    assert_eq!(told["error"]["why"], "it is not a regular file");
    bed.read("bytes=0-3").await.is(403, "refused");
    assert_eq!(std::fs::read(bed.file("mine")).unwrap(), b"mine");
}

#[tokio::test]
async fn fault_49_a_fault_in_one_set_does_not_affect_others() {
    let bed = Bed::new();
    bed.open(&[("bad", 4)]).await;
    bed.put("other", set_of(&[("good", 4)])).await.is(201, "");
    bed.make("other", 1).await;
    std::fs::remove_file(bed.file("bad")).unwrap();

    bed.write(0, b"abcd").await.is(409, "file_changed");

    bed.send(crate::support::write_request("other", 0, b"abcd")).await.is(204, "");
}

#[tokio::test]
async fn fault_50_if_one_of_several_files_fails_the_others_are_written_and_the_write_fails() {
    let bed = Bed::new();
    bed.open(&[("a", 4), ("b", 4), ("c", 4)]).await;
    std::fs::remove_file(bed.file("b")).unwrap();

    bed.write(0, b"aaaabbbbcccc").await.is(409, "file_changed");

    assert_eq!(bed.stats().await["writes"], 0);
    assert_eq!(std::fs::read(bed.file("a")).unwrap(), b"aaaa");
    assert_eq!(std::fs::read(bed.file("c")).unwrap(), b"cccc");
    bed.claim("set", json!([{ "file": 1, "as": "new" }])).await;
    bed.write(0, b"aaaabbbbcccc").await.is(204, "");
    assert_eq!(bed.read("bytes=0-").await.body, "aaaabbbbcccc");
}

#[tokio::test]
async fn fault_50_of_several_reasons_the_one_that_lasts_longest_is_reported() {
    let Some(disk) = SmallDisk::mount("size=64k") else { return };
    let bed = Bed::on(disk.path());
    bed.open(&[("full", MIB as u64), ("gone", 4)]).await;
    std::fs::remove_file(bed.file("gone")).unwrap();

    bed.write(0, &pattern(MIB + 4, 1)).await.is(507, "disk_full");
}

#[tokio::test]
async fn fault_56_many_files_pass_through_few_handles() {
    let bed = Bed::with(Limits { max_open_files: 4, ..Limits::default() }, None);
    let names: Vec<_> = (0..2_000).map(|index| format!("{}/{index}", index % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 3)).collect();
    bed.open(&files).await;
    let bytes = pattern(6_000, 1);

    for (part, chunk) in bytes.chunks(1000).enumerate() {
        bed.write(part as u64 * 1000, chunk).await.is(204, "");
    }

    assert!(bed.flush(&(0..2_000).collect::<Vec<_>>()).await.iter().all(|length| *length == 3));
    assert_eq!(bed.read("bytes=0-").await.body, bytes);
    assert_eq!(bed.stats().await["openFiles"], 4);
}
