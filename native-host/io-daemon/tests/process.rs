//! The program: how it is started, what it prints, and when it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::support::{Client, MARKER, MIB, TOKEN, pattern, set_of, sha1_of};
use futures_util::{SinkExt as _, StreamExt as _};
use piecewise_io_daemon::sockets::{ClientFrame, DaemonFrame, PROTOCOL};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

const PROGRAM: &str = env!("CARGO_BIN_EXE_piecewise-io-daemon");

/// A running daemon, which is killed when this is dropped.
struct Daemon {
    child: Child,
    out: BufReader<ChildStdout>,
    line: String,
    address: SocketAddr,
}

impl Daemon {
    /// Starts the command, writes the token to standard input if asked to, and waits for the line with the port.
    fn start(command: &mut Command, token_on_input: bool) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("PIECEWISE_IO_DAEMON_TOKEN");
        if !token_on_input {
            command.env("PIECEWISE_IO_DAEMON_TOKEN", TOKEN);
        }
        let mut child = command.spawn().unwrap();
        if token_on_input {
            writeln!(child.stdin.as_mut().unwrap(), "{TOKEN}").unwrap();
        }
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
        let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
        Self { child, out, line, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end. Returns the exit code and everything that was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let mut printed = std::mem::take(&mut self.line);
        self.out.read_to_string(&mut printed).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on(root: &TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--root").arg(format!("root={}", root.path().display()));
    command
}

#[tokio::test]
async fn fault_67_the_token_is_never_printed_and_the_daemon_ends_with_its_input() {
    let root = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(on(&root).args(["--log", "trace"]), true);
    let mut client = Client::connect(daemon.address).await;
    client.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    client.ask(&format!("GET /v1/nowhere?token={TOKEN}"), "", b"").await.unwrap().is(404, "not_found");
    client.ask("GET /v1/config", &format!("X-Token: {TOKEN}\r\n"), b"").await.unwrap().is(200, "");
    let upgrade = format!(
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: piecewise.sockets.v1, bearer.{TOKEN}\r\n"
    );
    let mut page = Client::connect(daemon.address).await;
    page.raw(page.head("GET /v1/sockets", &upgrade)).await.unwrap();
    page.answer().await.unwrap();

    drop(daemon.child.stdin.take());
    let (code, printed) = daemon.end();

    assert_eq!(code, Some(0));
    assert!(printed.contains("/v1/control/ping"), "requests are logged: {printed}");
    assert!(!printed.contains(TOKEN));
    let lines: Vec<_> = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line.get("port").is_some()).count(), 1);
}

#[tokio::test]
async fn a_signal_ends_it_gracefully() {
    let root = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start(&mut on(&root), false);

        daemon.signal(signal);

        let (code, printed) = daemon.end();
        assert_eq!(code, Some(0));
        assert_eq!(printed.lines().count(), 1);
    }
}

#[tokio::test]
async fn the_end_of_the_input_is_ignored_unless_the_token_came_from_there() {
    let root = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&mut on(&root), false);
    drop(daemon.child.stdin.take());

    let mut client = Client::connect(daemon.address).await;

    client.ask("POST /v1/control/ping", "", b"").await.unwrap().is(204, "");
    client.ask("POST /v1/control/shutdown", "", b"").await.unwrap().is(202, "");
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn it_ends_with_its_parent() {
    let root = tempfile::tempdir().unwrap();
    // The shell waits for its own input, so the test decides when it ends.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#""$@" & read -r line"#, "sh", PROGRAM, "--root"])
        .arg(format!("root={}", root.path().display()));
    let mut daemon = Daemon::start(&mut shell, false);

    drop(daemon.child.stdin.take());

    // The daemon has the same standard output, which ends when both have ended.
    let (_, printed) = daemon.end();
    assert_eq!(printed.lines().count(), 1);
}

#[tokio::test]
async fn fault_53_killed_and_started_again_it_accepts_the_same_write_again() {
    let root = tempfile::tempdir().unwrap();
    let piece = pattern(1_200_000, 1);
    for _ in 0..2 {
        let daemon = Daemon::start(&mut on(&root), true);
        let mut client = Client::connect(daemon.address).await;

        client.write(0, &piece).await.unwrap().is(404, "unknown_set");
        client.open(&[("a", 600_000), ("b", 600_000)]).await;
        client.write(0, &piece).await.unwrap().is(204, "");

        daemon.signal(Signal::KILL);
        assert_eq!(daemon.end().0, None);
    }
    assert_eq!(std::fs::read(root.path().join("a")).unwrap(), piece[..600_000]);
    assert_eq!(std::fs::read(root.path().join("b")).unwrap(), piece[600_000..]);
}

#[tokio::test]
async fn fault_56_64_descriptors_are_enough_for_many_files_and_idle_connections() {
    let root = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 64; exec "$@""#, "sh", PROGRAM, "--max-open-files", "8", "--root"]);
    let daemon = Daemon::start(shell.arg(format!("root={}", root.path().display())), true);
    let names: Vec<_> = (0..10_000).map(|index| format!("{}/{index}", index % 100)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let bytes = pattern(1_000_000, 1);
    let mut client = Client::connect(daemon.address).await;
    client.open(&files).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Client::connect(daemon.address).await);
    }

    for (part, chunk) in bytes.chunks(100_000).enumerate() {
        client.write(part as u64 * 100_000, chunk).await.unwrap().is(204, "");
    }

    assert_eq!(client.ask("GET /v1/sets/set/read", "", b"").await.unwrap().body, bytes);
}

#[tokio::test]
async fn fault_56_a_page_with_all_sockets_keeps_no_other_client_out() {
    let root = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 256; exec "$@""#, "sh", PROGRAM, "--root"]);
    let daemon = Daemon::start(shell.arg(format!("root={}", root.path().display())), true);
    let names: Vec<_> = (0..200).map(|index| format!("{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let remote = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = remote.local_addr().unwrap().port();
    let mut taken = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = remote.accept().await {
            streams.push(stream);
        }
    });
    let mut page = page(daemon.address).await;
    let mut opened = Vec::new();
    for id in 1..=1_024 {
        page.send(Message::Binary(ClientFrame::Dial { port, host: "127.0.0.1" }.encode(id).unwrap().freeze()))
            .await
            .unwrap();
        match page.next().await {
            Some(Ok(Message::Binary(frame))) => match DaemonFrame::decode(&frame).unwrap() {
                (one, DaemonFrame::Opened(_)) if one == id => opened.push(id),
                (one, DaemonFrame::Failed("EMFILE")) if one == id => {}
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    assert!((64..200).contains(&opened.len()), "{}", opened.len());

    // A client that connects only now finds room for its connection and for all of its files.
    let mut client = Client::connect(daemon.address).await;
    client.ask("GET /health", "", b"").await.unwrap().is(200, "");
    client.open(&files).await;
    client.write(0, &pattern(2_000, 1)).await.unwrap().is(204, "");
    assert_eq!(client.ask("GET /v1/sets/set/read", "", b"").await.unwrap().body, pattern(2_000, 1));

    // A place that is free again can be used again.
    page.send(Message::Binary(ClientFrame::Close.encode(opened[0]).unwrap().freeze())).await.unwrap();
    page.send(Message::Binary(ClientFrame::Dial { port, host: "127.0.0.1" }.encode(1_025).unwrap().freeze()))
        .await
        .unwrap();
    let Some(Ok(Message::Binary(frame))) = page.next().await else { panic!("no frame came") };
    assert!(matches!(DaemonFrame::decode(&frame).unwrap(), (1_025, DaemonFrame::Opened(_))));
    taken.abort();
    let _ = (&mut taken).await;
}

/// A WebSocket for sockets.
async fn page(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{address}/v1/sockets").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", format!("{PROTOCOL}, bearer.{TOKEN}").parse().unwrap());
    client_async(request, TcpStream::connect(address).await.unwrap()).await.unwrap().0
}

/// The most memory that the daemon ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

// On other systems the peak cannot be read.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn fault_65_parsing_json_takes_little_more_memory_than_its_text() {
    const BODY: usize = 24 * MIB;
    let root = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&mut on(&root), true);
    let mut client = Client::connect(daemon.address).await;
    client.ask("PUT /v1/sets/known", "", br#"{"root":"root","files":[]}"#).await.unwrap().is(201, "");
    let filled = |head: &str, entry: &str, tail: &str| {
        format!("{head}{}{tail}", entry.repeat((BODY - head.len() - tail.len()) / entry.len())).into_bytes()
    };

    let components = filled(r#"{"root":"root","files":[{"length":1,"path":["a""#, r#","a""#, "]}]}");
    let files =
        filled(r#"{"root":"root","files":[{"length":1,"path":[]}"#, r#",{"length":1,"path":[],"padding":true}"#, "]}");
    let skipped = filled(r#"{"root":"root","files":[],"skipped":[0"#, ",0", "]}");
    for (path, body, status) in [("long", components, 201), ("many", files, 400), ("skipped", skipped, 400)] {
        let answer = client.ask(&format!("PUT /v1/sets/{path}"), "", &body).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    let mut indices = filled(r#"{"skipped":[0"#, ",0", "]}");
    indices.splice(12 * MIB..BODY - 2, []);
    client.ask("POST /v1/sets/known/prepare", "", &indices).await.unwrap().is(400, "bad_request");

    let peak = peak_memory(&daemon);
    assert!(peak < 5 * BODY, "{} MiB", peak / MIB);
}

/// A configuration file with these roots.
fn configure(file: &Path, roots: &[(&str, &Path)]) {
    let roots: serde_json::Map<_, _> =
        roots.iter().map(|(name, at)| ((*name).to_owned(), at.to_str().unwrap().into())).collect();
    std::fs::write(file, serde_json::json!({ "roots": roots, "allowOrigins": ["http://page"] }).to_string()).unwrap();
}

#[tokio::test]
async fn a_configuration_file_adds_roots_and_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config.json");
    let (more, other) = (root.path().join("more"), root.path().join("other"));
    configure(&config, &[("more", &more)]);
    let daemon = Daemon::start(on(&root).arg("--config").arg(&config), true);
    let mut client = Client::connect(daemon.address).await;
    assert_eq!(client.ask("GET /v1/config", "", b"").await.unwrap().json()["roots"]["more"], more.to_str().unwrap());

    configure(&config, &[("other", &other)]);
    let reloaded = client.ask("POST /v1/config/reload", "", b"").await.unwrap().json();
    std::fs::write(&config, "{").unwrap();
    client.ask("POST /v1/config/reload", "", b"").await.unwrap().is(400, "bad_request");

    assert_eq!(reloaded["allowOrigins"][0], "http://page");
    assert_eq!(reloaded["roots"].as_object().unwrap().keys().collect::<Vec<_>>(), ["other", "root"]);
    assert_eq!(client.ask("GET /v1/config", "", b"").await.unwrap().json(), reloaded);
    assert!([root.path(), &more, &other].iter().all(|taken| taken.join(MARKER[1]).is_file()));
    client.ask("GET /v1/config", "Origin: http://elsewhere\r\n", b"").await.unwrap().is(403, "forbidden_origin");
}

#[tokio::test]
async fn a_reload_that_drops_a_root_revokes_its_sets_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config.json");
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let set = |root: &str, length: usize| {
        let mut set = set_of(&[("a", length as u64)]);
        set["root"] = root.into();
        set
    };
    configure(&config, &[("one", &one), ("two", &two)]);
    let daemon = Daemon::start(on(&root).arg("--config").arg(&config), true);
    let mut client = Client::connect(daemon.address).await;
    let bytes = pattern(64 * MIB, 1);
    client.open_set(&set("one", bytes.len())).await;
    client.ask("PUT /v1/sets/stays", "", set("two", 4).to_string().as_bytes()).await.unwrap().is(201, "");
    client.write(0, &bytes).await.unwrap().is(204, "");
    // A read and a write in flight. Neither ends, because the client receives no more and sends no more.
    let mut reading = Client::connect(daemon.address).await;
    reading.raw(reading.head("GET /v1/sets/set/read", "")).await.unwrap();
    reading.stream.readable().await.unwrap();
    let mut writing = Client::connect(daemon.address).await;
    let head = format!("Content-Range: bytes 0-9/*\r\nContent-Digest: {}\r\nContent-Length: 10\r\n", sha1_of(&[0; 10]));
    writing.raw(writing.head("POST /v1/sets/set/write", &head)).await.unwrap();
    writing.raw([0; 5]).await.unwrap();
    while client.ask("GET /v1/control/stats", "", b"").await.unwrap().json()["writeRequests"] != 2 {}

    configure(&config, &[("two", &two)]);
    client.ask("POST /v1/config/reload", "", b"").await.unwrap().is(200, "");

    client.ask("GET /v1/sets/set/read", "Range: bytes=0-3\r\n", b"").await.unwrap().is(404, "unknown_set");
    client.write(0, b"evil").await.unwrap().is(404, "unknown_set");
    for step in ["flush", "claim", "remove"] {
        client.ask(&format!("POST /v1/sets/set/{step}"), "", b"").await.unwrap().is(404, "unknown_set");
    }
    client.ask("DELETE /v1/sets/set", "", b"").await.unwrap().is(404, "unknown_set");
    client
        .ask("PUT /v1/sets/set", "", set("one", bytes.len()).to_string().as_bytes())
        .await
        .unwrap()
        .is(404, "unknown_root");
    assert_eq!(reading.answer().await.err().map(|error| error.kind()), Some(std::io::ErrorKind::UnexpectedEof));
    writing.raw([0; 5]).await.unwrap();
    writing.answer().await.unwrap().is(404, "unknown_set");
    assert_eq!(client.ask("GET /v1/control/stats", "", b"").await.unwrap().json()["sets"], 1);
    // Its files are closed with the last request in flight.
    while client.ask("GET /v1/control/stats", "", b"").await.unwrap().json()["openFiles"] != 0 {}
    assert!(std::fs::read(one.join("a")).unwrap() == bytes);

    // The same name with another folder is another root. With its own folder again it is the same root.
    configure(&config, &[("two", &one), ("one", &one)]);
    client.ask("POST /v1/config/reload", "", b"").await.unwrap().is(200, "");
    client.ask("POST /v1/sets/stays/flush", "", b"").await.unwrap().is(404, "unknown_set");
    client.open_set(&set("one", bytes.len())).await;
    client.write(0, b"good").await.unwrap().is(204, "");
}

#[tokio::test]
async fn a_root_that_is_gone_is_made_neither_by_a_reload_nor_by_a_daemon_that_knows_it() {
    let above = tempfile::tempdir().unwrap();
    let config = above.path().join("config.json");
    let (drive, away) = (above.path().join("drive"), above.path().join("away"));
    configure(&config, &[("root", &drive)]);
    let start = |more: &[&str]| Daemon::start(Command::new(PROGRAM).args(more).arg("--config").arg(&config), true);
    let set = set_of(&[("a", 4)]).to_string().into_bytes();
    let first = start(&[]);
    let mut client = Client::connect(first.address).await;
    client.ask("PUT /v1/sets/set", "", &set).await.unwrap().is(201, "");

    std::fs::rename(&drive, &away).unwrap();
    client.ask("POST /v1/config/reload", "", b"").await.unwrap().is(200, "");
    client.write(0, b"abcd").await.unwrap().is(503, "root_gone");
    drop(first);
    let second = start(&["--known-roots"]);
    let mut client = Client::connect(second.address).await;
    client.ask("PUT /v1/sets/set", "", &set).await.unwrap().is(503, "root_gone");
    assert!(!drive.exists());
    // The empty folder on which a drive is mounted is not the drive either.
    std::fs::create_dir(&drive).unwrap();
    client.ask("PUT /v1/sets/set", "", &set).await.unwrap().is(503, "root_gone");
    assert_eq!(std::fs::read_dir(&drive).unwrap().count(), 0);

    std::fs::remove_dir(&drive).unwrap();
    std::fs::rename(&away, &drive).unwrap();
    client.open(&[("a", 4)]).await;
    client.write(0, b"abcd").await.unwrap().is(204, "");
}

#[test]
fn an_endless_input_is_no_token() {
    let mut command = Command::new(PROGRAM);
    command.env_remove("PIECEWISE_IO_DAEMON_TOKEN").stdin(std::fs::File::open("/dev/zero").unwrap());

    let output = command.output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}

#[test]
fn a_wrong_start_is_explained_in_one_sentence() {
    let run = |arguments: &[&str], token: Option<&str>| -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env_remove("PIECEWISE_IO_DAEMON_TOKEN").stdin(Stdio::null());
        if let Some(token) = token {
            command.env("PIECEWISE_IO_DAEMON_TOKEN", token);
        }
        command.output().unwrap()
    };
    let cases: [(&[&str], Option<&str>); 10] = [
        (&["--nonsense"], Some(TOKEN)),
        (&["--port", "99999"], Some(TOKEN)),
        (&["--root", "no-directory"], Some(TOKEN)),
        (&["--root", "=/tmp"], Some(TOKEN)),
        (&["--root", "name="], Some(TOKEN)),
        (&["--log", "loud"], Some(TOKEN)),
        (&["--config", "/nowhere/config.json"], Some(TOKEN)),
        (&["extra"], Some(TOKEN)),
        (&[], Some("too-short")),
        (&[], None),
    ];
    for (arguments, token) in cases {
        let output = run(arguments, token);

        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
        assert!(output.stdout.is_empty());
        assert!(!told.contains("too-short"));
    }
    let help = run(&["--help"], None);
    assert_eq!(help.status.code(), Some(0));
}
