"""Downloads from real seeders: all shapes of torrents, and seeders that come and go."""

from __future__ import annotations

import random

import pytest
from torrents import KIB, MIB, assert_same, make_torrent, write_file


@pytest.mark.parametrize(
    ("size", "piece_length"),
    [
        (1, 16 * KIB),
        (16 * KIB, 16 * KIB),
        (3 * MIB + 1, 16 * KIB),
        (5 * MIB - 1, 256 * KIB),
        (4 * MIB, MIB),
        (9 * MIB + 16 * KIB + 3, 4 * MIB),
    ],
    ids=lambda value: f"{value}",
)
def test_a_single_file(source, target, seed, download, size, piece_length):
    torrent = make_torrent(write_file(source / "one.bin", size, size), piece_length)

    program = download(torrent, seed(torrent).address)
    program.finish()

    assert_same(torrent, target)
    assert sorted(program.pieces) == list(range(torrent.pieces)), "each piece must be reported once"


def test_three_hundred_files_of_odd_and_no_length(source, target, seed, download):
    sizes = random.Random(300)
    for index in range(300):
        size = 0 if index % 10 == 0 else sizes.randint(1, 40_000)
        write_file(source / "many" / f"d{index % 7}" / f"f{index:03}.bin", size, index)
    torrent = make_torrent(source / "many", 64 * KIB)

    download(torrent, seed(torrent).address).finish()

    assert_same(torrent, target)


def test_names_that_urls_shells_and_ascii_would_trip_over(source, target, seed, download):
    names = ["a # b.bin", "what?.bin", "100%.bin", "two  spaces .bin", "a..b.txt", "-o", "'\"$x"]
    names += ["žluťoučký.bin", "日本語/файл.bin", "🧩.bin"]
    for index, name in enumerate(names):
        write_file(source / "names #1 ?" / name, 20_000 + index, index)
    torrent = make_torrent(source / "names #1 ?", 16 * KIB)

    download(torrent, seed(torrent).address).finish()

    assert_same(torrent, target)


def test_several_seeders_at_once(source, target, seed, download):
    torrent = make_torrent(write_file(source / "one.bin", 12 * MIB + 5, 4), 128 * KIB)
    seeders = [seed(torrent, bytes_per_second=2 * MIB) for _ in range(4)]

    download(torrent, *(seeder.address for seeder in seeders)).finish()

    assert_same(torrent, target)
    uploaded = [seeder.status()["uploaded"] for seeder in seeders]
    assert all(share > MIB for share in uploaded), f"one seeder was hardly used: {uploaded}"


def test_a_seeder_that_dies_and_comes_back(source, target, seed, download):
    torrent = make_torrent(write_file(source / "one.bin", 6 * MIB + 1, 5), 64 * KIB)
    first = seed(torrent, bytes_per_second=2 * MIB)
    program = download(torrent, first.address)
    program.wait_for_pieces(10)

    first.kill()
    seed(torrent, port=first.port)
    program.finish()

    assert_same(torrent, target)
    assert sorted(program.pieces) == list(range(torrent.pieces)), "each piece must be reported once"


def test_a_seeder_that_dies_for_good_beside_one_that_stays(source, target, seed, download):
    torrent = make_torrent(write_file(source / "one.bin", 6 * MIB + 1, 6), 64 * KIB)
    leaving = seed(torrent, bytes_per_second=2 * MIB)
    staying = seed(torrent, bytes_per_second=2 * MIB)
    program = download(torrent, leaving.address, staying.address)
    program.wait_for_pieces(10)

    leaving.kill()
    program.finish()

    assert_same(torrent, target)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_a_seeder_found_through_a_tracker(source, target, seed, download, tracker, scheme):
    torrent = make_torrent(write_file(source / "one.bin", 2 * MIB + 1, 7), 64 * KIB, [tracker.urls[scheme]])
    # A tracker returns only peers that announced before, so the seeder must announce first.
    seed(torrent, trackers=True)
    tracker.wait_for_seeders(1)

    download(torrent).finish()

    assert_same(torrent, target)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_an_aria2_seeder_found_through_a_tracker(source, target, aria2_seed, download, tracker, scheme):
    torrent = make_torrent(write_file(source / "one.bin", 2 * MIB + 1, 8), 64 * KIB, [tracker.urls[scheme]])
    aria2_seed(torrent)
    tracker.wait_for_seeders(1)

    download(torrent).finish()

    assert_same(torrent, target)


def test_aria2_gives_to_us_while_it_downloads(source, target, tmp_path, seed, aria2_leech, piecewise, tracker):
    torrent = make_torrent(write_file(source / "one.bin", 4 * MIB + 1, 9), 32 * KIB, [tracker.urls["http"]])
    slow = seed(torrent, bytes_per_second=2 * MIB, trackers=True)
    tracker.wait_for_seeders(1)
    giver = aria2_leech(torrent, tmp_path / "giver", "--seed-time=1")
    slow.wait_until(lambda status: status["uploaded"] > MIB)

    # The link does not name the tracker, so everything comes through aria2.
    ours = piecewise("download", torrent.link(), "-o", target, "--peer", giver.address, "--json")
    ours.finish()

    assert_same(torrent, target)
    connections = [event for event in ours.events if event["_tag"] == "PeerConnected"]
    assert len(connections) == 1, connections
