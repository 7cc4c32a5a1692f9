"""Values as JSON: dataclasses become objects, bytes lower-case hexadecimal, enumerations their values."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any


def to_plain(value: object) -> Any:
    """Return `value` in types that JSON has. Raises TypeError for one that has no JSON form."""
    if isinstance(value, enum.StrEnum):
        return value.value
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no place in a result")
