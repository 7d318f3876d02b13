"""Peers that are found through other peers (BEP 11), and give what nobody else has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import libtorrent
import pytest
from aria2 import Aria2
from processes import Event, LibtorrentPeer, Piecewise
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file


@pytest.fixture
def torrent(source) -> Torrent:
    """Of large pieces alone, so that nobody has one while peers find each other."""
    return make_torrent(write_file(source / "one.bin", 8 * MIB, 1), 4 * MIB)


@pytest.fixture
def tracked(torrent, tracker) -> Torrent:
    """The same torrent with a tracker, for those who shall find each other by it."""
    metainfo = libtorrent.bdecode(torrent.file.read_bytes())
    file = torrent.file.with_name("tracked.torrent")
    file.write_bytes(libtorrent.bencode({**metainfo, b"announce": tracker.urls["udp"].encode()}))
    return replace(torrent, file=file)


@pytest.fixture
def slow_seed(seed) -> Callable[..., LibtorrentPeer]:
    """Starts the seeder to be told of, so slow that nobody gets a piece of it before its limit is lifted.

    It has a host of its own, as aria2 tells no peer of others at the same host.
    """
    return lambda torrent, trackers=False: seed(torrent, bytes_per_second=64 * KIB, trackers=trackers, host="127.0.0.2")


def connected(peer: LibtorrentPeer) -> Callable[[Event], bool]:
    return lambda event: event["event"] == "peer" and event["address"] == peer.address and event["connected"] is True


def is_wanted(status: dict[str, int]) -> bool:
    """Whether a peer knows what it has, and so tells of it: what it does not tell at first comes a minute later."""
    return status["interested"] == 1


def finish_from(ours: Piecewise, third: LibtorrentPeer) -> None:
    """We are told of the third, and get from it what nobody else has."""
    ours.wait_for(connected(third))
    third.limit_uploads(None)
    ours.finish()


def complete_from(hearer: LibtorrentPeer | Aria2, third: LibtorrentPeer) -> None:
    """The hearer is told of the third, which is connected to us alone, and gets from it what nobody else has."""
    third.wait_until(lambda status: status["peers"] == 2)
    third.limit_uploads(None)
    hearer.wait_until_complete()


def test_libtorrent_tells_us_of_a_third(torrent, target, tmp_path, slow_seed, leech, download):
    third = slow_seed(torrent)
    teller = leech(torrent, tmp_path / "teller", third.address)
    third.wait_until(is_wanted)

    finish_from(download(torrent, teller.address), third)

    assert_same(torrent, target)


def test_we_tell_libtorrent_of_a_third(torrent, target, tmp_path, slow_seed, leech, piecewise):
    third = slow_seed(torrent)
    ours = piecewise("download", torrent.file, "-o", target, "--peer", third.address, "--seed", "--json")
    ours.wait_for(connected(third))

    complete_from(leech(torrent, tmp_path / "hearer", ours.address), third)

    assert_same(torrent, tmp_path / "hearer")


def test_aria2_tells_us_of_a_third(torrent, tracked, target, tmp_path, slow_seed, aria2_leech, download, tracker):
    third = slow_seed(tracked, trackers=True)
    tracker.wait_for_seeders(1)
    teller = aria2_leech(tracked, tmp_path / "teller")
    third.wait_until(is_wanted)

    finish_from(download(torrent, teller.address), third)

    assert_same(torrent, target)


def test_we_tell_aria2_of_a_third(torrent, tracked, tmp_path, slow_seed, aria2_leech, download):
    third = slow_seed(torrent)
    # It dials whom it has heard of when its tracker answers, or else after ten seconds.
    hearer = aria2_leech(tracked, tmp_path / "hearer", "--bt-tracker-interval=1")
    download(torrent, third.address, hearer.address)

    complete_from(hearer, third)

    assert_same(torrent, tmp_path / "hearer")
