"""One measurement in a process of its own: outputs removed and the disk synced before; again while others keep the processors busy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from hermetic.bench.measuring import RETRIES, Sample, undisturbed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MIB = 1024 * 1024


class Failed(Exception):
    """The process ended with an error; the text is its last line."""


class Taken(NamedTuple):
    """What was measured, and whatever else the process said."""

    sample: Sample
    said: list[object]


def fresh(
    command: Sequence[str],
    *,
    remove: Sequence[Path] = (),
    read: Sequence[Path] = (),
    pause: float = 0.0,
    retries: int = RETRIES,
    environment: Mapping[str, str] | None = None,
) -> Taken:
    """Run `command`, which prints a Sample as a JSON list (and may go on), with `read` in the page cache. Raises Failed."""
    takes: list[Taken] = []

    def take() -> Sample:
        takes.append(_once(command, remove=remove, read=read, pause=pause, environment=environment))
        return takes[-1].sample

    best = undisturbed(take, retries=retries)
    return next(one for one in takes if one.sample is best)


def _once(
    command: Sequence[str], *, remove: Sequence[Path], read: Sequence[Path], pause: float, environment: Mapping[str, str] | None
) -> Taken:
    for path in remove:
        forget(path)
    os.sync()
    for path in read:
        _read(path)
    time.sleep(pause)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(lines[-1] if lines else f"exit code {done.returncode}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Taken(Sample(*said[:4]), said[4:])


def forget(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> None:
    buffer = bytearray(MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
