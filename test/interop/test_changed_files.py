"""Changes of files by others, between runs and during a run: "complete" stays true, and no wrong byte is uploaded."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest
from torrents import KIB, MIB, assert_same, flip, make_torrent, names_in, right_pieces, tree, write_file

PIECE = 64 * KIB
BYTES_PER_SECOND = 4 * MIB


@pytest.fixture
def torrent(source):
    """Files that share pieces with their neighbours."""
    for index in range(8):
        write_file(source / "folder" / f"{index}.bin", MIB + 1_000 * index, index)
    return make_torrent(source / "folder", PIECE)


@pytest.fixture
def interrupted(torrent, target, seed, fetch):
    """A download that was stopped by Ctrl-C with a part of it stored. Returns the pieces that it fetched."""
    program = fetch(torrent, seed(torrent, bytes_per_second=BYTES_PER_SECOND))
    program.wait_for_pieces(40)
    program.interrupt()
    program.drain()
    assert program.exit_code() == 130, program.errors
    return set(program.pieces)


def place_of(torrent, target, piece):
    """A file that contains bytes of a piece, and the offset at which they begin."""
    offset = piece * torrent.piece_length
    for file in sorted(torrent.content.iterdir()):
        if offset < file.stat().st_size:
            return target / torrent.name / file.name, offset
        offset -= file.stat().st_size
    raise AssertionError(f"no piece {piece}")


@pytest.mark.parametrize("place_in_order", [0, 10, -1])
def test_seven_bytes_changed_between_runs(torrent, target, seed, fetch, interrupted, place_in_order):
    piece = sorted(interrupted)[place_in_order]
    flip(*place_of(torrent, target, piece))

    program = fetch(torrent, seed(torrent))
    program.finish()

    assert_same(torrent, target)
    assert piece in program.pieces, "the changed piece was not fetched again"
    assert set(program.pieces) - {piece} == set(range(torrent.pieces)) - interrupted, "other pieces were fetched again"


@pytest.mark.parametrize("how", ["touched", "copied with times", "copied without times", "deleted", "cut"])
def test_what_else_happens_between_runs(torrent, target, tmp_path, seed, fetch, interrupted, how):
    file, _ = place_of(torrent, target, sorted(interrupted)[5])
    into = target
    lost: set[int] = set()
    if how == "touched":
        os.utime(file)
    elif how in ("copied with times", "copied without times"):
        into = tmp_path / "copy"
        shutil.copytree(target, into, copy_function=shutil.copy2 if how == "copied with times" else shutil.copyfile)
    elif how == "deleted":
        file.unlink()
        lost = interrupted - right_pieces(torrent, target)
    else:
        os.truncate(file, file.stat().st_size // 3)
        lost = interrupted - right_pieces(torrent, target)

    program = fetch(torrent, seed(torrent), into=into)
    program.finish()

    assert_same(torrent, into)
    assert set(program.pieces) == (set(range(torrent.pieces)) - interrupted) | lost


def bytes_read(program) -> int:
    """Bytes that a process has read so far, including those from the page cache."""
    with open(f"/proc/{program.pid}/io") as facts:
        return int(next(line for line in facts if line.startswith("rchar")).split()[1])


def test_what_has_not_changed_is_not_read_again(source, target, seed, fetch, piecewise, storage):
    size = 64 * MIB
    torrent = make_torrent(write_file(source / "big.bin", size, 1), 256 * KIB)
    slow = seed(torrent, bytes_per_second=32 * MIB)
    first = fetch(torrent, slow)
    first.wait_for_pieces(120)
    first.interrupt()
    first.drain()
    assert first.exit_code() == 130, first.errors
    slow.kill()

    # There is no peer, so everything that is read is read at startup.
    second = fetch(torrent, slow)
    started = second.wait_for(lambda event: event["_tag"] == "Started")
    second.wait_for(lambda event: event["_tag"] == "Progress")
    read = bytes_read(second)
    second.interrupt()
    second.drain()

    assert int(str(started["storedPieces"])) == len(set(first.pieces))
    assert not [event for event in second.events if event["_tag"] == "Checking"]
    # Our own source code is some MiB, too.
    assert read < 16 * MIB < len(first.pieces) * torrent.piece_length


def delete(file, original):
    file.unlink()


def cut(file, original):
    os.truncate(file, 100_000)


def replace(file, original):
    other = file.with_name("other")
    other.write_bytes(original.read_bytes()[::-1])
    other.rename(file)


def modify(file, original):
    flip(file, 400_000)


CHANGES = [delete, cut, replace, modify]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_needs_no_more_writes_is_changed_during_a_download(torrent, target, seed, fetch, verify, change):
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    program = fetch(torrent, seeder, "--sequential")
    # Waits for the first two files, and some of the third.
    program.wait_for_pieces(40)
    # Settled files are checked within a fraction of a second.
    time.sleep(0.3)

    change(target / "folder" / "0.bin", torrent.content / "0.bin")

    if change is replace:
        # A file that replaced ours belongs to whoever put it there.
        assert "0.bin" in program.failed()
        assert (target / "folder" / "0.bin").read_bytes() == (torrent.content / "0.bin").read_bytes()[::-1]
    else:
        program.finish()
        assert [event for event in program.events if event["_tag"] == "PiecesLost"]
        assert_same(torrent, target)
        assert verify(torrent, target / "folder").exit_code() == 0


def test_a_file_that_is_only_touched_costs_no_fetch(torrent, target, seed, fetch):
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    program = fetch(torrent, seeder, "--sequential")
    program.wait_for_pieces(40)
    time.sleep(0.3)

    os.utime(target / "folder" / "0.bin")
    program.finish()

    assert_same(torrent, target)
    assert sorted(program.pieces) == list(range(torrent.pieces)), "each piece is fetched once"
    assert not [event for event in program.events if event["_tag"] == "PiecesLost"]


def slowly(program, leech, torrent, folder):
    """Starts a slow libtorrent download from a complete program. The downloader has some pieces already."""
    program.wait_for(lambda event: event["_tag"] == "Completed")
    leecher = leech(torrent, folder, program.address)
    leecher.wait_until(lambda status: status["pieces"] >= 10)
    return leecher


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_leecher_gets_no_wrong_byte_of_a_seed_whose_files_change(
    torrent, target, tmp_path, leech, piecewise, change
):
    shutil.copytree(torrent.content, target / "folder")
    ours = piecewise("seed", torrent.file, target / "folder", "--limit-up", "4MiB", "--json")
    theirs = slowly(ours, leech, torrent, tmp_path / "theirs")

    for index in (6, 7):
        change(target / "folder" / f"{index}.bin", torrent.content / f"{index}.bin")
    ours.wait_for(lambda event: event["_tag"] == "PiecesLost")
    assert not theirs.status()["complete"]
    # Restores the files that were changed.
    for index in (6, 7):
        shutil.copy2(torrent.content / f"{index}.bin", target / "folder")
    status = theirs.wait_until_complete()

    assert status["failed"] == 0, "libtorrent received bytes that do not match their digests"
    assert_same(torrent, tmp_path / "theirs")
    assert_same(torrent, target)


@pytest.mark.parametrize("change", [delete, cut, modify], ids=lambda change: change.__name__)
def test_a_download_that_seeds_fetches_again_what_it_lost(torrent, target, tmp_path, seed, fetch, leech, change):
    ours = fetch(torrent, seed(torrent), "--seed", "--limit-up", "4MiB")
    theirs = slowly(ours, leech, torrent, tmp_path / "theirs")

    for index in (6, 7):
        change(target / "folder" / f"{index}.bin", torrent.content / f"{index}.bin")
    status = theirs.wait_until_complete()

    assert status["failed"] == 0, "libtorrent received bytes that do not match their digests"
    assert_same(torrent, tmp_path / "theirs")
    ours.wait_for(lambda event: event["_tag"] == "PiecesLost")
    ours.wait_for(lambda event: event["_tag"] == "Completed")
    assert_same(torrent, target)


def test_a_file_in_the_place_of_one_that_is_seeded_is_left_alone(torrent, target, tmp_path, seed, fetch, leech):
    ours = fetch(torrent, seed(torrent), "--seed", "--limit-up", "4MiB")
    slowly(ours, leech, torrent, tmp_path / "theirs")

    replace(target / "folder" / "7.bin", torrent.content / "7.bin")
    why = ours.failed()

    assert "7.bin" in why, why
    assert (target / "folder" / "7.bin").read_bytes() == (torrent.content / "7.bin").read_bytes()[::-1]


@pytest.fixture
def kept(torrent, target, tmp_path, seed, fetch):
    """A complete download whose resume data is in a separate folder."""
    state = tmp_path / "state"
    fetch(torrent, seed(torrent), "--state", state).finish()
    assert [file.suffix for file in state.iterdir()] == [".resume"], "the resume data must be kept"
    return state


def test_what_is_known_to_be_stored_and_gone_is_not_fetched(torrent, target, tmp_path, seed, fetch, kept):
    target.rename(tmp_path / "unmounted")
    target.mkdir()
    seeder = seed(torrent)

    why = fetch(torrent, seeder, "--state", kept).refused()

    assert "folder/0.bin" in why and "--start-over" in why, why
    assert names_in(target) == [], "nothing may be written to the mount point"
    assert seeder.status()["uploaded"] == 0
    # It continues when the files are back, without downloading a byte.
    shutil.rmtree(target)
    (tmp_path / "unmounted").rename(target)
    program = fetch(torrent, seeder, "--state", kept)
    program.finish()
    assert program.pieces == [] and seeder.status()["uploaded"] == 0


def test_start_over_fetches_all_of_it(torrent, target, seed, fetch, kept):
    shutil.rmtree(target)

    program = fetch(torrent, seed(torrent), "--state", kept, "--start-over")
    program.finish()

    assert_same(torrent, target)
    assert sorted(program.pieces) == list(range(torrent.pieces))


def test_some_files_gone_are_fetched_again(torrent, target, seed, fetch, kept):
    (target / "folder" / "3.bin").unlink()
    lost = set(range(torrent.pieces)) - right_pieces(torrent, target)

    program = fetch(torrent, seed(torrent), "--state", kept)
    program.finish()

    assert_same(torrent, target)
    assert set(program.pieces) == lost


def test_a_half_done_download_on_a_disk_that_is_not_mounted(torrent, tmp_path, seed, fetch, mount):
    disk = mount("ext4", 64)
    state = tmp_path / "state"
    seeder = seed(torrent, bytes_per_second=BYTES_PER_SECOND)
    first = fetch(torrent, seeder, "--state", state, into=disk.path)
    first.wait_for_pieces(40)
    first.interrupt()
    first.drain()
    assert first.exit_code() == 130, first.errors
    disk.detach()
    uploaded = seeder.status()["uploaded"]

    why = fetch(torrent, seeder, "--state", state, into=disk.path).refused()

    assert "--start-over" in why, why
    assert names_in(disk.path) == []
    assert seeder.status()["uploaded"] == uploaded
    disk.attach()
    second = fetch(torrent, seeder, "--state", state, into=disk.path)
    second.finish()
    assert_same(torrent, disk.path)
    assert sorted(first.pieces + second.pieces) == list(range(torrent.pieces)), "each piece is fetched once"


def test_a_folder_that_may_only_be_read_is_seeded(torrent, target, tmp_path, leech, piecewise):
    shutil.copytree(torrent.content, target / "folder")
    for path in [*(target / "folder").iterdir(), target / "folder", target]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(target)

    seeding = piecewise("seed", torrent.file, target / "folder", "--json")
    seeding.wait_for(lambda event: event["_tag"] == "Completed")
    # Changes of permissions do not change the bytes of a file.
    (target / "folder" / "0.bin").chmod(0o400)
    if os.geteuid() == 0:
        os.chown(target / "folder" / "1.bin", 65_534, 65_534)
    leech(torrent, tmp_path / "theirs", seeding.address).wait_until_complete()
    seeding.signal(signal.SIGINT)
    seeding.drain()

    assert seeding.exit_code() == 130, seeding.errors
    assert_same(torrent, tmp_path / "theirs")
    assert tree(target) == before
