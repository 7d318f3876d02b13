"""Compares the time that a swarm takes with us in it and with libtorrent in our place.

`leechers`: one seed, limited to 4 MiB/s, and 30 libtorrent downloaders. `mixed`: a libtorrent seed with the same limit
and nine downloaders of all clients that are installed, one of which is ours. All know each other through a tracker.

Prints the seconds of each run from the start of the seed until half and all of the downloaders are complete, and the
ratio of the medians. Exit code 1 if it exceeds 1.1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from cells import Swarm
from clients import Aria2Client, Client, Libtorrent, Ours, QBittorrent, Rqbit, RTorrent, Transmission, WebTorrent
from torrents import KIB, MIB, assert_same

SIZE = 32 * MIB
RATE = 4 * MIB
LIMIT = 300.0
"""Seconds that a run may take."""
MOST = 1.1

OTHERS: list[type[Client]] = [Libtorrent, QBittorrent, Transmission, RTorrent, Aria2Client, WebTorrent, Rqbit, Rqbit]


def run(shape: str, ours: type[Client], number: int) -> tuple[float, float]:
    """The seconds after which half and all of the downloaders were complete."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        swarm = Swarm(ours, Path(folder), number, running)
        torrent = swarm.torrent(SIZE, 256 * KIB, trackers=[swarm.tracker().urls["http"]])
        kinds = [Libtorrent] * 30 if shape == "leechers" else [ours, *(kind for kind in OTHERS if kind.is_installed())]
        downloaders = [swarm.client(kind) for kind in kinds]
        targets = [Path(folder) / f"target-{index}" for index in range(len(kinds))]
        for downloader, target in zip(downloaders, targets, strict=True):
            downloader.add(torrent, target)

        seed = swarm.client(ours if shape == "leechers" else Libtorrent)
        peers = [downloader.address for downloader in downloaders]
        begun = time.monotonic()
        if isinstance(seed, Ours):
            seed.seed(torrent, peers, ["--limit-up", str(RATE)])
        else:
            assert isinstance(seed, Libtorrent)
            more = ["--seed", "--dial", "--upload-limit", str(RATE)]
            seed.add(torrent, torrent.content.parent, peers, more=more)
        done: dict[int, float] = {}
        while len(done) < len(downloaders):
            for index, downloader in enumerate(downloaders):
                if index not in done and downloader.is_complete():
                    done[index] = time.monotonic() - begun
            if time.monotonic() - begun > LIMIT:
                late = [f"{one.name}: {one.log()}" for index, one in enumerate(downloaders) if index not in done]
                raise AssertionError(f"not complete within {LIMIT:.0f} s: {late}")
            time.sleep(0.1)
        for target in targets:
            assert_same(torrent, target)
        return statistics.median(done.values()), max(done.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=["leechers", "mixed"])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    last: dict[str, list[float]] = {}
    number = 100
    for _ in range(arguments.runs):
        for kind in (Ours, Libtorrent):
            number += 1
            half, whole = run(arguments.shape, kind, number)
            last.setdefault(kind.name, []).append(whole)
            print(f"{arguments.shape}, {kind.name}: half after {half:.1f} s, all after {whole:.1f} s", flush=True)
    ratio = statistics.median(last[Ours.name]) / statistics.median(last[Libtorrent.name])
    print(f"{arguments.shape}: {ratio:.2f} times the time with libtorrent in our place")
    sys.exit(ratio > MOST)


if __name__ == "__main__":
    main()
