"""Nodes of a DHT on loopback: libtorrent sessions in one process, each with an address of its own, in 127.0.2.0/24 without `--host`.

Arguments: how many there are, and `--router HOST:PORT` for a node that all of them ask first; without it they ask the
first of them; `--host 10.9.{}.1` gives them the addresses 10.9.1.1, 10.9.2.1 and so on. Prints a JSON line with their addresses once each knows some nodes. Then it answers each line on standard
input with one on standard output, and ends when that closes:

    nodes                      how many nodes each of them has in its routing table
    announce NODE HASH PORT    the session NODE announces a peer with this port, which takes some seconds
    peers NODE HASH            the peers that the session NODE finds
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

import libtorrent
from libtorrent_peer import listening_port, on_loopback, settings

SECONDS = 30.0
"""How long a step may take."""


def dht_settings(host: str, router: str) -> dict[str, object]:
    return {
        **settings(host, 0),
        **on_loopback,
        "dht_bootstrap_nodes": router,
        "alert_mask": libtorrent.alert.category_t.status_notification
        | libtorrent.alert.category_t.storage_notification
        | libtorrent.alert.category_t.stats_notification
        | libtorrent.alert.category_t.dht_notification
        | libtorrent.alert.category_t.dht_operation_notification,
    }


def wait_for(session: libtorrent.session, kind: type, seconds: float, wanted=lambda alert: True):
    """The next alert of a kind; `None` if none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        session.wait_for_alert(100)
        for alert in session.pop_alerts():
            if isinstance(alert, kind) and wanted(alert):
                return alert
    return None


def node_count(session: libtorrent.session) -> int:
    session.post_session_stats()
    alert = wait_for(session, libtorrent.session_stats_alert, SECONDS)
    return 0 if alert is None else alert.values["dht.dht_nodes"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--router", default="")
    parser.add_argument("--host", default="127.0.2.{}")
    arguments = parser.parse_args()

    few = {"aio_threads": 1, "hashing_threads": 1}
    sessions: list[libtorrent.session] = []
    addresses: list[str] = []
    for number in range(arguments.count):
        host = arguments.host.format(number + 1)
        router = arguments.router or (addresses[0] if addresses else "")
        session = libtorrent.session({**dht_settings(host, router), **few})
        # It asks its router only once, which may know nobody yet.
        for address in random.Random(number).sample(addresses, min(8, number)):
            other, _, port = address.rpartition(":")
            session.add_dht_node((other, int(port)))
        addresses.append(f"{host}:{listening_port(session)}")
        sessions.append(session)
    deadline = time.monotonic() + SECONDS
    # A router is in no routing table.
    while min(map(node_count, sessions)) < min(8, arguments.count - 2):
        if time.monotonic() > deadline:
            sys.exit(f"the nodes do not find each other: {list(map(node_count, sessions))}")
        time.sleep(0.2)
    print(json.dumps({"addresses": addresses}), flush=True)

    for line in sys.stdin:
        command, *words = line.split()
        answer: dict[str, object] = {}
        if command == "nodes":
            answer["nodes"] = [node_count(session) for session in sessions]
        else:
            session = sessions[int(words[0])]
            digest = libtorrent.sha1_hash(bytes.fromhex(words[1]))
            if command == "announce":
                session.dht_announce(digest, int(words[2]), 0)
            else:
                session.dht_get_peers(digest)
                # A lookup here takes less than a second, and says nothing if it finds nobody.
                found = wait_for(
                    session, libtorrent.dht_get_peers_reply_alert, 2, lambda alert: alert.num_peers() > 0
                )
                answer["peers"] = [] if found is None else [f"{host}:{port}" for host, port in found.peers()]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
