"""Fixtures of the interop tests. Everything that a test starts ends with it. Sockets are real, on loopback only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NoReturn

import matrix
import pytest
from aria2 import IS_INSTALLED, Aria2
from cells import CELLS
from clients import CLIENTS
from idlers import Idlers
from liar import Liar
from mounts import Mount, why_not
from processes import DhtNodes, LibtorrentPeer, LibtorrentSwarm, Piecewise, Tracker, WebServer
from storages import IS_SOAK, STORAGES
from torrents import Torrent


# No test may look outside this machine. Every program that a test starts inherits this. In a network namespace nothing
# else can be reached, and its addresses are not those of loopback, so that the variable would exclude the peers.
os.environ["PIECEWISE_OFFLINE"] = "0" if "PIECEWISE_MATRIX_NETWORK" in os.environ else "1"


def leave_out(why: str) -> NoReturn:
    """Skips a test that this machine cannot run. With `CI=true` it fails the test instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Closes everything that a test started, the latest first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder in which a test creates its content."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The folder to download into; it does not exist yet."""
    return tmp_path / "target"


@pytest.fixture
def seed(running: ExitStack) -> Callable[..., LibtorrentPeer]:
    """Starts a libtorrent seeder."""

    def start(
        torrent: Torrent,
        port: int = 0,
        bytes_per_second: int | None = None,
        trackers: bool = False,
        host: str = "127.0.0.1",
        check: bool = False,
        dht: str | None = None,
        dials: str | None = None,
        more: Iterable[str] = (),
    ) -> LibtorrentPeer:
        arguments = [str(torrent.file), str(torrent.content.parent), "--seed", "--port", str(port)]
        if bytes_per_second is not None:
            arguments += ["--upload-limit", str(bytes_per_second)]
        if trackers:
            arguments.append("--trackers")
        if check:
            arguments.append("--check")
        if dht is not None:
            arguments += ["--dht", dht]
        if dials is not None:
            arguments += ["--dial", "--peer", dials]
        arguments += more
        peer = LibtorrentPeer(arguments, host)
        running.callback(peer.close)
        return peer

    return start


@pytest.fixture
def leech(running: ExitStack) -> Callable[..., LibtorrentPeer]:
    """Starts a libtorrent downloader of a torrent or magnet link into a folder. Wants all files if none is named."""

    def start(
        torrent: Torrent | str,
        folder: Path,
        *peers: str,
        trackers: bool = False,
        files: Iterable[int] = (),
        bytes_per_second: int | None = None,
        allocate: bool = False,
        dht: str | None = None,
        more: Iterable[str] = (),
    ) -> LibtorrentPeer:
        arguments = [torrent if isinstance(torrent, str) else str(torrent.file), str(folder)]
        if bytes_per_second is not None:
            arguments += ["--download-limit", str(bytes_per_second)]
        if allocate:
            arguments.append("--allocate")
        if dht is not None:
            arguments += ["--dht", dht]
        arguments += [argument for peer in peers for argument in ("--peer", peer)]
        arguments += [argument for index in files for argument in ("--file", str(index))]
        if trackers:
            arguments.append("--trackers")
        arguments += more
        peer = LibtorrentPeer(arguments)
        running.callback(peer.close)
        return peer

    return start


@pytest.fixture
def swarm(running: ExitStack) -> Callable[..., LibtorrentSwarm]:
    """Starts several libtorrent downloaders of a torrent into folders below one, which know one peer."""

    def start(torrent: Torrent, folder: Path, count: int, peer: str, *options: str) -> LibtorrentSwarm:
        started = LibtorrentSwarm(torrent.file, folder, count, peer, *options)
        running.callback(started.close)
        return started

    return start


@pytest.fixture
def aria2(running: ExitStack, tmp_path: Path) -> Callable[..., Aria2]:
    """Starts aria2 with a torrent or a magnet link in a folder, and waits until it listens."""
    if not IS_INSTALLED:
        leave_out("aria2 is not installed")

    def start(torrent: Torrent | str, folder: Path, *options: str) -> Aria2:
        what = torrent if isinstance(torrent, str) else str(torrent.file)
        peer = Aria2([*options, f"--dir={folder}", what], tmp_path)
        running.callback(peer.close)
        return peer

    return start


@pytest.fixture
def aria2_seed(aria2: Callable[..., Aria2]) -> Callable[[Torrent], Aria2]:
    """Starts an aria2 seeder, which announces to the torrent's trackers."""
    return lambda torrent: aria2(torrent, torrent.content.parent, "--seed-ratio=0", "--bt-seed-unverified")


@pytest.fixture
def aria2_leech(aria2: Callable[..., Aria2]) -> Callable[..., Aria2]:
    """Starts an aria2 downloader of a torrent or magnet link into a folder. It announces, and ends when complete."""
    return lambda torrent, folder, *options: aria2(torrent, folder, "--seed-time=0", *options)


@pytest.fixture
def lie(running: ExitStack) -> Callable[[Torrent, Callable[[int, int], bool]], Liar]:
    """Starts a seeder that sends wrong bytes for the blocks with `lies_about(piece, block)`."""

    def start(torrent: Torrent, lies_about: Callable[[int, int], bool]) -> Liar:
        liar = Liar(torrent, lies_about)
        running.callback(liar.close)
        return liar

    return start


@pytest.fixture
def idlers(running: ExitStack) -> Callable[[Torrent, int], Idlers]:
    """Starts peers that have nothing and stay."""

    def start(torrent: Torrent, count: int) -> Idlers:
        peers = Idlers(torrent, count)
        running.callback(peers.close)
        return peers

    return start


@pytest.fixture
def dht(running: ExitStack) -> Callable[[int, int], tuple[DhtNodes, DhtNodes | None]]:
    """Starts a DHT of so many libtorrent nodes and so many of ours."""

    def start(libtorrents: int, ours: int) -> tuple[DhtNodes, DhtNodes | None]:
        theirs = DhtNodes.of_libtorrent(libtorrents)
        running.callback(theirs.close)
        if ours == 0:
            return theirs, None
        nodes = DhtNodes.of_ours(ours, theirs.ready["addresses"][0])
        running.callback(nodes.close)
        return theirs, nodes

    return start


@pytest.fixture
def tracker(running: ExitStack) -> Tracker:
    started = Tracker()
    running.callback(started.close)
    return started


@pytest.fixture
def web(running: ExitStack) -> Callable[..., WebServer]:
    """Starts an HTTP server; see `WebServer`."""

    def start(answers: dict[str, Callable[[BaseHTTPRequestHandler], None]]) -> WebServer:
        server = WebServer(answers)
        running.callback(server.close)
        return server

    return start


@pytest.fixture
def piecewise(running: ExitStack, tmp_path: Path) -> Callable[..., Piecewise]:
    """Starts the command line with the given arguments."""

    def start(*arguments: str | Path, descriptors: int | None = None) -> Piecewise:
        program = Piecewise([str(argument) for argument in arguments], tmp_path / "home", descriptors)
        running.callback(program.close)
        return program

    return start


@pytest.fixture
def download(piecewise: Callable[..., Piecewise], target: Path) -> Callable[..., Piecewise]:
    """Starts `piecewise download` of a torrent into `target`, from peers given as `HOST:PORT`."""

    def start(torrent: Torrent, *peers: str) -> Piecewise:
        from_peers = [argument for peer in peers for argument in ("--peer", peer)]
        return piecewise("download", torrent.file, "-o", target, *from_peers, "--json")

    return start


SLOW = ("test_half_done", "test_changed_files", "test_disks")
"""Tests that a normal run executes with the file system only, and a soak with every storage."""
SLOW_DISKS = ("fails_at_write_back", "nothing_that_it_lost", "full_disk", "goes_and_comes_back", "btrfs", "tmpfs")
"""Tests of disks that only a soak executes."""


IS_MATRIX = "PIECEWISE_MATRIX" in os.environ
"""Whether to run all cells of the interop matrix: `npm run soak -- matrix`."""
QUICK_CELLS = (
    "test_matrix[libtorrent-give]",
    *(f"test_matrix[{client}-{cell}]" for client in ("libtorrent", "aria2") for cell in ("halves", "tiers g")),
)
"""The cells that a normal run executes. Other tests cover more of these two clients."""


LONGEST = (
    "test_a_leecher_gets_no_wrong_byte_of_a_seed_whose_files_change",
    "test_the_only_seeder_has_a_rotten_byte_until_it_is_mended",
    "test_large_metadata_of_many_files_from_libtorrent",
    "test_downloads_share_what_a_slow_seeder_sends",
    "test_a_super_seed_completes",
    "test_a_disk_that_goes_during_a_download_gets_nothing_in_its_place",
    "test_a_limited_seed_serves_ten_libtorrent_downloaders_evenly",
    "test_pause_resume_recheck_and_remove",
)
"""How the names of the tests begin that take longest. They begin first, so that none of them runs alone at the end."""


def rank(item: pytest.Item) -> int:
    """The place of a test in `LONGEST`."""
    found = [place for place, name in enumerate(LONGEST) if item.name.startswith(name)]
    return found[0] if found else len(LONGEST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_left_out(item: pytest.Item) -> bool:
        if item.path.stem == "test_matrix":
            return not IS_MATRIX and not item.name.startswith(QUICK_CELLS)
        if IS_SOAK or item.path.stem not in SLOW:
            return False
        is_slow_disk = item.path.stem == "test_disks" and any(name in item.name for name in SLOW_DISKS)
        return "io-daemon" in item.name or is_slow_disk

    config.hook.pytest_deselected(items=[item for item in items if is_left_out(item)])
    items[:] = sorted((item for item in items if not is_left_out(item)), key=rank)


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    """The value of `--storage`; tests are repeated for each."""
    return request.param


@pytest.fixture
def fetch(piecewise: Callable[..., Piecewise], target: Path, storage: str) -> Callable[..., Piecewise]:
    """Starts `piecewise download` with each storage, into `target` by default. Further options go at the end."""

    def start(torrent: Torrent, peer: LibtorrentPeer, *options: str | Path, into: Path | None = None) -> Piecewise:
        folder = target if into is None else into
        arguments = [torrent.file, "-o", folder, "--peer", peer.address, "--storage", storage, "--json", *options]
        return piecewise("download", *arguments)

    return start


@pytest.fixture
def verify(piecewise: Callable[..., Piecewise]) -> Callable[[Torrent, Path], Piecewise]:
    """Starts `piecewise verify` for the content at a path."""
    return lambda torrent, path: piecewise("verify", torrent.file, path)


@pytest.fixture
def mount(running: ExitStack, tmp_path: Path) -> Callable[..., Mount]:
    """Mounts a file system of the given size in MiB, with options for `mount -o`. It is unmounted after the test."""
    why = why_not()
    if why is not None:
        leave_out(f"nothing can be mounted: {why}")

    def start(kind: str, mebibytes: int, *options: str) -> Mount:
        mounted = Mount(kind, mebibytes, tmp_path / f"{kind}-mount", *options)
        running.callback(mounted.close)
        mounted.start()
        return mounted

    return start


@pytest.fixture
def give(piecewise: Callable[..., Piecewise]) -> Callable[..., Piecewise]:
    """Starts `piecewise seed` for a torrent and its content, and waits until it serves."""

    def start(torrent: Torrent, *arguments: str) -> Piecewise:
        program = piecewise("seed", torrent.file, torrent.content, "--json", *arguments)
        program.wait_for(lambda event: event["_tag"] == "Completed")
        return program

    return start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    if matrix.read(reports):
        terminalreporter.section("the interop matrix, in seconds")
        terminalreporter.write_line(matrix.table(reports, CLIENTS, CELLS))
