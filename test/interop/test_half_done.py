"""Continues downloads that were begun by another client, or by ourselves before a kill or a restore from a backup.

Files of another client are adopted if every piece is right or was never written. A piece that was cut off during a
write cannot be told from foreign bytes, so such files need `--overwrite`.
"""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from conftest import leave_out
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, names_in, right_pieces, tree, write_file

BYTES_PER_SECOND = 4 * MIB


def make(source, piece_length, trackers=None) -> Torrent:
    return make_torrent(write_file(source / "data.bin", 8 * MIB + 1, 1), piece_length, trackers)


def is_taken_over(torrent: Torrent, folder, right: set[int]) -> bool:
    """Whether each piece in the file is right, all zeros, or right up to the end of a file that is too short."""
    wanted = torrent.bytes()
    found = (folder / torrent.name).read_bytes()
    for piece in set(range(torrent.pieces)) - right:
        begin = piece * torrent.piece_length
        there = found[begin : begin + torrent.piece_length]
        is_cut = len(there) < len(wanted[begin : begin + torrent.piece_length])
        if any(there) and not (is_cut and wanted.startswith(there, begin)):
            return False
    return True


def assert_goes_on(torrent, folder, seed, fetch):
    """Expects that the files are adopted, or left alone with an error. With `--overwrite`, no right piece is fetched
    again.
    """
    right = right_pieces(torrent, folder)
    assert 0 < len(right) < torrent.pieces, "the test needs some of the pieces"
    overwritten = folder.with_name("overwritten")
    # Copies sparse files as sparse files.
    subprocess.run(["cp", "-a", folder, overwritten], check=True)
    before = tree(folder)

    program = fetch(torrent, seed(torrent), into=folder)

    if is_taken_over(torrent, folder, right):
        program.finish()
        assert set(program.pieces) == set(range(torrent.pieces)) - right
        assert_same(torrent, folder)
    else:
        why = program.refused()
        assert torrent.name in why and f"{len(right)} of {torrent.pieces} pieces match" in why, why
        assert tree(folder) == before

    seeder = seed(torrent)
    program = fetch(torrent, seeder, "--overwrite", into=overwritten)
    program.finish()

    assert_same(torrent, overwritten)
    assert set(program.pieces) == set(range(torrent.pieces)) - right
    assert seeder.status()["uploaded"] <= (torrent.pieces - len(right)) * torrent.piece_length


# Pieces of one block are never cut off.
@pytest.mark.parametrize("piece_length", [16 * KIB, 256 * KIB], ids=["blocks", "pieces"])
@pytest.mark.parametrize("allocate", [False, True], ids=["sparse", "full"])
def test_half_done_by_libtorrent(source, tmp_path, seed, fetch, leech, piece_length, allocate):
    torrent = make(source, piece_length)
    slow = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    folder = tmp_path / "theirs"
    begun = leech(torrent, folder, slow.address, allocate=allocate)
    slow.wait_until(lambda status: status["uploaded"] > 3 * MIB)
    begun.kill()

    assert_goes_on(torrent, folder, seed, fetch)


@pytest.mark.parametrize(
    ("allocation", "piece_length"), [("prealloc", 256 * KIB), ("none", 16 * KIB), ("none", 256 * KIB), ("falloc", 16 * KIB)]
)
def test_half_done_by_aria2(source, tmp_path, seed, fetch, aria2_leech, tracker, piece_length, allocation):
    torrent = make(source, piece_length, [tracker.urls["http"]])
    slow = seed(torrent, bytes_per_second=BYTES_PER_SECOND, trackers=True)
    tracker.wait_for_seeders(1)
    folder = tmp_path / "theirs"
    begun = aria2_leech(torrent, folder, f"--file-allocation={allocation}", "--auto-save-interval=1")
    slow.wait_until(lambda status: status["uploaded"] > 3 * MIB)
    begun.kill()
    control = folder / "data.bin.aria2"
    # Checked for existence, so that only the content is compared afterwards.
    assert control.is_file()
    control.rename(folder.with_name("control"))

    assert_goes_on(torrent, folder, seed, fetch)


@pytest.fixture
def torrent(source) -> Torrent:
    for index in range(8):
        write_file(source / "folder" / f"{index}.bin", MIB + 1_000 * index, index)
    return make_torrent(source / "folder", 64 * KIB)


RESTORES = {"rsync -rt": ["rsync", "-rt"], "cp -pr": ["cp", "-pr"]}


@pytest.mark.parametrize("end", ["interrupt", "kill"])
@pytest.mark.parametrize("restore", RESTORES.values(), ids=RESTORES.keys())
def test_a_restored_half_is_not_fetched_twice(torrent, target, tmp_path, seed, fetch, restore, end):
    if shutil.which(restore[0]) is None:
        leave_out(f"{restore[0]} is not installed")
    first = fetch(torrent, seed(torrent, bytes_per_second=BYTES_PER_SECOND))
    first.wait_for_pieces(60)
    first.interrupt() if end == "interrupt" else first.kill()
    first.drain()
    restored = tmp_path / "restored"
    restored.mkdir()
    subprocess.run([*restore, f"{target}/.", restored], check=True)
    right = right_pieces(torrent, restored)
    assert set(first.pieces) <= right
    seeder = seed(torrent)

    second = fetch(torrent, seeder, into=restored)
    second.finish()

    assert_same(torrent, restored)
    assert not set(first.pieces) & set(second.pieces), "a piece was fetched twice"


@pytest.mark.parametrize("wait", [0.5, 0.9, "Started", "PieceStored"])
def test_our_own_folder_after_sigkill_before_the_first_save(torrent, target, seed, fetch, verify, wait):
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    first = fetch(torrent, seeder)
    if isinstance(wait, str):
        first.wait_for(lambda event: event["_tag"] == wait)
    else:
        time.sleep(wait)
    first.kill()
    first.drain()

    second = fetch(torrent, seeder)
    second.finish()

    assert_same(torrent, target)
    assert not set(first.pieces) & set(second.pieces)
    assert verify(torrent, target / "folder").exit_code() == 0
    assert names_in(target) == ["folder"], "nothing else may be left"


def test_resume_data_that_is_lost_costs_nothing_but_a_look(torrent, target, seed, fetch):
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    first = fetch(torrent, seeder)
    first.wait_for_pieces(60)
    first.interrupt()
    first.drain()
    shutil.rmtree(target / ".piecewise")

    second = fetch(torrent, seeder)
    second.finish()

    assert_same(torrent, target)
    assert not set(first.pieces) & set(second.pieces)
