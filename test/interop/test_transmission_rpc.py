"""Clients of Transmission use a session: `transmission-remote` of Debian, and `transmission-rpc` of PyPI."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TypeVar

import pytest
import requests
import transmission_rpc
from conftest import leave_out
from processes import DEADLINE, Piecewise
from torrents import KIB, MIB, Torrent, assert_same, make_torrent, tree, write_file

A = TypeVar("A")

REMOTE = shutil.which("transmission-remote")


class Service(Piecewise):
    """`piecewise serve` with a folder for downloads, and its token as the password of its clients."""

    def __init__(self, folder: Path, home: Path) -> None:
        state = home / "service"
        super().__init__(["serve", str(folder), "--state", str(state), "--http", "127.0.0.1:0", "--no-dht"], home)
        first = self.next_line()
        found = re.match(r"The service is at http://127\.0\.0\.1:(\d+)/", first or "")
        assert found is not None, f"it does not start: {first} {self.errors}"
        self.port = int(found[1])
        self.token = (state / "token").read_text().strip()
        self.url = f"http://127.0.0.1:{self.port}/transmission/rpc"

    def client(self, password: str) -> transmission_rpc.Client:
        return transmission_rpc.Client(host="127.0.0.1", port=self.port, username="me", password=password)

    def remote(self, *arguments: str) -> str:
        """What `transmission-remote` prints. Expects success."""
        assert REMOTE is not None
        command = [REMOTE, f"127.0.0.1:{self.port}", "--auth", f"me:{self.token}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0 and "Error:" not in done.stdout, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """The error that `transmission-remote` prints."""
        assert REMOTE is not None
        command = [REMOTE, f"127.0.0.1:{self.port}", "--auth", f"me:{self.token}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        found = re.search(r"^Error: (.*)$", done.stdout, re.MULTILINE)
        assert found is not None, f"{command}: {done.stdout} {done.stderr}"
        return found[1]


@pytest.fixture
def service(running, target, tmp_path) -> Service:
    started = Service(target, tmp_path / "home")
    running.callback(started.close)
    return started


@pytest.fixture
def remote(service) -> Service:
    if REMOTE is None:
        leave_out("transmission-remote is not installed: apt-get install transmission-cli")
    return service


@pytest.fixture
def client(service) -> transmission_rpc.Client:
    return service.client(service.token)


@pytest.fixture
def torrent(source, tracker) -> Torrent:
    """Files that pieces span, with a tracker."""
    for index, name in enumerate(["a.bin", "b.bin", "in/c.bin"]):
        write_file(source / "called" / name, 2 * MIB + 11, index)
    return make_torrent(source / "called", 64 * KIB, [tracker.urls["http"]])


@pytest.fixture
def seeded(torrent, tracker, seed) -> Torrent:
    """The torrent, which libtorrent seeds at 4 MiB/s and its tracker knows that."""
    seed(torrent, trackers=True, bytes_per_second=4 * MIB)
    tracker.wait_for_seeders(1)
    return torrent


def wait_until(look: Callable[[], A], reached: Callable[[A], bool]) -> A:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if reached(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not reached: {found}")


def test_remote_downloads_and_shows(seeded, target, remote):
    remote.remote("-a", str(seeded.file))
    peer = re.compile(r"^127\.0\.0\.1 +\S*[Dd]\S* +100\.0 .*libtorrent", re.MULTILINE)
    wait_until(lambda: remote.remote("-t", "1", "-ip"), lambda shown: peer.search(shown) is not None)
    wait_until(lambda: remote.remote("-l"), lambda shown: "100%" in shown)
    listed = remote.remote("-l")
    info = remote.remote("-t", "1", "-i")
    files = remote.remote("-t", seeded.info_hash.hex(), "-if")
    pieces = remote.remote("-t", "all", "-ic")
    trackers = remote.remote("-t", "active", "-it")
    statistics = remote.remote("-st")

    assert_same(seeded, target)
    assert re.search(r"^ +1 +100% +6\.2[0-9] MB +Done +.* (Idle|Seeding) +called$", listed, re.MULTILINE), listed
    assert f"Hash: {seeded.info_hash.hex()}" in info
    assert "Percent Done: 100%" in info and "Date finished:" in info and f"Location: {target}" in info
    assert f"Piece Count: {seeded.pieces}" in info and "Piece Size: 64.00 KiB" in info
    assert "called (3 files):" in files and re.search(r"2: 100% Normal +Yes +2\.10 MB +called/in/c\.bin", files), files
    assert sum(line.count("1") for line in pieces.splitlines()) == seeded.pieces
    assert "Tracker 0: http://127.0.0.1" in trackers and re.search(r"Got a list of \d+ peers", trackers), trackers
    assert re.search(r"Downloaded: +6\.[2-9]", statistics), statistics


def test_remote_chooses_limits_and_removes(seeded, target, remote):
    remote.remote("--start-paused", "-a", str(seeded.file))
    remote.remote("-t", "1", "-G", "0,1", "-ph", "2", "-L", "films,new", "-d", "900", "-U", "-pr", "9", "-sr", "1.5")
    files = remote.remote("-t", "1", "-if")
    info = remote.remote("-t", "1", "-i")
    remote.remote("-t", "1", "-s")
    wait_until(lambda: remote.remote("-t", "1", "-i"), lambda shown: "Percent Done: 100%" in shown)
    part = {name for name in tree(target / "called")}
    remote.remote("-t", "1", "-g", "all")
    remote.remote("-t", "1", "-D")
    wait_until(lambda: remote.remote("-l"), lambda shown: re.search(r" 100% +6\.", shown) is not None)
    assert_same(seeded, target)
    remote.remote("-t", "1", "--move", str(target / "elsewhere"))
    wait_until(lambda: remote.remote("-l"), lambda shown: re.search(r"100%.*(Idle|Seeding)", shown) is not None)
    assert_same(seeded, target / "elsewhere")
    assert remote.refusal("-t", "1", "--find", str(target)).startswith("the files of a torrent can be moved")
    remote.remote("-t", "1", "--move", str(target))
    remote.remote("-t", "1", "-S")
    stopped = remote.remote("-l")
    remote.remote("-t", "1", "-v")
    remote.remote("-t", "1", "-s")
    wait_until(lambda: remote.remote("-l"), lambda shown: re.search(r"100%.*(Idle|Seeding)", shown) is not None)
    remote.remote("-t", "1", "-r")
    kept = tree(target / "called")
    remote.remote("--no-start-paused", "-a", str(seeded.file))
    wait_until(lambda: remote.remote("-l"), lambda shown: "100%" in shown)
    remote.remote("-t", "2", "-rad")

    assert re.search(r"0: +0% Normal +No ", files) and re.search(r"2: +0% High +Yes ", files), files
    assert "Labels: films, new" in info and "Download Limit: 900 kB/s" in info and "Ratio Limit: 1.5" in info
    assert "Peer limit: 9" in info and "Upload Limit: Unlimited" in info
    assert part == {"called/in/c.bin"}
    assert "Stopped" in stopped
    assert len(kept) == 3
    assert not (target / "called").exists()
    assert remote.remote("-l").count("\n") == 2


def test_remote_sets_the_session(remote, target):
    remote.remote("-d", "500", "-u", "200")
    shown = remote.remote("-si")
    remote.remote("-D", "-U")
    lifted = remote.remote("-si")

    assert "Upload speed limit: 200 kB/s (Enabled limit: 200 kB/s" in shown, shown
    assert "Download speed limit: 500 kB/s (Enabled limit: 500 kB/s" in shown, shown
    assert "Download speed limit: Unlimited (Disabled limit: 500 kB/s" in lifted, lifted
    assert f"Download directory: {target}" in shown
    assert remote.refusal("-as") == "alt-speed-enabled cannot be changed here"
    assert remote.refusal("-pt").startswith("whether the port can be reached is not tested")
    assert remote.refusal("--exit") == "the service cannot be ended by clients"
    assert remote.refusal("-a", "/etc/hostname.torrent").startswith("filename can be a magnet link or an http(s) URL")


def test_library_downloads_a_magnet_link_and_a_url(seeded, target, client, tracker, web):
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(seeded.file.read_bytes())

    server = web({"/called.torrent": answer})
    added = client.add_torrent(seeded.link(f"tr={tracker.urls['http']}", "dn=soon"))
    done = wait_until(lambda: client.get_torrent(added.id), lambda found: found.progress == 100 and found.seeding)
    assert_same(seeded, target)
    assert (added.name, done.name, done.hash_string) == ("soon", "called", seeded.info_hash.hex())

    client.remove_torrent(done.hash_string, delete_data=True)
    assert not (target / "called").exists()
    again = client.add_torrent(f"{server.url}/called.torrent", labels=["x"], download_dir=str(target / "other"))
    wait_until(lambda: client.get_torrent(again.id), lambda found: found.progress == 100)
    assert_same(seeded, target / "other")
    with pytest.raises(transmission_rpc.TransmissionError, match="HTTP status 404"):
        client.add_torrent(f"{server.url}/nothing")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_library_reads_every_field(seeded, target, client):
    added = client.add_torrent(seeded.file.read_bytes(), paused=True, files_unwanted=[1], priority_high=[0])
    stopped = client.get_torrent(added.id)
    client.start_torrent(added.id)
    found = wait_until(lambda: client.get_torrent(added.id), lambda now: now.progress == 100 and now.seeding)
    files = found.get_files()
    [tracker_stats] = found.tracker_stats

    missing = {name for name in transmission_rpc.constants.get_torrent_arguments(17) if name not in found.fields}
    assert not missing
    assert stopped.stopped and stopped.progress == 0 and not stopped.is_private
    assert [(file.name, file.selected, file.priority) for file in files] == [
        ("called/a.bin", True, 1),
        ("called/b.bin", False, 0),
        ("called/in/c.bin", True, 0),
    ]
    assert files[0].completed == files[0].size == 2 * MIB + 11
    assert found.total_size == 3 * (2 * MIB + 11) and found.left_until_done == 0
    assert found.piece_count == seeded.pieces and found.piece_size == 64 * KIB
    assert found.download_dir == str(target)
    assert tracker_stats.last_announce_succeeded and tracker_stats.seeder_count >= 1
    assert found.trackers[0].announce == tracker_stats.announce
    assert abs(found.added_date.timestamp() - time.time()) < DEADLINE
    assert found.done_date is not None and found.eta is None and found.error == 0
    # Every property can be read.
    for name in dir(transmission_rpc.Torrent):
        if isinstance(getattr(transmission_rpc.Torrent, name), property):
            getattr(found, name)


def test_library_changes_torrents(seeded, target, client):
    one = client.add_torrent(seeded.file.read_bytes(), paused=True).id
    two = client.add_torrent(f"magnet:?xt=urn:btih:{'1' * 40}", paused=True).id
    three = client.add_torrent(f"magnet:?xt=urn:btih:{'2' * 40}", paused=True).id
    client.change_torrent(one, labels=["a"], download_limit=300, download_limited=True, seed_ratio_mode=2, queue_position=9)
    client.queue_top([three])
    client.queue_down([three])
    changed = client.get_torrent(one)
    client.rename_torrent_path(one, "called/a.bin", "renamed.bin")
    client.rename_torrent_path(one, "called/in", "out")
    names = [file.name for file in client.get_torrent(one).get_files()]
    client.start_torrent_now(one)
    client.change_torrent(one, download_limited=False)
    wait_until(lambda: client.get_torrent(one), lambda found: found.progress == 100 and found.seeding)
    client.verify_torrent(one)
    client.stop_torrent([one, two, three])
    order = {found.id: found.queue_position for found in client.get_torrents(arguments=["id", "queuePosition"])}
    client.remove_torrent([two])
    recent, removed = client.get_recently_active_torrents(["id"])

    assert (changed.labels, changed.download_limit, changed.download_limited) == (["a"], 300, True)
    assert changed.seed_ratio_mode == 2
    assert names == ["called/renamed.bin", "called/b.bin", "called/out/c.bin"]
    assert set(tree(target / "called")) == {"called/renamed.bin", "called/b.bin", "called/out/c.bin"}
    # Started at once, it is the first.
    assert order == {one: 0, two: 1, three: 2}
    assert {found.id for found in recent} == {one, three} and removed == [two]
    for refused in [{"tracker_list": [["udp://a.example:1"]]}, {"bandwidth_priority": 1}, {"group": "x"}]:
        with pytest.raises(transmission_rpc.TransmissionError, match="here"):
            client.change_torrent(one, **refused)
    with pytest.raises(KeyError):
        client.get_torrent(two)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_library_reads_and_sets_the_session(client, target):
    session = client.get_session()
    client.set_session(speed_limit_down=700, speed_limit_down_enabled=True, seed_queue_size=4, seed_queue_enabled=True)
    changed = client.get_session()
    statistics = client.session_stats()

    assert (session.download_dir, session.rpc_version, session.dht_enabled) == (str(target), 17, False)
    assert (changed.speed_limit_down, changed.seed_queue_size, changed.seed_queue_enabled) == (700, 4, True)
    assert statistics.torrent_count == 0 and statistics.cumulative_stats.session_count == 1
    assert client.free_space(target) > 0
    assert client.get_groups() == {}
    for name in dir(transmission_rpc.session.Session):
        if isinstance(getattr(transmission_rpc.session.Session, name), property):
            getattr(session, name)
    for refused in [client.port_test, client.blocklist_update]:
        with pytest.raises(transmission_rpc.TransmissionError):
            refused()


def test_a_client_needs_the_password(service):
    with pytest.raises(transmission_rpc.TransmissionAuthError):
        service.client("wrong")
    nobody = requests.post(service.url, json={"method": "session-get"}, timeout=DEADLINE)

    assert nobody.status_code == 401 and "X-Transmission-Session-Id" not in nobody.headers
    assert nobody.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_request_without_the_id_does_nothing(service):
    """A page of another site can neither set the header nor read the answer."""
    auth = ("me", service.token)
    asked = requests.post(service.url, json={"method": "session-get"}, auth=auth, timeout=DEADLINE)
    foreign = {"Origin": "http://evil.example"}
    preflight = requests.options(service.url, headers=foreign, auth=auth, timeout=DEADLINE)

    assert asked.status_code == 409
    assert len(asked.headers["X-Transmission-Session-Id"]) == 43
    assert preflight.status_code == 403
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


def test_a_request_of_many_megabytes_is_read(service):
    """The longest metainfo takes 64 MiB, and a third more in base64. What is longer is refused."""
    body = b'{"method": "torrent-add", "arguments": {"metainfo": "' + b"A" * (60 * MIB) + b'"}}'
    auth = ("me", service.token)
    name = "X-Transmission-Session-Id"
    header = {name: requests.post(service.url, auth=auth, timeout=DEADLINE).headers[name]}
    read = requests.post(service.url, data=body, headers=header, auth=auth, timeout=DEADLINE)
    long = requests.post(service.url, data=body + b" " * (40 * MIB), headers=header, auth=auth, timeout=DEADLINE)

    assert read.status_code == 200 and "this is not a torrent file" in read.json()["result"]
    assert long.status_code == 413
