"""Several libtorrent downloaders of one torrent in one process, each with a session and an address of its own.

Arguments: the torrent file, a folder, how many there are, the address of a peer, and `--mesh` if they know each other.
Prints a JSON line with the bytes that each has received and sent, and whether each is complete, for every line on
standard input, and ends when that closes.
"""

from __future__ import annotations

import argparse
import json
import sys

import libtorrent
from libtorrent_peer import listening_port, settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("torrent")
    parser.add_argument("folder")
    parser.add_argument("count", type=int)
    parser.add_argument("peer")
    parser.add_argument("--mesh", action="store_true")
    arguments = parser.parse_args()

    hosts = [f"127.0.1.{number + 1}" for number in range(arguments.count)]
    sessions = [libtorrent.session(settings(host, 0)) for host in hosts]
    addresses = [(host, listening_port(session)) for host, session in zip(hosts, sessions, strict=True)]
    handles = []
    for number, session in enumerate(sessions):
        parameters = libtorrent.load_torrent_file(arguments.torrent)
        parameters.save_path = f"{arguments.folder}/{number}"
        parameters.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
        # Peers are told to each other only with `--mesh`.
        parameters.flags |= libtorrent.torrent_flags.disable_pex
        handles.append(session.add_torrent(parameters))
    host, _, port = arguments.peer.rpartition(":")
    for number, handle in enumerate(handles):
        handle.connect_peer((host, int(port)))
        for address in addresses[:number] if arguments.mesh else []:
            handle.connect_peer(address)
    print(json.dumps({"ready": True}), flush=True)

    for _ in sys.stdin:
        states = [handle.status() for handle in handles]
        answer = {
            "received": [state.total_payload_download for state in states],
            "sent": [state.total_payload_upload for state in states],
            "complete": [state.is_finished for state in states],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
