"""Runs one command, measures it with every process that it starts, and prints the figures as one JSON line.

    python scripts/bench/run.py '{"command": ["aria2c", ...], "folder": "run", ...}'

The CPU time is what the kernel counted at the end of each process, not a sample. Anonymous memory is sampled, as the
sum over all processes. The bytes and calls of writes are those of `/proc/PID/io`: the bytes are those of files, and the
calls include those to sockets, unless they were sent with send or sendmsg.

Everything that was started is killed when the command ends, is late, or this program gets SIGTERM.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

SAMPLE = 0.02
"""Seconds between two looks at the processes."""

ORPHANS = 3.0
"""Seconds that processes of the command may outlive it."""

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None)


def machine_cpu() -> tuple[float, float]:
    """The CPU seconds that the whole machine has used, and those that its host took from it."""
    user, nice, system, _idle, _wait, irq, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft) / TICKS, stolen / TICKS


def warm_memory(mebibytes: int) -> None:
    """Touches memory and frees it. A virtual machine may have returned it to its host, which makes its pages slow."""
    if mebibytes > 0:
        mmap.mmap(-1, mebibytes << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def family(pid: int) -> list[int]:
    """A process and what it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(other for child in children for other in family(int(child)))]


def anonymous(pid: int) -> int:
    """The bytes of anonymous memory of a process; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Watcher:
    """Notes when a line of the output contains a text."""

    def __init__(self, stream: IO[str], marks: dict[str, str]) -> None:
        self.marks = marks
        self.times: dict[str, float] = {}
        self.tail: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            now = time.time()
            for name, text in self.marks.items():
                if text in line:
                    self.times.setdefault(name, now)
            self.tail = [*self.tail[-9:], line]

    def join(self) -> None:
        self._thread.join(5)


class Flush:
    """Times a flush of the file system of a folder, beside the running command."""

    def __init__(self, folder: str) -> None:
        self.seconds = 0.0
        self._folder = folder
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began = time.time()
        folder = os.open(self._folder, os.O_RDONLY)
        libc.syncfs(folder)
        os.close(folder)
        self.seconds = time.time() - began

    def join(self) -> float:
        self._thread.join()
        return self.seconds


def main() -> None:
    spec = json.loads(sys.argv[1])
    done = Path(spec["doneFile"]) if spec.get("doneFile") else None
    # Whatever the command leaves behind becomes a child of this process, and this process ends with its parent.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.sync()
    warm_memory(spec.get("warm", 0))

    busy, stolen = machine_cpu()
    start = time.time()
    child = subprocess.Popen(
        spec["command"], env={**os.environ, **spec.get("env", {})}, cwd=spec["folder"], text=True, errors="replace",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )  # fmt: skip

    def kill_all() -> None:
        for pid in {member for pid in [os.getpid()] for member in family(pid)} - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(_number: int, _frame: FrameType | None) -> None:
        kill_all()
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    watcher = Watcher(child.stdout, spec.get("marks", {}))
    user = kernel = 0.0
    peak = written = writes = 0
    code: int | None = None
    ended = stopped = stored = None
    flush: Flush | None = None
    is_late = False
    while True:
        now = time.time()
        peak = max(peak, sum(anonymous(pid) for pid in family(os.getpid())[1:]))
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            break
        if found is not None:
            # A process that was not waited for yet still has its figures.
            try:
                io = dict(line.split(": ") for line in Path(f"/proc/{found.si_pid}/io").read_text().splitlines())
                written += int(io["write_bytes"])
                writes += int(io["syscw"])
            except (OSError, KeyError):
                pass
            _, status, usage = os.wait4(found.si_pid, 0)
            user += usage.ru_utime
            kernel += usage.ru_stime
            if found.si_pid == child.pid:
                code = os.waitstatus_to_exitcode(status)
                child.returncode = code
                ended = now
            continue
        if stored is None:
            if "stored" in watcher.times:
                stored = watcher.times["stored"]
            elif done is not None and done.exists():
                stored = done.stat().st_mtime
            if stored is not None and spec.get("flush") and "complete" not in watcher.marks:
                flush = Flush(spec["flush"])
        if stored is not None and spec.get("stops") and stopped is None:
            stopped = now
            os.kill(child.pid, signal.SIGTERM)
        if stopped is not None and ended is None and now - stopped > 15:
            os.kill(child.pid, signal.SIGKILL)
        if ended is not None and now - ended > ORPHANS or now - start > spec.get("timeout", 300):
            is_late = True
            kill_all()
        time.sleep(SAMPLE)
    watcher.join()
    used, taken = machine_cpu()

    if stored is None and "stored" in watcher.times:
        stored = watcher.times["stored"]
    if stored is None and done is not None and done.exists():
        stored = done.stat().st_mtime
    if stored is None and done is None and "stored" not in watcher.marks and code == 0:
        stored = ended
    own = watcher.times["complete"] - stored if stored is not None and "complete" in watcher.times else 0.0
    if flush is None and stored is not None and spec.get("flush"):
        flush = Flush(spec["flush"])
    print(json.dumps({
        "code": code, "late": is_late, "start": start, "stored": stored, "ended": ended,
        "flush": own + (flush.join() if flush is not None else 0.0), "user": user, "kernel": kernel,
        "anonymous": peak, "written": written, "writes": writes,
        "busy": used - busy - user - kernel, "stolen": taken - stolen, "output": "".join(watcher.tail)[-1500:],
    }))  # fmt: skip


main()
