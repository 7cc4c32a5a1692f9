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
from typing import TYPE_CHECKING, Literal, TypeVar

from hermetic.crypto import aead
from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, IntegrityError, KeyServiceUnavailable, Locked, UsageError, WrongKey
from hermetic.ids import id_from_bytes
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, ProviderState, ProviderStatus, RootId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
B = TypeVar("B")

_MARKER = b"FAK\x01"


class Fault(enum.StrEnum):
    """What can go wrong."""

    UNREACHABLE = "unreachable"  # raises KeyServiceUnavailable
    LOCKED = "locked"  # raises Locked
    REFUSES = "refuses"  # raises WrongKey, as for a wrap of another root
    WRONG_SECRET = "wrong-secret"  # noqa: S105 - a kind of fault: answers, with other bytes
    SHORT_SECRET = "short-secret"  # noqa: S105 - a kind of fault: answers, with one byte less
    FORGETS_CONTEXT = "forgets-context"  # answers although the context is another one
    THROTTLES = "throttles"  # raises KeyServiceUnavailable, as a service that had too many calls
    DELETED = "deleted"  # raises IntegrityError: the key was deleted behind our back
    ANSWERS_FEWER = "answers-fewer"  # of a batch, the last item gets no answer


Operation = Literal["wrap", "unwrap", "rewrap"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the provider got."""

    operation: Operation
    context: bytes
    count: int = 1  # items asked for at once


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
        return self._wrap(secret, context)

    def _wrap(self, secret: Secret, context: bytes) -> bytes:
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
        inner = aead.seal(derive(self._root, "fake", context), secret.view(), context)
        keyed = derive(self._root, "fake")
        return _MARKER + aead.seal(keyed, len(context).to_bytes(2, "big") + context + inner, b"")

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        return self._unwrap(wrapped, context, self._arrive("unwrap", context))

    def _unwrap(self, wrapped: bytes, context: bytes, fault: Fault | None) -> Secret:
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

    def _arrive(self, operation: Operation, context: bytes, count: int = 1) -> Fault | None:
        self.calls.append(Call(operation, context, count))
        if self._pause is not None:
            self._pause(self.delay_ms)
        fault = self._next.pop(0) if self._next else self.fault
        if fault is Fault.UNREACHABLE:
            raise KeyServiceUnavailable("the fake provider is unreachable", hint="the test asked for that")
        if fault is Fault.THROTTLES:
            raise KeyServiceUnavailable("the fake provider had too many calls", hint="the test asked for that")
        if fault is Fault.DELETED:
            raise IntegrityError("the key of the fake provider was deleted", hint="the test asked for that")
        if fault is Fault.LOCKED:
            raise Locked("the fake provider is locked", hint="hermetic unlock")
        return fault


class FakeService(FakeProvider):
    """A `BatchProvider` that keeps its root to itself, as an HSM or a key service: KEKs may live in it (`kek: in-provider`).

    A fault meets a call, however many items it has; with `fault_at` the answering faults meet that item of a batch alone.

    >>> service = FakeService()
    >>> wraps = service.wrap_many([(Secret(bytes(32)), b"place")] * 3)
    >>> [len(secret) for secret in service.unwrap_many([(wrapped, b"place") for wrapped in wraps])]
    [32, 32, 32]
    >>> [(call.operation, call.count) for call in service.calls]
    [('wrap', 3), ('unwrap', 3)]
    """

    in_provider = True
    fault_at: int | None = None

    def wrap_many(self, items: Sequence[tuple[Secret, bytes]]) -> list[bytes | HermeticError]:
        """Wrap (secret, context) pairs."""
        fault = self._arrive("wrap", items[0][1] if items else b"", len(items))
        return self._each([(item, None) for item in items], lambda item, _: self._wrap(*item), fault)

    def unwrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[Secret | HermeticError]:
        """Unwrap (wrapped, context) pairs."""
        fault = self._arrive("unwrap", items[0][1] if items else b"", len(items))
        return self._each(self._faulty(items, fault), lambda item, met: self._unwrap(*item, met), fault)

    def rewrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[bytes | HermeticError]:
        """Wrap again what (wrapped, context) pairs hold."""
        fault = self._arrive("rewrap", items[0][1] if items else b"", len(items))
        return self._each(self._faulty(items, fault), lambda item, met: self._wrap(self._unwrap(*item, met), item[1]), fault)

    def _faulty(self, items: Sequence[A], fault: Fault | None) -> list[tuple[A, Fault | None]]:
        return [(item, fault if self.fault_at in {None, at} else None) for at, item in enumerate(items)]

    def _each(
        self, items: list[tuple[A, Fault | None]], do: Callable[[A, Fault | None], B], fault: Fault | None
    ) -> list[B | HermeticError]:
        made: list[B | HermeticError] = []
        for item, met in items:
            try:
                made.append(do(item, met))
            except HermeticError as error:
                made.append(error)
        return made[:-1] if fault is Fault.ANSWERS_FEWER else made


def _answer(secret: bytes, fault: Fault | None) -> Secret:
    if fault is Fault.WRONG_SECRET:
        return Secret(bytes(byte ^ 0xFF for byte in secret))
    return Secret(secret[:-1] if fault is Fault.SHORT_SECRET else secret)
