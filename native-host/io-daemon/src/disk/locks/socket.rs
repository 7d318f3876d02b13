//! Sockets that are found by their path in a folder, and the other things that locks need from the system.
//!
//! The path of a socket has room for about a hundred bytes. A longer path is reached through the descriptor of its
//! folder, which is open for the time of one call. Only Linux can do that.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::names::Marks;
use crate::disk::ignorable::is_ignorable;

/// `sun_path` without its last byte: 108 bytes on Linux, 104 on macOS and the BSDs.
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Bytes that are read of the text by which a holder describes itself.
const MAX_TEXT_BYTES: u64 = 512;

/// Characters of that text that are shown.
const MAX_TEXT_LENGTH: usize = 200;

/// Makes a socket in a folder, to which everybody may connect, and listens on it.
///
/// Connections are never accepted. On Linux a connection is established once it is queued, and a full queue answers
/// `EAGAIN`, which shows that somebody listens. On other systems a full queue refuses connections like a dead socket,
/// so there are no locks there.
pub(super) fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    if !cfg!(target_os = "linux") {
        return Err(Errno::OPNOTSUPP.into());
    }
    let listener = with_socket_path(folder, name, |path| UnixListener::bind(path))?;
    fs::set_permissions(folder.join(name), Permissions::from_mode(0o777))?;
    Ok(listener)
}

/// Whether some process listens on the socket of this name.
pub(super) fn answers(folder: &Path, name: &str) -> io::Result<bool> {
    with_socket_path(folder, name, |path| {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        // Otherwise connecting would wait for room in the queue.
        rustix::io::ioctl_fionbio(&socket, true)?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            // Somebody listens, but may be busy or forbid the connection.
            Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ACCESS | Errno::PERM) => Ok(true),
            // The process of the socket has ended, or the socket has no name any more.
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}

/// Calls `act` with a path of the socket that is short enough.
fn with_socket_path<T>(folder: &Path, name: &str, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
        return act(&path);
    }
    if !cfg!(target_os = "linux") {
        return Err(Errno::NAMETOOLONG.into());
    }
    let folder = File::open(folder)?;
    let place = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder)));
    // Without /proc every socket would seem to be gone.
    if !place.exists() {
        return Err(Errno::NAMETOOLONG.into());
    }
    act(&place.join(name))
}

/// Makes a new file. If the disk is too full for the text, the file is still made.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // The entry is the lock; its text only helps people.
    let _ = file.write_all(text.as_bytes());
    Ok(())
}

/// The text by which a holder describes itself, in one line without control characters.
pub(super) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // Neither waits for the other end of a pipe nor follows a link.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    if let Ok(file) = file
        && file.metadata().is_ok_and(|found| found.is_file())
    {
        // If the text cannot be read, or only in part, it is replaced below.
        let _ = file.take(MAX_TEXT_BYTES).read_to_end(&mut bytes);
    }
    match plain_text(&String::from_utf8_lossy(&bytes)) {
        text if text.is_empty() => "another process".to_owned(),
        text => text,
    }
}

/// A text in one line without control characters, cut.
pub(super) fn plain_text(text: &str) -> String {
    let is_hidden =
        |letter: char| letter.is_control() || is_ignorable(letter) || matches!(letter, '\u{2028}' | '\u{2029}');
    let words: Vec<_> = text.split(is_hidden).filter(|word| !word.is_empty()).collect();
    words.join(" ").trim().chars().take(MAX_TEXT_LENGTH).collect()
}

/// The marks of this machine.
pub(super) fn marks() -> Marks {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let machine = match text("/etc/machine-id") {
        // A container often has no id, but its name stays the same when it is started again.
        unknown if unknown.is_empty() => host(),
        known => known,
    };
    Marks::new(&machine, &text("/proc/sys/kernel/random/boot_id"))
}

/// The name of this machine.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_answers_while_its_process_listens_also_with_a_full_queue_and_a_long_path() {
        let directory = tempfile::tempdir().unwrap();
        for folder in [directory.path().to_owned(), directory.path().join("long".repeat(60))] {
            fs::create_dir_all(&folder).unwrap();
            let listener = listen(&folder, "one").unwrap();
            assert_eq!(fs::metadata(folder.join("one")).unwrap().permissions().mode() & 0o777, 0o777);

            for _ in 0..300 {
                assert!(answers(&folder, "one").unwrap());
            }
            fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
            assert!(answers(&folder, "two").unwrap());
            drop(listener);

            assert!(!answers(&folder, "one").unwrap());
            assert!(!answers(&folder, "two").unwrap());
            assert!(!answers(&folder, "three").unwrap());
        }
    }

    #[test]
    fn the_text_of_a_holder_is_one_line_of_a_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let [file, fifo] = ["file", "fifo"].map(|name| directory.path().join(name));
        create(&file, "process 1 on\u{1b}[31m\nelsewhere: \u{202e}x\n").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();

        assert_eq!(read(&file), "process 1 on [31m elsewhere:  x");
        assert_eq!(read(&fifo), "another process");
        assert_eq!(read(&directory.path().join("missing")), "another process");
        assert_eq!(plain_text(&"x".repeat(999)).len(), MAX_TEXT_LENGTH);
        assert_eq!(create(&file, "").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
