"""Creates content and its torrents with libtorrent, and compares downloads with the content."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

import libtorrent

KIB = 1024
MIB = 1024 * KIB

V1 = libtorrent.create_torrent.v1_only
V2 = libtorrent.create_torrent.v2_only
HYBRID = 0
"""Versions 1 and 2 in one torrent. Padding (BEP 47) makes each file begin at a piece."""


@dataclass(frozen=True)
class Torrent:
    """A torrent whose content is at `content`, a file or a folder."""

    file: Path
    content: Path
    info_hash: bytes
    piece_length: int
    pieces: int

    @property
    def name(self) -> str:
        return self.content.name

    @property
    def file_names(self) -> list[str]:
        """The paths of the files in the torrent, below its name if it has several."""
        if self.content.is_file():
            return [self.name]
        return [path.relative_to(self.content).as_posix() for path in files_of(self.content)]

    def link(self, *parameters: str) -> str:
        """A magnet link with these parameters only: without them it names no tracker and no peer."""
        return "&".join([f"magnet:?xt=urn:btih:{self.info_hash.hex()}", *parameters])

    def bytes(self) -> bytes:
        """The bytes of all files in order, as they are cut into pieces."""
        if self.content.is_file():
            return self.content.read_bytes()
        return b"".join(path.read_bytes() for path in files_of(self.content))


def files_of(folder: Path) -> list[Path]:
    """The files below a folder in the order of the torrent."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def write_file(path: Path, size: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def make_torrent(
    content: Path, piece_length: int, trackers: list[str] | None = None, version: int = V1, private: bool = False
) -> Torrent:
    """Writes `CONTENT.torrent` beside the content. Each tracker is a tier (BEP 12) of its own."""
    files = [content] if content.is_file() else files_of(content)
    entries = [
        libtorrent.create_file_entry(path.relative_to(content.parent).as_posix(), path.stat().st_size)
        for path in files
    ]
    made = libtorrent.create_torrent(entries, piece_length, version)
    for tier, url in enumerate(trackers or []):
        made.add_tracker(url, tier)
    made.set_priv(private)
    libtorrent.set_piece_hashes(made, str(content.parent))
    file = content.parent / f"{content.name}.torrent"
    file.write_bytes(libtorrent.bencode(made.generate()))
    return Torrent(file, content, info_hash_of(file), piece_length, made.num_pieces())


def info_hash_of(file: Path) -> bytes:
    """The info hash as computed by libtorrent, which validates the whole file strictly."""
    return libtorrent.load_torrent_file(str(file)).ti.info_hashes().v1.to_bytes()


def piece_length_of(file: Path) -> int:
    return libtorrent.load_torrent_file(str(file)).ti.piece_length()


def assert_same(torrent: Torrent, folder: Path) -> None:
    """Expects that `folder` contains exactly the content: the same names and bytes, and no other file."""
    assert tree(folder / torrent.name) == tree(torrent.content)


DAEMON_MARK = Path(".piecewise", "io-daemon")
"""The file by which the io-daemon recognizes a root. Every root has one."""


def names_in(folder: Path) -> list[str]:
    """The names in a download folder, except `.piecewise` if it only contains the io-daemon's marker."""
    own = folder / DAEMON_MARK
    return sorted(path.name for path in folder.iterdir() if path != own.parent or list(path.iterdir()) != [own])


def tree(path: Path) -> dict[str, tuple[int, str]]:
    """Name, length and digest of every file, which makes differences readable. Ignores the io-daemon's marker."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    files = [file for file in files if file.parts[-2:] != DAEMON_MARK.parts]
    return {os.path.relpath(file, path.parent): (file.stat().st_size, digest(file)) for file in files}


def right_pieces(torrent: Torrent, folder: Path) -> set[int]:
    """The pieces in `folder` that equal the content, found by comparing bytes instead of digests."""
    wanted = torrent.bytes()
    found = bytearray()
    for file in [torrent.content] if torrent.content.is_file() else files_of(torrent.content):
        place = folder / file.relative_to(torrent.content.parent)
        part = place.read_bytes()[: file.stat().st_size] if place.is_file() else b""
        # Missing bytes count as different ones.
        rest = wanted[len(found) + len(part) : len(found) + file.stat().st_size]
        found += part + bytes(byte ^ 0xFF for byte in rest)
    steps = range(0, len(wanted), torrent.piece_length)
    return {
        index
        for index, begin in enumerate(steps)
        if wanted[begin : begin + torrent.piece_length] == found[begin : begin + torrent.piece_length]
    }


def flip(file: Path, offset: int, count: int = 7) -> None:
    """Changes bytes in place, as `dd conv=notrunc` does."""
    with file.open("r+b") as opened:
        opened.seek(offset)
        bytes_there = opened.read(count)
        opened.seek(offset)
        opened.write(bytes(byte ^ 0xFF for byte in bytes_there))


def digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
