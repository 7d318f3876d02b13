//! Roots that go and come back, like those on a drive.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Bed, MARKER, request, set_of};
use axum::body::Body;
use serde_json::json;

/// A file system in a file, which can be mounted repeatedly at a folder of its own.
struct Drive {
    directory: tempfile::TempDir,
}

impl Drive {
    /// Mounts it. `None`, with a line of output, if mounting is not allowed; in CI that is a failure.
    fn new() -> Option<Self> {
        let drive = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(drive.path()).unwrap();
        std::fs::File::create(drive.image()).unwrap().set_len(8 << 20).unwrap();
        if run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(drive.image())) && drive.mount("rw") {
            return Some(drive);
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no drive can be mounted in CI");
        eprintln!("left out: no drive can be mounted here");
        None
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("drive")
    }

    fn mount(&self, options: &str) -> bool {
        run(Command::new("mount").args(["-o", &format!("loop,{options}")]).arg(self.image()).arg(self.path()))
    }

    /// Takes it away while it is in use, like pulling out a drive.
    fn pull(&self) {
        assert!(run(Command::new("umount").arg("--lazy").arg(self.path())));
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The answers of all routes that use the files of a set.
async fn ask_everything(bed: &Bed) -> Vec<(u16, String)> {
    let answers = [
        bed.put("set", set_of(&[("t/a", 4), ("t/b", 4)])).await,
        bed.put("new", set_of(&[("c", 4)])).await,
        bed.write(0, b"efghijkl").await,
        bed.read("bytes=0-3").await,
        bed.digests("sha1", json!([[0, 4]])).await,
        bed.post("/v1/sets/set/prepare", json!({ "skipped": [] })).await,
        bed.post("/v1/sets/set/flush", json!({ "files": [0] })).await,
        bed.post("/v1/sets/set/look", json!({ "files": [0] })).await,
        bed.post("/v1/sets/set/claim", json!({ "claims": [{ "file": 0, "as": "overwritten" }] })).await,
        bed.post("/v1/sets/set/reserve", json!({ "files": [0] })).await,
        bed.post("/v1/sets/set/rename", json!({ "file": 0, "path": ["b"] })).await,
        bed.post("/v1/sets/set/remove", json!({ "files": [0] })).await,
    ];
    answers.iter().map(|answer| (answer.status.as_u16(), answer.kind())).collect()
}

fn all_gone() -> Vec<(u16, String)> {
    vec![(503, "root_gone".to_owned()); 12]
}

#[tokio::test]
async fn a_root_is_made_and_marked_when_it_is_taken_and_nothing_else_marks_it() {
    let bed = Bed::new();
    let marker = bed.file(MARKER[1]);
    assert!(marker.is_file());

    std::fs::remove_dir_all(bed.file(".piecewise")).unwrap();
    bed.put("set", set_of(&[(".piecewise/io-daemon", 1)])).await.is(403, "refused");
    let aside = json!({ "root": "root", "files": [{ "path": ["io-daemon"], "length": 1 }], "aside": [".piecewise"] });
    bed.put("set", aside).await.is(403, "refused");
    bed.put("set", set_of(&[("a", 1)])).await.is(503, "root_gone");

    assert!(!marker.exists());
}

#[tokio::test]
async fn a_root_that_is_gone_is_503_on_every_route_and_is_not_made_again() {
    let bed = Bed::new();
    let away = bed.directory.path().join("away");
    bed.open(&[("t/a", 4), ("t/b", 4)]).await;
    bed.write(0, b"abcdefgh").await.is(204, "");

    std::fs::rename(&bed.root, &away).unwrap();
    assert_eq!(ask_everything(&bed).await, all_gone());
    assert!(!bed.root.exists());
    assert_eq!(bed.stats().await["openFiles"], 0);
    std::fs::create_dir(&bed.root).unwrap();
    assert_eq!(ask_everything(&bed).await, all_gone());
    assert_eq!(std::fs::read_dir(&bed.root).unwrap().count(), 0);
    assert_eq!(std::fs::read(away.join("t/a")).unwrap(), b"abcd");

    std::fs::remove_dir(&bed.root).unwrap();
    std::fs::rename(&away, &bed.root).unwrap();
    assert_eq!(bed.read("bytes=0-7").await.body, "abcdefgh");
    bed.write(4, b"work").await.is(204, "");
    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(204, "");
}

#[tokio::test]
async fn a_set_can_be_forgotten_while_its_root_is_gone() {
    let bed = Bed::new();
    bed.open(&[("a", 4)]).await;
    std::fs::remove_dir_all(&bed.root).unwrap();

    bed.send(request("DELETE", "/v1/sets/set").body(Body::empty()).unwrap()).await.is(204, "");

    assert!(!bed.root.exists());
}

#[tokio::test]
async fn a_drive_that_is_pulled_out_can_be_unmounted_and_works_again_when_it_is_back() {
    let Some(drive) = Drive::new() else { return };
    for below in [drive.path(), drive.path().join("downloads")] {
        let bed = Bed::on(&below);
        bed.open(&[("t/a", 4), ("t/b", 4)]).await;
        bed.write(0, b"abcdefgh").await.is(204, "");
        assert_eq!(bed.stats().await["openFiles"], 2);

        drive.pull();
        assert_eq!(ask_everything(&bed).await, all_gone());
        assert_eq!(std::fs::read_dir(drive.path()).unwrap().count(), 0, "something was made in the mount point");
        assert_eq!(bed.stats().await["openFiles"], 0);

        assert!(drive.mount("rw"));
        assert_eq!(bed.read("bytes=0-7").await.body, "abcdefgh");
        // For the system its files may be other ones, because the device may have another number.
        bed.claim_all("set", 2, "overwritten").await;
        bed.write(4, b"work").await.is(204, "");
        assert_eq!(bed.flush(&[0, 1]).await, [4, 4]);
        assert_eq!(std::fs::read(below.join("t/b")).unwrap(), b"work");
        bed.post("/v1/sets/set/remove", json!({ "files": [0, 1] })).await.is(204, "");
    }
}

#[tokio::test]
async fn another_drive_in_the_same_place_is_not_the_root() {
    let (Some(drive), Some(other)) = (Drive::new(), Drive::new()) else { return };
    drop(Bed::on(&other.path()));
    let bed = Bed::on(&drive.path());
    bed.open(&[("t/a", 4), ("t/b", 4)]).await;

    drive.pull();
    let mounted = |from: &Path| run(Command::new("mount").args(["-o", "loop"]).arg(from).arg(drive.path()));
    assert!(mounted(&other.image()));
    assert!(drive.path().join(MARKER[1]).is_file());
    assert_eq!(ask_everything(&bed).await, all_gone());

    drive.pull();
    assert!(mounted(&drive.image()));
    bed.claim_all("set", 2, "overwritten").await;
    bed.write(0, b"abcd").await.is(204, "");
}

#[tokio::test]
async fn a_read_only_root_is_recognized_by_its_folder() {
    let Some(drive) = Drive::new() else { return };
    std::fs::write(drive.path().join("a"), "abcd").unwrap();
    let above = tempfile::tempdir().unwrap();
    let at = |name: &str| above.path().join(name);
    std::fs::create_dir(at("root")).unwrap();
    let bind = |read_only: &Path| run(Command::new("mount").args(["-o", "bind,ro"]).arg(drive.path()).arg(read_only));
    let unbind = || assert!(run(Command::new("umount").arg("--lazy").arg(at("root"))));
    assert!(bind(&at("root")));
    let bed = Bed::on(&at("root"));
    bed.register(&[("a", 4)]).await;
    assert!(!drive.path().join(".piecewise").exists());
    assert_eq!(bed.read("bytes=0-3").await.body, "abcd");
    assert_eq!(bed.claim_all("set", 1, "overwritten").await[0]["error"]["kind"], "refused");

    unbind();
    std::fs::write(at("root/a"), "evil").unwrap();
    bed.read("bytes=0-3").await.is(503, "root_gone");
    bed.write(0, b"evil").await.is(503, "root_gone");

    assert!(bind(&at("root")));
    assert_eq!(bed.read("bytes=0-3").await.body, "abcd");
    unbind();
}
