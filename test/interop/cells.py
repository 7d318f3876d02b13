"""The cells of the interop matrix: each is a real run of our client and another one, and compares bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import libtorrent
import pytest
from clients import Client, Ours, wait_for
from processes import DhtNodes, LibtorrentPeer, Piecewise, Tracker
from torrents import KIB, MIB, Torrent, assert_same, digest, files_of, make_torrent, write_file
from web_files import serve

LIMIT = 40.0
"""Seconds in which a cell must complete."""
DHT_LIMIT = 90.0
"""Seconds in which a client must be announced in the DHT, or find a peer in it and complete."""
DHT_NODES = 12
PEX_LIMIT = 260.0
"""Seconds for peer exchange: clients send a message every 60 to 90 s."""

NETWORK = os.environ.get("PIECEWISE_MATRIX_NETWORK", "127.9")
"""The first half of the addresses of peers."""


Kind = TypeVar("Kind", bound=Client)


class Swarm:
    """What a cell needs: our client, the other client, content and trackers. All peers have their own address."""

    def __init__(self, kind: type[Client], folder: Path, worker: int, running: ExitStack) -> None:
        self.kind = kind
        self.folder = folder
        self.running = running
        self._network = f"{NETWORK}.{worker}"
        self._worker = worker
        self._hosts = 1
        self.ours = self.client(Ours)
        self.theirs = self.client(kind)
        self.target = folder / "target"

    def host(self) -> str:
        self._hosts += 1
        return f"{self._network}.{self._hosts}"

    def client(self, kind: type[Kind]) -> Kind:
        host = self.host()
        client = kind(self.folder / f"client-{host}", host)
        self.running.callback(client.close)
        return client

    def tracker(self) -> Tracker:
        tracker = Tracker(f"{self._network}.1")
        self.running.callback(tracker.close)
        return tracker

    def dht(self) -> DhtNodes:
        """Has both clients use a DHT of libtorrent nodes, each in a network of its own: clients distrust one network."""
        nodes = DhtNodes.of_libtorrent(DHT_NODES, "--host", f"{NETWORK}.1{{:02}}.{self._worker}")
        self.running.callback(nodes.close)
        self.ours.router = self.theirs.router = nodes.ready["addresses"][0]
        return nodes

    def torrent(self, size: int = 3 * MIB + 5, piece_length: int = 64 * KIB, **more) -> Torrent:
        return make_torrent(write_file(self.folder / "source" / "one.bin", size, size), piece_length, **more)

    def hears_of_peers(self) -> None:
        """Leaves out a cell in which the other client must dial a loopback address that somebody told it."""
        if not self.kind.dials_loopback and NETWORK.startswith("127."):
            pytest.skip(f"{self.kind.name} dials no address in 127.0.0.0/8, and there is no network namespace")

    def receives(self, what: Torrent | str, seed: Callable[..., None], **more) -> None:
        """Has the other client download from us. It dials if it can be told our address, and otherwise we do."""
        if self.kind.dials:
            seed()
            self.theirs.add(what, self.target, [self.ours.address], **more)
        else:
            self.theirs.add(what, self.target, **more)
            seed([self.theirs.address])
        self.theirs.wait(LIMIT)


def get(swarm: Swarm) -> None:
    torrent = swarm.torrent()
    swarm.theirs.seed(torrent)

    swarm.ours.add(torrent, swarm.target, [swarm.theirs.address])
    swarm.ours.wait(LIMIT)

    assert_same(torrent, swarm.target)


def give(swarm: Swarm) -> None:
    torrent = swarm.torrent()

    swarm.receives(torrent, lambda peers=(): swarm.ours.seed(torrent, peers))

    assert_same(torrent, swarm.target)


def encrypted(policy: str, transfer: Callable[[Swarm], None]) -> Callable[[Swarm], None]:
    """A transfer in which both clients have a policy about encryption."""

    def cell(swarm: Swarm) -> None:
        if policy == "require" and not swarm.kind.encrypts:
            pytest.skip(f"{swarm.kind.name} has no encryption")
        swarm.ours.encryption = swarm.theirs.encryption = policy
        transfer(swarm)

    return cell


def halves(swarm: Swarm) -> None:
    torrent = swarm.torrent(6 * MIB, 64 * KIB)
    content = torrent.content.read_bytes()
    first, second = swarm.folder / "first", swarm.folder / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / torrent.name).write_bytes(content[: 3 * MIB] + bytes(3 * MIB))
    (second / torrent.name).write_bytes(bytes(3 * MIB) + content[3 * MIB :])

    swarm.theirs.add(torrent, first)
    swarm.ours.add(torrent, second, [swarm.theirs.address])
    swarm.ours.wait(LIMIT)
    swarm.theirs.wait(LIMIT)

    assert_same(torrent, first)
    assert digest(second / torrent.name) == digest(torrent.content)


def magnet_get(swarm: Swarm) -> None:
    # Its info dict takes two metadata messages.
    torrent = swarm.torrent(16 * MIB + 5, 16 * KIB)
    swarm.theirs.seed(torrent)

    swarm.ours.add(torrent.link(), swarm.target, [swarm.theirs.address])
    swarm.ours.wait(LIMIT)

    assert_same(torrent, swarm.target)


def magnet_give(swarm: Swarm) -> None:
    torrent = swarm.torrent(16 * MIB + 5, 16 * KIB)

    swarm.receives(torrent.link(), lambda peers=(): swarm.ours.seed(torrent, peers))

    assert_same(torrent, swarm.target)


def album(swarm: Swarm) -> Torrent:
    """Files that share pieces with their neighbours."""
    for index in range(6):
        write_file(swarm.folder / "source" / "album" / f"{index}.bin", 700_001, index)
    return make_torrent(swarm.folder / "source" / "album", 64 * KIB)


CHOSEN = (1, 4)


def assert_chosen(torrent: Torrent, folder: Path) -> None:
    """Expects the chosen files, and at most what they share with their neighbours of the others."""
    for index, file in enumerate(files_of(torrent.content)):
        stored = folder / file.relative_to(torrent.content.parent)
        if index in CHOSEN:
            assert digest(stored) == digest(file), f"{file.name} is wrong"
        elif stored.exists():
            assert digest(stored) != digest(file), f"{file.name} was not wanted"


def select_get(swarm: Swarm) -> None:
    torrent = album(swarm)
    swarm.theirs.seed(torrent)

    swarm.ours.add(torrent, swarm.target, [swarm.theirs.address], CHOSEN)
    swarm.ours.wait(LIMIT)

    assert_chosen(torrent, swarm.target)


def select_give(swarm: Swarm) -> None:
    torrent = album(swarm)

    swarm.receives(torrent, lambda peers=(): swarm.ours.seed(torrent, peers), files=CHOSEN)

    assert_chosen(torrent, swarm.target)


def through_tracker(swarm: Swarm, torrent: Torrent, tracker: Tracker, seed: Client, downloader: Client) -> None:
    swarm.hears_of_peers()
    seed.seed(torrent)
    tracker.wait_for_seeders(1)

    downloader.add(torrent, swarm.target)
    downloader.wait(LIMIT)

    assert_same(torrent, swarm.target)


def private_get(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    torrent = swarm.torrent(private=True, trackers=[tracker.urls["http"]])
    through_tracker(swarm, torrent, tracker, swarm.theirs, swarm.ours)


def private_give(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    torrent = swarm.torrent(private=True, trackers=[tracker.urls["http"]])
    through_tracker(swarm, torrent, tracker, swarm.ours, swarm.theirs)


def tiered(swarm: Swarm) -> tuple[Torrent, Tracker]:
    """A torrent whose first tier refuses connections."""
    tracker = swarm.tracker()
    with socket.socket() as closed:
        closed.bind((swarm.host(), 0))
        host, port = closed.getsockname()
    return swarm.torrent(trackers=[f"http://{host}:{port}/announce", tracker.urls["http"]]), tracker


def tiers_get(swarm: Swarm) -> None:
    torrent, tracker = tiered(swarm)
    through_tracker(swarm, torrent, tracker, swarm.theirs, swarm.ours)


def tiers_give(swarm: Swarm) -> None:
    torrent, tracker = tiered(swarm)
    through_tracker(swarm, torrent, tracker, swarm.ours, swarm.theirs)


def super_seed(count: int) -> Callable[[Swarm], None]:
    def cell(swarm: Swarm) -> None:
        if count > 1:
            swarm.hears_of_peers()
        torrent = swarm.torrent(20 * 256 * KIB, 256 * KIB, trackers=[swarm.tracker().urls["http"]])
        downloaders = [swarm.theirs, *(swarm.client(swarm.kind) for _ in range(count - 1))]
        for index, downloader in enumerate(downloaders):
            downloader.add(torrent, swarm.folder / f"target-{index}")

        swarm.ours.seed(torrent, [downloader.address for downloader in downloaders], ["--super"])
        for downloader in downloaders:
            downloader.wait(LIMIT)

        for index in range(count):
            assert_same(torrent, swarm.folder / f"target-{index}")

    return cell


def two_large_pieces(swarm: Swarm) -> Torrent:
    """A torrent of which no peer completes a piece while peers find each other."""
    return swarm.torrent(8 * MIB, 4 * MIB)


def slow_seed(swarm: Swarm, torrent: Torrent, *more: str) -> LibtorrentPeer:
    """The peer that is to be heard of. It is too slow to give anybody a piece until its limit is lifted."""
    arguments = [str(torrent.file), str(torrent.content.parent), "--seed", "--upload-limit", str(16 * KIB), *more]
    peer = LibtorrentPeer(arguments, swarm.host())
    swarm.running.callback(peer.close)
    return peer


def pex_get(swarm: Swarm) -> None:
    if not swarm.kind.sends_pex:
        pytest.skip(f"{swarm.kind.name} sends no PEX messages")
    swarm.hears_of_peers()
    torrent, tracker = two_large_pieces(swarm), swarm.tracker()
    tracked = replace(torrent, file=torrent.file.with_name("tracked.torrent"))
    metainfo = libtorrent.bdecode(torrent.file.read_bytes())
    tracked.file.write_bytes(libtorrent.bencode({**metainfo, b"announce": tracker.urls["http"].encode()}))
    third = slow_seed(swarm, tracked, "--trackers")
    tracker.wait_for_seeders(1)
    swarm.theirs.add(tracked, swarm.folder / "teller")
    third.wait_until(lambda status: status["interested"] == 1)

    swarm.ours.add(torrent, swarm.target, [swarm.theirs.address])
    wait_for(lambda: third.status()["peers"] == 2, PEX_LIMIT, f"{swarm.kind.name} tells us of a third peer")
    third.limit_uploads(None)
    swarm.ours.wait(LIMIT)

    assert_same(torrent, swarm.target)


def pex_give(swarm: Swarm) -> None:
    swarm.hears_of_peers()
    torrent = two_large_pieces(swarm)
    third = slow_seed(swarm, torrent)
    if swarm.kind.dials:
        swarm.ours.add(torrent, swarm.folder / "ours", [third.address])
        third.wait_until(lambda status: status["interested"] == 1)
        swarm.theirs.add(torrent, swarm.target, [swarm.ours.address])
    else:
        # aria2 dials a peer that it heard of when a tracker answers, or when it has been short of peers for a while.
        swarm.theirs.add(torrent, swarm.target)
        swarm.ours.add(torrent, swarm.folder / "ours", [third.address, swarm.theirs.address])
    wait_for(lambda: third.status()["peers"] == 2, PEX_LIMIT, f"we tell {swarm.kind.name} of a third peer")
    third.limit_uploads(None)
    swarm.theirs.wait(LIMIT)

    assert_same(torrent, swarm.target)


def through_dht(swarm: Swarm, seed: Client, downloader: Client) -> None:
    swarm.hears_of_peers()
    torrent, nodes = swarm.torrent(), swarm.dht()
    seed.seed(torrent)
    info_hash = torrent.info_hash.hex()
    wait_for(lambda: nodes.peers(DHT_NODES - 1, info_hash) != [], DHT_LIMIT, f"{seed.name} is in the DHT", seed.log)

    downloader.add(torrent.link(), swarm.target)
    downloader.wait(DHT_LIMIT)

    assert_same(torrent, swarm.target)


def dht_get(swarm: Swarm) -> None:
    if swarm.kind.no_dht_announce is not None:
        pytest.skip(swarm.kind.no_dht_announce)
    through_dht(swarm, swarm.theirs, swarm.ours)


def dht_give(swarm: Swarm) -> None:
    if swarm.kind.no_dht_peers is not None:
        pytest.skip(swarm.kind.no_dht_peers)
    through_dht(swarm, swarm.ours, swarm.theirs)


def web_seed(swarm: Swarm) -> None:
    """The other client downloads from the web seed that `piecewise create` named."""
    if swarm.kind.no_web_seeds is not None:
        pytest.skip(swarm.kind.no_web_seeds)
    torrent = swarm.torrent()
    # WebTorrent does not add the name to the URL of a folder, as BEP 19 says.
    url = serve(torrent.content.parent, swarm.running, swarm.host()) + torrent.name
    arguments = ["create", str(torrent.content), "-o", str(swarm.folder / "web.torrent"), "--piece-length", "64KiB"]
    created = Piecewise([*arguments, "--web-seed", url], swarm.folder / "creator")
    swarm.running.callback(created.close)
    assert created.exit_code() == 0, created.errors
    made = replace(torrent, file=swarm.folder / "web.torrent")

    swarm.theirs.add(made, swarm.target)
    swarm.theirs.wait(LIMIT)

    assert_same(made, swarm.target)


CELLS: dict[str, Callable[[Swarm], None]] = {
    "get": get,
    "give": give,
    "require get": encrypted("require", get),
    "require give": encrypted("require", give),
    "prefer get": encrypted("prefer", get),
    "prefer give": encrypted("prefer", give),
    "halves": halves,
    "magnet get": magnet_get,
    "magnet give": magnet_give,
    "select get": select_get,
    "select give": select_give,
    "private get": private_get,
    "private give": private_give,
    "super 1": super_seed(1),
    "super 2": super_seed(2),
    "super 3": super_seed(3),
    "tiers get": tiers_get,
    "tiers give": tiers_give,
    "DHT get": dht_get,
    "DHT give": dht_give,
    "web seed": web_seed,
    "PEX get": pex_get,
    "PEX give": pex_give,
}
