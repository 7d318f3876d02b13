"""Uploads to libtorrent and aria2: as a seed, and while downloading."""

from __future__ import annotations

import signal

import pytest
from torrents import KIB, MIB, assert_same, make_torrent, write_file


@pytest.mark.parametrize(
    ("size", "piece_length"),
    [
        (1, 16 * KIB),
        (3 * MIB + 1, 16 * KIB),
        (5 * MIB - 1, 256 * KIB),
        (9 * MIB + 16 * KIB + 3, 4 * MIB),
    ],
    ids=lambda value: f"{value}",
)
def test_a_single_file(source, target, give, leech, size, piece_length):
    torrent = make_torrent(write_file(source / "one.bin", size, size), piece_length)

    leech(torrent, target, give(torrent).address).wait_until_complete()

    assert_same(torrent, target)


def test_many_files_of_odd_and_no_length(source, target, give, leech):
    for index in range(60):
        write_file(source / "many" / f"d{index % 7}" / f"f{index:03}.bin", 0 if index % 10 == 0 else index * 997, index)
    torrent = make_torrent(source / "many", 64 * KIB)

    leech(torrent, target, give(torrent).address).wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_libtorrent_finds_the_seed_through_a_tracker(source, target, give, leech, tracker, scheme):
    torrent = make_torrent(write_file(source / "one.bin", 2 * MIB + 1, 7), 64 * KIB, [tracker.urls[scheme]])
    give(torrent)
    tracker.wait_for_seeders(1)

    leech(torrent, target, trackers=True).wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_aria2_finds_the_seed_through_a_tracker(source, target, give, aria2_leech, tracker, scheme):
    torrent = make_torrent(write_file(source / "one.bin", 5 * MIB + 1, 10), 128 * KIB, [tracker.urls[scheme]])
    give(torrent)
    tracker.wait_for_seeders(1)

    aria2_leech(torrent, target).wait_until_complete()

    assert_same(torrent, target)


def test_the_seed_dials_a_downloader_that_it_is_told_of(source, target, give, leech):
    torrent = make_torrent(write_file(source / "one.bin", 2 * MIB + 1, 8), 64 * KIB)
    downloader = leech(torrent, target)

    give(torrent, "--peer", downloader.address)
    downloader.wait_until_complete()

    assert_same(torrent, target)


def test_several_downloaders_at_once(source, tmp_path, give, leech):
    torrent = make_torrent(write_file(source / "one.bin", 12 * MIB + 5, 4), 128 * KIB)
    seed = give(torrent)
    folders = [tmp_path / f"target{index}" for index in range(4)]

    for downloader in [leech(torrent, folder, seed.address) for folder in folders]:
        downloader.wait_until_complete()

    for folder in folders:
        assert_same(torrent, folder)


def test_both_directions_in_one_swarm(source, target, tmp_path, seed, leech, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", 8 * MIB + 1, 9), 64 * KIB)
    # The seeds' bandwidth is split between the two, so both are faster if they exchange pieces.
    slow = seed(torrent, bytes_per_second=2 * MIB)
    ours = piecewise("download", torrent.file, "-o", target, "--peer", slow.address, "--seed", "--json")
    ours.wait_for(lambda event: event["_tag"] == "Started")
    theirs = leech(torrent, tmp_path / "theirs", slow.address, ours.address)

    status = theirs.wait_until_complete()
    ours.wait_for(lambda event: event["_tag"] == "Completed")
    ours.signal(signal.SIGINT)
    ours.drain()

    assert ours.exit_code() == 130, ours.errors
    assert_same(torrent, target)
    assert_same(torrent, tmp_path / "theirs")
    assert status["uploaded"] > 0, "libtorrent uploaded nothing to us"
    assert slow.status()["uploaded"] < 2 * torrent.content.stat().st_size - 64 * KIB, "the two exchanged no pieces"
