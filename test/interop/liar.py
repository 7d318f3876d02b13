"""A seeder that claims to have everything and sends wrong bytes for some blocks (BEP 3 over plain TCP)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from torrents import KIB, Torrent

BLOCK = 16 * KIB
PROTOCOL = b"\x13BitTorrent protocol"
BITFIELD, UNCHOKE, INTERESTED, REQUEST, PIECE = 5, 1, 2, 6, 7


class Liar:
    """Answers every request at once. Blocks with `lies_about(piece, block)` get wrong bytes."""

    def __init__(self, torrent: Torrent, lies_about: Callable[[int, int], bool], host: str = "127.0.0.2") -> None:
        self._torrent = torrent
        self._content = torrent.bytes()
        self._lies_about = lies_about
        self._server = socket.create_server((host, 0))
        self.address = f"{host}:{self._server.getsockname()[1]}"
        self.handshakes = 0
        self.honest_blocks = 0
        self.lies = 0
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing the socket alone would not wake the thread that accepts.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        except OSError:
            pass  # the peer closed the connection, as it should
        finally:
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        greeting = read_exactly(connection, 68)
        if greeting is None or greeting[:20] != PROTOCOL or greeting[28:48] != self._torrent.info_hash:
            return
        self.handshakes += 1
        have_all = ((1 << self._torrent.pieces) - 1) << (-self._torrent.pieces % 8)
        bitfield = have_all.to_bytes((self._torrent.pieces + 7) // 8, "big")
        connection.sendall(PROTOCOL + bytes(8) + self._torrent.info_hash + b"-XX0001-" + b"liar" * 3)
        connection.sendall(frame(BITFIELD, bitfield) + frame(UNCHOKE))
        while (prefix := read_exactly(connection, 4)) is not None:
            payload = read_exactly(connection, int.from_bytes(prefix, "big"))
            if payload is None:
                return
            if payload[:1] == bytes([REQUEST]):
                connection.sendall(self._answer(*struct.unpack(">III", payload[1:])))

    def _answer(self, piece: int, begin: int, length: int) -> bytes:
        offset = piece * self._torrent.piece_length + begin
        block = self._content[offset : offset + length]
        if self._lies_about(piece, begin // BLOCK):
            self.lies += 1
            block = bytes(byte ^ 0x55 for byte in block)
        else:
            self.honest_blocks += 1
        return frame(PIECE, struct.pack(">II", piece, begin) + block)


def frame(message: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IB", 1 + len(payload), message) + payload


def read_exactly(connection: socket.socket, length: int) -> bytes | None:
    """Reads `length` bytes; `None` if the other side has closed the connection."""
    received = bytearray()
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        if not chunk:
            return None
        received += chunk
    return bytes(received)
