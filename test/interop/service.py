"""A service that runs, `piecewise serve`, and requests to its API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import requests
from processes import DEADLINE, Piecewise


class Service(Piecewise):
    """`piecewise serve` with a folder for downloads."""

    def __init__(self, folder: Path, home: Path, *options: str) -> None:
        state = home / "service"
        arguments = ["serve", str(folder), "--state", str(state), "--http", "127.0.0.1:0", "--no-dht", *options]
        super().__init__(arguments, home)
        first = self.next_line()
        found = re.match(r"The service is at (http://127\.0\.0\.1:(\d+)/[^;]*);", first or "")
        assert found is not None, f"it does not start: {first} {self.errors}"
        self.url = found[1]
        self.port = int(found[2])
        self.token = (state / "token").read_text().strip()
        # Keeps its connection.
        self.session = requests.Session()
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Sends a request with the token, whatever the answer is."""
        return self.session.request(method, self.url + path, headers=self.headers, timeout=DEADLINE, **options)

    def add(self, torrent: Path, **query: Any) -> str:
        """Adds a torrent file, and returns its info hash."""
        headers = {**self.headers, "Content-Type": "application/x-bittorrent"}
        url = f"{self.url}v1/torrents/file"
        answer = self.session.post(url, headers=headers, params=query, data=torrent.read_bytes(), timeout=DEADLINE)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["infoHash"])
