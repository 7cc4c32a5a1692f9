"""From a URI to a provider. Backends are imported when one of their URIs is opened, never before.

>>> known()
('awskms', 'azurekv', 'gcpkms', 'local', 'openbao', 'pkcs11', 'recovery', 'tpm')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from hermetic.errors import Unsupported, UsageError
from hermetic.keys.domain_file import check_uri
from hermetic.providers import regions
from hermetic.providers.place import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from hermetic.keys.provider import Provider
    from hermetic.providers.place import Place


class Backend(Protocol):
    """What a backend module offers.

    It may offer `remove(uri, place) -> str` too: wipe what this machine keeps of a dropped root, tried again after a crash, and say in
    a few words what became of it; `discard(uri, place)`, where making a root leaves more than that; `regions(uri, settings)`, where
    URIs say where a key lies (`regions`). `conformance` names three more that a backend may offer.
    """

    def open_(self, uri: str, place: Place) -> Provider:
        """Return the provider of an existing root."""

    def create(self, uri: str, place: Place, asked: Asked) -> Provider:
        """Make the root, or (a key service) check that it is there, and return its provider."""


KEPT = "stays in its provider, to be deleted there"
_BACKENDS: dict[str, str | Backend] = {
    "awskms": "hermetic.providers.awskms",
    "azurekv": "hermetic.providers.azurekv",
    "gcpkms": "hermetic.providers.gcpkms",
    "local": "hermetic.providers.local",
    "openbao": "hermetic.providers.openbao",
    "pkcs11": "hermetic.providers.pkcs11",
    "recovery": "hermetic.providers.recovery",
    "tpm": "hermetic.providers.tpm",
}


def known() -> tuple[str, ...]:
    """Return the known schemes."""
    return tuple(sorted(_BACKENDS))


def register(scheme: str, backend: Backend | None) -> None:
    """Add a backend for this process, or take it out with None: for tests and for providers that others write.

    Raises UsageError for the scheme of a built-in backend.
    """
    if isinstance(_BACKENDS.get(scheme), str):
        raise UsageError(f"the provider scheme {scheme!r} is built in")
    if backend is None:
        _BACKENDS.pop(scheme, None)
    else:
        _BACKENDS[scheme] = backend


def open_provider(uri: str, place: Place) -> Provider:
    """Return the provider `uri` for the root of `place`. Asks nobody; a locked root raises Locked when it is used.

    Raises UsageError (unknown scheme), Unsupported (missing extra or platform feature), and what the backend raises.
    """
    regions_of(uri, place.settings)
    return _backend(uri).open_(uri, place)


def create_root(uri: str, place: Place, asked: Asked | None = None) -> Provider:
    """Make a new root and return its provider. Raises Conflict if `place` has one already, and as `open_provider`."""
    regions_of(uri, place.settings)
    return _backend(uri).create(uri, place, asked or Asked())


def remove_root(uri: str, place: Place) -> str:
    """Wipe what this machine keeps of a root that was dropped; returns what became of it. Raises what the backend raises.

    Done twice it does nothing more. A key inside a service or a device stays there: whoever administers that deletes it.
    """
    remove = getattr(_backend(uri), "remove", None)
    return str(remove(uri, place)) if remove is not None else KEPT


def discard_root(uri: str, place: Place) -> None:
    """Take back a root that was made a moment ago, and that nothing hangs on, wherever it lies. Raises what the backend raises."""
    discard = getattr(_backend(uri), "discard", None)
    if discard is not None:
        discard(uri, place)
    else:
        remove_root(uri, place)


def backend_of(uri: str) -> object:
    """Return the backend module of a URI, for what it offers beyond `Backend`. Raises UsageError (unknown scheme)."""
    return _backend(uri)


def regions_of(uri: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the regions of a root (`regions`), () where nobody said. Raises UsageError (unknown scheme), ConfigError."""
    return regions.regions_of(uri, settings, _backend(uri))


def load_extra(module: str, extra: str, *, name: str = "") -> ModuleType:
    """Import an optional library, called `name` if not like its module. Raises Unsupported with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unsupported(f"{name or module.partition('.')[0]} is not installed", hint=f"pip install '.[{extra}]'") from None


def _backend(uri: str) -> Backend:
    scheme = check_uri(uri).partition(":")[0]
    if scheme not in _BACKENDS:
        raise UsageError(f"unknown provider {scheme!r}", hint=f"known are {', '.join(known())}")
    backend = _BACKENDS[scheme]
    return cast("Backend", importlib.import_module(backend)) if isinstance(backend, str) else backend
