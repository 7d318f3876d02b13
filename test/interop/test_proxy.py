"""A service behind nginx, set up as docs/service.md says."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from nginx import start_nginx
from processes import DEADLINE, ROOT
from service import Service
from torrents import KIB, make_torrent, write_file

PASSWORD = "a password of this test"


def documented_location(port: int) -> str:
    """The block for nginx in the document, for a service at another port and as if nginx had TLS."""
    text = (ROOT / "docs" / "service.md").read_text()
    block = re.search(r"```\n(location /torrents/ \{.*?\n\})\n```", text, re.DOTALL)
    assert block is not None
    return block[1].replace("127.0.0.1:6880", f"127.0.0.1:{port}").replace("$scheme", "https")


@pytest.fixture
def service(running: ExitStack, source: Path, tmp_path: Path) -> Service:
    options = ["--base-path", "/torrents/", "--allow-host", "home.example", "--trust-proxy", "127.0.0.1"]
    started = Service(source, tmp_path, "--no-listen", *options)
    running.callback(started.close)
    return started


def test_nginx_as_documented(service: Service, running: ExitStack, source: Path, tmp_path: Path, piecewise):
    content = write_file(source / "one.bin", 300 * KIB, 1)
    info_hash = service.add(make_torrent(content, 64 * KIB).file)
    setting = piecewise("password", "--state", tmp_path / "service")
    setting.send_line(PASSWORD)
    assert setting.exit_code() == 0, setting.errors
    url = start_nginx(running, tmp_path / "nginx", source, documented_location(service.port)) + "torrents/"
    host = {"Host": "home.example"}
    token = {**host, "Authorization": f"Bearer {service.token}"}

    def get(path: str, headers: dict[str, str] = token, **options) -> requests.Response:
        return requests.get(url + path, headers=headers, timeout=DEADLINE, **options)

    assert get("v1/torrents").json()["total"] == 1
    assert get("v1/torrents", host).status_code == 401
    assert get("v1/torrents", {**token, "Host": "other.example"}).status_code == 421
    part = get(f"v1/torrents/{info_hash}/content/one.bin", {**token, "Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content.read_bytes()[1000:2000])
    with get("v1/events", stream=True) as events:
        requests.post(f"{url}v1/torrents/{info_hash}/pause", headers=token, timeout=DEADLINE)
        assert any(b"Paused" in line for line in events.iter_lines()), "an event must arrive at once"

    login = requests.post(f"{url}v1/login", json={"password": PASSWORD}, headers=host, timeout=DEADLINE)
    assert login.status_code == 200, login.text
    cookie = login.headers["Set-Cookie"]
    assert "Path=/torrents" in cookie and "Secure" in cookie and "HttpOnly" in cookie
