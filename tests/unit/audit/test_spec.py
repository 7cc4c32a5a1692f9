"""The page in spec/ names every registered kind with its facts, and the limits of the code."""

from __future__ import annotations

import re
from pathlib import Path

from hermetic.audit import denials, leaf, log, note, proof

PAGE = (Path(__file__).resolve().parents[3] / "spec" / "audit-log.md").read_text(encoding="utf-8")


def test_every_kind_is_in_the_table() -> None:
    table = PAGE.split("### Registered kinds")[1].split("## 4")[0]
    named = set(re.findall(r"`([a-z-]+\.[a-z-]+)`", table))
    assert named == set(leaf.KINDS)
    for kind, facts in leaf.KINDS.items():
        row = next(line for line in table.splitlines() if f"`{kind}`" in line)
        assert all(f"`{fact}`" in row for fact in facts)


def test_limits_are_those_of_the_code() -> None:
    limits = PAGE.split("## 1 Limits")[1].split("## 2")[0]
    for value in (proof.LEAF_LIMIT, note.NOTE_LIMIT, proof.RECEIPT_LIMIT):
        assert f"{value:,} bytes" in limits
    assert f"{leaf.FACT_LIMIT}; {leaf.HIDDEN_LIMIT}; {leaf.ROW_LIMIT}" in limits
    assert f"{note.SIGNATURE_LIMIT} |" in limits
    assert f"{proof.PATH_LIMIT} hashes" in limits
    assert f"last one of each {log.KEEP_EVERY:,} sizes" in PAGE
    assert f"when {denials.SORT_LIMIT} sorts wait" in PAGE
    assert all(f"`{name}`" in PAGE.split("## 8")[1] for name in denials.VARYING)
    assert f"within {log.DENIAL_WINDOW_MS // 1000} s" in PAGE
