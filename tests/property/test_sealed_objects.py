"""Any sequence of writes and range reads of a sealed object equals the plain file."""

from __future__ import annotations

import io
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hermetic.formats.padding import Padding, padded_length
from hermetic.formats.suites import SUITES
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.stream import SealedFile
from tests.unit.sealed.objects import KEY, SEGMENT, BytesSource, make_header, seal_bytes

NEAR_EDGES = st.sampled_from([0, 1, SEGMENT, 2 * SEGMENT, 16 * SEGMENT, 17 * SEGMENT]).flatmap(
    lambda edge: st.integers(max(0, edge - 2), edge + 2)
)
SIZES = st.lists(NEAR_EDGES | st.integers(0, 40_000), max_size=4)
READS = st.lists(st.tuples(NEAR_EDGES | st.integers(0, 3_000_000), NEAR_EDGES), max_size=8)


@settings(max_examples=60, deadline=None)
@given(SIZES, READS, st.sampled_from(list(Padding)), st.integers(1, 3), st.randoms(use_true_random=False))
def test_writes_and_range_reads_equal_the_plain_file(sizes, reads, padding, threads, rng: random.Random):
    parts = [rng.randbytes(size) for size in sizes]
    plain = b"".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        data, sealed = seal_bytes(Path(folder), plain, writes=parts, threads=threads, header=make_header(padding=padding))
    with ObjectReader(BytesSource(data, step=70_001), KEY, sealed.record, threads=threads) as reader:
        assert reader.length == len(plain)
        for offset, length in reads:
            buffer = bytearray(length)
            count = reader.readinto_at(offset, buffer)
            assert bytes(buffer[:count]) == plain[offset : offset + length]
            assert not any(buffer[count:])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["seek", "end", "skip", "read"]), st.integers(0, 150_000)), max_size=12))
def test_sealed_file_equals_bytes_io(steps):
    plain = random.Random(1).randbytes(2 * SEGMENT + 99)
    with tempfile.TemporaryDirectory() as folder:
        data, sealed = seal_bytes(Path(folder), plain)
    model = io.BytesIO(plain)
    with io.BufferedReader(SealedFile(ObjectReader(BytesSource(data), KEY, sealed.record)), 8192) as file:
        for step, number in steps:
            if step == "read":
                assert file.read(number) == model.read(number)
            elif step == "end":
                assert file.seek(-min(number, len(plain)), io.SEEK_END) == model.seek(-min(number, len(plain)), io.SEEK_END)
            elif step == "skip":
                assert file.seek(number, io.SEEK_CUR) == model.seek(number, io.SEEK_CUR)
            else:
                assert file.seek(number) == model.seek(number)


@given(st.integers(0, 2**44), st.sampled_from(list(Padding)), st.sampled_from(list(SUITES.values())))
def test_lengths_round_trip_and_padding_is_small(length, padding, suite):
    padded = padded_length(padding, length, suite.plain_segment)
    assert padded >= length
    assert padded_length(padding, padded, suite.plain_segment) == padded, "padding again changes nothing"
    if padding is Padding.PADME:
        assert padded <= length + length * 12 // 100 + 1
    assert suite.plain_length(suite.message_length(padded)) == padded
