"""The storages that the command line downloads into real folders with: what holds of one holds of the other."""

from __future__ import annotations

import os

STORAGES = ["filesystem", "io-daemon"]

IS_SOAK = "PIECEWISE_SOAK" in os.environ
"""Whether the tests take their time: every test of files on disk with every storage and in all its variants."""
