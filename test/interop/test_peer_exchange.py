"""Peers that are found through other peers (BEP 11) and have pieces that no other peer has."""

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
    """A torrent of two large pieces, so that no peer completes one while peers find each other."""
    return make_torrent(write_file(source / "one.bin", 8 * MIB, 1), 4 * MIB)


@pytest.fixture
def tracked(torrent, tracker) -> Torrent:
    """The same torrent with a tracker, for peers that find each other through it."""
    metainfo = libtorrent.bdecode(torrent.file.read_bytes())
    file = torrent.file.with_name("tracked.torrent")
    file.write_bytes(libtorrent.bencode({**metainfo, b"announce": tracker.urls["udp"].encode()}))
    return replace(torrent, file=file)


@pytest.fixture
def slow_seed(seed) -> Callable[..., LibtorrentPeer]:
    """Starts the seeder that peers are told of. It is so slow that nobody gets a piece from it before its limit is
    lifted.

    It has its own host, because aria2 tells a peer nothing about others at that peer's host.
    """
    return lambda torrent, trackers=False: seed(torrent, bytes_per_second=64 * KIB, trackers=trackers, host="127.0.0.2")


def connected(peer: LibtorrentPeer) -> Callable[[Event], bool]:
    return lambda event: event["_tag"] == "PeerConnected" and event["address"] == peer.address


def is_wanted(status: dict[str, int]) -> bool:
    """Whether a peer is interested, and so names it in its first PEX message. The next one is sent a minute later."""
    return status["interested"] == 1


def finish_from(ours: Piecewise, third: LibtorrentPeer) -> None:
    """Expects that we are told of the third peer, and fetch from it what nobody else has."""
    ours.wait_for(connected(third))
    third.limit_uploads(None)
    ours.finish()


def complete_from(hearer: LibtorrentPeer | Aria2, third: LibtorrentPeer) -> None:
    """Expects that the hearer is told of the third peer, which only we are connected to, and fetches its piece."""
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
    # aria2 dials a peer that it heard of when its tracker answers, or otherwise after ten seconds.
    hearer = aria2_leech(tracked, tmp_path / "hearer", "--bt-tracker-interval=1")
    download(torrent, third.address, hearer.address)

    complete_from(hearer, third)

    assert_same(torrent, tmp_path / "hearer")
