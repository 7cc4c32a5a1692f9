"""Mount the layer for a test, and say why it cannot be."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.faults.fuse_layer.journal import Recording

SERVER = Path(__file__).with_name("server.py")
REPOSITORY = Path(__file__).resolve().parents[3]


def missing() -> str | None:
    """Return what this machine lacks to mount the layer, None if nothing."""
    if shutil.which("fusermount3") is None:
        return "fusermount3 is not installed (apt install fuse3)"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be used here"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        return f"mfusepy does not work here: {error}"
    return None


class Mounted:
    """A layer with a copy of `source`, mounted on `point`, an empty folder, for the length of the block."""

    def __init__(self, source: Path, point: Path) -> None:
        self.source, self.point = source, point
        self._out = point.with_name(point.name + ".recording")
        self._said = point.with_name(point.name + ".log")
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.point.mkdir()
        command = [sys.executable, "-m", "tests.faults.fuse_layer.server", str(self.source), str(self.point), str(self._out)]
        with self._said.open("w") as said:
            self._server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, cwd=REPOSITORY, text=True)
        assert self._server.stdout is not None
        if self._server.stdout.readline() != "ready\n":
            self._server.wait()
            raise AssertionError(f"the layer did not start: {self._said.read_text()[-2000:]}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        done = subprocess.run(["fusermount3", "-u", str(self.point)], capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["fusermount3", "-u", "-z", str(self.point)], capture_output=True, check=False)
        self._server.wait(timeout=60)
        assert done.returncode == 0 or error is not None, done.stderr
        assert self._server.stdout is not None
        self._server.stdout.close()

    @property
    def recording(self) -> Recording:
        """What was done, once unmounted."""
        return pickle.loads(self._out.read_bytes())
