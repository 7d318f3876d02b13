"""A pseudo-terminal, and a program of ours that runs on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from processes import DEADLINE, NODE, ROOT

ENTERED = b"\x1b[?1049h"
"""What a terminal is told when a program takes the whole screen (xterm's 1049)."""

LEFT = b"\x1b[?1049l\x1b[?25h"
"""What it is told when the screen and the cursor are as before."""


class Terminal:
    """A program on a terminal of its own. It is killed with its test."""

    def __init__(self, *arguments: object, columns: int = 80, rows: int = 24) -> None:
        self.written = b""
        self._status: int | None = None
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.environ.update(LANG="C.UTF-8", TERM="xterm-256color")
            os.environ.pop("NO_COLOR", None)
            main = ROOT / "src" / "node" / "main.ts"
            os.execv(NODE, [str(NODE), str(main), *map(str, arguments)])
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Changes the size, of which the system tells the program."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Sends what a terminal sends when keys are pressed."""
        os.write(self._end, keys)

    def is_raw(self) -> bool:
        """Whether keys are sent without waiting for the end of a line."""
        return not termios.tcgetattr(self._end)[3] & termios.ICANON

    def wait_for(self, text: bytes, start: int = 0) -> int:
        """Waits until the program has written a text behind `start`, and returns where it ends."""
        deadline = time.monotonic() + DEADLINE
        while (at := self.written.find(text, start)) < 0:
            assert self._read(deadline), f"{text!r} was not written: {self.written!r}"
        return at + len(text)

    def exit_code(self) -> int:
        """Waits for the end of the program; a signal counts as a negative number."""
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            pass
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(self._status)

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def state(self) -> str:
        """The state of the process as Linux says it: `T` if it is stopped."""
        with open(f"/proc/{self.pid}/stat", encoding="utf8") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._end)

    def _read(self, deadline: float) -> bool:
        """Reads what was written. Returns whether there may be more."""
        ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            chunk = os.read(self._end, 65_536)
        except OSError:
            # Linux says so when the program has closed its end.
            return False
        self.written += chunk
        return chunk != b""
