"""The DHT (BEP 5) on loopback: nodes of libtorrent and ours in one DHT, and magnet links without trackers in it.

Every other client is put into a DHT by the interop matrix, some only in its network namespace.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from processes import DhtNodes
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file

LIBTORRENTS, OURS = 40, 10
"""The DHT of the tests."""


@pytest.fixture
def torrent(source) -> Torrent:
    """A torrent without trackers."""
    return make_torrent(write_file(source / "one.bin", 3 * MIB + 5, 1), 32 * KIB)


@pytest.fixture
def nodes(dht) -> tuple[DhtNodes, DhtNodes]:
    return dht(LIBTORRENTS, OURS)


@pytest.fixture
def router(nodes, monkeypatch) -> str:
    """A node of a DHT of 50 nodes. `piecewise` asks it first."""
    address = nodes[0].ready["addresses"][0]
    monkeypatch.setenv("PIECEWISE_DHT_ROUTERS", address)
    return address


def eventually(ask: Callable[[], list[str]], wanted: str, seconds: float = 30) -> float:
    """Asks each second until the answer has an address. Returns how long that took. Nodes of libtorrent block who asks
    more often than a few times a second.
    """
    began = time.monotonic()
    found: list[str] = []
    while wanted not in found:
        assert time.monotonic() - began < seconds, f"{wanted} is not found, only {found}"
        found = ask()
        if wanted not in found:
            time.sleep(1)
    return time.monotonic() - began


def test_every_node_finds_every_other(nodes):
    theirs, ours = nodes

    assert min(theirs.counts()) >= 8
    assert min(ours.counts()) >= 8


def test_libtorrent_finds_what_we_announce(nodes):
    theirs, ours = nodes
    info_hash = "17" * 20

    ours.announce(3, info_hash, 7_001)

    eventually(lambda: theirs.peers(31, info_hash), "127.0.3.4:7001")
    eventually(lambda: ours.peers(8, info_hash), "127.0.3.4:7001")


def test_we_find_what_libtorrent_announces(nodes):
    theirs, ours = nodes
    info_hash = "a3" * 20

    theirs.announce(20, info_hash, 7_002)

    eventually(lambda: ours.peers(5, info_hash), "127.0.2.21:7002")


def metadata_seconds(program, began: float) -> float:
    """How long after `began` the metadata was there."""
    program.wait_for(lambda event: event["_tag"] == "Torrent")
    return time.monotonic() - began


def test_a_magnet_link_without_trackers_from_libtorrent(torrent, target, seed, router, nodes, piecewise, capsys):
    seeder = seed(torrent, dht=router, host="127.0.5.1")
    eventually(lambda: nodes[1].peers(0, torrent.info_hash.hex()), seeder.address)

    began = time.monotonic()
    program = piecewise("download", torrent.link(), "-o", target, "--json")
    seconds = metadata_seconds(program, began)
    program.finish()

    assert_same(torrent, target)
    with capsys.disabled():
        print(f" metadata after {seconds:.1f} s, with the start of the program", end="")
    assert seconds < 10


def test_a_magnet_link_without_trackers_from_us(torrent, target, give, router, nodes, leech, capsys):
    give(torrent, "--bind", "127.0.5.2", "--port", "7003")
    announced = eventually(lambda: nodes[0].peers(7, torrent.info_hash.hex()), "127.0.5.2:7003")

    began = time.monotonic()
    leech(torrent.link(), target, dht=router).wait_until_complete()
    seconds = time.monotonic() - began

    assert_same(torrent, target)
    with capsys.disabled():
        print(f" announced after {announced:.1f} s, complete after {seconds:.1f} s", end="")


def test_between_two_of_us(torrent, target, give, router, nodes, piecewise):
    give(torrent, "--bind", "127.0.5.3", "--port", "7004")
    eventually(lambda: nodes[0].peers(9, torrent.info_hash.hex()), "127.0.5.3:7004")

    piecewise("download", torrent.link(), "-o", target, "--json").finish()

    assert_same(torrent, target)


def test_a_torrent_file_that_names_a_node_on_this_machine(torrent, target, tmp_path, monkeypatch, piecewise):
    monkeypatch.setenv("PIECEWISE_DHT_ROUTERS", "none")
    file = tmp_path / "named.torrent"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind(("127.0.5.4", 0))
        node.setblocking(False)
        address = f"127.0.5.4:{node.getsockname()[1]}"
        made = piecewise("create", torrent.content, "-o", file, "--piece-length", "32KiB", "--node", address)
        assert made.exit_code() == 0, made.errors

        program = piecewise("download", file, "-o", target, "--json")
        program.wait_for(lambda event: event["_tag"] == "SourceFailed" and event["source"] == "DHT")

        with pytest.raises(BlockingIOError):
            node.recv(1_500)


NOWHERE = "127.0.0.1:9"
"""A router that is not there."""


def test_a_peer_finds_our_node_at_the_number_of_our_tcp_port(torrent, target, give, leech, monkeypatch):
    monkeypatch.setenv("PIECEWISE_DHT_ROUTERS", "none")
    give(torrent, "--bind", "127.0.5.9", "--port", "7009")

    # Our `port` message is all that it hears of a DHT.
    peer = leech(torrent, target, "127.0.5.9:7009", dht=NOWHERE)

    eventually(peer.nodes, "127.0.5.9:7009")


def test_a_peer_finds_our_node_if_the_number_is_taken(torrent, target, give, leech, monkeypatch):
    monkeypatch.setenv("PIECEWISE_DHT_ROUTERS", "none")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.5.10", 7_010))
        give(torrent, "--bind", "127.0.5.10", "--port", "7010")

        peer = leech(torrent, target, "127.0.5.10:7010", dht=NOWHERE)
        deadline = time.monotonic() + 30
        while peer.nodes() == [] and time.monotonic() < deadline:
            time.sleep(1)
        [node] = peer.nodes()

    assert node.startswith("127.0.5.10:")
    assert node != "127.0.5.10:7010"


def test_every_local_address_of_udp_is_announced(torrent, give, router, nodes, monkeypatch):
    ours = ["127.0.5.11", "127.0.5.12"]
    monkeypatch.setenv("PIECEWISE_UDP_BIND", ",".join(ours))

    give(torrent, "--bind", "0.0.0.0", "--port", "7012")

    for host in ours:
        eventually(lambda: nodes[0].peers(8, torrent.info_hash.hex()), f"{host}:7012")


def test_no_dht(torrent, target, router, piecewise):
    program = piecewise("download", torrent.link(), "-o", target, "--no-dht")

    assert program.exit_code() == 1
    assert "names no tracker and no peer" in program.errors


def test_a_private_torrent_is_not_announced(source, target, give, router, nodes):
    torrent = make_torrent(write_file(source / "two.bin", 100 * KIB, 2), 32 * KIB, private=True)

    give(torrent, "--bind", "127.0.5.6", "--port", "7006")
    time.sleep(5)

    assert nodes[0].peers(3, torrent.info_hash.hex()) == []


def test_a_scrape_of_the_dht(torrent, target, give, router, nodes, piecewise):
    give(torrent, "--bind", "127.0.5.7", "--port", "7007")
    eventually(lambda: nodes[0].peers(9, torrent.info_hash.hex()), "127.0.5.7:7007")

    program = piecewise("scrape", torrent.link(), "--json")
    scraped = program.next_event()

    assert scraped is not None and scraped["_tag"] == "Scraped"
    [answer] = scraped["trackers"]
    assert (answer["url"], answer["seeders"], answer["leechers"]) == ("DHT", 1, 0)


def test_doctor_sees_the_nodes(router, piecewise):
    program = piecewise("doctor", "--json")
    diagnosed = program.next_event()

    assert program.exit_code() == 0, program.errors
    assert diagnosed is not None
    checks = {check["name"]: check["state"] for check in diagnosed["checks"]}
    assert (checks["listening"], checks["UDP"], checks["DHT IPv4"]) == ("works", "works", "works")


def test_from_aria2(torrent, target, router, nodes, aria2, piecewise):
    arguments = ["--seed-ratio=0", "--bt-seed-unverified", f"--dht-entry-point={router}"]
    seeder = aria2(torrent, torrent.content.parent, *arguments)
    eventually(lambda: nodes[1].peers(0, torrent.info_hash.hex()), seeder.address)

    piecewise("download", torrent.link(), "-o", target, "--json").finish()

    assert_same(torrent, target)


def test_from_us_to_aria2(torrent, target, give, router, nodes, aria2_leech):
    give(torrent, "--bind", "127.0.5.8", "--port", "7008")
    eventually(lambda: nodes[0].peers(9, torrent.info_hash.hex()), "127.0.5.8:7008")

    aria2_leech(torrent.link(), target, f"--dht-entry-point={router}").wait_until_complete()

    assert_same(torrent, target)
