"""Commands that control a service, on a terminal."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import DEADLINE, NODE, ROOT
from terminal import ENTERED, LEFT, Terminal
from torrents import KIB, write_file

MAIN = ROOT / "src" / "node" / "main.ts"


@pytest.fixture
def state(tmp_path: Path, source: Path) -> Iterator[Path]:
    """The state folder of a service that has a torrent, `one.bin`, and its file."""
    folder = tmp_path / "state"
    content = write_file(source / "one.bin", 300 * KIB, 1)
    torrent = tmp_path / "one.torrent"
    run("create", content, "-o", torrent)
    serving = subprocess.Popen(
        [NODE, MAIN, "serve", source, "--state", folder, "--http", "127.0.0.1:0", "--no-dht", "--no-listen"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        assert "The service is at" in serving.stdout.readline()
        run("add", torrent, "--state", folder)
        yield folder
    finally:
        serving.kill()
        serving.communicate()


def run(*arguments: object) -> str:
    done = subprocess.run([NODE, MAIN, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def terminal(running: ExitStack) -> Callable[..., Terminal]:
    """Starts a program on a terminal."""

    def start(*arguments: object, columns: int = 80, rows: int = 24) -> Terminal:
        opened = Terminal(*arguments, columns=columns, rows=rows)
        running.callback(opened.close)
        return opened

    return start


def interrupt(watching: Terminal) -> None:
    watching.press(b"\x03")


def terminate(watching: Terminal) -> None:
    watching.kill(signal.SIGTERM)


def leave(watching: Terminal) -> None:
    watching.press(b"q")


@pytest.mark.parametrize(("end", "code"), [(leave, 0), (interrupt, 130), (terminate, 130)])
def test_watch_gives_the_terminal_back_however_it_ends(terminal, state, end, code):
    watching = terminal("watch", "--state", state)
    watching.wait_for(b"one.bin")
    assert watching.is_raw()

    end(watching)

    assert watching.exit_code() == code
    assert watching.written.startswith(ENTERED)
    assert watching.written.endswith(LEFT)
    assert watching.written.count(ENTERED) == watching.written.count(LEFT) == 1
    assert not watching.is_raw()


def test_watch_gives_the_terminal_back_while_it_is_stopped(terminal, state):
    watching = terminal("watch", "--state", state)
    watching.wait_for(b"one.bin")

    watching.press(b"\x1a")
    at = watching.wait_for(LEFT)
    deadline = time.monotonic() + DEADLINE
    while watching.state() != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not watching.is_raw()
    watching.kill(signal.SIGCONT)

    watching.wait_for(b"one.bin", watching.wait_for(ENTERED, at))
    assert watching.is_raw()


def test_watch_fits_a_terminal_that_changes_its_size(terminal, state):
    watching = terminal("watch", "--state", state, columns=200)
    watching.wait_for(b"ratio")

    at = len(watching.written)
    watching.resize(40, 10)

    begin = watching.wait_for(b"\x1b[H", at)
    end = watching.wait_for(b"\x1b[J", begin)
    page = watching.written[begin:end].decode()
    assert "one.bin" in page
    assert "ratio" not in page
    assert page.count("\r\n") == 9


def test_watch_pauses_and_resumes_the_chosen_torrent(terminal, state):
    watching = terminal("watch", "--state", state)
    watching.wait_for(b"one.bin")

    watching.press(b"jp")
    at = watching.wait_for(b"paused  ")
    watching.press(b"\x1b[Bp")
    watching.wait_for(b"seeding  ", at)

    assert "seeding" in run("list", "--state", state)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 1), (b"n\n", 1), (b"\x04", 1), (b"\x03", 130)])
def test_remove_asks_before_it_deletes_files(terminal, state, source, answer, code):
    removing = terminal("remove", "one", "--data", "--state", state)
    removing.wait_for(b"Delete the files of one.bin (300.0 KiB)? [y/N] ")

    removing.press(answer)

    assert removing.exit_code() == code
    assert (source / "one.bin").exists() == (code != 0)


def choose_password(terminal, state: Path, *lines: bytes) -> Terminal:
    """Types lines where a password is asked for."""
    choosing = terminal("password", "--state", state)
    at = 0
    for line in lines:
        at = choosing.wait_for(b": ", at)
        while not choosing.is_raw():
            time.sleep(0.01)
        choosing.press(line)
    return choosing


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ((b"correct horse\r", b"correct horse\r"), 0, b"The password is set."),
        ((b"correct horse\r", b"correct hoarse\r"), 1, b"the two passwords are different"),
        ((b"short\r",), 1, b"it has fewer than 8 characters"),
        ((b"\x04",), 1, b"no password was set"),
        ((b"correct\x03",), 130, b""),
    ],
)
def test_password_is_asked_for_and_not_shown(terminal, tmp_path, lines, code, said):
    choosing = choose_password(terminal, tmp_path, *lines)

    assert choosing.exit_code() == code
    assert said in choosing.written
    assert not any(word in choosing.written for word in (b"horse", b"short", b"correct"))
    assert not choosing.is_raw()
    assert (tmp_path / "password").exists() == (code == 0)
