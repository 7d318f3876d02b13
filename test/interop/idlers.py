"""Peers that complete the handshake, have nothing, and stay connected (BEP 3 over plain TCP)."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

from liar import PROTOCOL
from torrents import Torrent


class Idlers:
    """So many peers, each at an address of its own on one port."""

    def __init__(self, torrent: Torrent, count: int) -> None:
        self._torrent = torrent
        self._connections: list[socket.socket] = []
        self._servers = [socket.create_server(("127.0.1.1", 0))]
        port = self._servers[0].getsockname()[1]
        self._servers += [socket.create_server((f"127.0.1.{host}", port)) for host in range(2, count + 1)]
        self.addresses = [f"127.0.1.{host}:{port}" for host in range(1, count + 1)]
        for server in self._servers:
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def close(self) -> None:
        for server in self._servers:
            # Closing the socket alone would not wake the thread that accepts.
            server.shutdown(socket.SHUT_RDWR)
            server.close()
        for connection in self._connections:
            connection.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self._connections.append(connection)
            with suppress(OSError):
                connection.sendall(PROTOCOL + bytes(8) + self._torrent.info_hash + os.urandom(20))
