"""fsspec's caches between us and plain locations, where they hold ciphertext."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any


def innermost(fs: Any) -> Any:
    """Return the file system behind fsspec's caches, which hold ciphertext here."""
    from fsspec.implementations.cached import CachingFileSystem  # noqa: PLC0415

    while isinstance(fs, CachingFileSystem):
        fs = object.__getattribute__(fs, "__dict__")["fs"]
    return fs


def caches_of(fs: Any) -> list[Any]:
    """Return fsspec's caches from a file system inwards."""
    from fsspec.implementations.cached import CachingFileSystem  # noqa: PLC0415

    found = []
    while isinstance(fs, CachingFileSystem):
        found.append(fs)
        fs = object.__getattribute__(fs, "__dict__")["fs"]
    return found


def drop(cache: Any, path: str) -> None:
    """Remove a cache's copy of a file. `pop_from_cache` does nothing in simplecache, which keeps no list of its files."""
    with suppress(FileNotFoundError, KeyError, PermissionError):
        cache.pop_from_cache(path)
    with suppress(FileNotFoundError, PermissionError):
        copy = cache._check_file(path)  # noqa: SLF001 - there is no other way to its name
        if isinstance(copy, str):
            Path(copy).unlink()
