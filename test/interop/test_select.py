"""Some files of a torrent, and pieces in order: downloaded from libtorrent, and uploaded to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, tree, write_file

SIZES = {"a.bin": 300_001, "b/one.txt": 70_000, "b/two.bin": 1_000_003, "empty": 0, "z.txt": 5}


@pytest.fixture
def torrent(source: Path) -> Torrent:
    """Five files, each of which shares pieces with its neighbours."""
    for index, (name, size) in enumerate(SIZES.items()):
        write_file(source / "some" / name, size, index)
    return make_torrent(source / "some", 64 * KIB)


def assert_some(torrent: Torrent, folder: Path, *names: str) -> None:
    """Expects that exactly these files exist, with the right content."""
    wanted = {str(Path(torrent.name, name)) for name in names}
    expected = {name: file for name, file in tree(torrent.content).items() if name in wanted}
    assert len(expected) == len(names)
    assert tree(folder / torrent.name) == expected


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (["b/two.bin"], ["b/two.bin"]),
        (["**/*.txt"], ["b/one.txt", "z.txt"]),
        (["a.*", "empty"], ["a.bin", "empty"]),
        (["b/**"], ["b/one.txt", "b/two.bin"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_only_what_is_selected_is_stored(torrent, target, seed, piecewise, globs, names):
    seeder = seed(torrent)
    selects = [argument for glob in globs for argument in ("--select", glob)]

    piecewise("download", torrent.file, "-o", target, "--peer", seeder.address, *selects, "--json").finish()

    assert_some(torrent, target, *names)
    wanted = sum(SIZES[name] for name in names)
    assert seeder.status()["uploaded"] < wanted + 4 * len(names) * 64 * KIB, "more was requested than was needed"


def test_the_others_come_when_they_are_wanted(torrent, target, seed, piecewise, download):
    seeder = seed(torrent)
    words = ["download", torrent.file, "-o", target, "--peer", seeder.address, "--json", "--select"]
    first = piecewise(*words, "b/one.txt")
    first.finish()
    second = piecewise(*words, "a.bin")
    second.finish()

    last = download(torrent, seeder.address)
    last.finish()

    assert_same(torrent, target)
    assert sorted(first.pieces + second.pieces + last.pieces) == list(range(torrent.pieces)), "each is stored once"
    assert sorted(path.name for path in target.iterdir()) == [torrent.name], "nothing else may be left"


def test_libtorrent_gets_from_a_part_what_that_has(torrent, target, tmp_path, seed, leech, piecewise):
    words = ["download", torrent.file, "-o", target, "--peer", seed(torrent).address, "--select", "b/two.bin"]
    giver = piecewise(*words, "--seed", "--json")
    giver.wait_for(lambda event: event["_tag"] == "Completed")

    name = str(Path("some", "b", "two.bin"))
    taker = leech(torrent, tmp_path / "taker", giver.address)
    # libtorrent verifies a piece before it is on disk, so wait for the file itself.
    taker.wait_until(lambda _: tree(tmp_path / "taker" / "some").get(name) == tree(torrent.content)[name])

    assert taker.status()["downloaded"] == sum(size_of(torrent, piece) for piece in giver.pieces)


def size_of(torrent: Torrent, piece: int) -> int:
    """The length of a piece in bytes; the last one is shorter."""
    return min(torrent.piece_length, sum(SIZES.values()) - piece * torrent.piece_length)


def test_libtorrent_selects_from_us(torrent, target, give, leech):
    leech(torrent, target, give(torrent).address, files=[2]).wait_until_complete()

    assert_some(torrent, target, "b/two.bin")


def test_aria2_selects_from_us(torrent, target, give, aria2_leech):
    taker = aria2_leech(torrent, target, "--select-file=3", "--bt-remove-unselected-file")

    give(torrent, "--peer", taker.address)
    taker.wait_until_complete()

    assert_some(torrent, target, "b/two.bin")


def test_pieces_come_in_order(source, target, seed, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", 6 * MIB + 1, 1), 64 * KIB)
    peer = seed(torrent, bytes_per_second=8 * MIB).address

    program = piecewise("download", torrent.file, "-o", target, "--peer", peer, "--sequential", "--json")
    program.finish()

    assert_same(torrent, target)
    assert_in_order(program.pieces)


def assert_in_order(pieces: list[int]) -> None:
    """Expects that pieces are roughly in order: a seeder may answer out of order, and 16 small writes run at once."""
    displaced = [abs(stored - wanted) for stored, wanted in zip(pieces, sorted(pieces), strict=True)]
    # On average, because a single piece may be late. In random order, pieces would be 30 places off.
    assert sum(displaced) / len(displaced) <= 6, pieces


def test_aria2_gives_what_is_selected(torrent, target, aria2_seed, piecewise):
    words = ["download", torrent.file, "-o", target, "--peer", aria2_seed(torrent).address, "--json"]

    piecewise(*words, "--select", "b/two.bin", "--select", "*.txt").finish()

    assert_some(torrent, target, "b/two.bin", "z.txt")


def test_aria2_gives_pieces_in_order(source, target, aria2_seed, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", 12 * MIB + 1, 1), 64 * KIB)
    words = ["download", torrent.file, "-o", target, "--peer", aria2_seed(torrent).address, "--json"]

    program = piecewise(*words, "--sequential")
    program.finish()

    assert_same(torrent, target)
    # Before it unchokes us, libtorrent sends ten pieces that it chooses itself (BEP 6).
    assert_in_order(program.pieces[10:])
