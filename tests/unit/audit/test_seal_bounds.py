"""What bounds how often a key of the log seals with random nonces (spec/key-usage.md)."""

import pytest

from hermetic.audit import denials, floods, log
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.openings import LogKeys
from hermetic.audit.store import MemoryStore
from hermetic.crypto import aead
from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, StorageError, UsageError
from hermetic.formats import canonical
from tests.unit.audit.making import make_log

KEYS = LogKeys(Secret(bytes([200]) * 32))
AT = len(denials._MARKER) + denials._HEAD.size
WAITING = {"sort": denials.Waiting(1, 2, 3, 4, 5)}


def kept(store):
    """Write both parts, as a flood does with every denial."""
    held = denials.Held(dict(WAITING))
    held.meters(KEYS).of["principal:1"] = floods.Meter(7, None, 8, 9)
    held.save(store, KEYS)
    return store.state()


def test_waiting_denials_have_a_key_for_each_time_they_are_written():
    store = MemoryStore()
    seen = set()
    for _ in range(20):
        raw = kept(store)
        held = denials.Held.load(store, KEYS)
        assert held.waiting == WAITING
        assert held.meters(KEYS).of == {"principal:1": floods.Meter(7, None, 8, 9)}
        counts, meters = raw[AT : AT + 32], held._sealed[:32]
        seen |= {counts, meters}
    assert len(seen) == 40


def test_another_salt_is_another_key():
    store = MemoryStore()
    raw = kept(store)
    store.put_state(raw[:AT] + bytes(32) + raw[AT + 32 :])
    with pytest.raises(IntegrityError):
        denials.Held.load(store, KEYS)
    store.put_state(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        denials.Held.load(store, KEYS).meters(KEYS)
    store.put_state(raw[: AT - 1])
    with pytest.raises(IntegrityError):
        denials.Held.load(store, KEYS)


def test_what_the_first_databases_left_waiting_still_opens():
    store = MemoryStore()
    rows = canonical.encode({"sort": [1, 2, 3, 4, 5]})
    store.put_state(aead.seal(KEYS.state, rows, b"hermetic/v1/log-denials"))
    assert denials.Held.load(store, KEYS).waiting == WAITING


def test_what_is_too_long_to_be_read_again_is_not_written():
    store, made = MemoryStore(), make_log()
    made.begin(store, now_ms=0)
    entry = Entry("run.ended", {"run": "a"}, {"reason": Hidden("x" * 262_144, "principal:1")})
    with pytest.raises(UsageError, match="too long"):
        made.append(store, [entry], now_ms=1)
    fits = Entry("run.ended", {"run": "a"}, {"reason": Hidden("x" * 262_000, "principal:1")})
    appended = made.append(store, [fits], now_ms=1)
    leaf = made.leaf(store, appended.indexes[0])
    assert made.open(store, leaf)["reason"].value == "x" * 262_000


def test_a_generation_is_full_one_day(monkeypatch):
    monkeypatch.setattr(log, "LEAVES", 3)
    store, made = MemoryStore(), make_log()
    made.begin(store, now_ms=0)
    made.append(store, [Entry("run.ended", {"run": "a"}), Entry("run.ended", {"run": "b"})], now_ms=1)
    with pytest.raises(StorageError, match="full"):
        made.append(store, [Entry("run.ended", {"run": "c"})], now_ms=2)
