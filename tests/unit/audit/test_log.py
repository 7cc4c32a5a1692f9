"""Appending, receipts, denials, key changes, restores and erasure, in memory and in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hermetic.audit.leaf import Entry, RowState
from hermetic.audit.log import KEEP_EVERY
from hermetic.audit.note import Note, VerifierKey, open_note
from hermetic.audit.proof import Receipt
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.store import MemoryStore
from hermetic.audit.tree import verify_consistency
from hermetic.audit.verify import verify
from hermetic.errors import Conflict, FormatError, LogTampered, NotFound, SignatureError, UsageError, WrongKey
from tests.unit.audit.making import DOMAIN, START_MS, denial, intent, make_log, outcome, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from hermetic.audit.log import Log
    from hermetic.audit.store import LogStore

    Transaction = Callable[[], AbstractContextManager[LogStore]]


def test_entries_come_back_and_every_receipt_verifies(log: Log, transaction: Transaction) -> None:
    with transaction() as store:
        first = log.begin(store, now_ms=START_MS)
        assert (first.index, first.size) == (0, 1)
    for number in range(12):
        with transaction() as store:
            done = log.append(store, [intent(f"r{number}"), outcome(f"r{number}")], now_ms=START_MS + number)
        assert list(done.indexes) == [1 + 2 * number, 2 + 2 * number]
        for which in (0, 1):
            assert verify_receipt(done.receipt(which), [log.verifier_key]).leaf.index == done.indexes[which]
    with transaction() as store:
        leaves = list(log.leaves(store))
        assert [leaf.index for leaf in leaves] == list(range(25))
        assert log.open(store, leaves[1])["principal"].value == "ana@example.org"
        for index in range(25):
            logged = verify_receipt(Receipt.parse(bytes(log.receipt(store, index))), [log.verifier_key])
            assert (logged.leaf, logged.checkpoint.size) == (leaves[index], 25)
        report = verify(store, DOMAIN, keys=[log.verifier_key])
        assert (report.entries, report.open_intents, report.newest.size) == (25, 0, 25)
        with pytest.raises(NotFound):
            log.receipt(store, 25)


def test_a_new_process_goes_on_where_the_old_one_stopped(transaction: Transaction) -> None:
    with transaction() as store:
        make_log().begin(store, now_ms=START_MS)
    for number in range(600):
        with transaction() as store:
            make_log().append(store, [outcome(str(number))], now_ms=START_MS)
    with transaction() as store:
        report = verify(store, DOMAIN)
        assert report.entries == 601
        assert report.checkpoints == 2  # the first and the newest


def test_large_appends_keep_tiles_and_some_checkpoints(log: Log, transaction: Transaction) -> None:
    with transaction() as store:
        log.begin(store, now_ms=START_MS)
    for _ in range(5):
        with transaction() as store:
            done = log.append(store, [outcome()] * 1000, now_ms=START_MS)
    with transaction() as store:
        assert store.node_count(1, 8) == 5001 >> 8
        sizes = [row.size for row in store.checkpoints(1)]
        assert sizes == [1, 1001, 2001, 3001, 4001, 5001]
        assert KEEP_EVERY == 1024
        old = next(row for row in store.checkpoints(1) if row.size == 2001)
        proof = log.consistency(store, 2001)
        assert verify_consistency((2001, old.root), (done.size, done.root), proof) == (5001, done.root)
        assert verify_receipt(done.receipt(999), [log.verifier_key]).leaf.index == 5000
        assert verify(store, DOMAIN).entries == 5001


def test_beginnings(log: Log, memory: MemoryStore) -> None:
    with pytest.raises(Conflict):
        log.begin(memory, now_ms=START_MS)
    with pytest.raises(UsageError):
        log.append(MemoryStore(), [intent()], now_ms=START_MS)
    with pytest.raises(UsageError):
        log.append(memory, [], now_ms=START_MS)
    for kind, facts in (("domain.created", {"key": "x"}), ("log.key-changed", {"old": "x", "new": "y", "signature": "z"})):
        with pytest.raises(UsageError):
            log.append(memory, [Entry(kind, facts)], now_ms=START_MS)
    with pytest.raises(UsageError):
        make_log(generation=2).begin(memory, now_ms=START_MS)
    with pytest.raises(NotFound):
        make_log(generation=2).head(memory)


def test_a_log_that_is_not_the_one_we_signed_is_not_continued(memory: MemoryStore) -> None:
    held = memory.data[1]
    good = held.checkpoints[max(held.checkpoints)]
    bad_rows = [
        good._replace(root=bytes(32)),
        good._replace(size=3),
        good._replace(note=good.note.replace("hermetic.log", "hermetic.lag")),
        good._replace(note="garbage"),
    ]
    for bad in bad_rows:
        held.checkpoints = {1: held.checkpoints[1], bad.size: bad}
        with pytest.raises(LogTampered):
            make_log().append(memory, [intent("r3")], now_ms=START_MS)
    held.checkpoints = {good.size: good}
    with pytest.raises(LogTampered):
        make_log(key=2).append(memory, [intent("r3")], now_ms=START_MS)
    held.leaves[2] = (*held.leaves[2][:4], bytes(32))
    with pytest.raises(LogTampered):
        make_log().append(memory, [intent("r3")], now_ms=START_MS)


def test_what_was_durable_is_gone_on_with_only_where_it_is(log: Log) -> None:
    """A standby that lagged, or an older copy; also once others have made its log the longer one. What rolled back is not missed."""
    whole, lagging = MemoryStore(), MemoryStore()
    for store in (whole, lagging):
        make_log().begin(store, now_ms=START_MS)
    for number in range(300):
        done = log.append(whole, [outcome(str(number))], now_ms=START_MS)
        if number < 299:
            make_log().append(lagging, [outcome(str(number))], now_ms=START_MS)
    log.committed(done.checkpoint)
    log.committed(make_log().head(lagging)[0])  # told late, by another thread
    for more in ([], ["other"], ["entries", "here"]):
        for fact in more:
            make_log().append(lagging, [outcome(fact)], now_ms=START_MS)
        with pytest.raises(LogTampered, match=r"were durable|does not continue what was durable"):
            log.append(lagging, [outcome("next")], now_ms=START_MS)
    with pytest.raises(LogTampered, match="has 0 entries"):
        log.append(MemoryStore(), [outcome("next")], now_ms=START_MS)
    make_log().append(whole, [outcome("of another process")], now_ms=START_MS)
    assert log.append(whole, [outcome("next")], now_ms=START_MS).checkpoint.size == 303


def test_a_receipt_for_another_place_is_refused(log: Log, memory: MemoryStore) -> None:
    receipt = log.receipt(memory, 1)
    with pytest.raises((FormatError, LogTampered)):
        verify_receipt(Receipt(receipt.leaf, 2, receipt.path, receipt.checkpoint), [log.verifier_key])
    with pytest.raises(SignatureError):
        verify_receipt(receipt, [make_log(key=2).verifier_key])


# Denials


def test_equal_denials_are_counted_and_written_before_the_next_event(log: Log, transaction: Transaction) -> None:
    with transaction() as store:
        log.begin(store, now_ms=START_MS)
    done = []
    for number in range(50):
        with transaction() as store:
            done.append(log.append_denial(store, denial(f"q{number}"), now_ms=START_MS + number))
    assert [item.coalesced for item in done] == [False] + [True] * 49
    assert {item.index for item in done} == {1}
    assert {item.size for item in done} == {2}
    with pytest.raises(UsageError):
        done[1].receipt()
    with transaction() as store:
        assert make_log().waiting(store) == 49
        after = make_log().append(store, [intent()], now_ms=START_MS + 60)
        assert list(after.indexes) == [3]
        counted = log.leaf(store, 2)
        assert counted.kind == "denials.counted"
        assert counted.facts == {"of": [1, 1], "count": 49, "first_ms": START_MS, "last_ms": START_MS + 49}
        assert log.waiting(store) == 0
        assert verify_receipt(after.receipt(), [log.verifier_key]).leaf.kind == "release.intent"
        again = log.append_denial(store, denial("q51"), now_ms=START_MS + 61)
        assert not again.coalesced
        assert verify(store, DOMAIN).entries == 5


def test_denials_that_alternate_are_counted_apart(log: Log, memory: MemoryStore) -> None:
    for number in range(20):
        log.append_denial(memory, denial(f"q{number}", who="eve" if number % 2 else "mallory"), now_ms=START_MS + number)
    assert log.head(memory)[0].size == 4 + 2
    assert log.waiting(memory) == 18
    flushed = log.flush(memory, now_ms=START_MS + 20, everything=True)
    assert flushed is not None
    assert len(flushed.indexes) == 2
    assert log.flush(memory, now_ms=START_MS + 20, everything=True) is None


def test_a_window_ends(log: Log, memory: MemoryStore) -> None:
    log.append_denial(memory, denial("q1"), now_ms=START_MS)
    log.append_denial(memory, denial("q2"), now_ms=START_MS + 9_999)
    assert log.flush(memory, now_ms=START_MS + 9_999) is None
    after = log.append_denial(memory, denial("q3"), now_ms=START_MS + 10_000)
    assert not after.coalesced
    assert [leaf.kind for leaf in log.leaves(memory, 4)] == ["access.denied", "denials.counted", "access.denied"]
    log.append_denial(memory, denial("q4"), now_ms=START_MS + 10_001)
    assert log.flush(memory, now_ms=START_MS + 99_999) is not None
    log.append_denial(memory, denial("q5"), now_ms=START_MS + 99_999)
    assert not log.append_denial(memory, denial("q6"), now_ms=START_MS + 1).coalesced  # the clock went back: nothing is held


def test_many_sorts_of_denials_do_not_pile_up(log: Log, memory: MemoryStore) -> None:
    for number in range(300):
        log.append_denial(memory, denial("q", who=f"user {number}"), now_ms=START_MS)
        log.append_denial(memory, denial("q", who=f"user {number}"), now_ms=START_MS)
    assert log.waiting(memory) < 256
    log.flush(memory, now_ms=START_MS, everything=True)
    counts = [leaf.facts["count"] for leaf in log.leaves(memory) if leaf.kind == "denials.counted"]
    singly = [leaf for leaf in log.leaves(memory) if leaf.kind == "access.denied"]
    assert sum(counts) + len(singly) == 600
    assert len(singly) <= 302


def test_waiting_denials_of_another_key_are_refused(log: Log, memory: MemoryStore) -> None:
    log.append_denial(memory, denial("q1"), now_ms=START_MS)
    memory.own_state = bytes(64)
    with pytest.raises(WrongKey):
        log.append(memory, [intent("r9")], now_ms=START_MS)


# Keys and generations


def test_the_signing_key_changes_and_the_chain_holds(log: Log, transaction: Transaction) -> None:
    with transaction() as store:
        log.begin(store, now_ms=START_MS)
        log.append_denial(store, denial("q1"), now_ms=START_MS)
        log.append_denial(store, denial("q2"), now_ms=START_MS)
    with transaction() as store:
        done, successor = log.change_key(store, signing_key(2), now_ms=START_MS + 1)
    both = {log.verifier_key, successor.verifier_key}
    assert set(open_note(done.note, both)) == both
    with transaction() as store:
        successor.append(store, [intent()], now_ms=START_MS + 2)
        with pytest.raises(LogTampered):
            log.append(store, [intent("r2")], now_ms=START_MS + 3)
    with transaction() as store:
        report = verify(store, DOMAIN, keys=[log.verifier_key])
        assert [str(key) for key in report.generations[0].keys] == [str(log.verifier_key), str(successor.verifier_key)]
        assert verify(store, DOMAIN, keys=[successor.verifier_key]).findings
        with pytest.raises(LogTampered):
            verify(store, DOMAIN, keys=[VerifierKey(str(log.origin), signing_key(3).public)])


def test_a_restore_opens_the_next_generation(log: Log, memory: MemoryStore) -> None:
    restored = log.head(memory)[0]
    successor = make_log(generation=2)
    successor.begin(memory, now_ms=START_MS + 5, restored=(restored, restored))
    successor.append(memory, [outcome("r2")], now_ms=START_MS + 6)
    report = verify(memory, DOMAIN, keys=[log.verifier_key])
    assert [item.size for item in report.generations] == [4, 2]
    assert report.open_intents == 0
    assert verify_receipt(successor.receipt(memory, 1), [successor.verifier_key]).leaf.generation == 2
    assert successor.open(memory, log.leaf(memory, 1))["asset"].value == "dataset/patients"


# Erasure


def test_erasure_keeps_every_proof_valid(log: Log, transaction: Transaction) -> None:
    with transaction() as store:
        log.begin(store, now_ms=START_MS)
        log.append(store, [intent("r1"), outcome("r1")], now_ms=START_MS)
        old = log.receipt(store, 1)
    with transaction() as store:
        done = log.erase_subject(store, "principal:1", now_ms=START_MS + 1, facts={"request": "r9"})
        assert log.leaf(store, done.index).facts == {"request": "r9", "openings": 1}
    with transaction() as store:
        leaf = log.leaf(store, 1)
        assert set(log.open(store, leaf)) == {"asset"}
        assert set(make_log().open(store, leaf)) == {"asset"}
        log.append(store, [intent("r2"), outcome("r2")], now_ms=START_MS + 2)
        assert set(log.open(store, log.leaf(store, 4))) == {"asset"}
        assert verify_receipt(old, [log.verifier_key]).leaf == leaf
        assert verify_receipt(log.receipt(store, 1), [log.verifier_key]).leaf == leaf
        assert verify(store, DOMAIN, receipts=[old]).entries == 6


def test_row_states_are_in_the_leaf(log: Log, memory: MemoryStore) -> None:
    state = RowState("kek", "k1", 3, bytes(32))
    done = log.append(memory, [Entry("key.state", {"key": "k1", "state": "active"}, rows=(state,))], now_ms=START_MS)
    assert log.leaf(memory, done.index).rows == (state,)


def test_note_of_an_append_is_what_the_store_keeps(log: Log, memory: MemoryStore) -> None:
    done = log.append(memory, [outcome("r2")], now_ms=START_MS)
    row = memory.head(1)
    assert row is not None
    assert Note.parse(row.note.encode()) == done.note
