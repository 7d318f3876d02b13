"""Imports the session of a real client that has just quit, and seeds from it at once to libtorrent.

One piece is not what the other client says, so it is refused and fetched, and nobody is banned for it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clients import HttpClient, QBittorrent, Transmission, wait_for
from conftest import leave_out
from processes import DEADLINE, HERE, NODE, LineProcess
from torrents import KIB, MIB, assert_same, make_torrent, write_file

WRONG = 17
"""The piece that is damaged after the other client has quit."""


class Importer(LineProcess):
    """The program in `import.ts`."""

    def __init__(self, client: str, session: Path, folder: Path) -> None:
        super().__init__([str(NODE), str(HERE / "import.ts"), client, str(session), str(folder)])
        first = self.next_line()
        assert first is not None, f"it has ended: {self.errors}"
        self.report = json.loads(first)
        self.address = f"127.0.0.1:{self.report['port']}"

    def status(self, line: str = "status") -> dict:
        self.send_line(line)
        answer = self.next_line()
        assert answer is not None, f"it has ended: {self.errors}"
        return json.loads(answer)

    def wait_until_complete(self) -> dict:
        deadline = time.monotonic() + DEADLINE
        while (status := self.status())["state"] != "Complete":
            assert time.monotonic() < deadline, f"it stays at {status}"
            time.sleep(0.1)
        return status


def quit_qbittorrent(client: HttpClient) -> Path:
    client.request("/app/shutdown", b"")
    [backup] = client.home.rglob("BT_backup")
    return backup


def quit_transmission(client: HttpClient) -> Path:
    client._call("session-close")
    return client.home


QUIT = {QBittorrent: quit_qbittorrent, Transmission: quit_transmission}


NAMES = ["a.bin", "b.bin", "in/c.bin"]
SIZE = 4 * MIB + 11


@pytest.mark.parametrize("kind", QUIT, ids=lambda kind: kind.name)
def test_import_seeds_at_once(kind, source, target, tmp_path, running, seed, leech):
    if not kind.is_installed():
        leave_out(f"{kind.name} is not installed ({kind.how_to_install})")
    for index, name in enumerate(NAMES):
        write_file(source / "shared" / name, SIZE, index)
    torrent = make_torrent(source / "shared", 256 * KIB)
    whole = replace(torrent, content=Path(shutil.copytree(source / "shared", tmp_path / "whole" / "shared")))
    damaged, other_name = source / "shared" / "b.bin", source / "other name of b.bin"
    os.link(damaged, other_name)
    client = kind(tmp_path / "client", "127.0.0.1")
    running.callback(client.close)
    client.seed(torrent)
    session = QUIT[kind](client)
    # It writes its session before its process ends.
    wait_for(client.has_quit, DEADLINE, f"{kind.name} quits", lambda: "")
    before = {path: path.read_bytes() for path in session.rglob("*") if path.is_file()}
    with damaged.open("r+b") as file:
        file.seek(WRONG * torrent.piece_length - SIZE)
        file.write(b"wrong")
    wrong = damaged.read_bytes()

    program = Importer(kind.name.lower(), session, tmp_path / "kept")
    running.callback(program.close)
    leecher = leech(torrent, target, program.address)
    leecher.wait_until(lambda status: status["downloaded"] >= 3 * SIZE - torrent.piece_length)
    stuck = program.status()

    [taken] = program.report["torrents"]
    assert taken["outcome"]["_tag"] == "Added", taken
    assert (stuck["state"], stuck["missingBytes"] >= torrent.piece_length) == ("Downloading", True), stuck
    assert not leecher.status()["complete"]
    assert damaged.read_bytes() == wrong, "the file was written before its piece was there"

    program.status(seed(whole).address)
    done = program.wait_until_complete()
    leeched = leecher.wait_until_complete()

    assert (done["missingBytes"], done["unverifiedPieces"], done["bannedPeers"]) == (0, 0, 0)
    assert done["downloadedBytes"] == torrent.piece_length
    assert leeched["failed"] == 0, "a piece was uploaded that was not verified"
    assert_same(whole, target)
    assert_same(whole, source)
    assert other_name.read_bytes() == wrong, "another name of the file has lost its bytes"
    assert {path: path.read_bytes() for path in session.rglob("*") if path.is_file()} == before
