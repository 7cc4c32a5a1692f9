"""Attacks on a stored log, and what `verify` says about each. The attacker may write every row; only the last ones hold a key."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from hermetic.audit.leaf import Entry, RowState
from hermetic.audit.note import Checkpoint, Origin, VerifierKey
from hermetic.audit.pins import Pin
from hermetic.audit.store import MemoryStore
from hermetic.audit.tree import leaf_hash
from hermetic.audit.verify import verify
from hermetic.errors import LogTampered, UsageError
from hermetic.ids import DomainId, id_from_bytes
from tests.unit.audit.making import DOMAIN, START_MS, intent, make_log, outcome, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.audit.log import Log


def grow(store: MemoryStore, log: Log, count: int, first: int = 100) -> None:
    for number in range(first, first + count):
        log.append(store, [intent(f"r{number}"), outcome(f"r{number}")], now_ms=START_MS + number)


def codes(store: MemoryStore, **given: object) -> dict[str, str]:
    return {finding.code: finding.severity for finding in verify(store, DOMAIN, **given).findings}  # type: ignore[arg-type]


def test_a_whole_log(log: Log, memory: MemoryStore) -> None:
    checkpoint = log.head(memory)[0]
    grow(memory, log, 3)
    report = verify(memory, DOMAIN, keys=[log.verifier_key], pins=[Pin(checkpoint, "witness.example/w1", external=True)])
    assert (report.entries, report.open_intents, report.newest.size) == (10, 1, 10)
    assert [(item.anchored, item.unanchored, item.anchored_by) for item in report.generations] == [(4, 6, "witness.example/w1")]
    assert report.externally_anchored == "up to 1/4 of 1/10, by witness.example/w1"
    assert {finding.code: finding.severity for finding in report.findings} == {"intent-without-outcome": "low"}
    report.newest.sign(signing_key())  # a report can be countersigned


def test_first_use_and_never_anchored_are_findings(log: Log, memory: MemoryStore) -> None:
    assert codes(memory) == {"intent-without-outcome": "low", "log-key-first-use": "medium", "log-never-anchored": "medium"}
    report = verify(memory, DOMAIN, pins=[Pin(log.head(memory)[0], "this user's configuration")])
    assert report.externally_anchored == "never"


def change_leaf(store: MemoryStore) -> None:
    row = store.data[1].leaves[2]
    store.data[1].leaves[2] = (*row[:3], row[3].replace(b"r1", b"r8"), row[4])


def change_leaf_and_hash(store: MemoryStore) -> None:
    row = store.data[1].leaves[2]
    leaf = row[3].replace(b"r1", b"r8")
    store.data[1].leaves[2] = (*row[:3], leaf, leaf_hash(leaf))


def change_column(store: MemoryStore) -> None:
    row = store.data[1].leaves[2]
    store.data[1].leaves[2] = (row[0], row[1] + 1, *row[2:])


def change_kind_column(store: MemoryStore) -> None:
    row = store.data[1].leaves[2]
    store.data[1].leaves[2] = (*row[:2], "run.started", *row[3:])


def remove_leaf(store: MemoryStore) -> None:
    del store.data[1].leaves[2]


def swap_leaves(store: MemoryStore) -> None:
    leaves = store.data[1].leaves
    leaves[1], leaves[2] = (1, *leaves[2][1:]), (2, *leaves[1][1:])


def cut_leaves(store: MemoryStore) -> None:
    del store.data[1].leaves[-2:]


def add_leaf(store: MemoryStore) -> None:
    row = store.data[1].leaves[-1]
    index = row[0] + 1
    leaf = row[3].replace(b'"index":%d' % row[0], b'"index":%d' % index)
    store.data[1].leaves.append((index, row[1], row[2], leaf, leaf_hash(leaf)))


def cut_everything(store: MemoryStore) -> None:
    store.data.clear()


def cut_to_checkpoints(store: MemoryStore) -> None:
    store.data[1].leaves.clear()


def change_root(store: MemoryStore) -> None:
    held = store.data[1]
    held.checkpoints[max(held.checkpoints)] = held.checkpoints[max(held.checkpoints)]._replace(root=bytes(32))


def change_note(store: MemoryStore) -> None:
    held = store.data[1]
    row = held.checkpoints[max(held.checkpoints)]
    fresh = Checkpoint(Origin(DOMAIN, 1), row.size, row.root).sign(signing_key(5))
    held.checkpoints[row.size] = row._replace(note=str(fresh))


def spoil_note(store: MemoryStore) -> None:
    held = store.data[1]
    row = held.checkpoints[max(held.checkpoints)]
    held.checkpoints[row.size] = row._replace(note=row.note + "\ud800")


def other_note(store: MemoryStore) -> None:
    held = store.data[1]
    held.checkpoints[max(held.checkpoints)] = held.checkpoints[max(held.checkpoints)]._replace(note=held.checkpoints[1].note)


def remove_checkpoints(store: MemoryStore) -> None:
    store.data[1].checkpoints.clear()


def change_node(store: MemoryStore) -> None:
    store.data[1].nodes[8][1] = bytes(32)


def add_node(store: MemoryStore) -> None:
    store.data[1].nodes[8].append(bytes(32))


def remove_node(store: MemoryStore) -> None:
    store.data[1].nodes[8].pop()


def spoil_leaf(store: MemoryStore) -> None:
    row = store.data[1].leaves[2]
    leaf = row[3].replace(b'"format"', b'"former"')
    store.data[1].leaves[2] = (*row[:3], leaf, leaf_hash(leaf))


@pytest.mark.parametrize(
    "attack",
    [
        change_leaf,
        change_leaf_and_hash,
        change_column,
        change_kind_column,
        remove_leaf,
        swap_leaves,
        cut_leaves,
        add_leaf,
        cut_everything,
        cut_to_checkpoints,
        change_root,
        change_note,
        spoil_note,
        other_note,
        remove_checkpoints,
        change_node,
        add_node,
        remove_node,
        spoil_leaf,
    ],
    ids=lambda attack: attack.__name__,
)
def test_rows_changed_without_the_key_are_found(log: Log, memory: MemoryStore, attack: Callable[[MemoryStore], None]) -> None:
    grow(memory, log, 300)
    assert verify(memory, DOMAIN, keys=[log.verifier_key]).entries == 604
    attack(memory)
    with pytest.raises(LogTampered):
        verify(memory, DOMAIN)


# Attacks that leave the log whole in itself: only what is known outside finds them.


def test_an_older_authentic_state_is_found_by_any_pin(log: Log, memory: MemoryStore) -> None:
    older = deepcopy(memory)
    grow(memory, log, 2)
    head, receipt = log.head(memory)[0], log.receipt(memory, 6)
    assert verify(older, DOMAIN, keys=[log.verifier_key]).entries == 4
    with pytest.raises(LogTampered, match="saw 8 entries"):
        verify(older, DOMAIN, pins=[Pin(head, "the user's pins")])
    with pytest.raises(LogTampered):
        verify(older, DOMAIN, receipts=[receipt])


def test_a_fork_of_the_same_length_is_found(log: Log, memory: MemoryStore) -> None:
    other = deepcopy(memory)
    log.append(memory, [outcome("r2")], now_ms=START_MS + 9)
    make_log().append(other, [outcome("r3")], now_ms=START_MS + 9)
    pin, receipt = Pin(log.head(memory)[0], "a receipt"), log.receipt(memory, 4)
    with pytest.raises(LogTampered, match="at size 5"):
        verify(other, DOMAIN, keys=[log.verifier_key], pins=[pin])
    grow(other, make_log(), 3)
    with pytest.raises(LogTampered):
        verify(other, DOMAIN, pins=[pin])
    with pytest.raises(LogTampered):
        verify(other, DOMAIN, receipts=[receipt])


def test_a_log_rewritten_under_a_fresh_key_is_found(log: Log, memory: MemoryStore) -> None:
    pinned = log.verifier_key
    forged, forger = MemoryStore(), make_log(key=7)
    forger.begin(forged, now_ms=START_MS)
    grow(forged, forger, 5)
    assert verify(forged, DOMAIN).findings  # in itself it is whole: first use
    with pytest.raises(LogTampered, match="not pinned"):
        verify(forged, DOMAIN, keys=[pinned])


def test_a_fresh_key_that_names_the_old_one_is_found(log: Log, memory: MemoryStore) -> None:
    """The first leaf claims the pinned key, a handover is forged, and everything after it is signed by the thief."""
    forger = make_log(key=7)
    entry = Entry("log.key-changed", {"old": str(log.verifier_key), "new": str(forger.verifier_key), "signature": "A" * 86})
    thief = make_log(key=7)
    thief._signer = signing_key(1)
    thief.verifier_key = log.verifier_key
    done = thief._extend(memory, [entry], now_ms=START_MS, signers=(signing_key(1), signing_key(7)))
    assert done.size == 5
    with pytest.raises(LogTampered, match="without the old key's signature"):
        verify(memory, DOMAIN, keys=[log.verifier_key])


@pytest.mark.parametrize("which", ["old", "new", "garbage"])
def test_handovers_of_the_wrong_keys_are_found(log: Log, memory: MemoryStore, which: str) -> None:
    from hermetic.audit.chain import change_statement
    from hermetic.formats.binary_text import to_base64url

    other = make_log(key=3).verifier_key
    new = VerifierKey("another.log", other.public) if which == "new" else other
    signature = to_base64url(signing_key(1).sign(change_statement(log.origin, 4, new)))
    old = {"old": str(other), "new": str(log.verifier_key), "garbage": "garbage"}[which]
    entry = Entry("log.key-changed", {"old": old, "new": str(new), "signature": signature})
    log._extend(memory, [entry], now_ms=START_MS)
    with pytest.raises(LogTampered):
        verify(memory, DOMAIN)


def test_the_old_key_cannot_go_on_after_a_handover(log: Log, memory: MemoryStore) -> None:
    log.change_key(memory, signing_key(2), now_ms=START_MS)
    row = memory.head(1)
    assert row is not None
    both = memory.data[1].checkpoints[row.size]
    assert verify(memory, DOMAIN, keys=[log.verifier_key]).entries == 5
    only_new = Checkpoint(log.origin, row.size, row.root).sign(signing_key(2))
    memory.data[1].checkpoints[row.size] = both._replace(note=str(only_new))
    with pytest.raises(LogTampered, match="lacks a signature"):
        verify(memory, DOMAIN)
    memory.data[1].checkpoints[row.size] = both
    log._extend(memory, [outcome("r2")], now_ms=START_MS)
    with pytest.raises(LogTampered, match="not signed"):
        verify(memory, DOMAIN)


def test_a_second_beginning_is_found(log: Log, memory: MemoryStore) -> None:
    log._extend(memory, [Entry("domain.created", {"key": str(make_log(key=7).verifier_key)})], now_ms=START_MS)
    with pytest.raises(LogTampered, match="begins a log"):
        verify(memory, DOMAIN)


# Restores


def restored_log(memory: MemoryStore, highest: Checkpoint, *, key: int = 1) -> Log:
    successor = make_log(generation=2, key=key)
    successor.begin(memory, now_ms=START_MS + 50, restored=(make_log().head(memory)[0], highest))
    return successor


def test_a_restore_that_admits_its_loss_is_a_finding(log: Log, memory: MemoryStore) -> None:
    backup = deepcopy(memory)
    grow(memory, log, 2)
    highest, receipt, middle = log.head(memory)[0], log.receipt(memory, 6), Pin(log.head(memory)[0], "the user's pins")
    restored_log(backup, highest)
    found = codes(backup, pins=[middle], receipts=[receipt], keys=[log.verifier_key])
    assert found["log-lost-entries"] == "medium"
    assert found["pin-in-lost-entries"] == "medium"


def test_a_restore_that_knew_less_than_a_pin_is_a_high_finding(log: Log, memory: MemoryStore) -> None:
    backup = deepcopy(memory)
    grow(memory, log, 2)
    restored_log(backup, make_log().head(backup)[0])
    assert codes(backup, pins=[Pin(log.head(memory)[0], "the user's pins")])["pin-in-lost-entries"] == "high"


def test_restored_generations_must_continue_what_is_stored(log: Log, memory: MemoryStore) -> None:
    kept = Pin(log.head(memory)[0], "pins")
    restored_log(memory, kept.checkpoint)
    assert verify(memory, DOMAIN, keys=[log.verifier_key]).entries == 5
    good = deepcopy(memory)
    grow(memory, make_log(), 1)  # generation 1 goes on after it was closed
    with pytest.raises(LogTampered, match="does not continue"):
        verify(memory, DOMAIN)
    del good.data[1]
    assert codes(good, partial=True)["log-starts-late"] == "medium"
    with pytest.raises(LogTampered, match="starts with generation 2"):
        verify(good, DOMAIN)
    with pytest.raises(LogTampered, match="has 0"):
        verify(good, DOMAIN, pins=[kept], partial=True)


def test_a_generation_by_a_key_that_nobody_handed_over_is_found(log: Log, memory: MemoryStore) -> None:
    successor = restored_log(memory, log.head(memory)[0], key=7)
    with pytest.raises(LogTampered, match="nobody handed"):
        verify(memory, DOMAIN, keys=[log.verifier_key])
    assert verify(memory, DOMAIN, keys=[log.verifier_key, successor.verifier_key]).entries == 5


def test_a_whole_generation_cut_away_is_found(log: Log, memory: MemoryStore) -> None:
    successor = restored_log(memory, log.head(memory)[0])
    pin = Pin(successor.head(memory)[0], "pins")
    del memory.data[2]
    with pytest.raises(LogTampered, match="generation 2"):
        verify(memory, DOMAIN, pins=[pin])


@pytest.mark.parametrize("text", ["garbage", f"hermetic.log/{DOMAIN}/2\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"])
def test_a_restore_of_nothing_sensible_is_found(log: Log, memory: MemoryStore, text: str) -> None:
    successor = make_log(generation=2)
    facts = {"key": str(successor.verifier_key), "restored": text, "highest": text}
    successor._extend(memory, [Entry("domain.restored", facts)], now_ms=START_MS)
    with pytest.raises(LogTampered):
        verify(memory, DOMAIN)


def test_pins_of_another_domain_are_a_mistake(memory: MemoryStore) -> None:
    other = Origin(DomainId(id_from_bytes(bytes(16))), 1)
    with pytest.raises(UsageError):
        verify(memory, DOMAIN, pins=[Pin(Checkpoint(other, 1, bytes(32)), "elsewhere")])


# Entries and rows


def test_intents_and_outcomes_are_held_together(log: Log, memory: MemoryStore) -> None:
    log.append(memory, [outcome("never asked"), intent("r2")], now_ms=START_MS)
    found = codes(memory)
    assert found["outcome-without-intent"] == "high"
    assert found["intent-repeated"] == "medium"
    assert found["log-clock-went-back"] == "low"


def test_one_id_for_two_requests_at_once_is_no_release_without_an_intent(log: Log, memory: MemoryStore) -> None:
    """Whoever asks chooses the id, and may give it to two services of one database: each outcome has its intent."""
    log.append(memory, [intent("x"), intent("x"), outcome("x"), outcome("x")], now_ms=START_MS + 9)
    found = codes(memory)
    assert found["intent-repeated"] == "medium"
    assert "outcome-without-intent" not in found
    log.append(memory, [outcome("x")], now_ms=START_MS + 9)
    assert codes(memory)["outcome-without-intent"] == "high"


def test_many_findings_are_summed_up(log: Log, memory: MemoryStore) -> None:
    log.append(memory, [outcome(f"x{number}") for number in range(250)], now_ms=START_MS + 9)
    found = [finding for finding in verify(memory, DOMAIN).findings if finding.code == "outcome-without-intent"]
    assert len(found) == 101
    assert "150 more" in found[-1].message


def test_rows_are_compared_with_their_newest_logged_revision(log: Log, memory: MemoryStore) -> None:
    def set_rows(*rows: RowState) -> None:
        log.append(memory, [Entry("key.state", {"key": "k", "state": "active"}, rows=rows)], now_ms=START_MS + 9)

    digest = bytes([7]) * 32
    set_rows(RowState("kek", "a", 1), RowState("kek", "b", 1), RowState("kek", "c", 1, digest), RowState("kek", "d", 1))
    set_rows(RowState("kek", "a", 2), RowState("kek", "d", None))
    good = [RowState("kek", "a", 2), RowState("kek", "b", 1), RowState("kek", "c", 1, digest), RowState("asset", "x", 9)]

    def rows_found(*rows: RowState) -> dict[str, str]:
        return {code: severity for code, severity in codes(memory, rows=rows).items() if code.startswith("row")}

    assert rows_found(*good) == {}
    assert rows_found(RowState("kek", "a", 1), *good[1:]) == {"row-put-back": "high"}
    assert rows_found(*good[1:]) == {"row-missing": "high"}
    assert rows_found(*good, RowState("kek", "d", 1)) == {"row-returned": "high"}
    assert rows_found(*good[:2], RowState("kek", "c", 1, bytes(32))) == {"row-changed": "high"}
    assert rows_found(*good, RowState("kek", "new", 1)) == {"row-unlogged": "medium"}
    assert rows_found(RowState("kek", "a", 3), *good[1:]) == {"row-unlogged": "medium"}
