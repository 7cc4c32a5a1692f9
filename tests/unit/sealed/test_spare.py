"""Memory that readers use again holds no plaintext while it lies idle, and never more than a few megabytes."""

from __future__ import annotations

import pytest

from hermetic.sealed import _spare
from hermetic.sealed._cache import SegmentCache


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch):
    monkeypatch.setattr(_spare, "_idle", [])


def test_what_is_given_back_is_taken_again():
    first = _spare.take(100)
    assert first.nbytes == 100
    memory = first.obj
    _spare.give(first)
    again = _spare.take(_spare.SIZE)
    assert again.obj is memory
    with pytest.raises(ValueError, match="released"):
        first.nbytes  # noqa: B018 - whoever gave it back cannot use it


def test_only_so_much_is_kept():
    taken = [_spare.take(10) for _ in range(_spare.KEPT + 3)] + [_spare.take(_spare.SIZE + 1)]
    assert taken[-1].nbytes == _spare.SIZE + 1
    for view in taken:
        _spare.give(view)
    assert len(_spare._idle) == _spare.KEPT
    assert {len(memory) for memory in _spare._idle} == {_spare.SIZE}


def test_decrypted_segments_are_wiped_before_they_lie_idle():
    cache = SegmentCache(1000, 3000)
    for segment in range(5):  # two more than are kept
        plain = cache.memory()
        plain[:] = b"p" * 1000
        cache.keep(segment, plain)
    cache.close()
    assert len(_spare._idle) == 4
    assert all(b"p" not in memory for memory in _spare._idle)
