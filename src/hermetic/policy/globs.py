"""Globs over slash-separated paths: `*` and `?` stay within a segment, `**` is any number of whole segments, also none.

    data/raw/*.parquet     files directly in data/raw
    data/**                everything under data, at any depth
    dataset/patients*      the assets dataset/patients, dataset/patients-2025, ...

Matching is case-sensitive, and its cost is bounded by pattern length times path length: nothing here can be made to backtrack.
"""

from __future__ import annotations

from functools import lru_cache

MAX_SEGMENTS = 32


def flaw(glob: str) -> str | None:
    """Return what is wrong with a glob, or None."""
    parts = glob.split("/")
    if not glob or any(part in {"", ".", ".."} for part in parts):
        return "empty, '.' and '..' segments are not allowed"
    if len(parts) > MAX_SEGMENTS:
        return f"more than {MAX_SEGMENTS} segments"
    if any("**" in part and part != "**" for part in parts):
        return "** stands alone between slashes"
    if any(char in glob for char in "[]{}\\"):
        return "brackets, braces and backslashes mean nothing here"
    return None


def matches(glob: str, path: str) -> bool:
    """Whether the whole of `path` matches `glob`."""
    return _segments(_split(glob), tuple(path.split("/")))


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` surely matches everything that `narrow` matches. May miss cases, never claims one falsely."""
    return _covering(_split(wide), _split(narrow))


@lru_cache(maxsize=4096)
def _split(glob: str) -> tuple[str, ...]:
    return tuple(glob.split("/"))


def _segments(glob: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Walk the pattern once, keeping the set of path positions reached so far."""
    reached = {0}
    for part in glob:
        if part == "**":
            reached = set(range(min(reached), len(path) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(path) and _segment(part, path[at])}
    return len(path) in reached


def _segment(pattern: str, text: str) -> bool:
    """Match one segment with `*` and `?`, remembering only the last star: linear space, at most quadratic time."""
    at = star = mark = 0
    seen_star = False
    position = 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            seen_star, star, mark = True, at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at, position = at + 1, position + 1
        elif seen_star:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return all(char == "*" for char in pattern[at:])


def _covering(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """The same walk with the narrow pattern in place of a path; a `**` there is only covered by a `**` here."""
    reached = {0}
    for part in wide:
        if part == "**":
            reached = set(range(min(reached), len(narrow) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(narrow) and _covers_segment(part, narrow[at])}
    return len(narrow) in reached


def _covers_segment(wide: str, narrow: str) -> bool:
    if narrow == "**":
        return False
    if wide in ("*", narrow):
        return True
    # a star of the narrow pattern is read as a character no name has, so only a star of the wide one can match it
    return "?" not in wide + narrow and _segment(wide, narrow.replace("*", "\x00"))
