"""What roots in the key service of a cloud share: the service wraps a fresh key, and that key seals the secret here.

    K         32 random bytes, new for each wrap
    B         K as the service wrapped it, 1 to 8,192 bytes; what they are says the backend's module
    wrapped   "HKS" 01 || length of B (2, big-endian) || B || nonce (12) || AES-256-GCM(K, secret) || tag (16)
    place     "HKS" 01 || scheme LF || root id LF || context
    aad       place || SHA-384(B)
    binding   SHA-384("hermetic/v1/key-service" LF || place), 48 bytes: associated data for a service that takes some

Why the secret itself is not given to the service, though two of the three would take 4,096 bytes:

- The service, and whoever reads the connection to it (now, or later with a quantum computer), sees K and never a key of the
  domain: to open one they need the wrap as well, which lies in the custody home.
- Root, context and every bit of B are bound here, whether the service takes and compares associated data or not.
- One form for all, with no size of a service in it.

It costs nothing: one call for a wrap, one for an unwrap. What it does not change: whoever may call the service *and* has the
custody home opens everything, as with any root.

No word that a service says reaches a message but its error code; what an SDK logs of its calls for debugging (request bodies,
which hold K) is dropped while a call of ours runs.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hermetic.crypto import aead, mac
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, IntegrityError, KeyServiceUnavailable, UsageError, WrongKey
from hermetic.formats.findings import Finding
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, ProviderState, ProviderStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.formats.findings import Severity
    from hermetic.keys.provider import Provider, RootId
    from hermetic.providers.conformance import Probe, Protection
    from hermetic.providers.place import Asked, Place

TESTED: Final = "protocol-tested"  # said wherever these are shown: no live cloud has seen this code
KEY: Final = 32
BLOB_LIMIT: Final = 8192
_MARKER: Final = b"HKS\x01"
_HEAD: Final = len(_MARKER) + 2
_LABEL: Final = b"hermetic/v1/key-service\n"
_calling: contextvars.ContextVar[bool] = contextvars.ContextVar("hermetic_key_service_calling", default=False)


@dataclass(frozen=True, slots=True)
class Described:
    """What a service says of the key. `unfit` is why it can never be a root, `down` why it cannot be used now; None is well."""

    detail: str
    unfit: str | None = None
    down: str | None = None
    hint: str | None = None
    findings: tuple[Finding, ...] = ()


class KeyServiceRoot(ABC):
    """A provider whose root stays in a service. Calls come from any thread; a forked child gets a client of its own."""

    scheme: ClassVar[str]
    in_provider = True
    at_once = 8  # calls beside each other where many items are asked for: an SDK takes one a call
    loggers: ClassVar[tuple[str, ...]] = ()  # of the SDK, that write what is sent and answered
    binds: ClassVar[bool] = True  # whether the service promises to refuse another binding
    extraction: ClassVar[str] = "the service offers no way to take a key out; nobody can see from here that there is none"
    deletion: ClassVar[str] = "the service says how long it waits; seeing it would take deleting the key"

    def __init__(self, uri: str, place: Place) -> None:
        self._uri, self.place = uri, place
        self._lock = threading.Lock()
        self._pid, self._made = -1, None

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self.place.root_id

    @abstractmethod
    def connect(self) -> Any:
        """Make the SDK's client; calls nothing. Raises Unsupported (missing extra), KeyServiceUnavailable (no credentials)."""

    @abstractmethod
    def protect(self, key: Secret, binding: bytes) -> bytes:
        """Have the service wrap K, return B. Raises KeyServiceUnavailable."""

    @abstractmethod
    def recover(self, blob: bytes, binding: bytes) -> Secret:
        """Have the service unwrap B, return K. Raises KeyServiceUnavailable, IntegrityError."""

    @abstractmethod
    def describe(self) -> Described:
        """Ask the service about the key. Raises KeyServiceUnavailable."""

    def algorithm(self) -> tuple[str, bool | None]:
        """Return what wraps K, and whether it lasts against quantum computers. Raises KeyServiceUnavailable."""
        return "AES-256-GCM of the service", True

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under a fresh key that the service wrapped, both bound to `context`."""
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
        key, place = Secret.random(KEY), self._place(context)
        return _joined(self.protected(key, _binding(place)), (key, secret), place)

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        blob, sealed = _parts(wrapped)
        place = self._place(context)
        return self._opened(self.recovered(blob, _binding(place)), sealed, _aad(place, blob))

    def rewrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the same secret under the newest version of the service's key."""
        secret = self.unwrap(wrapped, context)
        return self.wrap(secret, context)

    def moved(self, wrapped: bytes, context: bytes, move: Callable[[bytes, bytes], bytes]) -> bytes:
        """Return the same secret where `move` (B, binding) returns B for the same K; what it returns is opened before it is kept."""
        blob, sealed = _parts(wrapped)
        place = self._place(context)
        with self._quietly():
            renewed = move(blob, _binding(place))
        key = self.recovered(renewed, _binding(place))
        return _joined(renewed, (key, self._opened(key, sealed, _aad(place, blob))), place)

    def protected(self, key: Secret, binding: bytes) -> bytes:
        """Call `protect`, with nothing of it logged."""
        with self._quietly():
            return self.protect(key, binding)

    def recovered(self, blob: bytes, binding: bytes) -> Secret:
        """Call `recover`, with nothing of it logged. Raises IntegrityError for another length."""
        with self._quietly():
            key = self.recover(blob, binding)
        if len(key) != KEY:
            raise IntegrityError(f"{self.uri} unwrapped {len(key)} bytes, expected {KEY}")
        return key

    def status(self) -> ProviderStatus:
        """Say what the service says of the key; raises nothing."""
        try:
            seen = self.describe()
        except HermeticError as error:
            return self._status(ProviderState.UNREACHABLE, error.message)
        why = seen.unfit or seen.down
        if why is not None:
            return self._status(ProviderState.UNREACHABLE, f"{why}; {seen.detail}", seen.findings)
        return self._status(ProviderState.READY, seen.detail, seen.findings)

    def check(self) -> None:
        """Refuse a key that cannot be a root. Raises UsageError (never), KeyServiceUnavailable (not now, or not for us)."""
        seen = self.describe()
        if seen.unfit is not None:
            raise UsageError(f"{self.uri}: {seen.unfit}", hint=seen.hint)
        if seen.down is not None:
            raise KeyServiceUnavailable(f"{self.uri}: {seen.down}", hint=seen.hint)
        probe = Secret.random(KEY)
        if not self.unwrap(self.wrap(probe, b"probe"), b"probe").same_as(probe):
            raise IntegrityError(f"{self.uri} gives back another key than it was given")

    def client(self) -> Any:
        """Return the client of this process."""
        with self._lock:
            if self._pid != os.getpid():
                self._made, self._pid = self.connect(), os.getpid()
            return self._made

    def wrong(self) -> WrongKey:
        """Return the error for a wrap that does not open."""
        return WrongKey(
            f"a wrapped key does not open under root {self.root_id} ({self.uri})",
            hint="it was changed, or belongs to another root, key or place: `hermetic log verify`, then restore a backup",
        )

    def finding(self, code: str, severity: Severity, message: str, remedy: str) -> Finding:
        """Return a finding about this root."""
        return Finding(code, severity, self.root_id, message, remedy)

    def _opened(self, key: Secret, sealed: bytes, aad: bytes) -> Secret:
        try:
            return Secret(aead.open_(key, sealed, aad))
        except WrongKey:
            raise self.wrong() from None

    def _place(self, context: bytes) -> bytes:
        return _MARKER + f"{self.scheme}\n{self.root_id}\n".encode("ascii") + context

    def _status(self, state: ProviderState, detail: str, findings: tuple[Finding, ...] = ()) -> ProviderStatus:
        message = "this kind of root was tried against servers that speak the service's protocol, not against the service itself"
        remedy = "try it in your account first, and keep a second root: hermetic key root add URI"
        found = (*findings, self.finding(TESTED, "low", message, remedy))
        return ProviderStatus(self.uri, self.root_id, state, f"{TESTED}; {detail}", None, root_in_process=False, findings=found)

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        for name in self.loggers:
            logging.getLogger(name).addFilter(_no_bodies)
        before = _calling.set(True)
        try:
            yield
        finally:
            _calling.reset(before)


def create(root: KeyServiceRoot, asked: Asked) -> None:
    """Take the key that is there as a root: look at it, and have it wrap and unwrap once. Raises as `check`."""
    if asked.root is not None:
        raise UsageError(
            f"a root cannot be brought into {root.scheme}", hint="keep it under a local root, then add a root in the service"
        )
    root.check()


def probes(provider: Provider) -> Iterator[Probe]:
    """Find out what the service enforces."""
    from hermetic.providers import service_probes  # noqa: PLC0415 - for the report only

    return service_probes.probes(provider)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms."""
    from hermetic.providers import service_probes  # noqa: PLC0415 - for the report only

    return service_probes.protections(provider)


def neighbour(provider: Provider) -> Provider:
    """Return another root with the same key."""
    from hermetic.providers import service_probes  # noqa: PLC0415 - for the report only

    return service_probes.neighbour(provider)


def _binding(place: bytes) -> bytes:
    return mac.sha384(_LABEL + place)


def _aad(place: bytes, blob: bytes) -> bytes:
    return place + mac.sha384(blob)


def _joined(blob: bytes, inside: tuple[Secret, Secret], place: bytes) -> bytes:
    """Return a wrap; `inside` are K and the secret."""
    if not 0 < len(blob) <= BLOB_LIMIT:
        raise IntegrityError(f"the key service made a wrap of {len(blob)} bytes, expected 1 to {BLOB_LIMIT}")
    return _MARKER + len(blob).to_bytes(2, "big") + blob + aead.seal(inside[0], inside[1].view(), _aad(place, blob))


def _parts(wrapped: bytes) -> tuple[bytes, bytes]:
    """Return B and the sealed secret."""
    length = int.from_bytes(wrapped[len(_MARKER) : _HEAD], "big")
    blob, sealed = wrapped[_HEAD : _HEAD + length], wrapped[_HEAD + length :]
    fits = 0 < length <= BLOB_LIMIT and aead.OVERHEAD < len(sealed) <= aead.OVERHEAD + SECRET_LIMIT
    if not wrapped.startswith(_MARKER) or not fits:
        raise FormatError("not a wrap of a root in a key service: wrong length or marker")
    return blob, sealed


def _no_bodies(record: logging.LogRecord) -> bool:
    return not (record.levelno <= logging.DEBUG and _calling.get())
