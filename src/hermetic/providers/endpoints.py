"""Addresses and error codes of key services: what may stand in a setting, and what may stand in a message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hermetic.errors import ConfigError

_ADDRESS: Final = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?/?")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,59}")
_LOOPBACK: Final = {"127.0.0.1", "[::1]", "localhost"}


def endpoint(uri: str, value: str) -> str:
    """Return the setting `endpoint` if it is the address of a server: https, or http on this machine. Raises ConfigError."""
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found[3] or 1) > 65_535 or not (found[1] == "https" or found[2] in _LOOPBACK):
        raise ConfigError(
            f"config.yaml, providers, {uri}: endpoint is the address of a server",
            hint="https://HOST or https://HOST:PORT; http:// is taken for this machine only",
        )
    return value.rstrip("/")


def ca(uri: str, value: str) -> str:
    """Return the setting `ca` if it is an absolute path. Raises ConfigError."""
    if not Path(value).is_absolute():
        raise ConfigError(f"config.yaml, providers, {uri}: ca is an absolute path")
    return value


def word(value: object, otherwise: str) -> str:
    """Return an error code that a service gave if it is a plain word, else `otherwise`."""
    text = value if isinstance(value, str) else ""
    return text if _WORD.fullmatch(text) else otherwise
