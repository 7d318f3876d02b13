"""Disks that fail, fill up, disappear and return: real file systems in loop mounts, compared by the bytes on them."""

from __future__ import annotations

import shutil
import time

import pytest
from torrents import KIB, MIB, assert_same, make_torrent, names_in, right_pieces, write_file

PIECE = 256 * KIB


@pytest.fixture
def torrent(source):
    for index in range(10):
        write_file(source / "folder" / f"{index}.bin", 4 * MIB + 1_000 * index, index)
    return make_torrent(source / "folder", PIECE)


def is_failing(event) -> bool:
    return event["_tag"] in ("StorageFailed", "FlushFailed")


def reason_of(event) -> str:
    return event["error"]["reason"]["_tag"]


@pytest.fixture
def large(source):
    """One file, so that the device can lose only content and no folder."""
    return make_torrent(write_file(source / "large.bin", 42 * MIB, 1), PIECE)


# By default ext4 marks a block as written only after its bytes are on the device. A failed write leaves it marked as
# unwritten. Bytes written to it again are zeros after the next mount, although their flush succeeds. So the engine must
# write a copy to fresh blocks, and there must be room for it.
@pytest.fixture(params=["defaults", "dioread_lock"])
def failing(request, large, tmp_path, seed, fetch, mount):
    """A disk whose device stores a quarter of its nominal size, and a download onto it that has noticed."""
    disk = mount("failing", 128, request.param)
    program = fetch(large, seed(large), "--sequential", "--state", tmp_path / "state", into=disk.path)
    error = program.wait_for(is_failing)
    assert reason_of(error) in ("DiskFull", "StorageUnavailable"), error
    program.wait_for(
        lambda event: event["_tag"] == "Progress" and event["status"]["state"]["_tag"] == "StorageFailing"
    )
    return disk, program


def test_a_disk_that_fails_at_write_back_is_no_success(large, failing):
    disk, program = failing
    # Without room it keeps trying, and never reports that it is complete.
    quiet_until = time.monotonic() + 10
    while time.monotonic() < quiet_until:
        event = program.next_event()
        assert event is not None and event["_tag"] != "Completed", program.errors

    disk.grow()
    program.finish()
    disk.read_anew()

    assert_same(large, disk.path)
    told = [event["_tag"] for event in program.events if is_failing(event) or event["_tag"] == "StorageRecovered"]
    assert told[-1] == "StorageRecovered"


# While the disk stays mounted, the page cache still has what the device lost, and a flush reports that nothing is to
# do.
@pytest.mark.parametrize(
    ("failing", "remounts"),
    [("defaults", True), ("defaults", False), ("dioread_lock", True), ("dioread_lock", False)],
    ids=["defaults-remounted", "defaults", "dioread_lock-remounted", "dioread_lock"],
    indirect=["failing"],
)
@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_after_a_disk_failed_nothing_that_it_lost_is_believed(large, tmp_path, seed, fetch, failing, end, remounts):
    disk, program = failing
    program.interrupt() if end == "interrupt" else program.kill()
    program.drain()
    assert program.exit_code() == (130 if end == "interrupt" else -9), program.errors
    disk.grow()
    if remounts:
        disk.read_anew()
    right = right_pieces(large, disk.path)

    second = fetch(large, seed(large), "--state", tmp_path / "state", into=disk.path)
    second.finish()
    disk.read_anew()

    assert_same(large, disk.path)
    assert set(range(large.pieces)) - right <= set(second.pieces), "lost pieces must be fetched again"


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "tmpfs"])
def test_a_download_is_on_the_disk_when_it_is_complete(torrent, seed, fetch, verify, mount, kind):
    disk = mount(kind, 256)

    fetch(torrent, seed(torrent), into=disk.path).finish()
    if kind != "tmpfs":
        disk.read_anew()

    assert_same(torrent, disk.path)
    assert verify(torrent, disk.path / "folder").exit_code() == 0


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk_pauses_until_there_is_room(torrent, seed, fetch, mount, kind):
    disk = mount(kind, 64)
    ballast = write_file(disk.path / "ballast.bin", 32 * MIB, 1)
    program = fetch(torrent, seed(torrent), into=disk.path)
    error = program.wait_for(is_failing)
    assert reason_of(error) == "DiskFull", error

    ballast.unlink()
    program.finish()
    if kind == "ext4":
        disk.read_anew()

    assert_same(torrent, disk.path)


def test_a_disk_that_goes_during_a_download_gets_nothing_in_its_place(torrent, seed, fetch, mount):
    disk = mount("ext4", 128)
    seeder = seed(torrent, bytes_per_second=8 * MIB)
    first = fetch(torrent, seeder, into=disk.path)
    first.wait_for_pieces(60)

    disk.detach()
    first.drain()
    code = first.exit_code()

    assert names_in(disk.path) == [], "nothing may be written to the empty mount point"
    disk.attach()
    if code == 0:
        # Open files of a detached disk stay usable until they are closed.
        assert_same(torrent, disk.path)
    else:
        assert code == 1 and "--start-over" in first.failed()
    fetch(torrent, seeder, into=disk.path).finish()
    assert_same(torrent, disk.path)


def test_a_disk_that_goes_and_comes_back_while_it_is_seeded(torrent, tmp_path, seed, fetch, leech, mount):
    disk = mount("ext4", 128)
    ours = fetch(torrent, seed(torrent), "--seed", "--limit-up", "6MiB", into=disk.path)
    ours.wait_for(lambda event: event["_tag"] == "Completed")
    theirs = leech(torrent, tmp_path / "theirs", ours.address)
    theirs.wait_until(lambda status: status["pieces"] >= 20)

    disk.detach()
    time.sleep(1)
    disk.attach()
    status = theirs.wait_until_complete()

    assert status["failed"] == 0
    assert_same(torrent, tmp_path / "theirs")
    assert_same(torrent, disk.path)


def test_a_folder_that_is_deleted_under_a_download_ends_it(torrent, target, seed, fetch):
    seeder = seed(torrent, bytes_per_second=8 * MIB)
    program = fetch(torrent, seeder)
    program.wait_for_pieces(60)

    shutil.rmtree(target)
    why = program.failed()

    assert "--start-over" in why, why
    uploaded = seeder.status()["uploaded"]
    assert uploaded < torrent.pieces * PIECE, "it must stop fetching"
