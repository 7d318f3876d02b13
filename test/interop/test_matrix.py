"""The interop matrix: what works with which client. `matrix.py` prints the results as a table.

`npm run soak -- matrix` runs all cells, in a network namespace; `npm test` runs a few.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from cells import CELLS, Swarm
from clients import CLIENTS
from conftest import leave_out


@pytest.fixture
def swarm(request: pytest.FixtureRequest, tmp_path: Path, running: ExitStack) -> Swarm:
    kind = CLIENTS[request.getfixturevalue("client")]
    if not kind.is_installed():
        leave_out(f"{kind.name} is not installed ({kind.how_to_install})")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
    return Swarm(kind, tmp_path, worker, running)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("client", CLIENTS)
def test_matrix(client: str, cell: str, swarm: Swarm) -> None:
    CELLS[cell](swarm)
