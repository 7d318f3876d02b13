//! A daemon in a temporary directory, called as a router or over a real socket.

// Each test file is a crate of its own and uses only a part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod disks;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::request::Builder;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use piecewise_io_daemon::config::{Config, Settings};
use piecewise_io_daemon::disk::Limits;
use piecewise_io_daemon::disk::digest::{Algorithm, Digest};
use piecewise_io_daemon::token::Token;
use piecewise_io_daemon::{AppState, app, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

pub const TOKEN: &str = "test-token.0123456789";
pub const PORT: u16 = 4141;
pub const MIB: usize = 1024 * 1024;

/// The files that taking a root leaves in it.
pub const MARKER: [&str; 2] = [".piecewise/", ".piecewise/io-daemon"];

/// A daemon whose only root is `root`, below a temporary directory that also contains files outside the root.
pub struct Bed {
    pub directory: TempDir,
    pub root: PathBuf,
    pub state: AppState,
    pub app: Router,
    port: u16,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The `kind` of the error, or an empty text.
    pub fn kind(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["kind"].as_str().unwrap_or_default().to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The JSON of each line, without the empty ones.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("a line is JSON")).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the header is text"))
    }

    /// Expects this status and kind.
    pub fn is(&self, status: u16, kind: &str) {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned();
        assert_eq!((self.status.as_u16(), self.kind().as_str()), (status, kind), "{body}");
    }
}

impl Bed {
    pub fn new() -> Self {
        Self::with(Limits::default(), None)
    }

    pub fn with(limits: Limits, allow_origins: Option<Vec<String>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        Self::at(directory, root, limits, allow_origins, PORT)
    }

    /// A daemon with a root at another place, such as a small disk.
    pub fn on(root: &Path) -> Self {
        Self::at(tempfile::tempdir().unwrap(), root.to_owned(), Limits::default(), None, PORT)
    }

    pub fn at(
        directory: TempDir,
        root: PathBuf,
        limits: Limits,
        allow_origins: Option<Vec<String>>,
        port: u16,
    ) -> Self {
        let roots = BTreeMap::from([("root".to_owned(), root.clone())]);
        let config = Config::load(Settings { roots, allow_origins }, None).unwrap();
        let state = AppState::new(Token::parse(TOKEN).unwrap(), port, config, limits);
        Self { directory, root, app: app(state.clone()), state, port }
    }

    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(host) = request.headers_mut().get_mut("host").filter(|host| *host == own_host(PORT).as_str()) {
            *host = own_host(self.port).parse().unwrap();
        }
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body arrives whole").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn put(&self, id: &str, set: Value) -> Answer {
        self.send(request("PUT", &format!("/v1/sets/{id}")).body(set.to_string().into()).unwrap()).await
    }

    /// Registers files, given as path and length, under the id `set`.
    pub async fn register(&self, files: &[(&str, u64)]) {
        let answer = self.put("set", set_of(files)).await;
        assert!(answer.status.is_success(), "{:?}", answer.body);
    }

    /// Registers files under the id `set` and makes all of them.
    pub async fn open(&self, files: &[(&str, u64)]) {
        self.register(files).await;
        self.make("set", files.len()).await;
    }

    /// Makes the first `count` files of a set, which do not exist yet.
    pub async fn make(&self, id: &str, count: usize) {
        for told in self.claim_all(id, count, "new").await {
            assert!(told["error"].is_null(), "{told}");
        }
    }

    /// Reserves and claims the first `count` files of a set in the same way. Returns the line about each.
    pub async fn claim_all(&self, id: &str, count: usize, how: &str) -> Vec<Value> {
        let files: Vec<_> = (0..count).collect();
        self.post(&format!("/v1/sets/{id}/reserve"), json!({ "files": files })).await.is(204, "");
        self.claim(id, files.iter().map(|file| json!({ "file": file, "as": how })).collect()).await
    }

    /// Claims reserved files. Returns the line about each.
    pub async fn claim(&self, id: &str, claims: Value) -> Vec<Value> {
        self.post(&format!("/v1/sets/{id}/claim"), json!({ "claims": claims })).await.lines()
    }

    /// The facts of the files of the set `set`.
    pub async fn look(&self, files: &[usize]) -> Vec<Value> {
        self.post("/v1/sets/set/look", json!({ "files": files })).await.lines()
    }

    /// Flushes files of the set `set`. Returns for each its length or the kind of the error.
    pub async fn flush(&self, files: &[usize]) -> Vec<Value> {
        let told = self.post("/v1/sets/set/flush", json!({ "files": files })).await.lines();
        told.into_iter()
            .map(|told| if told["error"].is_null() { told["length"].clone() } else { told["error"]["kind"].clone() })
            .collect()
    }

    pub async fn forget(&self, id: &str) -> Answer {
        self.send(request("DELETE", &format!("/v1/sets/{id}")).body(Body::empty()).unwrap()).await
    }

    pub async fn write(&self, begin: u64, bytes: &[u8]) -> Answer {
        self.send(write_request("set", begin, bytes)).await
    }

    pub async fn read(&self, range: &str) -> Answer {
        self.send(request("GET", "/v1/sets/set/read").header("range", range).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request("POST", path).body(body.to_string().into()).unwrap()).await
    }

    pub async fn digests(&self, algorithm: &str, ranges: Value) -> Answer {
        self.post("/v1/sets/set/digests", json!({ "algorithm": algorithm, "ranges": ranges })).await
    }

    pub async fn stats(&self) -> Value {
        self.send(request("GET", "/v1/control/stats").body(Body::empty()).unwrap()).await.json()
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Everything below the root except its marker, sorted.
    pub fn tree(&self) -> Vec<String> {
        fn walk(folder: &Path, below: &str, into: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = format!("{below}{}", entry.file_name().to_string_lossy());
                if entry.file_type().unwrap().is_dir() {
                    into.push(format!("{name}/"));
                    walk(&entry.path(), &format!("{name}/"), into);
                } else {
                    into.push(name);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.root, "", &mut found);
        found.retain(|name| !MARKER.contains(&name.as_str()) && !name.starts_with(".piecewise/locks"));
        found.sort();
        found
    }
}

pub fn set_of(files: &[(&str, u64)]) -> Value {
    let files: Vec<_> = files
        .iter()
        .map(|(path, length)| json!({ "path": path.split('/').collect::<Vec<_>>(), "length": length }))
        .collect();
    json!({ "root": "root", "files": files })
}

/// A request with the token and the right `Host`.
pub fn request(method: &str, path: &str) -> Builder {
    anonymous(method, path).header("authorization", format!("Bearer {TOKEN}"))
}

/// A request with the right `Host` but without the token. `Bed::send` sets the port of a daemon on a real socket.
pub fn anonymous(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(path).header("host", own_host(PORT))
}

fn own_host(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

pub fn write_request(id: &str, begin: u64, bytes: &[u8]) -> Request<Body> {
    request("POST", &format!("/v1/sets/{id}/write"))
        .header("content-range", format!("bytes {begin}-{}/*", begin + bytes.len() as u64 - 1))
        .header("content-digest", sha1_of(bytes))
        .body(bytes.to_vec().into())
        .unwrap()
}

pub fn sha1_of(bytes: &[u8]) -> String {
    format!("sha=:{}:", Digest::of(Algorithm::Sha1, bytes).to_base64())
}

/// Bytes without a period that could fit the size of a file.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A daemon on a real socket. It ends with the runtime of the test.
pub struct Served {
    pub bed: Bed,
    pub address: SocketAddr,
    pub serving: JoinHandle<()>,
}

impl Served {
    pub async fn new(limits: serve::Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let bed = Bed::at(directory, root, Limits::default(), None, address.port());
        let serving = tokio::spawn(serve::serve(listener, bed.app.clone(), bed.state.clone(), limits));
        Self { bed, address, serving }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }
}

/// A connection for HTTP written by hand, so that requests can be malformed.
pub struct Client {
    pub stream: TcpStream,
    port: u16,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, port: address.port(), buffer: Vec::new() }
    }

    /// The head of a request with the token. `more` contains further lines, each with CRLF at its end.
    pub fn head(&self, line: &str, more: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {TOKEN}\r\n{more}\r\n", self.port)
    }

    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends a request with a body and waits for its answer.
    pub async fn ask(&mut self, line: &str, more: &str, body: &[u8]) -> std::io::Result<Answer> {
        let head = self.head(line, &format!("{more}Content-Length: {}\r\n", body.len()));
        self.raw(head).await?;
        self.raw(body).await?;
        self.answer().await
    }

    /// Registers files under the id `set`, and claims all of them whatever lies at their places.
    pub async fn open(&mut self, files: &[(&str, u64)]) {
        self.open_set(&set_of(files)).await;
    }

    /// The same for a set with further fields.
    pub async fn open_set(&mut self, set: &Value) {
        self.ask("PUT /v1/sets/set", "", set.to_string().as_bytes()).await.unwrap().is(201, "");
        let indices: Vec<_> = (0..set["files"].as_array().map_or(0, Vec::len)).collect();
        let reserve = json!({ "files": indices }).to_string();
        self.ask("POST /v1/sets/set/reserve", "", reserve.as_bytes()).await.unwrap().is(204, "");
        let claims: Vec<_> = indices.iter().map(|file| json!({ "file": file, "as": "overwritten" })).collect();
        let claims = json!({ "claims": claims }).to_string();
        let told = self.ask("POST /v1/sets/set/claim", "", claims.as_bytes()).await.unwrap().lines();
        assert!(told.iter().all(|facts| facts["error"].is_null()), "{told:?}");
    }

    pub async fn write(&mut self, begin: u64, bytes: &[u8]) -> std::io::Result<Answer> {
        let last = begin + bytes.len() as u64 - 1;
        let more = format!("Content-Range: bytes {begin}-{last}/*\r\nContent-Digest: {}\r\n", sha1_of(bytes));
        self.ask("POST /v1/sets/set/write", &more, bytes).await
    }

    /// Reads one answer. Fails if the connection ends before the answer is complete.
    pub async fn answer(&mut self) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        if headers.contains_key("transfer-encoding") {
            let body = self.chunks().await?.into();
            return Ok(Answer { status, headers, body });
        }
        let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(Answer { status, headers, body: self.buffer.drain(..length).collect() })
    }

    /// Reads a chunked body (RFC 9112 section 7.1) without trailers.
    async fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.buffer.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.buffer.len() < end + 2 + size + 2 {
                self.more().await?;
            }
            body.extend_from_slice(&self.buffer[end + 2..][..size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the daemon closes the connection. Whatever it still sends is ignored.
    pub async fn closed(&mut self) {
        while self.more().await.is_ok() {}
    }
}
