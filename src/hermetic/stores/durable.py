"""Folders that a power cut cannot take away with everything that was synced inside them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_folders(folder: Path) -> None:
    """Make `folder` and its missing parents, mode 0700, each name synced. Raises OSError, also for a file in the way."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        with suppress(FileExistsError):  # another process was quicker
            made.mkdir(mode=0o700)
        sync_folder(made.parent)
        os.scandir(made).close()  # a file in the way


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
