"""Our process is stopped, by Ctrl-C or SIGKILL, and restarted: nothing stored is lost or fetched twice."""

from __future__ import annotations

import random
import time

import pytest
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file

PIECE = 64 * KIB
BYTES_PER_SECOND = 4 * MIB
"""Slow enough that a process can be stopped before it has everything."""


@pytest.fixture
def torrent(source) -> Torrent:
    """Files that pieces span, so that a stop can fall between the files of one piece."""
    for index in range(40):
        write_file(source / "spanned" / f"{index:02}.bin", 250_007, index)
    return make_torrent(source / "spanned", PIECE)


@pytest.mark.parametrize("random_seed", [1, 2])
def test_sigkill_at_random_moments(target, seed, download, torrent, random_seed):
    moments = random.Random(random_seed)
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    stored: list[int] = []

    for _ in range(5):
        program = download(torrent, seeder.address)
        pieces = moments.choice([0, 1, 4, 12])
        if pieces > 0:
            program.wait_for_pieces(pieces)
        # With no piece to wait for, the moment falls somewhere in the start.
        time.sleep(moments.uniform(0, 0.05 if pieces > 0 else 1.5))
        program.kill()
        program.drain()
        stored += program.pieces
    last = download(torrent, seeder.address)
    last.finish()

    assert_same(torrent, target)
    stored += last.pieces
    assert len(stored) == len(set(stored)), "a piece that was reported as stored was fetched again"
    # Each kill may lose the pieces in flight, far fewer than 20 at this speed with one seeder.
    lost = 5 * 20 * PIECE
    assert seeder.status()["uploaded"] <= torrent.pieces * PIECE + lost


def test_ctrl_c_gives_130_and_keeps_what_is_stored(target, seed, download, torrent):
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    first = download(torrent, seeder.address)
    first.wait_for_pieces(8)

    first.interrupt()
    first.drain()

    assert first.exit_code() == 130, first.errors
    assert "    at " not in first.errors, "a user must not see a stack trace"
    assert first.events[-1]["exit"] == "stopped"
    assert not [event for event in first.events if event["_tag"] == "Completed"]
    second = download(torrent, seeder.address)
    second.finish()
    assert_same(torrent, target)
    assert sorted(first.pieces + second.pieces) == list(range(torrent.pieces)), "each piece is fetched once"


def test_a_complete_download_started_again_asks_for_nothing(target, seed, download, torrent):
    seeder = seed(torrent)
    download(torrent, seeder.address).finish()
    uploaded = seeder.status()["uploaded"]

    again = download(torrent, seeder.address)
    again.finish()

    assert again.pieces == []
    assert seeder.status()["uploaded"] == uploaded
    assert_same(torrent, target)
