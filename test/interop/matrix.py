"""Prints the results of `test_matrix.py` as a table: a row for each client, a column for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_lowercase

import pytest

CELL = re.compile(r"test_matrix\.py::test_matrix\[(?P<client>[^-]+)-(?P<cell>[^-]+)\]$")


def read(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, pytest.TestReport]]:
    """The report that decides each cell, by client and name of the cell."""
    rows: dict[str, dict[str, pytest.TestReport]] = {}
    for report in reports:
        found = CELL.search(report.nodeid)
        # The setup and the end of a test only count if they did not pass.
        if found and (report.when == "call" or not report.passed):
            rows.setdefault(found["client"], {})[found["cell"]] = report
    return rows


def table(reports: Iterable[pytest.TestReport], clients: Iterable[str], cells: Iterable[str]) -> str:
    """Seconds for what worked, FAIL for what did not, and a letter for what cannot be, with its reason below."""
    rows = read(reports)
    columns = [cell for cell in cells if any(cell in row for row in rows.values())]
    notes: dict[str, str] = {}

    def text(report: pytest.TestReport | None) -> str:
        if report is None:
            return ""
        if report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            return notes.setdefault(why.removeprefix("Skipped: "), f"({ascii_lowercase[len(notes)]})")
        return f"{report.duration:.1f}" if report.passed else "FAIL"

    lines = [["client", *columns]]
    for client in clients:
        if client in rows:
            lines.append([client, *(text(rows[client].get(column)) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = ["  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*body, *(f"{letter} {why}" for why, letter in notes.items())])
