"""The storages that the command line downloads into real folders with: what holds of one holds of the other."""

from __future__ import annotations

RUNS_IO_DAEMON = True
"""Whether the tests of files on disk run through the io-daemon as well."""

STORAGES = ["filesystem", "io-daemon"] if RUNS_IO_DAEMON else ["filesystem"]
