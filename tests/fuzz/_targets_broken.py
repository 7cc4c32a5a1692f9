"""Targets with a defect each, to see that it is found: an exception of another kind, and a byte that is free."""

from __future__ import annotations

from hermetic.audit.leaf import Leaf
from hermetic.formats.object_header import parse_header
from tests.fuzz import _targets_log, _targets_objects
from tests.fuzz._target import Target, same


def _foreign(raw: bytes) -> None:
    """Forgets that a leaf may have rows without a hidden principal."""
    leaf = Leaf.parse(raw)
    if leaf.rows:
        leaf.hidden["principal"]


def _free(raw: bytes) -> None:
    """Reads what stands around a header away."""
    same(raw, parse_header(raw.strip()).encode()[14:])


LEAVES, HEADERS = _targets_log.TARGETS["log-leaf"], _targets_objects.TARGETS["object-header"]

TARGETS = {
    "broken-foreign": Target(_foreign, LEAVES.runs, LEAVES.seeds, LEAVES.documents),
    "broken-free": Target(_free, HEADERS.runs, HEADERS.seeds, HEADERS.documents),
}
