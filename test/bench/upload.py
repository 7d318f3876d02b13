"""The cost of uploading: each kind of seeder serves 1 GiB over loopback to a libtorrent downloader, in turn.

    .venv/bin/python test/bench/upload.py WORK [--runs 5] [--webtorrent DIR]

WORK is a folder for the content, made once from a fixed seed, and for the download: about 2 GiB. DIR is a folder whose
`node_modules` has `webtorrent` (`npm install --ignore-scripts webtorrent` there); without it that seeder is skipped.

A run lasts from the first byte that the downloader has to the last. CPU seconds are those of the seeder's process in
that time, without its startup work such as verifying. The download is compared with
the content, byte by byte. CPU seconds and ratios matter most, because the machine is often shared.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import mmap
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from processes import DEADLINE, NODE, LibtorrentPeer, LineProcess, Piecewise  # noqa: E402
from torrents import MIB, Torrent, make_torrent  # noqa: E402

PIECE_LENGTH = MIB

POLL = 0.01
"""Seconds between two looks at the downloader. Each costs it time, together less than a percent of a run."""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seeder:
    process: LineProcess
    address: str

    def cpu_seconds(self) -> float:
        """User and system time of the process with all its threads, in seconds."""
        stat = Path(f"/proc/{self.process._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Run:
    mib_per_second: float
    cpu_seconds_per_gib: float


def piecewise(torrent: Torrent, work: Path) -> Seeder:
    program = Piecewise(["seed", str(torrent.file), str(torrent.content), "--json"], work / "home")
    program.wait_for(lambda event: event["event"] == "complete")
    return Seeder(program, program.address)


def libtorrent(torrent: Torrent, _work: Path) -> Seeder:
    peer = LibtorrentPeer([str(torrent.file), str(torrent.content.parent), "--seed"])
    return Seeder(peer, peer.address)


def webtorrent(modules: Path) -> Callable[[Torrent, Path], Seeder]:
    def start(torrent: Torrent, _work: Path) -> Seeder:
        command = [str(NODE), str(HERE / "webtorrent_seeder.mjs"), str(torrent.file), str(torrent.content.parent)]
        process = LineProcess([*command, str(modules)])
        first = process.next_line()
        assert first is not None, f"WebTorrent did not start: {process.exit_code()} {process.errors}"
        return Seeder(process, f"127.0.0.1:{json.loads(first)['port']}")

    return start


def content(work: Path, size: int) -> Torrent:
    """The torrent of a file of `size` bytes with fixed contents, made if it does not exist yet."""
    file = work / "source" / "one.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.stat().st_size != size:
        generator = random.Random(1)
        with file.open("wb") as output:
            for begin in range(0, size, MIB):
                output.write(generator.randbytes(min(MIB, size - begin)))
    return make_torrent(file, PIECE_LENGTH)


def settle(size: int) -> None:
    """Finishes the writes of the previous run, and touches as much memory as a run needs.

    A virtual machine may have returned free memory to its host, which makes fresh pages very slow.
    """
    os.sync()
    mmap.mmap(-1, 2 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def wait_for_bytes(downloader: LibtorrentPeer, count: int) -> dict[str, int]:
    """Waits until it has `count` bytes, or is complete: libtorrent's counter may stay short of a complete file."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        status = downloader.status()
        if status["downloaded"] >= count or status["complete"]:
            return status
        time.sleep(POLL)
    raise AssertionError(f"the downloader stays at {status}")


def measure(torrent: Torrent, work: Path, start: Callable[[Torrent, Path], Seeder]) -> Run:
    target = work / "target"
    shutil.rmtree(target, ignore_errors=True)
    size = torrent.content.stat().st_size
    settle(size)
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
        cpu_seconds = seeder.cpu_seconds() - before
        downloader.wait_until(lambda status: bool(status["complete"]))
    same = filecmp.cmp(torrent.content, target / torrent.name, shallow=False)
    assert same, f"{target / torrent.name} differs from {torrent.content}"
    return Run((size - already) / MIB / seconds, cpu_seconds / (size / (1024 * MIB)))


def table(runs: dict[str, list[Run]]) -> str:
    medians = {
        name: Run(
            statistics.median(run.mib_per_second for run in measured),
            statistics.median(run.cpu_seconds_per_gib for run in measured),
        )
        for name, measured in runs.items()
    }
    ours = medians["piecewise"]
    lines = [
        "| seeder | MiB/s | CPU s per GiB | piecewise's MiB/s to its | piecewise's CPU to its |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, median in medians.items():
        speed = ours.mib_per_second / median.mib_per_second
        cpu = ours.cpu_seconds_per_gib / median.cpu_seconds_per_gib
        rates = f"{median.mib_per_second:.0f} | {median.cpu_seconds_per_gib:.2f}"
        lines.append(f"| {name} | {rates} | {speed:.2f} | {cpu:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the content")
    parser.add_argument("--webtorrent", type=Path, help="folder whose node_modules has webtorrent")
    arguments = parser.parse_args()

    seeders: dict[str, Callable[[Torrent, Path], Seeder]] = {"piecewise": piecewise, "libtorrent": libtorrent}
    if arguments.webtorrent is None:
        print("WebTorrent is skipped: --webtorrent does not name a folder that contains it")
    else:
        seeders["WebTorrent"] = webtorrent(arguments.webtorrent)

    torrent = content(arguments.work, arguments.mebibytes * MIB)
    runs: dict[str, list[Run]] = {name: [] for name in seeders}
    for _ in range(arguments.runs):
        for name, start in seeders.items():
            run = measure(torrent, arguments.work, start)
            runs[name].append(run)
            print(f"{name}: {run.mib_per_second:.0f} MiB/s, {run.cpu_seconds_per_gib:.2f} CPU s per GiB", flush=True)
    print(f"\nMedians of {arguments.runs} runs each:\n\n{table(runs)}")


if __name__ == "__main__":
    main()
