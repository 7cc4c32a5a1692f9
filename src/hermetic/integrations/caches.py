"""fsspec's caches in front of a file system that decrypts would keep plaintext on a disk: they are refused, at the first sight of one.

    simplecache::sealed::s3://bucket/key    refused: the cache holds what was decrypted
    sealed::simplecache::s3://bucket/key    right: the cache holds ciphertext

A cache never says that it is one, and it may hold an instance that was made for something else. What it does in every version of
every method is to ask the file system behind it for its form of a path; so whoever asks is looked at, and whoever makes an instance.
A cache whose folder is in memory (a tmpfs, as inside `hermetic run`) leaves nothing behind and is let through.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.private_tmp import is_in_memory
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

_CACHES = "fsspec.implementations.cached"
_DEPTH = 8  # frames from the making of an instance up to the cache that wants it
_WHOLE_FILES = frozenset({"simplecache", "filecache"})


def refuse_cache_asking(frame: FrameType) -> None:
    """Raise UsageError if `frame`, which calls one of our methods, is a cache that keeps its files on a disk."""
    if frame.f_globals.get("__name__") == _CACHES:
        _refuse(frame)


def refuse_cache_making() -> None:
    """Raise UsageError if an instance is being made for a cache that keeps its files on a disk."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read source files
    for _ in range(_DEPTH):
        if frame is None:
            return
        if frame.f_globals.get("__name__") == _CACHES:
            _refuse(frame)
            return
        frame = frame.f_back


def _refuse(frame: FrameType) -> None:
    cache = frame.f_locals.get("self")
    name = getattr(type(cache), "protocol", "simplecache")
    name = name if isinstance(name, str) else str(name[0])
    folders = object.__getattribute__(cache, "__dict__").get("storage")  # its own way to attributes leads to the file system behind
    if name in _WHOLE_FILES and folders and all(is_in_memory(_existing(folder)) for folder in folders):
        return
    raise UsageError(
        f"{name}:: in front of what decrypts would leave plaintext on a disk",
        hint=f"put it behind: sealed::{name}::s3://BUCKET/KEY keeps ciphertext. hermetic:// needs no cache: it reads by range",
    )


def _existing(folder: str) -> Path:
    place = Path(os.path.realpath(folder))
    while not place.exists():
        place = place.parent
    return place
