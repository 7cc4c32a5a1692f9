"""The wrapped keys beside a file, `_KEY_MATERIAL_FOR_<name>.json` of Parquet's key tools, wrapped anew under the latest column keys.

Arrow's own `rotate_master_keys` does the same, but it removes the old keys before the new ones have their name: a crash in between
loses the file. Here the new ones replace the old in one step, after each was opened again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hermetic.assets.session import fresh_id
from hermetic.errors import FormatError

if TYPE_CHECKING:
    from hermetic.integrations.parquet.keyring import Keyring

PREFIX = "_KEY_MATERIAL_FOR_"
SUFFIX = ".json"
LIMIT = 64 * 1024 * 1024  # bytes
_TYPE = "PKMT1"


def beside(path: str) -> str:
    """Return where the wrapped keys of the Parquet file at `path` lie."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{PREFIX}{name}{SUFFIX}"


def rewrapped(content: bytes, keyring: Keyring) -> bytes:
    """Return key material whose keys are wrapped under the latest versions. Raises FormatError, and what releases raise."""
    file = fresh_id()
    found = {name: _rewrapped_one(_object(text), keyring, file) for name, text in _object(content).items()}
    return json.dumps(found).encode("ascii")


def _rewrapped_one(entry: dict[str, Any], keyring: Keyring, file: str) -> str:
    field = "wrappedKEK" if entry.get("doubleWrapping") is True else "wrappedDEK"
    name, wrapped = entry.get("masterKeyID"), entry.get(field)
    if entry.get("keyMaterialType") != _TYPE or not isinstance(name, str) or not isinstance(wrapped, str):
        raise FormatError("the key material is not that of Parquet's key tools, type 1")
    again, name = keyring.rewrap(wrapped, name, file)
    return json.dumps(entry | {"masterKeyID": name, field: again}, separators=(",", ":"))


def _object(text: str | bytes | object) -> dict[str, Any]:
    if not isinstance(text, str | bytes) or len(text) > LIMIT:
        raise FormatError("the key material is not JSON in JSON, or too long")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError("the key material is no JSON") from None
    if not isinstance(value, dict):
        raise FormatError("the key material is no JSON object")
    return value
