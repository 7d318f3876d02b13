"""nginx, which serves a folder or stands before another server."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from conftest import leave_out
from processes import DEADLINE

NGINX = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{}}
http {{
    limit_conn_zone $server_name zone=all:1m;
    access_log {home}/access.log;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {options}
    }}
}}
"""


def free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_address[1]


def start_nginx(stack: ExitStack, home: Path, root: Path, options: str = "") -> str:
    """Serves a folder, with more options of its server. Runs until the stack is closed. Returns its URL."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        leave_out("nginx is not installed")
    home.mkdir()
    port = free_port()
    (home / "nginx.conf").write_text(NGINX.format(home=home, port=port, root=root, options=options))
    process = subprocess.Popen([program, "-c", str(home / "nginx.conf"), "-p", str(home)])
    stack.callback(process.wait, DEADLINE)
    stack.callback(process.terminate)
    deadline = time.monotonic() + DEADLINE
    while not (home / "nginx.pid").exists():
        assert process.poll() is None and time.monotonic() < deadline, "nginx does not start"
        time.sleep(0.02)
    return f"http://127.0.0.1:{port}/"
