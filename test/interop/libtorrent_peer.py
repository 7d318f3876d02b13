"""A libtorrent session with one torrent, run in its own process so that it can be killed.

Prints one JSON line with its port, then one with its state for every line on standard input, and ends when that
closes. A number on such a line sets its upload limit in bytes per second; 0 means no limit. The answer to `nodes` has
the nodes of the DHT that it knows. Uses plain TCP on loopback: no uTP, local discovery or port mapping, no DHT without
`--dht`, and no encryption unless `--encryption` says so.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time

import libtorrent


POLICIES = {"forced": 0, "enabled": 1, "disabled": 2}
LEVELS = {"plaintext": 1, "rc4": 2, "both": 3}
"""What may follow an encrypted handshake."""


def settings(host: str, port: int) -> dict[str, object]:
    return {
        "listen_interfaces": f"{host}:{port}",
        "outgoing_interfaces": host,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": POLICIES["disabled"],
        "out_enc_policy": POLICIES["disabled"],
        "allow_multiple_connections_per_ip": True,
        "min_reconnect_time": 1,
        "unchoke_slots_limit": -1,
        "alert_mask": libtorrent.alert.category_t.status_notification
        | libtorrent.alert.category_t.storage_notification,
    }


on_loopback: dict[str, object] = {
    "enable_dht": True,
    # All nodes here are in one network, and their ids do not suit their addresses (BEP 42).
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_upload_rate_limit": 1_000_000,
}
"""The settings of a DHT that accepts nodes on this machine."""


def listening_port(session: libtorrent.session) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_failed_alert):
                sys.exit(alert.message())
            if isinstance(alert, libtorrent.listen_succeeded_alert):
                return alert.port
    sys.exit("libtorrent does not listen")


def flush(session: libtorrent.session, handle: libtorrent.torrent_handle) -> None:
    """Waits until libtorrent has written everything to disk. It reports a torrent as complete before that."""
    handle.flush_cache()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        session.wait_for_alert(200)
        if any(isinstance(alert, libtorrent.cache_flushed_alert) for alert in session.pop_alerts()):
            return
    sys.exit("libtorrent does not flush")


def known_nodes(session: libtorrent.session) -> list[str]:
    """The IPv4 addresses in the routing table of its DHT node."""
    state = libtorrent.bdecode(libtorrent.write_session_params_buf(session.session_state()))
    entries = state.get(b"dht state", {}).get(b"nodes", [])
    return [f"{socket.inet_ntoa(entry[:4])}:{int.from_bytes(entry[4:], 'big')}" for entry in entries]


def is_interested(peer: libtorrent.peer_info) -> bool:
    return bool(peer.flags & libtorrent.peer_info.remote_interested)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("torrent", help="a torrent file, or a magnet link")
    parser.add_argument("folder", help="the folder that contains, or receives, the content")
    parser.add_argument("--seed", action="store_true")
    parser.add_argument("--check", action="store_true", help="verify all content before serving, not during it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--dial", action="store_true", help="connect to peers as a seed too")
    parser.add_argument("--trackers", action="store_true", help="announce to the torrent's trackers")
    parser.add_argument("--upload-limit", type=int, default=0, help="bytes per second")
    parser.add_argument("--download-limit", type=int, default=0, help="bytes per second")
    parser.add_argument("--allocate", action="store_true", help="full allocation instead of sparse files")
    parser.add_argument("--file", action="append", type=int, default=[], help="the index of a wanted file")
    parser.add_argument("--dht", default="", help="the address of a node of the DHT that it asks first")
    parser.add_argument("--encryption", choices=POLICIES, default="disabled")
    parser.add_argument("--level", choices=LEVELS, default="both")
    parser.add_argument("--prefer-rc4", action="store_true")
    arguments = parser.parse_args()

    # A seed does not dial by default, so that a test knows which side found the other.
    chosen = settings(arguments.host, arguments.port)
    if arguments.dht:
        chosen |= {**on_loopback, "dht_bootstrap_nodes": arguments.dht}
    chosen |= {"in_enc_policy": POLICIES[arguments.encryption], "out_enc_policy": POLICIES[arguments.encryption]}
    chosen |= {"allowed_enc_level": LEVELS[arguments.level], "prefer_rc4": arguments.prefer_rc4}
    session = libtorrent.session({**chosen, "seeding_outgoing_connections": arguments.dial})
    port = listening_port(session)

    is_link = arguments.torrent.startswith("magnet:")
    # Its default limit for a torrent file is 10 MB.
    limits = {"max_buffer_size": 100_000_000}
    parameters = (
        libtorrent.parse_magnet_uri(arguments.torrent)
        if is_link
        else libtorrent.load_torrent_file(arguments.torrent, limits)
    )
    parameters.save_path = arguments.folder
    # Neither queued nor paused, so that it starts at once.
    parameters.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    # In seed mode each piece is verified when it is first requested. Otherwise all are verified once, before serving.
    if arguments.seed and not arguments.check:
        parameters.flags |= libtorrent.torrent_flags.seed_mode
    if not arguments.trackers:
        parameters.trackers = []
    if arguments.upload_limit > 0:
        parameters.upload_limit = arguments.upload_limit
    if arguments.download_limit > 0:
        parameters.download_limit = arguments.download_limit
    if arguments.allocate:
        parameters.storage_mode = libtorrent.storage_mode_t.storage_mode_allocate
    if arguments.file:
        parameters.file_priorities = [4 if index in arguments.file else 0 for index in range(parameters.ti.num_files())]
    handle = session.add_torrent(parameters)
    for peer in arguments.peer:
        host, _, peer_port = peer.rpartition(":")
        handle.connect_peer((host, int(peer_port)))
    print(json.dumps({"port": port}), flush=True)

    for line in sys.stdin:
        if line == "nodes\n":
            print(json.dumps({"nodes": known_nodes(session)}), flush=True)
            continue
        if line.strip():
            handle.set_upload_limit(int(line))
        status = handle.status()
        if status.is_finished and not arguments.seed:
            flush(session, handle)
        answer = {
            "uploaded": status.total_payload_upload,
            "downloaded": status.total_payload_download,
            "failed": status.total_failed_bytes,
            "pieces": status.num_pieces,
            "complete": status.is_finished,
            "peers": status.num_peers,
            "interested": sum(is_interested(peer) for peer in handle.get_peer_info()),
            "rc4": sum(bool(peer.flags & libtorrent.peer_info.rc4_encrypted) for peer in handle.get_peer_info()),
            "plaintext": sum(bool(peer.flags & libtorrent.peer_info.plaintext_encrypted) for peer in handle.get_peer_info()),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
