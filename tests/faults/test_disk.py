"""A disk that fills up, at random fill levels, while versions are sealed, released, published, keys rotated, backups taken.

The disk is a small tmpfs under one of: everything, project, custody home, backup place. Each error has to be one clear StorageError
(exit 1, with a hint); nothing is half-written, nothing that was promised is lost (`checking`), and with space again all goes on.
A backup place that is full refuses nothing but `init`: `status` tells.

HERMETIC_KILLS=N (make soak) takes N times as many levels.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hermetic.stores.base import TEMPORARY_PREFIX
from tests.faults.places import Zygote, copy_template
from tests.faults.recovery import recover
from tests.faults.test_db_disk import can_mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LEVELS = 3 * int(os.environ.get("HERMETIC_KILLS", "1"))
SIZE = 32 << 20
MOST_FREE = 2 << 20  # what no scenario uses up
PAGE = 4096
TEMPORARY = (f"{TEMPORARY_PREFIX}*", "*.tmp", ".custody.db.*", ".root-*", ".domain.json.*", ".config.yaml.*", ".hermetic-exposing-*")
SCENARIOS = ("seal", "release", "rotate", "run", "expose", "manage", "init", "restore")
PLACES = ("", "project", "home", "backup")
UNTOUCHED = {(scenario, "project") for scenario in ("release", "rotate", "manage", "init", "restore")}  # they write nothing there
NEEDS_BACKUP = {"init"}
SLOW = {"init", "restore"}  # Argon2id


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Put a small file system under a folder, with what is in it."""
    before = folder.with_name(folder.name + ".before")
    folder.rename(before)
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", folder], check=True)
    try:
        shutil.copytree(before, folder, dirs_exist_ok=True, symlinks=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(folder: Path, free: int) -> Iterator[None]:
    """Leave only so many bytes free."""
    ballast = folder / "ballast"
    size = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(PAGE, size.f_bavail * size.f_frsize - free))
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.parametrize(("scenario", "where"), [pair for pair in itertools.product(SCENARIOS, PLACES) if pair not in UNTOUCHED])
def test_a_disk_fills_up(
    scenario: str, where: str, template: Path, zygote: Zygote, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if not can_mount():
        pytest.skip("mounting a small file system needs root")
    chance = random.Random(f"{scenario}/{where}")
    failed = 0
    levels = LEVELS if scenario not in SLOW else -(-LEVELS // 2)
    for level in range(levels):
        root = tmp_path / str(level) / "place"
        root.parent.mkdir()
        copy_template(template, root, scenario)
        free = 0 if level == 0 else chance.randrange(0, MOST_FREE >> chance.randrange(0, 8), PAGE)
        (root / where).mkdir(exist_ok=True)
        with disk(root / where):
            with filled(root / where, free):
                lines = zygote.run(root, scenario, may_fail=True)
            assert lines[-1] == "finished"
            failed += any(line.startswith("failed ") for line in lines)
            left = [path for pattern in TEMPORARY for path in root.rglob(pattern) if "restoring" not in str(path)]
            assert not left, f"temporary files were left: {left}"
            recover(zygote, root, scenario)
            problem = zygote.check(root, scenario, [line for line in lines if where != "backup" or not line.startswith("sealed ")])
            assert problem is None, f"{free} bytes free in {where or 'all'} while {scenario}:\n{problem}"
    refuses = where != "backup" or scenario in NEEDS_BACKUP
    assert bool(failed) == refuses, "the disk did not fill up, or a full backup place refused something"
    record_property("summary", f"full disks while {scenario} ({where or 'all on one'}): {levels}, {failed} ended the command")
