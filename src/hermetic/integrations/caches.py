"""fsspec's caches in front of a file system that decrypts would keep plaintext on a disk: they are refused, at the first sight of one.

    simplecache::sealed::s3://bucket/key    refused: the cache holds what was decrypted
    sealed::simplecache::s3://bucket/key    right: the cache holds ciphertext

A cache never says that it is one, it may hold an instance that was made for something else, and others may stand in between
(`simplecache::zip://member::hermetic://…`, a DirFileSystem). So whenever an instance is made, a path is asked about, or a file is
read, all who called are looked at: a cache among them would keep what it gets. Behind sealed:: a cache is called, and never calls.
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
_WHOLE_FILES = frozenset({"simplecache", "filecache"})


def refuse_cache() -> None:
    """Raise UsageError if a cache that keeps its files on a disk is among those who called."""
    if _CACHES not in sys.modules:
        return
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read source files
    while frame is not None:
        if frame.f_globals.get("__name__") == _CACHES:
            _refuse(frame)
        frame = frame.f_back


def _refuse(frame: FrameType) -> None:
    cache = frame.f_locals.get("self")
    if cache is None:  # a function within a method of the cache, which is further up
        return
    facts = object.__getattribute__(cache, "__dict__")  # its own way to attributes leads to the file system behind
    if "storage" not in facts and "fs" in facts:  # a file or transaction of the cache
        cache = facts["fs"]
        facts = object.__getattribute__(cache, "__dict__")
    name = getattr(type(cache), "protocol", "simplecache")
    name = name if isinstance(name, str) else str(name[0])
    folders = facts.get("storage")
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
