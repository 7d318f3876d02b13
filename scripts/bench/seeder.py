"""Seeds torrents from libtorrent sessions at 127.0.0.1, 127.0.0.2 and so on, all with the same port.

    python scripts/bench/seeder.py FOLDER SESSIONS TORRENT...

Prints its port and version as one JSON line, then one line for each line on standard input, and ends when that closes:
`arm` forgets when the first byte of a run was sent, `status` says when that was and how much CPU time the process has
used, and `dial HOST PORT` connects to a client that cannot be told where to connect. Plain TCP: no uTP, DHT, local
discovery, port mapping or encryption.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

import libtorrent

POLL = 0.004
"""Seconds between two looks at whether the first byte was sent."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def session_at(host: str, port: int, sessions: int) -> libtorrent.session:
    # Deep queues and large buffers, so that the seeder is not what limits a client.
    return libtorrent.session({
        "listen_interfaces": f"{host}:{port}", "outgoing_interfaces": host,
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False, "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True, "unchoke_slots_limit": -1, "connections_limit": 1000,
        "max_allowed_in_request_queue": 20_000, "suggest_mode": 0, "min_reconnect_time": 1,
        "send_buffer_watermark": 8 << 20, "send_buffer_low_watermark": 1 << 20, "send_buffer_watermark_factor": 200,
        "aio_threads": 4 if sessions == 1 else 1, "alert_mask": 0,
    })  # fmt: skip


def main() -> None:
    folder, count, *torrents = sys.argv[1:]
    hosts = [f"127.0.0.{index + 1}" for index in range(int(count))]
    port = free_port()
    sessions = [session_at(host, port, len(hosts)) for host in hosts]
    handles: list[libtorrent.torrent_handle] = []
    for session in sessions:
        for torrent in torrents:
            added = libtorrent.add_torrent_params()
            added.ti = libtorrent.torrent_info(torrent)
            added.save_path = folder
            added.flags = libtorrent.torrent_flags.seed_mode | libtorrent.torrent_flags.upload_mode
            handle = session.add_torrent(added)
            handle.replace_trackers([])
            handles.append(handle)

    first: float | None = None
    armed = threading.Event()

    def sent() -> int:
        return sum(handle.status(0).total_payload_upload for handle in handles)

    def watch() -> None:
        nonlocal first
        while True:
            armed.wait()
            before = sent()
            while armed.is_set():
                if sent() > before:
                    first = time.time()
                    armed.clear()
                time.sleep(POLL)

    threading.Thread(target=watch, daemon=True).start()
    print(json.dumps({"port": port, "version": libtorrent.__version__}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "arm":
            first = None
            armed.clear()
            time.sleep(0.05)
            armed.set()
        if command == "dial":
            for handle in handles:
                handle.connect_peer((arguments[0], int(arguments[1])))
        times = os.times()
        print(json.dumps({"first": first, "cpu": times.user + times.system}), flush=True)
    os._exit(0)


main()
