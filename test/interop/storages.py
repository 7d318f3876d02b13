"""The storages that the command line can download into real folders with. Tests run with each of them."""

from __future__ import annotations

import os

STORAGES = ["filesystem", "io-daemon"]

IS_SOAK = "PIECEWISE_SOAK" in os.environ
"""Whether to run the slow tests too: every test of files on disk with every storage and in all variants."""
