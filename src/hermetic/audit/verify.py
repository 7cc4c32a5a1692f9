"""Verifying the whole log, as a stream, against what is known from outside. Reads, never writes.

The steps carry the numbers of spec/audit-log.md, section 9:

    1   the generations that are stored are those of one domain
    2   every leaf: in its place, canonical, saying what its row says, hashing to its stored hash
    3   the tree: every stored node is what the leaves below it give
    4   every kept checkpoint: size, root, signature of the key in force at that size; the newest covers every leaf
    5   generations: each continues the one before, under its last key
    6   trust: the keys pinned by the caller are in the chain of keys
    7   pins: size and root as a pair
    8   receipts: each is of a leaf that is in the log
    9   entries: intents and outcomes, the clock
    10  rows: the database against the newest revision logged of each row

A contradiction in 1 to 8 raises LogTampered. What is whole but wants a look is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hermetic.audit.ledger import Ledger
from hermetic.audit.note import Checkpoint, Origin
from hermetic.audit.pins import CUT_HINT, FORK_HINT, History, Pin, sizes_wanted, starts_late
from hermetic.audit.tree import leaf_hash
from hermetic.audit.walk import Walk
from hermetic.errors import LogTampered, UsageError
from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.audit.leaf import Leaf, RowState
    from hermetic.audit.note import VerifierKey
    from hermetic.audit.proof import Receipt
    from hermetic.audit.store import LogReader
    from hermetic.ids import DomainId


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """One generation: leaves [0, anchored) are vouched for from outside (by `anchored_by`), [anchored, size) are not."""

    checkpoint: Checkpoint
    keys: tuple[VerifierKey, ...]
    anchored: int
    anchored_by: str

    @property
    def size(self) -> int:
        """Leaves."""
        return self.checkpoint.size

    @property
    def unanchored(self) -> int:
        """Leaves that only the domain itself vouches for."""
        return self.size - self.anchored


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The log is whole. Nothing more: read `externally_anchored` and `findings` before believing it.

    `key_changes` are the entries by which keys of log and manifests handed over, in order.
    """

    domain: DomainId
    generations: tuple[GenerationReport, ...]
    checkpoints: int
    open_intents: int
    findings: tuple[Finding, ...]
    key_changes: tuple[Leaf, ...] = ()

    @property
    def newest(self) -> Checkpoint:
        """The newest checkpoint."""
        return self.generations[-1].checkpoint

    @property
    def entries(self) -> int:
        """Leaves of all generations."""
        return sum(item.size for item in self.generations)

    @property
    def externally_anchored(self) -> str:
        """`never`, or up to where in the newest generation that has an external anchor, and by whom."""
        for item in reversed(self.generations):
            if item.anchored:
                where = f"{item.checkpoint.origin.generation}/{item.anchored}"
                return f"up to {where} of {item.checkpoint.origin.generation}/{item.size}, by {item.anchored_by}"
        return "never"


def verify(
    store: LogReader,
    domain: DomainId,
    *,
    keys: Sequence[VerifierKey] = (),
    pins: Sequence[Pin] = (),
    receipts: Sequence[Receipt] = (),
    rows: Iterable[RowState] | None = None,
    witnesses: Sequence[VerifierKey] = (),
    partial: bool = False,
) -> VerifyReport:
    """Verify everything that the store holds of a domain's log.

    `keys` are the log keys the caller trusts; without any, the first key found is reported as first use. `pins` are checkpoints kept
    elsewhere, `receipts` receipts handed out earlier, `rows` the present rows of the tables whose revisions are logged.
    `witnesses` are cosigners' keys: a kept checkpoint that one of them signed is an external anchor.
    `partial` allows a store that starts with a later generation than the first, as an export does.
    Raises LogTampered; UsageError when a pin, key or receipt is of another domain.
    """
    receipt_pins = [Pin(Checkpoint.parse(item.checkpoint.text), "a receipt") for item in receipts]
    pairs, all_pins = list(zip(receipts, receipt_pins, strict=True)), [*pins, *receipt_pins]
    _check_domain(domain, [pin.checkpoint.origin for pin in all_pins])
    ledger, history, walks = Ledger(), History(), []
    for generation in _generations(store):  # 1
        places = {item.index for item, pin in pairs if pin.checkpoint.origin.generation == generation}
        origin, wanted = Origin(domain, generation), sizes_wanted(all_pins, generation)
        walk = Walk(store, origin, ledger, wanted=wanted, leaves=places, witnesses=witnesses)
        walk.run()  # 2, 3, 4
        walks.append(walk)
        history.sizes[generation], history.roots[generation] = walk.size, walk.roots
        if walk.restored is not None:
            history.restores[generation] = walk.restored
    found = history.check_restores()  # 5
    if walks[0].origin.generation != 1:
        found.append(starts_late(walks[0].origin.generation, partial=partial))
    found += _check_keys(walks, keys)  # 5, 6
    found += [finding for pin in all_pins if (finding := history.check_pin(pin))]  # 7
    _check_receipts(walks, pairs, history)  # 8
    if rows is not None:
        ledger.compare_rows(rows)  # 10
    found += ledger.findings()  # 9
    reports = tuple(_report(walk, pins) for walk in walks)
    if not any(report.anchored for report in reports):
        found.append(_NEVER_ANCHORED)
    count = sum(len(walk.checkpoints) for walk in walks)
    changes = tuple(leaf for walk in walks for leaf in walk.key_changes)
    return VerifyReport(domain, reports, count, sum(map(len, ledger.open_intents.values())), tuple(found), changes)


_NEVER_ANCHORED = Finding(
    "log-never-anchored",
    "medium",
    "log",
    "no checkpoint of this log is kept where the domain's own user cannot write",
    "name a command that keeps checkpoints elsewhere, `anchor: {command: [...]}`, in your own config.yaml of this domain",
)


def _generations(store: LogReader) -> list[int]:
    generations = store.generations()
    if not generations:
        raise LogTampered(
            "the log is empty", hint="every domain's log has a first entry: the database was cut or is not this domain's"
        )
    return generations


def _check_domain(domain: DomainId, origins: Iterable[Origin]) -> None:
    for origin in origins:
        if origin.domain != domain:
            raise UsageError("an anchor or receipt is of another domain", hint=f"this is {domain}, that is {origin.domain}")


def _check_keys(walks: Sequence[Walk], pinned: Sequence[VerifierKey]) -> list[Finding]:
    """Follow the keys from generation to generation, and look for the pinned ones."""
    trusted = {key.public for key in pinned}
    for before, after in pairwise(walks):
        if after.chain.keys[0].public not in {before.chain.keys[-1].public, *trusted}:
            raise LogTampered(f"generation {after.origin.generation} is signed by a key that nobody handed the log to", hint=FORK_HINT)
    used = {key.public for walk in walks for key in walk.chain.keys}
    if trusted and not trusted & used:
        raise LogTampered("the log is signed by keys that are not pinned, and no pinned key handed over to them", hint=FORK_HINT)
    if trusted:
        return []
    first = walks[0].chain.keys[0]
    return [
        Finding(
            "log-key-first-use", "medium", str(first), "no log key was pinned; this one was taken as it came", "compare and pin it"
        )
    ]


def _check_receipts(walks: Sequence[Walk], pairs: Sequence[tuple[Receipt, Pin]], history: History) -> None:
    by_generation = {walk.origin.generation: walk for walk in walks}
    for receipt, pin in pairs:
        generation = pin.checkpoint.origin.generation
        walk = by_generation.get(generation)
        if walk is None or receipt.index >= walk.size:
            if history.lost_at(generation, receipt.index + 1):
                continue
            raise LogTampered(f"a receipt shows log entry {generation}/{receipt.index}, which the log lacks", hint=CUT_HINT)
        if walk.found_leaves[receipt.index] != leaf_hash(receipt.leaf):
            raise LogTampered(f"a receipt shows another log entry {generation}/{receipt.index} than the log holds", hint=FORK_HINT)


def _report(walk: Walk, pins: Sequence[Pin]) -> GenerationReport:
    anchors = dict(walk.cosigned)
    anchors.update((pin.checkpoint.size, pin.where) for pin in pins if pin.external and pin.checkpoint.origin == walk.origin)
    best = max((size for size in anchors if size <= walk.size), default=0)
    checkpoint = Checkpoint(walk.origin, walk.size, walk.roots[walk.size])
    keys = tuple(walk.chain.keys)
    return GenerationReport(checkpoint, keys, best, anchors.get(best, ""))
