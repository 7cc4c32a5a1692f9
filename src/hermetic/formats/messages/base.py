"""Parts that several messages share."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hermetic.formats import codec
from hermetic.formats.codec import message
from hermetic.formats.parts import binding

Answer = TypeVar("Answer")


class Request(Generic[Answer]):
    """A message that asks; the type parameter is the message that answers."""

    __slots__ = ()
    IS_REQUEST = True  # no field: what the codec tells requests by


@message("done")
@dataclass(frozen=True, slots=True)
class Done:
    """It happened, and there is nothing more to say but `notes`, sentences for a person."""

    notes: tuple[str, ...] = ()


@message("refusal")
@dataclass(frozen=True, slots=True)
class Refusal:
    """It did not happen. `error` is a class name of hermetic.errors; unknown names read as HermeticError."""

    error: str
    message: str
    hint: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that the log holds an entry: the leaf's bytes and a tlog-proof text with index, inclusion proof and checkpoint."""

    generation: int
    index: int
    leaf: bytes
    proof: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A name and a value, both text."""

    name: str
    value: str


@binding
@dataclass(frozen=True, slots=True)
class KeyBlob:
    """How a key travels: `handle` in process, `sealed` (HPKE) between processes; exactly one is set."""

    handle: str | None
    sealed: bytes | None


@dataclass(frozen=True, slots=True)
class Approval:
    """A signed yes over the request hash."""

    approver: str
    signature: bytes
    expires_ms: int


def request_hash(request: Request[Answer]) -> bytes:
    """Return SHA-256("hermetic/v1/request" LF canonical request without its approvals): what approvals sign."""
    bare: Any = request
    if any(field.name == "approvals" for field in dataclasses.fields(bare)):
        bare = dataclasses.replace(bare, approvals=())
    return hash_of(codec.encode(bare))


def hash_of(request: bytes) -> bytes:
    """Return the request hash of canonical bytes without approvals."""
    return hashlib.sha256(b"hermetic/v1/request\n" + request).digest()
