"""Memory stays bounded: the benchmark that measures it, on a small file. A bound on bytes, which no busy machine disturbs."""

from __future__ import annotations

import pytest

from benchmarks import memory


def test_streams_and_loads_stay_within_their_limits(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "unused"))
    assert memory.table([96], str(tmp_path)) == []
    shown = capsys.readouterr().out
    assert all(label in shown for label in memory.OPERATIONS)


def test_what_takes_too_much_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "unused"))
    monkeypatch.setattr(memory, "OPERATIONS", {"read": None})
    monkeypatch.setattr(memory, "STREAM_LIMIT", 0)
    assert memory.table([16], str(tmp_path)) == ["read"]


@pytest.mark.parametrize("label", memory.LIMITS)
def test_limits_are_about_something_that_is_measured(label):
    assert label in memory.OPERATIONS
