//! Real file systems, mounted for one test. If mounting is not allowed or the file system is missing, the test is
//! skipped with a line of output; in CI that is a failure.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    Command::new(program).args(arguments).arg(path).output().is_ok_and(|done| done.status.success())
}

fn left_out<T>(what: &str) -> Option<T> {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {what} can be mounted in CI");
    eprintln!("left out: no {what} can be mounted here");
    None
}

/// A file system in memory.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    pub fn mount(options: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        if run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], at.path()) {
            Some(Self(at))
        } else {
            left_out("tmpfs")
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &[], self.0.path());
    }
}

/// A file system in a file.
pub struct LoopDisk {
    at: TempDir,
    _image: TempDir,
}

impl LoopDisk {
    /// A file system such as `ext4`, of so many MiB.
    pub fn mount(kind: &str, mebibytes: u64) -> Option<Self> {
        Self::mount_in(&std::env::temp_dir(), kind, mebibytes)
    }

    /// The same, with its bytes in a file below a folder. The file grows as bytes are written.
    pub fn mount_in(folder: &Path, kind: &str, mebibytes: u64) -> Option<Self> {
        let (at, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in(folder).unwrap());
        let file = image.path().join("image");
        std::fs::File::create(&file).unwrap().set_len(mebibytes << 20).unwrap();
        // A journal without room in that file would fail the whole file system.
        let options: &[&str] = if kind == "ext4" { &["-q", "-O", "^has_journal"] } else { &["-q"] };
        let made = run(&format!("mkfs.{kind}"), options, &file);
        let mounted = made && run("mount", &["-o", "loop", file.to_str().unwrap()], at.path());
        if mounted { Some(Self { at, _image: image }) } else { left_out(kind) }
    }

    pub fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        run("umount", &[], self.at.path());
    }
}
