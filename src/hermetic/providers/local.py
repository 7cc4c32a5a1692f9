"""`local:KIND`: roots that this machine keeps itself. Each kind is a module of its own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import UsageError
from hermetic.providers.local_root import LocalRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider
    from hermetic.providers.conformance import Probe, Protection
    from hermetic.providers.place import Asked, Place

KINDS: Final = {
    "passphrase": "hermetic.providers.local_passphrase",
    "keyring": "hermetic.providers.local_keyring",
    "insecure-file": "hermetic.providers.local_insecure_file",
}


def open_(uri: str, place: Place) -> Provider:
    """Return the provider of an existing local root."""
    found: Provider = _kind(uri).open_(uri, place)
    return found


def create(uri: str, place: Place, asked: Asked) -> Provider:
    """Make a local root."""
    made: Provider = _kind(uri).create(uri, place, asked)
    return made


def remove(uri: str, place: Place) -> str:
    """Wipe the file or entry of a root that was dropped. Raises StorageError, KeyServiceUnavailable."""
    return str(_kind(uri).remove(uri, place))


def probes(provider: Provider) -> Iterator[Probe]:
    """Say what a root on this machine cannot enforce. What the desktop's keyring does is not seen from here."""
    from hermetic.providers import local_probes  # noqa: PLC0415 - for the report only

    return local_probes.probes(provider)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms of wraps and of what keeps the root."""
    from hermetic.providers import local_probes  # noqa: PLC0415 - for the report only

    return local_probes.protections(provider)


def neighbour(provider: Provider) -> Provider | None:
    """Return another root of the same id, in memory: it must refuse what this one wraps."""
    from hermetic.providers.local_memory import MemoryRoot  # noqa: PLC0415 - for the report only
    from hermetic.providers.local_root import new_root  # noqa: PLC0415
    from hermetic.providers.place import Asked  # noqa: PLC0415

    if not isinstance(provider, LocalRoot):
        return None
    return MemoryRoot("local:memory", provider.place, new_root(Asked()))


def _kind(uri: str) -> Any:
    kind = uri.partition(":")[2]
    if kind not in KINDS:
        raise UsageError(f"unknown local root {kind!r}", hint="write " + ", ".join(f"local:{known}" for known in KINDS))
    return importlib.import_module(KINDS[kind])
