"""Super-seeding (BEP 16) and fair uploading to several downloaders of other clients."""

from __future__ import annotations

import statistics

import pytest
from torrents import KIB, MIB, assert_same, make_torrent, write_file

SIZE = 8 * MIB


@pytest.mark.parametrize("count", [1, 5])
def test_a_super_seed_uploads_hardly_more_than_one_copy_to_libtorrent(source, target, give, swarm, count):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 1), 64 * KIB)
    ours = give(torrent, "--super", "--limit-up", "4MiB")

    *_, last = swarm(torrent, target, count, ours.address, "--mesh").watch()

    # What they received and did not send each other came from the seed.
    assert sum(last["received"]) - sum(last["sent"]) <= 1.1 * SIZE
    for number in range(count):
        assert_same(torrent, target / str(number))


def test_a_super_seed_completes_libtorrent_downloaders_that_know_only_the_seed(source, target, give, swarm):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 2), 64 * KIB)
    ours = give(torrent, "--super")

    for _ in swarm(torrent, target, 3, ours.address).watch():
        pass

    for number in range(3):
        assert_same(torrent, target / str(number))


@pytest.mark.parametrize("count", [1, 2])
def test_a_super_seed_completes_our_downloads(source, target, give, piecewise, count):
    torrent = make_torrent(write_file(source / "one.bin", 20 * 64 * KIB, 3), 64 * KIB)
    ours = give(torrent, "--super")
    folders = [target / str(number) for number in range(count)]

    downloads = [
        piecewise("download", torrent.file, "-o", folder, "--peer", ours.address, "--json") for folder in folders
    ]

    for download, folder in zip(downloads, folders, strict=True):
        download.finish()
        assert_same(torrent, folder)


def test_a_super_seed_completes_aria2(source, target, give, tracker, aria2_leech):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 4), 64 * KIB, [tracker.urls["http"]])
    give(torrent, "--super")
    tracker.wait_for_seeders(1)

    aria2_leech(torrent, target).wait_until_complete()

    assert_same(torrent, target)


def test_a_limited_seed_serves_ten_libtorrent_downloaders_evenly(source, target, give, swarm):
    torrent = make_torrent(write_file(source / "one.bin", 4 * MIB, 5), 64 * KIB)
    ours = give(torrent, "--limit-up", "4MiB")

    most = [
        max(status["received"]) / statistics.median(status["received"])
        for status in swarm(torrent, target, 10, ours.address).watch()
        # Some time after the first of them has connected.
        if statistics.median(status["received"]) >= 1 * MIB
    ]

    assert max(most) <= 1.5
