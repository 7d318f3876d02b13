"""Magnet links: the metadata of the torrent comes from its peers."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import libtorrent
import pytest
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, write_file


@pytest.fixture
def torrent(source) -> Torrent:
    """A torrent whose info dict needs two metadata messages: 1,025 digests."""
    return make_torrent(write_file(source / "one.bin", 16 * MIB + 5, 1), 16 * KIB)


def test_from_a_peer_that_the_user_names(torrent, target, seed, piecewise):
    piecewise("download", torrent.link(), "-o", target, "--peer", seed(torrent).address, "--json").finish()

    assert_same(torrent, target)


def test_from_a_peer_that_the_link_names(torrent, target, seed, piecewise):
    program = piecewise("download", torrent.link(f"x.pe={seed(torrent).address}"), "-o", target, "--json")
    program.finish()

    assert_same(torrent, target)
    [metadata, *_] = [event for event in program.events if event["_tag"] == "MetadataProgress"]
    assert metadata["knownPeers"] == 1


def test_from_a_tracker_that_the_link_names(source, target, seed, tracker, piecewise):
    torrent = make_torrent(write_file(source / "two.bin", 3 * MIB, 2), 32 * KIB, [tracker.urls["http"]])
    seed(torrent, trackers=True)
    tracker.wait_for_seeders(1)

    piecewise("download", torrent.link(f"tr={tracker.urls['http']}"), "-o", target, "--json").finish()

    assert_same(torrent, target)


def test_from_aria2(torrent, target, aria2_seed, piecewise):
    piecewise("download", torrent.link(), "-o", target, "--peer", aria2_seed(torrent).address, "--json").finish()

    assert_same(torrent, target)


def test_libtorrent_starts_from_a_link_and_gets_all_from_us(torrent, target, give, leech):
    leech(torrent.link(), target, give(torrent).address).wait_until_complete()

    assert_same(torrent, target)


def test_aria2_starts_from_a_link_and_gets_all_from_us(torrent, target, give, aria2_leech):
    downloader = aria2_leech(torrent.link(), target)

    give(torrent, "--peer", downloader.address)
    downloader.wait_until_complete()

    assert_same(torrent, target)


def sends(body: bytes, encoding: str | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if encoding is not None:
            handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirects(location: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        # Some servers answer no program that hides its name.
        is_known = handler.headers["User-Agent"].startswith("piecewise/")
        handler.send_response(302 if is_known else 403)
        handler.send_header("Location", location)
        handler.end_headers()

    return answer


@pytest.mark.parametrize("key", ["xs", "as"])
def test_from_a_url_that_the_link_names_when_it_names_no_peer(key, source, target, seed, tracker, web, piecewise):
    """The torrent file has the tracker, and only that knows the peer."""
    torrent = make_torrent(write_file(source / "three.bin", 3 * MIB, 3), 32 * KIB, [tracker.urls["http"]])
    seed(torrent, trackers=True)
    tracker.wait_for_seeders(1)
    server = web({"/three.torrent": sends(gzip.compress(torrent.file.read_bytes()), "gzip")})

    piecewise("download", torrent.link(f"{key}={server.url}/three.torrent"), "-o", target, "--json").finish()

    assert_same(torrent, target)


def test_from_a_page_that_redirects_to_a_link(torrent, target, seed, web, piecewise):
    link = torrent.link(f"x.pe={seed(torrent).address}")
    server = web({"/get": redirects(link)})

    piecewise("download", f"{server.url}/get?id=1", "-o", target, "--json").finish()

    assert_same(torrent, target)


LARGE = 20 * MIB
"""More than the 16 MiB that piecewise once accepted, and less than the 30 MiB that libtorrent accepts."""


def large_torrent(content: Path, fields: dict[bytes, object]) -> Torrent:
    """A torrent of one piece and with `fields` in its info dictionary."""
    info = {
        b"name": content.name.encode(),
        b"piece length": 16 * KIB,
        b"pieces": hashlib.sha1(content_of(content).read_bytes()).digest(),
        **fields,
    }
    file = content.parent / f"{content.name}.torrent"
    file.write_bytes(libtorrent.bencode({b"info": info}))
    return Torrent(file, content, hashlib.sha1(libtorrent.bencode(info)).digest(), 16 * KIB, 1)


def content_of(content: Path) -> Path:
    return content / "content" if content.is_dir() else content


def test_large_metadata_of_many_files_from_libtorrent(source, target, seed, piecewise):
    write_file(source / "many" / "content", 16 * KIB, 4)
    empty = [{b"length": 0, b"path": [b"%06d" % index + b"n" * 230]} for index in range(LARGE // 256)]
    files = [{b"length": 16 * KIB, b"path": [b"content"]}, *empty]
    torrent = large_torrent(source / "many", {b"files": files})
    assert torrent.file.stat().st_size > 19 * MIB

    program = piecewise(
        "download", torrent.link(), "-o", target, "--storage", "memory", "--peer", seed(torrent).address, "--json"
    )
    program.finish()

    assert program.pieces == [0]


def test_large_metadata_from_us_to_libtorrent(source, target, give, leech):
    content = write_file(source / "one.bin", 16 * KIB, 5)
    torrent = large_torrent(content, {b"length": 16 * KIB, b"x-more": bytes(LARGE)})

    leech(torrent.link(), target, give(torrent).address).wait_until_complete()

    assert_same(torrent, target)


def test_a_link_that_names_nobody(torrent, target, piecewise):
    program = piecewise("download", torrent.link(), "-o", target, "--no-dht")

    assert program.exit_code() == 1
    assert program.errors == (
        "piecewise: the magnet link names no tracker and no peer; "
        "add a peer with --peer HOST:PORT\n"
    )
    assert not target.exists()


def test_a_link_of_version_2_alone(target, piecewise):
    program = piecewise("download", f"magnet:?xt=urn:btmh:1220{'ab' * 32}&x.pe=127.0.0.1:1", "-o", target)

    assert program.exit_code() == 1
    assert program.errors == (
        "piecewise: the magnet link names a version 2 torrent (BEP 52), which is not supported yet\n"
    )
