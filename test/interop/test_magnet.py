"""Magnet links: the metadata of the torrent comes from its peers."""

from __future__ import annotations

import pytest
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file


@pytest.fixture
def torrent(source) -> Torrent:
    """A torrent whose info dict needs two metadata messages: 1,025 digests."""
    return make_torrent(write_file(source / "one.bin", 16 * MIB + 5, 1), 16 * KIB)


def test_from_a_peer_that_the_user_names(torrent, target, seed, piecewise):
    piecewise("download", torrent.link(), "-o", target, "--peer", seed(torrent).address, "--json").finish()

    assert_same(torrent, target)


def test_from_a_peer_that_the_link_names(torrent, target, seed, piecewise):
    program = piecewise("download", torrent.link(f"x.pe={seed(torrent).address}"), "-o", target, "--json")
    program.finish()

    assert_same(torrent, target)
    [metadata, *_] = [event for event in program.events if event["event"] == "metadata"]
    assert metadata["knownPeers"] == 1


def test_from_a_tracker_that_the_link_names(source, target, seed, tracker, piecewise):
    torrent = make_torrent(write_file(source / "two.bin", 3 * MIB, 2), 32 * KIB, [tracker.urls["http"]])
    seed(torrent, trackers=True)
    tracker.wait_for_seeders(1)

    piecewise("download", torrent.link(f"tr={tracker.urls['http']}"), "-o", target, "--json").finish()

    assert_same(torrent, target)


def test_from_aria2(torrent, target, aria2_seed, piecewise):
    piecewise("download", torrent.link(), "-o", target, "--peer", aria2_seed(torrent).address, "--json").finish()

    assert_same(torrent, target)


def test_libtorrent_starts_from_a_link_and_gets_all_from_us(torrent, target, give, leech):
    leech(torrent.link(), target, give(torrent).address).wait_until_complete()

    assert_same(torrent, target)


def test_aria2_starts_from_a_link_and_gets_all_from_us(torrent, target, give, aria2_leech):
    downloader = aria2_leech(torrent.link(), target)

    give(torrent, "--peer", downloader.address)
    downloader.wait_until_complete()

    assert_same(torrent, target)


def test_a_link_that_names_nobody(torrent, target, piecewise):
    program = piecewise("download", torrent.link(), "-o", target)

    assert program.exit_code() == 1
    assert program.errors == (
        "piecewise: the magnet link names no tracker and no peer; "
        "add a peer with --peer HOST:PORT\n"
    )
    assert not target.exists()


def test_a_link_of_version_2_alone(target, piecewise):
    program = piecewise("download", f"magnet:?xt=urn:btmh:1220{'ab' * 32}&x.pe=127.0.0.1:1", "-o", target)

    assert program.exit_code() == 1
    assert program.errors == (
        "piecewise: the magnet link names a version 2 torrent (BEP 52), which is not supported yet\n"
    )
