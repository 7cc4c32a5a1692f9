"""`pkcs11:token=LABEL;object=LABEL`: a root that an HSM or a smart card generated and keeps, extra `pkcs11`.

The root never enters this process; wrapping and unwrapping happen inside the token. What enters is the PIN, and the secrets that are
wrapped and unwrapped. Settings in config.yaml: `module`, the shared library of the token's maker, and `pin_file`.

    pkcs11_uri        which token, which key
    pkcs11_module     loading a module, restarts, forks
    pkcs11_token      sessions, logging in; pkcs11_pin reads the PIN and remembers a wrong one
    pkcs11_keys       root keys: made, found, checked
    pkcs11_wrapping   mechanisms, and the bytes of a wrap
    pkcs11_signer     signing keys inside a token; `signing_tokens` finds their tokens
    pkcs11_errors     what return values mean

PyKCS11 holds Python's global lock while the token works: other threads of the process wait for as long as the token takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from hermetic.crypto.secret import Secret
from hermetic.errors import (
    FormatError,
    HermeticError,
    KeyServiceUnavailable,
    Locked,
    Unsupported,
    UsageError,
    WrongKey,
)
from hermetic.formats.findings import Finding
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, ProviderState, ProviderStatus
from hermetic.providers import pkcs11_keys, pkcs11_wrapping
from hermetic.providers.pkcs11_token import Token, text
from hermetic.providers.pkcs11_wrapping import Doubtful, Way, place_of, way_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider, RootId
    from hermetic.providers.conformance import Probe, Protection
    from hermetic.providers.place import Asked, Place

FINDING = "software-token"
_SOFTWARE = "SoftHSM"


class Pkcs11Root:
    """A root in a token."""

    root_in_process = False
    in_provider = True

    def __init__(self, uri: str, place: Place, *, key: RootId | None = None) -> None:
        """`key` names the root whose key is used, if not this one's. Raises UsageError, ConfigError; touches no token."""
        self._uri, self.place = uri, place
        self._key = key or place.root_id
        self.token = Token(uri, place)

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self.place.root_id

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under the root, bound to `context`."""
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")

        def work(session: Any) -> bytes:
            key = pkcs11_keys.find(session, self.token, self._key)
            way = Way.GCM if key.encrypts else self._key_wrap(session)
            place = place_of(way, self.root_id, context)
            wrapped = pkcs11_wrapping.seal(session, key.handle, secret, way, place=place)
            self._check_opens(session, key.handle, wrapped, (place, secret))
            return wrapped

        return self.token.run(work)

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        way = way_of(wrapped)
        place = place_of(way, self.root_id, context)

        def work(session: Any) -> Secret:
            key = pkcs11_keys.find(session, self.token, self._key)
            if not key.allows(way):
                raise FormatError(f"a wrapped key was wrapped in another way than root {self.root_id} allows")
            return pkcs11_wrapping.open_(session, key.handle, wrapped, place=place)

        try:
            return self.token.run(work)
        except WrongKey:
            self._refuse()
        except Doubtful as doubt:
            self._check_works(doubt)
            self._refuse()

    def status(self) -> ProviderStatus:
        """Say whether the token is there and the root in it; logs in if nobody has, and never tries a PIN that was refused."""
        state, findings = ProviderState.READY, tuple[Finding, ...]()
        try:
            detail, findings = self.token.run(self._look)
        except Locked as error:
            state, detail = ProviderState.LOCKED, error.message
        except HermeticError as error:
            state, detail = ProviderState.UNREACHABLE, error.message
        return ProviderStatus(self.uri, self.root_id, state, detail, root_in_process=False, findings=findings)

    def _look(self, session: Any) -> tuple[str, tuple[Finding, ...]]:
        key = pkcs11_keys.find(session, self.token, self._key)
        info = session.pykcs11.getTokenInfo(session.getSessionInfo().slotID)
        how = "AES-256-GCM" if key.encrypts else "AES key wrap"
        model, serial = text(info.model), text(info.serialNumber)
        findings = (self._finding(),) if model.startswith(_SOFTWARE) else ()
        return f"{how} inside token {self.token.name} ({model}, serial {serial})", findings

    def _finding(self) -> Finding:
        return Finding(
            code=FINDING,
            severity="medium",
            subject=self.root_id,
            message="the token is software: its keys lie in files of this machine, under the PIN",
            remedy="for anything but trying out, use a device that keeps keys to itself",
        )

    def _key_wrap(self, session: Any) -> Way:
        """Return which number the token has for key wrap with padding."""
        slot = session.getSessionInfo().slotID
        return pkcs11_wrapping.offered(session.pykcs11, slot, (Way.KWP, Way.KEY_WRAP_PAD))

    def _check_opens(self, session: Any, handle: Any, wrapped: bytes, given: tuple[bytes, Secret]) -> None:
        place, secret = given
        try:
            good = pkcs11_wrapping.open_(session, handle, wrapped, place=place).same_as(secret)
        except (WrongKey, Doubtful):
            good = False
        if not good:
            raise Unsupported(
                f"token {self.token.name} does not give back what it was given",
                hint="does it take nonces of its own? use another token",
            )

    def _check_works(self, doubt: Doubtful) -> None:
        """Tell a wrap that does not open from a token that does not work: let it wrap something else. Raises KeyServiceUnavailable."""
        try:
            self.wrap(Secret.random(SECRET_LIMIT // 128), b"")
        except Unsupported:
            raise KeyServiceUnavailable(
                f"token {self.token.name} does not work: {doubt}", hint="look at the token's own log"
            ) from None

    def _refuse(self) -> NoReturn:
        raise WrongKey(
            f"a wrapped key does not open under root {self.root_id}",
            hint="it was changed, or belongs to another root or place: `hermetic log verify`, then restore a backup",
        ) from None


def open_(uri: str, place: Place) -> Pkcs11Root:
    """Return the provider of an existing root; touches the token when it is used."""
    return Pkcs11Root(uri, place)


def create(uri: str, place: Place, asked: Asked) -> Pkcs11Root:
    """Let the token generate a root, and try it. Raises Conflict (label taken), Unsupported, Locked, KeyServiceUnavailable."""
    if asked.root is not None:
        raise Unsupported("a root that exists cannot be put into a token", hint="make a new root there, and drop the old one")
    provider = Pkcs11Root(uri, place)

    def work(session: Any) -> None:
        way = pkcs11_wrapping.offered(session.pykcs11, session.getSessionInfo().slotID)
        pkcs11_keys.make(session, provider.token, place.root_id, way)

    try:
        provider.token.run(work, write=True)
    except HermeticError:
        provider.token.pin.leave_none()
        raise
    try:
        provider.wrap(Secret.random(32), b"")  # which opens it too
    except HermeticError:
        discard(uri, place)
        raise
    return provider


def discard(uri: str, place: Place) -> None:
    """Delete a root that was made a moment ago, and that nothing hangs on. Raises as `wrap`."""
    provider = Pkcs11Root(uri, place)
    provider.token.run(lambda session: pkcs11_keys.delete(session, provider.token, place.root_id), write=True)
    provider.token.pin.forget()


def remove(uri: str, place: Place) -> str:
    """Wipe what this machine keeps of a dropped root; the key stays in the token."""
    provider = Pkcs11Root(uri, place)
    provider.token.pin.forget()
    return f"stays in token {provider.token.name} as {provider.token.wanted.label!r}, to be deleted there"


def probes(provider: Provider) -> Iterator[Probe]:
    """Try what it enforces (`conformance`)."""
    from hermetic.providers import pkcs11_probes  # noqa: PLC0415 - for the report only

    return pkcs11_probes.probes(provider)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms (`conformance`)."""
    from hermetic.providers import pkcs11_probes  # noqa: PLC0415 - for the report only

    return pkcs11_probes.protections(provider)


def neighbour(provider: Provider) -> Provider | None:
    """Return another root over the same key (`conformance`)."""
    from hermetic.providers import pkcs11_probes  # noqa: PLC0415 - for the report only

    return pkcs11_probes.neighbour(provider)
