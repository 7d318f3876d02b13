//! The program: parses the command line, listens on loopback, prints the port, and serves until it is told to end.

#![forbid(unsafe_code)]

use std::env::VarError;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use piecewise_io_daemon::config::{Config, Settings, checked_root};
use piecewise_io_daemon::descriptors::{self, Shares};
use piecewise_io_daemon::disk::Taking;
use piecewise_io_daemon::token::Token;
use piecewise_io_daemon::{AppState, app, disk, lifetime, serve};
use rustix::process::Pid;
use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that is read for the token before standard input is. It is never an argument, because every program can
/// read those.
const TOKEN_VARIABLE: &str = "PIECEWISE_IO_DAEMON_TOKEN";

/// How long writes whose clients are gone have to end after the last answer.
const DISK_GRACE: Duration = Duration::from_secs(1);

/// One thread can serve while another reads a body. Work on the disk has threads of its own.
const WORKER_THREADS: usize = 2;

/// A local service that reads, writes and hashes files and opens sockets for an engine that cannot.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The port to listen on at 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A directory that files may lie below, and the name that clients use for it. May be repeated.
    #[arg(long = "root", value_name = "NAME=DIR", value_parser = parse_root)]
    roots: Vec<(String, PathBuf)>,
    /// Do not make or mark any root, because all were taken before. A root without its marker is gone until it is back.
    #[arg(long)]
    known_roots: bool,
    /// An origin whose pages may send requests. May be repeated. Without it, every origin is allowed.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allow_origins: Vec<String>,
    /// A JSON file with more roots and origins, which can be read again while the daemon runs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bytes of request bodies held at once.
    #[arg(long, value_name = "BYTES", default_value_t = disk::Limits::default().buffer_bytes)]
    buffer_bytes: usize,
    /// Files kept open between operations.
    #[arg(long, value_name = "COUNT", default_value_t = disk::Limits::default().max_open_files)]
    max_open_files: usize,
    /// Connections open at once. At most a quarter of them may be without the token.
    #[arg(long, value_name = "COUNT", default_value_t = serve::Limits::default().max_connections)]
    max_connections: usize,
    /// The lowest level that is logged: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: LevelFilter,
}

fn parse_root(text: &str) -> Result<(String, PathBuf), String> {
    let (name, directory) = text.split_once('=').ok_or("a root is given as NAME=DIR")?;
    Ok((name.to_owned(), checked_root(name, directory.as_ref())?))
}

fn main() -> ExitCode {
    let parent = lifetime::parent();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            return refuse(text.lines().next().unwrap_or_default().trim_start_matches("error: "));
        }
    };
    log_to_stderr(arguments.log);
    let prepared = find_token().and_then(|(token, from_input)| Ok((token, from_input, config(&arguments)?)));
    let (token, from_input, config) = match prepared {
        Ok(prepared) => prepared,
        Err(sentence) => return refuse(&sentence),
    };
    match run(&arguments, token, config, Watched { parent, input: from_input }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the daemon cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Logs JSON lines of this crate and of the request trace only, because other crates log whole requests and with them
/// the token.
fn log_to_stderr(level: LevelFilter) {
    let logged = Targets::new().with_target("piecewise_io_daemon", level).with_target("tower_http", level);
    let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(logged)).init();
}

/// The processes and inputs that the daemon does not outlive.
#[derive(Clone, Copy)]
struct Watched {
    parent: Option<Pid>,
    /// Whether the daemon ends when standard input does.
    input: bool,
}

/// Prints one sentence about what is wrong with how the daemon was started.
fn refuse(sentence: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{sentence}");
    ExitCode::from(2)
}

/// The token, and whether it was read from standard input.
fn find_token() -> Result<(Token, bool), String> {
    let (text, from_input) = match std::env::var(TOKEN_VARIABLE) {
        Err(VarError::NotPresent) => {
            (lifetime::first_line().map_err(|error| format!("the token cannot be read: {error}"))?, true)
        }
        given => (given.unwrap_or_default(), false),
    };
    let token = Token::parse(&text).ok_or("the token must be 16 to 256 characters of [A-Za-z0-9._~-]")?;
    Ok((token, from_input))
}

fn config(arguments: &Arguments) -> Result<Config, String> {
    let origins = &arguments.allow_origins;
    let settings = Settings {
        roots: arguments.roots.iter().cloned().collect(),
        allow_origins: (!origins.is_empty()).then(|| origins.clone()),
    };
    Config::load(settings, arguments.config.clone())
}

/// The limits that fit into the descriptors that the system allows.
fn fit(arguments: &Arguments) -> Shares {
    let descriptors = descriptors::raise();
    let shares = descriptors::share_out(descriptors, arguments.max_open_files, arguments.max_connections);
    let Shares { files, connections, sockets } = shares;
    if (files, connections) != (arguments.max_open_files, arguments.max_connections) {
        tracing::warn!(
            descriptors,
            files,
            connections,
            sockets,
            "the system allows few descriptors, so limits were lowered"
        );
    }
    shares
}

fn run(arguments: &Arguments, token: Token, config: Config, watched: Watched) -> std::io::Result<()> {
    let shares = fit(arguments);
    let disk_limits = disk::Limits { buffer_bytes: arguments.buffer_bytes, max_open_files: shares.files };
    let serve_limits = serve::Limits { max_connections: shares.connections, ..serve::Limits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
        let port = listener.local_addr()?.port();
        let taking = if arguments.known_roots { Taking::Known } else { Taking::New };
        let state = AppState::taking(token, port, config, disk_limits, taking).with_sockets(shares.sockets);
        let shutdown = state.shutdown().clone();
        let end = lifetime::watch(watched.parent, watched.input.then(lifetime::input_end))?;
        tokio::spawn(async move {
            let reason = end.await;
            tracing::info!(reason, "ending");
            shutdown.cancel();
        });
        announce(port)?;
        serve::serve(listener, app(state.clone()), state, serve_limits).await;
        Ok(())
    });
    // Without a limit, a disk that hangs would keep the program alive for as long.
    runtime.shutdown_timeout(DISK_GRACE);
    outcome
}

/// Prints the one line on standard output, from which a parent reads the port.
fn announce(port: u16) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::json!({ "port": port, "version": env!("CARGO_PKG_VERSION") }))?;
    out.flush()
}
