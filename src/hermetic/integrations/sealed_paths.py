"""Paths of sealed::, before anything is asked.

    sealed::s3://bucket/key       the chained form: everything after `sealed::` is the path's own
    sealed::file:///data/a.csv
    sealed:///data/a.csv          for libraries that look for `scheme://`; the file system behind is the one that was chosen
    /data/a.csv, bucket/key       bare, as the file system behind writes them

In the form of a file system that is there already, the protocol after `sealed::` must be the one behind it: anything else would end
in the wrong place, or in a folder named `sealed::s3:`. Nothing is decoded: `%2e%2e` is a name of six characters.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Any

from fsspec import get_filesystem_class

from hermetic.errors import InvalidName

PROTOCOL = "sealed"
CACHES = frozenset({"simplecache", "filecache", "blockcache", "cached"})
_LINK = re.compile(r"([a-z][a-z0-9+.-]*)://")
_HINT = "write sealed::PROTOCOL://PATH, such as sealed::s3://bucket/key or sealed::file:///folder/file"


def take_apart(path: Any) -> tuple[str | None, str]:
    """Return (protocol, rest with it) of the chained form, (None, path) of any other. Raises InvalidName."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidName("a path of sealed:: is text", hint=_HINT)
    _check(text)
    if not text.startswith(f"{PROTOCOL}::"):
        return None, _bare(text)
    *caches, rest = text.removeprefix(f"{PROTOCOL}::").split("::")
    link = _LINK.match(rest)
    if link is None or not set(caches) <= CACHES or "://" in rest[link.end() :]:
        raise _unclear(text)
    if link[1] in {PROTOCOL, "hermetic"}:
        raise InvalidName(f"{text[:200]!r} would seal what is sealed already", hint=_HINT)
    return link[1], rest


def strip(path: Any) -> str:
    """Return the path as the file system that it names writes it; bare paths stay as they are. Raises InvalidName."""
    protocol, rest = take_apart(path)
    return rest if protocol is None else _as_behind(get_filesystem_class(protocol), rest)


def strip_for(path: Any, behind: Any) -> str:
    """Return the path as the file system `behind` writes it. Raises InvalidName if it names another one."""
    protocol, rest = take_apart(path)
    known = (behind.protocol,) if isinstance(behind.protocol, str) else tuple(behind.protocol)
    if protocol is not None and protocol not in known:
        raise InvalidName(
            f"{str(path)[:200]!r} is for {protocol}://, and behind this file system is {known[0]}://",
            hint=f"fsspec.filesystem('sealed', target_protocol={protocol!r}), or fsspec.open with the whole URL",
        )
    if protocol is None and not rest:
        return str(behind.root_marker)
    return _as_behind(behind, rest)


def _as_behind(fs: Any, rest: str) -> str:
    stripped = str(fs._strip_protocol(rest))  # noqa: SLF001 - fsspec's way to a path
    _check(stripped)
    return stripped


def _bare(text: str) -> str:
    bare = text.removeprefix(f"{PROTOCOL}://")
    if "::" in bare or "://" in bare:
        raise _unclear(text)
    return bare


def _check(text: str) -> None:
    """Refuse what would end elsewhere than it says."""
    parts = text.replace("://", "/").split("/")
    odd = any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)
    if ".." in parts or "." in parts or "\\" in text or odd:
        raise InvalidName(
            f"{text[:200]!r} is not a plain path", hint="'.' and '..' parts, backslashes and control characters are refused"
        )


def _unclear(text: str) -> InvalidName:
    return InvalidName(f"{text[:200]!r} is no path of sealed::", hint=_HINT)
