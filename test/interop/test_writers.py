"""Several processes in one folder: a path has one writer and many readers, and no lock outlives its process."""

from __future__ import annotations

import time

import pytest
from torrents import KIB, MIB, assert_same, make_torrent, names_in, tree, write_file

PIECE = 64 * KIB
BYTES_PER_SECOND = 2 * MIB
SLOW = 256 * KIB
"""About half a minute for a torrent, unless the limit is lifted: far from its end, even on a busy machine."""


def make(source, name, seed):
    """A torrent of the folder `name`, whose bytes come from `seed`."""
    for index in range(4):
        write_file(source / name / f"{index}.bin", 2 * MIB + index, 10 * seed + index)
    return make_torrent(source / name, PIECE)


@pytest.fixture
def rivals(source):
    """Two torrents with the same name and different bytes."""
    return make(source / "one", "same", 1), make(source / "two", "same", 2)


@pytest.fixture
def slow_seed(rivals, seed):
    """A seeder that is slow until its limit is lifted."""
    return seed(rivals[0], bytes_per_second=SLOW)


@pytest.fixture
def under_way(rivals, slow_seed, fetch):
    """A running download of the first torrent that is far from its end, even on a busy machine."""
    program = fetch(rivals[0], slow_seed)
    program.wait_for_pieces(4)
    return program


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_a_second_writer_of_a_path_ends_at_once(rivals, target, seed, fetch, verify, slow_seed, under_way, options):
    began = time.monotonic()
    rival = seed(rivals[1])

    why = fetch(rivals[1], rival, *options).refused()

    assert time.monotonic() - began < 15
    assert "same" in why, why
    if options:
        assert "is being written by" in why, why
    assert rival.status()["uploaded"] == 0
    slow_seed.limit_uploads(None)
    under_way.finish()
    assert_same(rivals[0], target)
    assert verify(rivals[0], target / "same").exit_code() == 0
    assert not (target / ".piecewise" / "locks").exists(), "no lock may be left behind"


def test_one_torrent_twice_ends_the_second(rivals, target, seed, fetch, slow_seed, under_way):
    why = fetch(rivals[0], seed(rivals[0])).refused()

    assert "is being written by" in why and "same" in why, why
    slow_seed.limit_uploads(None)
    under_way.finish()
    assert_same(rivals[0], target)


def test_after_a_kill_the_next_one_writes(rivals, target, seed, fetch, under_way):
    under_way.kill()
    under_way.drain()

    program = fetch(rivals[0], seed(rivals[0]))
    program.finish()

    assert not set(under_way.pieces) & set(program.pieces)
    assert_same(rivals[0], target)
    assert names_in(target) == ["same"]


def test_after_a_kill_another_torrent_writes_if_it_may(rivals, target, seed, fetch, under_way):
    under_way.kill()
    under_way.drain()
    before = tree(target / "same")

    why = fetch(rivals[1], seed(rivals[1])).refused()

    assert "same/" in why and "--overwrite" in why, why
    assert tree(target / "same") == before
    fetch(rivals[1], seed(rivals[1]), "--overwrite").finish()
    assert_same(rivals[1], target)


def test_two_torrents_in_one_folder_by_two_processes(source, target, seed, fetch):
    torrents = [make(source, "left", 3), make(source, "right", 4)]
    seeders = [seed(torrent, bytes_per_second=4 * MIB) for torrent in torrents]

    programs = [fetch(torrent, seeder) for torrent, seeder in zip(torrents, seeders, strict=True)]
    for program in programs:
        program.finish()

    for torrent in torrents:
        assert_same(torrent, target)
    assert names_in(target) == ["left", "right"]


def test_one_torrent_that_is_killed_leaves_the_other_alone(source, target, seed, fetch):
    torrents = [make(source, "left", 3), make(source, "right", 4)]
    seeders = [seed(torrent, bytes_per_second=BYTES_PER_SECOND) for torrent in torrents]
    killed, staying = [fetch(torrent, seeder) for torrent, seeder in zip(torrents, seeders, strict=True)]
    killed.wait_for_pieces(10)
    staying.wait_for_pieces(10)

    killed.kill()
    killed.drain()
    again = fetch(torrents[0], seed(torrents[0]))
    again.finish()
    staying.finish()

    assert not set(killed.pieces) & set(again.pieces)
    for torrent in torrents:
        assert_same(torrent, target)
    assert names_in(target) == ["left", "right"]


def test_others_verify_and_seed_what_is_being_written(source, target, tmp_path, seed, fetch, verify, leech, piecewise):
    done = make(source, "done", 5)
    fetch(done, seed(done)).finish()
    torrent = make(source, "under way", 6)
    seeder = seed(torrent, bytes_per_second=SLOW)
    program = fetch(torrent, seeder)
    program.wait_for_pieces(4)

    assert verify(torrent, target / "under way").exit_code() == 1, "a part of it must be missing"
    assert verify(done, target / "done").exit_code() == 0
    assert "pieces are missing or wrong" in piecewise("seed", torrent.file, target / "under way", "--json").refused()
    seeding = piecewise("seed", done.file, target / "done", "--json")
    seeding.wait_for(lambda event: event["_tag"] == "Completed")
    leech(done, tmp_path / "theirs", seeding.address).wait_until_complete()
    seeder.limit_uploads(None)
    program.finish()

    assert_same(torrent, target)
    assert_same(done, tmp_path / "theirs")


def test_one_that_seeds_lets_others_write(rivals, target, seed, fetch):
    first = fetch(rivals[0], seed(rivals[0]), "--seed")
    first.wait_for(lambda event: event["_tag"] == "Completed")

    # It has nothing more to write, so the files are free.
    fetch(rivals[1], seed(rivals[1]), "--overwrite").finish()

    assert_same(rivals[1], target)
    first.interrupt()
    first.drain()
    assert_same(rivals[1], target)
