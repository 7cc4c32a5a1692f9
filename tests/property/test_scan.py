"""Hostile bytes: whatever a file holds, a scan says something and raises nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hermetic.gate.sniff.recognise import recognise
from hermetic.gate.sniff.sample import HEAD, Sample
from tests.unit.gate import makers

SEEDS = [raw[:20_000] for raw, *_ in {**makers.PLAINTEXT, **makers.IMAGES, **makers.ELSEWHERE}.values()]
MARKS = sorted({raw[:length] for raw in SEEDS for length in (2, 4, 8, 16)})


class Bytes(Sample):
    """All of some bytes, with reads beyond the head."""

    def __init__(self, data):
        super().__init__(data[:HEAD], len(data))
        self.data = data

    def at(self, offset, length):
        return self.data[offset : offset + length]

    def tail(self, length):
        return self.data[-length:]


def check(data):
    guess = recognise(Bytes(data))
    assert guess.state in {"plaintext", "sealed", "unknown"}
    assert guess.kind
    assert guess.format
    assert "\n" not in guess.reason
    recognise(Sample(data[:HEAD], None))


@given(st.binary(max_size=2000))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data):
    check(data)


@given(st.sampled_from(MARKS), st.binary(max_size=600))
@settings(max_examples=500, deadline=None)
def test_anything_behind_a_mark(mark, data):
    check(mark + data)


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=500, deadline=None)
def test_real_files_changed_and_cut(raw, data):
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
