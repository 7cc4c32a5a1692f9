"""The tamper-evident log: read, verify, prove, export."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Pair, Receipt, Request


@message("read-log")
@dataclass(frozen=True, slots=True)
class ReadLog(Request["LogPage"]):
    """Entries from `start` on (negative: counted from the end), filtered by kind prefix, with what the caller may see opened."""

    start: int = 0
    limit: int = 200
    kind: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class LogRow:
    """One entry: `visible` are the facts in the leaf, `opened` the commitments that could be opened."""

    generation: int
    index: int
    at_ms: int
    kind: str
    leaf: bytes
    visible: tuple[Pair, ...]
    opened: tuple[Pair, ...]


@message("log-page")
@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries in order, as many as fit; `size` is the log's size now, `next` the first entry that was left out, None without one."""

    rows: tuple[LogRow, ...]
    size: int
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint that somebody outside has kept: signed note, and where it was found."""

    note: str
    where: str
    external: bool


@message("verify-log")
@dataclass(frozen=True, slots=True)
class VerifyLog(Request["LogVerified"]):
    """Recompute everything and compare it with these anchors. `log_keys` are the keys the caller has pinned."""

    anchors: tuple[Anchor, ...] = ()
    log_keys: tuple[str, ...] = ()


@message("log-verified")
@dataclass(frozen=True, slots=True)
class LogVerified:
    """The log is whole. `anchored` is the size up to which an external anchor vouches; findings are texts."""

    size: int
    root: bytes
    generations: int
    anchored: int
    entries: int
    open_intents: int
    findings: tuple[Pair, ...]


@message("prove-entry")
@dataclass(frozen=True, slots=True)
class ProveEntry(Request["EntryProof"]):
    """A receipt for any entry; with `since` also a consistency proof from that size."""

    index: int
    since: int | None = None
    generation: int | None = None


@message("entry-proof")
@dataclass(frozen=True, slots=True)
class EntryProof:
    """The receipt, the log's verifier key, and the hashes of the consistency proof (empty when none was asked)."""

    receipt: Receipt
    verifier_key: str
    consistency: tuple[bytes, ...]


@message("export-log")
@dataclass(frozen=True, slots=True)
class ExportLog(Request["LogChunk"]):
    """Raw leaves from `start` on, as many as fit."""

    generation: int
    start: int = 0


@message("log-chunk")
@dataclass(frozen=True, slots=True)
class LogChunk:
    """Leaves in order, and the checkpoint of the whole generation; `next` is None at the end."""

    leaves: tuple[bytes, ...]
    next: int | None
    checkpoint: str
    verifier_key: str
