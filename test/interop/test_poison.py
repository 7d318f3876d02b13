"""Peers that send wrong bytes are identified and banned, and the right bytes arrive."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from processes import ROOT, Event
from torrents import KIB, MIB, assert_same, make_torrent, write_file

LIES = {
    "every block": lambda piece, block: True,
    "every second block": lambda piece, block: block % 2 == 1,
    "the last block of a piece": lambda piece, block: block == 3,
}


def flip(file: Path, offset: int) -> None:
    """Changes one byte of a file. A second call restores it."""
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte[0] ^ 0x55]))


def waits_for_a_copy(event) -> bool:
    return event["_tag"] == "Progress" and event["status"]["bottleneck"]["_tag"] == "PiecesDamaged"


def bans(event: Event, address: str) -> bool:
    """Whether the event reports that this peer is banned. Liars and honest peers have different hosts."""
    host, _, _ = address.rpartition(":")
    return "ban" in str(event["_tag"]).lower() and host in str(event)


@pytest.mark.parametrize("lies_about", LIES.values(), ids=LIES.keys())
def test_a_liar_beside_an_honest_seeder(source, target, seed, download, lie, lies_about):
    torrent = make_torrent(write_file(source / "one.bin", 3 * MIB + 7, 8), 64 * KIB)
    liar = lie(torrent, lies_about)
    honest = seed(torrent, bytes_per_second=MIB)

    program = download(torrent, liar.address, honest.address)
    program.wait_for(lambda event: bans(event, liar.address))
    greeted = liar.handshakes
    program.finish()

    assert_same(torrent, target)
    assert liar.lies > 0
    assert liar.handshakes == greeted, "a banned peer must not be connected to again"
    assert not any(bans(event, honest.address) for event in program.events), "the honest one was banned"


def test_a_liar_alone_gets_nothing_stored_and_is_not_asked_without_end(source, target, download, lie):
    torrent = make_torrent(write_file(source / "one.bin", MIB, 9), 64 * KIB)
    liar = lie(torrent, lambda piece, block: block == 3)

    program = download(torrent, liar.address)
    program.wait_for(lambda event: event["_tag"] == "PieceDamaged" and event["address"] == liar.address)
    program.wait_for(waits_for_a_copy)
    lies = liar.lies
    time.sleep(3)
    assert liar.lies - lies <= 4, "it must be asked less and less often"
    program.interrupt()
    program.drain()

    assert program.exit_code() == 130, program.errors
    assert liar.honest_blocks > 0 and liar.lies > 0
    assert program.pieces == []
    assert not any(bans(event, liar.address) for event in program.events), "the only source was banned"
    written = b"".join(path.read_bytes() for path in target.rglob("one.bin"))
    assert not any(written), "bytes of a piece that failed reached the disk"


DAEMON = ROOT / "native-host" / "target" / "release" / "piecewise-io-daemon"


@pytest.mark.parametrize("storage", ["filesystem", "io-daemon"])
def test_the_only_seeder_has_a_rotten_byte_until_it_is_mended(source, target, seed, piecewise, storage):
    if storage == "io-daemon" and not DAEMON.exists():
        pytest.skip("the io-daemon is not built")
    content = write_file(source / "one.bin", 100 * 64 * KIB, 10)
    torrent = make_torrent(content, 64 * KIB)
    seeder = seed(torrent, check=True)
    seeder.wait_until_complete()
    flip(content, 7 * 64 * KIB + 1234)

    program = piecewise(
        "download", torrent.file, "-o", target, "--peer", seeder.address, "--storage", storage, "--json"
    )
    told = program.wait_for(lambda event: event["_tag"] == "PieceDamaged")
    assert (told["piece"], told["address"]) == (7, seeder.address)
    waiting = program.wait_for(waits_for_a_copy)
    assert (waiting["status"]["damagedPieces"], waiting["status"]["bannedPeers"]) == ([7], 0)
    assert "the only copies of piece 7 are damaged" in waiting["why"]
    flip(content, 7 * 64 * KIB + 1234)
    program.finish()

    assert_same(torrent, target)
    assert not any(bans(event, seeder.address) for event in program.events)
    assert "piece 7 is damaged" in program.errors
