"""Copies: a key for each pack and each index, and what the first copies were sealed with."""

import pytest

from hermetic.crypto import aead
from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.domain import backup
from hermetic.domain.backup import CHUNK, CHUNK_LABEL, HEAD, Copies
from hermetic.errors import IntegrityError, WrongKey
from hermetic.stores.memory import MemoryStore

KEY = Secret(b"b" * 32)
FACTS = {"generation": 1, "log_size": 3, "log_root": bytes(32), "at_ms": 5}


def _of(use, number):
    return derive(derive(KEY, f"backup/{use}"), "backup/number", number.to_bytes(8, "big"))


def test_each_number_has_keys_of_its_own():
    store = MemoryStore()
    copies = Copies(store, KEY)
    for number, data in ((1, b"a" * CHUNK), (2, b"b" * 100)):
        index = copies.write(data, **FACTS)
        sealed = store.read_bytes(f"index-{number:012d}", limit=10**6)[len(HEAD) :]
        place = HEAD + number.to_bytes(8, "big")
        assert aead.open_(_of("index", number), sealed, place)
        with pytest.raises(WrongKey):
            aead.open_(_of("index", number + 1), sealed, place)
        pack = store.read_bytes(f"pack-{number:012d}", limit=10**6)
        assert aead.open_(_of("chunk", number), pack, CHUNK_LABEL + index.chunks[0].name) == data


def test_a_chunk_moved_into_another_pack_does_not_open():
    store = MemoryStore()
    copies = Copies(store, KEY)
    copies.write(b"a" * 100, **FACTS)
    second = copies.write(b"b" * 100, **FACTS)
    store.delete("pack-000000000002")
    store.put_bytes("pack-000000000002", store.read_bytes("pack-000000000001", limit=10**6))
    with pytest.raises(IntegrityError):
        copies.fetch(second)


def test_the_first_copies_still_open(monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(backup, "_of_number", lambda key, _: key)
    Copies(store, KEY).write(b"of old", **FACTS)
    monkeypatch.undo()
    copies = Copies(store, KEY)
    assert copies.fetch(copies.latest()) == b"of old"
    copies.write(b"of old" + b"more" * CHUNK, **FACTS)
    assert copies.fetch(copies.latest()).startswith(b"of old")
