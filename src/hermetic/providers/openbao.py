"""`openbao:MOUNT/KEY`: a root that is a key of the transit engine of OpenBao or HashiCorp Vault. It never leaves the server.

MOUNT may have slashes (`openbao:team/transit/hermetic`); the last part is the key. One URI is one root of a domain: two servers with
the same mount and key name cannot both be roots of it. A namespace is a setting.

    K           32 random bytes, new for each wrap; what the server encrypts
    B           version of the transit key (4, big endian) || nonce (12) || AES-256-GCM(derived key, K) || tag (16)
    wrapped     "HBW" 01 || B || nonce (12) || AES-256-GCM(K, secret) || tag (16)
    aad         "HBW" 01 || root id LF || context
    context     SHA-256("hermetic/v1/openbao" LF || root id LF || context): what the server derives its key from

The context is bound twice: by the server, as its derived key (rewrap keeps that, and drops associated data), and here. The server,
and who records the connection to read it in the days of quantum computers, sees K and needs the wrap as well. Version 0 is refused,
since the server takes it for version 1; B is kept decoded, since the server overlooks stray bits at the end of base64.

    openbao_settings   what config.yaml says
    openbao_server     address, TLS, the connection
    openbao_http       requests, repetitions, limits
    openbao_auth       logins and tokens
    openbao_transit    the key, batches, what its errors mean
    openbao_probes     for the conformance report
    openbao_audit      reading the audit file of the server
    openbao_record     the same for `hermetic log reconcile`
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final, TypeVar

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, UsageError, WrongKey
from hermetic.formats.findings import Finding
from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers import openbao_wrap
from hermetic.providers.openbao_auth import Session
from hermetic.providers.openbao_http import Client
from hermetic.providers.openbao_settings import login, server
from hermetic.providers.openbao_transit import TransitKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hermetic.keys.provider import Provider, ProviderUse, RootId
    from hermetic.providers.conformance import Probe, Protection
    from hermetic.providers.openbao_transit import KeyInfo
    from hermetic.providers.openbao_wrap import Wrapped
    from hermetic.providers.place import Asked, Place

A = TypeVar("A")
T = TypeVar("T")

_URI: Final = re.compile(r"openbao:((?:[A-Za-z0-9][A-Za-z0-9._-]*/)+)([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


class OpenBaoRoot:
    """A root in OpenBao; also a `BatchProvider`, and one that `ReportsUses`."""

    in_provider = True

    def __init__(self, uri: str, place: Place, key: TransitKey) -> None:
        self._uri, self.place, self.key = uri, place, key

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self.place.root_id

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under the root, bound to `context`. Raises IntegrityError for a key that is no root any more."""
        return _only(self.wrap_many([(secret, context)]))

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        return _only(self.unwrap_many([(wrapped, context)]))

    def wrap_many(self, items: Sequence[tuple[Secret, bytes]]) -> list[bytes | HermeticError]:
        """Wrap (secret, context) pairs; a result is the wrap or the error of that item. Raises UsageError for sizes."""
        keys = [Secret.random(openbao_wrap.KEY) for _ in items]
        sealed = [openbao_wrap.seal(key, secret, self.root_id, context) for key, (secret, context) in zip(keys, items, strict=True)]
        self.key.check()
        asked = [
            {"plaintext": b64encode(key.view()).decode("ascii"), "context": openbao_wrap.derivation(self.root_id, context)}
            for key, (_, context) in zip(keys, items, strict=True)
        ]
        results = self.key.each("encrypt", asked, "ciphertext")
        return [_outcome(result, _joined, part) for result, part in zip(results, sealed, strict=True)]

    def unwrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[Secret | HermeticError]:
        """Unwrap (wrapped, context) pairs; a result is the secret or the error of that item."""

        def read(text: str, wrap: Wrapped, context: bytes) -> Secret:
            return openbao_wrap.open_(text, wrap.sealed, self.root_id, context)

        return self._over(items, ("decrypt", "plaintext"), read)

    def rewrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[bytes | HermeticError]:
        """Bring (wrapped, context) pairs under the newest version of the transit key, inside the server; a result is the new wrap or
        the error of that item. What is sealed here stays as it is."""

        def read(text: str, wrap: Wrapped, _: bytes) -> bytes:
            new = openbao_wrap.joined(text, wrap.sealed)
            if new.version < wrap.version:
                raise FormatError("OpenBao rewrapped to an older version of the key")
            return new.encode()

        self.key.check()
        return self._over(items, ("rewrap", "ciphertext"), read)

    def take_uses(self) -> tuple[ProviderUse, ...]:
        """Return what the server answered since the last call, by its own ids."""
        return self.key.session.uses.take()

    def status(self) -> ProviderStatus:
        """Say whether the server gives this identity the key, and what is wrong with it."""
        try:
            info = self.key.info()
        except HermeticError as error:
            return self._status(ProviderState.UNREACHABLE, error.message)
        if info is None:
            return self._status(ProviderState.UNREACHABLE, "the transit key was deleted")
        where = self.key.session.client.server.address
        return self._status(ProviderState.READY, f"version {info.latest_version} at {where}", self._findings(info))

    def _status(self, state: ProviderState, detail: str, findings: tuple[Finding, ...] = ()) -> ProviderStatus:
        return ProviderStatus(self.uri, self.root_id, state, detail, root_in_process=False, findings=findings)

    def _findings(self, info: KeyInfo) -> tuple[Finding, ...]:
        name, config = f"{self.key.mount}/{self.key.name}", f"bao write {self.key.mount}/keys/{self.key.name}/config"
        found = [
            Finding("openbao-weak-key", "high", self.root_id, f"transit key {name} {why}", "move this domain to another root")
            for why in info.weak
        ]
        if info.deletion_allowed:
            message = f"transit key {name} may be deleted, which does not wait"
            found.append(Finding("openbao-deletion-allowed", "high", self.root_id, message, f"{config} deletion_allowed=false"))
        if "root" in self.key.session.token().policies:
            message, remedy = "this machine uses a root token of OpenBao, which may do anything there", "give it a policy of its own"
            found.append(Finding("openbao-root-token", "high", self.root_id, message, remedy))
        return tuple(found)

    def _over(
        self, items: Sequence[tuple[bytes, bytes]], how: tuple[str, str], read: Callable[[str, Wrapped, bytes], T]
    ) -> list[T | HermeticError]:
        """Ask (operation, field of the result) for what can be a wrap, and put the errors of the rest in their places."""
        wraps = [_outcome(wrapped, openbao_wrap.decode) for wrapped, _ in items]
        asked = [
            {"ciphertext": wrap.ciphertext, "context": openbao_wrap.derivation(self.root_id, context)}
            for wrap, (_, context) in zip(wraps, items, strict=True)
            if not isinstance(wrap, HermeticError)
        ]
        answers = iter(self.key.each(how[0], asked, how[1]))
        return [
            wrap if isinstance(wrap, HermeticError) else _outcome(next(answers), read, wrap, context)
            for wrap, (_, context) in zip(wraps, items, strict=True)
        ]


def open_(uri: str, place: Place) -> OpenBaoRoot:
    """Return the provider of an existing root; nothing is asked of the server yet. Raises UsageError, ConfigError."""
    mount, key = parse(uri)
    session = Session(Client(server(uri, place)), login(uri, place), clock=place.boot)
    return OpenBaoRoot(uri, place, TransitKey(session, mount, key))


def parse(uri: str) -> tuple[str, str]:
    """Return mount and key of a URI. Raises UsageError."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise UsageError(f"{uri[:80]} names no transit key", hint="openbao:MOUNT/KEY, as openbao:transit/hermetic")
    return found[1].rstrip("/"), found[2]


def create(uri: str, place: Place, asked: Asked) -> OpenBaoRoot:
    """Take the transit key for a root; make it if it is not there and the login may.

    Raises UsageError for a key that cannot be a root, KeyServiceUnavailable, IntegrityError.
    """
    if asked.root is not None:
        raise UsageError("a root cannot be brought into OpenBao", hint="make a new root there, and let the domain hold both")
    provider = open_(uri, place)
    key = provider.key
    info = key.info()
    if info is None:
        key.create()
        info = key.info()
    if info is None or info.weak:
        why = "cannot be read" if info is None else " and ".join(info.weak)
        raise UsageError(
            f"transit key {key.mount}/{key.name} {why}, so it can be no root", hint="name another key: it is made if need be"
        )
    secret, context = Secret.random(32), b"tried before anything depends on it"
    if not provider.unwrap(provider.wrap(secret, context), context).same_as(secret):
        raise WrongKey(f"{uri} does not give back what it was given")
    return provider


def probes(provider: Provider) -> Iterable[Probe]:
    """Find out what the server enforces."""
    from hermetic.providers import openbao_probes  # noqa: PLC0415 - for the report only

    return openbao_probes.probes(provider)


def protections(provider: Provider) -> Iterable[Protection]:
    """Name the algorithms of wraps and of the way to the server."""
    from hermetic.providers import openbao_probes  # noqa: PLC0415 - for the report only

    return openbao_probes.protections(provider)


def neighbour(provider: Provider) -> Provider | None:
    """Return another root over the same transit key: it must refuse what this one wraps."""
    from hermetic.providers import openbao_probes  # noqa: PLC0415 - for the report only

    return openbao_probes.neighbour(provider)


def _joined(ciphertext: str, sealed: bytes) -> bytes:
    return openbao_wrap.joined(ciphertext, sealed).encode()


def _outcome(given: A | HermeticError, read: Callable[..., T], *more: object) -> T | HermeticError:
    """Read a result; an error that it is, or that reading it raises, is the outcome."""
    if isinstance(given, HermeticError):
        return given
    try:
        return read(given, *more)
    except HermeticError as error:
        return error


def _only(results: list[T | HermeticError]) -> T:
    (result,) = results
    if isinstance(result, HermeticError):
        raise result
    return result
