//! What the daemon tells when a disk fails, a file is taken away, or files may not be opened.

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use axum::body::Body;
use piecewise_io_daemon::disk::Limits;
use serde_json::json;
use support::{Bed, MIB, pattern, request, set_of};

const DELETED: &str = "it was deleted while the torrent was open; verify the torrent again";
const CUT_OFF: &str = "it was cut off while the torrent was open; verify the torrent again";

/// A file system in memory, mounted for one test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed, which is told; in CI that is a failure.
    fn mount(options: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no disk can be mounted in CI");
        eprintln!("left out: no disk can be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn fault_48_a_full_disk_is_507_and_writing_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount("size=2m") else { return };
    let bed = Bed::on(disk.path());
    bed.register(&[("a", 8 * MIB as u64)]).await;
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

    bed.write(0, b"abc").await.is(507, "disk_full");
}

#[tokio::test]
async fn fault_48_no_room_for_another_file_is_507() {
    let Some(disk) = SmallDisk::mount("size=1m,nr_inodes=3") else { return };
    let bed = Bed::on(disk.path());
    bed.register(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]).await;

    bed.write(0, b"1234").await.is(507, "disk_full");
}

#[tokio::test]
async fn fault_49_a_read_only_disk_refuses() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let bed = Bed::on(disk.path());
    bed.register(&[("a", 4), ("b", 4)]).await;
    bed.write(0, b"abcd").await.is(204, "");
    bed.put("again", set_of(&[("b", 4), ("a", 4)])).await.is(201, "");
    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(204, "");
    remount(disk.path(), "ro");

    let refused = bed.send(support::write_request("again", 4, b"efgh")).await;

    refused.is(403, "refused");
    assert_eq!(refused.json()["why"], "the file system is read-only");
    let read = request("GET", "/v1/sets/again/read").header("range", "bytes=4-7").body(Body::empty()).unwrap();
    assert_eq!(bed.send(read).await.body, "abcd");
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

    for (begin, why) in [
        "a folder lies where the file should",
        "a file lies where a folder should",
        "its symbolic links form a loop",
        "it is not a regular file",
        "its name is too long for the file system",
    ]
    .into_iter()
    .enumerate()
    {
        let refused = bed.write(begin as u64, b"x").await;

        refused.is(403, "refused");
        assert_eq!(refused.json()["why"], why);
        assert_eq!(refused.json()["path"], files[begin].0);
    }
}

#[tokio::test]
async fn fault_49_a_file_deleted_while_open_is_refused_until_registered_again() {
    let bed = Bed::new();
    bed.register(&[("gone", 4), ("there", 4)]).await;
    bed.write(0, b"abcdefgh").await.is(204, "");
    std::fs::remove_file(bed.file("gone")).unwrap();

    for _ in 0..2 {
        let refused = bed.write(2, b"cdefgh").await;
        refused.is(403, "refused");
        assert_eq!(refused.json()["why"], DELETED);
        assert_eq!(refused.json()["path"], "gone");
        bed.flush().await.is(403, "refused");
    }

    assert_eq!(bed.tree(), ["there"]);
    bed.read("bytes=0-3").await.is(416, "not_stored");
    assert_eq!(bed.digests("sha1", json!([[0, 4]])).await.body, "null\n");
    bed.write(4, b"efgh").await.is(204, "");
    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(204, "");
    bed.register(&[("gone", 4), ("there", 4)]).await;
    bed.write(0, b"abcdefgh").await.is(204, "");
    bed.flush().await.is(204, "");
}

/// A page that was reloaded has forgotten nothing: it registers again and goes by what is on disk then.
#[tokio::test]
async fn fault_49_registering_the_same_set_again_goes_by_what_is_on_disk_now() {
    let files = [("refused", 4), ("unnoticed", 4), ("cut", 4)];
    let bed = Bed::new();
    bed.register(&files).await;
    bed.write(0, b"abcdefghijkl").await.is(204, "");
    std::fs::remove_file(bed.file("refused")).unwrap();
    bed.write(0, b"abcd").await.is(403, "refused");
    std::fs::remove_file(bed.file("unnoticed")).unwrap();
    std::fs::OpenOptions::new().write(true).open(bed.file("cut")).unwrap().set_len(1).unwrap();

    bed.put("set", set_of(&files)).await.is(204, "");

    bed.flush().await.is(204, "");
    assert_eq!(bed.tree(), ["cut"], "a flush makes no file");
    bed.write(0, b"abcdefghijkl").await.is(204, "");
    bed.flush().await.is(204, "");
    assert_eq!(bed.tree(), ["cut", "refused", "unnoticed"]);
    assert_eq!(std::fs::read(bed.file("unnoticed")).unwrap(), b"efgh");
}

#[tokio::test]
async fn fault_49_a_file_cut_off_while_open_is_refused() {
    let bed = Bed::new();
    bed.register(&[("a", 8)]).await;
    bed.write(0, b"abcd").await.is(204, "");
    std::fs::OpenOptions::new().write(true).open(bed.file("a")).unwrap().set_len(3).unwrap();

    let refused = bed.write(4, b"efgh").await;

    refused.is(403, "refused");
    assert_eq!(refused.json()["why"], CUT_OFF);
    assert_eq!(std::fs::read(bed.file("a")).unwrap(), b"abc");
}

#[tokio::test]
async fn fault_49_a_made_file_that_is_missing_when_it_is_opened_again_is_refused() {
    let bed = Bed::with(Limits { max_open_files: 1, ..Limits::default() }, None);
    bed.register(&[("a", 4), ("b", 4)]).await;
    bed.write(0, b"abcdefgh").await.is(204, "");
    std::fs::remove_file(bed.file("a")).unwrap();

    let refused = bed.write(0, b"abcd").await;

    refused.is(403, "refused");
    assert_eq!(refused.json()["why"], DELETED);
    assert!(!bed.file("a").exists());
}

#[tokio::test]
async fn fault_49_one_set_in_trouble_leaves_the_others_alone() {
    let bed = Bed::new();
    bed.register(&[("bad", 4)]).await;
    bed.put("other", set_of(&[("good", 4)])).await.is(201, "");
    std::fs::create_dir_all(bed.file("bad")).unwrap();

    bed.write(0, b"abcd").await.is(403, "refused");

    bed.send(support::write_request("other", 0, b"abcd")).await.is(204, "");
}

#[tokio::test]
async fn fault_50_when_one_of_several_files_fails_the_others_are_written_and_the_write_is_not_done() {
    let bed = Bed::new();
    bed.register(&[("a", 4), ("b", 4), ("c", 4)]).await;
    std::fs::create_dir_all(bed.file("b")).unwrap();

    bed.write(0, b"aaaabbbbcccc").await.is(403, "refused");

    assert_eq!(bed.stats().await["writes"], 0);
    assert_eq!(std::fs::read(bed.file("a")).unwrap(), b"aaaa");
    assert_eq!(std::fs::read(bed.file("c")).unwrap(), b"cccc");
    std::fs::remove_dir(bed.file("b")).unwrap();
    bed.write(0, b"aaaabbbbcccc").await.is(204, "");
    assert_eq!(bed.read("bytes=0-").await.body, "aaaabbbbcccc");
}

#[tokio::test]
async fn fault_50_the_reason_that_lasts_longest_is_told_of_several() {
    let Some(disk) = SmallDisk::mount("size=64k") else { return };
    let bed = Bed::on(disk.path());
    bed.register(&[("full", MIB as u64), ("folder", 4)]).await;
    std::fs::create_dir(bed.file("folder")).unwrap();

    bed.write(0, &pattern(MIB + 4, 1)).await.is(403, "refused");
}

#[tokio::test]
async fn fault_56_many_files_pass_through_few_handles() {
    let bed = Bed::with(Limits { max_open_files: 4, ..Limits::default() }, None);
    let names: Vec<_> = (0..2_000).map(|index| format!("{}/{index}", index % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 3)).collect();
    bed.register(&files).await;
    let bytes = pattern(6_000, 1);

    for (part, chunk) in bytes.chunks(1000).enumerate() {
        bed.write(part as u64 * 1000, chunk).await.is(204, "");
    }

    bed.flush().await.is(204, "");
    assert_eq!(bed.read("bytes=0-").await.body, bytes);
    assert_eq!(bed.stats().await["openFiles"], 4);
}
