"""The cost of uploading: a seeder serves a file over loopback to a libtorrent downloader. `npm run bench` runs it.

    python scripts/bench/upload.py SEEDER TORRENT CONTENT WORK [--webtorrent DIR] [--warm MIB]

SEEDER is piecewise, libtorrent or webtorrent, and WORK a folder for the download. DIR is a folder whose `node_modules`
has `webtorrent`. The command line of piecewise is that of the checkout, or `PIECEWISE_COMMAND`.

A run lasts from the first byte that the downloader has to the last. CPU seconds are those of the seeder's process in
that time, without its startup work such as verifying. The download is compared with the content, byte by byte. Prints
the figures as one JSON line.
"""

from __future__ import annotations

import argparse
import ctypes
import filecmp
import json
import mmap
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "test" / "interop"))

from processes import DEADLINE, NODE, LibtorrentPeer, LineProcess, Piecewise  # noqa: E402


@dataclass(frozen=True)
class Torrent:
    """A torrent of one file, which is at `content`."""

    file: Path
    content: Path


POLL = 0.01
"""Seconds between two looks at the downloader. Each costs it time, together less than a percent of a run."""

MIB = 1_048_576

PR_SET_PDEATHSIG = 1
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seeder:
    process: LineProcess
    address: str

    def cpu_seconds(self) -> tuple[float, float]:
        """User and kernel time of the process with all its threads, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / TICKS, int(fields[12]) / TICKS


@dataclass(frozen=True)
class Run:
    mebibytes_per_second: float
    user: float
    kernel: float


def piecewise(torrent: Torrent, work: Path) -> Seeder:
    program = Piecewise(["seed", str(torrent.file), str(torrent.content), "--json"], work / "home")
    program.wait_for(lambda event: event["_tag"] == "Completed")
    return Seeder(program, program.address)


def libtorrent(torrent: Torrent, _work: Path) -> Seeder:
    peer = LibtorrentPeer([str(torrent.file), str(torrent.content.parent), "--seed"])
    return Seeder(peer, peer.address)


def webtorrent(modules: Path) -> Callable[[Torrent, Path], Seeder]:
    def start(torrent: Torrent, _work: Path) -> Seeder:
        command = [str(NODE), str(HERE / "webtorrent.mjs"), str(torrent.file), str(torrent.content.parent)]
        process = LineProcess([*command, str(modules)])
        first = process.next_line()
        assert first is not None, f"WebTorrent did not start: {process.exit_code()} {process.errors}"
        return Seeder(process, f"127.0.0.1:{json.loads(first)['port']}")

    return start


def settle(warm: int) -> None:
    """Finishes the writes of the previous run, and touches memory.

    A virtual machine may have returned free memory to its host, which makes fresh pages very slow.
    """
    os.sync()
    if warm > 0:
        mmap.mmap(-1, warm << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def wait_for_bytes(downloader: LibtorrentPeer, count: int) -> dict[str, int]:
    """Waits until it has `count` bytes, or is complete: libtorrent's counter may stay short of a complete file."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        status = downloader.status()
        if status["downloaded"] >= count or status["complete"]:
            return status
        time.sleep(POLL)
    raise AssertionError(f"the downloader stays at {status}")


def measure(torrent: Torrent, work: Path, start: Callable[[Torrent, Path], Seeder], warm: int) -> Run:
    target = work / "target"
    shutil.rmtree(target, ignore_errors=True)
    size = torrent.content.stat().st_size
    settle(warm)
    with ExitStack() as running:
        seeder = start(torrent, work)
        running.callback(seeder.process.close)
        downloader = LibtorrentPeer([str(torrent.file), str(target), "--peer", seeder.address])
        running.callback(downloader.close)
        before = seeder.cpu_seconds()
        already = wait_for_bytes(downloader, 1)["downloaded"]
        began = time.monotonic()
        wait_for_bytes(downloader, size)
        seconds = time.monotonic() - began
        after = seeder.cpu_seconds()
        downloader.wait_until(lambda status: bool(status["complete"]))
    name = torrent.content.name
    assert filecmp.cmp(torrent.content, target / name, shallow=False), f"{target / name} differs from {torrent.content}"
    return Run((size - already) / MIB / seconds, after[0] - before[0], after[1] - before[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeder", choices=["piecewise", "libtorrent", "webtorrent"])
    parser.add_argument("torrent", type=Path)
    parser.add_argument("content", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--webtorrent", type=Path, help="folder whose node_modules has webtorrent")
    parser.add_argument("--warm", type=int, default=0, help="MiB of memory to touch before")
    arguments = parser.parse_args()

    # Also if it is stopped, what it has started ends with it, and it ends with its parent.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    seeders = {"piecewise": piecewise, "libtorrent": libtorrent, "webtorrent": webtorrent(arguments.webtorrent)}
    torrent = Torrent(arguments.torrent, arguments.content)
    run = measure(torrent, arguments.work, seeders[arguments.seeder], arguments.warm)
    print(json.dumps(asdict(run)), flush=True)


if __name__ == "__main__":
    main()
