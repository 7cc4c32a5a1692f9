"""Scan a tree: what is plaintext, sealed or unknown, told by content. Needs no domain, no key and no network.

Per file: one `open` (O_NOFOLLOW, O_NONBLOCK), one `fstat`, a read of 8 KiB and for some formats of the tail. A file that cannot be
read, or is no regular file, is reported with its reason and does not end the scan.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.gate.copies import find_copies
from hermetic.gate.report import MEDIA, MediaFolder, ScannedFile, ScanReport
from hermetic.gate.sniff.recognise import recognise as recognise_sample
from hermetic.gate.sniff.sample import FileSample
from hermetic.gate.walk import Skipped, unreadable, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.gate.copies import Recognise

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a pipe put there meanwhile must not hang us


def scan(
    paths: Iterable[str | os.PathLike[str]],
    *,
    now_ms: int,
    hidden: bool = False,
    recognise: Recognise | None = None,
    progress: Callable[[str], None] | None = None,
) -> ScanReport:
    """Look at every file at or below `paths` and return what they are.

    `now_ms` stamps the report. `hidden` looks into folders whose name starts with a dot. With `recognise` the whole of every file
    that is not sealed is digested, and copies of known versions are marked. `progress` is called with each path.
    Raises NotFound for a path that does not exist, and what `recognise` raises.
    """
    roots = tuple(os.fspath(path) for path in paths)
    files: list[ScannedFile] = []
    skipped: list[Skipped] = []
    for item in _look(roots, hidden=hidden, progress=progress):
        (files if isinstance(item, ScannedFile) else skipped).append(item)  # type: ignore[arg-type]
    if recognise is not None:
        copies = find_copies((file.path for file in files if file.state != "sealed" and file.size), recognise)
        files = [replace(file, copy_of=copies.get(file.path, "")) for file in files]
    listed = tuple(file for file in files if file.kind not in MEDIA or file.copy_of)
    return ScanReport(now_ms, roots, listed, _media(file for file in files if file.kind in MEDIA and not file.copy_of), tuple(skipped))


def scan_file(path: str) -> ScannedFile | Skipped:
    """Return what one file is, by its content; Skipped if it cannot be read or is no regular file."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        return unreadable(path, error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Skipped(path, "not a regular file any more")
        guess = recognise_sample(FileSample(fd, status.st_size))
    except OSError as error:
        return unreadable(path, error)
    finally:
        os.close(fd)
    modified_ms = status.st_mtime_ns // 1_000_000
    return ScannedFile(path, guess.kind, guess.format, guess.state, status.st_size, guess.reason, modified_ms)


def _look(roots: Iterable[str], *, hidden: bool, progress: Callable[[str], None] | None) -> Iterator[ScannedFile | Skipped]:
    seen: set[str] = set()  # roots may overlap
    for root in roots:
        for item in walk(root, hidden=hidden):
            if isinstance(item, Skipped):
                yield item
            elif item not in seen:
                seen.add(item)
                if progress is not None:
                    progress(item)
                yield scan_file(item)


def _media(files: Iterable[ScannedFile]) -> tuple[MediaFolder, ...]:
    folders: dict[tuple[str, str], tuple[int, int]] = {}
    for file in files:
        place = (str(Path(file.path).parent), file.kind)
        count, size = folders.get(place, (0, 0))
        folders[place] = (count + 1, size + file.size)
    return tuple(MediaFolder(path, kind, count, size) for (path, kind), (count, size) in sorted(folders.items()))
