"""What `PIECEWISE_OFFLINE=1` lets out, as the kernel sees it: strace shows every address that a program names."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import libtorrent
import pytest
from conftest import leave_out
from processes import HERE, NODE, ROOT, LineProcess
from torrents import KIB, Torrent, make_torrent, write_file

SECONDS = "4s"
"""When a download gives up."""
DEADLINE = 15.0
"""Seconds that a program may take, with the start under strace."""

OUTSIDE = [
    "http://tracker.example:80/announce",
    "https://tracker.example/announce",
    "udp://tracker.example:6969/announce",
    "http://192.0.2.1/announce",
    "https://192.0.2.1/announce",
    "udp://192.0.2.1:6969/announce",
    "http://[2001:db8::1]/announce",
    "udp://[2001:db8::1]:6969/announce",
]
"""Trackers elsewhere. These names and addresses belong to nobody (RFC 2606, 5737 and 3849)."""
WEB_SEEDS = ["http://seed.example/one.bin", "https://192.0.2.2/one.bin"]
FILES = ["https://files.example/one.torrent", "http://192.0.2.3/one.torrent"]
"""Where a magnet link says that its torrent file is."""
PEERS = ["127.0.0.1:9", "192.0.2.4:6881", "[2001:db8::4]:6881"]
"""The first is this machine, where nobody listens, so that a trace shows something."""
NODES = [(b"node.example", 6881), (b"192.0.2.5", 6881)]

FAMILY = re.compile(r"sa_family=(\w+)")
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
HERE_ONLY = {"AF_UNIX", "AF_LOCAL", "AF_NETLINK", "AF_UNSPEC"}
"""Families that reach no other machine. Connecting to AF_UNSPEC takes a destination away."""


class Trace:
    """The destinations in a file that strace wrote."""

    def __init__(self, text: str, errors: str) -> None:
        self.errors = errors
        """What the program wrote to standard error."""
        self.families = set(FAMILY.findall(text))
        self.destinations = {(ipaddress.ip_address(host), int(port)) for port, host in ADDRESS.findall(text)}

    def assert_looked(self) -> None:
        """Expects that the peer on this machine was dialled."""
        assert ("127.0.0.1", 9) in {(str(host), port) for host, port in self.destinations}, self.errors

    def assert_here(self) -> None:
        """Expects that nothing left this machine, and that no name was looked up, not even by a resolver on it."""
        assert self.families <= {"AF_INET", "AF_INET6", *HERE_ONLY}
        outside = [f"{host} port {port}" for host, port in self.destinations if not is_loopback(host)]
        assert outside == []
        assert [str(host) for host, port in self.destinations if port == 53] == []


def is_loopback(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(host, "ipv4_mapped", None)
    return (mapped or host).is_loopback


@pytest.fixture
def trace(running: ExitStack, tmp_path: Path) -> Callable[..., Trace]:
    """Runs a command to its end under strace, and returns where it wanted to connect or send."""
    strace = shutil.which("strace")
    if strace is None:
        leave_out("strace is not installed")
    if subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode != 0:
        leave_out("strace may not trace here")
    home = tmp_path / "home"
    home.mkdir()

    def run(*command: str | Path) -> Trace:
        file = tmp_path / "trace"
        # With -D, the child is the command itself, which a signal reaches.
        tracer = [strace, "-D", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(file)]
        # Neither bound to loopback nor with other routers than a user has.
        hidden = ("PIECEWISE_BIND", "PIECEWISE_DHT_ROUTERS")
        env = {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("XDG_")}
        program = LineProcess([*tracer, *map(str, command)], {**env, "HOME": str(home), "PIECEWISE_OFFLINE": "1"})
        running.callback(program.close)
        program.exit_code(DEADLINE)
        return Trace(file.read_text(), program.errors)

    return run


@pytest.fixture
def traced(trace) -> Callable[..., Trace]:
    """The same for `piecewise`."""
    return lambda *arguments: trace(NODE, ROOT / "src/node/main.ts", *arguments)


@pytest.fixture
def torrent(source) -> Torrent:
    """A torrent that names trackers, web seeds and nodes elsewhere."""
    torrent = make_torrent(write_file(source / "one.bin", 100 * KIB, 1), 32 * KIB, OUTSIDE)
    metainfo = libtorrent.bdecode(torrent.file.read_bytes())
    more = {b"url-list": [url.encode() for url in WEB_SEEDS], b"nodes": [list(node) for node in NODES]}
    torrent.file.write_bytes(libtorrent.bencode({**metainfo, **more}))
    return torrent


@pytest.fixture
def link() -> str:
    """A magnet link that names all that one can name."""
    nobody = "magnet:?xt=urn:btih:" + "17" * 20
    parts = [("tr", OUTSIDE), ("ws", WEB_SEEDS), ("xs", FILES), ("as", FILES), ("x.pe", [*PEERS, "peer.example:6881"])]
    return "&".join([nobody, *(f"{name}={value}" for name, values in parts for value in values)])


def peers() -> list[str]:
    return [part for peer in PEERS for part in ("--peer", peer)]


def test_a_trace_shows_what_leaves(trace):
    # Connecting a UDP socket sends nothing.
    dial = "import socket; socket.socket({}, socket.SOCK_DGRAM).connect({!r})"
    outside = trace(sys.executable, "-c", dial.format("socket.AF_INET", ("192.0.2.1", 7)))
    resolver = trace(sys.executable, "-c", dial.format("socket.AF_INET", ("127.0.0.53", 53)))
    here = trace(sys.executable, "-c", dial.format("socket.AF_INET6", ("::1", 7)))

    with pytest.raises(AssertionError, match="192.0.2.1 port 7"):
        outside.assert_here()
    with pytest.raises(AssertionError, match="127.0.0.53"):
        resolver.assert_here()
    here.assert_here()
    assert [str(host) for host, _ in here.destinations] == ["::1"]


def test_a_magnet_link_without_trackers(traced, torrent, target):
    traced("download", torrent.link(), "-o", target, "--give-up", SECONDS).assert_here()


@pytest.mark.parametrize("encryption", ["prefer", "off"])
def test_a_magnet_link_that_names_everything(traced, link, target, encryption):
    trace = traced("download", link, "-o", target, *peers(), "--encryption", encryption, "--give-up", SECONDS)

    trace.assert_here()
    trace.assert_looked()


@pytest.mark.parametrize("network", ["tcp", "io-daemon"])
def test_a_torrent_file_that_names_everything(traced, torrent, target, network):
    more = [part for url in WEB_SEEDS for part in ("--web-seed", url)]
    arguments = ["-o", target, *peers(), *more, "--network", network, "--give-up", SECONDS]
    trace = traced("download", torrent.file, *arguments)

    trace.assert_here()
    trace.assert_looked()


@pytest.mark.parametrize("url", FILES)
def test_a_torrent_file_of_a_url(traced, url, target):
    traced("download", url, "-o", target).assert_here()


def test_a_seed(traced, torrent):
    traced("seed", torrent.file, torrent.content, *peers(), "--seed-time", SECONDS).assert_here()


def test_doctor(traced, target):
    traced("doctor", "--output", target).assert_here()


@pytest.mark.parametrize("what", ["file", "link", "link without trackers", *OUTSIDE])
def test_a_scrape(traced, torrent, link, what):
    sources = {"file": torrent.file, "link": link, "link without trackers": torrent.link()}

    traced("scrape", sources.get(what, what)).assert_here()


def test_a_program_over_the_engine(trace, torrent, link, target):
    trace = trace(NODE, "--conditions=@piecewise/source", HERE / "everything.ts", link, torrent.file, target)

    trace.assert_here()
    trace.assert_looked()
