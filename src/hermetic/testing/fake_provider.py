"""A provider in memory, with faults on demand, for tests of users and of our own.

It really encrypts, so that a wrong context or a changed wrap fails as it would elsewhere. Faults are asked for one by one:

>>> from hermetic.testing.fake_provider import FakeProvider
>>> provider = FakeProvider()
>>> wrapped = provider.wrap(Secret(bytes(32)), b"place")
>>> provider.fail_next(Fault.UNREACHABLE)
>>> provider.unwrap(wrapped, b"place")
Traceback (most recent call last):
...
hermetic.errors.KeyServiceUnavailable: the fake provider is unreachable
hint: the test asked for that
>>> len(provider.unwrap(wrapped, b"place"))
32
>>> [call.operation for call in provider.calls]
['wrap', 'unwrap', 'unwrap']
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermetic.crypto import aead
from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, KeyServiceUnavailable, Locked, UsageError, WrongKey
from hermetic.ids import id_from_bytes
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, ProviderState, ProviderStatus, RootId

if TYPE_CHECKING:
    from collections.abc import Callable

_MARKER = b"FAK\x01"


class Fault(enum.StrEnum):
    """What can go wrong."""

    UNREACHABLE = "unreachable"  # raises KeyServiceUnavailable
    LOCKED = "locked"  # raises Locked
    REFUSES = "refuses"  # raises WrongKey, as for a wrap of another root
    WRONG_SECRET = "wrong-secret"  # noqa: S105 - a kind of fault: answers, with other bytes
    SHORT_SECRET = "short-secret"  # noqa: S105 - a kind of fault: answers, with one byte less
    FORGETS_CONTEXT = "forgets-context"  # answers although the context is another one


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the provider got."""

    operation: Literal["wrap", "unwrap"]
    context: bytes


class FakeProvider:
    """Wraps under a root in memory. `pause` is called before every answer, with `delay_ms`: give it a clock that tests move."""

    def __init__(
        self,
        root_id: RootId | None = None,
        *,
        uri: str = "fake:memory",
        root: Secret | None = None,
        pause: Callable[[int], None] | None = None,
    ) -> None:
        self._root_id = root_id or RootId(id_from_bytes(os.urandom(16)))
        self._uri, self._root = uri, root or Secret.random(32)
        self._pause = pause
        self._next: list[Fault] = []
        self.fault: Fault | None = None
        self.delay_ms = 0
        self.calls: list[Call] = []

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self._root_id

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls meet `fault`; `fault` as an attribute lets all of them."""
        self._next += [fault] * times

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under the root, bound to `context`."""
        self._arrive("wrap", context)
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
        inner = aead.seal(derive(self._root, "fake", context), secret.view(), context)
        keyed = derive(self._root, "fake")
        return _MARKER + aead.seal(keyed, len(context).to_bytes(2, "big") + context + inner, b"")

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        fault = self._arrive("unwrap", context)
        if fault is Fault.REFUSES:
            raise WrongKey("the fake provider did not wrap this")
        if not wrapped.startswith(_MARKER):
            raise FormatError("not a wrap of the fake provider")
        outer = aead.open_(derive(self._root, "fake"), wrapped[len(_MARKER) :], b"")
        length = int.from_bytes(outer[:2], "big")
        kept, inner = outer[2 : 2 + length], outer[2 + length :]
        used = kept if fault is Fault.FORGETS_CONTEXT else context
        secret = aead.open_(derive(self._root, "fake", used), inner, used)
        return _answer(secret, fault)

    def status(self) -> ProviderStatus:
        """Say what the standing fault means for a caller."""
        states = {Fault.LOCKED: ProviderState.LOCKED, Fault.UNREACHABLE: ProviderState.UNREACHABLE}
        state = states.get(self.fault, ProviderState.READY) if self.fault else ProviderState.READY
        return ProviderStatus(self.uri, self.root_id, state, "in memory, for tests")

    def _arrive(self, operation: Literal["wrap", "unwrap"], context: bytes) -> Fault | None:
        self.calls.append(Call(operation, context))
        if self._pause is not None:
            self._pause(self.delay_ms)
        fault = self._next.pop(0) if self._next else self.fault
        if fault is Fault.UNREACHABLE:
            raise KeyServiceUnavailable("the fake provider is unreachable", hint="the test asked for that")
        if fault is Fault.LOCKED:
            raise Locked("the fake provider is locked", hint="hermetic unlock")
        return fault


def _answer(secret: bytes, fault: Fault | None) -> Secret:
    if fault is Fault.WRONG_SECRET:
        return Secret(bytes(byte ^ 0xFF for byte in secret))
    return Secret(secret[:-1] if fault is Fault.SHORT_SECRET else secret)
