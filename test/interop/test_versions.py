"""BitTorrent version 2 (BEP 52): a hybrid torrent is used as version 1, and a version 2 torrent is refused."""

from __future__ import annotations

import libtorrent
import pytest
from torrents import HYBRID, KIB, MIB, V2, Torrent, assert_same, make_torrent, write_file


@pytest.fixture(params=["a file", "files"])
def hybrid(source, request) -> Torrent:
    if request.param == "a file":
        return make_torrent(write_file(source / "one.bin", MIB + 1, 1), 32 * KIB, version=HYBRID)
    for index, size in enumerate([70_001, 0, 32 * KIB, 1, 300_000]):
        write_file(source / "album" / f"{index}.bin", size, index)
    torrent = make_torrent(source / "album", 32 * KIB, version=HYBRID)
    assert b"4:attr1:p" in torrent.file.read_bytes(), "its files must be padded to whole pieces"
    return torrent


@pytest.fixture
def hybrid_link(hybrid) -> str:
    """A magnet link with both info hashes."""
    link = libtorrent.make_magnet_uri(libtorrent.load_torrent_file(str(hybrid.file)))
    assert "urn:btih:" in link and "urn:btmh:" in link
    return link


def test_libtorrent_gives_us_a_hybrid(hybrid, target, seed, download):
    program = download(hybrid, seed(hybrid).address)
    program.finish()

    assert_same(hybrid, target)
    [started] = [event for event in program.events if event["_tag"] == "Torrent"]
    assert started["infoHash"] == hybrid.info_hash.hex()


def test_we_give_libtorrent_a_hybrid(hybrid, target, give, leech):
    leech(hybrid, target, give(hybrid).address).wait_until_complete()

    assert_same(hybrid, target)


def test_we_start_from_a_link_to_a_hybrid(hybrid, hybrid_link, target, seed, piecewise):
    piecewise("download", hybrid_link, "-o", target, "--peer", seed(hybrid).address, "--json").finish()

    assert_same(hybrid, target)


def test_libtorrent_starts_from_a_link_to_a_hybrid(hybrid, hybrid_link, target, give, leech):
    leech(hybrid_link, target, give(hybrid).address).wait_until_complete()

    assert_same(hybrid, target)


@pytest.mark.parametrize("command", ["download", "seed"])
def test_a_torrent_of_version_2_alone_is_refused(source, target, piecewise, command):
    torrent = make_torrent(write_file(source / "one.bin", MIB + 1, 2), 32 * KIB, version=V2)

    program = piecewise(command, torrent.file, *(["-o", target] if command == "download" else [torrent.content]))

    assert program.exit_code() == 1
    assert program.errors == (
        f"piecewise: {torrent.file}: "
        "this is a torrent of version 2 alone (BEP 52): it has no `pieces`, the hashes of version 1\n"
    )
    assert not target.exists()
