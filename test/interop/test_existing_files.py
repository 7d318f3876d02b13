"""Existing files in the place of a torrent's files: nothing in them is lost without `--overwrite`."""

from __future__ import annotations

import os
import shutil
import stat

import pytest
from torrents import KIB, MIB, assert_same, flip, make_torrent, names_in, tree, write_file

PIECE = 64 * KIB


def torrent_of(source, files: dict[str, int], name: str | None = None):
    """A torrent of one file, or of the folder `name`."""
    for path, size in files.items():
        write_file(source / path, size, size)
    return make_torrent(source / (name or next(iter(files))), 16 * KIB)


STRANGERS = {
    "notes.txt": ({"notes.txt": 100}, None, "notes.txt", 9_000),
    ".bashrc": ({".bashrc": 300}, None, ".bashrc", 3_771),
    ".ssh": ({".ssh/authorized_keys": 200, ".ssh/config": 1_000}, ".ssh", ".ssh/authorized_keys", 567),
    "shorter": ({"data.bin": 4 * MIB}, None, "data.bin", MIB),
    "of the same size": ({"data.bin": 200_000}, None, "data.bin", 200_000),
    "8 MiB under 4 MiB": ({"data.bin": 4 * MIB}, None, "data.bin", 8 * MIB),
}


@pytest.mark.parametrize(("files", "name", "stranger", "size"), STRANGERS.values(), ids=STRANGERS.keys())
def test_a_file_of_somebody_else_is_left_alone(source, target, seed, fetch, verify, files, name, stranger, size):
    torrent = torrent_of(source, files, name)
    write_file(target / stranger, size, 99)
    before = tree(target)
    seeder = seed(torrent)

    why = fetch(torrent, seeder).refused()

    assert stranger in why and "--overwrite" in why, why
    assert tree(target) == before, "nothing may be written, not even beside the file"
    assert f"{stranger}: " in verify_faults(verify, torrent, target / torrent.name)
    assert tree(target) == before


def verify_faults(verify, torrent, path) -> str:
    """The whole output of `verify` for files that are missing or wrong."""
    program = verify(torrent, path)
    said = ""
    while (line := program.next_line()) is not None:
        said += line
    assert program.exit_code() == 1, program.errors
    return said + program.errors


@pytest.mark.parametrize(("files", "name", "stranger", "size"), STRANGERS.values(), ids=STRANGERS.keys())
def test_overwrite_replaces_it(source, target, seed, fetch, verify, files, name, stranger, size):
    torrent = torrent_of(source, files, name)
    write_file(target / stranger, size, 99)

    fetch(torrent, seed(torrent), "--overwrite").finish()

    assert_same(torrent, target)
    assert verify(torrent, target / torrent.name).exit_code() == 0


def test_files_beside_the_torrents_own_are_nobodys_business(source, target, seed, fetch):
    torrent = torrent_of(source, {"folder/a.bin": 100_000, "folder/b.bin": 50_000}, "folder")
    write_file(target / "folder" / "mine.txt", 5_000, 1)
    write_file(target / "notes.txt", 9_000, 2)
    before = tree(target)

    fetch(torrent, seed(torrent), "--overwrite").finish()

    after = tree(target)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


KINDS = {"folder": stat.S_ISDIR, "link": stat.S_ISLNK, "pipe": stat.S_ISFIFO}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_what_is_no_regular_file_is_never_replaced(source, target, seed, fetch, kind, options):
    torrent = torrent_of(source, {"folder/a.bin": 100_000, "folder/b.bin": 50_000}, "folder")
    place = target / "folder" / "a.bin"
    elsewhere = write_file(target / "elsewhere.bin", 1_000, 1)
    place.parent.mkdir(parents=True)
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(elsewhere)
    else:
        os.mkfifo(place)
    before = tree(target)

    why = fetch(torrent, seed(torrent), *options).refused()

    assert "a.bin" in why, why
    assert KINDS[kind](place.lstat().st_mode)
    assert tree(elsewhere) == {"elsewhere.bin": before["target/elsewhere.bin"]}
    assert options or tree(target) == before


def test_an_empty_file_that_somebody_fills_is_theirs(source, target, seed, fetch):
    torrent = torrent_of(source, {"data.bin": 40 * PIECE})
    place = target / "data.bin"
    target.mkdir()
    place.touch()
    os.truncate(place, 40 * PIECE)
    nobody = seed(torrent)
    nobody.kill()
    waiting = fetch(torrent, nobody)
    waiting.wait_for(lambda event: event["_tag"] == "Started")
    waiting.interrupt()
    waiting.drain()
    # Written by the program that reserved the room.
    with place.open("r+b") as opened:
        opened.write(b"mine" * PIECE)
    before = tree(place)

    why = fetch(torrent, seed(torrent)).refused()

    assert "data.bin" in why and "--overwrite" in why, why
    assert tree(place) == before


EXCESS = 2 * MIB


@pytest.fixture
def longer(source, target):
    """The right content with extra bytes at its end."""
    torrent = torrent_of(source, {"data.bin": 4 * MIB})
    target.mkdir()
    shutil.copy2(torrent.content, target)
    with (target / "data.bin").open("ab") as opened:
        opened.write(b"x" * EXCESS)
    return torrent


def test_all_commands_call_a_longer_file_wrong_and_leave_it(longer, target, seed, fetch, verify, piecewise):
    before = tree(target)

    assert str(EXCESS) in fetch(longer, seed(longer)).refused()
    faults = verify_faults(verify, longer, target / "data.bin")
    seeding = piecewise("seed", longer.file, target / "data.bin", "--json").refused()

    assert "1 file is missing or wrong" in faults, faults
    assert "data.bin" in seeding and str(EXCESS) in seeding, seeding
    assert tree(target) == before


def test_overwrite_cuts_a_longer_file_and_fetches_nothing(longer, target, seed, fetch, verify):
    seeder = seed(longer)

    program = fetch(longer, seeder, "--overwrite")
    program.finish()

    assert_same(longer, target)
    assert program.pieces == [] and seeder.status()["uploaded"] == 0
    assert verify(longer, target / "data.bin").exit_code() == 0


def test_a_longer_file_among_right_ones_is_named(source, target, seed, fetch):
    torrent = torrent_of(source, {"folder/a.bin": 100_000, "folder/b.bin": 50_000, "folder/c.bin": 7}, "folder")
    shutil.copytree(torrent.content, target / "folder")
    with (target / "folder" / "b.bin").open("ab") as opened:
        opened.write(b"\0" * 3)
    before = tree(target)

    why = fetch(torrent, seed(torrent)).refused()

    assert "folder/b.bin" in why and "3 bytes longer" in why, why
    assert tree(target) == before


@pytest.mark.parametrize("names", [2, 3])
def test_other_names_of_a_file_keep_their_bytes(source, target, tmp_path, seed, fetch, names):
    torrent = torrent_of(source, {"data.bin": 40 * PIECE})
    originals = [tmp_path / f"orig{index}" for index in range(1, names)]
    shutil.copy2(torrent.content, originals[0])
    flip(originals[0], 20 * PIECE)
    originals[0].chmod(0o640)
    target.mkdir()
    for place in [*originals[1:], target / "data.bin"]:
        os.link(originals[0], place)
    before = tree(originals[0])
    modified = originals[0].stat().st_mtime_ns

    program = fetch(torrent, seed(torrent), "--overwrite")
    program.finish()

    assert_same(torrent, target)
    assert [tree(place).popitem()[1] for place in originals] == [before["orig1"]] * len(originals)
    assert all(place.stat().st_mtime_ns == modified for place in originals)
    assert len(program.pieces) == 1, "only the piece that differs may be fetched"
    assert stat.S_IMODE((target / "data.bin").stat().st_mode) == 0o640
    assert names_in(target) == ["data.bin"], "no copy may be left behind"


def test_a_right_file_with_other_names_is_not_copied(source, target, tmp_path, seed, fetch):
    torrent = torrent_of(source, {"data.bin": 40 * PIECE})
    original = tmp_path / "orig"
    shutil.copy2(torrent.content, original)
    target.mkdir()
    os.link(original, target / "data.bin")

    fetch(torrent, seed(torrent)).finish()

    assert os.path.samefile(original, target / "data.bin")


def test_resume_data_inside_of_a_torrent_poisons_nothing(source, target, seed, fetch):
    victim = torrent_of(source, {"victim.bin": 30 * PIECE})
    # Copies the victim's resume data of a complete download.
    state = source / "state"
    fetch(victim, seed(victim), "--state", state, into=source / "elsewhere").finish()
    [planted] = state.glob("*.resume")
    poison = source / ".piecewise"
    (poison / "parts").mkdir(parents=True)
    shutil.copy(planted, poison)
    write_file(poison / "parts" / f"{victim.info_hash.hex()}.0", 30 * PIECE, 5)
    poisonous = make_torrent(poison, PIECE)

    fetch(poisonous, seed(poisonous)).finish()
    program = fetch(victim, seed(victim))
    program.finish()

    assert tree(target / "victim.bin") == tree(victim.content)
    assert (target / "_.piecewise" / planted.name).is_file()
    assert sorted(program.pieces) == list(range(victim.pieces)), "everything must be fetched"


@pytest.mark.parametrize("piece_length", [16 * KIB, 256 * KIB])
def test_two_torrents_share_files_and_seed_them(source, target, tmp_path, seed, fetch, leech, piecewise, piece_length):
    for name, size in {"a.bin": MIB + 1, "b.bin": 300_000, "empty": 0}.items():
        write_file(source / "shared" / name, size, size)
    first = make_torrent(source / "shared", 64 * KIB)
    fetch(first, seed(first)).finish()
    before = {path: path.stat().st_mtime_ns for path in (target / "shared").iterdir()}
    second = make_torrent(source / "shared", piece_length)

    program = fetch(second, seed(second))
    program.finish()
    seeding = piecewise("seed", second.file, target / "shared", "--json")
    seeding.wait_for(lambda event: event["_tag"] == "Completed")
    leech(second, tmp_path / "leeched", seeding.address).wait_until_complete()

    assert program.pieces == [], "the second torrent must reuse what the first one fetched"
    assert {path: path.stat().st_mtime_ns for path in (target / "shared").iterdir()} == before
    assert_same(second, tmp_path / "leeched")
