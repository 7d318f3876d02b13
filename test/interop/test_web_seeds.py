"""Web seeds (BEP 19): from nginx and from Python, alone and beside peers, and torrents with them for libtorrent."""

from __future__ import annotations

import http.server
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import libtorrent
import pytest
from conftest import leave_out
from nginx import free_port, start_nginx
from torrents import KIB, MIB, Torrent, assert_same, info_hash_of, make_torrent, write_file
from web_files import Ranged, serve


class Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own handler of files, without ranges."""

    def log_message(self, *_):
        pass


@pytest.fixture
def python(running: ExitStack, source: Path) -> Callable[..., str]:
    """Serves the folder `source` from Python, with ranges or without. Returns its URL."""
    return lambda handler: serve(source, running, handler=handler)


@pytest.fixture
def nginx(running: ExitStack, tmp_path: Path, source: Path) -> Callable[..., str]:
    """Serves the folder `source` from nginx. Returns its URL."""
    return lambda options="": start_nginx(running, tmp_path / "nginx", source, options)


@pytest.fixture
def create(piecewise, tmp_path: Path) -> Callable[..., Torrent]:
    """Makes a torrent of a path with `piecewise create --web-seed`."""

    def start(content: Path, *urls: str, piece_length: int = 64 * KIB) -> Torrent:
        file = tmp_path / f"{content.name}.torrent"
        seeds = [argument for url in urls for argument in ("--web-seed", url)]
        made = piecewise("create", content, "-o", file, "--piece-length", str(piece_length), *seeds)
        assert made.exit_code() == 0, made.errors
        info = libtorrent.load_torrent_file(str(file))
        assert list(info.url_seeds) == list(urls)
        return Torrent(file, content, info_hash_of(file), piece_length, info.ti.num_pieces())

    return start


def write_folder(source: Path) -> Path:
    """Files of odd sizes and names, and one without bytes."""
    names = ["a # b.bin", "what?.bin", "100%.bin", "sub/žluťoučký.bin", "sub/日本語/файл.bin", "sub/empty", "z+;&.bin"]
    for index, name in enumerate(names):
        write_file(source / "names #1 ?" / name, 0 if name.endswith("empty") else 300_000 + 7 * index, index)
    return source / "names #1 ?"


def test_one_file_from_nginx_alone(source, target, nginx, create, download):
    torrent = create(write_file(source / "one.bin", 20 * MIB + 5, 1), nginx())

    program = download(torrent)
    program.finish()

    assert_same(torrent, target)
    assert sorted(program.pieces) == list(range(torrent.pieces)), "each piece must be reported once"
    assert any(event["_tag"] == "SupplierJoined" for event in program.events)


def test_a_folder_from_nginx_alone(source, target, nginx, create, download):
    torrent = create(write_folder(source), nginx())

    download(torrent).finish()

    assert_same(torrent, target)


def test_nginx_that_compresses_what_it_may(source, target, nginx, create, download):
    torrent = create(write_folder(source), nginx("gzip on; gzip_types *; gzip_min_length 0; gzip_static off;"))

    download(torrent).finish()

    assert_same(torrent, target)


def test_nginx_that_redirects(source, target, nginx, create, download):
    # As the URL was written: `rewrite` would take the question mark in a name for the start of a query.
    url = nginx("""location /moved/ { if ($request_uri ~ "^/moved/(.*)$") { return 302 /$1; } }""")
    torrent = create(write_folder(source), f"{url}moved/")

    download(torrent).finish()

    assert_same(torrent, target)


def test_nginx_over_tls(source, target, nginx, create, download, tmp_path, monkeypatch):
    openssl = shutil.which("openssl")
    if openssl is None:
        leave_out("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    # fmt: off
    subprocess.run([
        openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
    ], check=True, capture_output=True)
    # fmt: on
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(certificate))
    port = free_port()
    nginx(f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};")
    url = f"https://127.0.0.1:{port}/"
    for content in (write_file(source / "one.bin", 20 * MIB + 5, 7), write_folder(source)):
        torrent = create(content, url)

        download(torrent).finish()

        assert_same(torrent, target)


def test_nginx_that_allows_one_connection(source, target, nginx, create, piecewise):
    torrent = create(write_file(source / "one.bin", 6 * MIB, 2), nginx("limit_conn all 1; limit_rate 1m;"))

    program = piecewise("download", torrent.file, "-o", target, "--json")
    program.finish()

    assert_same(torrent, target)


@pytest.mark.parametrize("handler", [Ranged, Plain])
def test_a_file_and_a_folder_from_python_alone(source, target, python, create, download, handler):
    url = python(handler)
    for content in (write_file(source / "one.bin", 5 * MIB + 3, 3), write_folder(source)):
        torrent = create(content, url)

        download(torrent).finish()

        assert_same(torrent, target)


def test_a_web_seed_beside_a_peer(source, target, nginx, create, seed, download):
    torrent = create(write_file(source / "one.bin", 30 * MIB, 4), nginx("limit_rate 5m;"), piece_length=256 * KIB)
    peer = seed(torrent, bytes_per_second=5 * MIB)

    program = download(torrent, peer.address)
    program.finish()

    assert_same(torrent, target)
    uploaded = peer.status()["uploaded"]
    assert 3 * MIB < uploaded < 27 * MIB, "both must have sent a good part"
    *_, last = (event for event in program.events if event["_tag"] == "Progress")
    assert last["status"]["wastedBytes"] < 2 * MIB


def test_a_web_seed_with_another_file_does_no_harm(source, target, nginx, create, seed, download):
    torrent = create(write_file(source / "one.bin", 3 * MIB, 5), f"{nginx()}other/")
    write_file(source / "other" / "one.bin", 3 * MIB, 6)
    peer = seed(torrent, bytes_per_second=2 * MIB)

    program = download(torrent, peer.address)
    program.finish()

    assert_same(torrent, target)
    assert any("wrong bytes" in str(event.get("why")) for event in program.events)


def test_a_web_seed_that_the_user_names(source, target, python, piecewise):
    torrent = make_torrent(write_folder(source), 64 * KIB)

    piecewise("download", torrent.file, "-o", target, "--web-seed", python(Ranged), "--json").finish()

    assert_same(torrent, target)


def test_a_magnet_link_with_a_web_seed(source, target, python, seed, piecewise):
    torrent = make_torrent(write_file(source / "one.bin", 3 * MIB, 6), 64 * KIB)
    peer = seed(torrent, bytes_per_second=50_000)
    link = torrent.link(f"ws={python(Ranged)}")

    piecewise("download", link, "-o", target, "--peer", peer.address, "--json").finish()

    assert_same(torrent, target)


def test_libtorrent_downloads_what_create_made(source, target, nginx, create, leech):
    torrent = create(write_folder(source), nginx())
    target.mkdir()
    peer = leech(torrent, target)

    peer.wait_until_complete()

    assert_same(torrent, target)
