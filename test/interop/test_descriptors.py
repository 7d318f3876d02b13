"""Downloads with few file descriptors (fault 56): connections give way to files."""

from __future__ import annotations

import pytest
from storages import IS_SOAK
from torrents import KIB, assert_same, make_torrent, write_file

LIMIT = 64
"""The smallest limit that is customary. Node itself needs about 25."""


@pytest.mark.parametrize("storage", ["filesystem", "io-daemon"])
def test_many_files_and_peers_under_a_limit_of_64_descriptors(source, target, seed, idlers, piecewise, storage):
    files, peers = (2_000, 100) if IS_SOAK else (300, 60)
    for index in range(files):
        write_file(source / "many" / f"d{index % 50}" / f"f{index:04}.bin", 3_000 + index, index)
    torrent = make_torrent(source / "many", 64 * KIB)
    addresses = [seed(torrent).address, *idlers(torrent, peers).addresses]

    given = [argument for address in addresses for argument in ("--peer", address)]
    options = ["-o", target, "--storage", storage, "--json", *given]
    piecewise("download", torrent.file, *options, descriptors=LIMIT).finish()

    assert_same(torrent, target)
