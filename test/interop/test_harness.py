"""Tests of the harness itself, with libtorrent on both sides. A failure here is not a fault of piecewise."""

from __future__ import annotations

import pytest
from processes import LibtorrentPeer
from torrents import KIB, MIB, assert_same, make_torrent, write_file


@pytest.fixture
def leech(running, target):
    def start(torrent, *peers, trackers=False):
        target.mkdir()
        arguments = [str(torrent.file), str(target), *(part for peer in peers for part in ("--peer", peer))]
        peer = LibtorrentPeer([*arguments, "--trackers"] if trackers else arguments)
        running.callback(peer.close)
        return peer

    return start


def test_libtorrent_downloads_files_of_all_lengths(source, target, seed, leech):
    for index, size in enumerate([0, 1, 16 * KIB - 1, 16 * KIB, 300 * KIB + 7, 0]):
        write_file(source / "mixed" / f"{index}.bin", size, index)
    torrent = make_torrent(source / "mixed", 16 * KIB)

    leech(torrent, seed(torrent).address).wait_until_complete()

    assert_same(torrent, target)


def test_a_seeder_keeps_to_its_limit_and_starts_again_on_its_port(source, target, seed, leech):
    torrent = make_torrent(write_file(source / "one.bin", 3 * MIB, 1), 64 * KIB)
    first = seed(torrent, bytes_per_second=MIB)
    leecher = leech(torrent, first.address)
    leecher.wait_until(lambda status: status["downloaded"] > 256 * KIB)

    first.kill()
    assert not leecher.status()["complete"]
    seed(torrent, port=first.port)

    leecher.wait_until_complete()
    assert_same(torrent, target)


def test_libtorrent_finds_a_seeder_through_the_tracker(source, target, seed, leech, tracker):
    torrent = make_torrent(write_file(source / "one.bin", MIB, 2), 64 * KIB, [tracker.urls["http"]])
    seed(torrent, trackers=True)
    tracker.wait_for_seeders(1)

    leech(torrent, trackers=True).wait_until_complete()

    assert_same(torrent, target)


def test_libtorrent_is_lied_to_and_gets_the_right_bytes(source, target, seed, leech, lie):
    torrent = make_torrent(write_file(source / "one.bin", 2 * MIB, 3), 64 * KIB)
    liar = lie(torrent, lambda piece, block: block == 3)
    honest = seed(torrent, bytes_per_second=MIB)

    leech(torrent, liar.address, honest.address).wait_until_complete()

    assert liar.lies > 0
    assert_same(torrent, target)
