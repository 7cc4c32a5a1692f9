"""Tables written as text: delimited, ARFF, LIBSVM, columns of numbers. Told from prose and code by equal width and typed columns."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from hermetic.gate.sniff.sample import Guess

if TYPE_CHECKING:
    from collections.abc import Sequence

    Rows = Sequence[Sequence[str]]

ROWS = 60  # rows looked at
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_DATE = r"\d{4}-\d\d-\d\d(?:[T ][\d:.,+Zz-]+)?|\d\d?[./]\d\d?[./]\d{2,4}"
_NUMERIC = re.compile(rf"(?:{_NUMBER}|[+-]?(?:nan|inf))", re.IGNORECASE)
_TYPED = re.compile(rf"\s*(?:{_NUMBER}|{_DATE}|nan|null|none|true|false)?\s*", re.IGNORECASE)
_HEADING = re.compile(r"\s*[\w .()%/#$@°-]{1,64}\s*")
_LIBSVM = re.compile(r"[+-]?[\d.]+(?: \d+:[-+.\deE]+)+\s*")
_WHEEL_RECORD = re.compile(r"^[^,\n]+,sha256=[\w-]{43},\d+$", re.MULTILINE)  # what pip wrote about an installed package
_NO_TABLE = ("|", "#!", "//", "/*", "<", "{", "}")


def table(content: str) -> Guess | None:
    """Return which kind of table `content`, complete lines from the start of a file, is; None for prose and code."""
    lines = content.split("\n")
    while lines and (not lines[0].strip() or (lines[0].startswith(("#", "%")) and not lines[0].startswith("#!"))):
        del lines[0]
    if not lines or lines[0].startswith(_NO_TABLE) or _WHEEL_RECORD.search(content):
        return None
    if lines[0].lower().startswith("@relation"):
        return _found("arff", "ARFF table")
    first = [line for line in lines if line.strip()][:ROWS]
    if len(first) >= 3 and all(_LIBSVM.fullmatch(line) for line in first):
        return _found("libsvm", "LIBSVM rows")
    return _delimited(lines) or _columns_of_numbers(first)


def _found(name: str, reason: str) -> Guess:
    return Guess("dataset", name, "plaintext", reason)


def _delimited(lines: Sequence[str]) -> Guess | None:
    for delimiter, name in ((",", "csv"), ("\t", "tsv"), (";", "csv"), ("|", "csv")):
        if delimiter in lines[0]:
            rows = _rows(lines, delimiter)
            if rows and (_is_table(rows) or _is_typed_below_a_line(rows)):
                return _found(
                    name,
                    f"{'the first ' if len(rows) == ROWS else ''}{len(rows)} rows have {len(rows[-1])} fields between {delimiter!r}",
                )
    return None


def _rows(lines: Sequence[str], delimiter: str) -> Rows:
    """Return the first rows; nothing if the quoting is not that of a table."""
    rows: list[list[str]] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while len(rows) < ROWS:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:  # a quote left open where the head was cut, or no table
            return rows if len(rows) > 5 else []
        if row:
            rows.append(row)
    return rows


def _is_table(rows: Rows) -> bool:
    """Tell equal rows with a typed column, or under a proper heading."""
    width, body = len(rows[0]), rows[1:]
    if width < 2 or not body or any(len(row) != width for row in body):
        return False
    heading = len(set(rows[0])) == width and all(_HEADING.fullmatch(cell) for cell in rows[0])
    if _typed_columns(body):
        return len(rows) >= 3 or (width >= 3 and heading)
    return heading and len(rows) >= (5 if width >= 3 else 10)


def _is_typed_below_a_line(rows: Rows) -> bool:
    """Tell equal rows, most columns typed, below a first line of another width (counts, a title)."""
    body = rows[1:]
    if len(body) < 4 or len(body[0]) < 2 or any(len(row) != len(body[0]) for row in body):
        return False
    return 2 * _typed_columns(body) > len(body[0])


def _typed_columns(body: Rows) -> int:
    columns = zip(*body, strict=True)
    return sum(any(cell.strip() for cell in column) and all(_TYPED.fullmatch(cell) for cell in column) for column in columns)


def _columns_of_numbers(lines: Sequence[str]) -> Guess | None:
    """Tell numbers between blanks, with or without a heading; a single column needs 20 rows."""
    rows = [line.split() for line in lines]
    body = rows[1:]
    width = len(rows[0])
    if len(body) < (2 if width > 1 else 20) or any(len(row) != width for row in body):
        return None
    if not all(_NUMERIC.fullmatch(cell) for row in body for cell in row):
        return None
    return _found("columns", f"{len(rows)} lines of {width} numbers")
