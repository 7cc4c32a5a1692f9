"""`local:KIND`: roots that this machine keeps itself. Each kind is a module of its own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from hermetic.keys.provider import Provider
    from hermetic.providers.place import Asked, Place
    from hermetic.providers.registry import Backend

KINDS: Final = {
    "passphrase": "hermetic.providers.local_passphrase",
    "keyring": "hermetic.providers.local_keyring",
    "insecure-file": "hermetic.providers.local_insecure_file",
}


def open_(uri: str, place: Place) -> Provider:
    """Return the provider of an existing local root."""
    return _kind(uri).open_(uri, place)


def create(uri: str, place: Place, asked: Asked) -> Provider:
    """Make a local root."""
    return _kind(uri).create(uri, place, asked)


def _kind(uri: str) -> Backend:
    kind = uri.partition(":")[2]
    if kind not in KINDS:
        raise UsageError(f"unknown local root {kind!r}", hint="write " + ", ".join(f"local:{known}" for known in KINDS))
    return cast("Backend", importlib.import_module(KINDS[kind]))
