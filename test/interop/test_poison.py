"""Peers that send wrong bytes: they are found out and banned, and the right bytes arrive."""

from __future__ import annotations

import pytest
from processes import Event
from torrents import KIB, MIB, assert_same, make_torrent, write_file

LIES = {
    "every block": lambda piece, block: True,
    "every second block": lambda piece, block: block % 2 == 1,
    "the last block of a piece": lambda piece, block: block == 3,
}


def bans(event: Event, address: str) -> bool:
    """Whether the event tells that this peer is banned; liars and honest peers differ in their host."""
    host, _, _ = address.rpartition(":")
    return "ban" in str(event["event"]).lower() and host in str(event)


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
    assert liar.handshakes == greeted, "a banned peer is not talked to again"
    assert not any(bans(event, honest.address) for event in program.events), "the honest one was banned"


def test_a_liar_alone_gets_nothing_stored(source, target, download, lie):
    torrent = make_torrent(write_file(source / "one.bin", MIB, 9), 64 * KIB)
    liar = lie(torrent, lambda piece, block: block == 3)

    program = download(torrent, liar.address)
    program.wait_for(lambda event: bans(event, liar.address))
    program.interrupt()
    program.drain()

    assert program.exit_code() == 130, program.errors
    assert liar.honest_blocks > 0 and liar.lies > 0
    assert program.pieces == []
    written = b"".join(path.read_bytes() for path in target.rglob("one.bin"))
    assert not any(written), "bytes of a piece that failed reached the disk"
