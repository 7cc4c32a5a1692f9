"""What a provider is: something that holds a root and wraps secrets under it.

A provider whose root never is in a process of ours may say so by `in_provider = True`: then KEKs may live in it, and it wraps each
data key itself (`keys/in_provider`). Without the batch methods below it is asked one item a call, `at_once` calls beside each other.

A provider is asked for two things only. `wrap` and `unwrap` take a context, bytes that say what the secret is and where it
belongs; a wrap opens under the same root and the same context, and under nothing else. Providers implement it with what their
service has (associated data, a derived key per context, a policy); `tests/unit/providers/contract.py` says what all of them must
hold, and `hermetic.testing.fake_provider` is one for tests.

Errors: `Locked` (a person can unlock it), `KeyServiceUnavailable` (not reachable now: another slot may be), `IntegrityError` (it
answered, and something is wrong: `WrongKey` for bytes that do not open here, `FormatError` for no wrap of this provider, itself for
a root file that others could have changed). Nothing else crosses, save UsageError for sizes and Unsupported for what this machine
lacks. A provider never tries another root, and never returns a secret whose context it did not check.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NewType, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.errors import HermeticError
    from hermetic.formats.findings import Finding

RootId = NewType("RootId", str)

SECRET_LIMIT: Final = 4096  # bytes that a provider has to be able to wrap
WRAPPED_LIMIT: Final = 16_384  # bytes that one wrap may take
CONTEXT_LIMIT: Final = 4096  # bytes of context


class ProviderState(enum.StrEnum):
    """Whether a provider can be used now."""

    READY = "ready"
    LOCKED = "locked"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """What `hermetic key providers` and `status` show; asking for it changes nothing and unwraps nothing.

    `expires_ms` is when it locks itself (Unix time), None for never. `root_in_process` says that the root itself passes through
    the memory of the process that unwraps, so that whoever reads that memory has it; an HSM or a key service keeps it to itself.
    """

    uri: str
    root_id: RootId
    state: ProviderState
    detail: str = ""
    expires_ms: int | None = None
    root_in_process: bool = True
    findings: tuple[Finding, ...] = ()


class Provider(Protocol):
    """A root, for wrapping and unwrapping secrets of at most 4,096 bytes."""

    @property
    def uri(self) -> str:
        """How the provider was named, `local:passphrase`; holds no secret."""

    @property
    def root_id(self) -> RootId:
        """The root it holds."""

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under the root, bound to `context`. Raises Locked, KeyServiceUnavailable, UsageError (size)."""

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret. Raises Locked, KeyServiceUnavailable, IntegrityError (WrongKey, FormatError)."""

    def status(self) -> ProviderStatus:
        """Say how it stands; raises nothing for a locked or unreachable service."""


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """One request that a service answered: what was asked, under which id the service put it on its own record, and when it answered.

    `operation` is `wrap`, `unwrap`, `rewrap` or `login`; `export` where a probe was given what it must not get. `request` is "" where
    the service named none.
    """

    operation: str
    request: str
    at_ms: int


@runtime_checkable
class ReportsUses(Protocol):
    """A provider whose service keeps a record of its own, and names in its answers under which id: custody puts those on our log."""

    @property
    def root_id(self) -> RootId:
        """The root that was used."""

    def take_uses(self) -> tuple[ProviderUse, ...]:
        """Return the uses since the last call, oldest first. Each is given out once: whoever takes them keeps them until they are on
        record."""


class BatchProvider(Provider, Protocol):
    """A provider that works on many wraps in one call, which `kek: in-provider` and moving many wraps make use of.

    Results stand in the order of what was asked, each a value or the error that this one met; an error of the whole is raised.
    """

    def wrap_many(self, items: Sequence[tuple[Secret, bytes]]) -> list[bytes | HermeticError]:
        """Wrap (secret, context) pairs."""

    def unwrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[Secret | HermeticError]:
        """Unwrap (wrapped, context) pairs."""

    def rewrap_many(self, items: Sequence[tuple[bytes, bytes]]) -> list[bytes | HermeticError]:
        """Bring (wrapped, context) pairs under the newest version of the root, same contexts; secrets stay inside the provider."""
