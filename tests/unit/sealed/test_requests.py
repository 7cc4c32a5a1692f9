"""What a reader asks a store for: many segments at once of a store far away, and nothing twice."""

from __future__ import annotations

import os

import pytest

from hermetic.errors import IntegrityError
from hermetic.sealed import _parallel
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.stream import SealedFile
from tests.unit.sealed.objects import KEY, BytesSource, make_header, seal_bytes

MIB = 1024 * 1024
BIG = "FLOE-AES256-GCM-1M-BLAKE3"


class Far(BytesSource):
    """A store whose requests are expensive: it notes each."""

    request_size = 8 * MIB

    def __init__(self, data):
        super().__init__(data)
        self.asked = []

    def readinto_at(self, offset, buffer):
        self.asked.append((offset, len(buffer)))
        return super().readinto_at(offset, buffer)


@pytest.fixture(scope="module", params=[BIG, "FLOE-AES256-GCM-64K-BLAKE3"])
def far(request, tmp_path_factory):
    plain = os.urandom(20 * MIB + 12_345)
    data, sealed = seal_bytes(tmp_path_factory.mktemp("far"), plain, header=make_header(suite=request.param))
    return plain, data, sealed.record


def opened(far, **options):
    plain, data, record = far
    source = Far(data)
    reader = ObjectReader(source, KEY, record, **options)
    source.asked.clear()
    return plain, source, reader


def test_a_whole_object_takes_few_requests(far):
    plain, source, reader = opened(far)
    buffer = bytearray(len(plain))
    assert reader.readinto_at(0, buffer) == len(plain)
    assert buffer == plain
    assert len(source.asked) == 3


def test_reading_in_small_pieces_asks_ahead(far):
    plain, source, reader = opened(far)
    with SealedFile(reader) as file:
        found = b"".join(iter(lambda: file.read(100_000), b""))
    assert found == plain
    assert len(source.asked) <= 5
    assert sum(length for _, length in source.asked) < len(plain) * 1.07  # nothing twice, but for the first piece


def test_jumping_asks_for_single_segments(far):
    plain, source, reader = opened(far)
    buffer = bytearray(1000)
    for at in (9 * MIB + 5, 3 * MIB, 15 * MIB + 999_000):
        reader.readinto_at(at, buffer)
        assert buffer == plain[at : at + 1000]
    assert sum(length for _, length in source.asked) <= 4 * (MIB + 4096)


def test_a_change_in_what_was_asked_ahead_is_refused(far):
    _, source, reader = opened(far)
    changed = bytearray(source.data)
    changed[12 * MIB] ^= 1
    source.data = bytes(changed)
    with SealedFile(reader) as file, pytest.raises(IntegrityError):
        while file.read(500_000):
            pass


def test_exposing_from_a_far_store(far, tmp_path):
    plain, source, reader = opened(far)
    with (tmp_path / "out").open("xb+") as out:
        reader.expose_to(out.fileno())
    assert (tmp_path / "out").read_bytes() == plain
    assert len(source.asked) == 3


def test_a_final_segment_goes_straight_to_its_place(far):
    plain, data, record = far
    reader, at = ObjectReader(BytesSource(data), KEY, record), 20 * MIB
    buffer = bytearray(12_345)
    assert reader.readinto_at(at, buffer) == 12_345
    assert buffer == plain[at:]
    assert not reader._cache._kept


def test_threads_follow_machine_and_store(monkeypatch):
    for cores, near, far_store in ((1, 1, 4), (2, 2, 4), (16, 8, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert (_parallel.threads_for(), _parallel.threads_for(8 * MIB)) == (near, far_store)


def test_a_piece_of_some_segments_is_one_request(far):
    plain, source, reader = opened(far)
    buffer = bytearray(3 * MIB)
    reader.readinto_at(5 * MIB + 7, buffer)
    assert buffer == plain[5 * MIB + 7 : 8 * MIB + 7]
    assert len(source.asked) == 1
