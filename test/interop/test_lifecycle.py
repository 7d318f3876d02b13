"""A program pauses, resumes, rechecks and removes a torrent that libtorrent seeds, and adds it by a magnet link."""

from __future__ import annotations

import json
import os
import time

import pytest
from processes import DEADLINE, HERE, NODE, LineProcess
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file


class Program(LineProcess):
    """The program in `lifecycle.ts`."""

    def __init__(self, folder) -> None:
        super().__init__([str(NODE), str(HERE / "lifecycle.ts"), str(folder)])

    def ask(self, line: str) -> dict:
        self.send_line(line)
        answer = self.next_line()
        assert answer is not None, f"it has ended: {self.errors}"
        found = json.loads(answer)
        assert "error" not in found, found
        return found

    def wait_until(self, reached) -> dict:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            status = self.ask("status")
            if reached(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"not reached: {status}\n{self.errors}")


@pytest.fixture
def torrent(source) -> Torrent:
    """Files that pieces span, one of them in a folder."""
    for index, name in enumerate(["a.bin", "b.bin", "in/c.bin"]):
        write_file(source / "lived" / name, 3 * MIB + 11, index)
    return make_torrent(source / "lived", 64 * KIB)


@pytest.fixture
def program(running, target) -> Program:
    started = Program(target)
    running.callback(started.close)
    return started


def test_pause_resume_recheck_and_remove(torrent, target, seed, program):
    seeder = seed(torrent, bytes_per_second=2 * MIB)
    program.ask(f"add {torrent.file} {seeder.address}")
    downloading = program.wait_until(lambda status: status["storedPieces"] >= 8)
    paused = program.ask("pause")
    sent = seeder.status()["uploaded"]
    time.sleep(2)
    still = program.ask("status")

    assert any("libtorrent" in client for client in downloading["clients"])
    assert paused["state"] == still["state"] == "Paused"
    assert paused["connectedPeers"] == 0
    assert still["downloadedBytes"] == paused["downloadedBytes"]
    assert seeder.status()["uploaded"] <= sent + 256 * KIB, "libtorrent goes on to send to a paused torrent"

    program.ask("resume")
    assert program.ask("complete")["missingBytes"] == 0
    assert_same(torrent, target)

    # One byte that neither size nor time tells.
    damaged = target / torrent.name / "a.bin"
    stat = damaged.stat()
    with damaged.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))
    os.utime(damaged, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    checked = program.ask("recheck")
    assert checked["storedPieces"] >= torrent.pieces - 1
    program.wait_until(lambda status: status["state"] == "Complete")
    assert_same(torrent, target)

    (target / torrent.name / "mine.txt").write_text("mine")
    removed = program.ask("remove")
    assert removed["state"] == "Stopped"
    assert removed["keptPaths"] == []
    assert [path.name for path in (target / torrent.name).rglob("*")] == ["mine.txt"]
    assert list((target / ".piecewise").glob("*")) == []


def test_a_magnet_link_in_one_step(torrent, target, seed, program):
    seeder = seed(torrent)
    added = program.ask(f"add {torrent.link('dn=shown')} {seeder.address}")
    done = program.ask("complete")

    assert (added["state"], added["name"]) == ("FetchingMetadata", "shown")
    assert (done["state"], done["name"]) == ("Complete", torrent.name)
    assert_same(torrent, target)
    program.ask("remove")
    assert not (target / torrent.name).exists()
