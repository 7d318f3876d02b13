"""The client aria2 (https://aria2.github.io) as a child process with one torrent, if it is installed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from processes import LineProcess

IS_INSTALLED = shutil.which("aria2c") is not None

LISTENING = re.compile(r"IPv4 BitTorrent: listening on TCP port (\d+)")


class Aria2(LineProcess):
    """An aria2 that uses only loopback. Its own data is in `home`, apart from the torrent.

    It finds peers through trackers, peer exchange, or incoming connections, because it cannot be given an address.
    It does most things once a second. It asks UDP trackers only if its DHT is on; the DHT knows no node here, so it
    asks nobody.
    """

    def __init__(self, arguments: list[str], home: Path) -> None:
        command = ["aria2c", "--no-conf", "--no-netrc", "--interface=127.0.0.1", "--disable-ipv6"]
        command += ["--bt-enable-lpd=false", "--enable-dht", f"--dht-file-path={home / 'dht.dat'}"]
        command += ["--console-log-level=notice", "--enable-color=false", "--show-console-readout=false"]
        super().__init__([*command, "--summary-interval=0", *arguments])
        self.address = f"127.0.0.1:{self._listening_port()}"

    def describe(self) -> str:
        return " ".join(["aria2c", *self.command[-3:]])

    def _listening_port(self) -> int:
        seen = ""
        while (line := self.next_line()) is not None:
            if found := LISTENING.search(line):
                return int(found[1])
            seen += line
        raise AssertionError(f"{self.describe()} ended with {self.exit_code()}: {seen}{self.errors}")

    def wait_until_complete(self) -> None:
        """Waits for the end of a download that does not seed."""
        code = self.exit_code()
        said = ""
        while (line := self.next_line()) is not None:
            said += line
        assert code == 0, f"{self.describe()} ended with {code}: {said}{self.errors}"
