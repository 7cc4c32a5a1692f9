"""What a scan found, as values, and the findings it leads to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.gate.sniff.sealed import DAMAGED
from hermetic.gate.walk import Skipped, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.formats.findings import Severity
    from hermetic.gate.sniff.sample import State

MEDIA = frozenset({"image", "audio", "video"})  # counted by folder, not listed one by one
MEDIA_IS_DATA = 10  # so many in one folder are a dataset, fewer are illustrations
_MEDIUM = frozenset({"notebook", "archive"})
_DAY_MS, _HOUR_MS, _MINUTE_MS = 86_400_000, 3_600_000, 60_000
_TARGET = {"model": "model", "embeddings": "embeddings", "notebook": "config"}


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One regular file. `size` in bytes; `modified_ms` Unix milliseconds; `copy_of` the known version it is a copy of, or ""."""

    path: str
    kind: str
    format: str
    state: State
    size: int
    reason: str
    modified_ms: int
    copy_of: str = ""

    @property
    def sealed_by_hermetic(self) -> bool:
        """True for a whole sealed object of ours."""
        return self.state == "sealed" and self.format == "hermetic"

    @property
    def damaged(self) -> bool:
        """True for what starts like a sealed object and is none."""
        return self.format == DAMAGED


@dataclass(frozen=True, slots=True)
class MediaFolder:
    """A folder with images, audio or video in plaintext: how many of one kind, and their bytes together."""

    path: str
    kind: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What lies below `roots` at `at_ms`. `files` holds every regular file but media, in order; unknown ones too."""

    at_ms: int
    roots: tuple[str, ...]
    files: tuple[ScannedFile, ...]
    media: tuple[MediaFolder, ...]
    skipped: tuple[Skipped, ...]

    @property
    def plaintext(self) -> tuple[ScannedFile, ...]:
        """Files recognised as data, weights or archives of them in plaintext."""
        return tuple(file for file in self.files if file.state == "plaintext")

    @property
    def sealed(self) -> tuple[ScannedFile, ...]:
        """Sealed objects, and files encrypted by other tools."""
        return tuple(file for file in self.files if file.state == "sealed")

    @property
    def copies(self) -> tuple[ScannedFile, ...]:
        """Plaintext copies of known versions."""
        return tuple(file for file in self.files if file.copy_of)

    def counts(self) -> dict[str, int]:
        """Return how many files are plaintext (media included), sealed, sealed elsewhere, unknown; and how much was skipped."""
        states = Counter(file.state for file in self.files)
        ours = sum(file.sealed_by_hermetic for file in self.files)
        return {
            "plaintext": states["plaintext"] + sum(folder.count for folder in self.media),
            "sealed": ours,
            "sealed_elsewhere": states["sealed"] - ours,
            "unknown": states["unknown"],
            "skipped": len(self.skipped),
        }

    def findings(self) -> tuple[Finding, ...]:
        """Return what a person should act on: copies of known assets, damaged objects, plaintext, unreadable places."""
        return tuple(self._findings())

    def _findings(self) -> Iterator[Finding]:
        for file in self.files:
            if finding := _of_file(file, self.at_ms):
                yield finding
        for folder in self.media:
            if folder.count >= MEDIA_IS_DATA:
                yield _of_media(folder)
        for skipped in self.skipped:
            if skipped.unreadable:
                remedy = "scan as a user who may read it, or leave it out on purpose"
                yield Finding("unreadable", "low", printable(skipped.path), skipped.reason, remedy)


def _of_file(file: ScannedFile, now_ms: int) -> Finding | None:
    path = printable(file.path)
    if file.copy_of:
        message = f"a plaintext copy of {file.copy_of}, last written {_ago(now_ms - file.modified_ms)} ago"
        return Finding("plaintext-copy", "high", path, message, f"delete it; use hermetic://{file.copy_of} instead")
    if file.damaged:
        return Finding(
            "damaged-object", "high", path, file.reason, "restore it from a backup; if it was put there by hand, find out by whom"
        )
    if file.state != "plaintext":
        return None
    severity: Severity = "medium" if file.kind in _MEDIUM else "high"
    message = f"{file.kind} in plaintext: {file.reason}; {_size(file.size)}, last written {_ago(now_ms - file.modified_ms)} ago"
    return Finding("plaintext-file", severity, path, message, _seal(path, file.kind))


def _of_media(folder: MediaFolder) -> Finding:
    path = printable(folder.path)
    message = f"{folder.count} {folder.kind} files in plaintext, {_size(folder.size)} together"
    return Finding("plaintext-media", "medium", path, message, _seal(path, "dataset"))


def _seal(path: str, kind: str) -> str:
    return f"hermetic seal {_quoted(path)} --as {_TARGET.get(kind, 'dataset')}/NAME --class CLASS --remove-original"


def _quoted(path: str) -> str:
    plain = path.replace("/", "").replace(".", "").replace("_", "").replace("-", "").isalnum()
    return path if plain else "'" + path.replace("'", "'\\''") + "'"


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _ago(span_ms: int) -> str:
    for unit_ms, word in ((_DAY_MS, "day"), (_HOUR_MS, "hour"), (_MINUTE_MS, "minute")):
        if span_ms >= unit_ms:
            count = span_ms // unit_ms
            return f"{count} {word}{'s' if count > 1 else ''}"
    return "less than a minute"
