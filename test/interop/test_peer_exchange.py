"""Peers that are found through other peers (BEP 11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torrents import KIB, MIB, Torrent, make_torrent, write_file


@pytest.fixture
def torrent(source) -> Torrent:
    """One that nobody completes while peers are exchanged."""
    return make_torrent(write_file(source / "one.bin", 64 * MIB, 1), 256 * KIB)


def with_peers(count: int) -> Callable[[dict[str, object]], bool]:
    return lambda event: event["event"] == "progress" and event["peers"] == count


def test_libtorrent_tells_us_of_a_third(torrent, target, tmp_path, seed, leech, download):
    third = seed(torrent, bytes_per_second=64 * KIB)
    teller = leech(torrent, tmp_path / "teller", third.address)
    teller.wait_until(lambda status: status["peers"] == 1)

    ours = download(torrent, teller.address)

    ours.wait_for(with_peers(2))


def test_we_tell_libtorrent_of_a_third(torrent, target, tmp_path, seed, leech, piecewise):
    third = seed(torrent, bytes_per_second=64 * KIB)
    ours = piecewise("download", torrent.file, "-o", target, "--peer", third.address, "--seed", "--json")
    ours.wait_for(with_peers(1))

    hearer = leech(torrent, tmp_path / "hearer", ours.address)

    hearer.wait_until(lambda status: status["peers"] == 2)
