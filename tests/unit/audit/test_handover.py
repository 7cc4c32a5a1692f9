"""A later generation leads back to what was seen of an earlier one, or says that it is lost."""

from __future__ import annotations

from copy import deepcopy

import pytest

from hermetic.audit import handover
from hermetic.audit.store import MemoryStore
from hermetic.errors import LogTampered
from tests.unit.audit import making
from tests.unit.audit.making import DOMAIN, START_MS, make_log

SIZE = 7


def grown(store, generation, *, restored=None, highest=None, size=SIZE):
    """Begin a generation, and let it have `size` entries."""
    log = make_log(generation=generation)
    log.begin(store, now_ms=START_MS, restored=None if restored is None else (restored, highest or restored))
    while (head := log.head(store)[0]).size < size:
        log.append(store, [making.intent(f"r{head.size}")], now_ms=START_MS)
    return log.head(store)[0]


def at(store, generation, size):
    """The checkpoint of an earlier size, as somebody saw it."""
    log = make_log(generation=generation)
    now = log.head(store)[0]
    return type(now)(now.origin, size, log.root_at(store, size))


def checked(store, end, seen):
    steps, continues = handover.prove(store, (DOMAIN, end.origin.generation, end.size), (seen.origin.generation, seen.size))
    handover.check((end, seen), steps, continues)
    return steps, continues


@pytest.fixture
def store():
    made = MemoryStore()
    end = None
    for generation in (1, 2, 3):
        end = grown(made, generation, restored=end)
    made.end = end
    return made


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("size", [1, 4, 6, SIZE])
def test_what_was_seen_is_proven_a_prefix_however_many_restores_there_were(store, generation, size):
    steps, _ = checked(store, store.end, at(store, generation, size))
    assert len(steps) == 3 - generation


def test_another_log_than_was_seen_is_refused(store):
    other = MemoryStore()
    make_log().begin(other, now_ms=START_MS + 1)
    for number in range(3):
        make_log().append(other, [making.intent(f"other{number}")], now_ms=START_MS)
    with pytest.raises(LogTampered, match="does not continue"):
        checked(store, store.end, make_log().head(other)[0])


@pytest.mark.parametrize("admits", [True, False])
def test_what_was_lost_has_to_be_admitted(admits):
    store = MemoryStore()
    kept = grown(store, 1)
    more = deepcopy(store)
    make_log().append(more, [making.intent("lost")], now_ms=START_MS)
    seen = make_log().head(more)[0]
    end = grown(store, 2, restored=kept, highest=seen if admits else None)
    if admits:
        checked(store, end, seen)
    else:
        with pytest.raises(LogTampered, match="does not say so"):
            checked(store, end, seen)


def test_a_generation_that_was_skipped_counts_as_lost():
    """Restored from a copy of the first generation, when the second one was seen."""
    store = MemoryStore()
    first = grown(store, 1)
    other = deepcopy(store)
    second = grown(other, 2, restored=first)
    checked(store, grown(store, 3, restored=first, highest=second), second)
    checked(store, grown(store, 4, restored=make_log(generation=3).head(store)[0]), second)


def test_steps_that_do_not_lead_there_are_refused(store):
    seen = at(store, 1, 4)
    steps, continues = checked(store, store.end, seen)
    forged = handover.Step(steps[0].leaf, (bytes(32), *steps[0].path[1:]))
    wrong = [
        ((), continues),
        (steps[:1], continues),
        (steps[1:], continues),
        ((forged, steps[1]), continues),
        ((handover.Step(steps[0].leaf.replace(b"domain.restored", b"domain.recovered"), steps[0].path), steps[1]), continues),
        ((handover.Step(b"{}", steps[0].path), steps[1]), continues),
        (steps, ()),
        (steps, (*continues, bytes(32))),
        (steps, (bytes(31),)),
    ]
    for number, (shown, proof) in enumerate(wrong):
        with pytest.raises(LogTampered):
            handover.check((store.end, seen), shown, proof)
            pytest.fail(f"case {number}")
