"""Rate limits and seeding limits, with libtorrent at the other end."""

from __future__ import annotations

import time

from torrents import KIB, MIB, assert_same, make_torrent, write_file

RATE = 512 * KIB
SIZE = 2 * MIB

# A limiter lets half a second's worth and one block pass at once.
LEAST_SECONDS = (SIZE - RATE // 2 - 16 * KIB) / RATE


def is_limited(event) -> bool:
    return event["_tag"] == "Progress" and event["status"]["bottleneck"]["_tag"] == "RateLimited"


def reached(program) -> list[str]:
    return [event["reached"] for event in program.events if event["_tag"] == "SeedingEnded"]


def test_a_download_keeps_to_its_limit(source, target, seed, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 1), 64 * KIB)
    peer = seed(torrent)
    began = time.monotonic()
    ours = piecewise(
        "download", torrent.file, "-o", target, "--peer", peer.address, "--json", "--limit-down", "512KiB/s"
    )

    ours.wait_for(is_limited)
    ours.wait_for(lambda event: event["_tag"] == "Completed")

    assert time.monotonic() - began >= LEAST_SECONDS
    assert ours.finish()["status"]["downloadedBytes"] == SIZE
    assert_same(torrent, target)


def test_a_seed_keeps_to_its_limit(source, target, give, leech):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 2), 64 * KIB)
    ours = give(torrent, "--limit-up", "512KiB")
    began = time.monotonic()

    leech(torrent, target, ours.address).wait_until(lambda status: bool(status["complete"]))

    assert time.monotonic() - began >= LEAST_SECONDS
    assert_same(torrent, target)


def test_a_seed_ends_when_it_has_given_a_whole_copy(source, target, give, leech):
    torrent = make_torrent(write_file(source / "one.bin", 3 * MIB + 1, 3), 64 * KIB)
    ours = give(torrent, "--seed-ratio", "1")

    leech(torrent, target, ours.address).wait_until(lambda status: bool(status["complete"]))

    ours.finish()
    assert reached(ours) == ["ratio"]
    assert_same(torrent, target)


def test_a_download_seeds_for_a_time(source, target, seed, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", 1 * MIB, 4), 64 * KIB)
    peer = seed(torrent)

    ours = piecewise("download", torrent.file, "-o", target, "--peer", peer.address, "--json", "--seed-time", "1s")

    ours.finish()
    assert reached(ours) == ["time"]
    assert_same(torrent, target)
