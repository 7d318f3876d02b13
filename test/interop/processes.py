"""The programs of a test as child processes. Each has deadlines, and none outlives its test."""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import libtorrent

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NODE = ROOT / "node_modules" / ".bin" / "node"

DEADLINE = 60.0
"""Seconds that any wait may take. Far more than usual, because machines that run tests are busy."""

Event = dict[str, object]


class LineProcess:
    """A child process that writes one JSON object per line to standard output."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self.command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, stream: IO[str]) -> None:
        for line in stream:
            self._errors.append(line)

    @property
    def errors(self) -> str:
        """The standard error of the child so far. Complete once the child has ended."""
        return "".join(self._errors)

    def next_line(self, timeout: float = DEADLINE) -> str | None:
        """The next line of standard output; `None` at its end."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"{self.describe()}: no output for {timeout:.0f} s\n{self.errors}") from None
        if line is None:
            self._lines.put(None)
        return line

    def has_line(self) -> bool:
        """Whether `next_line` would not wait."""
        return not self._lines.empty()

    def send_line(self, text: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def describe(self) -> str:
        return " ".join(self.command[:4])

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Sends SIGKILL, so that the child cannot clean up."""
        self._process.kill()
        self.exit_code()

    def exit_code(self, timeout: float = DEADLINE) -> int:
        """Waits until the child and its output have ended. A negative exit code is a signal."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.describe()} did not end within {timeout:.0f} s\n{self.errors}") from None
        for reader in self._readers:
            reader.join(timeout)
        return code

    def close(self) -> None:
        self.kill()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class LibtorrentPeer(LineProcess):
    """A libtorrent session with one torrent; see `libtorrent_peer.py`."""

    def __init__(self, arguments: list[str], host: str = "127.0.0.1") -> None:
        super().__init__([sys.executable, str(HERE / "libtorrent_peer.py"), *arguments, "--host", host])
        first = self.next_line()
        assert first is not None, f"libtorrent did not start: {self.exit_code()} {self.errors}"
        self.port = int(json.loads(first)["port"])
        self.address = f"{host}:{self.port}"

    def status(self) -> dict[str, int]:
        self.send_line()
        line = self.next_line()
        assert line is not None, self.errors
        return json.loads(line)

    def nodes(self) -> list[str]:
        """The addresses of the nodes of the DHT that it knows."""
        self.send_line("nodes")
        line = self.next_line()
        assert line is not None, self.errors
        return json.loads(line)["nodes"]

    def wait_until(self, reached: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            status = self.status()
            if reached(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"libtorrent stays at {status}")

    def wait_until_complete(self) -> dict[str, int]:
        return self.wait_until(lambda status: bool(status["complete"]))

    def limit_uploads(self, bytes_per_second: int | None) -> None:
        """Limits its uploads from now on; `None` removes the limit."""
        self.send_line(str(bytes_per_second or 0))
        assert self.next_line() is not None, self.errors


class LibtorrentSwarm(LineProcess):
    """Several libtorrent downloaders in one process; see `libtorrent_swarm.py`."""

    def __init__(self, torrent: Path, folder: Path, count: int, peer: str, *options: str) -> None:
        script = str(HERE / "libtorrent_swarm.py")
        super().__init__([sys.executable, script, str(torrent), str(folder), str(count), peer, *options])
        assert self.next_line() is not None, self.errors

    def status(self) -> dict[str, list[int]]:
        """The bytes that each has `received` and `sent`, and whether it is `complete`."""
        self.send_line()
        line = self.next_line()
        assert line is not None, self.errors
        return json.loads(line)

    def watch(self, seconds: float = DEADLINE) -> Iterator[dict[str, list[int]]]:
        """Its status, four times a second, until all are complete."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status()
            yield status
            if all(status["complete"]):
                return
            time.sleep(0.25)
        raise AssertionError(f"the swarm stays at {status}")


class DhtNodes(LineProcess):
    """Nodes of the DHT in one process: `libtorrent_nodes.py`, or `dht_nodes.ts`."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(command)
        first = self.next_line()
        assert first is not None, f"the nodes do not start: {self.exit_code()} {self.errors}"
        self.ready: dict[str, list[str]] = json.loads(first)

    @classmethod
    def of_libtorrent(cls, count: int, *options: str) -> DhtNodes:
        return cls([sys.executable, str(HERE / "libtorrent_nodes.py"), str(count), *options])

    @classmethod
    def of_ours(cls, count: int, router: str) -> DhtNodes:
        return cls([str(NODE), "--conditions=@piecewise/source", str(HERE / "dht_nodes.ts"), str(count), router])

    def _ask(self, *words: object) -> dict[str, list]:
        self.send_line(" ".join(map(str, words)))
        line = self.next_line()
        assert line is not None, self.errors
        return json.loads(line)

    def counts(self) -> list[int]:
        """How many nodes each of them has in its routing table."""
        return self._ask("nodes")["nodes"]

    def announce(self, node: int, info_hash: str, port: int) -> None:
        """One of them announces a peer."""
        self._ask("announce", node, info_hash, port)

    def peers(self, node: int, info_hash: str) -> list[str]:
        """The addresses that one of them finds."""
        return self._ask("peers", node, info_hash)["peers"]


class Tracker(LineProcess):
    """The npm package bittorrent-tracker, started by `tracker.mjs`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__([str(NODE), str(HERE / "tracker.mjs"), host])
        first = self.next_line()
        assert first is not None, f"the tracker did not start: {self.exit_code()} {self.errors}"
        self.urls: dict[str, str] = json.loads(first)
        """The announce URLs by `http` and `udp`."""

    def wait_for_seeders(self, count: int) -> None:
        """Waits until `count` seeders have announced, for any torrent: a test has only one.

        Its answer cannot be looked up by info hash, because this tracker writes the hash as if it were text.
        """
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            with urllib.request.urlopen(self.urls["http"].replace("/announce", "/scrape")) as answer:
                torrents = libtorrent.bdecode(answer.read())[b"files"]
            found = sum(torrent[b"complete"] for torrent in torrents.values())
            if found >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"the tracker knows {found} of {count} seeders")


class WebServer:
    """An HTTP server on loopback. `answers` has by path, without the query, a function that answers, and may be changed
    at any time.
    """

    def __init__(self, answers: dict[str, Callable[[BaseHTTPRequestHandler], None]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.get(self.path.partition("?")[0], lambda handler: handler.send_error(404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)


class Piecewise(LineProcess):
    """The command line of this checkout, or the command in `PIECEWISE_COMMAND`, such as an installed `piecewise`."""

    def __init__(
        self, arguments: list[str], home: Path, descriptors: int | None = None, env: dict[str, str] | None = None
    ) -> None:
        command = shlex.split(os.environ.get("PIECEWISE_COMMAND", ""))
        # A separate home folder, so that no test reads or changes that of the user who runs it.
        home.mkdir(exist_ok=True)
        folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        own = {"HOME": str(home), "PIECEWISE_BIND": "127.0.0.1", **folders}
        program = [*(command or [str(NODE), str(ROOT / "src/node/main.ts")]), *arguments]
        if descriptors is not None:
            # Also the hard limit, to which Node raises its own.
            program = ["sh", "-c", f'ulimit -n {descriptors}; exec "$0" "$@"', *program]
        super().__init__(program, {**os.environ, **own, **(env or {})})
        self.arguments = arguments
        self.events: list[Event] = []

    def describe(self) -> str:
        return f"piecewise {' '.join(self.arguments)}"

    def next_event(self, timeout: float = DEADLINE) -> Event | None:
        """The next event of `--json`; `None` at the end of the output."""
        line = self.next_line(timeout)
        if line is None:
            return None
        event = json.loads(line)
        assert isinstance(event, dict) and isinstance(event.get("_tag"), str), f"not an event: {line}"
        self.events.append(event)
        return event

    def wait_for(self, wanted: Callable[[Event], bool]) -> Event:
        """Reads on to the first event with `wanted(event)`."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            event = self.next_event(max(0.1, deadline - time.monotonic()))
            if event is None:
                raise AssertionError(f"{self.describe()} ended with {self.exit_code()}: {self.errors}")
            if wanted(event):
                return event
        raise AssertionError(f"{self.describe()}: the expected event was not reported\n{self.errors}")

    def wait_for_pieces(self, count: int) -> None:
        """Reads on until `count` pieces have been stored since the program started."""
        while len(self.pieces) < count:
            self.wait_for(lambda event: event["_tag"] == "PieceStored")

    @property
    def pieces(self) -> list[int]:
        """The pieces that were reported as stored in the events read so far."""
        return [int(str(event["piece"])) for event in self.events if event["_tag"] == "PieceStored"]

    @property
    def address(self) -> str:
        """The address at which peers on this machine can connect, after the program has reported its port."""
        [port] = [event["port"] for event in self.events if event["_tag"] == "Listening"]
        return f"127.0.0.1:{port}"

    def drain(self) -> None:
        """Reads the events to the end of the output, within the deadline: a download reports once a second."""
        deadline = time.monotonic() + DEADLINE
        while self.next_event() is not None:
            assert time.monotonic() < deadline, f"{self.describe()} does not end: {self.events[-3:]}\n{self.errors}"

    def finish(self) -> Event:
        """Reads to the end and expects success. Returns the last line, `Ended`."""
        self.drain()
        code = self.exit_code()
        assert code == 0, f"{self.describe()} ended with {code}: {self.errors}"
        assert self.events and self.events[-1]["_tag"] == "Ended", self.events[-3:]
        assert self.events[-1]["exit"] == "success", self.events[-1]
        return self.events[-1]

    def failed(self) -> str:
        """Reads to the end and expects exit code 1. Returns the last sentence."""
        self.drain()
        assert self.exit_code() == 1, f"{self.describe()} ended with {self.exit_code()}: {self.errors}"
        return self.errors.strip().splitlines()[-1]

    def refused(self) -> str:
        """Like `failed`, and expects no other output."""
        last = self.failed()
        assert self.errors.strip() == last, self.errors
        return last

    def interrupt(self) -> None:
        """Sends the signal of Ctrl-C."""
        self.signal(signal.SIGINT)
