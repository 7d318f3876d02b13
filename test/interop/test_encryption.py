"""Encrypted connections with libtorrent, in all combinations of what both sides allow, and with aria2."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import libtorrent
import pytest
from torrents import KIB, MIB, assert_same, make_torrent, write_file

POLICIES = ("off", "prefer", "require")

THEIRS = {
    "disabled": ("disabled", "both"),
    "enabled": ("enabled", "both"),
    "plaintext": ("forced", "plaintext"),
    "either": ("forced", "both"),
    "rc4": ("forced", "rc4"),
}
"""By name, libtorrent's policy for both directions, and what it allows after the handshake."""


def payload(ours: str, theirs: str) -> str | None:
    """What follows the handshake; `plain` without an encrypted one, and `None` if they do not meet."""
    if theirs == "disabled":
        return None if ours == "require" else "plain"
    if ours == "off":
        return "plain" if theirs == "enabled" else None
    if theirs == "plaintext":
        return None if ours == "require" else "plaintext"
    if ours == "require" or theirs == "rc4":
        return "rc4"
    return "any"


CELLS = [(ours, theirs) for ours in POLICIES for theirs in THEIRS]
MEETING = [cell for cell in CELLS if payload(*cell) is not None]


@pytest.fixture
def torrent(source):
    return make_torrent(write_file(source / "one.bin", MIB + 5, 11), 64 * KIB)


def options(theirs: str) -> dict[str, tuple[str, ...]]:
    policy, level = THEIRS[theirs]
    return {"more": ("--encryption", policy, "--level", level)}


SLOWLY = 512 * KIB
"""Bytes per second of a seed that is watched. Afterwards neither side wants anything more, and both disconnect."""


def assert_payload(peer, expected: str | None) -> None:
    status = peer.wait_until(lambda status: status["peers"] > 0 and status["uploaded"] > 0)
    found = "rc4" if status["rc4"] else "plaintext" if status["plaintext"] else "plain"
    assert expected in ("any", found), status


@pytest.mark.parametrize(("ours", "theirs"), MEETING)
def test_we_dial_and_download(torrent, target, seed, piecewise, ours, theirs):
    peer = seed(torrent, bytes_per_second=SLOWLY, **options(theirs))
    arguments = ["-o", target, "--peer", peer.address, "--encryption", ours, "--json"]
    program = piecewise("download", torrent.file, *arguments)

    assert_payload(peer, payload(ours, theirs))
    program.finish()
    assert_same(torrent, target)


@pytest.mark.parametrize(("ours", "theirs"), MEETING)
def test_we_dial_and_upload(torrent, target, leech, give, ours, theirs):
    peer = leech(torrent, target, **options(theirs))
    give(torrent, "--peer", peer.address, "--encryption", ours)

    peer.wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize(("ours", "theirs"), MEETING)
def test_they_dial_and_download(torrent, target, leech, give, ours, theirs):
    peer = leech(torrent, target, give(torrent, "--encryption", ours).address, **options(theirs))

    peer.wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize(("ours", "theirs"), MEETING)
def test_they_dial_and_upload(torrent, target, seed, piecewise, ours, theirs):
    program = piecewise("download", torrent.file, "-o", target, "--encryption", ours, "--seed", "--json")
    program.wait_for(lambda event: event["_tag"] == "Listening")
    peer = seed(torrent, bytes_per_second=SLOWLY, dials=program.address, **options(theirs))

    assert_payload(peer, payload(ours, theirs))
    program.wait_for(lambda event: event["_tag"] == "Completed")
    assert_same(torrent, target)


SOCKETS_OF_A_DAEMON = ("--network", "io-daemon", "--storage", "io-daemon")
"""The options of a download in which a daemon opens all sockets and files, as for a page."""


@pytest.mark.parametrize(("ours", "theirs"), [("prefer", "plaintext"), ("require", "rc4")])
def test_we_dial_through_the_io_daemon(torrent, target, seed, piecewise, ours, theirs):
    peer = seed(torrent, bytes_per_second=SLOWLY, **options(theirs))
    arguments = ["-o", target, "--peer", peer.address, "--encryption", ours, "--json"]
    program = piecewise("download", torrent.file, *arguments, *SOCKETS_OF_A_DAEMON)

    assert_payload(peer, payload(ours, theirs))
    program.finish()
    assert_same(torrent, target)


@pytest.mark.parametrize(("ours", "theirs"), [("prefer", "plaintext"), ("require", "rc4")])
def test_they_dial_through_the_io_daemon(torrent, target, seed, piecewise, ours, theirs):
    arguments = ["-o", target, "--encryption", ours, "--seed", "--json"]
    program = piecewise("download", torrent.file, *arguments, *SOCKETS_OF_A_DAEMON)
    program.wait_for(lambda event: event["_tag"] == "Listening")
    peer = seed(torrent, bytes_per_second=SLOWLY, dials=program.address, **options(theirs))

    assert_payload(peer, payload(ours, theirs))
    program.wait_for(lambda event: event["_tag"] == "Completed")
    assert_same(torrent, target)


def test_we_upload_through_the_io_daemon(torrent, target, leech, piecewise):
    peer = leech(torrent, target, **options("rc4"))
    arguments = ["-o", torrent.content.parent, "--peer", peer.address, "--encryption", "require", "--seed", "--json"]
    piecewise("download", torrent.file, *arguments, "--network", "io-daemon")

    peer.wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize(
    ("ours", "theirs", "hint"),
    [
        ("off", "rc4", "it may accept only encrypted connections"),
        ("require", "disabled", "it may not encrypt, which is required here"),
    ],
)
def test_we_say_why_we_do_not_meet(torrent, target, seed, piecewise, ours, theirs, hint):
    peer = seed(torrent, **options(theirs))
    arguments = ["-o", target, "--peer", peer.address, "--encryption", ours, "--json"]
    program = piecewise("download", torrent.file, *arguments)

    event = program.wait_for(lambda event: event["_tag"] == "PeerUnreachable")
    hung_up = program.wait_for(lambda event: event["_tag"] == "PeersHungUp")

    assert str(event["why"]).endswith(f"; {hint}"), event
    assert hung_up["encryption"] == ours


class TrackerOfOnePeer:
    """A tracker that sends every client the address of one peer, and whether that peer requires encryption."""

    def __init__(self, web, peer: str | None = None, requires: bool = False) -> None:
        self.told: list[set[str]] = []
        """By announce, the parameters about encryption that are set."""
        self._answer = {b"interval": 60, b"peers": b""}
        if peer is not None:
            self._answer[b"peers"] = bytes([127, 0, 0, 1]) + int(peer.rpartition(":")[2]).to_bytes(2)
            self._answer[b"crypto_flags"] = bytes([requires])
        self.url = web({"/announce": self._announce}).url + "/announce"

    def wait(self) -> set[str]:
        deadline = time.monotonic() + 10
        while not self.told and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.told[0]

    def _announce(self, handler) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        self.told.append({name for name in ("supportcrypto", "requirecrypto") if query.get(name) == ["1"]})
        body = libtorrent.bencode(self._answer)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.mark.parametrize(
    ("ours", "told"),
    [("off", set()), ("prefer", {"supportcrypto"}), ("require", {"supportcrypto", "requirecrypto"})],
)
def test_we_tell_trackers_how_we_encrypt(torrent, target, web, piecewise, ours, told):
    tracker = TrackerOfOnePeer(web)
    tracked = make_torrent(torrent.content, 64 * KIB, [tracker.url])
    piecewise("download", tracked.file, "-o", target, "--encryption", ours, "--json")

    assert tracker.wait() == told


@pytest.mark.parametrize(("theirs", "told"), [("disabled", set()), ("enabled", {"supportcrypto"})])
def test_we_tell_trackers_the_same_as_libtorrent(torrent, web, seed, theirs, told):
    tracker = TrackerOfOnePeer(web)
    seed(make_torrent(torrent.content, 64 * KIB, [tracker.url]), trackers=True, **options(theirs))

    assert tracker.wait() == told


@pytest.mark.parametrize("requires", [False, True])
def test_we_dial_as_the_tracker_says(torrent, target, web, seed, piecewise, requires):
    peer = seed(torrent, bytes_per_second=SLOWLY, **options("enabled"))
    tracker = TrackerOfOnePeer(web, peer.address, requires)
    tracked = make_torrent(torrent.content, 64 * KIB, [tracker.url])
    program = piecewise("download", tracked.file, "-o", target, "--json")

    status = peer.wait_until(lambda status: status["peers"] > 0 and status["uploaded"] > 0)
    program.finish()
    assert (status["rc4"] + status["plaintext"] > 0) == requires, status


@pytest.mark.parametrize("ours", ["prefer", "require"])
def test_aria2_that_requires_rc4_downloads(torrent, target, give, aria2_leech, tracker, ours, source):
    tracked = make_torrent(torrent.content, 64 * KIB, [tracker.urls["http"]])
    give(tracked, "--encryption", ours)
    tracker.wait_for_seeders(1)

    peer = aria2_leech(tracked, target, "--bt-require-crypto=true", "--bt-min-crypto-level=arc4")
    peer.wait_until_complete()

    assert_same(torrent, target)


@pytest.mark.parametrize("ours", ["prefer", "require"])
def test_aria2_that_requires_rc4_uploads(torrent, target, aria2, piecewise, ours):
    required = ["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]
    peer = aria2(torrent, torrent.content.parent, "--seed-ratio=0", "--bt-seed-unverified", *required)

    program = piecewise("download", torrent.file, "-o", target, "--peer", peer.address, "--encryption", ours, "--json")
    program.finish()

    assert_same(torrent, target)
