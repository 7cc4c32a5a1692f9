"""Which column of a file is under which column key: every one of them is under one.

A name stands for a whole column, or for a part of a nested one by its path in Parquet: `visits`, `visits.list.element.diagnosis`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from hermetic.errors import UsageError
from hermetic.integrations.parquet.keyring import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEPARATORS = ":;,"  # of Arrow's own notation of what is under which key
_SHAPING = ("version", "use_compliant_nested_type", "store_schema", "use_deprecated_int96_timestamps", "coerce_timestamps")


def leaves(schema: Any, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the columns that a file of this Arrow schema has. `options` are those of the write."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink, **{name: options[name] for name in _SHAPING if name in options})
    made = pq.ParquetFile(sink).schema
    return tuple(made.column(at).path for at in range(len(made)))


def assign(paths: Sequence[str], columns: Mapping[str, Sequence[str]], footer: str) -> dict[str, list[str]]:
    """Return column key to paths; what `columns` leaves out is under `footer`. Raises UsageError, InvalidName."""
    found: dict[str, str] = {}
    for key, named in columns.items():
        check_name(key)
        if isinstance(named, str):
            raise UsageError(f"the columns under {key} are a list of names", hint=f"write {{{key!r}: [{named!r}]}}")
        for name in named:
            for path in _named(paths, name):
                if found.setdefault(path, key) != key:
                    raise UsageError(f"column {path!r} is under two keys: {found[path]} and {key}")
    under: dict[str, list[str]] = {}
    for path in paths:
        if path != path.strip() or any(mark in path for mark in _SEPARATORS):
            raise UsageError(
                f"Arrow cannot encrypt a column called {path!r}", hint=f"rename it: without {_SEPARATORS!r}, or spaces at its ends"
            )
        under.setdefault(found.get(path, check_name(footer)), []).append(path)
    return under


def _named(paths: Sequence[str], name: str) -> list[str]:
    matching = [path for path in paths if path == name or path.startswith(f"{name}.")]
    if not matching:
        raise UsageError(f"the table has no column {name!r}", hint="it has " + ", ".join(paths[:20]))
    return matching
