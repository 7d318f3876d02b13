"""A policy about peers (docs/extending.md) that denies a client by its name, whoever connects to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import HERE, NODE, LineProcess
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file


class Choosy(LineProcess):
    """An engine that denies a client; see `choosy.ts`."""

    def __init__(self, *arguments: str | Path) -> None:
        super().__init__([str(NODE), "--conditions=@piecewise/source", str(HERE / "choosy.ts"), *map(str, arguments)])
        first = self.next_line()
        assert first is not None, f"the engine did not start: {self.exit_code()} {self.errors}"
        self.address = f"127.0.0.1:{json.loads(first)['port']}"

    def wait_for(self, *wanted: tuple[str, str | None]) -> list[dict]:
        """Waits until these events have been reported, with their addresses. Returns all events so far."""
        events: list[dict] = []
        missing = set(wanted)
        while missing:
            line = self.next_line()
            assert line is not None, f"{missing} not in {events} {self.errors}"
            events.append(json.loads(line))
            missing.discard((events[-1]["event"], events[-1]["address"]))
        return events


@pytest.fixture
def choosy(running: ExitStack) -> Callable[..., Choosy]:
    def start(*arguments: str | Path) -> Choosy:
        engine = Choosy(*arguments)
        running.callback(engine.close)
        return engine

    return start


@pytest.fixture
def torrent(source) -> Torrent:
    return make_torrent(write_file(source / "one.bin", 4 * MIB, 1), 256 * KIB)


def test_we_close_a_connection_to_a_denied_client_and_download_from_another(torrent, target, choosy, seed, aria2_seed):
    denied = seed(torrent)
    other = aria2_seed(torrent)
    engine = choosy(torrent.file, target, "libtorrent", denied.address, other.address)

    refused = ("PeerUnreachable", denied.address)
    events = engine.wait_for(refused, ("PeerConnected", other.address), ("Completed", None))

    assert_same(torrent, target)
    why = {event["why"] for event in events if (event["event"], event["address"]) == refused}
    assert why == {"the peer policy does not admit it"}
    assert ("PeerConnected", denied.address) not in {(event["event"], event["address"]) for event in events}
    assert denied.status()["uploaded"] == 0


def test_we_download_from_a_client_if_another_one_is_denied(torrent, target, choosy, seed):
    admitted = seed(torrent)

    engine = choosy(torrent.file, target, "-XL", admitted.address)
    engine.wait_for(("PeerConnected", admitted.address), ("Completed", None))

    assert_same(torrent, target)


def test_a_denied_client_that_connects_to_us_gets_nothing(torrent, tmp_path, choosy, leech):
    engine = choosy(torrent.file, torrent.content.parent, "libtorrent")
    engine.wait_for(("Completed", None))
    other = choosy(torrent.file, torrent.content.parent, "aria2")
    other.wait_for(("Completed", None))

    denied = leech(torrent, tmp_path / "denied", engine.address)
    served = leech(torrent, tmp_path / "served", other.address)
    served.wait_until_complete()

    assert_same(torrent, tmp_path / "served")
    assert denied.status()["downloaded"] == 0
