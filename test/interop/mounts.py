"""Mounts real file systems for tests, because their behaviour when full, failing or gone cannot be imitated."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024


def run(*command: str | Path) -> None:
    """Runs a command. Mounting needs root."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, *map(str, command)], check=True, capture_output=True, text=True)


@functools.cache
def why_not() -> str | None:
    """Why nothing can be mounted here, in one line; `None` if mounting works."""
    with tempfile.TemporaryDirectory(prefix="piecewise-mount-") as folder:
        try:
            run("mount", "-t", "tmpfs", "none", folder)
            run("umount", folder)
            run("mkfs.ext4", "-V")
            run("mkfs.btrfs", "--version")
        except (OSError, subprocess.CalledProcessError) as error:
            return str(error).splitlines()[0]
    return None


class Mount:
    """A file system at `path`: `ext4`, `btrfs`, `tmpfs`, or `failing`.

    `failing` is an ext4 whose device stores only a quarter of its nominal size, until `grow`.
    """

    def __init__(self, kind: str, mebibytes: int, top: Path, options: str = "defaults") -> None:
        self.kind = kind
        self._options = options
        self.path = top / "mounted"
        self._mebibytes = mebibytes
        self._backing = top / "backing"
        self._image = self._backing / "image"

    def start(self) -> None:
        self.path.mkdir(parents=True)
        self._backing.mkdir()
        if self.kind == "failing":
            run("mount", "-t", "tmpfs", "-o", f"size={self._mebibytes // 4}m", "none", self._backing)
        if self.kind != "tmpfs":
            self._image.touch()
            os.truncate(self._image, self._mebibytes * MIB)
            # If the journal or the block metadata could not be written, the whole file system would fail. So there is
            # no journal, and all metadata is allocated at the start: only content can be lost.
            for_failing = ["-O", "^has_journal,^metadata_csum,^uninit_bg", "-N", "64"] if self.kind == "failing" else []
            make = ["mkfs.btrfs", "-q"] if self.kind == "btrfs" else ["mkfs.ext4", "-q", "-m", "0", *for_failing]
            run(*make, self._image)
        self.attach()

    def attach(self) -> None:
        """Mounts it, possibly again. A tmpfs is then empty."""
        if self.kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={self._mebibytes}m", "none", self.path)
        else:
            run("mount", "-o", f"loop,{self._options}", self._image, self.path)
        if os.geteuid() != 0:
            run("chown", str(os.geteuid()), self.path)

    def detach(self) -> None:
        """Unmounts it, even while its files are open."""
        run("umount", "-l", self.path)

    def read_anew(self) -> None:
        """Mounts it again, so that later reads come from the device. No process may be using it."""
        run("umount", self.path)
        self.attach()

    def grow(self) -> None:
        """Makes the device of a `failing` file system as large as its nominal size."""
        run("mount", "-o", f"remount,size={2 * self._mebibytes}m", self._backing)

    def close(self) -> None:
        for place in [self.path, self._backing]:
            if place.is_mount():
                with suppress(subprocess.CalledProcessError):
                    run("umount", "-l", place)
