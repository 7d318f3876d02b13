"""An HTTP server of files on loopback, with ranges or without."""

from __future__ import annotations

import http.server
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from processes import DEADLINE
from torrents import KIB


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Python's own handler of files, with ranges, which it lacks."""

    protocol_version = "HTTP/1.1"

    def send_head(self):
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range", "")
        if not path.is_file() or not asked.startswith("bytes="):
            return super().send_head()
        first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        size = path.stat().st_size
        last = min(last, size - 1)
        file = path.open("rb")
        file.seek(first)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.left = last - first + 1
        return file

    def copyfile(self, source, outputfile):
        left = getattr(self, "left", None)
        if left is None:
            return super().copyfile(source, outputfile)
        while left > 0 and (chunk := source.read(min(left, 64 * KIB))):
            outputfile.write(chunk)
            left -= len(chunk)

    def log_message(self, *_):
        pass


def serve(
    folder: Path,
    running: ExitStack,
    host: str = "127.0.0.1",
    handler: type[http.server.BaseHTTPRequestHandler] = Ranged,
) -> str:
    """Serves a folder until `running` closes. Returns its URL."""
    server = http.server.ThreadingHTTPServer((host, 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE)

    running.callback(close)
    return f"http://{host}:{server.server_address[1]}/"
