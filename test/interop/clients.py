"""The clients of the interop matrix: one driver each, all with the interface of `Client`.

None is told of, or looks for, a peer except as the test says: local discovery, port mapping and uTP are off, and the DHT
is off without `Client.router`.
Connections are encrypted as `Client.encryption` says.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
import xmlrpc.client
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import libtorrent
from aria2 import Aria2
from processes import HERE, NODE, ROOT, LibtorrentPeer, LineProcess, Piecewise
from torrents import Torrent

READY = 20.0
"""Seconds in which a client must start and check what it has."""


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_for(reached: Callable[[], bool], seconds: float, what: str, log: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{log()}"
        time.sleep(0.05)


class Client(ABC):
    """A client that gets one torrent. `home` is a folder of its own, and `host` the address that it listens at."""

    name: ClassVar[str]
    program: ClassVar[str]
    """The file that must be installed."""
    how_to_install: ClassVar[str] = "scripts/python.ts installs it"
    dials: ClassVar[bool] = True
    """Whether it can be told the address of a peer."""
    dials_loopback: ClassVar[bool] = True
    """Whether it connects to addresses in 127.0.0.0/8 that it heard of."""
    sends_pex: ClassVar[bool] = True
    encrypts: ClassVar[bool] = True
    """Whether it has Message Stream Encryption."""

    no_dht_peers: ClassVar[str | None] = None
    """Why it dials nobody that it finds in the DHT."""
    no_dht_announce: ClassVar[str | None] = None
    """Why nobody finds it in the DHT."""
    no_web_seeds: ClassVar[str | None] = None
    """Why it cannot download from a web seed."""

    router: str | None = None
    """A node of the DHT that it asks first; without it the DHT is off."""

    encryption: str | None = None
    """`require`: it accepts and makes only encrypted connections, with RC4; `prefer`: it prefers them, and accepts
    others; `None`: as the client does by default, except for libtorrent, for which encryption is off then."""

    address: str
    """Where it listens, as `HOST:PORT`; known once it has a torrent."""

    def __init__(self, home: Path, host: str) -> None:
        home.mkdir(parents=True)
        self.home = home
        self.host = host
        self.stack = ExitStack()

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which(cls.program) is not None

    @abstractmethod
    def add(
        self, what: Torrent | str, folder: Path, peers: Iterable[str] = (), files: Iterable[int] | None = None
    ) -> None:
        """Starts with a torrent or magnet link. It uses what `folder` has of it, and downloads what is missing."""

    @abstractmethod
    def is_complete(self) -> bool:
        """Whether it has every file that it wants."""

    def seed(self, torrent: Torrent) -> None:
        """Serves the content, which it verifies first."""
        self.add(torrent, torrent.content.parent)
        self.wait(READY)

    def wait(self, seconds: float) -> None:
        """Waits until it is complete."""
        wait_for(self.is_complete, seconds, f"{self.name} completes", self.log)

    def log(self) -> str:
        file = self.home / "log"
        return file.read_text(errors="replace")[-2_000:] if file.exists() else ""

    def run(self, command: list[str], **env: str) -> None:
        """Starts its process, with its output in `home/log`."""
        with (self.home / "log").open("w") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **env}
            )
        self.has_quit = lambda: process.poll() is not None

        def end() -> None:
            process.kill()
            process.wait()

        self.stack.callback(end)

    def close(self) -> None:
        self.stack.close()


def options(name: str, values: Iterable[object]) -> list[str]:
    """An option once for each of its values."""
    return [part for value in values for part in (name, str(value))]


class Ours(Client):
    """piecewise, by its command line."""

    name = "piecewise"
    program = str(NODE)

    def add(self, what, folder, peers=(), files=None, more: Iterable[str] = ()) -> None:
        glob = [] if files is None else [what.file_names[index] for index in files]
        source = what if isinstance(what, str) else str(what.file)
        # `--overwrite` keeps the pieces of a file that match, and downloads the others.
        arguments = ["download", source, "-o", str(folder), "--seed", "--overwrite", *options("--select", glob)]
        self._start(arguments, peers, more)

    def seed(self, torrent, peers=(), more: Iterable[str] = ()) -> None:
        self._start(["seed", str(torrent.file), str(torrent.content)], peers, more)
        self.wait(READY)

    def _start(self, arguments: list[str], peers: Iterable[str], more: Iterable[str]) -> None:
        port = free_port(self.host)
        self.address = f"{self.host}:{port}"
        all_of_them = [*arguments, "--port", str(port), "--bind", self.host]
        if self.encryption is not None:
            all_of_them += ["--encryption", self.encryption]
        if self.router is None:
            all_of_them.append("--no-dht")
        all_of_them += [*options("--peer", peers), "--json", *more]
        env = {"PIECEWISE_DHT_ROUTERS": self.router or "none"}
        self.process = Piecewise(all_of_them, self.home / "home", env=env)
        self.stack.callback(self.process.close)

    def is_complete(self) -> bool:
        process = self.process
        while process.has_line():
            assert process.next_event() is not None, f"{process.describe()} ended: {process.errors}"
        return any(event["_tag"] == "Completed" for event in process.events)

    def log(self) -> str:
        return "\n".join(json.dumps(event) for event in self.process.events[-12:])


class Libtorrent(Client):
    name = "libtorrent"
    program = "python3"

    def add(self, what, folder, peers=(), files=None, more: Iterable[str] = ()) -> None:
        arguments = [what if isinstance(what, str) else str(what.file), str(folder), "--trackers"]
        arguments += [*options("--peer", peers), *options("--file", files or ()), *more]
        if self.router is not None:
            arguments += ["--dht", self.router]
        if self.encryption is not None:
            forced = ["--encryption", "forced", "--level", "rc4"]
            arguments += forced if self.encryption == "require" else ["--encryption", "enabled", "--prefer-rc4"]
        self.peer = LibtorrentPeer(arguments, self.host)
        self.stack.callback(self.peer.close)
        self.address = self.peer.address

    def is_complete(self) -> bool:
        return bool(self.peer.status()["complete"])

    def log(self) -> str:
        return f"{self.peer.status()}"


class HttpClient(Client):
    """A client with an HTTP interface at `url`."""

    url: str

    def request(self, path: str, data: bytes | None = None, **headers: str) -> bytes:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=20) as answer:
            return answer.read()

    def wait_until_up(self, path: str = "/") -> None:
        def is_up() -> bool:
            try:
                self.request(path)
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        wait_for(is_up, READY, f"{self.name} starts", super().log)


class QBittorrent(HttpClient):
    name = "qBittorrent"
    program = "qbittorrent-nox"
    how_to_install = "apt-get install qbittorrent-nox"

    def add(self, what, folder, peers=(), files=None) -> None:
        port, web = free_port(self.host), free_port("127.0.0.1")
        self.address, self.url = f"{self.host}:{port}", f"http://127.0.0.1:{web}/api/v2"
        config = self.home / "qBittorrent" / "config" / "qBittorrent.conf"
        config.parent.mkdir(parents=True)
        session = {
            "Port": port, "Interface": "lo", "InterfaceName": "lo", "InterfaceAddress": self.host, "BTProtocol": "TCP",
            "DHTEnabled": "false" if self.router is None else "true", "LSDEnabled": "false", "PeXEnabled": "true", "MultiConnectionsPerIp": "true",
            "QueueingSystemEnabled": "false", "SSRFMitigation": "false", "AsyncIOThreadsCount": 2,
            "Encryption": 1 if self.encryption == "require" else 0,
        }  # fmt: skip
        config.write_text(
            "[LegalNotice]\nAccepted=true\n[BitTorrent]\n"
            + "".join(f"Session\\{key}={value}\n" for key, value in session.items())
            + "[Network]\nPortForwardingEnabled=false\n"
            + f"[Preferences]\nWebUI\\Port={web}\nWebUI\\Address=127.0.0.1\nWebUI\\LocalHostAuth=false\n"
            + "WebUI\\CSRFProtection=false\nConnection\\ResolvePeerCountries=false\n"
        )
        self.run(["qbittorrent-nox", f"--profile={self.home}"], HOME=str(self.home))
        self.wait_until_up("/app/version")
        if self.router is not None:
            self._join()
        fields = {"savepath": str(folder), "paused": "true" if files is not None else "false", "root_folder": "true"}
        if isinstance(what, str):
            self._post("add", {**fields, "urls": what})
        else:
            self._post("add", fields, what.file.read_bytes())
        wait_for(lambda: self._status() is not None, READY, "qBittorrent adds a torrent")
        self.hash = self._status()["hash"]
        if files is not None:
            others = [index for index in range(len(what.file_names)) if index not in files]
            wait_for(lambda: len(json.loads(self.request(f"/torrents/files?hash={self.hash}"))) > 0, READY, "files")
            self._call("filePrio", id="|".join(map(str, others)), priority="0")
            self._call("resume")
        if peers := list(peers):
            wait_for(lambda: not self._status()["state"].startswith("checking"), READY, "qBittorrent checks")
            self._call("addPeers", peers="|".join(peers))

    def _join(self) -> None:
        """Has it know the router, by a torrent that names it: version 4.5 has no setting for that."""
        host, port = self.router.split(":")
        info = {b"name": b"nodes", b"length": 1, b"piece length": 16_384, b"pieces": bytes(20)}
        nodes = libtorrent.bencode({b"info": info, b"nodes": [[host.encode(), int(port)]]})
        self._post("add", {"savepath": str(self.home / "nodes")}, nodes)
        wait_for(lambda: self._status() is not None, READY, "qBittorrent adds a torrent that names a node")
        known = lambda: json.loads(self.request("/transfer/info"))["dht_nodes"]
        wait_for(lambda: known() > 0, READY, "qBittorrent knows a node", lambda: f"{known()} {super(QBittorrent, self).log()}")
        self.hash = self._status()["hash"]
        self._call("delete", deleteFiles="true")
        wait_for(lambda: self._status() is None, READY, "qBittorrent removes a torrent")

    def _call(self, name: str, **parameters: str) -> None:
        query = {"hashes": self.hash, "hash": self.hash, **parameters}
        self.request(f"/torrents/{name}", urllib.parse.urlencode(query).encode())

    def _post(self, name: str, fields: dict[str, str], torrent: bytes | None = None) -> None:
        border = uuid.uuid4().hex
        parts = [f'name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
        if torrent is not None:
            kind = b"Content-Type: application/x-bittorrent"
            parts.append(b'name="torrents"; filename="a.torrent"\r\n' + kind + b"\r\n\r\n" + torrent)
        head = f"--{border}\r\nContent-Disposition: form-data; ".encode()
        body = b"".join(head + part + b"\r\n" for part in parts) + f"--{border}--\r\n".encode()
        self.request(f"/torrents/{name}", body, Content_Type=f"multipart/form-data; boundary={border}")

    def _status(self) -> dict | None:
        found = json.loads(self.request("/torrents/info"))
        return found[0] if found else None

    def is_complete(self) -> bool:
        status = self._status()
        # `size` is that of the wanted files, and 0 until a magnet link has its metadata.
        return status["amount_left"] == 0 and status["size"] > 0 and status["state"] in ("uploading", "stalledUP")

    def log(self) -> str:
        return f"{self._status()}"


class Transmission(HttpClient):
    name = "Transmission"
    program = "transmission-daemon"
    how_to_install = "apt-get install transmission-daemon"
    dials = False
    dials_loopback = False

    def add(self, what, folder, peers=(), files=None) -> None:
        port, web = free_port(self.host), free_port("127.0.0.1")
        self.address, self.url = f"{self.host}:{port}", f"http://127.0.0.1:{web}"
        self.session = ""
        settings = {
            "bind-address-ipv4": self.host, "peer-port": port, "port-forwarding-enabled": False,
            "dht-enabled": self.router is not None,
            "lpd-enabled": False, "utp-enabled": False, "pex-enabled": True, "rpc-port": web, "rpc-enabled": True,
            "rpc-bind-address": "127.0.0.1", "rpc-whitelist-enabled": False, "rpc-authentication-required": False,
            "encryption": 2 if self.encryption == "require" else 1,
        }  # fmt: skip
        if self.router is not None:
            (self.home / "dht.bootstrap").write_text(f"{self.router.replace(':', ' ')}\n")
        (self.home / "settings.json").write_text(json.dumps(settings))
        self.run(["transmission-daemon", "--foreground", "--config-dir", str(self.home), "--log-debug"])
        self.wait_until_up()
        arguments: dict[str, object] = {"download-dir": str(folder)}
        if isinstance(what, str):
            arguments["filename"] = what
        else:
            arguments["metainfo"] = base64.b64encode(what.file.read_bytes()).decode()
        if files is not None:
            arguments["files-unwanted"] = [index for index in range(len(what.file_names)) if index not in files]
        self._call("torrent-add", **arguments)

    def _call(self, method: str, **arguments: object) -> dict:
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        try:
            answer = json.loads(self.request("/transmission/rpc", body, X_Transmission_Session_Id=self.session))
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            self.session = error.headers["X-Transmission-Session-Id"]
            return self._call(method, **arguments)
        assert answer["result"] == "success", answer
        return answer["arguments"]

    def is_complete(self) -> bool:
        fields = ["leftUntilDone", "status", "metadataPercentComplete", "sizeWhenDone"]
        [torrent] = self._call("torrent-get", fields=fields)["torrents"]
        # 4 is downloading and 6 is seeding; the others are stopped or checking.
        return torrent["leftUntilDone"] == 0 and torrent["sizeWhenDone"] > 0 and torrent["status"] == 6


PREFERRED = "allow_incoming,try_outgoing,enable_retry"
"""rTorrent's way to prefer encryption."""


class RTorrent(Client):
    name = "rTorrent"
    program = "rtorrent"
    how_to_install = "apt-get install rtorrent"
    no_dht_peers = "rTorrent 0.9.8 reads `6:` before a peer in a DHT answer as its address, and dials 54.58.0.0/16"
    no_web_seeds = "rTorrent 0.9.8 has no web seeds"

    def add(self, what, folder, peers=(), files=None) -> None:
        port = free_port(self.host)
        self.address = f"{self.host}:{port}"
        # Short, because the path of a socket is limited to 108 bytes.
        self.socket = f"/tmp/rtorrent-{uuid.uuid4().hex[:12]}"
        self.stack.callback(lambda: Path(self.socket).unlink(missing_ok=True))
        session = self.home / "session"
        session.mkdir()
        folder.mkdir(parents=True, exist_ok=True)
        # It refuses a torrent without trackers if its DHT is disabled. One that is off is there, and sends nothing.
        settings = {
            "network.bind_address": self.host, "network.port_range": f"{port}-{port}", "network.port_random": "no",
            "session.path": session, "directory.default": folder, "protocol.pex": "yes", "dht.mode": "off",
            "protocol.encryption": "require,require_RC4" if self.encryption == "require" else PREFERRED,
        }  # fmt: skip
        if self.router is not None:
            settings |= {"dht.mode": "on", "dht.port": port}
        rc = self.home / "rc"
        rc.write_text(
            "system.daemon.set=true\n"
            + "".join(f"{key}.set={value}\n" for key, value in settings.items())
            + f"network.scgi.open_local={self.socket}\n"
        )
        self.run(["rtorrent", "-n", "-o", f"import={rc}"], HOME=str(self.home), TERM="xterm")
        wait_for(self._is_up, READY, "rTorrent starts", self.log)
        if self.router is not None:
            self._call("dht.add_node", "", self.router)
            # A lookup before would find nobody, and the next one is much later.
            wait_for(lambda: self._call("dht.statistics")["nodes"] > 0, READY, "rTorrent knows a node", self.log)
        source = what if isinstance(what, str) else str(what.file)
        self._call("load.start" if files is None else "load.normal", "", source)
        wait_for(lambda: len(self._call("download_list")) > 0, READY, "rTorrent adds a torrent")
        [self.hash] = self._call("download_list")
        if files is not None:
            for index in range(len(what.file_names)):
                self._call("f.priority.set", f"{self.hash}:f{index}", 1 if index in files else 0)
            self._call("d.update_priorities", self.hash)
            self._call("d.start", self.hash)
        wait_for(lambda: self._call("d.is_active", self.hash) == 1, READY, "rTorrent starts a torrent")
        for peer in peers:
            self._call("add_peer", self.hash, peer)
        self.files = files

    def _is_up(self) -> bool:
        try:
            return self._call("system.pid") is not None
        except OSError:
            return False

    def _call(self, method: str, *parameters: object) -> object:
        body = xmlrpc.client.dumps(parameters, method).encode()
        head = b"CONTENT_LENGTH\0%d\0SCGI\0001\0" % len(body)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(READY)
            connection.connect(self.socket)
            connection.sendall(b"%d:%s,%s" % (len(head), head, body))
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        return xmlrpc.client.loads(answer.split(b"\r\n\r\n", 1)[1])[0][0]

    def is_complete(self) -> bool:
        # A magnet link is a torrent of its own until its metadata has arrived.
        if self._call("d.is_meta", self.hash) == 1:
            return False
        if self.files is not None:
            return all(
                self._call("f.completed_chunks", file) == self._call("f.size_chunks", file)
                for file in (f"{self.hash}:f{index}" for index in self.files)
            )
        return self._call("d.complete", self.hash) == 1 and self._call("d.hashing", self.hash) == 0

    def log(self) -> str:
        if not hasattr(self, "hash"):
            return super().log()
        names = ("d.message", "d.complete", "d.completed_bytes", "d.peers_connected", "d.is_active", "d.hashing")
        return ", ".join(f"{name} {self._call(name, self.hash)}" for name in names)


class Aria2Client(Client):
    name = "aria2"
    program = "aria2c"
    how_to_install = "apt-get install aria2"
    dials = False

    def add(self, what, folder, peers=(), files=None, more: Iterable[str] = ()) -> None:
        web = free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{web}/jsonrpc"
        chosen = [] if files is None else [f"--select-file={','.join(str(index + 1) for index in files)}"]
        own = [*chosen, "--seed-ratio=0", "--check-integrity", "--allow-overwrite", "--file-allocation=none"]
        own += ["--enable-rpc", f"--rpc-listen-port={web}", "--bt-tracker-interval=2", f"--interface={self.host}"]
        if self.encryption == "require":
            own += ["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]
        if self.router is not None:
            own.append(f"--dht-entry-point={self.router}")
        own += ["--bt-save-metadata=false", *more]
        what = what if isinstance(what, str) else str(what.file)
        self.peer = Aria2([*own, f"--dir={folder}", what], self.home)
        self.stack.callback(self.peer.close)
        self.address = f"{self.host}:{self.peer.address.rpartition(':')[2]}"

    def _call(self, method: str, *parameters: object) -> object:
        body = json.dumps({"jsonrpc": "2.0", "id": "1", "method": f"aria2.{method}", "params": parameters}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, body), timeout=20) as answer:
            return json.loads(answer.read())["result"]

    def is_complete(self) -> bool:
        # The metadata of a magnet link is a download of its own, which is no longer active afterwards.
        found = self._call("tellActive", ["seeder", "verifyIntegrityPending"])
        assert isinstance(found, list)
        return any(download.get("seeder") == "true" and "verifyIntegrityPending" not in download for download in found)

    def log(self) -> str:
        return f"{self._call('tellActive')}"


WEBTORRENT = Path(os.environ.get("PIECEWISE_WEBTORRENT", ROOT / ".cache" / "webtorrent"))


class WebTorrent(Client):
    name = "WebTorrent"
    program = "node"
    how_to_install = "scripts/webtorrent.ts installs it"
    # Its `lib/torrent.js` reads the messages of `ut_pex`, but never starts to send any.
    sends_pex = False

    @classmethod
    def is_installed(cls) -> bool:
        return (WEBTORRENT / "node_modules" / "webtorrent").exists()

    def add(self, what, folder, peers=(), files=None) -> None:
        source = what if isinstance(what, str) else str(what.file)
        arguments = {"torrent": source, "folder": str(folder), "peers": list(peers), "files": files and list(files)}
        arguments["router"] = self.router
        # 1 is its default: encrypted handshakes, and what the peer allows afterwards.
        arguments["secure"] = {None: 0, "prefer": 1, "require": 2}[self.encryption]
        self.peer = LineProcess([str(NODE), str(HERE / "webtorrent_peer.mjs"), str(WEBTORRENT), json.dumps(arguments)])
        self.stack.callback(self.peer.close)
        self.address = f"{self.host}:{self._next()['port']}"

    def _next(self) -> dict:
        line = self.peer.next_line()
        assert line is not None, f"WebTorrent ended: {self.peer.errors}"
        return json.loads(line)

    def _status(self) -> dict:
        self.peer.send_line()
        return self._next()

    def is_complete(self) -> bool:
        return self._status()["complete"]

    def log(self) -> str:
        return f"{self._status()}\n{self.peer.errors}"


class Rqbit(HttpClient):
    name = "rqbit"
    program = "rqbit"
    how_to_install = "cargo install rqbit@9.1.0 --locked"
    encrypts = False
    no_dht_announce = "rqbit 9.1.0 looks up a torrent that it seeds, and never sends announce_peer"
    no_web_seeds = "rqbit has no web seeds"

    def add(self, what, folder, peers=(), files=None) -> None:
        port, web = free_port(self.host), free_port("127.0.0.1")
        self.address, self.url = f"{self.host}:{port}", f"http://127.0.0.1:{web}"
        # It cannot dial from an address of its own, so it must be reachable at each.
        self.run(
            ["rqbit", *self._dht(), "--disable-lsd", "--disable-upnp-port-forward", "--ipv4-only"]
            + ["--http-api-listen-addr", f"127.0.0.1:{web}", "--listen-port", str(port), "--listen-ip", "0.0.0.0"]
            # By default it drops a peer that is silent for ten seconds. BEP 3 allows two minutes between messages.
            + ["--peer-read-write-timeout", "130s"]
            + ["server", "start", "--disable-persistence", str(self.home / "output")],
            RUST_LOG="librqbit=debug", RQBIT_LOG_LEVEL_CONSOLE="debug", HOME=str(self.home),
        )  # fmt: skip
        self.wait_until_up()
        # It puts the files of a torrent into this folder, without one that is named after the torrent.
        own = folder / what.name if not isinstance(what, str) and len(what.file_names) > 1 else folder
        query = {"overwrite": "true", "output_folder": str(own)}
        if peers := list(peers):
            query["initial_peers"] = ",".join(peers)
        if files is not None:
            query["only_files"] = ",".join(map(str, files))
        body = what.encode() if isinstance(what, str) else what.file.read_bytes()
        self.request(f"/torrents?{urllib.parse.urlencode(query)}", body)

    def _dht(self) -> list[str]:
        if self.router is None:
            return ["--disable-dht"]
        return ["--disable-dht-persistence", "--dht-bootstrap-addrs", self.router]

    def is_complete(self) -> bool:
        status = json.loads(self.request("/torrents/0/stats/v1"))
        return bool(status["finished"])


CLIENTS: dict[str, type[Client]] = {
    client.name: client
    for client in (Libtorrent, QBittorrent, Transmission, RTorrent, Aria2Client, WebTorrent, Rqbit, Ours)
}
