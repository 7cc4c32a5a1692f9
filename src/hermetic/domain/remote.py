"""The port to custody in another process: what is the same whichever way leads there.

    unix_port     a Unix socket of this machine (enforcement level `separated`)
    https_port    another machine, mutual TLS (`service`)

Each request for a key gets a key pair of its own: custody seals what it hands over to the public key (HPKE, X25519 with ML-KEM-768),
bound to domain, request, version, lease, recipient and log index. Here it is opened at once and kept behind a handle, as the embedded
port does, so that everything above is the same for both. The private key never leaves this call.

When a connection breaks after a request was sent, whether custody did what was asked is not known. Requests that change nothing, or
that may be repeated without harm (`AGAIN`), are sent once more on a new connection; so are others where the transport takes care that
a message with the same key is done once (`keyed`); the rest raise, and say so. A request that custody does not answer in time is not
sent again: it may be at work on it still.

That custody is the one that was met before is what pins and receipts show, and that a key is from it what `addressed` does.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from hermetic.crypto import hpke
from hermetic.custody.handles import HandleTable
from hermetic.domain.addressed import check_addressed
from hermetic.domain.elsewhere import hint_for
from hermetic.domain.refusals import error_of
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, LeaseEnded, Unsupported, UsageError
from hermetic.formats import codec, lease_key, release
from hermetic.formats.messages.base import KeyBlob, Refusal
from hermetic.formats.messages.greeting import Hello, Welcome
from hermetic.formats.messages.runs import Scratch
from hermetic.formats.messages.versions import CheckLeases, Draft, EndLeases, Opened, OpenVersions
from hermetic.formats.parts import CLIENT
from hermetic.ids import id_from_bytes

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.errors import HermeticError
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.versions import Lease

Answer = TypeVar("Answer")
ANSWER_S: Final = 600.0  # how long custody may think about one request
LEASE_S: Final = 60.0  # the same about leases, which readers wait for
ANOTHER_RELEASE: Final = "is custody of another release of Hermetic? `hermetic --version` here and there"
AGAIN: Final = frozenset(
    {
        "hello",
        "gather-facts",
        "open-versions",
        "check-leases",
        "end-leases",
        "recognise-digests",
        "list-assets",
        "show-version",
        "find-objects",
        "trace-lineage",
        "list-exposures",
        "show-run",
        "list-runs",
        "list-keys",
        "show-key",
        "list-roots",
        "show-policy",
        "explain",
        "list-grants",
        "list-principals",
        "list-approvers",
        "list-requests",
        "show-request",
        "plan-destruction",
        "plan-shred",
        "show-certificate",
        "read-log",
        "verify-log",
        "prove-entry",
        "export-log",
        "export-trust",
        "gather-measures",
        "list-authorities",
        "list-factors",
        "list-identities",
        "list-signing-keys",
        "list-suites",
        "show-identity",
    }
)
SECRET: Final = frozenset({"begin-totp", "begin-webauthn", "invite-factor"})
"""Requests whose answers are for nobody's eyes but the caller's, once: no service keeps them, so that they are not done "once"."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request on its way. `request` and `recipient` are id and public key of one for keys; `key` is its idempotency key."""

    name: str
    raw: bytes
    within: float
    request: str | None = None
    recipient: bytes | None = field(default=None, repr=False)
    key: str | None = None


class Broken(KeyServiceUnavailable):
    """A connection broke after it was there. Never leaves the domain."""


class Transport(Protocol):
    """A way to custody in another process. Thread safe."""

    where: str
    keyed: bool
    """Whether a message with a key is done once, however often it is sent."""

    pauses: tuple[float, ...]
    """How many times a message may be sent again, and how many seconds to wait before each, more or less."""

    def once(self, message: Message) -> bytes:
        """Send a message and return what came back. Raises Broken, KeyServiceUnavailable when custody is away or stalls, Denied."""

    def close(self) -> None:
        """Hang up."""


class RemotePort:
    """Custody behind a transport. Thread safe; useless in a forked child, which dials anew."""

    def __init__(self, transport: Transport, domain: str) -> None:
        self._transport, self._domain = transport, domain
        self._handles = HandleTable()
        self._pid = os.getpid()
        self._custodys = ""  # release, once it has greeted

    def ask(self, request: Request[Answer]) -> Answer:
        """Send a request and return its answer. Raises HermeticError, KeyServiceUnavailable when custody is out of reach."""
        if os.getpid() != self._pid:
            raise UsageError("the connection to custody is the parent process's", hint="connect again after fork")
        if not hasattr(request, "recipient"):
            return cast("Answer", self._exchange(request))
        private = hpke.PrivateKey.generate()
        try:
            return cast("Answer", self._exchange(request, private))
        finally:
            private.wipe()

    def redeem(self, blob: KeyBlob) -> Secret:
        """Return the key of a lease that came with an answer, once. Raises LeaseEnded."""
        if blob.handle is None or blob.sealed is not None:
            raise LeaseEnded("this key was not opened by the request that brought it")
        return self._handles.take(blob.handle)

    def close(self) -> None:
        """Wipe what nobody collected and hang up."""
        self._handles.wipe()
        self._transport.close()

    # -- once, and again where that does no harm

    def _exchange(self, request: object, private: hpke.PrivateKey | None = None) -> object:
        sent: Any = request if private is None else replace(cast("Any", request), recipient=private.public)
        name = codec.name_of(type(request))
        once = self._transport.keyed and private is None and name not in AGAIN | SECRET
        key = secrets.token_urlsafe(16) if once else None
        pauses = list(self._transport.pauses)
        while True:
            try:
                answer = self._answered(sent, name, key)
            except Broken as error:
                _check_repeatable(request, name, key, error)
                if not pauses:
                    raise away(self._transport.where, error.message) from None
                _wait(pauses.pop(0))
                if private is not None:  # another release on record; each has an id of its own
                    sent = replace(sent, request=id_from_bytes(os.urandom(16)))
            else:
                return answer if private is None else self._opened(sent, answer, private)

    def _answered(self, request: Any, name: str, key: str | None) -> object:
        within = LEASE_S if isinstance(request, CheckLeases | EndLeases) else ANSWER_S
        asks_for_key = hasattr(request, "recipient")
        message = Message(
            name,
            codec.encode(request),
            within,
            request=request.request if asks_for_key else None,
            recipient=request.recipient if asks_for_key else None,
            key=key,
        )
        answer = decoded(self._transport.once(message))
        if isinstance(answer, Refusal):
            raise self._placed(_greeted(request, error_of(replace(answer, hint=hint_for(error_of(answer))))))
        if isinstance(answer, Welcome):
            self._custodys = release.shown(answer.release)
        return answer

    def _placed(self, error: HermeticError) -> HermeticError:
        """Say which releases these are where one of them lacks something."""
        if not isinstance(error, Unsupported) or self._custodys in {"", release.RELEASE}:
            return error
        which = f"this client: {release.RELEASE}, custody: {self._custodys}"
        return Unsupported(error.message, hint=f"{error.hint or ANOTHER_RELEASE}\n{which}")

    # -- keys

    def _opened(self, request: Any, answer: object, private: hpke.PrivateKey) -> object:
        if isinstance(answer, Opened):
            check_addressed(answer.receipt, request.request, [one.version for one in answer.released], private.public)
            released = tuple(replace(one, lease=self._unsealed(request, one.lease, answer, private)) for one in answer.released)
            return replace(answer, released=released)
        if isinstance(answer, Draft | Scratch):
            check_addressed(answer.receipt, request.request, [answer.version], private.public)
            return replace(answer, lease=self._unsealed(request, answer.lease, answer, private))
        return answer

    def _unsealed(self, request: Any, lease: Lease, answer: Opened | Draft | Scratch, private: hpke.PrivateKey) -> Lease:
        if lease.key.sealed is None or lease.key.handle is not None:
            raise IntegrityError("custody sent a key that is not sealed to this process", hint="run `hermetic log verify`")
        info = lease_key.binding(self._domain, request.request, answer.receipt.index, lease, private.public)
        key = private.open(lease.key.sealed, info)
        return replace(lease, key=KeyBlob(handle=self._handles.put(key), sealed=None))


def _greeted(request: object, error: HermeticError) -> HermeticError:
    """Return the error that a refused greeting is: well-formed here, it can only be of another release for custody."""
    if not isinstance(request, Hello) or type(error) is not FormatError:
        return error
    told = f"custody does not take the greeting of this client, of release {release.RELEASE}: {error.message}"
    return Unsupported(told, hint=f"{ANOTHER_RELEASE}: upgrade the older one")


def decoded(raw: bytes) -> object:
    """Read an answer. What custody demands to be understood, and is not known here, is Unsupported; nothing is guessed."""
    try:
        return codec.decode(raw)
    except Unsupported as error:
        raise Unsupported(error.message, hint=CLIENT.hint) from None
    except FormatError as error:
        raise FormatError(error.message, hint=error.hint or ANOTHER_RELEASE) from None


def _check_repeatable(request: object, name: str, key: str | None, broken: Broken) -> None:
    """Raise KeyServiceUnavailable for a request that must not be made a second time."""
    harmless = name in AGAIN and not (isinstance(request, OpenVersions) and request.exposure is not None)
    if not harmless and key is None:
        raise KeyServiceUnavailable(
            f"custody went away while it was asked ({name}): whether it was done is not known", hint="look before you ask again"
        ) from broken


def _wait(pause: float) -> None:
    if pause:
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that those who were cut off together do not come back together


def away(where: str, why: str) -> KeyServiceUnavailable:
    """Return the error for custody that cannot be reached."""
    return KeyServiceUnavailable(f"custody at {where} is out of reach: {why}", hint="is `hermetic serve` running?")


def stalled(where: str) -> KeyServiceUnavailable:
    """Return the error for custody that is there, and does not answer in time."""
    return KeyServiceUnavailable(
        f"custody at {where} does not answer in time: whether it was done is not known",
        hint="it may be at work on it still; look before you ask again",
    )
