"""Text that is data: notebooks, JSON lines, JSON records, model dumps and database dumps; tables are in `tables`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hermetic.gate.sniff.sample import Guess
from hermetic.gate.sniff.tables import table

if TYPE_CHECKING:
    from hermetic.gate.sniff.sample import Sample

_MORE = 1 << 16  # bytes looked at when lines are longer than the head
_ROWS = 60
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_STARTS: tuple[tuple[str, str, str], ...] = (
    ('{"learner":', "model", "xgboost-json"),
    ("tree\nversion=v", "model", "lightgbm"),
    ("-- PostgreSQL database dump", "dataset", "sql-dump"),
    ("--\n-- PostgreSQL database dump", "dataset", "sql-dump"),
    ("-- MySQL dump", "dataset", "sql-dump"),
    ("-- MariaDB dump", "dataset", "sql-dump"),
    ("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;", "dataset", "sql-dump"),
    ("##fileformat=VCF", "dataset", "vcf"),
)


def text(sample: Sample) -> Guess | None:
    """Return what a text file is, or None for binary content and for text that is no data. Raises OSError."""
    content = _decode(sample)
    if not content:
        return None
    for start, kind, name in _STARTS:
        if content.startswith(start):
            return Guess(kind, name, "plaintext", f"{name} by its first line")
    if content[0] == "{":
        return _notebook(sample, content) or _json_lines(content) or _json_object(content)
    if content[0] == "[":
        return _json_records(content)
    return table(content)


def _decode(sample: Sample) -> str | None:
    """Return the complete lines at hand (a lone cut line too), or None for what is not text."""
    raw = sample.head
    if raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        content = raw[: len(raw) & ~1].decode("utf-16", "replace")
        return _whole_lines(content, complete=sample.whole)
    if _BINARY.search(raw):
        return None
    if not sample.whole and raw.count(b"\n") < 4:
        raw = sample.first(_MORE)
        if _BINARY.search(raw):
            return None
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        content = raw.decode()
    except UnicodeDecodeError as error:
        cut = not sample.whole and error.start >= len(raw) - 4  # inside the last character at hand
        content = raw[: error.start].decode() if cut else raw.decode("latin-1")
    return _whole_lines(content.replace("\r\n", "\n"), complete=sample.whole).lstrip()


def _whole_lines(content: str, *, complete: bool) -> str:
    cut = content.rfind("\n")
    return content if complete or cut < 0 else content[: cut + 1]


def _notebook(sample: Sample, content: str) -> Guess | None:
    end = (sample.tail(2048) or b"").decode("latin-1")
    both = content + end
    if '"nbformat"' not in both or ('"cells"' not in both and '"worksheets"' not in both):
        return None
    return Guess("notebook", "notebook", "plaintext", "Jupyter notebook: code, and data in its outputs")


def _json_lines(content: str) -> Guess | None:
    lines = [line for line in content.split("\n") if line.strip()][:_ROWS]
    if len(lines) < 2 or not all(isinstance(_loads(line), dict) for line in lines):
        return None
    return Guess("dataset", "jsonl", "plaintext", f"each of the first {len(lines)} lines is a JSON object")


def _json_object(content: str) -> Guess | None:
    if '"FeatureCollection"' not in content[:200]:
        return None
    return Guess("dataset", "geojson", "plaintext", "GeoJSON features")


def _json_records(content: str) -> Guess | None:
    """Tell a JSON array of records: its first objects share their keys."""
    decoder, position = json.JSONDecoder(), 1
    records: list[object] = []
    while len(records) < 20:
        while position < len(content) and content[position] in " \t\r\n,":
            position += 1
        try:
            record, position = decoder.raw_decode(content, position)
        except (ValueError, RecursionError):
            break
        records.append(record)
    fields = [set(record) for record in records if isinstance(record, dict)]
    common = set.intersection(*fields) if fields else set()
    if len(records) < 3 or len(fields) < len(records) or not common or 2 * len(common) < max(map(len, fields)):
        return None
    return Guess("dataset", "json-records", "plaintext", f"JSON array of records with the fields {', '.join(sorted(common)[:4])}")


def _loads(line: str) -> object:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value
