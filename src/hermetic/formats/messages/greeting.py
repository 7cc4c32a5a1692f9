"""The first message of a connection, and its answer. Apart from the others, since every command needs it and few need those."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Pair, Receipt, Request


@message("hello")
@dataclass(frozen=True, slots=True)
class Hello(Request["Welcome"]):
    """The first message of a connection; `generation` and `size` say how much of the log the caller has seen, 0 for nothing.

    No release sends more in it than this: custody of any release answers it. `release` is the caller's, for custody's log.
    """

    protocol: int = 1
    generation: int = 0
    size: int = 0
    release: str = ""


@dataclass(frozen=True, slots=True)
class Restore:
    """The first entry of a later generation, and the proof that it is the first under the end of that generation that is known."""

    leaf: bytes
    path: tuple[bytes, ...]


@message("welcome")
@dataclass(frozen=True, slots=True)
class Welcome:
    """Who the caller is to this domain, how far custody is away, and what to pin.

    `continues` proves that `checkpoint` continues the log of the size that the caller has seen, if that is of this generation. Of an
    earlier one, `restores` lead there, the newest first, and `continues` proves the same of what the last of them restored.
    `key_changes` are the entries by which keys of log and manifests handed over: those of this generation, proven under `checkpoint`,
    and before them those of the generations that `restores` lead to, each proven under the end that the restore after it names.
    `release` is custody's.
    """

    domain: str
    generation: int
    enforcement: str
    principal: str
    roles: tuple[str, ...]
    policy_digest: bytes
    log_key: str
    manifest_keys: tuple[Pair, ...]
    checkpoint: str
    continues: tuple[bytes, ...] = ()
    key_changes: tuple[Receipt, ...] = ()
    restores: tuple[Restore, ...] = ()
    release: str = ""
